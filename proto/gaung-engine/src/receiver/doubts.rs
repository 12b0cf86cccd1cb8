//! Notices forged messages that were delivered, and resynchronises with the log.
//!
//! Datagrams prove nothing of who sent them. What they made a member deliver cannot be taken back, but the true messages
//! of those seqs are delivered all the same, and the program is told. Three things show that something is wrong: another
//! message comes under a seq that was delivered; the log or the hub has another one there; the log ends before what was
//! delivered. The first is only a hint, and a heartbeat's head too: the log, or the relay in its answer to a PROBE, which
//! carries a number that nobody else knows, decides.

use std::time::{Duration, Instant};

use gaung_proto::{Seq, SeqRange, messages::Messages};

use super::{
    HistoryEnd, LanePolicy, MemberReceiver, ReceiverEvent, gaps::GapTracker, spans::MissingState, window::ReceiveWindow,
};
use crate::timing::TIMING;

/// Messages that are read from the log to be compared, at most so many at a time.
const MAX_COMPARED: u64 = 256;
const MAX_DOUBLINGS: u32 = 3;

/// The delivered messages that may be forged.
#[derive(Debug)]
pub(super) struct ForgeryDoubts {
    /// Delivered messages to be compared with the log.
    suspects: Option<SeqRange>,
    /// The range that the current read of the log compares.
    compared: Option<SeqRange>,
    /// A PROBE for the relay's head was sent because of a doubt.
    asked_head: bool,
    not_before: Instant,
    confirm_not_before: Instant,
    denied: u32,
    last_delivered: Instant,
}

impl ForgeryDoubts {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            suspects: None,
            compared: None,
            asked_head: false,
            not_before: now,
            confirm_not_before: now,
            denied: 0,
            last_delivered: now,
        }
    }

    /// Returns when the next step of a comparison is due.
    pub(super) fn due(&self, gaps: &GapTracker) -> Option<Instant> {
        self.suspects.filter(|_| !gaps.is_reading()).map(|_| self.not_before)
    }

    fn suspect(&mut self, range: SeqRange) {
        let first = self.suspects.map_or(range.first, |known| known.first.min(range.first));
        let last = self.suspects.map_or(range.last, |known| known.last.max(range.last));
        self.suspects = Some(SeqRange { first, last: last.min(first.plus(MAX_COMPARED - 1)) });
    }

    /// Delays the next comparison, because one was started.
    fn wait(&mut self, now: Instant) {
        self.not_before = now + TIMING.doubt_min * (1 << self.denied.min(MAX_DOUBLINGS));
    }
}

impl MemberReceiver {
    /// Handles a head below what was delivered, from the relay or from somebody in its name. What was delivered less
    /// than `settled` ago may have been logged since.
    pub(super) fn doubt_head(&mut self, now: Instant, head: Seq, settled: Duration) {
        let delivered = self.delivered();
        let is_settled = now.saturating_duration_since(self.doubts.last_delivered) >= settled;
        if head >= delivered || !is_settled || self.fingerprints.is_proven(delivered) || now < self.doubts.not_before {
            return;
        }
        self.doubts.wait(now);
        self.doubts.asked_head = true;
        self.reporter.probe_soon(now);
        if self.reporter.is_unanswered() {
            let last = delivered.min(head.plus(MAX_COMPARED));
            self.doubts.suspect(SeqRange { first: head.next(), last });
        }
    }

    /// Sends a PROBE for the relay's head; where the relay does not answer, what datagrams advertise is believed.
    pub(super) fn confirm_head(&mut self, now: Instant) {
        if self.reporter.is_out_of_reach() {
            self.gaps.confirm_unanswered();
        } else if now >= self.doubts.confirm_not_before {
            self.doubts.confirm_not_before = now + TIMING.confirm_interval;
            self.reporter.probe_soon(now);
        }
    }

    /// Handles the relay's own answer that its log ended at `head` after `delivered` was delivered.
    pub(super) fn handle_relay_head(&mut self, now: Instant, delivered: Seq, head: Seq) {
        let asked = std::mem::take(&mut self.doubts.asked_head);
        if delivered > head {
            self.doubts.denied = 0;
            self.go_back(now, head.next());
        } else if asked {
            self.doubts.denied += 1;
        }
    }

