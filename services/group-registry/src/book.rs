//! What this process knows of addresses and ports: a hint for choosing quickly, and the clock of the quarantines.
//!
//! Whether an address is free is decided by the store alone; a wrong hint costs one more attempt.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::{Scope, ports::FIRST_GROUP};

use crate::address::{Low23, Pool};

/// How long an address rests after its group is gone: IGMP's group membership interval (RFC 3376: 2 × 125 s + 10 s),
/// after which no switch forwards it by an old membership.
pub const QUARANTINE: Duration = Duration::from_secs(260);
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

/// See the module.
#[derive(Debug)]
pub struct AddressBook {
    pools: Pools,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// As last seen in the store; what is not here is free.
    used: HashMap<Low23, Used>,
    ports: HashSet<u16>,
    /// Chosen, and neither claimed nor given back yet.
    lent: HashSet<Pair>,
    noisy: HashMap<Low23, Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    Held,
    RestingSince(Instant),
}

impl AddressBook {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(pools: Pools) -> Self {
        Self { pools, state: Mutex::default() }
    }

    /// The ranges.
    #[must_use]
    pub const fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Chooses a pair at random and lends it: it is not chosen again until [`Self::give_back`].
    ///
    /// # Errors
    /// [`Exhausted`] if none is free as far as is known.
    pub fn pick(&self, scope: Scope, now: Instant) -> Result<Pair, Exhausted> {
        let mut state = self.state();
        let pool = self.pools.of(scope);
        let ip = state.free_ip(pool, now).ok_or_else(|| state.exhausted(pool, now))?;
        let port = state.free_port().ok_or(Exhausted::Ports)?;
        let pair = Pair { ip, port };
        state.lent.insert(pair);
        Ok(pair)
    }

    /// A free port for an address that was chosen otherwise; lent with it.
    ///
    /// # Errors
    /// [`Exhausted::Ports`].
    pub fn pick_port(&self, ip: Ipv4Addr) -> Result<Pair, Exhausted> {
        let mut state = self.state();
        let pair = Pair { ip, port: state.free_port().ok_or(Exhausted::Ports)? };
        state.lent.insert(pair);
        Ok(pair)
    }

    /// Ends the loan of a pair, used or not.
    pub fn give_back(&self, pair: Pair) {
        self.state().lent.remove(&pair);
    }

    /// Strangers were heard on it: it is left alone for a while.
    pub fn note_noisy(&self, pair: Pair, now: Instant) {
        let mut state = self.state();
        state.lent.remove(&pair);
        state.noisy.insert(Low23::of(pair.ip), now);
    }

    /// A group or a create under way has it.
    pub fn note_held(&self, address: Low23) {
        self.state().used.insert(address, Used::Held);
    }

    /// Its group is gone. The quarantine begins when this process first hears of it, so that it is never too short.
    pub fn note_resting(&self, address: Low23, now: Instant) {
        let mut state = self.state();
        let used = state.used.entry(address).or_insert(Used::RestingSince(now));
        if *used == Used::Held {
            *used = Used::RestingSince(now);
        }
    }

    /// It can be given out at once.
    pub fn note_free(&self, address: Low23) {
        self.state().used.remove(&address);
    }

    /// A group has this port.
    pub fn note_port(&self, port: u16) {
        self.state().ports.insert(port);
    }

    /// No group has this port any more.
    pub fn note_port_free(&self, port: u16) {
        self.state().ports.remove(&port);
    }

