//! Notices that the wall clock was set forward.

use std::time::Duration;

/// The wall clock and the time that has passed disagree by this much: the clock was set. Slewing stays below it from one
/// look to the next.
const STEP_MS: i64 = 1000;

/// Compares the wall clock with the time that passes: NTP sets it some minutes after a machine without a clock of its own has
/// started, and nobody was silent for that time. Steps before the first look are not seen.
#[derive(Debug, Clone, Default)]
pub struct ClockWatch {
    /// At the last look: time since the machine's start, suspended time included, and ms since 1970.
    seen: Option<(Duration, i64)>,
}

impl ClockWatch {
    /// Compares the clocks, which the caller has read together: the time since the machine's start, suspended time
    /// included, and the wall clock in ms since 1970. Returns by how many ms the wall clock was set forward since the
    /// last call; 0 if it was not.
    pub fn observe(&mut self, uptime: Duration, unix_ms: i64) -> i64 {
        let Some((before, before_ms)) = self.seen.replace((uptime, unix_ms)) else { return 0 };
        let passed_ms = uptime.saturating_sub(before).as_millis() as i64;
        let ahead_ms = unix_ms.saturating_sub(before_ms).saturating_sub(passed_ms);
        if ahead_ms < STEP_MS { 0 } else { ahead_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_step_forward_is_told() {
        const NOON: i64 = 1_800_000_000_000;
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let mut clock = ClockWatch::default();
        let mut looks = Vec::new();
        // Slewed, set forward by an hour, set back by two, and a machine that was suspended for ten hours.
        for (minute, ahead_ms) in [(0, 0), (1, 300), (2, 3_600_300), (3, -3_600_000), (603, -3_600_000)] {
            looks.push(clock.observe(minutes(minute), NOON + 60_000 * minute as i64 + ahead_ms));
        }
        assert_eq!(looks, [0, 0, 3_600_000, 0, 0]);
    }
}
