//! Folds what was decided for each row of missing messages, from the oldest on, into what is read and what is lost.

use gaung_proto::{Seq, SeqRange};

/// What is to be done about one row of missing messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowVerdict {
    /// A repair may still come.
    NotDue,
    /// It is requested by NAK.
    Request,
    /// Repair will not bring it: it is read from the log, or lost where there is none to read.
    GiveUp,
}

/// The verdicts on all rows so far.
#[derive(Debug)]
pub(super) struct RowSweep {
    /// How many rows there are.
    pub(super) rows: u32,
    /// From the first row that is given up to the last one.
    pub(super) given_up: Option<SeqRange>,
    /// Everything below can be skipped, where there is no log to read: given up, and known to be in the log.
    pub(super) lost_below: Option<Seq>,
    /// Something is given up of which nobody knows whether the log has it.
    pub(super) is_unconfirmed: bool,
    confirmed: Seq,
    /// Each row so far is given up and confirmed. A later row cannot be lost before an earlier one: messages are
    /// delivered in order.
    is_front: bool,
}

impl RowSweep {
    /// Begins before the oldest row. `confirmed`: up to here the relay itself says that the log reaches.
    pub(super) const fn new(confirmed: Seq) -> Self {
        Self { rows: 0, given_up: None, lost_below: None, is_unconfirmed: false, confirmed, is_front: true }
    }

    /// Adds the next row; rows come in the order of seq.
    pub(super) fn add(&mut self, row: SeqRange, verdict: RowVerdict) {
        self.rows += 1;
        if verdict != RowVerdict::GiveUp {
            self.is_front = false;
            return;
        }
        self.given_up.get_or_insert(row).last = row.last;
        if self.is_front && row.first <= self.confirmed {
            self.lost_below = Some(row.last.min(self.confirmed).next());
        }
        // What is given up cannot be had once it is said, so the relay confirms it first.
        let is_confirmed = row.last <= self.confirmed;
        self.is_unconfirmed |= !is_confirmed;
        self.is_front &= is_confirmed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(confirmed: u64, rows: &[(u64, u64, RowVerdict)]) -> RowSweep {
        let mut sweep = RowSweep::new(Seq(confirmed));
        for &(first, last, verdict) in rows {
            sweep.add(SeqRange { first: Seq(first), last: Seq(last) }, verdict);
        }
        sweep
    }

    #[test]
    fn only_what_is_given_up_at_the_front_is_lost() {
        use RowVerdict::{GiveUp, NotDue, Request};
        assert_eq!(sweep(9, &[(1, 2, GiveUp), (4, 5, GiveUp), (7, 7, Request)]).lost_below, Some(Seq(6)));
        assert_eq!(sweep(9, &[(1, 2, GiveUp), (4, 5, NotDue), (7, 7, GiveUp)]).lost_below, Some(Seq(3)));
        assert_eq!(sweep(9, &[(1, 2, Request), (4, 5, GiveUp)]).lost_below, None);
    }

    #[test]
    fn nothing_is_lost_that_the_relay_did_not_confirm() {
        use RowVerdict::GiveUp;
        let half = sweep(4, &[(1, 2, GiveUp), (4, 5, GiveUp), (7, 7, GiveUp)]);
        assert_eq!((half.lost_below, half.is_unconfirmed), (Some(Seq(5)), true));
        let all = sweep(7, &[(1, 2, GiveUp), (4, 5, GiveUp), (7, 7, GiveUp)]);
        assert_eq!((all.lost_below, all.is_unconfirmed), (Some(Seq(8)), false));
        assert_eq!(sweep(0, &[(1, 2, GiveUp)]).lost_below, None);
    }

    #[test]
    fn what_is_given_up_is_read_at_once() {
        use RowVerdict::{GiveUp, Request};
        let read = sweep(0, &[(1, 2, Request), (4, 5, GiveUp), (7, 7, Request), (9, 9, GiveUp)]).given_up;
        assert_eq!(read, Some(SeqRange { first: Seq(4), last: Seq(9) }));
    }
}
