//! Waiting between attempts to reach a server: exponential, with full jitter, so that many that lost the same server
//! do not come back at the same moment.

use std::time::Duration;

use rand::Rng as _;

const BASE: Duration = Duration::from_millis(50);
const CAP: Duration = Duration::from_secs(3);

/// Grows with each failure, from 50 ms to 3 s; starts again after a success.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Uniform from half the current bound to the bound, which doubles with each call.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let bound = BASE.saturating_mul(1 << self.failures.min(10)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        rand::rng().random_range(bound / 2..=bound)
    }
}
