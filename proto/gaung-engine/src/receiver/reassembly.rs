//! Reassembles fragmented messages, bounded in bytes and in messages whatever arrives.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use gaung_proto::{Pkt, Seq, SeqRange, datagram::Fragment, limits::MAX_RUN};

/// Bytes of fragments kept of one group.
pub(super) const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Messages of which fragments are kept.
const MAX_PARTIALS: usize = 64;

/// Fragments of messages that are not whole yet.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    partials: BTreeMap<Seq, PartialMessage>,
    bytes: usize,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InsertOutcome {
    /// The part is kept; others are missing.
    Stored,
    /// The part was there already.
    Duplicate,
    /// There is no room for the part.
    Refused,
    /// It was the last one: the whole block.
    Whole(Bytes),
}

impl Reassembly {
    /// Adds a fragment. A message has one fragment count: a fragment with another one starts it again, because either
    /// may be the forged one. `pkt`: of its first sending.
    pub(super) fn insert(&mut self, seq: Seq, fragment: Fragment, pkt: Option<Pkt>, bytes: &Bytes) -> InsertOutcome {
        if self.partials.get(&seq).is_some_and(|partial| partial.parts.len() != usize::from(fragment.count)) {
            self.forget(seq);
        }
        let index = usize::from(fragment.index);
        if self.partials.get(&seq).is_some_and(|partial| partial.parts[index].is_some()) {
            return InsertOutcome::Duplicate;
        }
        if !self.make_room(seq, bytes.len()) {
            return InsertOutcome::Refused;
        }
        let partial = self.partials.entry(seq).or_insert_with(|| PartialMessage::new(fragment.count));
        // Longer than any message may be: at least one part is forged, and nobody knows which.
        if partial.bytes + bytes.len() > MAX_RUN {
            self.forget(seq);
            return InsertOutcome::Refused;
        }
        partial.parts[index] = Some(bytes.clone());
        partial.first_pkt = pkt.and_then(|pkt| pkt.0.checked_sub(fragment.index.into())).map(Pkt).or(partial.first_pkt);
        partial.bytes += bytes.len();
        partial.received += 1;
        partial.highest = partial.highest.max(fragment.index);
        self.bytes += bytes.len();
        if partial.received < fragment.count {
            return InsertOutcome::Stored;
        }
        let partial = self.forget(seq).expect("it was there a line ago");
        let mut whole = BytesMut::with_capacity(partial.bytes);
        partial.parts.iter().flatten().for_each(|part| whole.extend_from_slice(part));
        InsertOutcome::Whole(whole.freeze())
    }

    /// Returns the fragments of `seq` that have not come, as inclusive ranges; `None` if none has come at all.
    /// `to_end`: also those after the highest one that came.
    pub(super) fn missing(&self, seq: Seq, to_end: bool) -> Option<Vec<(u16, u16)>> {
        let partial = self.partials.get(&seq)?;
        let end = if to_end { partial.parts.len() } else { usize::from(partial.highest) };
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        let absent = partial.parts[..end].iter().enumerate().filter(|(_, part)| part.is_none());
        for index in absent.map(|(index, _)| index as u16) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                Some(_) | None => ranges.push((index, index)),
            }
        }
        Some(ranges)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the pkt of the message's first fragment; the others follow it.
    pub(super) fn first_pkt(&self, seq: Seq) -> Option<Pkt> {
        self.partials.get(&seq)?.first_pkt
    }

    /// Drops what is below `first`.
    pub(super) fn forget_below(&mut self, first: Seq) {
        while let Some(entry) = self.partials.first_entry().filter(|entry| *entry.key() < first) {
            self.bytes -= entry.remove().bytes;
        }
    }

    pub(super) fn forget_within(&mut self, range: SeqRange) {
        while let Some((&seq, _)) = self.partials.range(range.first..=range.last).next() {
            self.forget(seq);
        }
    }

    fn forget(&mut self, seq: Seq) -> Option<PartialMessage> {
        let partial = self.partials.remove(&seq)?;
        self.bytes -= partial.bytes;
        Some(partial)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Makes room by dropping the messages furthest ahead, which are wanted last.
    fn make_room(&mut self, seq: Seq, len: usize) -> bool {
        let is_new = !self.partials.contains_key(&seq);
        while self.bytes + len > MAX_BYTES || (is_new && self.partials.len() >= MAX_PARTIALS) {
            match self.partials.last_entry().filter(|entry| *entry.key() > seq) {
                Some(entry) => self.bytes -= entry.remove().bytes,
                None => return false,
            }
        }
        true
    }
}

/// The fragments of one message.
#[derive(Debug)]
pub(super) struct PartialMessage {
    parts: Vec<Option<Bytes>>,
    first_pkt: Option<Pkt>,
    received: u16,
    highest: u16,
    bytes: usize,
}

impl PartialMessage {
    fn new(count: u16) -> Self {
        Self { parts: vec![None; usize::from(count)], first_pkt: None, received: 0, highest: 0, bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn part(index: u16, count: u16) -> Fragment {
        Fragment { index, count }
    }

    #[test]
    fn fragments_in_any_order_make_the_whole_once() {
        let mut reassembly = Reassembly::default();
        assert_eq!(reassembly.insert(Seq(7), part(2, 3), None, &Bytes::from_static(b"c")), InsertOutcome::Stored);
        assert_eq!(reassembly.missing(Seq(7), false), Some(vec![(0, 1)]));
        assert_eq!(reassembly.insert(Seq(7), part(0, 3), None, &Bytes::from_static(b"a")), InsertOutcome::Stored);
        assert_eq!(reassembly.insert(Seq(7), part(0, 3), None, &Bytes::from_static(b"a")), InsertOutcome::Duplicate);
        assert_eq!(
            reassembly.insert(Seq(7), part(1, 3), None, &Bytes::from_static(b"b")),
            InsertOutcome::Whole(Bytes::from_static(b"abc"))
        );
        assert_eq!(reassembly.bytes, 0);
        assert_eq!(reassembly.missing(Seq(7), true), None);
    }

    #[test]
    fn another_count_begins_anew() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(Seq(1), part(0, 9), None, &Bytes::from_static(b"forged"));
        assert_eq!(reassembly.insert(Seq(1), part(0, 2), None, &Bytes::from_static(b"a")), InsertOutcome::Stored);
        assert_eq!(
            reassembly.insert(Seq(1), part(1, 2), None, &Bytes::from_static(b"b")),
            InsertOutcome::Whole(Bytes::from_static(b"ab"))
        );
    }

    #[test]
    fn the_furthest_ahead_gives_way_at_the_limit() {
        let mut reassembly = Reassembly::default();
        let body = Bytes::from_static(&[0; 1256]);
        for seq in (2..2000).rev() {
            for index in 0..208 {
                reassembly.insert(Seq(seq), part(index, 209), None, &body);
            }
            assert!(reassembly.bytes <= MAX_BYTES && reassembly.partials.len() <= MAX_PARTIALS);
        }
        assert_eq!(reassembly.insert(Seq(1), part(0, 2), None, &body), InsertOutcome::Stored);
        for index in 0..208 {
            reassembly.insert(Seq(5000), part(index, 209), None, &body);
        }
        assert_eq!(reassembly.insert(Seq(5000), part(208, 209), None, &body), InsertOutcome::Refused);
        assert_eq!(reassembly.missing(Seq(1), true), Some(vec![(1, 1)]));
        reassembly.forget_below(Seq(u64::MAX));
        assert_eq!((reassembly.bytes, reassembly.partials.len()), (0, 0));
    }
}
