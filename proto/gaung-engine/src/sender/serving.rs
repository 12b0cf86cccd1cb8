//! Serves NAKs: schedules repairs, sends datagrams again or parity, and confirms (NCF).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    Pkt, Seq,
    body::{Data, Nak, NakRange, Ncf, Parity},
    datagram::{Header, PacketType, flags},
};

use super::{
    RelaySender,
    confirm::{joined, repair_range},
    peer::{BlockPace, PeerAddr, RepairTarget, Requester},
    repair::{MAX_REPAIRS_PER_NAK, RepairPlan, RequestOutcome},
};
use crate::{
    parity::{BLOCK, Encoder, SHARDS, block_of, pkt_at},
    timing,
    transmit::Transmit,
};

/// Above this size a NAK confirmation spares more NAKs than it costs.
const NCF_ABOVE: usize = 8;
/// So many requests for what was confirmed mean that the confirmation was lost on its way: it is sent again.
const REQUESTS_UNTIL_RECONFIRMED: u32 = 8;

impl RelaySender {
    pub(super) fn handle_nak(&mut self, now: Instant, peer: PeerAddr, header: &Header, nak: &Nak) {
        if header.epoch != self.config.epoch {
            self.stats.ignored += 1;
            return;
        }
        self.stats.naks += 1;
        let proven = self.config.cookies.proves(peer.addr, nak.cookie).then_some(peer);
        let requester = Requester { sender: nak.sender, proven };
        let wanted: Vec<Pkt> =
            nak.ranges.iter().flat_map(|range| self.window.covering(range)).take(MAX_REPAIRS_PER_NAK).collect();
        let mut scheduled = Vec::new();
        for pkt in wanted {
            scheduled.extend(self.request_repair(now, pkt, requester));
        }
        if self.members.present().nth(NCF_ABOVE).is_some() {
            self.confirm(now, scheduled);
        }
    }

    /// Schedules the repair of one datagram; returns the range of it for an NCF.
    fn request_repair(&mut self, now: Instant, pkt: Pkt, requester: Requester) -> Option<(Pkt, NakRange)> {
        let linger = timing::linger(self.grtt);
        let sent = self.window.get(pkt)?;
        if now.checked_sub(linger).is_some_and(|since| sent.is_on_way_to(&requester, since)) {
            self.stats.requests_suppressed += 1;
            return None;
        }
        let pace = self.window.pace(now, block_of(pkt));
        let due = now + self.gather_wait();
        let (limits, proven) = (&mut self.limits, requester.proven.map(|peer| peer.addr));
        match self.repairs.request(now, pkt, requester, due, linger, || limits.may_request(now, proven)) {
            // Who is silenced by a confirmation is not counted: parity is sent for those who miss most, and confirms itself.
            RequestOutcome::Scheduled => (pace == BlockPace::Slow).then(|| (pkt, repair_range(sent))),
            RequestOutcome::Joined => {
                self.stats.requests_suppressed += 1;
                self.requests_joined = self.requests_joined.wrapping_add(1);
                let is_unheard =
                    pace == BlockPace::Slow && self.requests_joined.is_multiple_of(REQUESTS_UNTIL_RECONFIRMED);
                is_unheard.then(|| (pkt, repair_range(sent)))
            }
            RequestOutcome::Refused => {
                self.stats.requests_refused += 1;
                None
            }
        }
    }

    pub(super) fn serve_due(&mut self, now: Instant) {
        if let Some(oldest) = self.window.oldest_pkt() {
            self.repairs.forget_below(block_of(oldest));
        }
        let window = &self.window;
        let (gather, to_all) = (self.gather_wait(), self.limits.is_loss_common());
        while let Some(plan) = self.repairs.pop_due(now, gather, |block| window.pace(now, block), to_all) {
            self.due.push(plan);
        }
        for plan in std::mem::take(&mut self.due) {
            match plan {
                RepairPlan::Plain(repairs) => repairs.into_iter().for_each(|(pkt, to)| self.send_repair(now, pkt, to)),
                RepairPlan::Parity { block, from, to } => self.send_parity(now, block, from, to),
            }
        }
    }

