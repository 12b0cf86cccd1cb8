//! Choosing an address and a port for a group. Whether the group gets them is decided by the command that claims them;
//! a wrong choice costs one more attempt.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::{Scope, ports::FIRST_GROUP};

use crate::{
    address::{Low23, Pool},
    allocation::{AddressState, QUARANTINE},
    now::Stamp,
    tables::Tables,
};

/// How long an address on which strangers were heard is left alone.
const NOISY: Duration = Duration::from_secs(600);
/// Ports in the order in which they are given out: first those outside Linux's range of ephemeral ports, on which any
/// program of a member's host may be sitting.
const PORTS: [RangeInclusive<u16>; 3] = [FIRST_GROUP..=32767, 61000..=65535, 32768..=60999];

/// An address and a port for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The multicast address.
    pub ip: Ipv4Addr,
    /// The UDP port.
    pub port: u16,
}

/// The two ranges that addresses are chosen from.
#[derive(Debug, Clone, Copy)]
pub struct Pools {
    /// For [`Scope::Site`].
    pub site: Pool,
    /// For [`Scope::Organization`].
    pub organization: Pool,
}

impl Pools {
    /// The range of `scope`.
    #[must_use]
    pub const fn of(&self, scope: Scope) -> &Pool {
        match scope {
            Scope::Site => &self.site,
            Scope::Organization => &self.organization,
        }
    }
}

/// No pair can be given out now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Every address of the pool is taken, resting or noisy.
    #[error(
        "the pool {pool} has no free address ({held} in use, {resting} resting after a deletion, {noisy} used by strangers); \
         delete a group and wait {wait} s, give the group an address of its own with --address, or start the registry with a larger --pool"
    )]
    Addresses {
        /// The range.
        pool: Pool,
        /// Taken by groups.
        held: usize,
        /// In quarantine.
        resting: usize,
        /// On which strangers were heard.
        noisy: usize,
        /// The quarantine, in seconds.
        wait: u64,
    },
    /// Every port from 20000 up has been given out.
    #[error("all ports from {FIRST_GROUP} up are given out; delete a group, or choose one with --port")]
    Ports,
}

/// Chooses pairs that no group has and that nobody else is about to use.
#[derive(Debug)]
pub(crate) struct AddressBook {
    pools: Pools,
    hints: Mutex<Hints>,
}

#[derive(Debug, Default)]
struct Hints {
    /// Chosen, and not given back yet.
    lent: HashSet<Pair>,
    /// On which strangers were heard, and when.
    noisy: HashMap<Low23, Instant>,
}

impl AddressBook {
    pub(crate) fn new(pools: Pools) -> Self {
        Self { pools, hints: Mutex::default() }
    }

    /// Chooses a pair at random and lends it: it is not chosen again until [`Self::give_back`].
    pub(crate) fn pick(&self, tables: &Tables, scope: Scope, now: Instant, stamp: Stamp) -> Result<Pair, Exhausted> {
        let mut hints = self.hints();
        hints.noisy.retain(|_, since| now.saturating_duration_since(*since) < NOISY);
        let pool = self.pools.of(scope);
        let ip = hints.free_ip(tables, pool, stamp).ok_or_else(|| hints.exhausted(tables, pool, stamp))?;
        hints.lend(tables, ip)
    }

    /// Chooses a free port for an address that was chosen otherwise; lent with it.
    pub(crate) fn pick_port(&self, tables: &Tables, ip: Ipv4Addr) -> Result<Pair, Exhausted> {
        self.hints().lend(tables, ip)
    }

    /// Ends the loan of a pair, used or not.
    pub(crate) fn give_back(&self, pair: Pair) {
        self.hints().lent.remove(&pair);
    }

    /// Ends the loan of a pair on which strangers were heard, and leaves its address alone for a while.
    pub(crate) fn note_noisy(&self, pair: Pair, now: Instant) {
        let mut hints = self.hints();
        hints.lent.remove(&pair);
        hints.noisy.insert(Low23::of(pair.ip), now);
    }

