//! What the person at the bench says.

use std::time::Duration;

use clap::Parser;

/// Measures Gaung and, where they are installed, NATS, Redis and Mosquitto: in turn, on loopback, by one generator.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "bench",
    after_help = "Examples:\n  bench                          all contests, some 45 minutes\n  bench --list\n  \
        bench fan-out-64 latency-1000  these alone\n  bench --rounds 1 --secs 1 fan-out\n\n\
        What is no whole name chooses all contests that begin so. Exits with 1 if anything was lost, repeated or out of order."
)]
pub struct Arguments {
    /// Contests; without any, all.
    #[arg(value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Tell the names of the contests, and what must come out.
    #[arg(long)]
    pub(super) list: bool,
    /// How often each entry runs; the medians are told.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// How long each run is measured, in seconds.
    #[arg(long, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    pub(super) secs: Duration,
    /// One JSON object a line on stdout: the machine, each run, each median, each comparison.
    #[arg(long)]
    pub(super) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if duration < Duration::from_millis(100) {
        return Err("must be at least 0.1".to_owned());
    }
    Ok(duration)
}
