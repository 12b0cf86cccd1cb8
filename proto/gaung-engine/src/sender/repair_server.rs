//! Serves NAKs: keeps what was sent, schedules repairs, and says which datagrams or parity to send (NACK, RFC 5740).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{Pkt, Seq, body::NakRange, datagram::Fragment};

use super::{
    SenderStats,
    confirm::{joined, repair_range},
    limits::{RepairShares, RequestLimits},
    peer::{BlockPace, RepairTarget, Requester},
    repair::{MAX_REPAIRS_PER_NAK, RepairPlan, RepairQueue, RequestOutcome},
    window::{RepairWindow, SentData},
};
use crate::{
    parity::{BLOCK, Encoder, Original, bit_of, block_of},
    sabotage::Sabotage,
    timing,
};

/// So many requests for what was confirmed mean that the confirmation was lost on its way: it is sent again.
const REQUESTS_UNTIL_RECONFIRMED: u32 = 8;

/// Repairs one epoch: what can be repaired, what members requested of it, and how much of that may be sent.
#[derive(Debug)]
pub(super) struct RepairServer {
    window: RepairWindow,
    queue: RepairQueue,
    parity: ParityCache,
    limits: RequestLimits,
    /// Counts requests for what others had requested already, modulo 2³².
    requests_joined: u32,
    sabotage: Sabotage,
}

/// A repair that is due and within the limits.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DueRepair {
    /// A first-sent datagram goes out again.
    Again { pkt: Pkt, seq: Seq, fragment: Fragment, body: Bytes, to: RepairTarget },
    /// A parity shard of a block goes to the group.
    Shard { block: u32, index: u8, shard: Bytes },
}

impl RepairServer {
    /// Makes a server that keeps `window_bytes` of what is sent.
    pub(super) fn new(window_bytes: usize, shares: RepairShares, now: Instant) -> Self {
        Self {
            window: RepairWindow::new(window_bytes),
            queue: RepairQueue::default(),
            parity: ParityCache::default(),
            limits: RequestLimits::new(now, shares),
            requests_joined: 0,
            sabotage: Sabotage::default(),
        }
    }

    /// Keeps a first-sent datagram. `has_left`: it goes to the group's address, which raises the limits.
    pub(super) fn handle_sent(&mut self, now: Instant, grtt: Duration, sent: SentData, has_left: bool) {
        if has_left {
            self.limits.count_data(now);
        }
        let pkt = sent.pkt;
        self.window.push(sent);
        // The last datagram of a block: its losses are all known now, and parity can be made.
        if bit_of(pkt) == 1 << (BLOCK - 1) {
            self.queue.handle_closed(block_of(pkt), now + self.gather(grtt));
        }
    }

    /// Forgets what was sent: members read it from the log.
    pub(super) fn clear(&mut self) {
        self.window.clear();
    }

    /// Returns the first seq that can be repaired whole.
    pub(super) fn oldest(&self) -> Option<Seq> {
        self.window.oldest()
    }

    /// Returns the bytes that are kept for repairs.
    pub(super) const fn bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Returns when to call [`Self::take_due`].
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.next_due()
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub(super) const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    /// Schedules the repairs that a NAK requests; returns what an NCF would confirm of it, see [`Self::confirm`].
    pub(super) fn handle_nak(
        &mut self,
        now: Instant,
        grtt: Duration,
        requester: Requester,
        ranges: &[NakRange],
        stats: &mut SenderStats,
    ) -> Vec<(Pkt, NakRange)> {
        let covering = ranges.iter().flat_map(|range| self.window.covering(range));
        // One small NAK must not draw a flood towards an address that may be forged.
        let wanted: Vec<Pkt> = covering.take(MAX_REPAIRS_PER_NAK).collect();
        wanted.into_iter().filter_map(|pkt| self.request(now, grtt, pkt, requester, stats)).collect()
    }

