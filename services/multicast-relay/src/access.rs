//! Who may use a private group: holders of a ticket that the registry signed.

use std::sync::{PoisonError, RwLock};

use gaung_proto::{DeviceId, pb::registry as pb, signing};
use prost::Message as _;

use crate::{clock, group::GroupConfig};

/// Checks tickets with the registry's key, which is learned at registration.
#[derive(Debug)]
pub(crate) struct Access {
    key: RwLock<Option<[u8; 32]>>,
}

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
        Self { key: RwLock::new(key) }
    }

    pub(crate) fn set_key(&self, key: [u8; 32]) {
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
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).ok_or(AccessError::NoKey)?;
        Ok(signing::verify_ticket(&key, ticket, group.id, device, clock::unix_ms())?)
    }

    /// Whether the ticket, whosever it is, lets its holder read the group.
    pub(crate) fn check_bearer(&self, group: &GroupConfig, ticket: &[u8]) -> Result<(), AccessError> {
        self.check(group, bearer(ticket).unwrap_or(DeviceId::NONE), ticket)
    }
}

fn bearer(ticket: &[u8]) -> Option<DeviceId> {
    let signed = pb::SignedTicket::decode(ticket).ok()?;
    let ticket = pb::Ticket::decode(signed.ticket).ok()?;
    DeviceId::try_from(&ticket.device_id[..]).ok()
}
