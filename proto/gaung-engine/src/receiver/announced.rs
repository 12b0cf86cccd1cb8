//! Tracks the gaps that were reported to the program.

use gaung_proto::{Seq, SeqRange};

/// The gaps that were reported, in order; they do not touch.
#[derive(Debug, Default)]
pub(super) struct AnnouncedGaps {
    ranges: Vec<SeqRange>,
}

/// Most gaps that are tracked as reported; further ones are not reported.
const MAX_ANNOUNCED: usize = 64;

impl AnnouncedGaps {
    /// Adds a gap; returns the parts of `range` that were not reported yet.
    pub(super) fn add(&mut self, range: SeqRange) -> Vec<SeqRange> {
        let mut fresh = Vec::new();
        let mut from = range.first;
        for known in &self.ranges {
            if known.last < from {
                continue;
            }
            if known.first > range.last {
                break;
            }
            fresh.extend(SeqRange::new(from, Seq(known.first.0 - 1)));
            from = known.last.next();
        }
        fresh.extend(SeqRange::new(from, range.last));
        fresh.truncate(MAX_ANNOUNCED.saturating_sub(self.ranges.len()));
        self.ranges.extend(&fresh);
        self.ranges.sort_by_key(|range| range.first);
        fresh
    }

    /// Notes that everything up to `seq` was delivered; returns a gap that this fills.
    pub(super) fn handle_delivered(&mut self, seq: Seq) -> Option<SeqRange> {
        (self.ranges.first()?.last <= seq).then(|| self.ranges.remove(0))
    }

    /// Forgets the reported gaps that `lost` covers: they are not filled any more.
    pub(super) fn handle_lost(&mut self, lost: SeqRange) {
        self.ranges.retain_mut(|range| {
            if range.first <= lost.last {
                range.first = range.first.max(lost.last.next());
            }
            range.first <= range.last
        });
    }

    /// Forgets reported gaps after `head`: the log has nothing there.
    pub(super) fn cut(&mut self, head: Seq) {
        self.ranges.retain_mut(|range| {
            range.last = range.last.min(head);
            range.first <= range.last
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn a_gap_is_told_once() {
        let mut announced = AnnouncedGaps::default();
        assert_eq!(announced.add(range(5, 9)), [range(5, 9)]);
        assert_eq!(announced.add(range(5, 9)), []);
        assert_eq!(announced.add(range(3, 12)), [range(3, 4), range(10, 12)]);
        assert_eq!(announced.handle_delivered(Seq(3)), None);
        assert_eq!(announced.handle_delivered(Seq(4)), Some(range(3, 4)));
        announced.handle_lost(range(5, 6));
        assert_eq!(announced.handle_delivered(Seq(9)), Some(range(7, 9)));
        announced.cut(Seq(11));
        assert_eq!(announced.handle_delivered(Seq(11)), Some(range(10, 11)));
        for seq in 0..1000 {
            announced.add(range(100 + seq * 2, 100 + seq * 2));
        }
        assert_eq!(announced.ranges.len(), MAX_ANNOUNCED);
    }
}
