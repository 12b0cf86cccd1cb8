//! What the store holds: keys and values. Everything read back is checked.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `g/` group id | `StoredGroup` | the group; its creation is what makes a group exist. Never removed, so no id is used twice |
//! | `r/` request id | group id, SHA-256 of the request | a create's claim on its request id |
//! | `n/` name | group id | a claim on a name |
//! | `a/` low 23 bits | `StoredAddress` | a claim on an address, or what is left of one |
//! | `p/` port | group id | a claim on a port that the registry chose |
//! | `m/` group id, device id | `StoredMember` | a lasting membership |
//! | `i/` SHA-256 of the code | `StoredInvite` | an invite |
//! | `h/` group id | `StoredHead` | the highest seq that the relay reported |
//! | `s/` service id | `ServiceInfo` | a relay or hub |
//! | `l/` service id | 16 random bytes | changes while the service renews, for other registries on the store |
//! | `k/signing` | 32 bytes | the Ed25519 seed that signs tickets |
//!
//! A claim is good only while the group it names exists and has what is claimed; a group whose lease lapsed has no
//! address and no port of the registry's choice.

use bytes::Bytes;
use gaung_proto::{
    DeviceId, Generation, GroupAddr, GroupId, GroupName, GroupRetention, LogId, RelayId, Scope, pb::registry as pb,
};
use prost::Message as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::{address::Low23, store::StoreError};

pub(crate) const SIGNING_KEY: &[u8] = b"k/signing";
pub(crate) const GROUPS: &[u8] = b"g/";
pub(crate) const REQUESTS: &[u8] = b"r/";
pub(crate) const NAMES: &[u8] = b"n/";
pub(crate) const ADDRESSES: &[u8] = b"a/";
pub(crate) const PORTS: &[u8] = b"p/";
pub(crate) const MEMBERS: &[u8] = b"m/";
pub(crate) const INVITES: &[u8] = b"i/";
pub(crate) const SERVICES: &[u8] = b"s/";
pub(crate) const MARKS: &[u8] = b"l/";
/// Hashes of the secrets that prove services.
pub(crate) const SECRETS: &[u8] = b"x/";

pub(crate) fn group_key(id: GroupId) -> Vec<u8> {
    [GROUPS, id.as_bytes()].concat()
}
pub(crate) fn request_key(id: RequestId) -> Vec<u8> {
    [REQUESTS, &id.0].concat()
}
pub(crate) fn name_key(name: &GroupName) -> Vec<u8> {
    [NAMES, name.as_str().as_bytes()].concat()
}
pub(crate) fn address_key(address: Low23) -> Vec<u8> {
    [ADDRESSES, &address.bits().to_be_bytes()].concat()
}
pub(crate) fn port_key(port: u16) -> Vec<u8> {
    [PORTS, &port.to_be_bytes()].concat()
}
pub(crate) fn members_prefix(group: GroupId) -> Vec<u8> {
    [MEMBERS, group.as_bytes()].concat()
}
pub(crate) fn member_key(group: GroupId, device: DeviceId) -> Vec<u8> {
    [MEMBERS, group.as_bytes(), device.as_bytes()].concat()
}
pub(crate) fn invite_key(code_hash: &[u8; 32]) -> Vec<u8> {
    [INVITES, code_hash].concat()
}
pub(crate) fn head_key(group: GroupId) -> Vec<u8> {
    [b"h/", group.as_bytes().as_slice()].concat()
}
pub(crate) fn service_key(id: RelayId) -> Vec<u8> {
    [SERVICES, id.as_bytes()].concat()
}
pub(crate) fn mark_key(id: RelayId) -> Vec<u8> {
    [MARKS, id.as_bytes()].concat()
}
pub(crate) fn secret_key(id: RelayId) -> Vec<u8> {
    [SECRETS, id.as_bytes()].concat()
}

/// The group in a key of [`GROUPS`].
pub(crate) fn group_of_key(key: &[u8]) -> Result<GroupId, StoreError> {
    let id = key.strip_prefix(GROUPS).and_then(|id| GroupId::try_from(id).ok());
    id.ok_or_else(|| damaged(key))
}

