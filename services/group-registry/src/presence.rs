//! Who is here now: processes that renew their join, in memory only.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::{ClientId, DeviceId, GroupId};

/// How long a presence lasts without being renewed.
pub const PRESENCE_LEASE: Duration = Duration::from_secs(30);
/// Presences of all groups together; each takes about 200 bytes.
const MAX_PRESENCES: usize = 100_000;

/// A process in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) name: String,
    pub(crate) lane: String,
    pub(crate) since_unix_ms: i64,
    pub(crate) renewed: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Presences(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    groups: HashMap<GroupId, HashMap<(DeviceId, ClientId), Presence>>,
    count: usize,
}

impl Presences {
    /// Begins or renews; false if there is no room for a new one.
    pub(crate) fn renew(&self, group: GroupId, device: DeviceId, client: ClientId, presence: Presence) -> bool {
        let mut state = self.state();
        if state.count >= MAX_PRESENCES {
            state.expire(presence.renewed);
        }
        let has_room = state.count < MAX_PRESENCES;
        let members = state.groups.entry(group).or_default();
        match members.get_mut(&(device, client)) {
            Some(known) => *known = Presence { since_unix_ms: known.since_unix_ms, ..presence },
            None if has_room => {
                members.insert((device, client), presence);
                state.count += 1;
            }
            None => return false,
        }
        true
    }

    pub(crate) fn end(&self, group: GroupId, device: DeviceId, client: ClientId) {
        let mut state = self.state();
        let ended = state.groups.get_mut(&group).and_then(|members| members.remove(&(device, client)));
        state.count -= usize::from(ended.is_some());
    }

    pub(crate) fn forget_group(&self, group: GroupId) {
        let mut state = self.state();
        let gone = state.groups.remove(&group).map_or(0, |members| members.len());
        state.count -= gone;
    }

    /// Those who are in `group` now.
    pub(crate) fn of(&self, group: GroupId, now: Instant) -> Vec<(DeviceId, Presence)> {
        let state = self.state();
        let members = state.groups.get(&group).into_iter().flatten();
        members.filter(|(_, p)| is_alive(p, now)).map(|((device, _), p)| (*device, p.clone())).collect()
    }

    /// Forgets those whose lease ran out.
    pub(crate) fn expire(&self, now: Instant) {
        self.state().expire(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn expire(&mut self, now: Instant) {
        self.groups.retain(|_, members| {
            members.retain(|_, presence| is_alive(presence, now));
            !members.is_empty()
        });
        self.count = self.groups.values().map(HashMap::len).sum();
    }
}

fn is_alive(presence: &Presence, now: Instant) -> bool {
    now.saturating_duration_since(presence.renewed) < PRESENCE_LEASE
}
