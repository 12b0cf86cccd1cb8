//! Ages by a wall clock that is set now and then.

use std::{collections::VecDeque, time::Duration};

/// The wall clock and the time that has passed disagree by this much: the clock was set. Slewing stays below it from one
/// look to the next.
const STEP_MS: i64 = 1000;
/// Steps that are told apart; of more the oldest count as one.
const MAX_STEPS: usize = 64;

/// Tells how old is what was stamped by a wall clock that may have been set forward since: by NTP some minutes after a
/// machine without a clock of its own has started, or by hand.
///
/// What was stamped before such a step looks older than it is by the step. So a step counts only once everything stamped
/// before it is too old anyway. Set back, a clock makes ages too short, which loses nothing. Steps while nobody looks, and
/// those before a restart, are not seen.
#[derive(Debug, Clone, Default)]
pub struct AgeClock {
    /// At the last look: time since the machine's start, suspended time included, and ms since 1970.
    seen: Option<(Duration, i64)>,
    /// Steps forward, the newest last.
    steps: VecDeque<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Since the machine's start.
    at: Duration,
    ms: i64,
}

impl AgeClock {
    /// Looks at the clocks, which the caller has read together: the time since the machine's start, suspended time
    /// included, and the wall clock in ms since 1970. Gives by how many ms the wall clock was set forward since the last
    /// look; 0 if it was not.
    pub fn observe(&mut self, uptime: Duration, unix_ms: i64) -> i64 {
        let Some((before, before_ms)) = self.seen.replace((uptime, unix_ms)) else { return 0 };
        let passed_ms = uptime.saturating_sub(before).as_millis() as i64;
        let ahead = unix_ms.saturating_sub(before_ms).saturating_sub(passed_ms);
        if ahead <= -STEP_MS {
            self.take_back(-ahead);
        }
        if ahead < STEP_MS {
            return 0;
        }
        self.steps.push_back(Step { at: uptime, ms: ahead });
        if self.steps.len() > MAX_STEPS
            && let Some(oldest) = self.steps.pop_front()
            && let Some(next) = self.steps.front_mut()
        {
            next.ms = next.ms.saturating_add(oldest.ms);
        }
        ahead
    }

    /// The time by which what is kept for `kept_ms` is too old, as of the last look, ms since 1970.
    #[must_use]
    pub fn time_for(&self, kept_ms: u64) -> i64 {
        let Some((uptime, unix_ms)) = self.seen else { return 0 };
        let counts = |step: &&Step| uptime.saturating_sub(step.at) < Duration::from_millis(kept_ms);
        let early: i64 = self.steps.iter().filter(counts).fold(0, |sum, step| sum.saturating_add(step.ms));
        unix_ms.saturating_sub(early)
    }

    /// The clock was set back: the last steps forward were wrong.
    fn take_back(&mut self, ms: i64) {
        let mut left = ms;
        while left > 0
            && let Some(last) = self.steps.back_mut()
        {
            let taken = last.ms.min(left);
            (last.ms, left) = (last.ms - taken, left - taken);
            if last.ms < STEP_MS {
                self.steps.pop_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_800_000_000_000;
    const HOUR_MS: u64 = 3_600_000;

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    /// A clock that was right at minute 0.
    fn clock() -> AgeClock {
        let mut clock = AgeClock::default();
        assert_eq!(clock.observe(minutes(0), NOON), 0);
        clock
    }

    #[test]
    fn a_step_forward_counts_once_what_was_before_it_is_too_old_anyway() {
        let (mut clock, year) = (clock(), 365 * 24 * HOUR_MS as i64);
        assert_eq!(clock.observe(minutes(1), NOON + 60_000 + year), year);
        assert_eq!(clock.time_for(HOUR_MS), NOON + 60_000);
        assert_eq!(clock.time_for(0), NOON + 60_000 + year, "nothing is kept");
        assert_eq!(clock.observe(minutes(60), NOON + 3_600_000 + year), 0);
        assert_eq!(clock.time_for(HOUR_MS), NOON + 3_600_000);
        assert_eq!(clock.observe(minutes(61), NOON + 3_660_000 + year), 0);
        assert_eq!(clock.time_for(HOUR_MS), NOON + 3_660_000 + year);
        assert_eq!(clock.time_for(24 * HOUR_MS), NOON + 3_660_000, "a longer time is longer in doubt");
    }

    #[test]
    fn a_step_that_is_taken_back_is_forgotten() {
        let mut clock = clock();
        let day = 24 * HOUR_MS as i64;
        clock.observe(minutes(1), NOON + 60_000 + day);
        clock.observe(minutes(2), NOON + 120_000);
        assert_eq!(clock.time_for(HOUR_MS), NOON + 120_000);
        clock.observe(minutes(3), NOON + 180_000 - day);
        assert_eq!(clock.time_for(HOUR_MS), NOON + 180_000 - day, "it says that everything is younger");
    }

    #[test]
    fn a_suspended_machine_and_a_clock_that_is_slewed_step_nothing() {
        let mut clock = clock();
        assert_eq!(clock.observe(minutes(600), NOON + 600 * 60_000 + 300), 0);
        assert_eq!(clock.time_for(HOUR_MS), NOON + 600 * 60_000 + 300);
    }

    #[test]
    fn however_often_it_is_set_little_is_kept_and_nothing_forgotten() {
        let mut clock = clock();
        for minute in 1..1000 {
            clock.observe(minutes(minute), NOON + minute as i64 * 65_000);
        }
        assert!(clock.steps.len() <= MAX_STEPS);
        assert_eq!(clock.time_for(u64::MAX / 2), NOON + 999 * 60_000);
    }
}
