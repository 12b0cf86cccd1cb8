//! The registry's durable state in memory, and the one way to change it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gaung_proto::{DeviceId, GroupId};

use crate::{
    allocation::Allocation,
    catalogue::Catalogue,
    clock::CommandTime,
    group::{Group, GroupRecord},
    lookup::LookupError,
    membership::Membership,
    records::{AddressClaim, AddressHolder, Record, StoredEntry},
    store::{KeyChange, StoreError},
};

/// How long the request of a deleted group and an expired invite are kept.
pub(crate) const KEPT_MS: i64 = 24 * 3600 * 1000;

/// The registry's durable state. It is what its records say: loading them and applying commands go through
/// [`Tables::absorb`] alone, so that memory and store cannot differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Tables {
    pub(crate) allocation: Allocation,
    pub(crate) membership: Membership,
    pub(crate) catalogue: Catalogue,
    pub(crate) signing_seed: Option<[u8; 32]>,
}

/// One kind of command.
///
/// It is decided from its own fields and the tables alone: what was random, listened to or read from a clock stands in
/// its fields or its [`CommandTime`]. So the same commands in the same order give the same tables in every process.
pub trait Decide {
    /// The answer to the caller.
    type Outcome;
    /// Why the command is refused.
    type Refusal;

    /// Decides whether the command happens, and adds the records that then change. Records that are added before a
    /// refusal do not count.
    ///
    /// # Errors
    /// The refusal.
    fn decide(
        &self,
        tables: &Tables,
        now: CommandTime,
        changes: &mut Vec<Change>,
    ) -> Result<Self::Outcome, Self::Refusal>;
}

/// One record that a command changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Change(pub(crate) Record);

impl Change {
    /// Encodes the record for the store.
    #[must_use]
    pub fn to_key_change(&self) -> KeyChange {
        self.0.to_change()
    }
}

/// Command: removes requests of deleted groups and invites that are outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgetOutdated;

impl Decide for ForgetOutdated {
    type Outcome = ();
    type Refusal = StoreError;

    fn decide(&self, tables: &Tables, now: CommandTime, changes: &mut Vec<Change>) -> Result<(), StoreError> {
        changes.extend(tables.outdated(now));
        Ok(())
    }
}

impl Tables {
    /// Makes the tables of a new store.
    #[must_use]
    pub fn new() -> Self {
        Self {
            allocation: Allocation::default(),
            membership: Membership::default(),
            catalogue: Catalogue::new(),
            signing_seed: None,
        }
    }