    fn send_repair(&mut self, now: Instant, pkt: Pkt, to: RepairTarget) {
        // Trimmed meanwhile: the member learns from the heartbeat that it has to read the log.
        let Some(sent) = self.window.get_mut(pkt) else { return };
        if !self.limits.may_send(now) {
            self.stats.repairs_withheld += 1;
            return;
        }
        sent.repaired = Some((now, to));
        let (seq, fragment, bytes) = (sent.first, sent.fragment, sent.body());
        let Some(own) = self.other_pkt() else { return };
        let mut body = BytesMut::with_capacity(4 + bytes.len());
        Data { original: Some(pkt), bytes: &bytes }.write(&mut body);
        let header = self.header(now, PacketType::Data, own, seq);
        let payload = Header { flags: flags::REPAIR, fragment, ..header }.encode(&body);
        match to {
            RepairTarget::Group => {
                self.stats.repairs_multicast += 1;
                self.push_group_repair(payload);
            }
            RepairTarget::Peer(peer) => {
                self.stats.repairs_unicast += 1;
                self.push_repair(self.to_peer(peer, payload));
            }
        }
    }

    fn push_group_repair(&mut self, payload: Bytes) {
        match self.to_group(payload) {
            Some(repair) => self.push_repair(repair),
            None => self.stats.repairs_withheld += 1,
        }
    }

    fn push_repair(&mut self, repair: Transmit) {
        self.stats.repairs_withheld += u64::from(!self.outgoing.push_repair(repair));
    }

    fn send_parity(&mut self, now: Instant, block: u32, from: u8, to: u8) {
        let window = &self.window;
        let Some(shards) = self.parity.shards(block, || window.block(block)) else { return };
        for index in from..to {
            let Some(shard) = shards.get(usize::from(index)) else { return };
            if !self.limits.may_send(now) {
                self.stats.repairs_withheld += u64::from(to - index);
                return;
            }
            let Some(pkt) = self.other_pkt() else { return };
            let mut body = BytesMut::with_capacity(8 + shard.len());
            let parity = Parity { first_pkt: pkt_at(block, 0), k: BLOCK, r: SHARDS, index, shard };
            parity.write(&mut body);
            self.stats.parity += 1;
            self.push_group_repair(self.header(now, PacketType::Parity, pkt, Seq::ZERO).encode(&body));
        }
    }

    pub(super) fn gather_wait(&self) -> Duration {
        if self.sabotage.repairs_at_once() { Duration::ZERO } else { timing::gather(self.grtt) }
    }

    /// Sends an NCF, which silences others who lack the same, so the repairs it names go to the group.
    fn confirm(&mut self, now: Instant, scheduled: Vec<(Pkt, NakRange)>) {
        scheduled.iter().for_each(|(pkt, _)| self.repairs.handle_confirmed(*pkt));
        let ranges = joined(scheduled.into_iter().map(|(_, range)| range).collect());
        if ranges.is_empty() {
            return;
        }
        let Some(pkt) = self.other_pkt() else { return };
        let mut body = BytesMut::new();
        Ncf { ranges }.write(&mut body);
        self.stats.ncfs += 1;
        let confirmation = self.header(now, PacketType::Ncf, pkt, self.outgoing.left().seq).encode(&body);
        self.to_group(confirmation).into_iter().for_each(|confirmation| self.outgoing.push_answer(confirmation));
    }
}

/// Caches the shards of the blocks repaired last.
#[derive(Debug, Default)]
pub(super) struct ParityCache {
    encoder: Encoder,
    blocks: VecDeque<(u32, Vec<Bytes>)>,
}

/// Blocks whose shards are kept, 80 KiB each; of others they are made again.
const MAX_CODED_BLOCKS: usize = 16;

impl ParityCache {
    /// Returns the shards of a block; `None` if the block is not kept whole any more.
    fn shards(
        &mut self,
        number: u32,
        block: impl FnOnce() -> Option<Vec<crate::parity::Original>>,
    ) -> Option<Vec<Bytes>> {
        if let Some((_, shards)) = self.blocks.iter().find(|(coded, _)| *coded == number) {
            return Some(shards.clone());
        }
        let shards = self.encoder.encode(&block()?)?;
        if self.blocks.len() == MAX_CODED_BLOCKS {
            self.blocks.pop_front();
        }
        self.blocks.push_back((number, shards.clone()));
        Some(shards)
    }
}
