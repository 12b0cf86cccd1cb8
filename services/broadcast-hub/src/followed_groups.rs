//! The groups that the hub follows, with all that has to hear of a change: the directory, the links to relays and the
//! shards.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use gaung_engine::RingBudget;
use gaung_proto::GroupId;
use service_kit::share::Origin;
use tonic::Code;

use crate::{
    directory::{Directory, GroupInfo},
    group::Group,
    group_table::{GroupTable, TooManyGroups, WatchedGroup},
    inbox::Inboxes,
    relays::Relays,
};

/// Follows groups for sessions and for the hub itself, and keeps links and shards informed.
#[derive(Debug)]
pub(crate) struct FollowedGroups {
    table: GroupTable,
    directory: Arc<Directory>,
    relays: Arc<Relays>,
    inboxes: Inboxes,
}

impl FollowedGroups {
    pub(crate) const fn new(
        table: GroupTable,
        directory: Arc<Directory>,
        relays: Arc<Relays>,
        inboxes: Inboxes,
    ) -> Self {
        Self { table, directory, relays, inboxes }
    }

    /// Counts a session of `origin` on `shard` in and follows the group. `ticket` is the session's, already checked; it is
    /// empty for a public group.
    pub(crate) fn watch(
        &self,
        info: &Arc<GroupInfo>,
        shard: usize,
        origin: Origin,
        ticket: &Bytes,
    ) -> Result<Arc<Group>, TooManyGroups> {
        let WatchedGroup { group, is_new, evicted } = self.table.watch(info, shard, origin)?;
        for group in evicted {
            let message = "the hub needed the group's place, and your address has the most; try again later";
            self.end(&group, Code::ResourceExhausted, message);
        }
        let is_newer = group.keep_ticket(ticket);
        if is_new || is_newer {
            self.request_changed(&group);
        }
        Ok(group)
    }

    /// Counts a session of `origin` on `shard` out.
    pub(crate) fn unwatch(&self, group: &Arc<Group>, shard: usize, origin: Origin) {
        self.table.unwatch(group, shard, origin);
    }

    /// Follows `everyone` for as long as the hub runs.
    pub(crate) fn pin(&self, info: &Arc<GroupInfo>) -> Result<Arc<Group>, TooManyGroups> {
        let (group, is_new) = self.table.pin(info)?;
        if is_new {
            self.request_changed(&group);
        }
        Ok(group)
    }

    /// Keeps a session's renewed ticket, and has the relay shown it if it lasts longer.
    pub(crate) fn keep_ticket(&self, group: &Group, ticket: &Bytes) {
        if group.keep_ticket(ticket) {
            self.request_changed(group);
        }
    }

    /// Has the group's audience reported to its relay.
    pub(crate) fn audience_changed(&self, group: &Group) {
        self.relays.link(group.info().relay).audiences.insert(group.id);
    }

    /// Wakes each shard that has a session of the group, once.
    pub(crate) fn wake(&self, group: &Group) {
        group.watching_shards().for_each(|shard| self.inboxes.of(shard).mark(group.id));
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.table.get(id)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.table.all()
    }

    /// Returns the memory of all groups' hot rings.
    pub(crate) fn rings(&self) -> &RingBudget {
        self.table.rings()
    }

    /// Applies a change of a group's description, as the registry reported it.
    pub(crate) fn upsert(&self, info: GroupInfo) {
        let info = self.directory.upsert(info);
        if let Some(group) = self.get(info.id) {
            group.set_info(info);
        }
    }

    /// Applies a snapshot of all public groups, and ends those that are missing in it.
    pub(crate) fn replace(&self, snapshot: Vec<GroupInfo>) {
        self.directory.replace(snapshot).into_iter().for_each(|id| self.end_deleted(id));
    }

    /// Removes a deleted group; its sessions are told and its relay stops sending it.
    pub(crate) fn delete(&self, id: GroupId) {
        self.directory.remove(id);
        self.end_deleted(id);
    }

    /// Unfollows groups that no session has been in for a while.
    pub(crate) fn sweep(&self, now: Instant) {
        for group in self.table.sweep(now) {
            self.request_changed(&group);
            if group.info().private {
                // The registry's watch reports public groups alone, so nothing else would remove it.
                self.directory.remove(group.id);
            }
        }
    }

    fn end_deleted(&self, id: GroupId) {
        if let Some(group) = self.table.remove(id) {
            self.end(&group, Code::NotFound, "the group was deleted");
        }
    }

    fn end(&self, group: &Group, code: Code, message: &str) {
        group.end(code, message);
        self.wake(group);
        self.request_changed(group);
    }

    /// Has the relay's link compare what it requests of the group with what is wanted.
    fn request_changed(&self, group: &Group) {
        self.relays.link(group.info().relay).requests.insert(group.id);
    }
}
