//! Who may see a private group: its members, the relay that serves it, and whoever holds a ticket for it.

use bytes::Bytes;
use gaung_proto::{DeviceId, GroupId, RelayId, pb::registry as pb, signing};
use sha2::{Digest as _, Sha256};

use crate::{
    members::JoinError,
    now::Now,
    records::{self, Group},
    registry::{GroupBy, Registry, page_token},
    store::StoreError,
};

/// What a caller says of itself, in the right form and not checked yet.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// A member's device.
    pub device: Option<DeviceId>,
    /// A relay, and its secret.
    pub relay: Option<(RelayId, Bytes)>,
    /// A ticket, or nothing.
    pub ticket: Bytes,
}

/// A caller as the registry knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Viewer {
    device: Option<DeviceId>,
    /// Proven by its secret.
    pub(crate) relay: Option<RelayId>,
    ticket: Bytes,
}

impl Registry {
    /// Remembers the first secret that comes for a service; a later one changes nothing, for anybody can send one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remember_secret(&self, service: RelayId, secret: &Bytes) -> Result<(), StoreError> {
        let key = records::secret_key(service);
        if secret.is_empty() || self.store.get(&key)?.is_some() {
            return Ok(());
        }
        // Somebody else's may have come at the same moment, and then that one counts.
        self.store.create(&key, &hash(secret))?.ok();
        Ok(())
    }

    /// True if the secret is the one that the service registered with first.
    pub(crate) fn is_proven(&self, service: RelayId, secret: &Bytes) -> Result<bool, StoreError> {
        let known = self.store.get(&records::secret_key(service))?;
        Ok(!secret.is_empty() && known.is_some_and(|known| known.value == hash(secret)))
    }

    /// Checks what a caller says of itself; what does not hold is left out.
    pub(crate) fn viewer(&self, claim: Claim) -> Result<Viewer, StoreError> {
        let relay = match claim.relay {
            Some((relay, secret)) if self.is_proven(relay, &secret)? => Some(relay),
            Some(_) | None => None,
        };
        Ok(Viewer { device: claim.device, relay, ticket: claim.ticket })
    }

    /// Whether the viewer may know of the group.
    pub(crate) fn shows(&self, now: Now, group: &Group, viewer: &Viewer) -> Result<bool, StoreError> {
        if !group.private || viewer.relay == Some(group.relay) {
            return Ok(true);
        }
        let key = self.public_key();
        if !viewer.ticket.is_empty() && signing::verify_bearer(&key, &viewer.ticket, group.id, now.unix_ms).is_ok() {
            return Ok(true);
        }
        match viewer.device {
            Some(device) => self.is_member(group, device),
            None => Ok(false),
        }
    }

    /// The group, if the caller may see it.
    ///
    /// # Errors
    /// [`JoinError::Lookup`] or [`JoinError::Private`].
    pub fn group_for(&self, now: Now, by: &GroupBy, claim: Claim) -> Result<Group, JoinError> {
        let group = self.group(by)?;
        let viewer = self.viewer(claim)?;
        if self.shows(now, &group, &viewer)? { Ok(group) } else { Err(JoinError::private(by)) }
    }

    /// As [`Self::groups`], of those that the caller may see. What it may not see neither fills a page nor ends one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn groups_for(
        &self,
        now: Now,
        after: Option<&str>,
        limit: usize,
        claim: Claim,
    ) -> Result<(Vec<Group>, bool), StoreError> {
        let viewer = self.viewer(claim)?;
        let mut shown = Vec::new();
        let mut after = after.map(str::to_owned);
        loop {
            let (groups, more) = self.groups(after.as_deref(), limit - shown.len())?;
            after = groups.last().map(page_token);
            for group in groups {
                if self.shows(now, &group, &viewer)? {
                    shown.push(group);
                }
            }
            if !more || shown.len() >= limit || after.is_none() {
                return Ok((shown, more));
            }
        }
    }

    /// As [`Self::members`], if the caller may see the group.
    ///
    /// # Errors
    /// [`JoinError::Lookup`] or [`JoinError::Private`].
    pub fn members_for(&self, now: Now, group: GroupId, claim: Claim) -> Result<Vec<pb::Member>, JoinError> {
        self.group_for(now, &GroupBy::Id(group), claim)?;
        Ok(self.members(now, group)?)
    }
}

fn hash(secret: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&Sha256::digest(secret))
}
