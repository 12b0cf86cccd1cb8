//! Schedules repairs: requests (NAKs) are gathered by block, and a block whose members miss different datagrams is
//! repaired by parity.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{Pkt, SenderId};

use super::peer::{BlockPace, PeerAddr, RepairTarget, Requester};
use crate::parity::{BLOCK, SHARDS, bit_of, block_of, pkt_at};

/// Datagrams that one NAK can request; the rest is requested again. One NAK of 60 B must not draw more than 90 KB.
pub(super) const MAX_REPAIRS_PER_NAK: usize = 64;
/// Members whose requests are kept, counted once for each block; more are refused.
const MAX_REQUESTS: usize = 8192;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// The repair is sent once requests were gathered.
    Scheduled,
    /// It was requested already, by another member or the same one.
    Joined,
    /// It is over a limit; the member requests it again.
    Refused,
}

/// How the requests for one block are answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RepairPlan {
    /// These datagrams are sent again.
    Plain(Vec<(Pkt, RepairTarget)>),
    /// Parity shards of this block from one index to before another.
    Parity { block: u32, from: u8, to: u8 },
}

/// Gathers repair requests by block and says when to answer them.
#[derive(Debug, Default)]
pub(super) struct RepairQueue {
    blocks: BTreeMap<u32, RepairBlock>,
    due: BTreeSet<(Instant, u32)>,
    requests: usize,
}

/// The requests for one block, and the parity sent for it.
#[derive(Debug, Default)]
struct RepairBlock {
    due: Option<Instant>,
    requests: BTreeMap<(SenderId, Option<SocketAddrV4>), RepairRequest>,
    /// Datagrams that a confirmation named.
    confirmed: u64,
    /// Shards sent, and how many of them before the last burst.
    sent: u8,
    before_burst: u8,
    last_burst: Option<Instant>,
}

/// What one member requested of a block.
#[derive(Debug)]
struct RepairRequest {
    proven: Option<PeerAddr>,
    /// The datagrams that it lacks, one bit for each place of the block.
    mask: u64,
    /// Shards of no use to it, because they were sent before it counted what it misses.
    base: u8,
    /// It requested more since the last answer.
    is_open: bool,
}

impl RepairRequest {
    /// Returns how many shards of the block, from the first on, give it all it misses.
    fn target(&self) -> u32 {
        u32::from(self.base) + self.mask.count_ones()
    }
}

impl RepairQueue {
    /// Adds a request for one datagram, to be answered at `due`, or when other requests for its block are. `linger`: how
    /// long after parity requests may have crossed it. `allow`: whether the limits let it through.
    pub(super) fn request(
        &mut self,
        now: Instant,
        pkt: Pkt,
        requester: Requester,
        due: Instant,
        linger: Duration,
        allow: impl FnOnce() -> bool,
    ) -> RequestOutcome {
        let (number, bit) = (block_of(pkt), bit_of(pkt));
        let is_requested = self.blocks.get(&number).is_some_and(|block| block.is_requested(bit));
        let requests = self.requests;
        let block = self.blocks.entry(number).or_default();
        let key = (requester.sender, requester.proven.map(|peer| peer.addr));
        if let Some(want) = block.requests.get_mut(&key) {
            // What it misses when parity no longer is on its way, it misses in spite of it.
            if !want.is_open && block.last_burst.is_some_and(|at| now.saturating_duration_since(at) >= linger) {
                (want.mask, want.base) = (0, block.sent);
            }
            if want.mask & bit != 0 {
                return RequestOutcome::Joined;
            }
        } else if requests >= MAX_REQUESTS {
            return RequestOutcome::Refused;
        }
        if !allow() {
            return RequestOutcome::Refused;
        }
        let base = block.base(now, linger);
        let want = block.requests.entry(key).or_insert_with(|| {
            self.requests += 1;
            RepairRequest { proven: requester.proven, mask: 0, base, is_open: false }
        });
        want.mask |= bit;
        want.is_open = true;
        if block.due.is_none() {
            self.set_due(number, due);
        }
        if is_requested { RequestOutcome::Joined } else { RequestOutcome::Scheduled }
    }

    /// Notes that an NCF named the datagram: members silenced by it may lack it too.
    pub(super) fn handle_confirmed(&mut self, pkt: Pkt) {
        if let Some(block) = self.blocks.get_mut(&block_of(pkt)) {
            block.confirmed |= bit_of(pkt);
        }
    }

    /// Marks the block complete, so that requests for it need not wait for more.
    pub(super) fn handle_closed(&mut self, number: u32, due: Instant) {
        let Some(block) = self.blocks.get_mut(&number) else { return };
        if let Some(later) = block.due.filter(|at| *at > due) {
            self.due.remove(&(later, number));
            self.set_due(number, due);
        }
    }