    /// What is left of an address's quarantine; starts it if it was not known to rest.
    pub fn quarantine_left(&self, address: Low23, now: Instant) -> Option<Duration> {
        self.note_resting(address, now);
        match self.state().used.get(&address) {
            Some(Used::RestingSince(since)) => {
                QUARANTINE.checked_sub(now.saturating_duration_since(*since)).filter(|left| !left.is_zero())
            }
            Some(Used::Held) | None => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn free_ip(&mut self, pool: &Pool, now: Instant) -> Option<Ipv4Addr> {
        self.noisy.retain(|_, since| now.saturating_duration_since(*since) < NOISY);
        let lent: HashSet<Low23> = self.lent.iter().map(|pair| Low23::of(pair.ip)).collect();
        let start = rand::random_range(0..pool.len());
        (start..pool.len()).chain(0..start).filter_map(|index| pool.nth(index)).find(|ip| {
            let address = Low23::of(*ip);
            !lent.contains(&address) && !self.noisy.contains_key(&address) && !self.is_used(address, now)
        })
    }

    fn is_used(&self, address: Low23, now: Instant) -> bool {
        match self.used.get(&address) {
            None => false,
            Some(Used::Held) => true,
            Some(Used::RestingSince(since)) => now.saturating_duration_since(*since) < QUARANTINE,
        }
    }

    fn free_port(&self) -> Option<u16> {
        let lent: HashSet<u16> = self.lent.iter().map(|pair| pair.port).collect();
        PORTS.iter().find_map(|range| {
            let start = rand::random_range(range.clone());
            let mut order = (start..=*range.end()).chain(*range.start()..start);
            order.find(|port| !self.ports.contains(port) && !lent.contains(port))
        })
    }

    fn exhausted(&self, pool: &Pool, now: Instant) -> Exhausted {
        let (mut held, mut resting, mut noisy) = (0, 0, 0);
        for address in pool.usable().map(Low23::of) {
            match self.used.get(&address) {
                Some(Used::Held) => held += 1,
                Some(Used::RestingSince(_)) if self.is_used(address, now) => resting += 1,
                Some(Used::RestingSince(_)) | None => noisy += usize::from(self.noisy.contains_key(&address)),
            }
        }
        Exhausted::Addresses { pool: *pool, held, resting, noisy, wait: QUARANTINE.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn book(net: &str) -> AddressBook {
        AddressBook::new(Pools { site: Pool::new(net.parse().unwrap()).unwrap(), organization: Pool::organization() })
    }

    #[test]
    fn gives_every_pair_once_and_says_what_to_do_after_that() {
        let (book, now) = (book("239.255.10.0/28"), Instant::now());
        let pairs: HashSet<_> = (0..16).map(|_| book.pick(Scope::Site, now).unwrap()).collect();
        assert_eq!(pairs.iter().map(|pair| pair.ip).collect::<HashSet<_>>().len(), 16);
        assert_eq!(pairs.iter().map(|pair| pair.port).collect::<HashSet<_>>().len(), 16);
        assert!(pairs.iter().all(|pair| (20000..=32767).contains(&pair.port)));
        let text = book.pick(Scope::Site, now).unwrap_err().to_string();
        assert!(text.contains("239.255.10.0/28") && text.contains("--pool") && text.contains("--address"), "{text}");
        book.give_back(*pairs.iter().next().unwrap());
        assert_eq!(book.pick(Scope::Site, now).unwrap().ip, pairs.iter().next().unwrap().ip);
    }

    #[test]
    fn an_address_rests_for_the_whole_quarantine() {
        let (book, now) = (book("239.255.10.7/32"), Instant::now());
        let pair = book.pick(Scope::Site, now).unwrap();
        let address = Low23::of(pair.ip);
        book.note_held(address);
        book.give_back(pair);
        assert!(book.pick(Scope::Site, now).is_err());
        book.note_resting(address, now);
        let later = now + Duration::from_secs(200);
        book.note_resting(address, later);
        assert_eq!(
            book.quarantine_left(address, later),
            Some(Duration::from_secs(60)),
            "hearing of it again starts nothing anew"
        );
        assert!(book.pick(Scope::Site, now + Duration::from_secs(259)).is_err());
        assert_eq!(book.quarantine_left(address, now + QUARANTINE), None);
        assert_eq!(book.pick(Scope::Site, now + QUARANTINE).unwrap().ip, pair.ip);
    }

    #[test]
    fn an_address_with_strangers_is_left_alone() {
        let (book, now) = (book("239.255.10.0/31"), Instant::now());
        let noisy = book.pick(Scope::Site, now).unwrap();
        book.note_noisy(noisy, now);
        let other = book.pick(Scope::Site, now).unwrap();
        assert_ne!(other.ip, noisy.ip);
        assert!(matches!(book.pick(Scope::Site, now), Err(Exhausted::Addresses { noisy: 1, .. })));
        assert_eq!(book.pick(Scope::Site, now + NOISY).unwrap().ip, noisy.ip);
    }
}
