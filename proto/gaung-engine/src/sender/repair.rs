//! Which repairs are about to be sent, and how: asks are gathered by block, and a block whose members miss different
//! datagrams is repaired by parity.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use gaung_proto::{Pkt, SenderId};

use super::window::Pace;
use crate::parity::{BLOCK, SHARDS, bit_of, block_of, pkt_at};

/// Datagrams that one NAK can ask for; the rest is asked for again. Source: one NAK of 60 B must not draw more than 90 KB.
pub(super) const MAX_REPAIRS_PER_NAK: usize = 64;
/// Members whose asks are kept, counted once for each block.
const MAX_WANTS: usize = 8192;

/// Who asks, and where a unicast repair may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) sender: SenderId,
    /// `None` unless the address was proven by its cookie.
    pub(super) proven: Option<Peer>,
}

/// A proven address, and the own address it wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) addr: SocketAddrV4,
    pub(super) own: Option<Ipv4Addr>,
}

/// What became of one ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Will be sent once gathered.
    Scheduled,
    /// Another asked already, or the member itself.
    Joined,
    /// Over a limit.
    Refused,
}

/// To whom a repair goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepairTo {
    Group,
    Peer(Peer),
}

/// How the asks for one block are answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// These again.
    Plain(Vec<(Pkt, RepairTo)>),
    /// Parity shards of this block from one index to before another.
    Parity { block: u32, from: u8, to: u8 },
}

/// Gathers asks by block.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    blocks: BTreeMap<u32, Block>,
    due: BTreeSet<(Instant, u32)>,
    wants: usize,
}

/// What is asked for of one block, and the parity it got.
#[derive(Debug, Default)]
struct Block {
    due: Option<Instant>,
    wants: BTreeMap<(SenderId, Option<SocketAddrV4>), Want>,
    /// Datagrams that a confirmation named.
    confirmed: u64,
    /// Shards sent, and how many of them before the last burst.
    sent: u8,
    before_burst: u8,
    last_burst: Option<Instant>,
}

/// What one member asked for.
#[derive(Debug)]
struct Want {
    proven: Option<Peer>,
    /// Datagrams, by place.
    mask: u64,
    /// Shards that it had no use of: sent before it counted what it misses.
    base: u8,
    /// Asked for more since the last answer.
    is_open: bool,
}

impl Want {
    /// So many shards of the block, from the first on, give it all it misses.
    fn target(&self) -> u32 {
        u32::from(self.base) + self.mask.count_ones()
    }
}

