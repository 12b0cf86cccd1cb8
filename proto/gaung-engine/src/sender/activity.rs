//! Remembers when somebody listened to a group, and when anything happened in it.

use std::time::Instant;

use crate::timing::TIMING;

/// When a group was last heard from and used. A group without listeners is not multicast, and one in which nothing
/// happens has few heartbeats.
#[derive(Debug)]
pub(super) struct GroupActivity {
    /// When the last STATUS or PROBE came.
    last_heard: Option<Instant>,
    /// When the last run, STATUS, PROBE or move came; not before `last_heard`.
    last_activity: Instant,
}

impl GroupActivity {
    /// Begins at an opening of the log. `is_heard`: whether members may listen already.
    pub(super) fn new(now: Instant, is_heard: bool) -> Self {
        Self { last_heard: is_heard.then_some(now), last_activity: now }
    }

    /// Whether somebody may receive; without a STATUS or PROBE for
    /// [`Timing::unheard_after`](crate::Timing::unheard_after) heartbeats are enough.
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        self.last_heard.is_some_and(|at| now.saturating_duration_since(at) < TIMING.unheard_after)
    }

    /// Whether anything happened within [`Timing::unheard_after`](crate::Timing::unheard_after).
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_activity) < TIMING.unheard_after
    }

    /// Notes that something happened in the group.
    pub(super) const fn handle_activity(&mut self, now: Instant) {
        self.last_activity = now;
    }

    /// Notes that a listener was heard from.
    pub(super) const fn handle_listener(&mut self, now: Instant) {
        self.last_heard = Some(now);
        self.last_activity = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_a_group_awake_and_only_a_listener_is_sent_to() {
        let began = Instant::now();
        let mut activity = GroupActivity::new(began, false);
        let later = began + TIMING.unheard_after;
        assert!(activity.is_recent(began) && !activity.is_recent(later));
        activity.handle_activity(later);
        assert!(activity.is_recent(later) && !activity.is_heard(later));
        activity.handle_listener(later);
        assert!(activity.is_heard(later) && !activity.is_heard(later + TIMING.unheard_after));
        assert!(GroupActivity::new(began, true).is_heard(began));
    }
}
