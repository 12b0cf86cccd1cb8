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
    Deleted { id: GroupId, name: GroupName, relay: RelayId },
}

impl Change {
    pub(crate) fn relay(&self) -> RelayId {
        match self {
            Self::Upsert(group) => group.relay,
            Self::Deleted { relay, .. } => *relay,
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
            (Some(group), None) => Some(Change::Deleted { id, name: group.name.clone(), relay: group.relay }),
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
