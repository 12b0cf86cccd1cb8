//! Openings that workers gave up, on their way to the keeper.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use gaung_proto::{Epoch, GroupId};
use tokio::sync::Notify;

/// Collects failed openings for the keeper, one for each group at most.
#[derive(Debug, Default)]
pub(crate) struct FailedOpenings {
    ended: Mutex<BTreeMap<GroupId, Epoch>>,
    bell: Notify,
}

impl FailedOpenings {
    /// Reports that the opening `epoch` of a group failed: an append failed, or its datagram numbers are used up.
    pub(crate) fn report(&self, group: GroupId, epoch: Epoch) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(group, epoch);
        self.bell.notify_one();
    }

    /// Waits for failed openings and takes all of them.
    pub(crate) async fn next(&self) -> BTreeMap<GroupId, Epoch> {
        loop {
            let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
            if !ended.is_empty() {
                return ended;
            }
            self.bell.notified().await;
        }
    }
}
