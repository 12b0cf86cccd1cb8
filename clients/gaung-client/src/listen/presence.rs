//! Keeping this member listed as present in a group at the registry.

use std::{sync::Arc, time::Duration};

use gaung_proto::net::Lane;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::note::TaskNote;
use crate::{
    calls::{GroupAccess, GroupKey},
    context::Context,
};

/// Longest wait for the registry's answer when leaving.
const LEAVING: Duration = Duration::from_secs(2);
/// Delay before the next call after the registry did not answer.
const REGISTRY_RETRY: Duration = Duration::from_secs(3);

/// Calls the registry for one group, one call at a time, so that leaving comes last.
pub(super) struct Presence {
    pub(super) context: Arc<Context>,
    pub(super) access: watch::Receiver<GroupAccess>,
    pub(super) lane: watch::Receiver<Lane>,
    pub(super) refresh: Arc<Notify>,
    pub(super) notes: mpsc::Sender<TaskNote>,
    pub(super) ended: CancellationToken,
}

impl Presence {
    /// Renews presence and ticket at a third of the lease, and at once when the lane changes or `refresh` is
    /// notified; leaves at the end.
    pub(super) async fn keep(mut self) {
        let id = self.access.borrow().group.id;
        let mut wait = match *self.lane.borrow_and_update() {
            // Joining registered this process as TCP before the lane was known, so a TCP member need not register again
            // at once.
            Lane::Tcp => self.access.borrow().lease / 3,
            Lane::Multicast | Lane::Broadcast | Lane::History => Duration::ZERO,
        };
        loop {
            tokio::select! {
                biased;
                () = self.ended.cancelled() => break,
                () = self.refresh.notified() => {}
                () = sleep(wait) => {}
                Ok(()) = self.lane.changed() => {}
            }
            let name = self.lane.borrow_and_update().to_string();
            let access = self.context.join(&GroupKey::Id(id), Some(&name)).await;
            wait = access.as_ref().map_or(REGISTRY_RETRY, |access| access.lease / 3);
            tokio::select! {
                biased;
                () = self.ended.cancelled() => break,
                sent = self.notes.send(TaskNote::Joined(access.map(Box::new))) => if sent.is_err() { break },
            }
        }
        // If the registry does not answer, presence ends with the lease.
        let _ = timeout(LEAVING, self.context.leave_presence(id)).await;
    }
}
