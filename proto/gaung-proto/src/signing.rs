//! What is signed and by whom: a device's calls to the registry and proofs to a hub, and the registry's tickets (Ed25519, RFC 8032).

use bytes::Bytes;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use prost::Message as _;

use crate::{
    GroupRetention,
    id::{ClientId, DeviceId, GroupId},
    pb::registry as pb,
};

/// A signature or ticket that gives no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// A key, nonce or signature has the wrong length or is no key.
    #[error("the signature is malformed")]
    Malformed,
    /// The signature does not fit.
    #[error("the signature does not verify")]
    Forged,
    /// The ticket is for another group or device.
    #[error(
        "the ticket is for another group or device; join the group with this device and send the ticket that it gets"
    )]
    Other,
    /// The ticket has run out.
    #[error("the ticket has expired; join the group again")]
    Expired,
}

/// The calls that a device signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// The call deletes a group (DeleteGroup).
    Delete,
    /// The call starts a group's log anew (ResetGroup).
    Reset,
    /// SetRetention; the subject is [`GroupRetention::subject`](crate::GroupRetention::subject).
    Keep,
    /// RevokeInvite; the subject is the code, the group id is zero.
    Revoke,
    /// RedeemInvite; the subject is the code, the group id is zero.
    Redeem,
    /// CreateGroup; the subject is [`create_subject`], the group id is zero.
    Create,
    /// JoinGroup; the subject is [`join_subject`], the group id is zero for a group that is named.
    Join,
    /// LeaveGroup; the subject is [`leave_subject`].
    Leave,
    /// CreateInvite; the subject is [`invite_subject`].
    Invite,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Reset => "reset",
            Self::Keep => "keep",
            Self::Revoke => "revoke",
            Self::Redeem => "redeem",
            Self::Create => "create",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Invite => "invite",
        }
    }
}

/// Returns what a device signs of a CreateGroup call.
#[must_use]
pub fn create_subject(request: &pb::CreateGroupRequest) -> String {
    let keep = GroupRetention::from(request.keep).subject();
    [
        hex(&request.request_id),
        request.name.clone(),
        request.scope.to_string(),
        request.format.to_string(),
        u8::from(request.private).to_string(),
        request.address.clone().unwrap_or_default(),
        request.port.map(|port| port.to_string()).unwrap_or_default(),
        request.owner_name.clone(),
        keep,
    ]
    .join("\n")
}

/// Returns what a device signs of a JoinGroup call, besides the group's id.
#[must_use]
pub fn join_subject(request: &pb::JoinGroupRequest) -> String {
    let name = match &request.by {
        Some(pb::join_group_request::By::Name(name)) => name,
        Some(pb::join_group_request::By::Id(_)) | None => "",
    };
    [name, &request.member_name, &hex(&request.client_id), &request.lane].join("\n")
}

/// Returns what a device signs of a LeaveGroup call, besides the group's id.
#[must_use]
pub fn leave_subject(request: &pb::LeaveGroupRequest) -> String {
    hex(&request.client_id)
}

/// Returns what a device signs of a CreateInvite call, besides the group's id.
#[must_use]
pub fn invite_subject(request: &pb::CreateInviteRequest) -> String {
    format!("{}\n{}", request.uses, request.expires_ms)
}

/// Signs one call with the registry's `nonce`.
#[must_use]
pub fn sign_call(
    key: &SigningKey,
    method: Method,
    group: GroupId,
    nonce: &Bytes,
    subject: &str,
) -> pb::DeviceSignature {
    let signature = key.sign(&call_bytes(method, group, nonce, subject));
    pb::DeviceSignature {
        public_key: Bytes::copy_from_slice(key.verifying_key().as_bytes()),
        nonce: nonce.clone(),
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
    }
}

/// Checks a signed call; that the nonce is the registry's and unused is the caller's part. Gives the device.
///
/// # Errors
/// [`SigningError::Malformed`] or [`SigningError::Forged`].
pub fn verify_call(
    signed: &pb::DeviceSignature,
    method: Method,
    group: GroupId,
    subject: &str,
) -> Result<DeviceId, SigningError> {
    let message = call_bytes(method, group, &signed.nonce, subject);
    let key = verify(&signed.public_key, &signed.signature, &message)?;
    Ok(DeviceId::of_public_key(key.as_bytes()))
}

/// Signs a hub's `challenge` for the session of `client`, which proves the device without a certificate.
#[must_use]
pub fn sign_hello(key: &SigningKey, challenge: &[u8], client: ClientId) -> Bytes {
    Bytes::copy_from_slice(&key.sign(&hello_bytes(challenge, client)).to_bytes())
}

/// Checks the answer to a hub's `challenge` in the session of `client`. Gives the device.
///
/// # Errors
/// [`SigningError::Malformed`] or [`SigningError::Forged`].
pub fn verify_hello(
    public_key: &[u8],
    signature: &[u8],
    challenge: &[u8],
    client: ClientId,
) -> Result<DeviceId, SigningError> {
    let key = verify(public_key, signature, &hello_bytes(challenge, client))?;
    Ok(DeviceId::of_public_key(key.as_bytes()))
}

