//! The hot ring: a group's newest runs in memory, bounded in bytes, read by any number of cursors.

mod budget;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use gaung_proto::{Seq, run::Run};

use budget::RingShare;
pub use budget::{RingBudget, RingOwner, RingSegment};

/// The newest runs of one log, without a hole, at most a budget of bytes.
///
/// The oldest runs are dropped above the budget; the newest one always stays, however long it is, unless a budget of all
/// rings takes it. The ring compares seqs only: at another log id its owner calls [`HotRing::clear_to`] first.
#[derive(Debug)]
pub struct HotRing {
    runs: VecDeque<HeldRun>,
    head: Seq,
    bytes: usize,
    budget_bytes: usize,
    share: Option<RingShare>,
}

#[derive(Debug)]
struct HeldRun {
    run: Run,
    segment: RingSegment,
}

/// Says what became of a run that was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// The run continues the ring.
    Appended,
    /// The ring had all of it already; nothing changed.
    Known,
    /// The run left a hole: the ring was emptied and now holds this run alone.
    Reset,
}

/// Says what [`HotRing::read_from`] found at a seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingRead {
    /// At least one run. The first holds the seq requested and may begin before it; each shares the ring's bytes.
    Runs(Vec<Run>),
    /// The seq is older than the ring.
    Trimmed {
        /// First seq that the ring still has, or the next one to be logged if it is empty.
        oldest: Seq,
    },
    /// The seq was not logged yet.
    AtHead,
}

impl HotRing {
    /// Makes an empty ring before seq 1 that holds at most `budget_bytes` (or one run).
    #[must_use]
    pub const fn new(budget_bytes: usize) -> Self {
        Self { runs: VecDeque::new(), head: Seq::ZERO, bytes: 0, budget_bytes, share: None }
    }

    /// Makes a ring that shares the budget `shared` with others; `owner` is notified when this one has to drop runs.
    #[must_use]
    pub fn within(shared: Arc<RingBudget>, owner: Weak<dyn RingOwner>, budget_bytes: usize) -> Self {
        let share = Some(RingShare::new(shared, owner));
        Self { runs: VecDeque::new(), head: Seq::ZERO, bytes: 0, budget_bytes, share }
    }

    /// Adds a run at the head and drops the oldest runs above the budget.
    ///
    /// A run that begins at or before the head and ends after it is kept whole: its readers drop what they have.
    pub fn push(&mut self, run: Run) -> PushOutcome {
        if run.last_seq() <= self.head && self.head != Seq::ZERO {
            return PushOutcome::Known;
        }
        let pushed = if run.first_seq() <= self.head.next() { PushOutcome::Appended } else { PushOutcome::Reset };
        if pushed == PushOutcome::Reset {
            self.clear_to(run.first_seq());
        }
        self.head = run.last_seq();
        let bytes = cost(&run);
        self.bytes += bytes;
        let budget_bytes = self.budget_bytes;
        self.drop_while(|_, bytes| bytes > budget_bytes);
        let segment = self.share.as_mut().map_or(RingSegment::NONE, |share| share.add(bytes));
        self.runs.push_back(HeldRun { run, segment });
        pushed
    }

    /// Empties the ring; `next` (from 1) is the seq that will come next.
    pub fn clear_to(&mut self, next: Seq) {
        self.drop_while(|_, _| true);
        self.head = Seq(next.0.saturating_sub(1));
    }

    /// Drops the runs of `segment` and older ones; see [`RingOwner::give_way`].
    pub fn drop_through(&mut self, segment: RingSegment) {
        // They are no longer counted.
        while let Some(oldest) = self.runs.front().filter(|oldest| oldest.segment <= segment) {
            self.bytes -= cost(&oldest.run);
            self.runs.pop_front();
        }
        // A ring that was busy and is silent keeps no room for what it held.
        if self.runs.len() < self.runs.capacity() / 4 {
            self.runs.shrink_to(2 * self.runs.len());
        }
    }

    /// Returns the newest seq, [`Seq::ZERO`] before the first.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// Returns the first seq held; `None` if the ring is empty.
    #[must_use]
    pub fn oldest(&self) -> Option<Seq> {
        self.runs.front().map(|oldest| oldest.run.first_seq())
    }

    /// Returns the bytes held, with the ring's own bookkeeping.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the runs from the one that holds `seq`, until `budget_bytes` of encoded runs are reached; at least one.
    #[must_use]
    pub fn read_from(&self, seq: Seq, budget_bytes: usize) -> RingRead {
        let seq = seq.max(Seq::FIRST);
        if seq > self.head {
            return RingRead::AtHead;
        }
        let Some(first) = self.index_holding(seq) else {
            return RingRead::Trimmed { oldest: self.oldest().unwrap_or_else(|| self.head.next()) };
        };
        let mut left = budget_bytes;
        let mut runs = Vec::new();
        for HeldRun { run, .. } in self.runs.range(first..) {
            let len = run.as_bytes().len();
            if !runs.is_empty() && len > left {
                break;
            }
            left = left.saturating_sub(len);
            runs.push(run.clone());
        }
        RingRead::Runs(runs)
    }

