//! Who may do what in a group: its owner, admins and moderators, and the devices that they have banned, muted or kicked.
//!
//! A [`Policy`] is a version of these decisions. Its maker signs it, and it names the hash of the version before, so that the
//! registry cannot invent one and two makers cannot overwrite each other unnoticed. [`Policy::accept`] is the one place that
//! says which change is whose right.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{
    id::{DeviceId, GroupId},
    pb::registry as pb,
    signing::{self, SigningError},
};

/// Most admins, and most moderators, of a group.
pub const MAX_ROLES: usize = 64;
/// Most banned devices of a group; its owner can reset or delete it where more come.
pub const MAX_BANS: usize = 1024;
/// Most muted devices of a group.
pub const MAX_MUTES: usize = 1024;
/// Kicks that are remembered; a ticket lives for minutes, so that older ones have no effect.
pub const MAX_KICKS: usize = 256;
/// Largest encoded policy with its signature: full lists take some 58 KiB.
pub const MAX_POLICY_BYTES: usize = 64 * 1024;

const LABEL: &[u8] = b"gaung-policy-v1\0";

/// What a device may do in a group, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Takes part.
    Member,
    /// May ban, mute and kick whoever has no role, and redact messages.
    Moderator,
    /// May also appoint moderators, and ban, mute and kick them.
    Admin,
    /// May do everything; the device that made the group.
    Owner,
}

impl Role {
    /// Returns its name in commands and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// One version of the decisions about a group's devices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The group.
    pub group: GroupId,
    /// From 1; 0 is what holds before anybody has decided anything.
    pub version: u64,
    /// SHA-256 of the encoded version before; `None` in version 1.
    pub previous: Option<[u8; 32]>,
    /// The devices with the role [`Role::Admin`].
    pub admins: BTreeSet<DeviceId>,
    /// The devices with the role [`Role::Moderator`].
    pub moderators: BTreeSet<DeviceId>,
    /// The devices that may not join, read a private group, or publish.
    pub bans: BTreeSet<DeviceId>,
    /// The devices that may not publish, each until a time in ms since 1970 by the registry's clock.
    pub mutes: BTreeMap<DeviceId, i64>,
    /// The devices that were removed, each with the version that did it.
    pub kicks: BTreeMap<DeviceId, u64>,
}

/// A change of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyChange {
    /// Gives the device this role; [`Role::Member`] takes the one that it has.
    SetRole(DeviceId, Role),
    /// Removes the device, which may come back: into a private group by a new invite.
    Kick(DeviceId),
    /// Bans the device, which loses its role.
    Ban(DeviceId),
    /// Lifts a ban.
    Unban(DeviceId),
    /// Mutes the device until a time in ms since 1970 by the registry's clock.
    Mute(DeviceId, i64),
    /// Lifts a mute.
    Unmute(DeviceId),
}

impl PolicyChange {
    /// Returns the device that is changed.
    #[must_use]
    pub const fn device(self) -> DeviceId {
        match self {
            Self::SetRole(device, _)
            | Self::Kick(device)
            | Self::Ban(device)
            | Self::Unban(device)
            | Self::Mute(device, _)
            | Self::Unmute(device) => device,
        }
    }
}

/// Why a device may not do what it asks for. The text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyRefusal {
    /// The device is banned.
    #[error("this device is banned from the group; its owner, admins and moderators can lift that")]
    Banned,
    /// The device is muted for so long still.
    #[error("this device is muted in the group for {} more; it may read", spoken(*.0))]
    Muted(Duration),
    /// The device was removed since it got its ticket.
    #[error("this device was removed from the group; join it again, a private one by a new invite")]
    Kicked,
    /// Only who has a role may do this.
    #[error("only the owner, admins and moderators of the group may hide messages of others")]
    NoRole,
}

