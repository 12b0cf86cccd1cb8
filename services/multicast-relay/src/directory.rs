//! Which groups there are, and how each can be reached: what gRPC calls and workers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak},
};

use gaung_engine::{HotRing, Identity, Read, RingBudget, RingOwner, Roster, Segment};
use gaung_net::driver::CommandSender;
use gaung_proto::{GroupId, LogId, Seq, run::Run};
use tokio::sync::{Notify, watch};

use crate::{
    group::GroupConfig,
    reports::{Claim, Report},
    worker::Command,
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
    pub(crate) config: GroupConfig,
    pub(crate) identity: Identity,
    pub(crate) worker: CommandSender<Command>,
    pub(crate) feed: Feed,
}

/// The newest runs of one opening and its members, with bells for those who wait for more.
#[derive(Debug)]
pub(crate) struct Feed {
    first: Seq,
    ring: Arc<Ring>,
    /// Of all rings.
    rings: Arc<RingBudget>,
    head: watch::Sender<Seq>,
    roster: watch::Sender<Arc<Roster>>,
}

#[derive(Debug)]
struct Ring(Mutex<HotRing>);

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

    /// Lets a group's log be read while it cannot be opened for writing. `serving`: its last opening.
    pub(crate) fn keep_readable(&self, group: GroupId, serving: Arc<Serving>) {
        self.readable.write().unwrap_or_else(PoisonError::into_inner).insert(group, serving);
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

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<GroupId, watch::Sender<Phase>>> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Feed {
    /// Empty, behind `head`. `ring_bytes`: the most of `rings` that it may have.
    pub(crate) fn new(head: Seq, rings: &Arc<RingBudget>, ring_bytes: usize) -> Self {
        let first = head.next();
        let ring = Arc::new_cyclic(|owner: &Weak<Ring>| {
            let mut ring = HotRing::within(Arc::clone(rings), owner.clone(), ring_bytes);
            ring.clear_to(first);
            Ring(Mutex::new(ring))
        });
        let (head, roster) = (watch::Sender::new(head), watch::Sender::new(Arc::default()));
        Self { first, ring, rings: Arc::clone(rings), head, roster }
    }

    /// The first seq of this opening.
    pub(crate) const fn first(&self) -> Seq {
        self.first
    }

    /// Adds a run that is in the log, and rings.
    pub(crate) fn push(&self, run: Run) {
        let head = run.last_seq();
        self.ring.lock().push(run);
        self.rings.enforce();
        self.head.send_replace(head);
    }

    pub(crate) fn read_from(&self, seq: Seq, budget_bytes: usize) -> Read {
        self.ring.lock().read_from(seq, budget_bytes)
    }

    pub(crate) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Each new copy of the members, as long as somebody waits for one; the first value means nothing.
    pub(crate) fn rosters(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    /// Whether somebody waits for copies of the members.
    pub(crate) fn has_roster_readers(&self) -> bool {
        self.roster.receiver_count() > 0
    }

    /// Hands a copy to all who wait for one.
    pub(crate) fn set_roster(&self, roster: Arc<Roster>) {
        self.roster.send_replace(roster);
    }

    /// The copy that was handed out last.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// Frees the last copy, without ringing for whoever begins to wait meanwhile.
    pub(crate) fn forget_roster(&self) {
        self.roster.send_if_modified(|roster| {
            *roster = Arc::default();
            false
        });
    }

    /// Changes with every run.
    pub(crate) fn heads(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}

impl Ring {
    fn lock(&self) -> MutexGuard<'_, HotRing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingOwner for Ring {
    fn give_way(&self, segment: Segment) {
        self.lock().drop_through(segment);
    }
}
