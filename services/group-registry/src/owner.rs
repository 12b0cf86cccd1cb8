//! The owner's commands: delete a group, reset its log, and limit how much of it is kept.

use std::sync::Arc;

use bytes::Bytes;
use gaung_proto::{DeviceId, GroupId, GroupName, GroupRetention, LogId};

use crate::{
    challenge::CallError,
    clock::CommandTime,
    group::{Group, GroupRecord},
    lookup::LookupError,
    records::Record,
    store::StoreError,
    tables::{Change, Decide, Tables},
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
    /// Another device owns the group.
    #[error("the group {0} belongs to another device; only the device that made it may do this")]
    NotOwner(String),
    /// The group is `everyone`.
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

/// Command: deletes a group. Its name is free at once, its address after the quarantine, its id never again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteGroup {
    /// The group.
    pub group: GroupId,
    /// The device that signed the call.
    pub device: DeviceId,
}

impl Decide for DeleteGroup {
    type Outcome = ();
    type Refusal = OwnerError;

    fn decide(&self, tables: &Tables, now: CommandTime, changes: &mut Vec<Change>) -> Result<(), OwnerError> {
        let group = owned(tables, self.group, self.device)?;
        tables.release_address(group, changes);
        changes.push(Change(Record::Name(group.name.clone(), None)));
        let members = tables.membership.members(group.id);
        changes.extend(members.map(|(device, _)| Change(Record::Member(group.id, device, None))));
        if tables.catalogue.head(group.id).is_some() {
            changes.push(Change(Record::Head(group.id, None)));
        }
        let fate = GroupRecord::Deleted { group: Arc::clone(group), at_unix_ms: now.unix_ms };
        changes.push(Change(Record::Group(group.id, fate)));
        Ok(())
    }
}

/// Command: resets a group's log. The log gets a new id, so that the recorded head no longer counts.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetGroup {
    /// The group.
    pub group: GroupId,
    /// The device that signed the call.
    pub device: DeviceId,
    /// The new log's id.
    pub log: LogId,
    /// The encoded signed call, for the group's relay.
    pub signed: Bytes,
    /// Whether the group's relay reports that its log is lost.
    pub is_lost: bool,
}

impl Decide for ResetGroup {
    type Outcome = Arc<Group>;
    type Refusal = OwnerError;

    fn decide(&self, tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<Arc<Group>, OwnerError> {
        let group = tables.live(self.group)?;
        // Nobody owns `everyone`: anybody may reset it while its relay reports its log lost, and nobody otherwise.
        if group.reserved && !self.is_lost {
            return Err(OwnerError::Reserved(group.name.clone()));
        }
        if !group.reserved && group.owner != self.device {
            return Err(not_owner(tables, group, self.device));
        }
        let reset = Group { log: self.log, reset: self.signed.clone(), ..Group::clone(group) };
        Ok(Tables::replace(reset, changes))
    }
}

/// Command: sets how much of a group's log is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetRetention {
    /// The group.
    pub group: GroupId,
    /// The device that signed the call.
    pub device: DeviceId,
    /// The limits.
    pub keep: GroupRetention,
}

impl Decide for SetRetention {
    type Outcome = Arc<Group>;
    type Refusal = OwnerError;

    fn decide(&self, tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<Arc<Group>, OwnerError> {
        let group = owned(tables, self.group, self.device)?;
        Ok(Tables::replace(Group { keep: self.keep, ..Group::clone(group) }, changes))
    }
}

/// Returns a group that `device` may change, because it owns it and the group is not reserved.
fn owned(tables: &Tables, id: GroupId, device: DeviceId) -> Result<&Arc<Group>, OwnerError> {
    let group = tables.live(id)?;
    if group.reserved {
        return Err(OwnerError::Reserved(group.name.clone()));
    }
    if group.owner == device { Ok(group) } else { Err(not_owner(tables, group, device)) }
}

/// Refuses a call of a device that does not own the group. A private group is named to its members alone.
fn not_owner(tables: &Tables, group: &Group, device: DeviceId) -> OwnerError {
    let named = !group.private || tables.is_member(group, device);
    OwnerError::NotOwner(if named { group.name.to_string() } else { group.id.to_string() })
}
