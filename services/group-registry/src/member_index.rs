//! How many lasting members each address has in each group, so that joining need not read them all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gaung_proto::{DeviceId, GroupId};
use service_kit::share::Origin;

use crate::{
    limits,
    members::JoinError,
    records::{self, Group, StoredMember},
    store::{Store, StoreError},
};

/// Lasting members of one group.
const MAX_MEMBERS: usize = 10_000;
/// Those of one address: a school behind one address has as many.
const MAX_MEMBERS_OF_ONE: usize = 1000;
/// Groups whose index is kept; another is read again when it is wanted. Full ones take some 100 MiB together, and one
/// address fills a tenth of each.
const MAX_GROUPS: usize = 64;

/// Made when a group is first joined, and kept as its members come and leave here. Another registry on the same store
/// may be ahead of it; the limits are then met a little later.
#[derive(Debug, Default)]
pub(crate) struct MemberIndex(Mutex<HashMap<GroupId, GroupIndex>>);

#[derive(Debug, Default)]
struct GroupIndex {
    of_device: HashMap<DeviceId, (Option<Origin>, i64)>,
    /// From the oldest.
    of_origin: HashMap<Option<Origin>, BTreeSet<(i64, DeviceId)>>,
}

impl MemberIndex {
    /// Who has to leave so that one more of `origin` fits: nobody, or the oldest member of the address that has most,
    /// where there are too many. In a private group nobody has to, for it is not easy to come in again.
    pub(crate) fn room_for(
        &self,
        store: &Store,
        group: &Group,
        origin: Option<Origin>,
    ) -> Result<Option<DeviceId>, JoinError> {
        let mut groups = self.lock();
        if !groups.contains_key(&group.id) {
            if groups.len() >= MAX_GROUPS
                && let Some(other) = groups.keys().next().copied()
            {
                groups.remove(&other);
            }
            groups.insert(group.id, GroupIndex::read(store, group.id)?);
        }
        groups.get(&group.id).map_or(Ok(None), |index| index.room_for(origin, group.private))
    }

    pub(crate) fn add(&self, group: GroupId, device: DeviceId, origin: Option<Origin>, joined_unix_ms: i64) {
        if let Some(index) = self.lock().get_mut(&group) {
            index.add(device, origin, joined_unix_ms);
        }
    }

    pub(crate) fn remove(&self, group: GroupId, device: DeviceId) {
        if let Some(index) = self.lock().get_mut(&group) {
            index.remove(device);
        }
    }

    pub(crate) fn forget_group(&self, group: GroupId) {
        self.lock().remove(&group);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<GroupId, GroupIndex>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupIndex {
    fn read(store: &Store, group: GroupId) -> Result<Self, StoreError> {
        let mut index = Self::default();
        store.each(&records::members_prefix(group), |item| {
            let device = item.key.last_chunk().map(|id| DeviceId(*id)).ok_or_else(|| records::damaged(&item.key))?;
            let stored: StoredMember = records::decode(&item.key, &item.entry.value)?;
            index.add(device, limits::origin(stored.joined_from.parse().ok()), stored.joined_unix_ms);
            Ok::<_, StoreError>(())
        })?;
        Ok(index)
    }

    fn room_for(&self, origin: Option<Origin>, private: bool) -> Result<Option<DeviceId>, JoinError> {
        let own = self.of_origin.get(&origin).map_or(0, BTreeSet::len);
        if own >= MAX_MEMBERS_OF_ONE && origin.is_some() {
            return Err(JoinError::Full("your address has 1000 members in this group; let some of them leave first"));
        }
        if self.of_device.len() < MAX_MEMBERS {
            return Ok(None);
        }
        let full = JoinError::Full("the group has too many members; let others leave first");
        let largest = self.of_origin.iter().filter(|(_, members)| members.len() > own + 1);
        let largest = largest.max_by_key(|(_, members)| members.len()).filter(|_| !private);
        largest.and_then(|(_, members)| members.first()).map(|(_, device)| Some(*device)).ok_or(full)
    }

    fn add(&mut self, device: DeviceId, origin: Option<Origin>, joined_unix_ms: i64) {
        self.remove(device);
        self.of_device.insert(device, (origin, joined_unix_ms));
        self.of_origin.entry(origin).or_default().insert((joined_unix_ms, device));
    }

    fn remove(&mut self, device: DeviceId) {
        let Some((origin, joined_unix_ms)) = self.of_device.remove(&device) else { return };
        if let Some(members) = self.of_origin.get_mut(&origin) {
            members.remove(&(joined_unix_ms, device));
            if members.is_empty() {
                self.of_origin.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn origin(n: u8) -> Option<Origin> {
        Some(IpAddr::from(Ipv4Addr::new(10, 0, 0, n)).into())
    }

    fn device(n: usize) -> DeviceId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId(id)
    }

    #[test]
    fn one_address_fills_only_its_share_and_a_newcomer_gets_room_from_who_has_most() {
        let mut index = GroupIndex::default();
        let mut next = 0;
        for address in 1..=12 {
            while index.room_for(origin(address), false) == Ok(None) {
                index.add(device(next), origin(address), i64::try_from(next).unwrap());
                next += 1;
            }
        }
        assert_eq!(index.of_device.len(), MAX_MEMBERS);
        assert!(index.room_for(origin(1), false).unwrap_err().to_string().contains("your address"));
        assert!(index.room_for(origin(99), true).is_err(), "nobody leaves a private group for another");
        let leaves = index.room_for(origin(99), false).unwrap().unwrap();
        let (whose, _) = index.of_device[&leaves];
        assert_eq!(index.of_origin[&whose].len(), MAX_MEMBERS_OF_ONE);
        assert_eq!(index.of_origin[&whose].first().unwrap().1, leaves, "the oldest");
        index.remove(leaves);
        assert_eq!(index.room_for(origin(99), false), Ok(None));
    }
}
