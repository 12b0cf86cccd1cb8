//! What a group's owner may do: delete it, start its log anew, and say how much of it is kept.

use gaung_log::kv::Version;
use gaung_proto::{DeviceId, GroupId, GroupName, GroupRetention, LogId};
use prost::Message as _;
use tracing::{info, warn};

use crate::{
    challenge::{CallError, Outcome, SignedCall},
    now::Now,
    records::{self, Fate, Group},
    registry::{LookupError, Registry},
    store::StoreError,
};

/// Why a group was not deleted, reset or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// See [`CallError`].
    #[error(transparent)]
    Call(#[from] CallError),
    /// See [`LookupError`].
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Somebody else made it.
    #[error("the group {0} belongs to another device; only the device that made it may do this")]
    NotOwner(String),
    /// It is `everyone`.
    #[error(
        "the group {0} is reserved: it cannot be deleted, is reset only after its relay lost its log, and keeps what the relay keeps (--keep)"
    )]
    Reserved(GroupName),
}

impl From<StoreError> for OwnerError {
    fn from(error: StoreError) -> Self {
        Self::Lookup(error.into())
    }
}

impl Registry {
    /// Deletes the group: its name is free at once, its id never again, its address after the quarantine.
    ///
    /// # Errors
    /// [`OwnerError`], each case.
    pub fn delete_group(&self, now: Now, call: &SignedCall) -> Result<(), OwnerError> {
        self.signed(now.mono, call, |device| self.delete_as(now, call, device)).map(|_| ())
    }

    /// Starts a new log: a new log id and no recorded head.
    ///
    /// # Errors
    /// [`OwnerError`], each case.
    pub fn reset_group(&self, now: Now, call: &SignedCall) -> Result<Group, OwnerError> {
        match self.signed(now.mono, call, |device| self.reset_as(now, call, device))? {
            Outcome::Group(group) => Ok(*group),
            Outcome::Done => Ok(self.group_row(call.group)?.0),
        }
    }

    /// Sets how much of the log is kept.
    ///
    /// # Errors
    /// [`OwnerError`], each case.
    pub fn set_retention(&self, now: Now, call: &SignedCall, keep: GroupRetention) -> Result<Group, OwnerError> {
        match self.signed(now.mono, call, |device| self.keep_as(call, device, keep))? {
            Outcome::Group(group) => Ok(*group),
            Outcome::Done => Ok(self.group_row(call.group)?.0),
        }
    }

    /// A group that `device` may change: it made it, and it is not reserved.
    fn owned_row(&self, id: GroupId, device: DeviceId) -> Result<(Group, Version), OwnerError> {
        let (group, version) = self.group_row(id)?;
        if group.reserved {
            return Err(OwnerError::Reserved(group.name));
        }
        if group.owner != device {
            return Err(self.not_owner(&group, device)?);
        }
        Ok((group, version))
    }

    /// Names a private group to its members alone.
    fn not_owner(&self, group: &Group, device: DeviceId) -> Result<OwnerError, StoreError> {
        let named = !group.private || self.is_member(group, device)?;
        Ok(OwnerError::NotOwner(if named { group.name.to_string() } else { group.id.to_string() }))
    }

    fn delete_as(&self, now: Now, call: &SignedCall, device: DeviceId) -> Result<Outcome, OwnerError> {
        let key = records::group_key(call.group);
        loop {
            let (group, version) = self.owned_row(call.group, device)?;
            let deleted = Fate::Deleted { group: group.clone(), at_unix_ms: now.unix_ms };
            let Ok(version) = self.store.set(&key, version, &deleted.encode())? else { continue };
            self.view.apply(group.id, version, None);
            self.presences.forget_group(group.id);
            self.member_index.forget_group(group.id);
            info!(group = %group.id, "group deleted");
            if let Err(error) = self.release_deleted(now, &group) {
                warn!(group = %group.id, %error, "claims of a deleted group are taken back later");
            }
            return Ok(Outcome::Done);
        }
    }

    fn reset_as(&self, now: Now, call: &SignedCall, device: DeviceId) -> Result<Outcome, OwnerError> {
        let key = records::group_key(call.group);
        loop {
            let (group, version) = self.group_row(call.group)?;
            // Nobody owns `everyone`; whoever finds its log lost may start it anew, and else nobody may.
            let is_lost = self.is_lost(group.id, now.mono);
            if group.reserved && !is_lost {
                return Err(OwnerError::Reserved(group.name));
            }
            if !group.reserved && group.owner != device {
                return Err(self.not_owner(&group, device)?);
            }
            let signed = call.signature.encode_to_vec().into();
            let reset = Group { log: LogId(rand::random()), reset: signed, ..group };
            let Ok(version) = self.store.set(&key, version, &Fate::Live(reset.clone()).encode())? else { continue };
            self.lost_groups().remove(&reset.id);
            self.view.apply(reset.id, version, Some(reset.clone()));
            info!(group = %reset.id, log = %reset.log, "log started anew");
            return Ok(Outcome::Group(Box::new(reset)));
        }
    }

    fn keep_as(&self, call: &SignedCall, device: DeviceId, keep: GroupRetention) -> Result<Outcome, OwnerError> {
        let key = records::group_key(call.group);
        loop {
            let (group, version) = self.owned_row(call.group, device)?;
            let kept = Group { keep, ..group };
            let Ok(version) = self.store.set(&key, version, &Fate::Live(kept.clone()).encode())? else { continue };
            self.view.apply(kept.id, version, Some(kept.clone()));
            info!(group = %kept.id, ?keep, "other limits of a group's log");
            return Ok(Outcome::Group(Box::new(kept)));
        }
    }
}
