//! Gaung beside NATS, Redis and Mosquitto, and beside itself: `cargo run --release -p gaung-tests --bin bench -- --help`.
//!
//! What is measured, and how to read it, stands in `tests/bench/README.md`.

use std::process::ExitCode;

use clap::Parser as _;
use gaung_tests::bench::{self, arguments::Arguments};

fn main() -> ExitCode {
    match bench::run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
