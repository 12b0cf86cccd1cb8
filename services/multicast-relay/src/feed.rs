//! The newest messages of one opening of a group's log, its head and its members: what a worker shares with calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gaung_engine::{HotRing, RingBudget, RingOwner, RingRead, RingSegment, Roster};
use gaung_proto::{Seq, run::Run};
use tokio::sync::watch;

/// The newest runs of one opening, its head and its members, with notifications of each change.
#[derive(Debug)]
pub(crate) struct GroupFeed {
    /// The first seq that this opening can assign.
    first: Seq,
    ring: Arc<FeedRing>,
    /// The memory that all rings of the process share.
    rings: Arc<RingBudget>,
    head: watch::Sender<Seq>,
    roster: watch::Sender<Arc<Roster>>,
}

#[derive(Debug)]
struct FeedRing(Mutex<HotRing>);

impl GroupFeed {
    /// Makes an empty feed behind `head`. `ring_bytes`: the most of `rings` that its ring may take.
    pub(crate) fn new(head: Seq, rings: &Arc<RingBudget>, ring_bytes: usize) -> Self {
        let first = head.next();
        let ring = Arc::new_cyclic(|owner: &Weak<FeedRing>| {
            let mut ring = HotRing::within(Arc::clone(rings), owner.clone(), ring_bytes);
            ring.clear_to(first);
            FeedRing(Mutex::new(ring))
        });
        let (head, roster) = (watch::Sender::new(head), watch::Sender::new(Arc::default()));
        Self { first, ring, rings: Arc::clone(rings), head, roster }
    }

    /// Returns the first seq that this opening can assign.
    pub(crate) const fn first(&self) -> Seq {
        self.first
    }

    /// Appends a durable run to the ring and wakes waiting followers.
    pub(crate) fn push(&self, run: Run) {
        let head = run.last_seq();
        self.ring.lock().push(run);
        self.rings.enforce();
        self.head.send_replace(head);
    }

    /// Reads runs from the one that holds `seq`, as [`HotRing::read_from`] does.
    pub(crate) fn read_from(&self, seq: Seq, budget_bytes: usize) -> RingRead {
        self.ring.lock().read_from(seq, budget_bytes)
    }

    /// Returns the last durable seq.
    pub(crate) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// Subscribes to copies of the members, which are made while somebody subscribes; the first value means nothing.
    pub(crate) fn rosters(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    /// Whether somebody subscribes to copies of the members.
    pub(crate) fn has_roster_readers(&self) -> bool {
        self.roster.receiver_count() > 0
    }

    /// Publishes a copy of the members to all subscribers.
    pub(crate) fn set_roster(&self, roster: Arc<Roster>) {
        self.roster.send_replace(roster);
    }

    /// Returns the copy that was published last.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    /// Frees the last copy, without waking whoever subscribes meanwhile.
    pub(crate) fn forget_roster(&self) {
        self.roster.send_if_modified(|roster| {
            *roster = Arc::default();
            false
        });
    }

    /// Subscribes to the head, which changes with every durable run.
    pub(crate) fn heads(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}

impl FeedRing {
    fn lock(&self) -> MutexGuard<'_, HotRing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingOwner for FeedRing {
    fn give_way(&self, segment: RingSegment) {
        self.lock().drop_through(segment);
    }
}
