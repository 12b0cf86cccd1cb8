//! The links to relays that are wanted: one for each relay that orders a group.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use gaung_proto::{GroupId, RelayId};
use tokio::sync::{Notify, mpsc};

use crate::publish_queue::PublishQueue;

/// The links that were wanted so far. A link itself only holds data; [`NewLinks`] gets it to start its tasks.
#[derive(Debug)]
pub(crate) struct Relays {
    links: Mutex<HashMap<RelayId, Arc<RelayLink>>>,
    new_links: mpsc::UnboundedSender<Arc<RelayLink>>,
    publish_bytes: usize,
}

/// Receives every link once, when it is first wanted. There are no more of them than relays, so it needs no limit.
pub(crate) type NewLinks = mpsc::UnboundedReceiver<Arc<RelayLink>>;

/// What waits for the tasks of one relay's link.
#[derive(Debug)]
pub(crate) struct RelayLink {
    pub(crate) relay: RelayId,
    /// Requests of sessions to publish.
    pub(crate) publish: Arc<PublishQueue>,
    /// Groups that have to be followed, unfollowed, or followed by a newer ticket.
    pub(crate) requests: ChangedGroups,
    /// Groups whose audience has something to report.
    pub(crate) audiences: ChangedGroups,
}

/// Groups of which something changed since they were taken last.
#[derive(Debug, Default)]
pub(crate) struct ChangedGroups {
    groups: Mutex<HashSet<GroupId>>,
    notify: Notify,
}

impl Relays {
    /// Makes the table without links. `publish_bytes` limits each link's publish queue.
    pub(crate) fn new(publish_bytes: usize) -> (Self, NewLinks) {
        let (new_links, receiver) = mpsc::unbounded_channel();
        (Self { links: Mutex::default(), new_links, publish_bytes }, receiver)
    }

    /// Returns the relay's link, made at the first call.
    pub(crate) fn link(&self, relay: RelayId) -> Arc<RelayLink> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry(relay).or_insert_with(|| {
            let link = Arc::new(RelayLink {
                relay,
                publish: Arc::new(PublishQueue::new(self.publish_bytes)),
                requests: ChangedGroups::default(),
                audiences: ChangedGroups::default(),
            });
            // Nobody starts links any more once the hub has stopped.
            let _ = self.new_links.send(link.clone());
            link
        });
        link.clone()
    }
}

impl ChangedGroups {
    pub(crate) fn insert(&self, group: GroupId) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        self.notify.notify_one();
    }

    /// Waits until a group was inserted.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn take(&self) -> HashSet<GroupId> {
        std::mem::take(&mut self.groups.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
