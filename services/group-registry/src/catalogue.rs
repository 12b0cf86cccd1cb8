//! The groups, the heads of their logs, and the services that registered.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use gaung_proto::{GroupId, RelayId};

use crate::{
    feed::{ChangeFeed, GroupChange, WatchStep},
    group::{Group, GroupRecord},
    records::{ServiceRecord, StoredHead},
};

/// The groups, their logs' heads, and the services.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Catalogue {
    groups: BTreeMap<GroupId, Arc<Group>>,
    /// When each group that existed was deleted, in Unix time in ms: its id is never used again.
    deleted: BTreeMap<GroupId, i64>,
    heads: BTreeMap<GroupId, StoredHead>,
    services: BTreeMap<RelayId, ServiceRecord>,
    /// SHA-256 of each service's secret.
    secrets: BTreeMap<RelayId, Bytes>,
    feed: ChangeFeed,
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self {
            groups: BTreeMap::new(),
            deleted: BTreeMap::new(),
            heads: BTreeMap::new(),
            services: BTreeMap::new(),
            secrets: BTreeMap::new(),
            feed: ChangeFeed::new(),
        }
    }

    /// Sets the record of a group, and publishes it to watchers if it changed.
    pub(crate) fn set_group(&mut self, id: GroupId, fate: GroupRecord) {
        match fate {
            GroupRecord::Live(group) => {
                let before = self.groups.insert(id, Arc::clone(&group));
                if before.as_ref() != Some(&group) {
                    self.feed.publish(GroupChange::Upsert(group));
                }
            }
            GroupRecord::Deleted { at_unix_ms, .. } => {
                self.deleted.insert(id, at_unix_ms);
                if let Some(group) = self.groups.remove(&id) {
                    self.feed.publish(GroupChange::Deleted(group));
                }
            }
        }
    }

    pub(crate) fn set_head(&mut self, group: GroupId, head: Option<StoredHead>) {
        match head {
            Some(head) => self.heads.insert(group, head),
            None => self.heads.remove(&group),
        };
    }

    pub(crate) fn set_service(&mut self, id: RelayId, service: Option<ServiceRecord>) {
        match service {
            Some(service) => self.services.insert(id, service),
            None => self.services.remove(&id),
        };
    }

    pub(crate) fn set_secret(&mut self, id: RelayId, hash: Option<Bytes>) {
        match hash {
            Some(hash) => self.secrets.insert(id, hash),
            None => self.secrets.remove(&id),
        };
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&Arc<Group>> {
        self.groups.get(&id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns when the group was deleted, in Unix time in ms; `None` if it was not.
    pub(crate) fn deleted_at(&self, id: GroupId) -> Option<i64> {
        self.deleted.get(&id).copied()
    }

    /// Returns the highest seq that was reported, and of which log.
    pub(crate) fn head(&self, group: GroupId) -> Option<&StoredHead> {
        self.heads.get(&group)
    }

    pub(crate) fn heads(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.heads.keys().copied()
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (RelayId, &ServiceRecord)> {
        self.services.iter().map(|(id, service)| (*id, service))
    }

    pub(crate) fn secret(&self, service: RelayId) -> Option<&Bytes> {
        self.secrets.get(&service)
    }

    /// Counts the groups of each relay.
    pub(crate) fn load(&self) -> HashMap<RelayId, usize> {
        let mut load = HashMap::new();
        for group in self.groups.values() {
            *load.entry(group.relay).or_insert(0) += 1;
        }
        load
    }

    pub(crate) fn revision(&self) -> u64 {
        self.feed.revision()
    }

    /// Returns at most `limit` changes after revision `after`; a snapshot for `None`.
    pub(crate) fn watch(&self, after: Option<u64>, limit: usize) -> WatchStep {
        self.feed.next(after, limit, || self.groups.values().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::sample;

    #[test]
    fn each_change_of_a_group_has_the_next_revision() {
        let mut catalogue = Catalogue::new();
        let group = Arc::new(sample(1));
        let begin = catalogue.revision();
        catalogue.set_group(group.id, GroupRecord::Live(Arc::clone(&group)));
        catalogue.set_group(group.id, GroupRecord::Live(Arc::new(sample(1))));
        assert_eq!(catalogue.revision(), begin + 1, "the same again is no change");
        let renamed = Arc::new(Group { owner_left: true, ..sample(1) });
        catalogue.set_group(group.id, GroupRecord::Live(renamed));
        for _ in 0..2 {
            let group = Arc::clone(&group);
            catalogue.set_group(group.id, GroupRecord::Deleted { group, at_unix_ms: 5 });
        }
        assert_eq!((catalogue.revision(), catalogue.len()), (begin + 3, 0));
        assert_eq!(catalogue.deleted_at(group.id), Some(5));
        let WatchStep::Changes(changes) = catalogue.watch(Some(begin), 10) else { panic!("all changes are known") };
        assert!(matches!(
            changes[..],
            [(_, GroupChange::Upsert(_)), (_, GroupChange::Upsert(_)), (_, GroupChange::Deleted(_))]
        ));
        assert!(changes.iter().map(|(revision, _)| *revision).eq(begin + 1..=begin + 3));
    }
}
