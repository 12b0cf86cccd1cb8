//! The tickets of one client.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::TicketStore;
use gaung_proto::GroupId;

/// The newest ticket of each private group that this client uses.
///
/// All connections read from this one store, so that each sends the newest ticket and not the one with which it was
/// opened.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<TicketStore>);

/// Delay between renewals while the registry does not answer.
const RENEWAL_RETRY: Duration = Duration::from_secs(3);

impl Tickets {
    /// Keeps a ticket that is valid for `lease`.
    pub(crate) fn keep(&self, group: GroupId, ticket: Bytes, lease: Duration) {
        self.store().keep(Instant::now(), group, ticket, lease);
    }

    /// The newest ticket of the group; empty for a group that needs none.
    pub(crate) fn newest(&self, group: GroupId) -> Bytes {
        self.store().newest(group)
    }

    /// Whether the group's ticket is due to be renewed; true once for each renewal.
    pub(crate) fn take_due(&self, group: GroupId) -> bool {
        self.store().take_due(Instant::now(), group)
    }

    /// Makes the group's renewal due again after a delay.
    pub(crate) fn renewal_failed(&self, group: GroupId) {
        self.store().renewal_failed(Instant::now(), group, RENEWAL_RETRY);
    }

    /// A ticket of the group that came after `refused`.
    pub(crate) fn newer_than(&self, group: GroupId, refused: &Bytes) -> Option<Bytes> {
        self.store().newer_than(group, refused)
    }

    fn store(&self) -> MutexGuard<'_, TicketStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
