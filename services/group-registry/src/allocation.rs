//! Names, addresses, ports and creation requests, which no two groups may share.

use std::{collections::BTreeMap, net::Ipv4Addr, ops::Bound, time::Duration};

use gaung_proto::{Generation, GroupId, GroupName};

use crate::{
    address::Low23,
    group::{Group, RequestId},
    records::{AddressClaim, AddressHolder, RequestClaim},
};

/// How long an address stays in quarantine after its group is gone: IGMP's group membership interval (RFC 3376:
/// 2 × 125 s + 10 s), after which no switch forwards it by an old membership.
pub const QUARANTINE: Duration = Duration::from_secs(260);

/// The names, addresses and ports that groups have, and the quarantines of those they had.
///
/// Times are [`CommandTime::mono`](crate::clock::CommandTime::mono).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Allocation {
    names: BTreeMap<String, GroupId>,
    requests: BTreeMap<RequestId, RequestClaim>,
    addresses: BTreeMap<Low23, AddressUse>,
    ports: BTreeMap<u16, GroupId>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct AddressUse {
    claim: AddressClaim,
    /// When the quarantine began. A restart begins it anew, so that it is never too short.
    rests_since: Duration,
}

/// Whether an address can be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressState {
    Free,
    Held,
    Resting,
}

/// Why a group does not get an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressConflict {
    /// Another group has `taken`, which has the same low 23 bits.
    Held { taken: Ipv4Addr, by: GroupId },
    /// Another group had it, and `left` of its quarantine remains.
    Resting { left: Duration },
}

impl Allocation {
    pub(crate) fn set_name(&mut self, name: &GroupName, group: Option<GroupId>) {
        set(&mut self.names, name.to_string(), group);
    }

    pub(crate) fn set_request(&mut self, request: RequestId, claim: Option<RequestClaim>) {
        set(&mut self.requests, request, claim);
    }

    pub(crate) fn set_port(&mut self, port: u16, group: Option<GroupId>) {
        set(&mut self.ports, port, group);
    }

    /// Sets who has an address. The quarantine of one that rests begins now, unless it rested already.
    pub(crate) fn set_address(&mut self, address: Low23, claim: AddressClaim, now: Duration) {
        let before = self.addresses.get(&address).filter(|before| before.claim.holder == AddressHolder::Resting);
        let rests_since = before.map_or(now, |before| before.rests_since);
        self.addresses.insert(address, AddressUse { claim, rests_since });
    }

    pub(crate) fn named(&self, name: &str) -> Option<GroupId> {
        self.names.get(name).copied()
    }

    /// Iterates over the groups in order of name, after the name `after`.
    pub(crate) fn by_name(&self, after: Option<&str>) -> impl Iterator<Item = GroupId> + '_ {
        let from = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.to_owned()));
        self.names.range::<String, _>((from, Bound::Unbounded)).map(|(_, group)| *group)
    }

    pub(crate) fn request(&self, request: RequestId) -> Option<RequestClaim> {
        self.requests.get(&request).copied()
    }

    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestId, RequestClaim)> + '_ {
        self.requests.iter().map(|(request, claim)| (*request, *claim))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, GroupId)> {
        self.names.iter().map(|(name, group)| (name.as_str(), *group))
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = (Low23, AddressClaim)> + '_ {
        self.addresses.iter().map(|(address, used)| (*address, used.claim))
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = (u16, GroupId)> + '_ {
        self.ports.iter().map(|(port, group)| (*port, *group))
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }

    pub(crate) fn address_state(&self, address: Low23, now: Duration) -> AddressState {
        match self.addresses.get(&address) {
            Some(used) if matches!(used.claim.holder, AddressHolder::Group(_)) => AddressState::Held,
            Some(used) if used.quarantine_left(now).is_some() => AddressState::Resting,
            Some(_) | None => AddressState::Free,
        }
    }

    /// Decides whether `group` gets the address `ip`, and with which generation.
    ///
    /// `former`: the group itself, if it exists already and its address has lapsed.
    pub(crate) fn claim_address(
        &self,
        ip: Ipv4Addr,
        group: GroupId,
        former: Option<&Group>,
        now: Duration,
    ) -> Result<AddressClaim, AddressConflict> {
        let known = self.addresses.get(&Low23::of(ip));
        if let Some(used) = known {
            match used.claim.holder {
                AddressHolder::Group(by) => return Err(AddressConflict::Held { taken: used.claim.ip, by }),
                // What switches still forward to the last holder is for its own members, so it need not wait.
                AddressHolder::Resting if former.is_some_and(|group| used.was_last_of(group, ip)) => {}
                AddressHolder::Resting | AddressHolder::Nobody => {
                    if let Some(left) = used.quarantine_left(now) {
                        return Err(AddressConflict::Resting { left });
                    }
                }
            }
        }
        let known = known.map_or(0, |used| used.claim.generation.0);
        let above = former.map_or(0, |group| group.generation.0);
        let generation = Generation(known.max(above).saturating_add(1));
        Ok(AddressClaim { ip, generation, holder: AddressHolder::Group(group) })
    }

    /// Returns the claim of an address, if this group has it.
    pub(crate) fn held_by(&self, address: Low23, group: GroupId) -> Option<AddressClaim> {
        let claim = self.addresses.get(&address)?.claim;
        Some(claim).filter(|claim| claim.holder == AddressHolder::Group(group))
    }
}

