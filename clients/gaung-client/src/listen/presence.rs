//! That this member is in a group, as the registry knows it.

use std::{sync::Arc, time::Duration};

use gaung_proto::net::Lane;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::member::Note;
use crate::{
    client::Inner,
    registry::{By, Joined},
};

/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(2);
/// Until the registry is asked again after it did not answer.
const REGISTRY_RETRY: Duration = Duration::from_secs(3);

/// Speaks to the registry for one group, one call at a time, so that leaving comes last.
pub(super) struct Presence {
    pub(super) inner: Arc<Inner>,
    pub(super) place: watch::Receiver<Joined>,
    pub(super) lane: watch::Receiver<Lane>,
    pub(super) hints: Arc<Notify>,
    pub(super) notes: mpsc::Sender<Note>,
    pub(super) ended: CancellationToken,
}

impl Presence {
    /// Renews presence and ticket at a third of the lease, and at once when the lane changes or a hint comes; leaves at
    /// the end.
    pub(super) async fn keep(mut self) {
        let id = self.place.borrow().group.id;
        let mut wait = match *self.lane.borrow_and_update() {
            // What was said at the door, before it was known which lane it would be.
            Lane::Tcp => self.place.borrow().lease / 3,
            Lane::Multicast | Lane::Broadcast | Lane::History => Duration::ZERO,
        };
        loop {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => break,
                () = self.hints.notified() => {}
                () = sleep(wait) => {}
                Ok(()) = self.lane.changed() => {}
            }
            let name = self.lane.borrow_and_update().to_string();
            let joined = self.inner.join(&By::Id(id), Some(&name)).await;
            wait = joined.as_ref().map_or(REGISTRY_RETRY, |joined| joined.lease / 3);
            tokio::select! {
                biased;
                () = self.ended.cancelled() => break,
                sent = self.notes.send(Note::Joined(joined.map(Box::new))) => if sent.is_err() { break },
            }
        }
        // A registry that does not answer forgets by itself when the lease ends.
        let _ = timeout(LEAVING, self.inner.leave(id, true)).await;
    }
}
