//! The right of one stream to follow one private group: as long as somebody's ticket for it is good, and a little longer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_proto::signing::SigningError;
use tokio::{sync::watch, time::sleep};

use super::{CallError, Relay, group_id};
use crate::{
    access::{Access, AccessError},
    group::GroupConfig,
};

/// A right outlasts its last ticket by this much, so that a step of the wall clock, after which everybody's tickets have
/// expired at once, interrupts nobody who renews.
const GRACE: Duration = Duration::from_secs(60);
/// The wall clock is looked at this often.
const CHECK: Duration = Duration::from_secs(5);

/// Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct ReadingRight {
    /// When the best ticket that was shown expires, in ms since 1970; `None` before there was one.
    expires: Arc<watch::Sender<Option<i64>>>,
}

impl ReadingRight {
    pub(super) fn new() -> Self {
        Self { expires: Arc::new(watch::Sender::new(None)) }
    }

    /// Checks what came with the wish to follow; a group that is not private needs nothing.
    pub(super) fn show(&self, access: &Access, group: &GroupConfig, ticket: &[u8]) -> Result<(), AccessError> {
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
        self.expires.borrow().is_some()
    }

    /// Returns once the right has been over for [`GRACE`]; never, for a group that is not private.
    pub(super) async fn ended(&self, access: &Access) -> CallError {
        let mut changes = self.expires.subscribe();
        let mut over_since: Option<Instant> = None;
        loop {
            let expires = *changes.borrow_and_update();
            let is_over = expires.is_some_and(|expires| expires < access.ticket_time());
            over_since = if is_over { over_since.or_else(|| Some(Instant::now())) } else { None };
            if over_since.is_some_and(|since| since.elapsed() >= GRACE) {
                return CallError::Access(AccessError::Ticket(SigningError::Expired));
            }
            if expires.is_none() {
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
        self.expires.send_if_modified(|known| {
            let later = known.is_none_or(|known| known < expires);
            if later {
                *known = Some(expires);
            }
            later
        });
    }
}
