//! Invites: a code of 128 random bits that lets devices in, of which only the hash is kept.

use bytes::Bytes;
use gaung_proto::{DeviceId, DisplayName, GroupId, GroupName};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::{
    challenge::{CallError, Outcome, SignedCall},
    members::JoinError,
    now::Now,
    records::{self, Group, StoredInvite},
    registry::{GroupBy, LookupError, Registry},
    store::StoreError,
};

/// Most uses of a counted invite: each is remembered by its device.
pub const MAX_USES: u32 = 1000;
/// Longest time an invite is good for.
pub const MAX_EXPIRY_MS: u64 = 366 * 24 * 3600 * 1000;
/// If nothing else was asked for.
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
    /// The maker is not in the group.
    #[error("only members may invite to the group {0}; join it first with `gaung group join {0}`")]
    NotMember(GroupName),
    /// Somebody else made the invite and the group.
    #[error("only the device that made the invite, or the group's owner, may revoke it")]
    NotMaker,
    /// There is no such code.
    #[error("there is no such invite; check the code")]
    Unknown,
    /// It ran out.
    #[error("the invite has expired; ask for a new one")]
    Expired,
    /// It was revoked.
    #[error("the invite was revoked; ask for a new one")]
    Revoked,
    /// All uses are used up.
    #[error("the invite has been used up; ask for a new one")]
    UsedUp,
}

impl From<StoreError> for InviteError {
    fn from(error: StoreError) -> Self {
        Self::Lookup(error.into())
    }
}

impl Registry {
    /// Makes an invite; gives the code, which nobody can see again, and when it expires (Unix time in ms).
    ///
    /// `uses`: 0 to [`MAX_USES`], 0 for no limit; `expires_ms`: 1 to [`MAX_EXPIRY_MS`].
    ///
    /// # Errors
    /// [`InviteError::Lookup`] or [`InviteError::NotMember`].
    pub fn create_invite(
        &self,
        now: Now,
        group: GroupId,
        maker: DeviceId,
        uses: u32,
        expires_ms: u64,
    ) -> Result<(String, i64), InviteError> {
        let (group, _) = self.group_row(group)?;
        let is_present = || self.presences.of(group.id, now.mono).iter().any(|(device, ..)| *device == maker);
        if !self.is_member(&group, maker)? && !is_present() {
            return Err(match group.private {
                true => JoinError::private(&GroupBy::Id(group.id)).into(),
                false => InviteError::NotMember(group.name),
            });
        }
        let expires_unix_ms = now.unix_ms.saturating_add(i64::try_from(expires_ms).unwrap_or(i64::MAX));
        let invite = StoredInvite {
            group_id: group.id.into(),
            maker_device_id: maker.into(),
            uses,
            expires_unix_ms,
            revoked: false,
            used_by: Vec::new(),
        };
        let code = new_code();
        let created = self.store.create(&records::invite_key(&hash(&code)), &invite.encode_to_vec().into())?;
        created.map_err(|_| InviteError::Unknown)?;
        Ok((code, expires_unix_ms))
    }

    /// Makes an invite useless. The call's subject is the code.
    ///
    /// # Errors
    /// [`InviteError`]: the call, an unknown code, or somebody else's.
    pub fn revoke_invite(&self, now: Now, call: &SignedCall) -> Result<(), InviteError> {
        self.signed(now.mono, call, |device| self.revoke_as(call, device)).map(|_| ())
    }

    /// Makes the device that signed a member of the invite's group. The call's subject is the code.
    ///
    /// # Errors
    /// [`InviteError`], each case.
    pub fn redeem_invite(&self, now: Now, call: &SignedCall, name: Option<&DisplayName>) -> Result<Group, InviteError> {
        match self.signed(now.mono, call, |device| self.redeem_as(now, call, device, name))? {
            Outcome::Group(group) => Ok(*group),
            Outcome::Done => Err(InviteError::Unknown),
        }
    }

    fn revoke_as(&self, call: &SignedCall, device: DeviceId) -> Result<Outcome, InviteError> {
        let key = records::invite_key(&hash(&call.subject));
        loop {
            let entry = self.store.get(&key)?.ok_or(InviteError::Unknown)?;
            let invite: StoredInvite = records::decode(&key, &entry.value)?;
            let group = records::claimant(&key, &invite.group_id)?;
            let is_maker = invite.maker_device_id == device.as_bytes()[..];
            if !is_maker && self.group_row(group)?.0.owner != device {
                return Err(InviteError::NotMaker);
            }
            if invite.revoked {
                return Ok(Outcome::Done);
            }
            let revoked = StoredInvite { revoked: true, ..invite };
            if self.store.set(&key, entry.version, &revoked.encode_to_vec().into())?.is_ok() {
                return Ok(Outcome::Done);
            }
        }
    }

    /// First takes a use, then writes the membership: a stop between the two is mended by the device's next attempt,
    /// which finds itself among those who used the invite.
    fn redeem_as(
        &self,
        now: Now,
        call: &SignedCall,
        device: DeviceId,
        name: Option<&DisplayName>,
    ) -> Result<Outcome, InviteError> {
        let key = records::invite_key(&hash(&call.subject));
        loop {
            let entry = self.store.get(&key)?.ok_or(InviteError::Unknown)?;
            let mut invite: StoredInvite = records::decode(&key, &entry.value)?;
            let (group, _) = self.group_row(records::claimant(&key, &invite.group_id)?)?;
            let used_before = invite.used_by.iter().any(|user| *user == device.as_bytes()[..]);
            if invite.revoked {
                return Err(InviteError::Revoked);
            }
            if invite.expires_unix_ms < now.unix_ms {
                return Err(InviteError::Expired);
            }
            let counts = invite.uses > 0 && !used_before && !self.is_member(&group, device)?;
            if counts {
                if invite.used_by.len() >= usize::try_from(invite.uses).unwrap_or(usize::MAX) {
                    return Err(InviteError::UsedUp);
                }
                invite.used_by.push(Bytes::from(device));
                if self.store.set(&key, entry.version, &invite.encode_to_vec().into())?.is_err() {
                    continue;
                }
            }
            self.enrol(now, &group, device, name, call.from)?;
            return Ok(Outcome::Group(Box::new(group)));
        }
    }
}

fn new_code() -> String {
    let bits: u128 = rand::random();
    let digit = |place: usize| {
        let index = if place < 25 { (bits >> (123 - 5 * place)) & 31 } else { (bits << 2) & 31 };
        char::from(ALPHABET[usize::try_from(index).expect("five bits")])
    };
    (0..CODE_CHARS).map(digit).collect()
}

/// Hash of a code as people may have typed it: small letters, spaces and dashes do not matter.
fn hash(code: &str) -> [u8; 32] {
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
