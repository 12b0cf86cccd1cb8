//! The groups that are followed now, and who must be told when that changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::GroupId;

use crate::{config::Limits, directory::GroupInfo, group::Group};

/// All followed groups.
#[derive(Debug)]
pub(crate) struct Groups {
    table: Mutex<HashMap<GroupId, Entry>>,
    max_groups: usize,
    ring_bytes: usize,
    rings_bytes: usize,
    shards: usize,
}

#[derive(Debug)]
struct Entry {
    group: Arc<Group>,
    /// Followed for the hub itself: `everyone`.
    pinned: bool,
    unused_since: Option<Instant>,
}

/// A group nobody watches is followed on for so long, for those who come back.
const UNUSED: Duration = Duration::from_secs(30);

/// [`Limits::groups`] are followed already.
#[derive(Debug, thiserror::Error)]
#[error("the hub follows {0} groups already; try later or use another hub")]
pub(crate) struct TooManyGroups(usize);

impl Groups {
    pub(crate) fn new(limits: &Limits, shards: usize) -> Self {
        Self {
            table: Mutex::default(),
            max_groups: limits.groups,
            ring_bytes: limits.ring_bytes,
            rings_bytes: limits.rings_bytes,
            shards,
        }
    }

    /// Counts a session of `shard` in; returns the group and whether it is new here.
    pub(crate) fn watch(&self, info: &Arc<GroupInfo>, shard: usize) -> Result<(Arc<Group>, bool), TooManyGroups> {
        let mut table = self.table();
        let (group, new) = self.enter(&mut table, info)?;
        group.watch(shard);
        Ok((group, new))
    }

    /// Follows a group for as long as the hub runs.
    pub(crate) fn pin(&self, info: &Arc<GroupInfo>) -> Result<(Arc<Group>, bool), TooManyGroups> {
        let mut table = self.table();
        let found = self.enter(&mut table, info)?;
        if let Some(entry) = table.get_mut(&info.id) {
            entry.pinned = true;
        }
        Ok(found)
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.table().get(&id).map(|entry| entry.group.clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.table().values().map(|entry| entry.group.clone()).collect()
    }

    /// Forgets a group that was deleted; its sessions keep their own handles until they are told.
    pub(crate) fn forget(&self, id: GroupId) -> Option<Arc<Group>> {
        self.table().remove(&id).map(|entry| entry.group)
    }

    /// Forgets what was unused for [`UNUSED`] and gives the others their share of memory; returns the forgotten.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<Arc<Group>> {
        let mut table = self.table();
        let mut forgotten = Vec::new();
        table.retain(|_, entry| {
            if entry.pinned || entry.group.watcher_count() > 0 {
                entry.unused_since = None;
                return true;
            }
            let since = *entry.unused_since.get_or_insert(now);
            let keep = now.saturating_duration_since(since) < UNUSED;
            if !keep {
                forgotten.push(entry.group.clone());
            }
            keep
        });
        let share = self.share(table.len());
        for entry in table.values() {
            entry.group.set_ring_budget(share);
        }
        forgotten
    }

    fn enter(
        &self,
        table: &mut HashMap<GroupId, Entry>,
        info: &Arc<GroupInfo>,
    ) -> Result<(Arc<Group>, bool), TooManyGroups> {
        if let Some(entry) = table.get_mut(&info.id) {
            entry.unused_since = None;
            return Ok((entry.group.clone(), false));
        }
        if table.len() >= self.max_groups {
            return Err(TooManyGroups(self.max_groups));
        }
        let group = Arc::new(Group::new(info.clone(), self.share(table.len() + 1), self.shards));
        table.insert(info.id, Entry { group: group.clone(), pinned: false, unused_since: None });
        Ok((group, true))
    }

    fn share(&self, groups: usize) -> usize {
        self.ring_bytes.min(self.rings_bytes / groups.max(1))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<GroupId, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