    fn hints(&self) -> MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hints {
    fn lend(&mut self, tables: &Tables, ip: Ipv4Addr) -> Result<Pair, Exhausted> {
        let pair = Pair { ip, port: self.free_port(tables).ok_or(Exhausted::Ports)? };
        self.lent.insert(pair);
        Ok(pair)
    }

    fn free_ip(&self, tables: &Tables, pool: &Pool, now: Stamp) -> Option<Ipv4Addr> {
        let lent: HashSet<Low23> = self.lent.iter().map(|pair| Low23::of(pair.ip)).collect();
        let start = rand::random_range(0..pool.len());
        (start..pool.len()).chain(0..start).filter_map(|index| pool.nth(index)).find(|ip| {
            let address = Low23::of(*ip);
            let state = tables.allocation.address_state(address, now.mono);
            state == AddressState::Free && !lent.contains(&address) && !self.noisy.contains_key(&address)
        })
    }

    /// A port that neither the registry nor an operator gave to a group.
    fn free_port(&self, tables: &Tables) -> Option<u16> {
        let groups = tables.catalogue.groups().filter(|group| !group.lapsed).map(|group| group.addr.port());
        let taken: HashSet<u16> = self.lent.iter().map(|pair| pair.port).chain(groups).collect();
        PORTS.iter().find_map(|range| {
            let start = rand::random_range(range.clone());
            let mut order = (start..=*range.end()).chain(*range.start()..start);
            order.find(|port| !taken.contains(port))
        })
    }

    fn exhausted(&self, tables: &Tables, pool: &Pool, now: Stamp) -> Exhausted {
        let (mut held, mut resting, mut noisy) = (0, 0, 0);
        for address in pool.usable().map(Low23::of) {
            match tables.allocation.address_state(address, now.mono) {
                AddressState::Held => held += 1,
                AddressState::Resting => resting += 1,
                AddressState::Free => noisy += usize::from(self.noisy.contains_key(&address)),
            }
        }
        Exhausted::Addresses { pool: *pool, held, resting, noisy, wait: QUARANTINE.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const STAMP: Stamp = Stamp { mono: Duration::from_secs(1), unix_ms: 0 };

    fn book(net: &str) -> (AddressBook, Tables, Instant) {
        let pools = Pools { site: Pool::new(net.parse().unwrap()).unwrap(), organization: Pool::organization() };
        (AddressBook::new(pools), Tables::new(), Instant::now())
    }

    #[test]
    fn gives_every_pair_once_and_says_what_to_do_after_that() {
        let (book, tables, now) = book("239.255.10.0/28");
        let pick = || book.pick(&tables, Scope::Site, now, STAMP);
        let pairs: HashSet<_> = (0..16).map(|_| pick().unwrap()).collect();
        assert_eq!(pairs.iter().map(|pair| pair.ip).collect::<HashSet<_>>().len(), 16);
        assert_eq!(pairs.iter().map(|pair| pair.port).collect::<HashSet<_>>().len(), 16);
        assert!(pairs.iter().all(|pair| (20000..=32767).contains(&pair.port)));
        let text = pick().unwrap_err().to_string();
        assert!(text.contains("239.255.10.0/28") && text.contains("--pool") && text.contains("--address"), "{text}");
        book.give_back(*pairs.iter().next().unwrap());
        assert_eq!(pick().unwrap().ip, pairs.iter().next().unwrap().ip);
    }

    #[test]
    fn an_address_with_strangers_is_left_alone() {
        let (book, tables, now) = book("239.255.10.0/31");
        let pick = |now| book.pick(&tables, Scope::Site, now, STAMP);
        let noisy = pick(now).unwrap();
        book.note_noisy(noisy, now);
        let other = pick(now).unwrap();
        assert_ne!(other.ip, noisy.ip);
        assert!(matches!(pick(now), Err(Exhausted::Addresses { noisy: 1, .. })));
        assert_eq!(pick(now + NOISY).unwrap().ip, noisy.ip);
    }
}
