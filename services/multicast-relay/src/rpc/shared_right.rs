//! The right of one stream to read one private group, which lasts as long as a ticket and a short grace time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{ReadingRight, TicketError};
use gaung_proto::signing::SigningError;
use service_kit::secure::PeerDevice;
use tokio::{sync::watch, time::sleep};

use super::{CallError, RelayCalls, group_id};
use crate::{access::GroupAccess, group::GroupConfig};

/// Time between two checks of the expiry against the registry's clock.
const CHECK: Duration = Duration::from_secs(5);

/// The right of one stream to read one group; clones share it.
#[derive(Debug, Clone)]
pub(super) struct SharedRight(Arc<watch::Sender<ReadingRight>>);

impl SharedRight {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(ReadingRight::default())))
    }

    /// Checks the ticket of a request by a caller with this device; a group that is not private needs none.
    pub(super) fn show(
        &self,
        access: &GroupAccess,
        group: &GroupConfig,
        peer: PeerDevice,
        ticket: &[u8],
    ) -> Result<(), TicketError> {
        if let Some(expires) = access.check_reader(group, peer, ticket)? {
            self.extend(expires);
        }
        Ok(())
    }

    /// Extends the right by a newer ticket; an invalid one changes nothing.
    pub(super) fn renew(&self, relay: &RelayCalls, group: &[u8], ticket: &[u8]) -> Result<(), CallError> {
        if let Ok(expires) = relay.0.access.expiry(group_id(group)?, ticket) {
            self.extend(expires);
        }
        Ok(())
    }

    /// Whether a valid ticket was shown.
    pub(super) fn is_proven(&self) -> bool {
        self.0.borrow().is_proven()
    }

    /// Waits until the right has expired; for ever in a group that is not private.
    pub(super) async fn ended(&self, access: &GroupAccess) -> CallError {
        let mut changes = self.0.subscribe();
        loop {
            let mut is_over = false;
            self.0.send_if_modified(|right| {
                is_over = right.is_over(Instant::now(), access.ticket_time());
                false
            });
            if is_over {
                return CallError::Access(TicketError::Ticket(SigningError::Expired));
            }
            if !self.is_proven() {
                // Its sender is this right's own.
                let _ = changes.changed().await;
                continue;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = sleep(CHECK) => {}
            }
        }
    }

    fn extend(&self, expires: i64) {
        self.0.send_if_modified(|right| right.extend(expires));
    }
}
