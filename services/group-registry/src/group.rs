//! A group, and its record in the store.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use bytes::Bytes;
use gaung_proto::{
    DeviceId, Generation, GroupAddr, GroupId, GroupName, GroupRetention, LogId, RelayId, Scope,
    pb::registry as pb,
    policy::{Policy, PolicyRefusal, SignedPolicy},
    signing::ticket_holder,
};
use prost::Message as _;

use crate::{address::Low23, store::StoreError};

/// Identifies one request to make a group, its repeats included: 16 random bytes of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

/// A group that exists or existed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The id, which is never used again.
    pub id: GroupId,
    /// The name, unique while the group exists.
    pub name: GroupName,
    /// How far its datagrams go.
    pub scope: Scope,
    /// What its datagrams carry; never `Unspecified`.
    pub format: pb::Format,
    /// Whether it is joined by invite and carried by TCP alone.
    pub private: bool,
    /// Unique in the low 23 bits while the group has it: the last one it had, once [`Self::lapsed`].
    pub addr: GroupAddr,
    /// A number that rises each time the group gets an address and each time the address is given out.
    pub generation: Generation,
    /// Whether the address lease has lapsed because the relay was silent.
    pub lapsed: bool,
    /// The address that the operator asked for.
    pub own_address: Option<Ipv4Addr>,
    /// The current log.
    pub log: LogId,
    /// The relay that it is bound to.
    pub relay: RelayId,
    /// The device that made it; none for `everyone`.
    pub owner: DeviceId,
    /// The owner's name, for display.
    pub owner_name: String,
    /// Whether this is the reserved group `everyone`.
    pub reserved: bool,
    /// When it was made, in Unix time in ms.
    pub created_unix_ms: i64,
    /// The request that made it.
    pub request: RequestId,
    /// Whether the registry chose the port, so that the store holds a claim on it.
    pub port_claimed: bool,
    /// Whether the owner has left.
    pub owner_left: bool,
    /// How much of its log is kept.
    pub keep: GroupRetention,
    /// Who has a role in it, and who is banned, muted or kicked; `None` before anybody has decided that.
    pub policy: Option<Arc<SignedPolicy>>,
    /// The signed call that began the current log, encoded; empty if no reset did. It has the owner's public key, so only
    /// the group's relay is shown it.
    pub reset: Bytes,
    /// The address that it was made from; `None` if that is not known or was this process.
    pub made_from: Option<IpAddr>,
}

impl Group {
    /// Converts the group to the schema's message, without its policy, which may be long.
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
            policy_version: self.policy_version(),
            policy: Bytes::new(),
        }
    }

    /// Converts the group to the schema's message, with its policy.
    #[must_use]
    pub fn to_pb_with_policy(&self) -> pb::Group {
        let policy = self.policy.as_ref().map(|signed| signed.encoded().clone());
        pb::Group { policy: policy.unwrap_or_default(), ..self.to_pb() }
    }

    /// Returns the version of its policy; 0 before there is one.
    #[must_use]
    pub fn policy_version(&self) -> u64 {
        self.policy.as_ref().map_or(0, |signed| signed.policy().version)
    }

    /// Returns its policy, which may be that nobody has decided anything.
    #[must_use]
    pub fn current_policy(&self) -> Policy {
        self.policy.as_ref().map_or_else(|| Policy::unset(self.id), |signed| signed.policy().clone())
    }

    /// Checks that the device is not banned.
    ///
    /// # Errors
    /// [`PolicyRefusal::Banned`].
    pub(crate) fn check_member(&self, device: DeviceId) -> Result<(), PolicyRefusal> {
        self.policy.as_ref().map_or(Ok(()), |signed| signed.policy().check_member(device))
    }

    /// Returns whether a verified ticket is still good after its device may have been banned or kicked.
    pub(crate) fn honours(&self, ticket: &[u8]) -> bool {
        let Some(signed) = &self.policy else { return true };
        ticket_holder(ticket).is_some_and(|(device, version)| signed.policy().check_ticket(device, version).is_ok())
    }

    /// Returns the port that the registry chose for the group and that it has now.
    #[must_use]
    pub fn claimed_port(&self) -> Option<u16> {
        (self.port_claimed && !self.lapsed).then(|| self.addr.port())
    }

    /// Returns the low 23 bits of its address, which are the address's key.
    #[must_use]
    pub fn address(&self) -> Low23 {
        Low23::of(self.addr.ip())
    }
}