impl Repairs {
    /// One datagram is asked for, to be answered at `due`, or when others' asks for its block are. `linger`: how long
    /// after parity asks may have crossed it. `allow` is asked whether the limits let it through.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        pkt: Pkt,
        asker: Asker,
        due: Instant,
        linger: Duration,
        allow: impl FnOnce() -> bool,
    ) -> Asked {
        let (number, bit) = (block_of(pkt), bit_of(pkt));
        let asked_already = self.blocks.get(&number).is_some_and(|block| block.is_asked_for(bit));
        let wants = self.wants;
        let block = self.blocks.entry(number).or_default();
        let key = (asker.sender, asker.proven.map(|peer| peer.addr));
        if let Some(want) = block.wants.get_mut(&key) {
            // What it misses when parity no longer is on its way, it misses in spite of it.
            if !want.is_open && block.last_burst.is_some_and(|at| now.saturating_duration_since(at) >= linger) {
                (want.mask, want.base) = (0, block.sent);
            }
            if want.mask & bit != 0 {
                return Asked::Joined;
            }
        } else if wants >= MAX_WANTS {
            return Asked::Refused;
        }
        if !allow() {
            return Asked::Refused;
        }
        let base = block.base(now, linger);
        let want = block.wants.entry(key).or_insert_with(|| {
            self.wants += 1;
            Want { proven: asker.proven, mask: 0, base, is_open: false }
        });
        want.mask |= bit;
        want.is_open = true;
        if block.due.is_none() {
            self.set_due(number, due);
        }
        if asked_already { Asked::Joined } else { Asked::Scheduled }
    }

    /// A confirmation names it: those whom that silences lack it too, for all the relay knows.
    pub(super) fn handle_confirmed(&mut self, pkt: Pkt) {
        if let Some(block) = self.blocks.get_mut(&block_of(pkt)) {
            block.confirmed |= bit_of(pkt);
        }
    }

    /// The block is complete: what is asked for of it need not wait for more.
    pub(super) fn handle_closed(&mut self, number: u32, due: Instant) {
        let Some(block) = self.blocks.get_mut(&number) else { return };
        if let Some(later) = block.due.filter(|at| *at > due) {
            self.due.remove(&(later, number));
            self.set_due(number, due);
        }
    }

    /// The next answer that is due. `pace`: of a block; one in the making is put off by `gather`. `to_all`: repairs are of
    /// use to others than who asked.
    pub(super) fn pop_due(
        &mut self,
        now: Instant,
        gather: Duration,
        pace: impl Fn(u32) -> Pace,
        to_all: bool,
    ) -> Option<Plan> {
        let (number, pace) = loop {
            let number = self.due.first().filter(|(at, _)| *at <= now)?.1;
            self.due.pop_first();
            match pace(number) {
                Pace::Filling if !gather.is_zero() => self.set_due(number, now + gather),
                pace @ (Pace::Filling | Pace::Quick | Pace::Slow) => break (number, pace),
            }
        };
        let block = self.blocks.get_mut(&number).expect("every due block is kept");
        block.due = None;
        let plan = match block.shards_needed().filter(|_| pace == Pace::Quick) {
            Some(to) => {
                block.before_burst = block.sent;
                block.last_burst = Some(now);
                block.wants.values_mut().for_each(|want| want.is_open = false);
                Plan::Parity { block: number, from: std::mem::replace(&mut block.sent, to), to }
            }
            None => Plan::Plain(block.take_plain(number, to_all)),
        };
        self.wants -= block.close_answered();
        if block.wants.is_empty() && block.last_burst.is_none() {
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

    /// Blocks before `number` cannot be repaired any more.
    pub(super) fn forget_below(&mut self, number: u32) {
        while let Some(entry) = self.blocks.first_entry().filter(|entry| *entry.key() < number) {
            let (number, block) = entry.remove_entry();
            self.wants -= block.wants.len();
            if let Some(due) = block.due {
                self.due.remove(&(due, number));
            }
        }
    }
}

impl Block {
    fn is_asked_for(&self, bit: u64) -> bool {
        self.wants.values().any(|want| want.is_open && want.mask & bit != 0)
    }

    /// For a member that asks now for the first time: shards on their way to it count, earlier ones it had.
    fn base(&self, now: Instant, linger: Duration) -> u8 {
        let on_way = self.last_burst.is_some_and(|at| now.saturating_duration_since(at) < linger);
        if on_way { self.before_burst } else { self.sent }
    }

    /// Up to which shard to send, if that is cheaper than each datagram again.
    fn shards_needed(&self) -> Option<u8> {
        let sent = u32::from(self.sent);
        let open = self.wants.values().filter(|want| want.is_open && want.target() > sent);
        let (distinct, target) =
            open.fold((0, 0), |(mask, target), want| (mask | want.mask, want.target().max(target)));
        let shards = spared(target.checked_sub(sent)?);
        let to = u8::try_from(sent + shards).ok().filter(|to| *to <= SHARDS)?;
        (shards > 0 && shards < distinct.count_ones()).then_some(to)
    }

    /// Each datagram asked for that parity on its way does not heal.
    fn take_plain(&mut self, number: u32, to_all: bool) -> Vec<(Pkt, RepairTo)> {
        let sent = u32::from(self.sent);
        let mut plain: BTreeMap<u8, RepairTo> = BTreeMap::new();
        for want in self.wants.values_mut().filter(|want| want.is_open && want.target() > sent) {
            for place in (0..BLOCK).filter(|place| want.mask & (1 << place) != 0) {
                let to_all = to_all || self.confirmed & (1 << place) != 0;
                let to = want.proven.filter(|_| !to_all).map_or(RepairTo::Group, RepairTo::Peer);
                plain.entry(place).and_modify(|to| *to = RepairTo::Group).or_insert(to);
            }
            want.mask = 0;
        }
        self.confirmed = 0;
        plain.into_iter().map(|(place, to)| (pkt_at(number, place), to)).collect()
    }

    /// Forgets who was answered plainly; gives how many.
    fn close_answered(&mut self) -> usize {
        let before = self.wants.len();
        self.wants.retain(|_, want| {
            want.is_open = false;
            want.mask != 0
        });
        before - self.wants.len()
    }
}

/// Shards to send where `need` have to arrive. A block of which much is missing loses as much of its parity: what would
/// be asked for in a second round is sent in the first.
fn spared(need: u32) -> u32 {
    need + need * need / (2 * u32::from(BLOCK)).saturating_sub(need).max(1)
}
