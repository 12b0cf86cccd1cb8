#!/usr/bin/env bash
# Builds the image gaung:lab (or the name given) from this tree: static programs, nothing else. Pulls nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-gaung:lab}
target=x86_64-unknown-linux-gnu
programs=(gaung group-registry multicast-relay broadcast-hub)

RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
    cargo build --release --locked --target "$target" "${programs[@]/#/--package=}" --bins

built=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$target/release
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/bin" "$context/data"
for program in "${programs[@]}"; do
    strip -o "$context/bin/$program" "$built/$program"
done
# The legacy builder is enough, and is there where buildx is not.
DOCKER_BUILDKIT=0 docker build --quiet --tag "$image" --file deploy/Dockerfile "$context"
