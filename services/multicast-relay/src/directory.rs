//! The groups of this relay and the phase of each, as gRPC calls see them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use gaung_engine::LogIdentity;
use gaung_proto::{GroupId, LogId, Seq};
use tokio::sync::{Notify, watch};

use crate::{
    feed::GroupFeed,
    group::GroupConfig,
    reports::{LogReport, ReportClaim},
    worker::WorkerHandle,
};

/// Holds the phase of every group of this relay. The keeper writes, calls read and wait for changes.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    groups: RwLock<HashMap<GroupId, watch::Sender<GroupPhase>>>,
    /// Wakes [`Self::known`] whenever a group is added.
    added: Notify,
    /// The last openings of groups whose log cannot be written at the moment. Their history is still read.
    readable: RwLock<HashMap<GroupId, Arc<OpenGroup>>>,
}

/// The phase of a group: whether its messages are taken, and if not, why.
#[derive(Debug, Clone)]
pub(crate) enum GroupPhase {
    /// The log is being opened, or could not be and will be tried again.
    Unavailable,
    /// The log is open and messages are taken.
    Serving(Arc<OpenGroup>),
    /// Acknowledged messages were lost. `name` stands in the error that says how to reset the group.
    Refused { name: String, log: LogId, head: Seq },
    /// The group was deleted and never comes back.
    Deleted,
}

/// One opening of a group's log.
#[derive(Debug)]
pub(crate) struct OpenGroup {
    /// The group as it was at the opening; it may have moved to another address since.
    pub(crate) config: Arc<GroupConfig>,
    pub(crate) identity: LogIdentity,
    pub(crate) worker: WorkerHandle,
    pub(crate) feed: Arc<GroupFeed>,
}

impl Directory {
    /// Returns the group's phase; `None` if the group is not known.
    pub(crate) fn phase(&self, group: GroupId) -> Option<GroupPhase> {
        self.read().get(&group).map(|phase| phase.borrow().clone())
    }

    /// Subscribes to the group's phase; `None` if the group is not known.
    pub(crate) fn watch(&self, group: GroupId) -> Option<watch::Receiver<GroupPhase>> {
        self.read().get(&group).map(watch::Sender::subscribe)
    }

    /// Sets a group's phase and wakes whoever waits for it.
    pub(crate) fn set(&self, group: GroupId, phase: GroupPhase) {
        if !matches!(phase, GroupPhase::Unavailable) {
            self.readable.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
        }
        if let Some(known) = self.read().get(&group) {
            known.send_replace(phase);
            return;
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.entry(group).or_insert_with(|| watch::Sender::new(GroupPhase::Unavailable)).send_replace(phase);
        drop(groups);
        self.added.notify_waiters();
    }

    /// Waits until the group is known here.
    pub(crate) async fn known(&self, group: GroupId) {
        loop {
            let added = self.added.notified();
            if self.read().contains_key(&group) {
                return;
            }
            added.await;
        }
    }

    /// Makes a group unavailable, and lets its log be read by its last opening until it is opened again.
    pub(crate) fn suspend(&self, group: GroupId) {
        if let Some(GroupPhase::Serving(serving)) = self.phase(group) {
            self.readable.write().unwrap_or_else(PoisonError::into_inner).insert(group, serving);
        }
        self.set(group, GroupPhase::Unavailable);
    }

    /// Returns the last opening of a group whose log can be read but not written at the moment.
    pub(crate) fn readable(&self, group: GroupId) -> Option<Arc<OpenGroup>> {
        self.readable.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// Forgets a group, and shows those who watch it that it was deleted.
    pub(crate) fn remove(&self, group: GroupId) {
        self.readable.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = groups.remove(&group) {
            phase.send_replace(GroupPhase::Deleted);
        }
    }

    /// Returns the openings that take messages now.
    pub(crate) fn serving(&self) -> Vec<Arc<OpenGroup>> {
        let groups = self.read();
        let serving = groups.values().filter_map(|phase| match &*phase.borrow() {
            GroupPhase::Serving(serving) => Some(Arc::clone(serving)),
            GroupPhase::Unavailable | GroupPhase::Refused { .. } | GroupPhase::Deleted => None,
        });
        serving.collect()
    }

    /// Returns reports of the groups whose logs lost messages.
    pub(crate) fn refused(&self) -> Vec<LogReport> {
        let groups = self.read();
        let refused = groups.iter().filter_map(|(group, phase)| match &*phase.borrow() {
            GroupPhase::Refused { log, head, .. } => {
                Some(LogReport { group: *group, log: *log, head: *head, claim: ReportClaim::Lost })
            }
            GroupPhase::Unavailable | GroupPhase::Serving(_) | GroupPhase::Deleted => None,
        });
        refused.collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<GroupId, watch::Sender<GroupPhase>>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenGroup {
    /// Describes how far the opened log goes, for the registry.
    pub(crate) fn report(&self) -> LogReport {
        let (group, log) = (self.identity.group, self.identity.log);
        LogReport { group, log, head: self.feed.head(), claim: ReportClaim::Plain }
    }
}
