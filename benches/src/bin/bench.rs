//! Gaung beside NATS, Redis and Mosquitto, and beside itself: `cd benches && cargo run --release -- --help`.
//!
//! What is measured, and how to read it, stands in `benches/README.md`.

use std::process::ExitCode;

use clap::Parser as _;
use gaung_bench::arguments::Arguments;

fn main() -> ExitCode {
    match gaung_bench::run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
