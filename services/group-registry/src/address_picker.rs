//! Chooses an address and a port for a group. Whether the group gets them is decided by the command that claims them;
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
    clock::CommandTime,
    tables::Tables,
};

/// How long an address is not given out after foreign traffic was heard on it.
const NOISY: Duration = Duration::from_secs(600);
/// Ports in the order in which they are given out: first those outside Linux's range of ephemeral ports, which any
/// program on a member's host may hold.
const PORTS: [RangeInclusive<u16>; 3] = [FIRST_GROUP..=32767, 61000..=65535, 32768..=60999];

/// An address and a port that a group may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The multicast address.
    pub ip: Ipv4Addr,
    /// The UDP port.
    pub port: u16,
}

/// The ranges that addresses are chosen from, one for each scope.
#[derive(Debug, Clone, Copy)]
pub struct Pools {
    /// For [`Scope::Site`].
    pub site: Pool,
    /// For [`Scope::Organization`].
    pub organization: Pool,
}

impl Pools {
    /// Returns the range of `scope`.
    #[must_use]
    pub const fn of(&self, scope: Scope) -> &Pool {
        match scope {
            Scope::Site => &self.site,
            Scope::Organization => &self.organization,
        }
    }
}

/// Why no endpoint can be given out now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// Every address of the pool is in use, in quarantine, or has foreign traffic.
    #[error(
        "the pool {pool} has no free address ({held} in use, {resting} resting after a deletion, {noisy} with foreign traffic); \
         delete a group and wait {wait} s, give the group an address of its own with --address, or start the registry with a larger --pool"
    )]
    Addresses {
        /// The range.
        pool: Pool,
        /// How many addresses groups have.
        held: usize,
        /// How many addresses are in quarantine.
        resting: usize,
        /// How many addresses have foreign traffic.
        noisy: usize,
        /// The length of the quarantine, in seconds.
        wait: u64,
    },
    /// Every port from 20000 up is given out.
    #[error("all ports from {FIRST_GROUP} up are given out; delete a group, or choose one with --port")]
    Ports,
}

/// Chooses endpoints that no group has and that are not reserved for another group.
#[derive(Debug)]
pub(crate) struct AddressPicker {
    pools: Pools,
    state: Mutex<PickerState>,
}

#[derive(Debug, Default)]
struct PickerState {
    /// Endpoints that were chosen and not released yet.
    reserved: HashSet<Endpoint>,
    /// Addresses on which foreign traffic was heard, and when.
    noisy: HashMap<Low23, Instant>,
}

impl AddressPicker {
    pub(crate) fn new(pools: Pools) -> Self {
        Self { pools, state: Mutex::default() }
    }

    /// Chooses an endpoint at random and reserves it: it is not chosen again until [`Self::release`].
    pub(crate) fn pick(
        &self,
        tables: &Tables,
        scope: Scope,
        now: Instant,
        stamp: CommandTime,
    ) -> Result<Endpoint, Exhausted> {
        let mut state = self.state();
        state.noisy.retain(|_, since| now.saturating_duration_since(*since) < NOISY);
        let pool = self.pools.of(scope);
        let ip = state.free_ip(tables, pool, stamp).ok_or_else(|| state.exhausted(tables, pool, stamp))?;
        state.reserve(tables, ip)
    }

    /// Chooses a free port for an address that the operator asked for, and reserves both.
    pub(crate) fn pick_port(&self, tables: &Tables, ip: Ipv4Addr) -> Result<Endpoint, Exhausted> {
        self.state().reserve(tables, ip)
    }

    /// Ends the reservation of an endpoint, whether a group got it or not.
    pub(crate) fn release(&self, endpoint: Endpoint) {
        self.state().reserved.remove(&endpoint);
    }