/// Why a new version of a policy is not accepted. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The bytes are no policy, or not encoded as they must be.
    #[error("this is no policy, or not encoded in the one way that is allowed")]
    Malformed,
    /// The signature does not fit.
    #[error(transparent)]
    Signature(#[from] SigningError),
    /// A list has more entries than it may.
    #[error("the group has as many {0} as it may; remove one first")]
    TooMany(&'static str),
    /// Nobody owns the group.
    #[error("the group is reserved: nobody owns it, and it has no roles, bans or mutes")]
    NoOwner,
    /// It does not follow the current version.
    #[error("the group's policy is at version {current} now; read it and make the change again")]
    Outdated {
        /// The current version.
        current: u64,
    },
    /// The signer's role does not allow the change.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// The lists contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

const NO_ROLE: PolicyError =
    PolicyError::NotAllowed("only the owner, admins and moderators of the group may change who may do what in it");

impl Policy {
    /// Makes the policy that holds before anybody has decided anything: the owner alone has a role.
    #[must_use]
    pub fn unset(group: GroupId) -> Self {
        Self { group, ..Self::default() }
    }

    /// Returns the role of a device. `owner`: none for a group that nobody owns.
    #[must_use]
    pub fn role(&self, owner: DeviceId, device: DeviceId) -> Role {
        if device.is_none() {
            Role::Member
        } else if device == owner {
            Role::Owner
        } else if self.admins.contains(&device) {
            Role::Admin
        } else if self.moderators.contains(&device) {
            Role::Moderator
        } else {
            Role::Member
        }
    }

    /// Checks that the device may join the group.
    ///
    /// # Errors
    /// [`PolicyRefusal::Banned`].
    pub fn check_member(&self, device: DeviceId) -> Result<(), PolicyRefusal> {
        if self.bans.contains(&device) { Err(PolicyRefusal::Banned) } else { Ok(()) }
    }

    /// Checks that the device may use a ticket that was issued under `version` of the policy.
    ///
    /// # Errors
    /// [`PolicyRefusal::Banned`] or [`PolicyRefusal::Kicked`].
    pub fn check_ticket(&self, device: DeviceId, version: u64) -> Result<(), PolicyRefusal> {
        self.check_member(device)?;
        if self.kicks.get(&device).is_some_and(|kick| version < *kick) { Err(PolicyRefusal::Kicked) } else { Ok(()) }
    }

    /// Checks that the device may publish. `unix_ms`: now, ms since 1970 by the registry's clock.
    ///
    /// # Errors
    /// [`PolicyRefusal::Banned`] or [`PolicyRefusal::Muted`].
    pub fn check_publisher(&self, device: DeviceId, unix_ms: i64) -> Result<(), PolicyRefusal> {
        self.check_member(device)?;
        let left_ms = self.mutes.get(&device).map_or(0, |until| until.saturating_sub(unix_ms));
        match u64::try_from(left_ms) {
            Ok(left_ms) if left_ms > 0 => Err(PolicyRefusal::Muted(Duration::from_millis(left_ms))),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Checks that the device may hide messages of others. `owner`: none for a group that nobody owns.
    ///
    /// # Errors
    /// [`PolicyRefusal::NoRole`].
    pub fn check_moderator(&self, owner: DeviceId, device: DeviceId) -> Result<(), PolicyRefusal> {
        if self.role(owner, device) < Role::Moderator { Err(PolicyRefusal::NoRole) } else { Ok(()) }
    }

    /// Makes the next version, with one change. Whether its signer may make it, [`Self::accept`] says.
    #[must_use]
    pub fn with(&self, change: PolicyChange) -> Self {
        let mut next =
            Self { version: self.version + 1, previous: (self.version > 0).then(|| self.hash()), ..self.clone() };
        let device = change.device();
        match change {
            PolicyChange::SetRole(_, role) => next.set_role(device, role),
            PolicyChange::Kick(_) => next.kick(device),
            PolicyChange::Ban(_) => {
                next.set_role(device, Role::Member);
                next.mutes.remove(&device);
                next.bans.insert(device);
            }
            PolicyChange::Unban(_) => drop(next.bans.remove(&device)),
            PolicyChange::Mute(_, until) => drop(next.mutes.insert(device, until)),
            PolicyChange::Unmute(_) => drop(next.mutes.remove(&device)),
        }
        next
    }

    fn set_role(&mut self, device: DeviceId, role: Role) {
        self.admins.remove(&device);
        self.moderators.remove(&device);
        match role {
            Role::Member | Role::Owner => {}
            Role::Moderator => drop(self.moderators.insert(device)),
            Role::Admin => drop(self.admins.insert(device)),
        }
    }

    fn kick(&mut self, device: DeviceId) {
        self.kicks.insert(device, self.version);
        if self.kicks.len() > MAX_KICKS
            && let Some((oldest, _)) = self.kicks.iter().min_by_key(|(_, version)| **version)
        {
            let oldest = *oldest;
            self.kicks.remove(&oldest);
        }
    }

    /// Decides whether `next` may follow this version. `owner`: none for a group that nobody owns; `signer`: the device that has
    /// signed `next`.
    ///
    /// # Errors
    /// [`PolicyError`]: the first of these rules that is broken. `next` follows this version. Its lists are within their limits and
    /// contradict each other nowhere. The signer has a role. The owner alone changes admins; owner and admins change moderators;
    /// whoever has a role bans, mutes and kicks those below it, and lifts bans and mutes of those below it.
    pub fn accept(&self, owner: DeviceId, next: &Self, signer: DeviceId) -> Result<(), PolicyError> {
        if owner.is_none() {
            return Err(PolicyError::NoOwner);
        }
        let previous = (self.version > 0).then(|| self.hash());
        if next.group != self.group || Some(next.version) != self.version.checked_add(1) || next.previous != previous {
            return Err(PolicyError::Outdated { current: self.version });
        }
        next.check_lists(owner)?;
        let role = self.role(owner, signer);
        if role < Role::Moderator {
            return Err(NO_ROLE);
        }
        if role < Role::Owner && self.admins != next.admins {
            return Err(PolicyError::NotAllowed("only the owner of the group may appoint and dismiss admins"));
        }
        if role < Role::Admin && self.moderators != next.moderators {
            return Err(PolicyError::NotAllowed(
                "only the owner and admins of the group may appoint and dismiss moderators",
            ));
        }
        if next.kicks.iter().any(|(device, at)| *at != next.version && self.kicks.get(device) != Some(at)) {
            return Err(PolicyError::Contradiction("a kick belongs to the version that makes it"));
        }
        let is_below = |device: &&DeviceId| self.role(owner, **device) < role;
        if self.changed(next).all(|device| is_below(&device)) {
            Ok(())
        } else {
            Err(PolicyError::NotAllowed("whoever has a role may ban, mute and kick only those below it"))
        }
    }

    /// Returns the devices whose bans, mutes and kicks differ in `next`. That a kick is forgotten is no change: the oldest give way.
    fn changed<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = &'a DeviceId> {
        let muted = |a: &'a Self, b: &'a Self| {
            a.mutes.iter().filter(|(device, until)| b.mutes.get(device) != Some(until)).map(|(device, _)| device)
        };
        let kicked = next.kicks.iter().filter(|(device, version)| self.kicks.get(device) != Some(version));
        let bans = self.bans.symmetric_difference(&next.bans);
        bans.chain(muted(self, next)).chain(muted(next, self)).chain(kicked.map(|(device, _)| device))
    }

    fn check_lists(&self, owner: DeviceId) -> Result<(), PolicyError> {
        for (len, max, what) in [
            (self.admins.len(), MAX_ROLES, "admins"),
            (self.moderators.len(), MAX_ROLES, "moderators"),
            (self.bans.len(), MAX_BANS, "bans"),
            (self.mutes.len(), MAX_MUTES, "mutes"),
            (self.kicks.len(), MAX_KICKS, "kicks"),
        ] {
            if len > max {
                return Err(PolicyError::TooMany(what));
            }
        }
        let lists = [&self.admins, &self.moderators, &self.bans];
        let none = &DeviceId::NONE;
        let is_listed = lists.iter().any(|list| list.contains(none));
        if is_listed || self.mutes.contains_key(none) || self.kicks.contains_key(none) {
            return Err(PolicyError::Contradiction(
                "a device without an id has no role and cannot be banned, muted or kicked",
            ));
        }
        if lists.iter().any(|list| list.contains(&owner)) {
            return Err(PolicyError::Contradiction("the owner of the group stays its owner, and nobody can ban it"));
        }
        let is_apart = |a: &BTreeSet<DeviceId>, b: &BTreeSet<DeviceId>| a.intersection(b).next().is_none();
        if !is_apart(&self.admins, &self.moderators)
            || !is_apart(&self.bans, &self.admins)
            || !is_apart(&self.bans, &self.moderators)
        {
            return Err(PolicyError::Contradiction("a device has one role at most, and none while it is banned"));
        }
        Ok(())
    }

    /// Encodes the policy in the one way that is allowed.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let ids = |devices: &BTreeSet<DeviceId>| devices.iter().map(|device| (*device).into()).collect();
        let mute = |(device, until): (&DeviceId, &i64)| pb::Mute { device_id: (*device).into(), until_unix_ms: *until };
        let kick = |(device, version): (&DeviceId, &u64)| pb::Kick { device_id: (*device).into(), version: *version };
        let policy = pb::Policy {
            group_id: self.group.into(),
            version: self.version,
            previous_hash: self.previous.map(|hash| Bytes::copy_from_slice(&hash)).unwrap_or_default(),
            admins: ids(&self.admins),
            moderators: ids(&self.moderators),
            bans: ids(&self.bans),
            mutes: self.mutes.iter().map(mute).collect(),
            kicks: self.kicks.iter().map(kick).collect(),
        };
        policy.encode_to_vec().into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let policy = pb::Policy::decode(bytes.clone()).ok()?;
        let id = |bytes: &Bytes| DeviceId::try_from(&bytes[..]).ok();
        let ids = |devices: &[Bytes]| devices.iter().map(id).collect::<Option<_>>();
        let previous = &policy.previous_hash;
        let decoded = Self {
            group: GroupId::try_from(&policy.group_id[..]).ok()?,
            version: policy.version,
            previous: if previous.is_empty() { None } else { Some(previous[..].try_into().ok()?) },
            admins: ids(&policy.admins)?,
            moderators: ids(&policy.moderators)?,
            bans: ids(&policy.bans)?,
            mutes: policy
                .mutes
                .iter()
                .map(|mute| Some((id(&mute.device_id)?, mute.until_unix_ms)))
                .collect::<Option<_>>()?,
            kicks: policy.kicks.iter().map(|kick| Some((id(&kick.device_id)?, kick.version))).collect::<Option<_>>()?,
        };
        // One encoding for each policy, so that its hash is one too.
        (decoded.encode() == *bytes).then_some(decoded)
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.encode()).into()
    }
}

/// A policy whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicy {
    policy: Policy,
    signer: DeviceId,
    encoded: Bytes,
}

