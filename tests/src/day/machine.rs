//! A machine's clocks, and whether it sleeps.

use std::time::{Duration, Instant};

use group_registry::clock::Now;

/// Wall clock at the beginning of a day, ms since 1970.
const MORNING_MS: i64 = 1_800_000_000_000;

/// One machine, and whether its one process runs.
#[derive(Debug)]
pub(super) struct Machine {
    base: Instant,
    /// Time that the monotonic clock did not count.
    uncounted: Duration,
    /// By how much the wall clock is ahead of the truth.
    ahead_ms: i64,
    sleeps: Option<Sleep>,
    /// The process is killed.
    pub(super) is_down: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sleep {
    since: Duration,
    /// Whether the monotonic clock goes on.
    is_counted: bool,
}

impl Machine {
    /// `base`: any instant, the same for one run.
    pub(super) const fn new(base: Instant) -> Self {
        Self { base, uncounted: Duration::ZERO, ahead_ms: 0, sleeps: None, is_down: false }
    }

    /// What its clocks read at virtual time `at`.
    pub(super) fn now(&self, at: Duration) -> Now {
        let counted = match self.sleeps {
            Some(Sleep { since, is_counted: false }) => since,
            Some(Sleep { is_counted: true, .. }) | None => at,
        };
        Now { mono: self.base + counted - self.uncounted, unix_ms: MORNING_MS + at.as_millis() as i64 + self.ahead_ms }
    }

    pub(super) const fn works(&self) -> bool {
        self.sleeps.is_none() && !self.is_down
    }

    pub(super) const fn set_clock(&mut self, by_ms: i64) {
        self.ahead_ms += by_ms;
    }

    pub(super) const fn sleep(&mut self, at: Duration, is_counted: bool) {
        if self.sleeps.is_none() {
            self.sleeps = Some(Sleep { since: at, is_counted });
        }
    }

    pub(super) fn wake(&mut self, at: Duration) {
        if let Some(Sleep { since, is_counted: false }) = self.sleeps.take() {
            self.uncounted += at - since;
        }
    }
}
