//! Invites: a code of 128 random bits that lets devices in, of which only the hash is kept.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use gaung_proto::{DeviceId, DisplayName, GroupId, GroupName};
use service_kit::share::TooSoon;
use sha2::{Digest as _, Sha256};

use crate::{
    challenge::CallError,
    clock::CommandTime,
    group::Group,
    lookup::{GroupBy, LookupError},
    members::{AddMember, AddedMember, JoinError},
    records::{CodeHash, Record, StoredInvite},
    store::StoreError,
    tables::{Change, Decide, Tables},
};

/// Most uses of a counted invite, each of which is remembered by its device.
pub const MAX_USES: u32 = 1000;
/// Longest time an invite is valid.
pub const MAX_EXPIRY_MS: u64 = 366 * 24 * 3600 * 1000;
/// Time an invite is valid if the request names none.
pub const DEFAULT_EXPIRY_MS: u64 = 24 * 3600 * 1000;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const CODE_CHARS: usize = 26;

/// Why an invite was not made, revoked or redeemed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// See [`CallError`].
    #[error(transparent)]
    Call(#[from] CallError),
    /// See [`LookupError`].
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// See [`JoinError`].
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The inviter is not in the group.
    #[error("only members may invite to the group {0}; join it first with `gaung group join {0}`")]
    NotMember(GroupName),
    /// The caller made neither the invite nor the group.
    #[error("only the device that made the invite, or the group's owner, may revoke it")]
    NotInviter,
    /// There is no such code.
    #[error("there is no such invite; check the code")]
    Unknown,
    /// The invite has expired.
    #[error("the invite has expired; ask for a new one")]
    Expired,
    /// The invite was revoked.
    #[error("the invite was revoked; ask for a new one")]
    Revoked,
    /// Too many invites of the device or its address failed.
    #[error(
        "too many invites from your device or address were not good; check the code, or ask for a new one, and try again in {} s",
        .0.retry_after.as_secs() + 1
    )]
    TooManyFailures(TooSoon),
    /// The invite has no uses left.
    #[error("the invite has been used up; ask for a new one")]
    UsedUp,
}

impl InviteError {
    /// Returns whether the code was not good, as when somebody guesses.
    pub(crate) const fn is_bad_code(&self) -> bool {
        match self {
            Self::Unknown | Self::Expired | Self::Revoked | Self::UsedUp => true,
            Self::Call(_)
            | Self::Lookup(_)
            | Self::Join(_)
            | Self::NotMember(_)
            | Self::NotInviter
            | Self::TooManyFailures(_) => false,
        }
    }
}

impl From<StoreError> for InviteError {
    fn from(error: StoreError) -> Self {
        Self::Lookup(error.into())
    }
}

/// Command: makes an invite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CreateInvite {
    /// SHA-256 of the code.
    pub code: CodeHash,
    /// The group that it lets devices into.
    pub group: GroupId,
    /// The device that makes it.
    pub inviter: DeviceId,
    /// Whether the inviter is present in the group, so that it need not be a lasting member.
    pub is_present: bool,
    /// Most uses, up to [`MAX_USES`]; 0 for no limit.
    pub uses: u32,
    /// When it expires, in Unix time in ms.
    pub expires_unix_ms: i64,
}

impl Decide for CreateInvite {
    type Outcome = ();
    type Refusal = InviteError;

    fn decide(&self, tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<(), InviteError> {
        let group = tables.live(self.group)?;
        if !self.is_present && !tables.is_member(group, self.inviter) {
            return Err(match group.private {
                true => JoinError::private(&GroupBy::Id(group.id)).into(),
                false => InviteError::NotMember(group.name.clone()),
            });
        }
        if tables.membership.invite(&self.code).is_some() {
            return Err(InviteError::Unknown);
        }
        let invite = StoredInvite {
            group_id: group.id.into(),
            inviter_device_id: self.inviter.into(),
            uses: self.uses,
            expires_unix_ms: self.expires_unix_ms,
            revoked: false,
            used_by: Vec::new(),
        };
        changes.push(Change(Record::Invite(self.code, Some(invite))));
        Ok(())
    }
}

/// Command: revokes an invite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RevokeInvite {
    /// SHA-256 of the code.
    pub code: CodeHash,
    /// The device that signed the call.
    pub device: DeviceId,
}