/// The service in a key of [`MARKS`].
pub(crate) fn service_of_key(key: &[u8]) -> Result<RelayId, StoreError> {
    let id = key.strip_prefix(MARKS).and_then(|id| RelayId::try_from(id).ok());
    id.ok_or_else(|| damaged(key))
}

/// The low 23 bits in a key of [`ADDRESSES`].
pub(crate) fn address_of_key(key: &[u8]) -> Result<Low23, StoreError> {
    let bits = key.strip_prefix(ADDRESSES).and_then(|bits| bits.try_into().ok()).map(u32::from_be_bytes);
    bits.and_then(Low23::from_bits).ok_or_else(|| damaged(key))
}

/// The port in a key of [`PORTS`].
pub(crate) fn port_of_key(key: &[u8]) -> Result<u16, StoreError> {
    let port = key.strip_prefix(PORTS).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
    port.ok_or_else(|| damaged(key))
}

/// One wish to make a group: 16 random bytes of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

/// A group that exists or existed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Unique for ever.
    pub id: GroupId,
    /// Unique while the group exists.
    pub name: GroupName,
    /// How far it reaches.
    pub scope: Scope,
    /// What its datagrams are; never `Unspecified`.
    pub format: pb::Format,
    /// TCP only, by invite.
    pub private: bool,
    /// Unique in the low 23 bits while the group has it: the last one it had, once [`Self::lapsed`].
    pub addr: GroupAddr,
    /// Rises each time the group gets an address, and each time the address is given out.
    pub generation: Generation,
    /// Its relay was silent for so long that the address was taken back.
    pub lapsed: bool,
    /// The address that the operator asked for.
    pub own_address: Option<Ipv4Addr>,
    /// The current log.
    pub log: LogId,
    /// The relay that it is bound to.
    pub relay: RelayId,
    /// Who made it; none for `everyone`.
    pub owner: DeviceId,
    /// For display.
    pub owner_name: String,
    /// `everyone`.
    pub reserved: bool,
    /// When it was made.
    pub created_unix_ms: i64,
    /// The request that made it.
    pub request: RequestId,
    /// The registry chose the port, so a claim on it stands in the store.
    pub port_claimed: bool,
    /// The owner no longer is a member.
    pub owner_left: bool,
    /// How much of its log is kept.
    pub keep: GroupRetention,
    /// The signed call that began the current log, encoded; empty if no reset did. It has the owner's public key, so only
    /// the group's relay is shown it.
    pub reset: Bytes,
    /// The address that it was made from; `None` if that is not known, or was this process.
    pub made_from: Option<IpAddr>,
}

impl Group {
    /// As the schema has it.
    #[must_use]
    pub fn to_pb(&self) -> pb::Group {
        pb::Group {
            id: self.id.into(),
            name: self.name.to_string(),
            scope: pb::Scope::from(self.scope).into(),
            format: self.format.into(),
            private: self.private,
            address: self.addr.ip().to_string(),
            port: self.addr.port().into(),
            generation: self.generation.0,
            log_id: self.log.0,
            relay_id: self.relay.into(),
            owner_device_id: if self.owner.is_none() { Bytes::new() } else { self.owner.into() },
            ttl: self.scope.ttl().into(),
            reserved: self.reserved,
            created_unix_ms: self.created_unix_ms,
            address_lapsed: self.lapsed,
            keep: self.keep.to_pb(),
        }
    }

    /// Whether the address is this group's now.
    #[must_use]
    pub fn holds(&self, ip: Ipv4Addr) -> bool {
        !self.lapsed && self.addr.ip() == ip
    }

    /// Whether the port is this group's now, by the registry's choice.
    #[must_use]
    pub fn holds_port(&self, port: u16) -> bool {
        !self.lapsed && self.port_claimed && self.addr.port() == port
    }