    /// Ends the reservation of an endpoint on which foreign traffic was heard, and does not choose its address for a while.
    pub(crate) fn note_noisy(&self, endpoint: Endpoint, now: Instant) {
        let mut state = self.state();
        state.reserved.remove(&endpoint);
        state.noisy.insert(Low23::of(endpoint.ip), now);
    }

    fn state(&self) -> MutexGuard<'_, PickerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PickerState {
    fn reserve(&mut self, tables: &Tables, ip: Ipv4Addr) -> Result<Endpoint, Exhausted> {
        let endpoint = Endpoint { ip, port: self.free_port(tables).ok_or(Exhausted::Ports)? };
        self.reserved.insert(endpoint);
        Ok(endpoint)
    }

    fn free_ip(&self, tables: &Tables, pool: &Pool, now: CommandTime) -> Option<Ipv4Addr> {
        let reserved: HashSet<Low23> = self.reserved.iter().map(|endpoint| Low23::of(endpoint.ip)).collect();
        let start = rand::random_range(0..pool.len());
        (start..pool.len()).chain(0..start).filter_map(|index| pool.nth(index)).find(|ip| {
            let address = Low23::of(*ip);
            let state = tables.allocation.address_state(address, now.mono);
            state == AddressState::Free && !reserved.contains(&address) && !self.noisy.contains_key(&address)
        })
    }

    /// Chooses a port that no group has, whether from the registry or from its operator.
    fn free_port(&self, tables: &Tables) -> Option<u16> {
        let groups = tables.catalogue.groups().filter(|group| !group.lapsed).map(|group| group.addr.port());
        let taken: HashSet<u16> = self.reserved.iter().map(|endpoint| endpoint.port).chain(groups).collect();
        PORTS.iter().find_map(|range| {
            let start = rand::random_range(range.clone());
            let mut order = (start..=*range.end()).chain(*range.start()..start);
            order.find(|port| !taken.contains(port))
        })
    }

    fn exhausted(&self, tables: &Tables, pool: &Pool, now: CommandTime) -> Exhausted {
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

    const STAMP: CommandTime = CommandTime { mono: Duration::from_secs(1), unix_ms: 0 };

    fn picker(net: &str) -> (AddressPicker, Tables, Instant) {
        let pools = Pools { site: Pool::new(net.parse().unwrap()).unwrap(), organization: Pool::organization() };
        (AddressPicker::new(pools), Tables::new(), Instant::now())
    }

    #[test]
    fn gives_every_endpoint_once_and_then_says_what_to_do() {
        let (picker, tables, now) = picker("239.255.10.0/28");
        let pick = || picker.pick(&tables, Scope::Site, now, STAMP);
        let endpoints: HashSet<_> = (0..16).map(|_| pick().unwrap()).collect();
        assert_eq!(endpoints.iter().map(|endpoint| endpoint.ip).collect::<HashSet<_>>().len(), 16);
        assert_eq!(endpoints.iter().map(|endpoint| endpoint.port).collect::<HashSet<_>>().len(), 16);
        assert!(endpoints.iter().all(|endpoint| (20000..=32767).contains(&endpoint.port)));
        let text = pick().unwrap_err().to_string();
        assert!(text.contains("239.255.10.0/28") && text.contains("--pool") && text.contains("--address"), "{text}");
        picker.release(*endpoints.iter().next().unwrap());
        assert_eq!(pick().unwrap().ip, endpoints.iter().next().unwrap().ip);
    }

    #[test]
    fn an_address_with_foreign_traffic_is_not_chosen() {
        let (picker, tables, now) = picker("239.255.10.0/31");
        let pick = |now| picker.pick(&tables, Scope::Site, now, STAMP);
        let noisy = pick(now).unwrap();
        picker.note_noisy(noisy, now);
        let other = pick(now).unwrap();
        assert_ne!(other.ip, noisy.ip);
        assert!(matches!(pick(now), Err(Exhausted::Addresses { noisy: 1, .. })));
        assert_eq!(pick(now + NOISY).unwrap().ip, noisy.ip);
    }
}