    /// Schedules the repair of one datagram; returns the range of it for an NCF.
    fn request(
        &mut self,
        now: Instant,
        grtt: Duration,
        pkt: Pkt,
        requester: Requester,
        stats: &mut SenderStats,
    ) -> Option<(Pkt, NakRange)> {
        let linger = timing::linger(grtt);
        let sent = self.window.get(pkt)?;
        // The request crossed a repair that is still on its way.
        if now.checked_sub(linger).is_some_and(|since| sent.is_on_way_to(&requester, since)) {
            stats.requests_suppressed += 1;
            return None;
        }
        let pace = self.window.pace(now, block_of(pkt));
        let due = now + self.gather(grtt);
        let (limits, proven) = (&mut self.limits, requester.proven.map(|peer| peer.addr));
        match self.queue.request(now, pkt, requester, due, linger, || limits.may_request(now, proven)) {
            // Who is silenced by a confirmation is not counted: parity is sent for those who miss most, and confirms itself.
            RequestOutcome::Scheduled => (pace == BlockPace::Slow).then(|| (pkt, repair_range(sent))),
            RequestOutcome::Joined => {
                stats.requests_suppressed += 1;
                self.requests_joined = self.requests_joined.wrapping_add(1);
                let is_unheard =
                    pace == BlockPace::Slow && self.requests_joined.is_multiple_of(REQUESTS_UNTIL_RECONFIRMED);
                is_unheard.then(|| (pkt, repair_range(sent)))
            }
            RequestOutcome::Refused => {
                stats.requests_refused += 1;
                None
            }
        }
    }

    /// Notes that an NCF names what was scheduled, so that it goes to the group; returns the ranges of the NCF.
    pub(super) fn confirm(&mut self, scheduled: Vec<(Pkt, NakRange)>) -> Vec<NakRange> {
        scheduled.iter().for_each(|(pkt, _)| self.queue.handle_confirmed(*pkt));
        joined(scheduled.into_iter().map(|(_, range)| range).collect())
    }

    /// Takes the repairs that are due, as far as the limits allow.
    pub(super) fn take_due(&mut self, now: Instant, grtt: Duration, stats: &mut SenderStats) -> Vec<DueRepair> {
        if let Some(oldest) = self.window.oldest_pkt() {
            self.queue.forget_below(block_of(oldest));
        }
        let (gather, to_all) = (self.gather(grtt), self.limits.is_loss_common());
        let mut due = Vec::new();
        while let Some(plan) = self.queue.pop_due(now, gather, |block| self.window.pace(now, block), to_all) {
            match plan {
                RepairPlan::Plain(repairs) => {
                    due.extend(repairs.into_iter().filter_map(|(pkt, to)| self.take_again(now, pkt, to, stats)));
                }
                RepairPlan::Parity { block, from, to } => self.take_shards(now, block, from, to, stats, &mut due),
            }
        }
        due
    }

    fn take_again(&mut self, now: Instant, pkt: Pkt, to: RepairTarget, stats: &mut SenderStats) -> Option<DueRepair> {
        // Trimmed meanwhile: the member learns from the heartbeat that it has to read the log.
        let sent = self.window.get_mut(pkt)?;
        if !self.limits.may_send(now) {
            stats.repairs_withheld += 1;
            return None;
        }
        sent.repaired = Some((now, to));
        Some(DueRepair::Again { pkt, seq: sent.first, fragment: sent.fragment, body: sent.body(), to })
    }

    fn take_shards(
        &mut self,
        now: Instant,
        block: u32,
        from: u8,
        to: u8,
        stats: &mut SenderStats,
        due: &mut Vec<DueRepair>,
    ) {
        let Some(shards) = self.parity.shards(block, || self.window.block(block)) else { return };
        for (index, shard) in (0..to).zip(shards).skip(usize::from(from)) {
            if !self.limits.may_send(now) {
                stats.repairs_withheld += u64::from(to - index);
                return;
            }
            due.push(DueRepair::Shard { block, index, shard });
        }
    }

    /// Returns how long requests for one block are gathered before it is repaired.
    fn gather(&self, grtt: Duration) -> Duration {
        if self.sabotage.repairs_at_once() { Duration::ZERO } else { timing::gather(grtt) }
    }
}