/// Issues the right of `device` to use `group` until `expires_unix_ms`, under this version of the group's policy; the result is
/// an encoded `SignedTicket`.
#[must_use]
pub fn issue_ticket(
    key: &SigningKey,
    group: GroupId,
    device: DeviceId,
    expires_unix_ms: i64,
    policy_version: u64,
) -> Bytes {
    let ticket = pb::Ticket { group_id: group.into(), device_id: device.into(), expires_unix_ms, policy_version };
    let ticket = ticket.encode_to_vec();
    let signature = key.sign(&ticket_bytes(&ticket));
    let signed = pb::SignedTicket { ticket: ticket.into(), signature: Bytes::copy_from_slice(&signature.to_bytes()) };
    signed.encode_to_vec().into()
}

/// Checks that `ticket` lets `device` use `group` at `now_unix_ms`; gives when it expires (Unix time in ms).
///
/// # Errors
/// [`SigningError`], each case.
pub fn verify_ticket(
    registry_key: &[u8],
    ticket: &[u8],
    group: GroupId,
    device: DeviceId,
    now_unix_ms: i64,
) -> Result<i64, SigningError> {
    let ticket = checked_ticket(registry_key, ticket, group, now_unix_ms)?;
    if ticket.device_id == device.as_bytes()[..] { Ok(ticket.expires_unix_ms) } else { Err(SigningError::Other) }
}

/// Checks that `ticket` lets whoever holds it use `group` at `now_unix_ms`; gives when it expires (Unix time in ms).
///
/// # Errors
/// [`SigningError`], each case.
pub fn verify_bearer(
    registry_key: &[u8],
    ticket: &[u8],
    group: GroupId,
    now_unix_ms: i64,
) -> Result<i64, SigningError> {
    checked_ticket(registry_key, ticket, group, now_unix_ms).map(|ticket| ticket.expires_unix_ms)
}

/// Reads when a ticket expires (Unix time in ms), without checking it; `None` if it is no ticket.
#[must_use]
pub fn ticket_expiry(ticket: &[u8]) -> Option<i64> {
    let signed = pb::SignedTicket::decode(ticket).ok()?;
    pb::Ticket::decode(signed.ticket).ok().map(|ticket| ticket.expires_unix_ms)
}

/// Reads the device that a ticket is for and the version of the group's policy that it was issued under, without checking it;
/// `None` if it is no ticket.
#[must_use]
pub fn ticket_holder(ticket: &[u8]) -> Option<(DeviceId, u64)> {
    let signed = pb::SignedTicket::decode(ticket).ok()?;
    let ticket = pb::Ticket::decode(signed.ticket).ok()?;
    Some((DeviceId::try_from(&ticket.device_id[..]).ok()?, ticket.policy_version))
}

fn checked_ticket(
    registry_key: &[u8],
    ticket: &[u8],
    group: GroupId,
    now_unix_ms: i64,
) -> Result<pb::Ticket, SigningError> {
    let signed = pb::SignedTicket::decode(ticket).map_err(|_| SigningError::Malformed)?;
    verify(registry_key, &signed.signature, &ticket_bytes(&signed.ticket))?;
    let ticket = pb::Ticket::decode(signed.ticket).map_err(|_| SigningError::Malformed)?;
    if ticket.group_id != group.as_bytes()[..] {
        return Err(SigningError::Other);
    }
    if ticket.expires_unix_ms < now_unix_ms {
        return Err(SigningError::Expired);
    }
    Ok(ticket)
}

fn call_bytes(method: Method, group: GroupId, nonce: &[u8], subject: &str) -> Vec<u8> {
    let method = method.name().as_bytes();
    [b"gaung-v1\0", method, b"\0", group.as_bytes(), nonce, subject.as_bytes()].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hello_bytes(challenge: &[u8], client: ClientId) -> Vec<u8> {
    [b"gaung-hello-v1\0", challenge, client.as_bytes()].concat()
}

fn ticket_bytes(ticket: &[u8]) -> Vec<u8> {
    [b"gaung-ticket-v1\0", ticket].concat()
}

/// Verifies a signature by a key; both came from outside.
pub(crate) fn verify(public_key: &[u8], signature: &[u8], message: &[u8]) -> Result<VerifyingKey, SigningError> {
    let key: &[u8; 32] = public_key.try_into().map_err(|_| SigningError::Malformed)?;
    let key = VerifyingKey::from_bytes(key).map_err(|_| SigningError::Malformed)?;
    let signature = Signature::from_slice(signature).map_err(|_| SigningError::Malformed)?;
    key.verify_strict(message, &signature).map_err(|_| SigningError::Forged)?;
    Ok(key)
}
