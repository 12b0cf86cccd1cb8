//! Exponential backoff with full jitter between attempts to reach another service, so that many clients that lost the same
//! service do not return at the same moment.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tokio_util::sync::CancellationToken;

/// Computes the delay before the next attempt: its bound doubles with each failure and is reset by a success.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    rng: SmallRng,
}

impl Backoff {
    /// Makes a backoff whose first delay is at most `base`, and every delay at most `cap`.
    #[must_use]
    pub fn between(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0, rng: SmallRng::from_os_rng() }
    }

    /// Resets the bound after a success, so that the next delay is short again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the next delay, uniform from 1 ms to the current bound, and doubles the bound.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.base.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX).max(1_000);
        Duration::from_micros(self.rng.random_range(1_000..=bound_us))
    }

    /// Waits for [`Self::next_delay`]. Returns false at once if `stop` is cancelled meanwhile.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let delay = self.next_delay();
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_under_a_doubling_bound() {
        let mut backoff = Backoff::between(Duration::from_millis(50), Duration::from_secs(5));
        for failure in 0..200u32 {
            let bound = Duration::from_millis(50).saturating_mul(1 << failure.min(20)).min(Duration::from_secs(5));
            let delay = backoff.next_delay();
            assert!(delay >= Duration::from_millis(1) && delay <= bound, "failure {failure}: {delay:?}");
        }
        assert!((0..20).any(|_| backoff.next_delay() > Duration::from_millis(50)));
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(50));
    }

    #[tokio::test]
    async fn a_cancelled_wait_ends_at_once() {
        let stop = CancellationToken::new();
        stop.cancel();
        let mut backoff = Backoff::between(Duration::from_secs(3600), Duration::from_secs(3600));
        let waited = tokio::time::timeout(Duration::from_secs(5), backoff.wait(&stop)).await;
        assert_eq!(waited, Ok(false));
    }
}
