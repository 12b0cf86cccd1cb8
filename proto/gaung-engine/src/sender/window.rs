//! Keeps the datagrams that were sent last for repairs, bounded in bytes.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use gaung_proto::{
    Pkt, Seq,
    body::NakRange,
    datagram::{DATAGRAM_HEADER, Fragment},
};

use super::peer::{BlockPace, RepairTarget, Requester};
use crate::{
    parity::{BLOCK, Original, pkt_at},
    timing::TIMING,
};

/// Keeps one first-sent DATA datagram for repairs.
#[derive(Debug)]
pub(super) struct SentData {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) fragment: Fragment,
    pub(super) pkt: Pkt,
    /// The datagram as it was sent, padding included.
    pub(super) datagram: Bytes,
    pub(super) body_bytes: usize,
    pub(super) sent_at: Instant,
    /// When it was sent again last, and to whom.
    pub(super) repaired: Option<(Instant, RepairTarget)>,
}

impl SentData {
    pub(super) fn body(&self) -> Bytes {
        self.datagram.slice(DATAGRAM_HEADER..DATAGRAM_HEADER + self.body_bytes)
    }

    /// Whether a repair is on its way that will reach the requester. `since`: those sent before have arrived.
    pub(super) fn is_on_way_to(&self, requester: &Requester, since: Instant) -> bool {
        self.repaired.is_some_and(|(at, to)| match to {
            RepairTarget::Group => at > since,
            RepairTarget::Peer(peer) => {
                at > since && requester.proven.is_some_and(|requester| requester.addr == peer.addr)
            }
        })
    }

    fn cost(&self) -> usize {
        self.datagram.len() + size_of::<Self>()
    }
}

/// The newest datagrams in the order of seq and of pkt, whose count has no hole; the oldest are dropped, whole messages at a time, above the budget.
#[derive(Debug)]
pub(super) struct RepairWindow {
    sent: VecDeque<SentData>,
    bytes: usize,
    budget_bytes: usize,
}

impl RepairWindow {
    pub(super) const fn new(budget_bytes: usize) -> Self {
        Self { sent: VecDeque::new(), bytes: 0, budget_bytes }
    }

    pub(super) fn push(&mut self, sent: SentData) {
        self.bytes += sent.cost();
        self.sent.push_back(sent);
        while self.bytes > self.budget_bytes && self.sent.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Returns the first seq that can be repaired whole.
    pub(super) fn oldest(&self) -> Option<Seq> {
        let first = self.sent.front()?;
        if first.fragment.index == 0 { Some(first.first) } else { Some(first.first.next()) }
    }

    /// Returns the oldest datagram that is kept.
    pub(super) fn oldest_pkt(&self) -> Option<Pkt> {
        self.sent.front().map(|sent| sent.pkt)
    }

    /// Returns the datagrams that hold any part of `range`, in order.
    pub(super) fn covering(&self, range: &NakRange) -> impl Iterator<Item = Pkt> + '_ {
        let range = *range;
        let start = self.sent.partition_point(|sent| sent.last < range.first_seq);
        let end = self.sent.partition_point(|sent| sent.first <= range.last_seq).max(start);
        let wanted = range.first_fragment..=range.last_fragment;
        let found = self.sent.range(start..end);
        found.filter(move |sent| sent.fragment.is_whole() || wanted.contains(&sent.fragment.index)).map(|sent| sent.pkt)
    }

    pub(super) fn get(&self, pkt: Pkt) -> Option<&SentData> {
        self.sent.get(self.index(pkt)?)
    }

    pub(super) fn get_mut(&mut self, pkt: Pkt) -> Option<&mut SentData> {
        let index = self.index(pkt)?;
        self.sent.get_mut(index)
    }

    /// Returns how fast a block was, or is being, filled.
    pub(super) fn pace(&self, now: Instant, block: u32) -> BlockPace {
        let Some(first) = self.get(pkt_at(block, 0)) else { return BlockPace::Slow };
        let quick_since = |since: Instant, at: Instant| at.saturating_duration_since(since) <= TIMING.parity_block_max;
        match self.get(pkt_at(block, BLOCK - 1)) {
            Some(last) if quick_since(first.sent_at, last.sent_at) => BlockPace::Quick,
            Some(_) => BlockPace::Slow,
            None if self.is_filling(now, block, first) => BlockPace::Filling,
            None => BlockPace::Slow,
        }
    }

    /// Whether a block that begins with `first` comes as fast as the one before, which was quick, and has not come to a
    /// halt.
    fn is_filling(&self, now: Instant, block: u32, first: &SentData) -> bool {
        let Some(newest) = self.sent.back() else { return false };
        let filled = newest.pkt.0 - first.pkt.0 + 1;
        let enough = (TIMING.parity_block_max * filled / u32::from(BLOCK) + TIMING.parity_pause_max)
            .min(TIMING.parity_block_max);
        block > 0
            && now.saturating_duration_since(first.sent_at) <= enough
            && now.saturating_duration_since(newest.sent_at) <= TIMING.parity_pause_max
            && self.pace(now, block - 1) == BlockPace::Quick
    }

    /// Returns the datagrams of a complete block, as they were first sent.
    pub(super) fn block(&self, block: u32) -> Option<Vec<Original>> {
        let original = |sent: &SentData| Original { seq: sent.first, fragment: sent.fragment, bytes: sent.body() };
        (0..BLOCK).map(|place| self.get(pkt_at(block, place)).map(original)).collect()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }

    fn index(&self, pkt: Pkt) -> Option<usize> {
        Some(pkt.0.checked_sub(self.oldest_pkt()?.0)? as usize)
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
