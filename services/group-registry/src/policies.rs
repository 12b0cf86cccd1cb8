//! Policies of groups: who has a role, and who is banned, muted or kicked.

use std::{collections::BTreeSet, sync::Arc};

use gaung_proto::{
    DeviceId,
    policy::{Policy, PolicyError, SignedPolicy},
};
use service_kit::share::TooSoon;

use crate::{
    clock::CommandTime,
    group::Group,
    lookup::LookupError,
    records::{Record, StoredInvite},
    store::StoreError,
    tables::{Change, Decide, Tables},
};

/// Why a policy was not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetPolicyError {
    /// See [`LookupError`].
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// See [`PolicyError`].
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// See [`TooSoon`].
    #[error(transparent)]
    TooSoon(#[from] TooSoon),
}

impl From<StoreError> for SetPolicyError {
    fn from(error: StoreError) -> Self {
        Self::Lookup(error.into())
    }
}

/// Command: sets the next version of a group's policy. Whom it bans or kicks is a member no more, and the invites that they made
/// are void: otherwise they would come back by one under another device.
#[derive(Debug, Clone, PartialEq)]
pub struct SetPolicy {
    /// The policy, whose signature was verified.
    pub policy: SignedPolicy,
}

impl Decide for SetPolicy {
    type Outcome = (Arc<Group>, BTreeSet<DeviceId>);
    type Refusal = SetPolicyError;

    fn decide(
        &self,
        tables: &Tables,
        _now: CommandTime,
        changes: &mut Vec<Change>,
    ) -> Result<(Arc<Group>, BTreeSet<DeviceId>), SetPolicyError> {
        let next = self.policy.policy();
        let group = tables.live(next.group)?;
        if group.policy.as_deref() == Some(&self.policy) {
            return Ok((Arc::clone(group), BTreeSet::new()));
        }
        let current = group.current_policy();
        current.accept(group.owner, next, self.policy.signer())?;
        let removed = removed(&current, next);
        let is_member = |device: &&DeviceId| tables.membership.member(group.id, **device).is_some();
        let members = removed.iter().filter(is_member);
        changes.extend(members.map(|device| Change(Record::Member(group.id, *device, None))));
        let invites = tables.membership.invites().filter(|(_, invite)| {
            let by = DeviceId::try_from(&invite.inviter_device_id[..]);
            invite.group() == group.id && !invite.revoked && by.is_ok_and(|by| removed.contains(&by))
        });
        changes.extend(invites.map(|(code, invite)| {
            let revoked = StoredInvite { revoked: true, ..invite.clone() };
            Change(Record::Invite(*code, Some(revoked)))
        }));
        let policy = Some(Arc::new(self.policy.clone()));
        Ok((Tables::replace(Group { policy, ..Group::clone(group) }, changes), removed))
    }
}

/// Returns the devices that `next` bans or kicks.
fn removed(current: &Policy, next: &Policy) -> BTreeSet<DeviceId> {
    let banned = next.bans.difference(&current.bans);
    let kicked = next.kicks.iter().filter(|(device, version)| current.kicks.get(device) != Some(version));
    banned.chain(kicked.map(|(device, _)| device)).copied().collect()
}
