//! Many seeds on all cores, and what came of them.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    settings::Settings,
    trace::mixed,
    world::{Counts, Report, run},
};

/// A run in which something did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// All that made it.
    pub settings: Settings,
    /// What did not hold.
    pub what: String,
}

/// What came of a set of seeds.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Runs that ended.
    pub runs: usize,
    /// Events of all of them.
    pub events: u64,
    /// Sums of all of them.
    pub counts: Counts,
    /// Those that went wrong.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, what } = self;
        let seed = settings.seed;
        writeln!(f, "seed {seed}: {what}")?;
        writeln!(f, "{settings:?}")?;
        write!(
            f,
            "again: GAUNG_SEED={seed} cargo run -p gaung-tests --bin simulate   (GAUNG_TRACE=1 shows every event)"
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, events, counts, failures } = self;
        let Counts { logged, acked, delivered, lost, readings, moves, followed, corrected, epochs } = counts;
        write!(
            f,
            "{runs} seeds, {} failed; {events} events: {logged} messages logged, {acked} acknowledged, {delivered} \
             delivered, {lost} given up, {readings} readings of the log, {moves} moves to the hub, {followed} \
             to another address, {corrected} times back to the log, {epochs} epochs",
            failures.len()
        )
    }
}

/// `count` seeds that belong to `origin`.
pub fn seeds_of(origin: u64, count: usize) -> impl Iterator<Item = u64> {
    (0..count as u64).map(move |i| mixed(origin.wrapping_add(mixed(i))))
}

/// Runs all seeds, on every core; stops early at ten failures.
///
/// `progress` is called after each run with the count of those that ended.
pub fn run_seeds(seeds: &[u64], progress: impl Fn(usize) + Sync) -> Tally {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let settings = Settings::draw(seed);
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&settings)));
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add(settings, outcome.map_err(|panic| words(panic.as_ref())));
            progress(tally.runs);
            if tally.failures.len() >= MAX_FAILURES {
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

const MAX_FAILURES: usize = 10;

impl Tally {
    fn add(&mut self, settings: Settings, outcome: Result<Report, String>) {
        self.runs += 1;
        let report = match outcome {
            Ok(report) => report,
            Err(what) => {
                self.failures.push(Failure { settings, what: format!("panicked: {what}") });
                return;
            }
        };
        self.events += report.events;
        let (sum, one) = (&mut self.counts, report.counts);
        sum.logged += one.logged;
        sum.acked += one.acked;
        sum.delivered += one.delivered;
        sum.lost += one.lost;
        sum.readings += one.readings;
        sum.moves += one.moves;
        sum.followed += one.followed;
        sum.corrected += one.corrected;
        sum.epochs += one.epochs;
        self.failures.extend(report.failure.map(|what| Failure { settings, what }));
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without words".to_owned())
}