    /// Returns the run that holds `seq`; `None` if it is older than the ring or was not logged yet.
    #[must_use]
    pub fn run_holding(&self, seq: Seq) -> Option<&Run> {
        self.index_holding(seq).and_then(|index| self.runs.get(index)).map(|held| &held.run)
    }

    fn index_holding(&self, seq: Seq) -> Option<usize> {
        let index = self.runs.partition_point(|held| held.run.last_seq() < seq);
        self.runs.get(index).filter(|held| held.run.first_seq() <= seq).map(|_| index)
    }

    /// Drops the oldest run as long as `goes` returns true for it and the bytes held.
    fn drop_while(&mut self, goes: impl Fn(&HeldRun, usize) -> bool) {
        let mut ledger = None;
        while let Some(oldest) = self.runs.front().filter(|oldest| goes(oldest, self.bytes)) {
            let (segment, bytes) = (oldest.segment, cost(&oldest.run));
            self.runs.pop_front();
            self.bytes -= bytes;
            if let Some(share) = &self.share {
                ledger.get_or_insert_with(|| share.ledger()).remove(segment, bytes);
            }
        }
    }
}

impl Drop for HotRing {
    fn drop(&mut self) {
        self.drop_while(|_, _| true);
    }
}

const fn cost(run: &Run) -> usize {
    run.as_bytes().len() + size_of::<HeldRun>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::test_messages;

    #[test]
    fn a_reader_gets_the_run_that_holds_its_seq_and_those_after_it() {
        let mut ring = HotRing::new(1 << 20);
        for base in [1, 11, 21] {
            assert_eq!(ring.push(run(base, 10, 8)), PushOutcome::Appended);
        }
        assert_eq!(ring.head(), Seq(30));
        assert_eq!(firsts(&ring.read_from(Seq(15), 1 << 20)), [11, 21]);
        assert_eq!(firsts(&ring.read_from(Seq(20), 1)), [11], "one run whatever the budget");
        assert_eq!(firsts(&ring.read_from(Seq(0), 1 << 20)), [1, 11, 21]);
        assert_eq!(ring.read_from(Seq(31), 1 << 20), RingRead::AtHead);
        assert_eq!(ring.run_holding(Seq(10)).unwrap().first_seq(), Seq(1));
        assert!(ring.run_holding(Seq(31)).is_none());
    }

    #[test]
    fn whole_runs_go_above_the_budget_but_never_the_newest() {
        let one = cost(&run(1, 10, 100));
        let mut ring = HotRing::new(2 * one);
        for base in [1, 11, 21] {
            ring.push(run(base, 10, 100));
        }
        assert_eq!(ring.oldest(), Some(Seq(11)));
        assert_eq!(ring.bytes(), 2 * one);
        assert_eq!(ring.read_from(Seq(10), 1 << 20), RingRead::Trimmed { oldest: Seq(11) });
        let mut tiny = HotRing::new(1);
        tiny.push(run(1, 10, 100));
        assert_eq!(firsts(&tiny.read_from(Seq(1), 1)), [1]);
    }

    #[test]
    fn a_hole_resets_a_repeat_is_known_an_overlap_continues() {
        let mut ring = HotRing::new(1 << 20);
        ring.clear_to(Seq(5));
        assert_eq!(ring.read_from(Seq(4), 1), RingRead::Trimmed { oldest: Seq(5) });
        assert_eq!(ring.push(run(3, 5, 8)), PushOutcome::Appended, "it begins before the seq requested");
        assert_eq!(ring.push(run(3, 5, 8)), PushOutcome::Known);
        assert_eq!(ring.push(run(6, 5, 8)), PushOutcome::Appended);
        assert_eq!(firsts(&ring.read_from(Seq(7), 1 << 20)), [3, 6]);
        assert_eq!(ring.push(run(20, 1, 8)), PushOutcome::Reset);
        assert_eq!((ring.oldest(), ring.head()), (Some(Seq(20)), Seq(20)));
        ring.clear_to(Seq::FIRST);
        assert_eq!((ring.oldest(), ring.head(), ring.bytes()), (None, Seq::ZERO, 0));
    }

    fn firsts(read: &RingRead) -> Vec<u64> {
        let RingRead::Runs(runs) = read else { panic!("{read:?}") };
        runs.iter().map(|run| run.first_seq().0).collect()
    }

    fn run(base: u64, count: u64, payload_len: usize) -> Run {
        test_messages::run(base, &vec![vec![b'x'; payload_len]; count as usize])
    }
}
