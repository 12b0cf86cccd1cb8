# The commands of CONTRIBUTING.md by name; `just` lists them. https://just.systems

_list:
    @just --list --unsorted

# Start everything in one process, and chat.
up *ARGS:
    cargo run --release -- up {{ARGS}}

# The fast loop: the protocol's engine.
engine *ARGS:
    cargo test -p gaung-engine {{ARGS}}

# Type-check everything.
check:
    cargo check --workspace --all-targets

# One crate's tests: `just test gaung-log`.
test CRATE *ARGS:
    cargo test -p {{CRATE}} {{ARGS}}

# All tests; those that lack something of the machine say so and are skipped.
test-all:
    cargo test --workspace

# All tests that need neither root nor Docker nor a browser.
unprivileged:
    cargo nextest run --workspace --profile unprivileged

# Format and lint as the checks do.
lint:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings

# One seed of the simulation, event by event.
seed SEED:
    GAUNG_TRACE=1 GAUNG_SEED={{SEED}} cargo run -p gaung-tests --bin simulate

# Many seeds of the simulation.
simulate COUNT="100000":
    cargo run -p gaung-tests --bin simulate -- {{COUNT}}

# One bench: `just bench gaung-engine packing`.
bench CRATE NAME:
    cargo bench -p {{CRATE}} --bench {{NAME}}

# Whole processes beside NATS, Redis and Mosquitto: `just compare fan-out-64`.
compare *ARGS:
    cd benches && cargo run --release -- {{ARGS}}

# Fuzz one target for a quarter of an hour: codecs, member or relay.
fuzz TARGET="member":
    cargo +nightly fuzz run --fuzz-dir tests/fuzz -s none {{TARGET}} -- -max_total_time=900 -max_len=4096

# Everything that has to hold, on a fresh machine.
ci:
    .ci/run