    /// The key of its address.
    #[must_use]
    pub fn address(&self) -> Low23 {
        Low23::of(self.addr.ip())
    }
}

/// What has become of a group id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It exists.
    Live(Group),
    /// It existed.
    Deleted { group: Group, at_unix_ms: i64 },
    /// Its making was given up; it never existed and never will.
    Aborted,
}

impl Fate {
    pub(crate) fn encode(&self) -> Bytes {
        let (state, group, ended_unix_ms) = match self {
            Self::Live(group) => (State::Live, Some(group), 0),
            Self::Deleted { group, at_unix_ms } => (State::Deleted, Some(group), *at_unix_ms),
            Self::Aborted => (State::Aborted, None, 0),
        };
        let stored = StoredGroup {
            state: state.into(),
            ended_unix_ms,
            group: group.map(Group::to_pb),
            request_id: group.map(|g| Bytes::copy_from_slice(&g.request.0)).unwrap_or_default(),
            owner_name: group.map(|g| g.owner_name.clone()).unwrap_or_default(),
            port_claimed: group.is_some_and(|g| g.port_claimed),
            owner_left: group.is_some_and(|g| g.owner_left),
            own_address: group.and_then(|g| g.own_address).map_or(0, u32::from),
            reset: group.map(|g| g.reset.clone()).unwrap_or_default(),
            made_from: group.and_then(|g| g.made_from).map(|ip| ip.to_string()).unwrap_or_default(),
        };
        stored.encode_to_vec().into()
    }

    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Self, StoreError> {
        let damaged = || damaged(key);
        let stored = StoredGroup::decode(value.clone()).map_err(|_| damaged())?;
        let group = || stored.to_group().ok_or_else(damaged);
        match State::try_from(stored.state).map_err(|_| damaged())? {
            State::Unspecified => Err(damaged()),
            State::Live => Ok(Self::Live(group()?)),
            State::Deleted => Ok(Self::Deleted { group: group()?, at_unix_ms: stored.ended_unix_ms }),
            State::Aborted => Ok(Self::Aborted),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum State {
    Unspecified = 0,
    Live = 1,
    Deleted = 2,
    Aborted = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredGroup {
    #[prost(enumeration = "State", tag = "1")]
    state: i32,
    #[prost(message, optional, tag = "2")]
    group: Option<pb::Group>,
    #[prost(bytes = "bytes", tag = "3")]
    request_id: Bytes,
    #[prost(string, tag = "4")]
    owner_name: String,
    #[prost(bool, tag = "5")]
    port_claimed: bool,
    #[prost(bool, tag = "6")]
    owner_left: bool,
    #[prost(int64, tag = "7")]
    ended_unix_ms: i64,
    /// 0: the registry chose.
    #[prost(fixed32, tag = "8")]
    own_address: u32,
    #[prost(bytes = "bytes", tag = "9")]
    reset: Bytes,
    #[prost(string, tag = "10")]
    made_from: String,
}

impl StoredGroup {
    fn to_group(&self) -> Option<Group> {
        let group = self.group.as_ref()?;
        let owner = &group.owner_device_id;
        Some(Group {
            id: GroupId::try_from(&group.id[..]).ok()?,
            name: group.name.parse().ok()?,
            scope: match group.scope() {
                pb::Scope::Unspecified => return None,
                pb::Scope::Site => Scope::Site,
                pb::Scope::Organization => Scope::Organization,
            },
            format: Some(group.format()).filter(|format| *format != pb::Format::Unspecified)?,
            private: group.private,
            addr: GroupAddr::new(group.address.parse().ok()?, group.port.try_into().ok()?).ok()?,
            generation: Generation(group.generation),
            lapsed: group.address_lapsed,
            own_address: Some(self.own_address).filter(|ip| *ip != 0).map(Ipv4Addr::from),
            log: LogId(group.log_id),
            relay: RelayId::try_from(&group.relay_id[..]).ok()?,
            owner: if owner.is_empty() { DeviceId::NONE } else { DeviceId::try_from(&owner[..]).ok()? },
            owner_name: self.owner_name.clone(),
            reserved: group.reserved,
            created_unix_ms: group.created_unix_ms,
            request: RequestId(self.request_id[..].try_into().ok()?),
            port_claimed: self.port_claimed,
            owner_left: self.owner_left,
            keep: group.keep.into(),
            reset: self.reset.clone(),
            made_from: self.made_from.parse().ok(),
        })
    }
}

/// A request id's claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestClaim {
    pub(crate) group: GroupId,
    pub(crate) fingerprint: [u8; 32],
}

impl RequestClaim {
    pub(crate) fn encode(&self) -> Bytes {
        [self.group.as_bytes().as_slice(), &self.fingerprint].concat().into()
    }

    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let parts = value.split_first_chunk().and_then(|(group, rest)| Some((group, rest.try_into().ok()?)));
        let (group, fingerprint) = parts.ok_or_else(|| damaged(key))?;
        Ok(Self { group: GroupId(*group), fingerprint })
    }
}

/// The group id that is the value of a name's or a port's claim.
pub(crate) fn claimant(key: &[u8], value: &[u8]) -> Result<GroupId, StoreError> {
    GroupId::try_from(value).map_err(|_| damaged(key))
}

/// An address's claim, or its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressClaim {
    pub(crate) ip: Ipv4Addr,
    /// How often it was given out, this time included.
    pub(crate) generation: Generation,
    pub(crate) holder: Holder,
}

/// Who has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Group(GroupId),
    /// A group had it: not before the quarantine is over.
    Resting,
    /// Nobody ever used it.
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
    pub(crate) fn encode(&self) -> Bytes {
        let (group_id, resting) = match self.holder {
            Holder::Group(group) => (group.into(), false),
            Holder::Resting => (Bytes::new(), true),
            Holder::Nobody => (Bytes::new(), false),
        };
        StoredAddress { ip: self.ip.into(), generation: self.generation.0, group_id, resting }.encode_to_vec().into()
    }

    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Self, StoreError> {
        let stored = StoredAddress::decode(value.clone()).map_err(|_| damaged(key))?;
        let holder = match (&stored.group_id[..], stored.resting) {
            ([], true) => Holder::Resting,
            ([], false) => Holder::Nobody,
            (group, _) => Holder::Group(GroupId::try_from(group).map_err(|_| damaged(key))?),
        };
        Ok(Self { ip: stored.ip.into(), generation: Generation(stored.generation), holder })
    }
}