/// Caches the shards of the blocks repaired last.
#[derive(Debug, Default)]
struct ParityCache {
    encoder: Encoder,
    blocks: VecDeque<(u32, Vec<Bytes>)>,
}

/// Blocks whose shards are kept, 80 KiB each; of others they are made again.
const MAX_CODED_BLOCKS: usize = 16;

impl ParityCache {
    /// Returns the shards of a block; `None` if the block is not kept whole any more.
    fn shards(&mut self, number: u32, block: impl FnOnce() -> Option<Vec<Original>>) -> Option<Vec<Bytes>> {
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use gaung_proto::{SenderId, datagram::DATAGRAM_HEADER};

    use super::{super::peer::PeerAddr, *};

    const GRTT: Duration = Duration::from_millis(1);

    /// A server and what it counted. Seq is pkt, for each datagram holds one message.
    struct Bench {
        server: RepairServer,
        stats: SenderStats,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let now = Instant::now();
            let server = RepairServer::new(1 << 20, RepairShares::default(), now);
            Self { server, stats: SenderStats::default(), now }
        }

        fn send(&mut self, pkts: std::ops::RangeInclusive<u32>) {
            for pkt in pkts {
                let datagram = Bytes::from(vec![pkt as u8; DATAGRAM_HEADER + 100]);
                let (seq, fragment) = (Seq(pkt.into()), Fragment::WHOLE);
                let (first, last, pkt) = (seq, seq, Pkt(pkt));
                let sent = SentData {
                    first,
                    last,
                    fragment,
                    pkt,
                    datagram,
                    body_bytes: 90,
                    sent_at: self.now,
                    repaired: None,
                };
                self.server.handle_sent(self.now, GRTT, sent, true);
            }
        }

        /// Requests datagrams as member `host`; returns how many an NCF would confirm.
        fn nak(&mut self, host: u8, first: u64, last: u64) -> usize {
            let addr = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), 5000);
            let requester = Requester { sender: SenderId([host; 16]), proven: Some(PeerAddr { addr, own: None }) };
            let ranges = [NakRange::messages(Seq(first), Seq(last))];
            self.server.handle_nak(self.now, GRTT, requester, &ranges, &mut self.stats).len()
        }

        fn due(&mut self) -> Vec<DueRepair> {
            self.now += timing::gather(GRTT);
            self.server.take_due(self.now, GRTT, &mut self.stats)
        }
    }

    #[test]
    fn a_request_is_served_once_with_the_body_alone() {
        let mut bench = Bench::new();
        bench.send(1..=3);
        assert_eq!((bench.nak(1, 2, 2), bench.nak(1, 2, 2), bench.stats.requests_suppressed), (1, 0, 1));
        assert_eq!(bench.server.next_due(), Some(bench.now + timing::gather(GRTT)));
        let [DueRepair::Again { pkt, seq, body, to: RepairTarget::Peer(_), .. }] = &bench.due()[..] else { panic!() };
        assert_eq!((*pkt, *seq, &body[..]), (Pkt(2), Seq(2), &[2; 90][..]));
        assert_eq!((bench.nak(1, 2, 2), bench.stats.requests_suppressed), (0, 2), "it is on its way");
        assert_eq!(bench.due(), []);
        bench.server.clear();
        assert_eq!((bench.nak(1, 1, 3), bench.server.oldest(), bench.server.bytes()), (0, None, 0));
    }

    #[test]
    fn a_quick_block_is_repaired_by_the_shards_that_come_next() {
        let mut bench = Bench::new();
        bench.send(1..=64);
        bench.nak(1, 3, 3);
        bench.nak(2, 9, 9);
        let shards = |due: Vec<DueRepair>| -> Vec<u8> {
            due.iter()
                .filter_map(|due| if let DueRepair::Shard { index, .. } = due { Some(*index) } else { None })
                .collect()
        };
        assert_eq!(shards(bench.due()), [0]);
        bench.now += timing::linger(GRTT);
        bench.nak(1, 3, 3);
        bench.nak(2, 9, 9);
        assert_eq!(shards(bench.due()), [1], "both lost the first one");
    }
}
