//! The roles of a group, and what those who have one decide about its devices.

use std::{collections::BTreeSet, time::Duration};

use gaung_proto::{
    DeviceId, GroupName,
    pb::registry as pb,
    policy::{Policy, PolicyChange, PolicyError, Role, SignedPolicy},
};

use crate::{
    calls::GroupKey,
    client::Client,
    error::ClientError,
    group::{GroupInfo, bad},
    named_device::{self, NamedDevice},
};

/// How often a change is made anew because another one came first.
const ATTEMPTS: usize = 8;

/// A group with its policy, whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPolicy {
    /// The group.
    pub group: GroupInfo,
    /// Who has a role, and who is banned, muted or kicked.
    pub policy: Policy,
}

impl GroupPolicy {
    /// Returns the role of a device.
    #[must_use]
    pub fn role(&self, device: DeviceId) -> Role {
        self.policy.role(self.owner(), device)
    }

    fn owner(&self) -> DeviceId {
        self.group.owner.unwrap_or(DeviceId::NONE)
    }
}

impl TryFrom<pb::Group> for GroupPolicy {
    type Error = ClientError;
    fn try_from(group: pb::Group) -> Result<Self, ClientError> {
        let signed = Some(&group.policy).filter(|policy| !policy.is_empty()).map(SignedPolicy::decode);
        let signed = signed.transpose().map_err(bad)?;
        let group = GroupInfo::try_from(group)?;
        let Some(signed) = signed else { return Ok(Self { policy: Policy::unset(group.id), group }) };
        let read = Self { policy: signed.policy().clone(), group };
        // Nobody loses a role by a policy of their own, so whoever signed it has one in it.
        if read.policy.group != read.group.id || read.role(signed.signer()) < Role::Moderator {
            return Err(bad("a policy of another group, or by a device without a role"));
        }
        Ok(read)
    }
}

/// What the owner, an admin or a moderator of a group does to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moderation {
    /// Gives it this role; [`Role::Member`] takes the one that it has.
    SetRole(Role),
    /// Removes it from the group. It may come back, into a private group by a new invite.
    Kick,
    /// Removes it, and refuses its messages and its return.
    Ban,
    /// Lifts a ban.
    Unban,
    /// Refuses its messages for so long.
    Mute(Duration),
    /// Lifts a mute.
    Unmute,
}

impl Client {
    /// Reads who may do what in a group.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn policy(&self, name: &GroupName) -> Result<GroupPolicy, ClientError> {
        self.context.get_policy(&GroupKey::Name(name.clone())).await
    }

    /// Finds the device that `who` names in a group: by a member's name; by the first four or more digits of the id of a device that is a
    /// member, has a role, or is banned or muted; by both, as `budi·3f9a`; or by a whole id.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] if nobody is called so, [`ClientError::Usage`] if several are; and those of [`Client::members`].
    pub async fn named_device(&self, group: &GroupName, who: &str) -> Result<NamedDevice, ClientError> {
        let (policy, members) = (self.policy(group).await?.policy, self.members(group).await?);
        let decided = policy.bans.iter().chain(policy.mutes.keys()).chain(&policy.admins).chain(&policy.moderators);
        let known: BTreeSet<DeviceId> = members.iter().map(|member| member.device).chain(decided.copied()).collect();
        named_device::find(who, &members, &known)
    }

    /// Changes who may do what in a group; services honour it at once. If somebody else changes it at the same time, the change is
    /// made to theirs.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] if this device's role does not allow it, [`ClientError::NotFound`] and others.
    pub async fn moderate(
        &self,
        name: &GroupName,
        device: DeviceId,
        what: Moderation,
    ) -> Result<GroupPolicy, ClientError> {
        let change = match what {
            Moderation::SetRole(role) => PolicyChange::SetRole(device, role),
            Moderation::Kick => PolicyChange::Kick(device),
            Moderation::Ban => PolicyChange::Ban(device),
            Moderation::Unban => PolicyChange::Unban(device),
            Moderation::Mute(time) => {
                let time_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
                PolicyChange::Mute(device, self.context.registry_time().await?.saturating_add(time_ms))
            }
            Moderation::Unmute => PolicyChange::Unmute(device),
        };
        for _ in 0..ATTEMPTS {
            let current = self.policy(name).await?;
            let next = current.policy.with(change);
            // Said here as the registry would say it, without bothering it.
            current.policy.accept(current.owner(), &next, self.device_id()).map_err(client_error)?;
            let signed = SignedPolicy::sign(self.context.device.key(), next);
            if let Some(set) = self.context.set_policy(&signed).await? {
                return Ok(set);
            }
        }
        Err(ClientError::Failed("others change the group's policy all the time; try again".to_owned()))
    }
}

fn client_error(error: PolicyError) -> ClientError {
    let text = error.to_string();
    match error {
        PolicyError::NotAllowed(_) | PolicyError::NoOwner => ClientError::NotAllowed(text),
        PolicyError::Contradiction(_) | PolicyError::TooMany(_) => ClientError::Usage(text),
        PolicyError::Malformed | PolicyError::Signature(_) | PolicyError::Outdated { .. } => ClientError::Failed(text),
    }
}
