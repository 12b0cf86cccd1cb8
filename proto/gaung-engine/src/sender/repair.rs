//! Which repairs are about to be sent, to whom, and how many may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use gaung_proto::SenderId;

use super::window::Key;

/// Repairs of one NAK; the rest is asked for again. Source: one NAK of 60 B must not draw more than 90 KB.
pub(super) const MAX_REPAIRS_PER_NAK: usize = 64;
/// Repairs asked for by one proven address in one second, some 5 Mbit/s.
const MAX_REPAIRS_PER_MEMBER_SECOND: u32 = 512;
/// Repairs asked for from all unproven addresses together in one second.
const MAX_UNPROVEN_PER_SECOND: u32 = 128;
/// Addresses that are counted apart in one second; more are refused.
const MAX_COUNTED_ADDRESSES: usize = 8192;
/// Repairs that are being gathered at once.
const MAX_PENDING: usize = 8192;

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
    /// Another asked already.
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

/// Gathers asks for one and the same datagram.
#[derive(Debug)]
pub(super) struct Repairs {
    pending: BTreeMap<Key, Pending>,
    due: BTreeSet<(Instant, Key)>,
    second: Second,
}

#[derive(Debug)]
struct Pending {
    asker: SenderId,
    to: RepairTo,
}

impl Repairs {
    pub(super) fn new(now: Instant) -> Self {
        let second = Second { began: now, by_address: BTreeMap::new(), unproven: 0 };
        Self { pending: BTreeMap::new(), due: BTreeSet::new(), second }
    }

    pub(super) fn ask(&mut self, now: Instant, key: Key, asker: Asker, gather: Duration) -> Asked {
        if let Some(pending) = self.pending.get_mut(&key) {
            if pending.asker != asker.sender {
                pending.to = RepairTo::Group;
            }
            return Asked::Joined;
        }
        if self.pending.len() >= MAX_PENDING || !self.second.count(now, asker.proven) {
            return Asked::Refused;
        }
        let to = asker.proven.map_or(RepairTo::Group, RepairTo::Peer);
        self.pending.insert(key, Pending { asker: asker.sender, to });
        self.due.insert((now + gather, key));
        Asked::Scheduled
    }

    /// A confirmation names it: those whom that silences lack it too, for all the relay knows.
    pub(super) fn handle_confirmed(&mut self, key: Key) {
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.to = RepairTo::Group;
        }
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Key, RepairTo)> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        let pending = self.pending.remove(&key).expect("every due repair is pending");
        Some((key, pending.to))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }
}

/// Counts of the current second, forgotten at its end.
#[derive(Debug)]
struct Second {
    began: Instant,
    by_address: BTreeMap<SocketAddrV4, u32>,
    unproven: u32,
}

impl Second {
    fn count(&mut self, now: Instant, proven: Option<Peer>) -> bool {
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            self.began = now;
            self.by_address.clear();
            self.unproven = 0;
        }
        let (count, limit) = match proven {
            None => (&mut self.unproven, MAX_UNPROVEN_PER_SECOND),
            Some(peer) => {
                if self.by_address.len() >= MAX_COUNTED_ADDRESSES && !self.by_address.contains_key(&peer.addr) {
                    return false;
                }
                (self.by_address.entry(peer.addr).or_default(), MAX_REPAIRS_PER_MEMBER_SECOND)
            }
        };
        *count += 1;
        *count <= limit
    }
}
