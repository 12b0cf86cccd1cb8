//! Lasting memberships and invites.
//!
//! Presence lasts seconds and belongs to one process: see [`crate::presence`].

use std::collections::{BTreeMap, BTreeSet};

use gaung_proto::{DeviceId, GroupId};
use service_kit::share::Origin;

use crate::{
    limits,
    records::{CodeHash, StoredInvite, StoredMember},
};

/// Most lasting members of one group.
const MAX_MEMBERS: usize = 10_000;
/// Most lasting members of one group from one address: a school behind one address has as many.
const MAX_MEMBERS_OF_ONE: usize = 1000;

/// The lasting members of all groups, and the invites.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Membership {
    groups: BTreeMap<GroupId, GroupMembers>,
    invites: BTreeMap<CodeHash, StoredInvite>,
}

/// The lasting members of one group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct GroupMembers {
    of_device: BTreeMap<DeviceId, StoredMember>,
    /// The members of each address, from the oldest.
    of_origin: BTreeMap<Option<Origin>, BTreeSet<(i64, DeviceId)>>,
}

/// Why a group takes no more members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The caller's address has as many members as one may have.
    Share,
    /// The group has as many members as one may have.
    Group,
}

impl Membership {
    pub(crate) fn set_member(&mut self, group: GroupId, device: DeviceId, member: Option<StoredMember>) {
        let members = self.groups.entry(group).or_default();
        match member {
            Some(member) => members.add(device, member),
            None => members.remove(device),
        }
        if members.of_device.is_empty() {
            self.groups.remove(&group);
        }
    }

    pub(crate) fn set_invite(&mut self, code: CodeHash, invite: Option<StoredInvite>) {
        match invite {
            Some(invite) => self.invites.insert(code, invite),
            None => self.invites.remove(&code),
        };
    }

    pub(crate) fn member(&self, group: GroupId, device: DeviceId) -> Option<&StoredMember> {
        self.groups.get(&group).and_then(|members| members.of_device.get(&device))
    }

    /// Iterates over the members of a group in order of their ids.
    pub(crate) fn members(&self, group: GroupId) -> impl Iterator<Item = (DeviceId, &StoredMember)> {
        let members = self.groups.get(&group).into_iter().flat_map(|members| &members.of_device);
        members.map(|(device, member)| (*device, member))
    }

    /// Iterates over the groups that have members.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.keys().copied()
    }

    pub(crate) fn invite(&self, code: &CodeHash) -> Option<&StoredInvite> {
        self.invites.get(code)
    }

    pub(crate) fn invites(&self) -> impl Iterator<Item = (&CodeHash, &StoredInvite)> {
        self.invites.iter()
    }

    /// Decides who is evicted for one more member of `origin`: nobody, or in a full group the oldest member of the address
    /// that has most. A private group evicts nobody, because a member needs an invite to come back.
    pub(crate) fn room_for(
        &self,
        group: GroupId,
        private: bool,
        origin: Option<Origin>,
    ) -> Result<Option<DeviceId>, NoRoom> {
        self.groups.get(&group).map_or(Ok(None), |members| members.room_for(private, origin))
    }
}

impl GroupMembers {
    fn add(&mut self, device: DeviceId, member: StoredMember) {
        self.remove(device);
        self.of_origin.entry(origin_of(&member)).or_default().insert((member.joined_unix_ms, device));
        self.of_device.insert(device, member);
    }

    fn remove(&mut self, device: DeviceId) {
        let Some(member) = self.of_device.remove(&device) else { return };
        let origin = origin_of(&member);
        if let Some(members) = self.of_origin.get_mut(&origin) {
            members.remove(&(member.joined_unix_ms, device));
            if members.is_empty() {
                self.of_origin.remove(&origin);
            }
        }
    }

    fn room_for(&self, private: bool, origin: Option<Origin>) -> Result<Option<DeviceId>, NoRoom> {
        let own = self.of_origin.get(&origin).map_or(0, BTreeSet::len);
        if own >= MAX_MEMBERS_OF_ONE && origin.is_some() {
            return Err(NoRoom::Share);
        }
        if self.of_device.len() < MAX_MEMBERS {
            return Ok(None);
        }
        let largest = self.of_origin.values().filter(|members| members.len() > own + 1);
        let largest = largest.max_by_key(|members| members.len()).filter(|_| !private);
        largest.and_then(BTreeSet::first).map(|(_, device)| Some(*device)).ok_or(NoRoom::Group)
    }
}

/// Returns the address that is charged for a member.
pub(crate) fn origin_of(member: &StoredMember) -> Option<Origin> {
    limits::origin(member.joined_from.parse().ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const GROUP: GroupId = GroupId([1; 16]);

    fn address(n: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    fn device(n: usize) -> DeviceId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId(id)
    }

    #[test]
    fn one_address_fills_only_its_share_and_a_newcomer_gets_room_from_who_has_most() {
        let mut membership = Membership::default();
        let origin = |n| limits::origin(Some(address(n)));
        let mut next = 0;
        for n in 1..=12 {
            while membership.room_for(GROUP, false, origin(n)) == Ok(None) {
                let joined_unix_ms = i64::try_from(next).unwrap();
                let member = StoredMember { name: String::new(), joined_unix_ms, joined_from: address(n).to_string() };
                membership.set_member(GROUP, device(next), Some(member));
                next += 1;
            }
        }
        assert_eq!(membership.members(GROUP).count(), MAX_MEMBERS);
        assert_eq!(membership.room_for(GROUP, false, origin(1)), Err(NoRoom::Share));
        let private = membership.room_for(GROUP, true, origin(99));
        assert_eq!(private, Err(NoRoom::Group), "nobody leaves a private group for another");
        let leaves = membership.room_for(GROUP, false, origin(99)).unwrap().unwrap();
        let whose = origin_of(membership.member(GROUP, leaves).unwrap());
        let of_whom = &membership.groups[&GROUP].of_origin[&whose];
        assert_eq!((of_whom.len(), of_whom.first().unwrap().1), (MAX_MEMBERS_OF_ONE, leaves), "the oldest of most");
        membership.set_member(GROUP, leaves, None);
        assert_eq!(membership.room_for(GROUP, false, origin(99)), Ok(None));
    }

    #[test]
    fn a_group_without_members_takes_no_room() {
        let mut membership = Membership::default();
        membership.set_member(GROUP, device(1), Some(StoredMember::default()));
        membership.set_member(GROUP, device(1), None);
        membership.set_member(GROUP, device(2), None);
        assert_eq!(membership.groups().count(), 0);
    }
}