impl Decide for RevokeInvite {
    type Outcome = ();
    type Refusal = InviteError;

    fn decide(&self, tables: &Tables, _now: CommandTime, changes: &mut Vec<Change>) -> Result<(), InviteError> {
        let invite = tables.membership.invite(&self.code).ok_or(InviteError::Unknown)?;
        let is_inviter = invite.inviter_device_id == self.device.as_bytes()[..];
        if !is_inviter && tables.live(invite.group())?.owner != self.device {
            return Err(InviteError::NotInviter);
        }
        if !invite.revoked {
            let revoked = StoredInvite { revoked: true, ..invite.clone() };
            changes.push(Change(Record::Invite(self.code, Some(revoked))));
        }
        Ok(())
    }
}

/// Command: makes the device that signed a member of the invite's group.
#[derive(Debug, Clone, PartialEq)]
pub struct RedeemInvite {
    /// SHA-256 of the code.
    pub code: CodeHash,
    /// The device that signed the call.
    pub device: DeviceId,
    /// The member's name, for display.
    pub name: Option<DisplayName>,
    /// The caller's address; `None` for this process.
    pub from: Option<IpAddr>,
}

impl Decide for RedeemInvite {
    type Outcome = (Arc<Group>, AddedMember);
    type Refusal = InviteError;

    fn decide(
        &self,
        tables: &Tables,
        now: CommandTime,
        changes: &mut Vec<Change>,
    ) -> Result<(Arc<Group>, AddedMember), InviteError> {
        let invite = tables.membership.invite(&self.code).ok_or(InviteError::Unknown)?;
        let group = tables.live(invite.group())?;
        if invite.revoked {
            return Err(InviteError::Revoked);
        }
        if invite.expires_unix_ms < now.unix_ms {
            return Err(InviteError::Expired);
        }
        let used_before = invite.used_by.iter().any(|user| *user == self.device.as_bytes()[..]);
        if invite.uses > 0 && !used_before && !tables.is_member(group, self.device) {
            if invite.used_by.len() >= usize::try_from(invite.uses).unwrap_or(usize::MAX) {
                return Err(InviteError::UsedUp);
            }
            let mut used = invite.clone();
            used.used_by.push(Bytes::from(self.device));
            changes.push(Change(Record::Invite(self.code, Some(used))));
        }
        let Self { device, name, from, .. } = self.clone();
        let enrolled = AddMember { group: group.id, device, name, from }.decide(tables, now, changes)?;
        Ok((Arc::clone(group), enrolled))
    }
}

pub(crate) fn new_code() -> String {
    let bits: u128 = rand::random();
    let digit = |place: usize| {
        let index = if place < 25 { (bits >> (123 - 5 * place)) & 31 } else { (bits << 2) & 31 };
        char::from(ALPHABET[usize::try_from(index).expect("five bits")])
    };
    (0..CODE_CHARS).map(digit).collect()
}

/// Hashes a code as people may have typed it: lower case, spaces and dashes do not matter.
pub(crate) fn hash(code: &str) -> CodeHash {
    let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').take(CODE_CHARS + 1).collect();
    Sha256::digest(code.to_ascii_uppercase()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_26_characters_that_may_be_typed_carelessly() {
        let code = new_code();
        assert_eq!(code.len(), CODE_CHARS);
        assert!(code.bytes().all(|c| ALPHABET.contains(&c)), "{code}");
        assert_ne!(new_code(), code);
        let typed = format!(" {}-{}", &code[..10].to_lowercase(), &code[10..]);
        assert_eq!(hash(&typed), hash(&code));
        assert_ne!(hash(&format!("{code}A")), hash(&code));
    }
}
