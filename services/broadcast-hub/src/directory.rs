//! The hub's copy of what the registry reported: groups by name and id, relays' addresses, the key that signs tickets. It
//! stays in use while the registry is away.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use gaung_engine::{TicketError, TicketJudge};
use gaung_proto::{DeviceId, Generation, GroupId, LogId, RelayId, name::EVERYONE, pb};
use tokio::sync::watch;

/// A group as the registry describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its id.
    pub id: GroupId,
    /// Its name.
    pub name: String,
    /// Only members with a ticket may read and write it.
    pub private: bool,
    /// The relay that orders its messages.
    pub relay: RelayId,
    /// Counts the group's addresses.
    pub generation: Generation,
    /// Its log when the registry described it.
    pub log: LogId,
    /// Made by the registry itself, as `everyone` is.
    pub reserved: bool,
}

impl GroupInfo {
    /// Returns `None` if an id is malformed: such a group cannot be served.
    pub(crate) fn from_pb(group: &pb::registry::Group) -> Option<Self> {
        Some(Self {
            id: GroupId::try_from(&group.id[..]).ok()?,
            name: group.name.clone(),
            private: group.private,
            relay: RelayId::try_from(&group.relay_id[..]).ok()?,
            generation: Generation(group.generation),
            log: LogId(group.log_id),
            reserved: group.reserved,
        })
    }

    pub(crate) fn is_everyone(&self) -> bool {
        self.reserved && self.name == EVERYONE
    }
}

/// The hub's copy of the registry's state, for all threads.
#[derive(Debug)]
pub(crate) struct Directory {
    state: RwLock<DirectoryState>,
    changes: watch::Sender<u64>,
    /// Checks tickets by the registry's key and clock, as of the last registration.
    tickets: RwLock<TicketJudge>,
}

#[derive(Debug, Default)]
struct DirectoryState {
    by_id: HashMap<GroupId, Arc<GroupInfo>>,
    by_name: HashMap<String, GroupId>,
    everyone: Option<Arc<GroupInfo>>,
    /// Groups that were looked up and that the watch has not reported yet. A snapshot must not remove them, because it may be
    /// older than they are.
    looked_up: HashSet<GroupId>,
    relays: HashMap<RelayId, String>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self { state: RwLock::default(), changes: watch::Sender::new(0), tickets: RwLock::default() }
    }

    pub(crate) fn by_id(&self, id: GroupId) -> Option<Arc<GroupInfo>> {
        self.read().by_id.get(&id).cloned()
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<GroupInfo>> {
        let state = self.read();
        state.by_name.get(name).and_then(|id| state.by_id.get(id)).cloned()
    }

    /// Returns every public group, in no order.
    pub(crate) fn public(&self) -> Vec<Arc<GroupInfo>> {
        self.read().by_id.values().filter(|info| !info.private).cloned().collect()
    }

    pub(crate) fn everyone(&self) -> Option<Arc<GroupInfo>> {
        self.read().everyone.clone()
    }

    /// Returns `HOST:PORT` of a relay's gRPC server.
    pub(crate) fn relay_target(&self, relay: RelayId) -> Option<String> {
        self.read().relays.get(&relay).cloned()
    }

    /// Checks that `device` may use the group by this ticket.
    pub(crate) fn check_ticket(
        &self,
        now: Instant,
        group: GroupId,
        device: DeviceId,
        ticket: &[u8],
    ) -> Result<(), TicketError> {
        self.tickets().check(self.ticket_time(now), group, device, ticket).map(|_| ())
    }

    /// Returns the registry's time, by which tickets expire, in ms since 1970. Before the first registration it is 0, and no
    /// ticket is valid.
    pub(crate) fn ticket_time(&self, now: Instant) -> i64 {
        self.tickets().time_ms(now, 0)
    }

    fn tickets(&self) -> TicketJudge {
        *self.tickets.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a counter of changes of groups and relays, which can be awaited.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Inserts a group that the watch reported, or replaces its description.
    pub(crate) fn upsert(&self, info: GroupInfo) -> Arc<GroupInfo> {
        let info = Arc::new(info);
        self.change(|state| state.insert(info.clone()));
        info
    }

    /// Inserts a group that was looked up, unless the watch has reported it meanwhile.
    pub(crate) fn looked_up(&self, info: GroupInfo) -> Arc<GroupInfo> {
        let info = Arc::new(info);
        self.change(|state| {
            if !state.by_id.contains_key(&info.id) {
                state.insert(info.clone());
                state.looked_up.insert(info.id);
            }
        });
        info
    }

    pub(crate) fn remove(&self, id: GroupId) {
        self.change(|state| state.remove(id));
    }

    /// Replaces all groups by a snapshot of the watch; returns the removed ones.
    pub(crate) fn replace(&self, groups: Vec<GroupInfo>) -> Vec<GroupId> {
        let mut removed = Vec::new();
        self.change(|state| {
            let reported: HashSet<GroupId> = groups.iter().map(|info| info.id).collect();
            let kept = |id: &GroupId| reported.contains(id) || state.looked_up.contains(id);
            removed.extend(state.by_id.keys().filter(|id| !kept(id)).copied());
            for id in &removed {
                state.remove(*id);
            }
            for info in groups {
                state.insert(Arc::new(info));
            }
        });
        removed
    }

    /// Replaces the relays' addresses by a list of services. A relay that advertises no host is at the registry's.
    pub(crate) fn set_services(&self, services: &[pb::registry::ServiceInfo], registry_host: &str) {
        let relays: HashMap<RelayId, String> = services
            .iter()
            .filter(|service| service.kind() == pb::registry::ServiceKind::Relay)
            .filter_map(|service| {
                let host = if service.advertise.is_empty() { registry_host } else { &service.advertise };
                let id = RelayId::try_from(&service.service_id[..]).ok()?;
                Some((id, format!("{host}:{}", service.grpc_port)))
            })
            .collect();
        if self.read().relays != relays {
            self.change(|state| state.relays = relays);
        }
    }

    /// Sets the registry's key, and its clock in ms since 1970.
    pub(crate) fn handle_registry(&self, now: Instant, key: [u8; 32], unix_ms: i64) {
        self.tickets.write().unwrap_or_else(PoisonError::into_inner).handle_registry(now, key, unix_ms);
    }

    fn change(&self, change: impl FnOnce(&mut DirectoryState)) {
        change(&mut self.write());
        self.changes.send_modify(|count| *count += 1);
    }

    fn read(&self) -> RwLockReadGuard<'_, DirectoryState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, DirectoryState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DirectoryState {
    fn insert(&mut self, info: Arc<GroupInfo>) {
        self.looked_up.remove(&info.id);
        if let Some(old) = self.by_id.get(&info.id).filter(|old| old.name != info.name) {
            self.by_name.remove(&old.name);
        }
        if info.is_everyone() {
            self.everyone = Some(info.clone());
        }
        self.by_name.insert(info.name.clone(), info.id);
        self.by_id.insert(info.id, info);
    }

    fn remove(&mut self, id: GroupId) {
        let Some(old) = self.by_id.remove(&id) else { return };
        self.looked_up.remove(&id);
        if self.by_name.get(&old.name) == Some(&id) {
            self.by_name.remove(&old.name);
        }
        if self.everyone.as_ref().is_some_and(|everyone| everyone.id == id) {
            self.everyone = None;
        }
    }
}
