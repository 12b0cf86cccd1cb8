//! Builds the ranges of a NAK: what is missing, and of blocks for which parity came only as much as still lacks.

use std::{collections::BTreeMap, time::Duration};

use gaung_proto::{Pkt, Seq, SeqRange, body::NakRange, limits::MAX_NAK_RANGES};

use super::{
    blocks::ReceivedBlocks,
    reassembly::Reassembly,
    spans::{MissingState, PktRange},
};
use crate::{
    parity::block_of,
    timing::{self, TIMING},
};

/// What became of requesting a row of missing messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// Requested, in whole or in part; look again after this.
    Requested(Duration),
    /// What was requested besides, or is on its way, repairs it; look again after this.
    NotNeeded(Duration),
    /// The NAK is full; the row is requested with the next one.
    NoRoom,
}

impl RequestOutcome {
    /// Returns how long to wait before the row is looked at again.
    pub(super) const fn delay(self) -> Duration {
        match self {
            Self::Requested(wait) | Self::NotNeeded(wait) => wait,
            Self::NoRoom => TIMING.nack_spacing,
        }
    }
}

/// Fills one NAK, oldest messages first.
#[derive(Debug)]
pub(super) struct NakBuilder<'a> {
    reassembly: &'a Reassembly,
    blocks: &'a ReceivedBlocks,
    grtt: Duration,
    /// Up to here the relay has sent all fragments.
    sent: Seq,
    ranges: Vec<NakRange>,
    /// Datagrams that may still be requested, of blocks for which parity came.
    quotas: BTreeMap<u32, u32>,
}

impl<'a> NakBuilder<'a> {
    pub(super) const fn new(reassembly: &'a Reassembly, blocks: &'a ReceivedBlocks, grtt: Duration, sent: Seq) -> Self {
        Self { reassembly, blocks, grtt, sent, ranges: Vec::new(), quotas: BTreeMap::new() }
    }

    pub(super) fn into_ranges(self) -> Vec<NakRange> {
        self.ranges
    }

    pub(super) fn request(&mut self, row: SeqRange, missing: &MissingState) -> RequestOutcome {
        let wait = timing::retry(self.grtt, missing.naks + 1);
        let fragments = if row.len() == 1 { self.reassembly.missing(row.first, row.first <= self.sent) } else { None };
        match fragments {
            Some(fragments) => self.request_fragments(row.first, &fragments, wait),
            None => self.request_messages(row, missing.pkts, wait),
        }
    }

    fn request_messages(&mut self, row: SeqRange, pkts: Option<PktRange>, wait: Duration) -> RequestOutcome {
        let coded = pkts.filter(|pkts| block_of(Pkt(pkts.first)) == block_of(Pkt(pkts.last)));
        let Some((pkts, quota)) = coded.and_then(|pkts| Some((pkts, self.quota(Pkt(pkts.first))?))) else {
            return self.push(NakRange::messages(row.first, row.last), wait);
        };
        if *quota == 0 {
            return RequestOutcome::NotNeeded(wait);
        }
        let wanted = pkts.len().min(*quota);
        *quota -= wanted;
        // Where in the row a datagram ends is not known; they are much alike.
        let messages = (row.len() * u64::from(wanted)).div_ceil(u64::from(pkts.len())).max(1);
        self.push(NakRange::messages(row.first, Seq(row.first.0 + messages - 1)), wait)
    }

    fn request_fragments(&mut self, seq: Seq, ranges: &[(u16, u16)], wait: Duration) -> RequestOutcome {
        let first_pkt = self.reassembly.first_pkt(seq);
        let mut outcome = RequestOutcome::NotNeeded(wait);
        for index in ranges.iter().flat_map(|&(first, last)| first..=last) {
            let pkt = first_pkt.map(|Pkt(first)| Pkt(first.saturating_add(index.into())));
            match pkt.and_then(|pkt| self.quota(pkt)) {
                Some(0) => continue,
                Some(quota) => *quota -= 1,
                None => {}
            }
            let range = NakRange { first_seq: seq, last_seq: seq, first_fragment: index, last_fragment: index };
            match self.push(range, wait) {
                RequestOutcome::NoRoom if outcome == RequestOutcome::NotNeeded(wait) => return RequestOutcome::NoRoom,
                RequestOutcome::NoRoom => return outcome,
                requested @ (RequestOutcome::Requested(_) | RequestOutcome::NotNeeded(_)) => outcome = requested,
            }
        }
        outcome
    }

    fn quota(&mut self, pkt: Pkt) -> Option<&mut u32> {
        let block = block_of(pkt);
        let lacking = self.blocks.lacking(block)?;
        Some(self.quotas.entry(block).or_insert(lacking))
    }

    fn push(&mut self, next: NakRange, wait: Duration) -> RequestOutcome {
        if !self.ranges.last_mut().is_some_and(|last| last.extend(&next)) {
            if self.ranges.len() == MAX_NAK_RANGES {
                return RequestOutcome::NoRoom;
            }
            self.ranges.push(next);
        }
        RequestOutcome::Requested(wait)
    }
}