/// The record of a group id, which is never removed, so that no id is used twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupRecord {
    /// The group exists.
    Live(Arc<Group>),
    /// The group was deleted.
    Deleted { group: Arc<Group>, at_unix_ms: i64 },
}

impl GroupRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let (state, group, ended_unix_ms) = match self {
            Self::Live(group) => (StoredState::Live, group, 0),
            Self::Deleted { group, at_unix_ms } => (StoredState::Deleted, group, *at_unix_ms),
        };
        let stored = StoredGroup {
            state: state.into(),
            ended_unix_ms,
            group: Some(group.to_pb_with_policy()),
            request_id: Bytes::copy_from_slice(&group.request.0),
            owner_name: group.owner_name.clone(),
            port_claimed: group.port_claimed,
            owner_left: group.owner_left,
            own_address: group.own_address.map_or(0, u32::from),
            reset: group.reset.clone(),
            made_from: group.made_from.map(|ip| ip.to_string()).unwrap_or_default(),
        };
        stored.encode_to_vec().into()
    }

    /// Decodes a record; `Ok(None)` for a group whose making an older program gave up, so that it never existed.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Option<Self>, StoreError> {
        let damaged = || StoreError::damaged(key);
        let stored = StoredGroup::decode(value.clone()).map_err(|_| damaged())?;
        let group = || stored.to_group().map(Arc::new).ok_or_else(damaged);
        match StoredState::try_from(stored.state).map_err(|_| damaged())? {
            StoredState::Unspecified => Err(damaged()),
            StoredState::Live => Ok(Some(Self::Live(group()?))),
            StoredState::Deleted => Ok(Some(Self::Deleted { group: group()?, at_unix_ms: stored.ended_unix_ms })),
            StoredState::Aborted => Ok(None),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum StoredState {
    Unspecified = 0,
    Live = 1,
    Deleted = 2,
    Aborted = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredGroup {
    #[prost(enumeration = "StoredState", tag = "1")]
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
    /// The operator's address; 0 if the registry chose one.
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
            scope: scope(group.scope())?,
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
            policy: if group.policy.is_empty() {
                None
            } else {
                Some(Arc::new(SignedPolicy::decode(&group.policy).ok()?))
            },
            reset: self.reset.clone(),
            made_from: self.made_from.parse().ok(),
        })
    }
}

/// Converts the schema's scope; `None` for `Unspecified`.
pub(crate) fn scope(scope: pb::Scope) -> Option<Scope> {
    match scope {
        pb::Scope::Unspecified => None,
        pb::Scope::Site => Some(Scope::Site),
        pb::Scope::Organization => Some(Scope::Organization),
    }
}

/// A group for tests; `n` tells it from others.
#[cfg(test)]
pub(crate) fn sample(n: u8) -> Group {
    Group {
        id: GroupId([n; 16]),
        name: format!("g{n}").parse().expect("a name"),
        scope: Scope::Site,
        format: pb::Format::Proto,
        private: false,
        addr: GroupAddr::new(Ipv4Addr::new(239, 255, 1, n), 20000).expect("an address"),
        generation: Generation(1),
        lapsed: false,
        own_address: None,
        log: LogId(1),
        relay: RelayId([7; 16]),
        owner: DeviceId([1; 16]),
        owner_name: "Ann".to_owned(),
        reserved: false,
        created_unix_ms: 0,
        request: RequestId([n; 16]),
        port_claimed: true,
        owner_left: false,
        keep: GroupRetention::default(),
        policy: None,
        reset: Bytes::new(),
        made_from: None,
    }
}
