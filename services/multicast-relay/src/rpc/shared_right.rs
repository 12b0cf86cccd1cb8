//! The right of one stream to follow one private group: as long as somebody's ticket for it is good, and a little longer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{ReadingRight, TicketError};
use gaung_proto::signing::SigningError;
use tokio::{sync::watch, time::sleep};

use super::{CallError, Relay, group_id};
use crate::{access::Access, group::GroupConfig};

/// The registry's clock is looked at this often.
const CHECK: Duration = Duration::from_secs(5);

/// Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct SharedRight(Arc<watch::Sender<ReadingRight>>);

impl SharedRight {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(ReadingRight::default())))
    }

    /// Checks what came with the wish to follow; a group that is not private needs nothing.
    pub(super) fn show(&self, access: &Access, group: &GroupConfig, ticket: &[u8]) -> Result<(), TicketError> {
        if let Some(expires) = access.expiry_for(group, ticket)? {
            self.extend(expires);
        }
        Ok(())
    }

    /// A newer ticket came; one that is no good changes nothing.
    pub(super) fn renew(&self, relay: &Relay, group: &[u8], ticket: &[u8]) -> Result<(), CallError> {
        if let Ok(expires) = relay.0.access.expiry(group_id(group)?, ticket) {
            self.extend(expires);
        }
        Ok(())
    }

    /// A ticket was shown.
    pub(super) fn is_proven(&self) -> bool {
        self.0.borrow().is_proven()
    }

    /// Returns once the right is over; never, for a group that is not private.
    pub(super) async fn ended(&self, access: &Access) -> CallError {
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
