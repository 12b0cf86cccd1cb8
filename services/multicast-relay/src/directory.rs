//! Which groups there are, and how each can be reached: what gRPC calls and workers share.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use gaung_engine::Identity;
use gaung_proto::{GroupId, LogId, Seq};
use tokio::sync::{Notify, watch};

use crate::{
    feed::Feed,
    group::GroupConfig,
    reports::{Claim, Report},
    worker::WorkerHandle,
};

/// All groups of this relay.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    groups: RwLock<HashMap<GroupId, watch::Sender<Phase>>>,
    /// Rings whenever a group is new here.
    added: Notify,
    /// Openings that ended because the log could not be written, until the group is opened again: what is in the log is
    /// still read.
    readable: RwLock<HashMap<GroupId, Arc<Serving>>>,
}

/// Where a group is in its life.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Its log is being opened, or could not be and will be tried again.
    Unavailable,
    /// Its messages are taken.
    Serving(Arc<Serving>),
    /// Messages of its log were lost; the name is for the message that says what to do.
    Refused { name: String, log: LogId, head: Seq },
    /// Gone for ever.
    Deleted,
}

/// One opening of a group's log.
#[derive(Debug)]
pub(crate) struct Serving {
    /// As it was at the opening; the group may be at another address since.
    pub(crate) config: Arc<GroupConfig>,
    pub(crate) identity: Identity,
    pub(crate) worker: WorkerHandle,
    pub(crate) feed: Arc<Feed>,
}

impl Directory {
    /// Where the group is now; `None` if it is not known.
    pub(crate) fn phase(&self, group: GroupId) -> Option<Phase> {
        self.read().get(&group).map(|phase| phase.borrow().clone())
    }

    /// The same, and every change from now on.
    pub(crate) fn watch(&self, group: GroupId) -> Option<watch::Receiver<Phase>> {
        self.read().get(&group).map(watch::Sender::subscribe)
    }

    pub(crate) fn set(&self, group: GroupId, phase: Phase) {
        if !matches!(phase, Phase::Unavailable) {
            self.readable.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
        }
        if let Some(known) = self.read().get(&group) {
            known.send_replace(phase);
            return;
        }
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        groups.entry(group).or_insert_with(|| watch::Sender::new(Phase::Unavailable)).send_replace(phase);
        drop(groups);
        self.added.notify_waiters();
    }

    /// Returns once the group is known here.
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
        if let Some(Phase::Serving(serving)) = self.phase(group) {
            self.readable.write().unwrap_or_else(PoisonError::into_inner).insert(group, serving);
        }
        self.set(group, Phase::Unavailable);
    }

    /// The last opening of a group whose log can be read, but not be written at the moment.
    pub(crate) fn readable(&self, group: GroupId) -> Option<Arc<Serving>> {
        self.readable.read().unwrap_or_else(PoisonError::into_inner).get(&group).cloned()
    }

    /// Tells those who watch that it is gone, and forgets it.
    pub(crate) fn remove(&self, group: GroupId) {
        self.readable.write().unwrap_or_else(PoisonError::into_inner).remove(&group);
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = groups.remove(&group) {
            phase.send_replace(Phase::Deleted);
        }
    }

    /// The openings that take messages now.
    pub(crate) fn serving(&self) -> Vec<Arc<Serving>> {
        let groups = self.read();
        let serving = groups.values().filter_map(|phase| match &*phase.borrow() {
            Phase::Serving(serving) => Some(Arc::clone(serving)),
            Phase::Unavailable | Phase::Refused { .. } | Phase::Deleted => None,
        });
        serving.collect()
    }

    /// Reports of the groups whose logs lost messages.
    pub(crate) fn refused(&self) -> Vec<Report> {
        let groups = self.read();
        let refused = groups.iter().filter_map(|(group, phase)| match &*phase.borrow() {
            Phase::Refused { log, head, .. } => {
                Some(Report { group: *group, log: *log, head: *head, claim: Claim::Lost })
            }
            Phase::Unavailable | Phase::Serving(_) | Phase::Deleted => None,
        });
        refused.collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<GroupId, watch::Sender<Phase>>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serving {
    /// Describes how far the opened log goes, for the registry.
    pub(crate) fn report(&self) -> Report {
        let (group, log) = (self.identity.group, self.identity.log);
        Report { group, log, head: self.feed.head(), claim: Claim::Plain }
    }
}
