//! Skips data that is not worth sending, because too much waits or nobody listens, and reviews the rate.

use std::time::Instant;

use gaung_proto::{Pkt, Seq, run::Run};

use super::{RelaySender, outgoing::SentPosition};
use crate::timing::TIMING;

impl RelaySender {
    /// Drops queued data: members read the log up to `seq`.
    pub(super) fn skip_to(&mut self, now: Instant, seq: Seq, pkt: Pkt) {
        let skipped = self.outgoing.skip_data(SentPosition { seq, pkt });
        self.stats.data_skipped += skipped as u64;
        self.skipped_at = (skipped > 0).then_some(now).or(self.skipped_at);
        self.window.clear();
        self.heartbeat.hasten(now);
    }

    /// Passes over a run without packing it, because nobody listens.
    pub(super) fn pass_over(&mut self, now: Instant, run: &Run) {
        self.stats.messages_unheard += u64::from(run.count());
        self.head = run.last_seq();
        let skipped = self.outgoing.skip_data(SentPosition { seq: self.head, pkt: Pkt(self.next_data - 1) });
        self.stats.data_skipped += skipped as u64;
        self.window.clear();
        self.heartbeat.restart(now);
    }

    /// Whether somebody may receive; without a STATUS or PROBE for
    /// [`Timing::unheard_after`](crate::Timing::unheard_after) heartbeats are enough.
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        self.last_heard.is_some_and(|at| now.saturating_duration_since(at) < TIMING.unheard_after)
    }

    /// Whether heartbeats are sent as often as members expect them.
    pub(super) fn is_awake(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_activity) < TIMING.unheard_after
            || self.is_heard(now)
            || self.departure_due().is_some()
    }

    /// Sets how many groups share the relay's heartbeats: the more there are, the longer is the interval of those
    /// without listeners, 2 to 60 s.
    pub fn set_groups(&mut self, groups: usize) {
        self.heartbeat.set_groups(groups);
    }

    /// Notes that a listener was heard from.
    pub(super) fn handle_listener(&mut self, now: Instant) {
        self.wake(now);
        self.last_heard = Some(now);
    }

    /// Restarts heartbeats because something happens in the group.
    pub(super) fn wake(&mut self, now: Instant) {
        if !self.is_awake(now) {
            self.heartbeat.hasten(now);
        }
        self.last_activity = now;
    }

    pub(super) fn review_rate(&mut self, now: Instant) {
        if self.outgoing.next_period() <= now {
            let mut losses = self.members.losses();
            // Members cannot tell what was lost from what never left.
            if self.skipped_at.is_some_and(|at| now.saturating_duration_since(at) < TIMING.skip_echo) {
                losses.clear();
            }
            self.outgoing.end_period(now, &mut losses);
        }
    }
}
