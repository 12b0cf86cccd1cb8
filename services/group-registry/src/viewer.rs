//! Decides who may see a private group: its members, the relay that serves it, and holders of a ticket for it.

use bytes::Bytes;
use gaung_proto::{DeviceId, RelayId, signing};
use sha2::{Digest as _, Sha256};

use crate::{group::Group, tables::Tables};

/// What a caller says of itself, validated in form and not verified yet.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// A member's device.
    pub device: Option<DeviceId>,
    /// A relay's id and its secret.
    pub relay: Option<(RelayId, Bytes)>,
    /// A ticket; empty if there is none.
    pub ticket: Bytes,
}

/// A caller whose credentials are verified.
#[derive(Debug, Clone, Default)]
pub(crate) struct Viewer {
    device: Option<DeviceId>,
    /// The relay, verified by the secret that it registered with first.
    pub(crate) relay: Option<RelayId>,
    ticket: Bytes,
}

impl Credentials {
    /// Verifies the credentials; those that do not hold are left out.
    pub(crate) fn check(self, tables: &Tables) -> Viewer {
        let relay = self.relay.filter(|(relay, secret)| is_proven(tables, *relay, secret));
        Viewer { device: self.device, relay: relay.map(|(relay, _)| relay), ticket: self.ticket }
    }
}

impl Viewer {
    /// Returns whether the viewer may see the group. `key`: the public key that tickets are signed with.
    pub(crate) fn sees(&self, tables: &Tables, key: &[u8; 32], unix_ms: i64, group: &Group) -> bool {
        let has_ticket =
            || !self.ticket.is_empty() && signing::verify_bearer(key, &self.ticket, group.id, unix_ms).is_ok();
        !group.private
            || self.relay == Some(group.relay)
            || has_ticket()
            || self.device.is_some_and(|device| tables.is_member(group, device))
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
