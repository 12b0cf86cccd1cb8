//! Notices forged messages that were delivered, and resynchronises with the log.
//!
//! Datagrams prove nothing of who sent them. What they made a member deliver cannot be taken back, but the true messages
//! of those seqs are delivered all the same, and the program is told. Three things show that something is wrong: another
//! message comes under a seq that was delivered; the log or the hub has another one there; the log ends before what was
//! delivered. The first is only a hint, and a heartbeat's head too: the log, or the relay in its answer to a PROBE, which
//! carries a number that nobody else knows, decides.

use std::time::{Duration, Instant};

use gaung_proto::{Seq, SeqRange};

use super::HistoryEnd;
use crate::timing::TIMING;

/// Messages that are read from the log to be compared, at most so many at a time.
const MAX_COMPARED: u64 = 256;
const MAX_DOUBLINGS: u32 = 3;

/// The delivered messages that may be forged, and when to ask the log or the relay about them.
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

    /// Returns when the next comparison is due. `is_reading`: the log is being read already.
    pub(super) fn due(&self, is_reading: bool) -> Option<Instant> {
        self.suspects.filter(|_| !is_reading).map(|_| self.not_before)
    }

    /// Marks delivered seqs as suspect, at most as many as one comparison reads.
    pub(super) fn suspect(&mut self, range: SeqRange) {
        let first = self.suspects.map_or(range.first, |known| known.first.min(range.first));
        let last = self.suspects.map_or(range.last, |known| known.last.max(range.last));
        self.suspects = Some(SeqRange { first, last: last.min(first.plus(MAX_COMPARED - 1)) });
    }

    /// Begins to compare suspect messages, if that is due; returns what to read from the log.
    pub(super) fn begin_comparison(&mut self, now: Instant, is_reading: bool) -> Option<SeqRange> {
        self.due(is_reading).filter(|due| *due <= now)?;
        self.compared = self.suspects.take();
        self.wait(now);
        self.compared
    }

    /// Handles the end of the read that compares; returns from where on nothing that was delivered is in the log.
    pub(super) fn handle_compared(&mut self, end: HistoryEnd) -> Option<Seq> {
        let range = self.compared.take()?;
        match end {
            // Nothing was learnt: it stays suspect.
            HistoryEnd::Failed => self.suspect(range),
            HistoryEnd::Reached { head } if head < range.last => {
                self.denied = 0;
                return Some(head.next());
            }
            HistoryEnd::Reached { .. } => self.denied += 1,
        }
        None
    }

    /// Handles a head below `delivered`, from the relay or from somebody in its name; returns whether to ask the relay.
    /// What was delivered less than `settled` ago may have been logged since. `is_unanswered`: the relay does not answer,
    /// so that the log is read instead.
    pub(super) fn handle_head(
        &mut self,
        now: Instant,
        head: Seq,
        delivered: Seq,
        settled: Duration,
        is_unanswered: bool,
    ) -> bool {
        // A heartbeat made before the last message was logged says less than was delivered, and is no lie.
        if now.saturating_duration_since(self.last_delivered) < settled || now < self.not_before {
            return false;
        }
        self.wait(now);
        self.asked_head = true;
        if is_unanswered {
            self.suspect(SeqRange { first: head.next(), last: delivered.min(head.plus(MAX_COMPARED)) });
        }
        true
    }

    /// Handles the relay's own answer that its log ended at `head` after `delivered` was delivered; returns from where on
    /// nothing that was delivered is in the log.
    pub(super) fn handle_relay_head(&mut self, delivered: Seq, head: Seq) -> Option<Seq> {
        let asked = std::mem::take(&mut self.asked_head);
        if delivered > head {
            self.denied = 0;
            return Some(head.next());
        }
        self.denied += u32::from(asked);
        None
    }

    /// Whether the relay may be asked now to confirm an advertised head; if so, it is not asked again for a while.
    pub(super) fn may_confirm(&mut self, now: Instant) -> bool {
        let may_confirm = now >= self.confirm_not_before;
        if may_confirm {
            self.confirm_not_before = now + TIMING.confirm_interval;
        }
        may_confirm
    }

    /// Notes that a message was delivered.
    pub(super) const fn handle_delivered(&mut self, now: Instant) {
        self.last_delivered = now;
    }

    /// Notes that the log had another message than datagrams had: doubts are justified.
    pub(super) const fn handle_corrected(&mut self) {
        self.denied = 0;
    }

    /// Notes that delivery restarts at `to`. What is suspect before it stays suspect.
    pub(super) fn go_back(&mut self, to: Seq) {
        let before = Seq(to.0.saturating_sub(1));
        self.suspects = self.suspects.and_then(|known| SeqRange::new(known.first, known.last.min(before)));
    }

    /// Delays the next comparison, because one was started: the longer, the more doubts in a row were denied.
    fn wait(&mut self, now: Instant) {
        self.not_before = now + TIMING.doubt_min * (1 << self.denied.min(MAX_DOUBLINGS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn suspects_are_compared_once_the_log_is_free_and_again_if_it_cannot_be_read() {
        let now = Instant::now();
        let mut doubts = ForgeryDoubts::new(now);
        doubts.suspect(range(10, 12));
        doubts.suspect(range(8, 8));
        assert_eq!((doubts.due(true), doubts.begin_comparison(now, true)), (None, None), "it is being read");
        assert_eq!(doubts.begin_comparison(now, false), Some(range(8, 12)));
        assert_eq!(doubts.handle_compared(HistoryEnd::Failed), None);
        assert_eq!(doubts.begin_comparison(now, false), None, "not at once");
        let later = now + TIMING.doubt_min;
        assert_eq!(doubts.begin_comparison(later, false), Some(range(8, 12)));
        assert_eq!(doubts.handle_compared(HistoryEnd::Reached { head: Seq(9) }), Some(Seq(10)));
        assert_eq!(doubts.handle_compared(HistoryEnd::Reached { head: Seq(9) }), None, "nothing is compared any more");
        doubts.suspect(range(5, 12));
        doubts.go_back(Seq(10));
        doubts.suspect(range(3, u64::MAX));
        assert_eq!(doubts.begin_comparison(later + TIMING.doubt_min, false), Some(range(3, 2 + MAX_COMPARED)));
    }

    #[test]
    fn a_head_below_what_was_delivered_is_asked_about_the_less_often_the_more_was_denied() {
        let began = Instant::now();
        let mut doubts = ForgeryDoubts::new(began);
        assert!(
            !doubts.handle_head(began, Seq(5), Seq(9), TIMING.head_settled, false),
            "it may have been logged since"
        );
        let (mut now, mut waits) = (began + TIMING.head_settled, Vec::new());
        for _ in 0..5 {
            assert!(doubts.handle_head(now, Seq(5), Seq(9), TIMING.head_settled, false));
            assert_eq!(doubts.handle_relay_head(Seq(9), Seq(9)), None, "the relay has all of it");
            waits.push(doubts.not_before - now);
            assert!(!doubts.handle_head(now, Seq(5), Seq(9), TIMING.head_settled, false));
            now = doubts.not_before;
        }
        assert_eq!(waits, [1, 2, 4, 8, 8].map(|times| TIMING.doubt_min * times));
        assert_eq!(doubts.handle_relay_head(Seq(9), Seq(5)), Some(Seq(6)));
        assert!(doubts.handle_head(now, Seq(5), Seq(9), Duration::ZERO, true));
        assert_eq!(doubts.not_before - now, TIMING.doubt_min, "it was justified");
        assert_eq!(doubts.begin_comparison(doubts.not_before, false), Some(range(6, 9)), "the log decides instead");
    }

    #[test]
    fn the_relay_is_asked_to_confirm_a_head_only_so_often() {
        let now = Instant::now();
        let mut doubts = ForgeryDoubts::new(now);
        assert!(doubts.may_confirm(now) && !doubts.may_confirm(now));
        assert!(doubts.may_confirm(now + TIMING.confirm_interval));
    }
}
