//! Missing messages in rows of one state: as many entries as datagrams were lost, not messages.

use std::{collections::BTreeMap, time::Instant};

use gaung_proto::{Pkt, Seq, SeqRange, messages::Messages};

/// State of a row of missing messages, and when to act on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissingState {
    /// When it was noticed that they are missing.
    pub(super) since: Instant,
    /// When `due` was set last.
    pub(super) touched: Instant,
    /// When to act on them.
    pub(super) due: Instant,
    /// NAKs that were sent for them.
    pub(super) naks: u8,
    /// NCFs for them that were honoured.
    pub(super) silenced: u8,
    /// The datagrams that carried them.
    pub(super) pkts: Option<PktRange>,
}

impl MissingState {
    pub(super) const fn new(now: Instant, due: Instant, pkts: Option<PktRange>) -> Self {
        Self { since: now, touched: now, due, naks: 0, silenced: 0, pkts }
    }

    /// Returns the same as if the messages had been missed now.
    pub(super) const fn anew(&self, now: Instant, due: Instant) -> Self {
        Self::new(now, due, self.pkts)
    }
}

/// First-sent datagrams in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PktRange {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl PktRange {
    /// Makes a range; `None` if `last` is before `first`, which says that nothing is known.
    pub(super) const fn new(first: u32, last: u32) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// Returns the datagrams between two that are known to have been sent; nothing before the first.
    pub(super) fn between(before: Pkt, after: Pkt) -> Option<Self> {
        if before.0 == 0 { None } else { Self::new(before.0 + 1, after.0.saturating_sub(1)) }
    }

    pub(super) const fn len(self) -> u32 {
        self.last - self.first + 1
    }
}

/// Missing messages in seq order; rows do not overlap.
#[derive(Debug, Default)]
pub(super) struct MissingSpans {
    rows: BTreeMap<Seq, MissingRow>,
    messages: u64,
}

#[derive(Debug, Clone, Copy)]
struct MissingRow {
    last: Seq,
    missing: MissingState,
}

impl MissingSpans {
    /// Returns how many messages are missing.
    pub(super) const fn messages(&self) -> u64 {
        self.messages
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = SeqRange> + '_ {
        self.rows.iter().map(|(&first, row)| SeqRange { first, last: row.last })
    }

    /// Returns the parts of `messages` that are missing and known to have been sent: how many datagrams carried how
    /// many messages there.
    pub(super) fn carried(&self, messages: &Messages) -> impl Iterator<Item = (SeqRange, (u32, u64))> + '_ {
        let (first, end) = (messages.next_seq(), messages.end());
        let touched = self.rows.range(..end).rev().take_while(move |(_, row)| first <= row.last);
        touched.filter_map(move |(&row_first, row)| {
            let part = SeqRange::new(first.max(row_first), Seq(end.0 - 1).min(row.last))?;
            let carried = SeqRange { first: row_first, last: row.last }.len();
            Some((part, (row.missing.pkts?.len(), carried)))
        })
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = (SeqRange, &mut MissingState)> {
        self.rows.iter_mut().map(|(&first, row)| (SeqRange { first, last: row.last }, &mut row.missing))
    }

    /// The rows within `range`; rows that it cuts are parted.
    pub(super) fn within_mut(&mut self, range: SeqRange) -> impl Iterator<Item = &mut MissingState> {
        self.part_before(range.first);
        self.part_before(range.last.next());
        self.rows.range_mut(range.first..=range.last).map(|(_, row)| &mut row.missing)
    }

    /// Adds a row; nothing of it is in another one.
    pub(super) fn add(&mut self, range: SeqRange, missing: MissingState) {
        self.messages += range.len();
        self.rows.insert(range.first, MissingRow { last: range.last, missing });
    }

    /// Removes what came in `range`, in datagram `pkt` if that is known. Returns the parts that were missing, in order
    /// and joined.
    pub(super) fn fill(&mut self, range: SeqRange, pkt: Option<Pkt>) -> Vec<SeqRange> {
        let touched = self.rows.range(..=range.last).rev().take_while(|(_, row)| range.first <= row.last);
        let touched: Vec<(Seq, MissingRow)> = touched.map(|(&first, &row)| (first, row)).collect();
        let mut filled: Vec<SeqRange> = Vec::new();
        for (first, row) in touched.into_iter().rev() {
            let part = self.fill_row(first, row, range, pkt);
            match filled.last_mut() {
                Some(before) if before.last.next() == part.first => before.last = part.last,
                Some(_) | None => filled.push(part),
            }
        }
        filled
    }

