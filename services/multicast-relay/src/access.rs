//! Who may use a private group: holders of a ticket that the registry signed.

use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicI64, Ordering},
};

use gaung_proto::{DeviceId, GroupId, signing};

use crate::{clock, group::GroupConfig};

/// Checks tickets with the registry's key, which is learned at registration.
#[derive(Debug)]
pub(crate) struct Access {
    key: RwLock<Option<[u8; 32]>>,
    /// When the registry was heard last, in ms since 1970; 0 before the first time.
    heard_ms: AtomicI64,
}

/// A registry that was silent for so long is away: it renews nobody's ticket. It is heard every few seconds.
const AWAY_MS: i64 = 60_000;

/// Why a private group stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessError {
    /// No ticket came along.
    #[error("this group is private: join it first and send the ticket along")]
    NoTicket,
    /// The relay has never met its registry.
    #[error("the relay has not heard from the registry yet and cannot check tickets; try again")]
    NoKey,
    /// The ticket is no good.
    #[error(transparent)]
    Ticket(#[from] signing::SigningError),
}

impl Access {
    pub(crate) const fn new(key: Option<[u8; 32]>) -> Self {
        Self { key: RwLock::new(key), heard_ms: AtomicI64::new(0) }
    }

    /// The registry was heard, and this is its key.
    pub(crate) fn set_key(&self, key: [u8; 32]) {
        self.heard_ms.store(clock::unix_ms(), Ordering::Relaxed);
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// Whether `device` may write to the group with this ticket; anyone may where it is not private.
    pub(crate) fn check(&self, group: &GroupConfig, device: DeviceId, ticket: &[u8]) -> Result<(), AccessError> {
        if !group.private {
            return Ok(());
        }
        if ticket.is_empty() {
            return Err(AccessError::NoTicket);
        }
        Ok(signing::verify_ticket(&self.key()?, ticket, group.id, device, self.ticket_time())?)
    }

    /// Whether the ticket, whosever it is, lets its holder read the group.
    pub(crate) fn check_bearer(&self, group: &GroupConfig, ticket: &[u8]) -> Result<(), AccessError> {
        self.expiry_for(group, ticket).map(|_| ())
    }

    /// As [`Self::check_bearer`]; gives until when, in ms since 1970, or `None` for a group that is not private.
    pub(crate) fn expiry_for(&self, group: &GroupConfig, ticket: &[u8]) -> Result<Option<i64>, AccessError> {
        if !group.private {
            return Ok(None);
        }
        if ticket.is_empty() {
            return Err(AccessError::NoTicket);
        }
        self.expiry(group.id, ticket).map(Some)
    }

    /// Until when the ticket lets its holder read the group, in ms since 1970.
    pub(crate) fn expiry(&self, group: GroupId, ticket: &[u8]) -> Result<i64, AccessError> {
        Ok(signing::verify_bearer(&self.key()?, ticket, group, self.ticket_time())?)
    }

    /// The time at which tickets are judged, in ms since 1970. While the registry is away it stands still, for nobody can
    /// get a newer ticket then, and groups talk on without the registry.
    pub(crate) fn ticket_time(&self) -> i64 {
        judged_at(clock::unix_ms(), self.heard_ms.load(Ordering::Relaxed))
    }

    fn key(&self) -> Result<[u8; 32], AccessError> {
        self.key.read().unwrap_or_else(PoisonError::into_inner).ok_or(AccessError::NoKey)
    }
}

const fn judged_at(now: i64, heard: i64) -> i64 {
    if heard != 0 && now - heard > AWAY_MS { heard } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_do_not_age_while_the_registry_is_away() {
        let heard = 1_000_000;
        assert_eq!(judged_at(heard + 30_000, heard), heard + 30_000);
        assert_eq!(judged_at(heard + 600_000, heard), heard);
        assert_eq!(judged_at(600_000, 0), 600_000, "not heard since the start");
    }
}
