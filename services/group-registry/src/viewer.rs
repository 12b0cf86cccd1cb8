//! Decides who may see a private group: its members, the relay that serves it, and holders of a ticket for it.

use bytes::Bytes;
use gaung_proto::{DeviceId, RelayId, signing};
use service_kit::secure::PeerDevice;
use sha2::{Digest as _, Sha256};

use crate::{caller::CallOrigin, group::Group, tables::Tables};

/// What a caller says of itself, validated in form and not verified yet.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A member's device.
    pub device: Option<DeviceId>,
    /// A relay's id and its secret.
    pub relay: Option<(RelayId, Bytes)>,
    /// A ticket; empty if there is none.
    pub ticket: Bytes,
    /// The device that the ticket has to be for; `None`: whoever holds it may show it.
    pub holder: Option<DeviceId>,
    /// The relay, if its connection proves it.
    pub proven_relay: Option<RelayId>,
}

/// A caller whose credentials are verified.
#[derive(Debug, Clone, Default)]
pub(crate) struct Viewer {
    device: Option<DeviceId>,
    /// The relay, verified by its connection or by the secret that it registered with first.
    pub(crate) relay: Option<RelayId>,
    ticket: Bytes,
    holder: Option<DeviceId>,
}

impl Credentials {
    /// Leaves out what the connection of the caller does not prove.
    pub(crate) fn proven_by(self, caller: &CallOrigin) -> Self {
        let proven_relay = caller.relay();
        match caller.device {
            PeerDevice::Proven(own) => Self {
                device: self.device.filter(|device| *device == own),
                ticket: self.ticket,
                holder: Some(own),
                relay: None,
                proven_relay,
            },
            PeerDevice::Believed => Self { proven_relay, ..self },
            // Of one of its sessions.
            PeerDevice::Absent if caller.is_hub() => Self { ticket: self.ticket, ..Self::default() },
            PeerDevice::Absent => Self { proven_relay, ..Self::default() },
        }
    }

    /// Verifies the credentials; those that do not hold are left out.
    pub(crate) fn check(self, tables: &Tables) -> Viewer {
        let by_secret = self.relay.filter(|(relay, secret)| is_proven(tables, *relay, secret));
        let relay = self.proven_relay.or(by_secret.map(|(relay, _)| relay));
        Viewer { device: self.device, relay, ticket: self.ticket, holder: self.holder }
    }
}

impl Viewer {
    /// Returns whether the viewer may see the group. `key`: the public key that tickets are signed with.
    pub(crate) fn sees(&self, tables: &Tables, key: &[u8; 32], unix_ms: i64, group: &Group) -> bool {
        !group.private
            || self.relay == Some(group.relay)
            || self.has_ticket(key, unix_ms, group) && group.honours(&self.ticket)
            || self.device.is_some_and(|device| tables.is_member(group, device))
    }

    fn has_ticket(&self, key: &[u8; 32], unix_ms: i64, group: &Group) -> bool {
        let verified = match self.holder {
            _ if self.ticket.is_empty() => return false,
            Some(holder) => signing::verify_ticket(key, &self.ticket, group.id, holder, unix_ms),
            None => signing::verify_bearer(key, &self.ticket, group.id, unix_ms),
        };
        verified.is_ok()
    }
}

/// Returns whether the secret is the one that the service registered with first.
pub(crate) fn is_proven(tables: &Tables, service: RelayId, secret: &Bytes) -> bool {
    !secret.is_empty() && tables.catalogue.secret(service).is_some_and(|known| *known == hash(secret))
}

/// Hashes a secret for the store.
pub(crate) fn hash(secret: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(secret))
}
