//! A LAN that loses, repeats, reorders and falls silent, a relay that stands still and dies, and those who mean harm: every
//! member gets every message once and in order, nearly all by datagram.
//!
//! What is measured stands in the environment, so that the usual run is short. The full one takes about ten minutes in a
//! release build, on a machine with nothing else to do:
//!
//! ```sh
//! GAUNG_LOSS_PERCENT=0,1,5,20,40 GAUNG_LOSS_MESSAGES=20000 GAUNG_LOSS_RATE=2000 GAUNG_LOSS_BURSTS=40 \
//!     GAUNG_LOSS_TAILS=300 GAUNG_LOSS_SILENCE=30 GAUNG_LOSS_STOP=30 GAUNG_LOSS_FLOOD=15 \
//!     cargo test --release -p gaung-tests --test loss -- --nocapture --test-threads 1
//! ```
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `GAUNG_LOSS_PERCENT` | loss at each member, percent | 0,5,20 |
//! | `GAUNG_LOSS_MESSAGES`, `GAUNG_LOSS_RATE` | messages of 1 KiB in a run, and in a second | 3000, 1000 |
//! | `GAUNG_LOSS_BURSTS` | bursts of 512 messages that parity repairs | 10 |
//! | `GAUNG_LOSS_TAILS` | messages each followed by a pause | 50 |
//! | `GAUNG_LOSS_SILENCE` | seconds for which one member is deaf | 8 |
//! | `GAUNG_LOSS_STOP` | seconds for which the relay stands still | 4 |
//! | `GAUNG_LOSS_FLOOD` | seconds of each NAK flood | 4 |
#![allow(missing_docs)]

mod flood;
mod repaired;
mod silence;
mod standstill;

use std::{
    env,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use gaung_tests::{
    lab::{Host, Lab},
    process::Process,
    programs::program,
};
use nix::sys::signal::Signal;

const MEMBERS: usize = 8;
const BYTES: usize = 1024;

/// From being given to the publishing command to being read from the listening one, ms.
fn latencies(said: &[Instant], heard: &[Instant]) -> Vec<f64> {
    said.iter().zip(heard).map(|(said, heard)| heard.saturating_duration_since(*said).as_secs_f64() * 1e3).collect()
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The middle and the 99th percentile of some messages' latencies, ms.
fn latency(said: &[Instant], heard: &[Instant], range: std::ops::Range<usize>) -> (f64, f64) {
    let latencies = latencies(&said[range.clone()], &heard[range]);
    (percentile(latencies.clone(), 0.5), percentile(latencies, 0.99))
}

/// A machine that does other things as well is not to be told from harm that small.
fn is_unharmed((before, _): (f64, f64), (meanwhile, _): (f64, f64)) -> bool {
    meanwhile <= before * 2.0 + 5.0
}

/// Held by who loads the machine and by who measures how late members are: they would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All lines of a listener that has heard everything, and that nothing more comes from.
fn finish(member: Process, count: usize) -> Vec<String> {
    let _ = member.stdout_lines(count);
    // Long enough for a duplicate that was on its way.
    thread::sleep(Duration::from_millis(300));
    member.signal(Signal::SIGTERM);
    member.end().stdout
}

fn members(lab: &Lab) -> Vec<&Host> {
    (1..lab.len()).map(|index| lab.host(index)).collect()
}

fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn up(host: &Host, data: &Path) -> Process {
    let data = data.join("server").display().to_string();
    let server = host.start(program("gaung"), &["up", "--headless", "--segmentation", "off", "--data", &data]);
    let _ = server.stdout_line("registry's address", |line| line.contains("7400"));
    server
}
