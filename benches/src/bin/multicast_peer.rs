//! Gaung as a peer of a multicast benchmark: one process publishes from within a relay, others receive.
//!
//! ```text
//! multicast_peer tx r=4 size=64 rate=1000 secs=2 ip=10.77.0.1
//! multicast_peer rx ip=10.77.0.11 server=10.77.0.1
//! ```
//!
//! Both speak lines over stdin and stdout; `gaung_bench::multicast_peer` has them, and all arguments.

use std::process::ExitCode;

use gaung_bench::multicast_peer::{arguments::Arguments, publisher, receiver};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((role, rest)) if role == "tx" => Arguments::parse(rest).and_then(|arguments| publisher::run(&arguments)),
        Some((role, rest)) if role == "rx" => Arguments::parse(rest).and_then(|arguments| receiver::run(&arguments)),
        Some(_) | None => Err(anyhow::anyhow!("the first word must be tx or rx, then name=value")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("multicast_peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
