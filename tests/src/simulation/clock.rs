//! What a node takes for the time: virtual time, faster or slower than it, with jumps, never backwards.

use std::time::{Duration, Instant};

/// One node's monotonic clock.
#[derive(Debug, Clone)]
pub(super) struct NodeClock {
    base: Instant,
    /// Virtual and local time since which the rate holds.
    anchor: (Duration, Duration),
    /// Millionths by which it runs ahead of virtual time.
    drift_ppm: i64,
}

impl NodeClock {
    /// `base`: any instant, the same for one run.
    pub(super) const fn new(base: Instant, drift_ppm: i64) -> Self {
        Self { base, anchor: (Duration::ZERO, Duration::ZERO), drift_ppm }
    }

    /// What the node reads at virtual time `at`.
    pub(super) fn read(&self, at: Duration) -> Instant {
        self.base + self.local(at)
    }

    /// The first virtual time, at least `now`, at which the node reads `local` or later.
    pub(super) fn when(&self, local: Instant, now: Duration) -> Duration {
        let (since, read) = self.anchor;
        let wanted = local.saturating_duration_since(self.base);
        let Some(ahead) = wanted.checked_sub(read) else { return now };
        (since + nanos(ceil_div(ahead.as_nanos() as i128 * MILLION, MILLION + i128::from(self.drift_ppm)))).max(now)
    }

    /// From `at` on it reads `by` more, as after a suspended machine woke up.
    pub(super) fn jump(&mut self, at: Duration, by: Duration) {
        self.anchor = (at, self.local(at) + by);
    }

    /// From `since` to `at` it stood still, as one does that does not count the time in which its machine is suspended.
    /// Nothing was read from it meanwhile.
    pub(super) fn stood_still(&mut self, since: Duration, at: Duration) {
        self.anchor = (at, self.local(since));
    }

    fn local(&self, at: Duration) -> Duration {
        let (since, read) = self.anchor;
        let passed = at.saturating_sub(since).as_nanos() as i128;
        read + nanos(passed * (MILLION + i128::from(self.drift_ppm)) / MILLION)
    }
}

const MILLION: i128 = 1_000_000;

fn nanos(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).expect("runs last minutes, not centuries"))
}

const fn ceil_div(a: i128, b: i128) -> i128 {
    (a + b - 1) / b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_when_the_node_reads_its_time() {
        let base = Instant::now();
        for drift_ppm in [-50_000, -137, 0, 91, 50_000] {
            let mut clock = NodeClock::new(base, drift_ppm);
            for step in 1..200u64 {
                let now = Duration::from_nanos(step * 7_654_321);
                let due = clock.read(now) + Duration::from_nanos(step * 1_234_567);
                let at = clock.when(due, now);
                assert!(clock.read(at) >= due, "{drift_ppm} ppm, step {step}");
                assert!(clock.read(at - Duration::from_nanos(2)) < due, "{drift_ppm} ppm, step {step}");
                if step % 50 == 0 {
                    let before = clock.read(now);
                    clock.jump(now, Duration::from_secs(3));
                    assert_eq!(clock.read(now), before + Duration::from_secs(3));
                    let later = now + Duration::from_secs(3600);
                    clock.stood_still(now, later);
                    assert_eq!(clock.read(later), before + Duration::from_secs(3));
                    clock = NodeClock::new(base, drift_ppm);
                }
            }
        }
    }
}
