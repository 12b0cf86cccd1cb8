//! Openings that ended by themselves, on their way from the workers to the keeper.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use gaung_proto::{Epoch, GroupId};
use tokio::sync::Notify;

/// At most one entry for each group.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    ended: Mutex<BTreeMap<GroupId, Epoch>>,
    bell: Notify,
}

impl Trouble {
    /// The opening `epoch` of a group ended: an append failed, or its numbers are used up.
    pub(crate) fn report(&self, group: GroupId, epoch: Epoch) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(group, epoch);
        self.bell.notify_one();
    }

    /// Waits for reports; gives all.
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