    /// Marks delivered seqs under which another message came as suspect.
    pub(super) fn suspect(&mut self, now: Instant, range: SeqRange) {
        if self.config.history && self.config.policy != LanePolicy::TcpOnly {
            self.doubts.suspect(range);
            self.compare_suspects(now);
        }
    }

    /// Reads suspect messages from the log, if it can be read now.
    pub(super) fn compare_suspects(&mut self, now: Instant) {
        if self.doubts.due(&self.gaps).is_none_or(|due| due > now) {
            return;
        }
        let Some(range) = self.doubts.suspects.take() else { return };
        self.doubts.compared = Some(range);
        self.doubts.wait(now);
        self.gaps.begin_reading(now, range);
        self.stats.history += 1;
        self.events.push_back(ReceiverEvent::NeedHistory(range));
    }

    /// Handles the end of the read that compares.
    pub(super) fn handle_compared(&mut self, now: Instant, end: HistoryEnd) {
        match (self.doubts.compared.take(), end) {
            (None, _) => {}
            (Some(range), HistoryEnd::Failed) => self.doubts.suspect(range),
            (Some(range), HistoryEnd::Reached { head }) if head < range.last => {
                self.doubts.denied = 0;
                self.go_back(now, head.next());
            }
            (Some(_), HistoryEnd::Reached { .. }) => self.doubts.denied += 1,
        }
        self.compare_suspects(now);
    }

    /// Corrects messages from `first` on, where the log has others than datagrams had; `messages` are the log's.
    pub(super) fn correct(&mut self, now: Instant, first: Seq, messages: &Messages) {
        self.doubts.denied = 0;
        if !self.lane.is_trusted() {
            // Datagrams are still forged: stay away from multicast for another hold.
            let _ = self.lane.handle_forged(now);
        }
        if first < self.window.first() {
            let delivered = self.delivered();
            self.go_back(now, first);
            if self.config.history {
                // Only the log is believed for what comes again.
                self.read_through(now, delivered);
            }
        } else if let Some(range) = SeqRange::new(first, Seq(messages.end().0 - 1)) {
            self.release(now, range);
        }
    }

    /// Reads from the log what is missing up to `last`.
    fn read_through(&mut self, now: Instant, last: Seq) {
        self.gaps.catch_up(last);
        self.advertise(now, last);
        self.gaps.hasten(now, &mut self.window);
    }

    /// Drops messages of datagrams that contradict each other before either was delivered, and sends a PROBE.
    pub(super) fn release(&mut self, now: Instant, range: SeqRange) {
        let due = now + self.gap_wait();
        let released = self.window.release(range, MissingState::new(now, due, None));
        released.into_iter().chain([range]).for_each(|range| self.fingerprints.forget(range));
        self.gaps.wake_at(due);
    }

    /// Notes that the messages before `next` were delivered.
    pub(super) fn handle_taken(&mut self, next: Seq) {
        self.doubts.last_delivered = self.now;
        self.fingerprints.handle_delivered(next);
    }

    fn delivered(&self) -> Seq {
        Seq(self.window.first().0.saturating_sub(1))
    }

    /// Restarts delivery at `to`, because what was delivered from there on is not in the log.
    fn go_back(&mut self, now: Instant, to: Seq) {
        let Some(range) = SeqRange::new(to, self.delivered()) else { return };
        // What is suspect before it stays suspect.
        self.doubts.suspects = self
            .doubts
            .suspects
            .and_then(|known| SeqRange::new(known.first, known.last.min(Seq(to.0.saturating_sub(1)))));
        self.fingerprints.forget(SeqRange { first: to, last: Seq(u64::MAX) });
        self.window = ReceiveWindow::new(to);
        self.gaps.go_back(now, to);
        self.announced.cut(Seq(to.0.saturating_sub(1)));
        self.reassembly.clear();
        self.blocks.clear();
        self.stats.forged += range.len();
        // The relay must not count as heard what was not delivered.
        self.reporter.handle_delivered();
        self.events.push_back(ReceiverEvent::Forged(range));
        if self.config.history && !self.lane.is_active() {
            // The hub delivered that already, and goes on behind it.
            self.read_through(now, range.last);
        }
        let moved = self.lane.handle_forged(now);
        self.handle_move(now, moved);
    }
}