    /// Returns the next answer that is due. `pace`: of a block; one that is being filled is put off by `gather`. `to_all`:
    /// repairs are of use to others than the requester.
    pub(super) fn pop_due(
        &mut self,
        now: Instant,
        gather: Duration,
        pace: impl Fn(u32) -> BlockPace,
        to_all: bool,
    ) -> Option<RepairPlan> {
        let (number, pace) = loop {
            let number = self.due.first().filter(|(at, _)| *at <= now)?.1;
            self.due.pop_first();
            match pace(number) {
                BlockPace::Filling if !gather.is_zero() => self.set_due(number, now + gather),
                pace @ (BlockPace::Filling | BlockPace::Quick | BlockPace::Slow) => break (number, pace),
            }
        };
        let block = self.blocks.get_mut(&number).expect("every due block is kept");
        block.due = None;
        let plan = match block.shards_needed().filter(|_| pace == BlockPace::Quick) {
            Some(to) => {
                block.before_burst = block.sent;
                block.last_burst = Some(now);
                block.requests.values_mut().for_each(|want| want.is_open = false);
                RepairPlan::Parity { block: number, from: std::mem::replace(&mut block.sent, to), to }
            }
            None => RepairPlan::Plain(block.take_plain(number, to_all)),
        };
        self.requests -= block.close_answered();
        // A block whose parity was sent is kept: later requests are counted from the shards it has had.
        if block.requests.is_empty() && block.last_burst.is_none() {
            self.blocks.remove(&number);
        }
        Some(plan)
    }

    fn set_due(&mut self, number: u32, due: Instant) {
        if let Some(block) = self.blocks.get_mut(&number) {
            block.due = Some(due);
            self.due.insert((due, number));
        }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Drops the requests for blocks before `number`, which cannot be repaired any more.
    pub(super) fn forget_below(&mut self, number: u32) {
        while let Some(entry) = self.blocks.first_entry().filter(|entry| *entry.key() < number) {
            let (number, block) = entry.remove_entry();
            self.requests -= block.requests.len();
            if let Some(due) = block.due {
                self.due.remove(&(due, number));
            }
        }
    }
}

impl RepairBlock {
    fn is_requested(&self, bit: u64) -> bool {
        self.requests.values().any(|want| want.is_open && want.mask & bit != 0)
    }

    /// Returns the shards that a member which requests for the first time has had: those on their way to it do not count.
    fn base(&self, now: Instant, linger: Duration) -> u8 {
        let on_way = self.last_burst.is_some_and(|at| now.saturating_duration_since(at) < linger);
        if on_way { self.before_burst } else { self.sent }
    }

    /// Returns up to which shard to send, if that is cheaper than each datagram again.
    fn shards_needed(&self) -> Option<u8> {
        let sent = u32::from(self.sent);
        let open = self.requests.values().filter(|want| want.is_open && want.target() > sent);
        let (distinct, target) =
            open.fold((0, 0), |(mask, target), want| (mask | want.mask, want.target().max(target)));
        let shards = spared(target.checked_sub(sent)?);
        let to = u8::try_from(sent + shards).ok().filter(|to| *to <= SHARDS)?;
        // One shard serves members that miss different datagrams; where all miss the same ones it saves nothing.
        (shards > 0 && shards < distinct.count_ones()).then_some(to)
    }

    /// Takes each requested datagram that parity on its way does not repair.
    fn take_plain(&mut self, number: u32, to_all: bool) -> Vec<(Pkt, RepairTarget)> {
        let sent = u32::from(self.sent);
        let mut plain: BTreeMap<u8, RepairTarget> = BTreeMap::new();
        for want in self.requests.values_mut().filter(|want| want.is_open && want.target() > sent) {
            for place in (0..BLOCK).filter(|place| want.mask & (1 << place) != 0) {
                let to_all = to_all || self.confirmed & (1 << place) != 0;
                let to = want.proven.filter(|_| !to_all).map_or(RepairTarget::Group, RepairTarget::Peer);
                plain.entry(place).and_modify(|to| *to = RepairTarget::Group).or_insert(to);
            }
            want.mask = 0;
        }
        self.confirmed = 0;
        plain.into_iter().map(|(place, to)| (pkt_at(number, place), to)).collect()
    }

    /// Forgets who was answered with datagrams; returns how many they were.
    fn close_answered(&mut self) -> usize {
        let before = self.requests.len();
        self.requests.retain(|_, want| {
            want.is_open = false;
            want.mask != 0
        });
        before - self.requests.len()
    }
}

/// Returns the shards to send where `need` have to arrive. A block of which much is missing loses as much of its parity:
/// what would be requested in a second round is sent in the first.
fn spared(need: u32) -> u32 {
    need + need * need / (2 * u32::from(BLOCK)).saturating_sub(need).max(1)
}