impl SignedPolicy {
    /// Signs a policy.
    #[must_use]
    pub fn sign(key: &SigningKey, policy: Policy) -> Self {
        let encoded = policy.encode();
        let public_key = key.verifying_key();
        let signature = Bytes::copy_from_slice(&key.sign(&signed_bytes(&encoded)).to_bytes());
        let signed =
            pb::SignedPolicy { policy: encoded, public_key: Bytes::copy_from_slice(public_key.as_bytes()), signature };
        let signer = DeviceId::of_public_key(public_key.as_bytes());
        Self { policy, signer, encoded: signed.encode_to_vec().into() }
    }

    /// Decodes a policy and verifies its signature. Whether its signer may make it, [`Policy::accept`] says.
    ///
    /// # Errors
    /// [`PolicyError::Malformed`], [`PolicyError::Signature`].
    pub fn decode(encoded: &Bytes) -> Result<Self, PolicyError> {
        if encoded.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::Malformed);
        }
        let signed = pb::SignedPolicy::decode(encoded.clone()).map_err(|_| PolicyError::Malformed)?;
        let key = signing::verify(&signed.public_key, &signed.signature, &signed_bytes(&signed.policy))?;
        let policy = Policy::decode(&signed.policy).ok_or(PolicyError::Malformed)?;
        Ok(Self { policy, signer: DeviceId::of_public_key(key.as_bytes()), encoded: encoded.clone() })
    }

    /// Returns the policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the device that has signed it.
    #[must_use]
    pub const fn signer(&self) -> DeviceId {
        self.signer
    }

    /// Returns it as it was signed, encoded.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }
}

fn signed_bytes(policy: &[u8]) -> Vec<u8> {
    [LABEL, policy].concat()
}

/// Says a time in whole units, rounded up.
fn spoken(time: Duration) -> String {
    let seconds = time.as_millis().div_ceil(1000);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        7200..172_800 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests;