impl AddressUse {
    fn quarantine_left(&self, now: Duration) -> Option<Duration> {
        let rests = self.claim.holder == AddressHolder::Resting;
        let left = QUARANTINE.checked_sub(now.saturating_sub(self.rests_since));
        left.filter(|left| rests && !left.is_zero())
    }

    /// Returns whether the group had the address last and nobody since.
    fn was_last_of(&self, group: &Group, ip: Ipv4Addr) -> bool {
        self.claim.ip == ip && group.addr.ip() == ip && group.generation == self.claim.generation
    }
}

fn set<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => table.insert(key, value),
        None => table.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::group::sample;

    const IP: Ipv4Addr = Ipv4Addr::new(239, 255, 10, 7);
    const SECOND: Duration = Duration::from_secs(1);

    fn group(n: u8) -> GroupId {
        GroupId([n; 16])
    }

    fn resting_since(since: Duration) -> Allocation {
        let mut allocation = Allocation::default();
        let held = allocation.claim_address(IP, group(1), None, since).unwrap();
        allocation.set_address(Low23::of(IP), held, since);
        allocation.set_address(Low23::of(IP), AddressClaim { holder: AddressHolder::Resting, ..held }, since);
        allocation
    }

    #[test]
    fn an_address_and_its_aliases_have_one_holder() {
        let mut allocation = Allocation::default();
        let held = allocation.claim_address(IP, group(1), None, SECOND).unwrap();
        assert_eq!(held.generation, Generation(1));
        allocation.set_address(Low23::of(IP), held, SECOND);
        let alias = Ipv4Addr::new(224, 127, 10, 7);
        let conflict = allocation.claim_address(alias, group(2), None, SECOND).unwrap_err();
        assert_eq!(conflict, AddressConflict::Held { taken: IP, by: group(1) });
        assert_eq!(allocation.address_state(Low23::of(alias), SECOND), AddressState::Held);
    }

    #[test]
    fn an_address_rests_for_the_whole_quarantine_and_comes_back_with_the_next_generation() {
        let mut allocation = resting_since(SECOND);
        let conflict = allocation.claim_address(IP, group(2), None, QUARANTINE).unwrap_err();
        assert_eq!(conflict, AddressConflict::Resting { left: SECOND });
        let (address, claim) = allocation.addresses().next().unwrap();
        allocation.set_address(address, claim, QUARANTINE);
        assert_eq!(allocation.address_state(address, SECOND + QUARANTINE), AddressState::Free, "it began once");
        let next = allocation.claim_address(IP, group(2), None, SECOND + QUARANTINE).unwrap();
        assert_eq!(next.generation, Generation(2));
    }

    #[test]
    fn the_last_holder_alone_gets_a_resting_address_back() {
        let allocation = resting_since(SECOND);
        let mut former = sample(1);
        former.addr = gaung_proto::GroupAddr::new(IP, 20000).unwrap();
        former.generation = Generation(1);
        let back = allocation.claim_address(IP, former.id, Some(&former), SECOND).unwrap();
        assert_eq!(back.generation, Generation(2));
        former.generation = Generation(7);
        assert!(allocation.claim_address(IP, former.id, Some(&former), SECOND).is_err(), "somebody had it since");
        let later = allocation.claim_address(IP, former.id, Some(&former), SECOND + QUARANTINE).unwrap();
        assert_eq!(later.generation, Generation(8), "a group's generation only rises");
    }

    #[test]
    fn a_name_that_is_given_up_can_be_had_again() {
        let mut allocation = Allocation::default();
        let name: GroupName = "room".parse().unwrap();
        allocation.set_name(&name, Some(group(1)));
        assert_eq!((allocation.named("room"), allocation.by_name(Some("room")).count()), (Some(group(1)), 0));
        allocation.set_name(&name, None);
        assert_eq!((allocation.named("room"), allocation.by_name(None).count()), (None, 0));
    }
}