    /// Makes the tables from what the store holds, and the changes that it needs because an older program was stopped in
    /// the middle. Quarantines begin at `now`, in full.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn load(records: Vec<(Vec<u8>, Bytes)>, now: CommandTime) -> Result<(Self, Vec<KeyChange>), StoreError> {
        let mut tables = Self::new();
        let mut repairs = Vec::new();
        for (key, value) in records {
            match StoredEntry::decode(&key, &value)? {
                StoredEntry::Record(record) => tables.absorb(record, now.mono),
                StoredEntry::Leftover => repairs.push((key, None)),
                StoredEntry::Unknown => {}
            }
        }
        let left_over = tables.left_over(now);
        repairs.extend(left_over.iter().map(|change| change.0.to_change()));
        tables.absorb_all(left_over, now.mono);
        Ok((tables, repairs))
    }

    pub(crate) fn absorb_all(&mut self, changes: Vec<Change>, now: Duration) {
        changes.into_iter().for_each(|change| self.absorb(change.0, now));
    }

    fn absorb(&mut self, record: Record, now: Duration) {
        match record {
            Record::Group(id, fate) => self.catalogue.set_group(id, fate),
            Record::Request(request, claim) => self.allocation.set_request(request, claim),
            Record::Name(name, group) => self.allocation.set_name(&name, group),
            Record::Address(address, claim) => self.allocation.set_address(address, claim, now),
            Record::Port(port, group) => self.allocation.set_port(port, group),
            Record::Member(group, device, member) => self.membership.set_member(group, device, member),
            Record::Invite(code, invite) => self.membership.set_invite(code, invite),
            Record::Head(group, head) => self.catalogue.set_head(group, head),
            Record::Service(id, service) => self.catalogue.set_service(id, service),
            Record::Secret(id, hash) => self.catalogue.set_secret(id, hash),
            Record::SigningKey(seed) => self.signing_seed = Some(seed),
        }
    }

    /// Returns the group with this id.
    pub(crate) fn live(&self, id: GroupId) -> Result<&Arc<Group>, LookupError> {
        self.catalogue.group(id).ok_or_else(|| LookupError::NotFound(id.to_string()))
    }

    /// Returns whether the device owns the group or is a lasting member.
    pub(crate) fn is_member(&self, group: &Group, device: DeviceId) -> bool {
        (group.owner == device && !device.is_none()) || self.membership.member(group.id, device).is_some()
    }

    /// Adds the changes by which a group loses its port and its address, which goes into quarantine.
    pub(crate) fn release_address(&self, group: &Group, changes: &mut Vec<Change>) {
        let address = group.address();
        if let Some(claim) = self.allocation.held_by(address, group.id) {
            changes.push(Change(Record::Address(address, AddressClaim { holder: AddressHolder::Resting, ..claim })));
        }
        changes.extend(group.claimed_port().map(|port| Change(Record::Port(port, None))));
    }

    /// Adds the change that replaces a group's record.
    pub(crate) fn replace(group: Group, changes: &mut Vec<Change>) -> Arc<Group> {
        let group = Arc::new(group);
        changes.push(Change(Record::Group(group.id, GroupRecord::Live(Arc::clone(&group)))));
        group
    }

    /// Returns the removal of requests whose group was deleted a day ago, and of invites that expired a day ago or whose
    /// group is gone.
    pub(crate) fn outdated(&self, now: CommandTime) -> Vec<Change> {
        let is_old = |at: i64| now.unix_ms.saturating_sub(at) > KEPT_MS;
        let is_forgotten = |id: GroupId| match self.catalogue.deleted_at(id) {
            Some(deleted) => is_old(deleted),
            None => self.catalogue.group(id).is_none(),
        };
        let requests = self.allocation.requests().filter(|(_, claim)| is_forgotten(claim.group));
        let requests = requests.map(|(request, _)| Record::Request(request, None));
        let invites = self.membership.invites();
        let invites = invites
            .filter(|(_, invite)| self.catalogue.group(invite.group()).is_none() || is_old(invite.expires_unix_ms));
        requests.chain(invites.map(|(code, _)| Record::Invite(*code, None))).map(Change).collect()
    }

    /// Returns the removal of what older programs left when they were stopped between two transactions: names, addresses and
    /// ports that no group has, and members of deleted groups.
    fn left_over(&self, now: CommandTime) -> Vec<Change> {
        let group = |id| self.catalogue.group(id);
        let mut changes = self.outdated(now);
        let mut change = |record| changes.push(Change(record));
        for (name, id) in self.allocation.names() {
            if group(id).is_none_or(|group| group.name.as_str() != name)
                && let Ok(name) = name.parse()
            {
                change(Record::Name(name, None));
            }
        }
        for (address, claim) in self.allocation.addresses() {
            let AddressHolder::Group(id) = claim.holder else { continue };
            if !group(id).is_some_and(|group| !group.lapsed && group.addr.ip() == claim.ip) {
                // Whether a group used it is not known any more, so it goes into quarantine.
                change(Record::Address(address, AddressClaim { holder: AddressHolder::Resting, ..claim }));
            }
        }
        for (port, id) in self.allocation.ports() {
            if group(id).is_none_or(|group| group.claimed_port() != Some(port)) {
                change(Record::Port(port, None));
            }
        }
        for id in self.membership.groups().filter(|id| group(*id).is_none()) {
            self.membership.members(id).for_each(|(device, _)| change(Record::Member(id, device, None)));
        }
        self.catalogue.heads().filter(|id| group(*id).is_none()).for_each(|id| change(Record::Head(id, None)));
        changes
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
