//! The tickets of this client: the one place that keeps them, so that whoever speaks beside a living connection sends the
//! newest, and not the one that the connection was opened with.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::TicketStore;
use gaung_proto::GroupId;
use tracing::debug;

use crate::{
    client::Inner,
    error::ClientError,
    registry::{By, Joined},
};

/// The newest ticket of each private group that this client uses.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<TicketStore>);

impl Tickets {
    /// Keeps what a join gave.
    pub(crate) fn keep(&self, joined: &Joined) {
        if !joined.ticket.is_empty() && joined.group.private {
            self.store().keep(Instant::now(), joined.group.id, joined.ticket.clone(), joined.lease);
        }
    }

    /// The newest ticket of the group; empty for a group that needs none.
    pub(crate) fn newest(&self, group: GroupId) -> Bytes {
        self.store().newest(group)
    }

    fn store(&self) -> MutexGuard<'_, TicketStore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Delay between renewals while the registry does not answer.
const RENEWAL_RETRY: Duration = Duration::from_secs(3);

impl Inner {
    /// The newest ticket of the group, to be sent now. If it is no longer young a newer one is fetched beside, so that a
    /// connection in use never comes to send one that has expired.
    pub(crate) fn ticket(self: &Arc<Self>, group: GroupId) -> Bytes {
        if self.tickets.store().take_due(Instant::now(), group) {
            let inner = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = inner.visit(&By::Id(group)).await {
                    debug!(%group, %error, "ticket not renewed");
                    inner.tickets.store().renewal_failed(Instant::now(), group, RENEWAL_RETRY);
                }
            });
        }
        self.tickets.newest(group)
    }

    /// A ticket other than `refused`, which a service did not take: one that came meanwhile, else a new one.
    ///
    /// # Errors
    /// What the registry says: [`ClientError::NotAllowed`] means that this device is no longer a member.
    pub(crate) async fn other_ticket(&self, group: GroupId, refused: &Bytes) -> Result<Bytes, ClientError> {
        let newer = self.tickets.store().newer_than(group, refused);
        match newer {
            Some(newer) => Ok(newer),
            None => Ok(self.visit(&By::Id(group)).await?.ticket),
        }
    }
}