/// A lasting membership.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredMember {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(int64, tag = "2")]
    pub(crate) joined_unix_ms: i64,
    /// The address that it was written from; empty if that is not known.
    #[prost(string, tag = "3")]
    pub(crate) joined_from: String,
}

/// An invite; the code itself is nowhere.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredInvite {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) group_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) maker_device_id: Bytes,
    /// 0: no limit.
    #[prost(uint32, tag = "3")]
    pub(crate) uses: u32,
    #[prost(int64, tag = "4")]
    pub(crate) expires_unix_ms: i64,
    #[prost(bool, tag = "5")]
    pub(crate) revoked: bool,
    /// Who used it, each device once; empty for an invite without limit.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(crate) used_by: Vec<Bytes>,
}

/// The highest seq that was reported.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredHead {
    #[prost(fixed64, tag = "1")]
    pub(crate) log_id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) head_seq: u64,
    /// As the relay sent it.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) proof: Bytes,
}

/// Where a service registered from, stored behind its `ServiceInfo`: readers of the one skip the other.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredOrigin {
    #[prost(string, tag = "1000")]
    pub(crate) address: String,
}

/// Reads a value made by prost.
pub(crate) fn decode<M: prost::Message + Default>(key: &[u8], value: &Bytes) -> Result<M, StoreError> {
    M::decode(value.clone()).map_err(|_| damaged(key))
}

pub(crate) fn damaged(key: &[u8]) -> StoreError {
    StoreError::Damaged(key.escape_ascii().to_string())
}
