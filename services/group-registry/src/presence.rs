//! Presence: the client processes that renew their join, in memory only.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::{ClientId, DeviceId, GroupId};
use service_kit::share::{Origin, PoolFull, Share, SharePool};

/// How long a presence lasts without being renewed.
pub const PRESENCE_LEASE: Duration = Duration::from_secs(30);
/// Most presences of all groups together; each takes about 300 bytes.
const MAX_PRESENCES: u64 = 100_000;

/// A client process that is in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) name: String,
    pub(crate) lane: String,
    pub(crate) since_unix_ms: i64,
    pub(crate) renewed: Instant,
}

/// The presences of one group, by device and process.
type GroupPresences = HashMap<(DeviceId, ClientId), PresenceEntry>;

/// A process in a group.
pub(crate) type PresenceKey = (GroupId, DeviceId, ClientId);

#[derive(Debug)]
pub(crate) struct Presences {
    groups: Mutex<HashMap<GroupId, GroupPresences>>,
    /// When all slots are taken, the address that has most of them loses its oldest one to a newcomer.
    slots: SharePool<Option<Origin>>,
}

#[derive(Debug)]
struct PresenceEntry {
    presence: Presence,
    origin: Option<Origin>,
    slot: Share<Option<Origin>>,
}

impl PresenceEntry {
    fn is_alive(&self, now: Instant) -> bool {
        !self.slot.is_evicted() && now.saturating_duration_since(self.presence.renewed) < PRESENCE_LEASE
    }
}

impl Default for Presences {
    fn default() -> Self {
        Self { groups: Mutex::default(), slots: SharePool::new(MAX_PRESENCES, MAX_PRESENCES) }
    }
}

impl Presences {
    /// Renews a presence; false if there is none.
    pub(crate) fn renew(&self, (group, device, client): PresenceKey, presence: &Presence) -> bool {
        let mut groups = self.groups();
        let entry = groups.get_mut(&group).and_then(|members| members.get_mut(&(device, client)));
        let Some(entry) = entry.filter(|entry| entry.is_alive(presence.renewed)) else { return false };
        entry.presence = Presence { since_unix_ms: entry.presence.since_unix_ms, ..presence.clone() };
        true
    }

    /// Begins a presence, whose slot is charged to `origin`.
    ///
    /// # Errors
    /// [`PoolFull`] if no address has more presences than the caller's.
    pub(crate) fn begin(
        &self,
        (group, device, client): PresenceKey,
        presence: Presence,
        origin: Option<Origin>,
    ) -> Result<(), PoolFull> {
        if self.slots.used() >= MAX_PRESENCES {
            self.expire(presence.renewed);
        }
        let slot = self.slots.take(origin, 1)?;
        let mut groups = self.groups();
        let entry = PresenceEntry { presence, origin, slot };
        let _before = groups.entry(group).or_default().insert((device, client), entry);
        Ok(())
    }

    pub(crate) fn end(&self, group: GroupId, device: DeviceId, client: ClientId) {
        if let Some(members) = self.groups().get_mut(&group) {
            members.remove(&(device, client));
        }
    }

    /// Ends the presences of all processes of a device in a group.
    pub(crate) fn end_device(&self, group: GroupId, device: DeviceId) {
        if let Some(members) = self.groups().get_mut(&group) {
            members.retain(|(present, _), _| *present != device);
        }
    }

    pub(crate) fn forget_group(&self, group: GroupId) {
        self.groups().remove(&group);
    }

    /// Returns the presences in `group`, each with the address that is charged for it.
    pub(crate) fn of(&self, group: GroupId, now: Instant) -> Vec<(DeviceId, Presence, Option<Origin>)> {
        let groups = self.groups();
        let members = groups.get(&group).into_iter().flatten().filter(|(_, entry)| entry.is_alive(now));
        members.map(|((device, _), entry)| (*device, entry.presence.clone(), entry.origin)).collect()
    }

    /// Removes the presences whose lease has expired.
    pub(crate) fn expire(&self, now: Instant) {
        self.groups().retain(|_, members| {
            members.retain(|_, entry| entry.is_alive(now));
            !members.is_empty()
        });
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<GroupId, GroupPresences>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[test]
    fn who_fills_the_table_makes_room_for_others() {
        let presences = Presences { slots: SharePool::new(10, 10), ..Presences::default() };
        let (now, group) = (Instant::now(), GroupId([1; 16]));
        let origin = |n| Some(Origin::from(IpAddr::from(Ipv4Addr::new(10, 0, 0, n))));
        let key = |n| (group, DeviceId([n; 16]), ClientId([n; 16]));
        let presence = Presence { name: "Eve".into(), lane: String::new(), since_unix_ms: 0, renewed: now };
        for n in 0..10 {
            presences.begin(key(n), presence.clone(), origin(1)).unwrap();
        }
        presences.begin(key(10), presence.clone(), origin(1)).unwrap_err();
        presences.begin(key(100), presence.clone(), origin(2)).unwrap();
        assert!(!presences.renew(key(0), &presence), "the oldest gave way");
        assert!(presences.renew(key(100), &presence));
        assert_eq!(presences.of(group, now).len(), 10);
        presences.end(group, DeviceId([100; 16]), ClientId([100; 16]));
        assert_eq!(presences.slots.used(), 9);
        presences.expire(now + PRESENCE_LEASE);
        assert_eq!(presences.slots.used(), 0);
    }
}
