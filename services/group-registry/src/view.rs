//! The groups as this process knows them, for watchers: a snapshot at any moment, then every change in order.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gaung_log::kv::Version;
use gaung_proto::{GroupId, GroupName, RelayId};
use tokio::sync::watch;

use crate::records::Group;
use std::sync::Arc;

/// Changes that are kept for watchers that come back or fall behind; beyond them a watcher gets a new snapshot.
const HISTORY: usize = 4096;

/// One change of the set of groups.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Upsert(Arc<Group>),
    Deleted { id: GroupId, name: GroupName, relay: RelayId, private: bool },
}

impl Change {
    pub(crate) fn relay(&self) -> RelayId {
        match self {
            Self::Upsert(group) => group.relay,
            Self::Deleted { relay, .. } => *relay,
        }
    }

    pub(crate) fn is_private(&self) -> bool {
        match self {
            Self::Upsert(group) => group.private,
            Self::Deleted { private, .. } => *private,
        }
    }
}

/// What a watcher gets next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Everything as of `revision`.
    Snapshot { revision: u64, groups: Vec<Arc<Group>> },
    /// At least one change, each with its revision.
    Changes(Vec<(u64, Change)>),
    /// Nothing since.
    UpToDate,
}

#[derive(Debug)]
pub(crate) struct View {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<GroupId, (Version, Option<Arc<Group>>)>,
    live: usize,
    revision: u64,
    history: VecDeque<(u64, Change)>,
}

impl View {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), changed: watch::Sender::new(0) }
    }

    /// The record of a group has this version now: `None` if the group was deleted. Older versions change nothing, so
    /// the order in which changes come in does not matter.
    pub(crate) fn apply(&self, id: GroupId, version: Version, group: Option<Group>) {
        let mut guard = self.state();
        let state = &mut *guard;
        let known = state.groups.get(&id);
        if known.is_some_and(|(known, _)| *known >= version) {
            return;
        }
        let before = known.and_then(|(_, group)| group.clone());
        let after = group.map(Arc::new);
        if before == after {
            state.groups.insert(id, (version, after));
            return;
        }
        let change = match (&before, &after) {
            (_, Some(group)) => Some(Change::Upsert(Arc::clone(group))),
            (Some(group), None) => {
                Some(Change::Deleted { id, name: group.name.clone(), relay: group.relay, private: group.private })
            }
            (None, None) => None,
        };
        state.live = state.live + usize::from(after.is_some()) - usize::from(before.is_some());
        state.groups.insert(id, (version, after));
        let Some(change) = change else { return };
        state.revision += 1;
        let revision = state.revision;
        state.history.push_back((revision, change));
        if state.history.len() > HISTORY {
            state.history.pop_front();
        }
        drop(guard);
        self.changed.send_replace(revision);
    }

    /// What comes after revision `after`, at most `limit` changes; `None` asks for a snapshot.
    pub(crate) fn next(&self, after: Option<u64>, limit: usize) -> Next {
        let state = self.state();
        let oldest = state.history.front().map_or(state.revision + 1, |(revision, _)| *revision);
        match after {
            Some(after) if after == state.revision => Next::UpToDate,
            Some(after) if after < state.revision && after + 1 >= oldest => {
                let skip = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
                Next::Changes(state.history.iter().skip(skip).take(limit).cloned().collect())
            }
            Some(_) | None => {
                let groups = state.groups.values().filter_map(|(_, group)| group.clone()).collect();
                Next::Snapshot { revision: state.revision, groups }
            }
        }
    }

    /// Tells of every new revision.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.state().live
    }

    /// Whether the group is known to be private.
    pub(crate) fn is_private(&self, id: GroupId) -> bool {
        self.state().groups.get(&id).is_some_and(|(_, group)| group.as_ref().is_some_and(|group| group.private))
    }

    /// Whether the group exists as far as is known.
    pub(crate) fn has(&self, id: GroupId) -> bool {
        self.state().groups.get(&id).is_some_and(|(_, group)| group.is_some())
    }

    /// The groups that exist and are `wanted`.
    pub(crate) fn those(&self, wanted: impl Fn(&Group) -> bool) -> Vec<Arc<Group>> {
        let state = self.state();
        state.groups.values().filter_map(|(_, group)| group.clone()).filter(|group| wanted(group)).collect()
    }

    /// How many groups exist that are `wanted`.
    pub(crate) fn count(&self, wanted: impl Fn(&Group) -> bool) -> usize {
        self.state().groups.values().filter_map(|(_, group)| group.as_ref()).filter(|group| wanted(group)).count()
    }

    /// How many groups each relay has.
    pub(crate) fn load(&self) -> HashMap<RelayId, usize> {
        let mut load = HashMap::new();
        for group in self.state().groups.values().filter_map(|(_, group)| group.as_ref()) {
            *load.entry(group.relay).or_insert(0) += 1;
        }
        load
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use gaung_proto::{DeviceId, Generation, GroupAddr, GroupRetention, LogId, Scope, pb::registry::Format};

    use crate::records::RequestId;

    use super::*;

    fn group(n: u8, log: u64) -> Group {
        Group {
            id: GroupId([n; 16]),
            name: format!("g{n}").parse().expect("a name"),
            scope: Scope::Site,
            format: Format::Proto,
            private: false,
            addr: GroupAddr::new(std::net::Ipv4Addr::new(239, 255, 1, n), 20000).expect("an address"),
            generation: Generation(1),
            lapsed: false,
            own_address: None,
            log: LogId(log),
            relay: RelayId([7; 16]),
            owner: DeviceId::NONE,
            owner_name: String::new(),
            reserved: false,
            created_unix_ms: 0,
            request: RequestId([n; 16]),
            port_claimed: true,
            owner_left: false,
            keep: GroupRetention::default(),
            reset: bytes::Bytes::new(),
            made_from: None,
        }
    }

    #[test]
    fn late_news_of_old_versions_change_nothing() {
        let view = View::new();
        let id = GroupId([1; 16]);
        view.apply(id, Version(5), None);
        view.apply(id, Version(4), Some(group(1, 1)));
        assert_eq!((view.len(), view.state().revision), (0, 0), "deleted before its making was told");
        view.apply(GroupId([2; 16]), Version(6), Some(group(2, 1)));
        view.apply(GroupId([2; 16]), Version(6), Some(group(2, 9)));
        assert_eq!((view.len(), view.state().revision), (1, 1));
    }

    #[test]
    fn whoever_falls_behind_the_history_gets_a_snapshot() {
        let view = View::new();
        let changes = u64::try_from(HISTORY).expect("small") + 10;
        for n in 1..=changes {
            view.apply(GroupId([1; 16]), Version(n), Some(group(1, n)));
        }
        assert!(matches!(view.next(Some(9), 100), Next::Snapshot { revision, .. } if revision == changes));
        let Next::Changes(news) = view.next(Some(10), 100) else { panic!("revision 11 is still known") };
        assert_eq!((news[0].0, news.len()), (11, 100));
        assert!(matches!(view.next(Some(changes), 100), Next::UpToDate));
        assert!(matches!(view.next(Some(changes + 1), 100), Next::Snapshot { .. }), "from another registry");
        assert!(matches!(view.next(None, 100), Next::Snapshot { groups, .. } if groups.len() == 1));
    }
}