    /// Keeps the parts of a row before and after `range`; returns the part within.
    fn fill_row(&mut self, first: Seq, row: MissingRow, range: SeqRange, pkt: Option<Pkt>) -> SeqRange {
        let MissingRow { last, missing } = row;
        let parts = |pkts: PktRange| match pkt {
            Some(Pkt(pkt)) => (
                PktRange::new(pkts.first, pkts.last.min(pkt.saturating_sub(1))),
                PktRange::new(pkts.first.max(pkt + 1), pkts.last),
            ),
            None => (Some(pkts), Some(pkts)),
        };
        let (before, after) = missing.pkts.map_or((None, None), parts);
        self.rows.remove(&first);
        if first < range.first {
            let row = MissingRow { last: Seq(range.first.0 - 1), missing: MissingState { pkts: before, ..missing } };
            self.rows.insert(first, row);
        }
        if range.last < last {
            self.rows.insert(range.last.next(), MissingRow { last, missing: MissingState { pkts: after, ..missing } });
        }
        let filled = SeqRange { first: first.max(range.first), last: last.min(range.last) };
        self.messages -= filled.len();
        filled
    }

    /// Forgets what is missing below `seq`.
    pub(super) fn forget_below(&mut self, seq: Seq) {
        self.part_before(seq);
        while let Some(entry) = self.rows.first_entry().filter(|entry| *entry.key() < seq) {
            self.messages -= SeqRange { first: *entry.key(), last: entry.get().last }.len();
            entry.remove();
        }
    }

    /// Forgets what is missing from `seq` on.
    pub(super) fn forget_from(&mut self, seq: Seq) {
        self.part_before(seq);
        while let Some(entry) = self.rows.last_entry().filter(|entry| *entry.key() >= seq) {
            self.messages -= SeqRange { first: *entry.key(), last: entry.get().last }.len();
            entry.remove();
        }
    }

    fn part_before(&mut self, seq: Seq) {
        let Some((&first, row)) = self.rows.range_mut(..seq).next_back().filter(|(_, row)| seq <= row.last) else {
            return;
        };
        let rest = *row;
        debug_assert!(first < seq, "the range ends before seq");
        row.last = Seq(seq.0 - 1);
        self.rows.insert(seq, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    fn spans() -> MissingSpans {
        let now = Instant::now();
        let mut spans = MissingSpans::default();
        spans.add(range(10, 49), MissingState::new(now, now, PktRange::new(3, 6)));
        spans.add(range(50, 59), MissingState::new(now, now, None));
        spans
    }

    fn rows(spans: &mut MissingSpans) -> Vec<(SeqRange, Option<PktRange>)> {
        spans.rows_mut().map(|(range, missing)| (range, missing.pkts)).collect()
    }

    #[test]
    fn what_comes_parts_the_row_and_its_datagrams() {
        let mut spans = spans();
        assert_eq!(spans.fill(range(20, 29), Some(Pkt(4))), [range(20, 29)]);
        assert_eq!(spans.fill(range(20, 29), Some(Pkt(4))), []);
        let expected =
            [(range(10, 19), PktRange::new(3, 3)), (range(30, 49), PktRange::new(5, 6)), (range(50, 59), None)];
        assert_eq!(rows(&mut spans), expected);
        assert_eq!(spans.messages(), 40);
        assert_eq!(spans.fill(range(1, 15), None), [range(10, 15)]);
        assert_eq!(spans.fill(range(15, u64::MAX / 2), None), [range(16, 19), range(30, 59)]);
        assert_eq!((spans.messages(), spans.rows().count()), (0, 0));
        assert_eq!(spans.fill(range(1, u64::MAX / 2), None), []);
    }

    #[test]
    fn a_range_can_be_taken_out_of_rows() {
        let mut spans = spans();
        assert_eq!(spans.within_mut(range(45, 52)).map(|missing| missing.naks = 7).count(), 2);
        let naks: Vec<_> = spans.rows_mut().map(|(range, missing)| (range, missing.naks)).collect();
        assert_eq!(naks, [(range(10, 44), 0), (range(45, 49), 7), (range(50, 52), 7), (range(53, 59), 0)]);
        spans.forget_below(Seq(47));
        spans.forget_from(Seq(52));
        assert_eq!(spans.rows().collect::<Vec<_>>(), [range(47, 49), range(50, 51)]);
        assert_eq!(spans.messages(), 5);
    }
}
