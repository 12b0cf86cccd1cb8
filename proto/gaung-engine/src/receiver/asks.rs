//! Makes the ranges of a NAK: what is missing, and of blocks for which parity came only as much as still lacks.

use std::{collections::BTreeMap, time::Duration};

use gaung_proto::{Pkt, Seq, SeqRange, body::NakRange, limits::MAX_NAK_RANGES};

use super::{
    blocks::Blocks,
    reassembly::Reassembly,
    spans::{Missing, Pkts},
};
use crate::{parity::block_of, timing};

/// What became of a row of missing messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Asked for, in whole or in part; look again after so long.
    Asked(Duration),
    /// What was asked for besides, or is on its way, will heal it; look again after so long.
    NotNeeded(Duration),
    /// The NAK is full.
    NoRoom,
}

/// Fills one NAK, the oldest first.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    reassembly: &'a Reassembly,
    blocks: &'a Blocks,
    grtt: Duration,
    /// Up to here the relay has sent all fragments.
    sent: Seq,
    ranges: Vec<NakRange>,
    /// Datagrams that may still be asked for, of blocks for which parity came.
    quotas: BTreeMap<u32, u32>,
}

impl<'a> Asker<'a> {
    pub(super) const fn new(reassembly: &'a Reassembly, blocks: &'a Blocks, grtt: Duration, sent: Seq) -> Self {
        Self { reassembly, blocks, grtt, sent, ranges: Vec::new(), quotas: BTreeMap::new() }
    }

    pub(super) fn into_ranges(self) -> Vec<NakRange> {
        self.ranges
    }

    pub(super) fn ask(&mut self, row: SeqRange, missing: &Missing) -> Outcome {
        let wait = timing::retry(self.grtt, missing.naks + 1);
        let fragments = if row.len() == 1 { self.reassembly.missing(row.first, row.first <= self.sent) } else { None };
        match fragments {
            Some(fragments) => self.ask_fragments(row.first, &fragments, wait),
            None => self.ask_messages(row, missing.pkts, wait),
        }
    }

    fn ask_messages(&mut self, row: SeqRange, pkts: Option<Pkts>, wait: Duration) -> Outcome {
        let coded = pkts.filter(|pkts| block_of(Pkt(pkts.first)) == block_of(Pkt(pkts.last)));
        let Some((pkts, quota)) = coded.and_then(|pkts| Some((pkts, self.quota(Pkt(pkts.first))?))) else {
            return self.push(NakRange::messages(row.first, row.last), wait);
        };
        if *quota == 0 {
            return Outcome::NotNeeded(wait);
        }
        let wanted = pkts.len().min(*quota);
        *quota -= wanted;
        // Where in the row a datagram ends is not known; they are much alike.
        let messages = (row.len() * u64::from(wanted)).div_ceil(u64::from(pkts.len())).max(1);
        self.push(NakRange::messages(row.first, Seq(row.first.0 + messages - 1)), wait)
    }

    fn ask_fragments(&mut self, seq: Seq, ranges: &[(u16, u16)], wait: Duration) -> Outcome {
        let first_pkt = self.reassembly.first_pkt(seq);
        let mut outcome = Outcome::NotNeeded(wait);
        for index in ranges.iter().flat_map(|&(first, last)| first..=last) {
            let pkt = first_pkt.map(|Pkt(first)| Pkt(first.saturating_add(index.into())));
            match pkt.and_then(|pkt| self.quota(pkt)) {
                Some(0) => continue,
                Some(quota) => *quota -= 1,
                None => {}
            }
            let range = NakRange { first_seq: seq, last_seq: seq, first_fragment: index, last_fragment: index };
            match self.push(range, wait) {
                Outcome::NoRoom if outcome == Outcome::NotNeeded(wait) => return Outcome::NoRoom,
                Outcome::NoRoom => return outcome,
                asked @ (Outcome::Asked(_) | Outcome::NotNeeded(_)) => outcome = asked,
            }
        }
        outcome
    }

    fn quota(&mut self, pkt: Pkt) -> Option<&mut u32> {
        let block = block_of(pkt);
        let lacking = self.blocks.lacking(block)?;
        Some(self.quotas.entry(block).or_insert(lacking))
    }

    fn push(&mut self, next: NakRange, wait: Duration) -> Outcome {
        let whole = |range: &NakRange| range.last_fragment == u16::MAX;
        let is_full = self.ranges.len() == MAX_NAK_RANGES;
        match self.ranges.last_mut() {
            Some(last) if whole(last) && whole(&next) && last.last_seq.next() == next.first_seq => {
                last.last_seq = next.last_seq;
            }
            Some(last)
                if !whole(last) && last.last_seq == next.first_seq && last.last_fragment + 1 == next.first_fragment =>
            {
                last.last_fragment = next.last_fragment;
            }
            Some(_) | None if is_full => return Outcome::NoRoom,
            Some(_) | None => self.ranges.push(next),
        }
        Outcome::Asked(wait)
    }
}
