//! Runs the simulation for long: `cargo run -p gaung-tests --bin simulate -- 100000`.
//!
//! `simulate [COUNT [ORIGIN]]` runs COUNT seeds (2000) that belong to ORIGIN (drawn, and printed). With `GAUNG_SEED=N`
//! it runs that one seed and prints its settings; with `GAUNG_TRACE=1` also every event. Ends with 1 if one failed.

use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

use gaung_tests::simulation::{Failure, Settings, run, run_seeds, seeds_of};

const USAGE: &str = "usage: simulate [COUNT [ORIGIN]]   or GAUNG_SEED=N simulate";

fn main() -> ExitCode {
    if let Ok(seed) = env::var("GAUNG_SEED") {
        return seed.parse().map_or_else(|_| misused(), run_one);
    }
    let mut numbers = env::args().skip(1).map(|argument| argument.parse());
    match (numbers.next().unwrap_or(Ok(2000)), numbers.next().unwrap_or_else(|| Ok(rand::random()))) {
        (Ok(count), Ok(origin)) => run_many(count as usize, origin),
        _ => misused(),
    }
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn run_one(seed: u64) -> ExitCode {
    let settings = Settings::draw(seed);
    println!("{settings:#?}");
    let report = run(&settings);
    println!("{report:#?}");
    match report.failure {
        None => ExitCode::SUCCESS,
        Some(what) => {
            println!("{}", Failure { settings, what });
            ExitCode::FAILURE
        }
    }
}

fn run_many(count: usize, origin: u64) -> ExitCode {
    println!("{count} seeds of origin {origin}");
    let (began, seeds) = (Instant::now(), seeds_of(origin, count).collect::<Vec<_>>());
    let tally = run_seeds(&seeds, |runs| {
        if runs % 1000 == 0 {
            eprintln!("{runs} of {count} after {:?}", rounded(began.elapsed()));
        }
    });
    for failure in &tally.failures {
        println!("{failure}\n");
    }
    println!("{tally}, in {:?}", rounded(began.elapsed()));
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

const fn rounded(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}
