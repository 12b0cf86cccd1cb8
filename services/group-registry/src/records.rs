//! The keys and values in the store. Everything that is read back is checked.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `g/` group id | `StoredGroup` | the group. Never removed, so no id is used twice |
//! | `r/` request id | group id, SHA-256 of the request | the group that a create made; kept for a day after its deletion |
//! | `n/` name | group id | the group that has the name |
//! | `a/` low 23 bits | `StoredAddress` | the group that has the address, or what is left of one |
//! | `p/` port | group id | the group that the registry chose the port for |
//! | `m/` group id, device id | `StoredMember` | a lasting membership |
//! | `i/` SHA-256 of the code | `StoredInvite` | an invite |
//! | `h/` group id | `StoredHead` | the highest seq that the relay reported |
//! | `s/` service id | `ServiceInfo`, `StoredOrigin` | a relay or hub |
//! | `x/` service id | SHA-256 of the secret | what proves the service |
//! | `k/signing` | 32 bytes | the Ed25519 seed that signs tickets |
//!
//! Older programs also wrote `l/`, marks of leases for other registries on the same store. They are removed at start.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use gaung_proto::{DeviceId, Generation, GroupId, GroupName, RelayId, pb::registry as pb};
use prost::Message as _;

use crate::{
    address::Low23,
    group::{GroupRecord, RequestId},
    store::{KeyChange, StoreError},
};

/// SHA-256 of an invite's code. The code itself is not stored.
pub(crate) type CodeHash = [u8; 32];

/// A record with its key. A value of `None` removes the record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Record {
    Group(GroupId, GroupRecord),
    Request(RequestId, Option<RequestClaim>),
    Name(GroupName, Option<GroupId>),
    Address(Low23, AddressClaim),
    Port(u16, Option<GroupId>),
    Member(GroupId, DeviceId, Option<StoredMember>),
    Invite(CodeHash, Option<StoredInvite>),
    Head(GroupId, Option<StoredHead>),
    Service(RelayId, Option<ServiceRecord>),
    Secret(RelayId, Option<Bytes>),
    SigningKey([u8; 32]),
}

/// What a key and value of the store stand for.
#[derive(Debug)]
pub(crate) enum StoredEntry {
    Record(Record),
    /// A record that an older program left and that is of no use any more.
    Leftover,
    /// A record of an unknown kind, which stays as it is.
    Unknown,
}

impl Record {
    /// Encodes the record for the store.
    pub(crate) fn to_change(&self) -> KeyChange {
        let key = |kind: &[u8], rest: &[u8]| [kind, b"/", rest].concat();
        let group_id = |group: &Option<GroupId>| group.map(Bytes::from);
        match self {
            Self::Group(id, fate) => (key(b"g", id.as_bytes()), Some(fate.encode())),
            Self::Request(id, claim) => (key(b"r", &id.0), claim.as_ref().map(RequestClaim::encode)),
            Self::Name(name, group) => (key(b"n", name.as_str().as_bytes()), group_id(group)),
            Self::Address(address, claim) => (key(b"a", &address.bits().to_be_bytes()), Some(claim.encode())),
            Self::Port(port, group) => (key(b"p", &port.to_be_bytes()), group_id(group)),
            Self::Member(group, device, member) => {
                (key(b"m", &[*group.as_bytes(), *device.as_bytes()].concat()), member.as_ref().map(encode))
            }
            Self::Invite(hash, invite) => (key(b"i", hash), invite.as_ref().map(encode)),
            Self::Head(group, head) => (key(b"h", group.as_bytes()), head.as_ref().map(encode)),
            Self::Service(id, service) => (key(b"s", id.as_bytes()), service.as_ref().map(ServiceRecord::encode)),
            Self::Secret(id, hash) => (key(b"x", id.as_bytes()), hash.clone()),
            Self::SigningKey(seed) => (key(b"k", b"signing"), Some(Bytes::copy_from_slice(seed))),
        }
    }
}

impl StoredEntry {
    /// Decodes one key and value of the store.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Self, StoreError> {
        let damaged = || StoreError::damaged(key);
        let group_id = |bytes: &[u8]| GroupId::try_from(bytes).map_err(|_| damaged());
        let Some((kind, rest)) = key.split_at_checked(2) else { return Ok(Self::Unknown) };
        let record = match kind {
            b"g/" => match GroupRecord::decode(key, value)? {
                Some(fate) => Record::Group(group_id(rest)?, fate),
                None => return Ok(Self::Leftover),
            },
            b"r/" => {
                let id = RequestId(rest.try_into().map_err(|_| damaged())?);
                Record::Request(id, Some(RequestClaim::decode(value).ok_or_else(damaged)?))
            }
            b"n/" => {
                let name = std::str::from_utf8(rest).ok().and_then(|name| name.parse().ok()).ok_or_else(damaged)?;
                Record::Name(name, Some(group_id(value)?))
            }
            b"a/" => {
                let bits = rest.try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
                let address = Low23::from_bits(bits).ok_or_else(damaged)?;
                Record::Address(address, AddressClaim::decode(key, value)?)
            }
            b"p/" => {
                let port = rest.try_into().map(u16::from_be_bytes).map_err(|_| damaged())?;
                Record::Port(port, Some(group_id(value)?))
            }
            b"m/" => {
                let (group, device) = rest.split_at_checked(16).ok_or_else(damaged)?;
                let device = DeviceId::try_from(device).map_err(|_| damaged())?;
                Record::Member(group_id(group)?, device, Some(decode(key, value)?))
            }
            b"i/" => {
                let invite: StoredInvite = decode(key, value)?;
                group_id(&invite.group_id)?;
                Record::Invite(rest.try_into().map_err(|_| damaged())?, Some(invite))
            }
            b"h/" => Record::Head(group_id(rest)?, Some(decode(key, value)?)),
            b"s/" => {
                let id = RelayId::try_from(rest).map_err(|_| damaged())?;
                Record::Service(id, Some(ServiceRecord::decode(key, value)?))
            }
            b"x/" => Record::Secret(RelayId::try_from(rest).map_err(|_| damaged())?, Some(value.clone())),
            b"k/" if rest == b"signing" => Record::SigningKey(value[..].try_into().map_err(|_| damaged())?),
            b"l/" => return Ok(Self::Leftover),
            _ => return Ok(Self::Unknown),
        };
        Ok(Self::Record(record))
    }
}

