//! What was sent lately, kept for repairs, bounded in bytes.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use gaung_proto::{
    Pkt, Seq,
    body::NakRange,
    datagram::{DATAGRAM_HEADER, Fragment},
};

/// A datagram's place: its first message and fragment. Sent again it keeps this, and gets another pkt.
pub(super) type Key = (Seq, u16);

/// One first-sent DATA datagram.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) fragment: Fragment,
    pub(super) pkt: Pkt,
    pub(super) datagram: Bytes,
    pub(super) repaired_at: Option<Instant>,
}

impl Sent {
    pub(super) const fn key(&self) -> Key {
        (self.first, self.fragment.index)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.datagram[DATAGRAM_HEADER..]
    }

    fn cost(&self) -> usize {
        self.datagram.len() + size_of::<Self>()
    }
}

/// The newest datagrams in seq order; the oldest are dropped, whole messages at a time, above the budget.
#[derive(Debug)]
pub(super) struct RepairWindow {
    sent: VecDeque<Sent>,
    bytes: usize,
    budget_bytes: usize,
}

impl RepairWindow {
    pub(super) const fn new(budget_bytes: usize) -> Self {
        Self { sent: VecDeque::new(), bytes: 0, budget_bytes }
    }

    pub(super) fn push(&mut self, sent: Sent) {
        self.bytes += sent.cost();
        self.sent.push_back(sent);
        while self.bytes > self.budget_bytes && self.sent.len() > 1 {
            self.drop_oldest();
        }
    }

    /// First seq that can be repaired whole.
    pub(super) fn oldest(&self) -> Option<Seq> {
        let first = self.sent.front()?;
        if first.fragment.index == 0 { Some(first.first) } else { Some(first.first.next()) }
    }

    /// Keys of the datagrams that hold any part of `range`, in order.
    pub(super) fn covering(&self, range: &NakRange) -> impl Iterator<Item = Key> + '_ {
        let range = *range;
        let start = self.sent.partition_point(|sent| sent.last < range.first_seq);
        let end = self.sent.partition_point(|sent| sent.first <= range.last_seq).max(start);
        let wanted = range.first_fragment..=range.last_fragment;
        let found = self.sent.range(start..end);
        found.filter(move |sent| sent.fragment.is_whole() || wanted.contains(&sent.fragment.index)).map(Sent::key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Sent> {
        let at = self.sent.binary_search_by_key(&key, Sent::key).ok()?;
        self.sent.get_mut(at)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.sent.pop_front() else { return };
        self.bytes -= oldest.cost();
        while self.sent.front().is_some_and(|next| next.first == oldest.first) {
            let rest = self.sent.pop_front().expect("front has just seen it");
            self.bytes -= rest.cost();
        }
    }
}