/// The group that a request made, and the request's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestClaim {
    pub(crate) group: GroupId,
    pub(crate) fingerprint: [u8; 32],
}

impl RequestClaim {
    fn encode(&self) -> Bytes {
        [self.group.as_bytes().as_slice(), &self.fingerprint].concat().into()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (group, fingerprint) = value.split_first_chunk()?;
        Some(Self { group: GroupId(*group), fingerprint: fingerprint.try_into().ok()? })
    }
}

/// Who has an address, or had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressClaim {
    pub(crate) ip: Ipv4Addr,
    /// How often the address was given out, this time included.
    pub(crate) generation: Generation,
    pub(crate) holder: AddressHolder,
}

/// Who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressHolder {
    Group(GroupId),
    /// A group had it, and nobody gets it before the quarantine is over.
    Resting,
    /// Nobody ever used it. Only older programs wrote this.
    Nobody,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredAddress {
    #[prost(fixed32, tag = "1")]
    ip: u32,
    #[prost(uint32, tag = "2")]
    generation: u32,
    #[prost(bytes = "bytes", tag = "3")]
    group_id: Bytes,
    #[prost(bool, tag = "4")]
    resting: bool,
}

impl AddressClaim {
    fn encode(&self) -> Bytes {
        let (group_id, resting) = match self.holder {
            AddressHolder::Group(group) => (group.into(), false),
            AddressHolder::Resting => (Bytes::new(), true),
            AddressHolder::Nobody => (Bytes::new(), false),
        };
        encode(&StoredAddress { ip: self.ip.into(), generation: self.generation.0, group_id, resting })
    }

    fn decode(key: &[u8], value: &Bytes) -> Result<Self, StoreError> {
        let stored: StoredAddress = decode(key, value)?;
        let holder = match (&stored.group_id[..], stored.resting) {
            ([], true) => AddressHolder::Resting,
            ([], false) => AddressHolder::Nobody,
            (group, _) => AddressHolder::Group(GroupId::try_from(group).map_err(|_| StoreError::damaged(key))?),
        };
        Ok(Self { ip: stored.ip.into(), generation: Generation(stored.generation), holder })
    }
}

/// A lasting membership.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StoredMember {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "2")]
    pub(crate) joined_unix_ms: i64,
    /// The address that the member joined from; empty if that is not known.
    #[prost(string, tag = "3")]
    pub(crate) joined_from: String,
}

/// An invite.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StoredInvite {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) group_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) inviter_device_id: Bytes,
    /// Most uses; 0 for no limit.
    #[prost(uint32, tag = "3")]
    pub(crate) uses: u32,
    #[prost(int64, tag = "4")]
    pub(crate) expires_unix_ms: i64,
    #[prost(bool, tag = "5")]
    pub(crate) revoked: bool,
    /// The devices that used it; empty for an invite without limit.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) used_by: Vec<Bytes>,
}

impl StoredInvite {
    /// Returns the group that it lets devices into; decoding checked the id.
    pub(crate) fn group(&self) -> GroupId {
        GroupId::try_from(&self.group_id[..]).unwrap_or(GroupId::NONE)
    }
}

/// The highest seq that a relay reported.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StoredHead {
    #[prost(fixed64, tag = "1")]
    pub(crate) log_id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) head_seq: u64,
    /// The proof that the relay sent with it.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) proof: Bytes,
}

/// A relay or hub, and where it registered from (`None`: this process, or not known).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServiceRecord {
    pub(crate) info: pb::ServiceInfo,
    pub(crate) from: Option<IpAddr>,
}

/// Follows the `ServiceInfo` in the same value: a reader of one skips the other's fields.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct StoredOrigin {
    #[prost(string, tag = "1000")]
    address: String,
}

impl ServiceRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let origin = StoredOrigin { address: self.from.map(|ip| ip.to_string()).unwrap_or_default() };
        [self.info.encode_to_vec(), origin.encode_to_vec()].concat().into()
    }

    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Self, StoreError> {
        let origin: StoredOrigin = decode(key, value)?;
        Ok(Self { info: decode(key, value)?, from: origin.address.parse().ok() })
    }
}

fn encode(message: &impl prost::Message) -> Bytes {
    message.encode_to_vec().into()
}

fn decode<M: prost::Message + Default>(key: &[u8], value: &Bytes) -> Result<M, StoreError> {
    M::decode(value.clone()).map_err(|_| StoreError::damaged(key))
}
