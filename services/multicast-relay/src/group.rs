//! A group as the registry describes it, checked.

use std::{iter, net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use gaung_proto::{
    DeviceId, Generation, GroupAddr, GroupId, GroupRetention, GroupTag, LogId, RelayId,
    pb::registry::{self as pb, Format},
    policy::SignedPolicy,
};
use prost::Message as _;

/// Configuration of a group. It is stored beside the group's log in the registry's own encoding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupConfig {
    pub(crate) id: GroupId,
    /// Shown in messages to people; logged at debug level only, for names are private.
    pub(crate) name: String,
    pub(crate) lane: GroupLane,
    pub(crate) private: bool,
    /// The lease of the address lapsed: the registry may have given it to another group, and will give this one another.
    pub(crate) lapsed: bool,
    pub(crate) addr: GroupAddr,
    pub(crate) generation: Generation,
    pub(crate) log: LogId,
    pub(crate) relay: RelayId,
    pub(crate) ttl: u8,
    /// Limits on the age and size of the group's log.
    pub(crate) keep: GroupRetention,
    /// Who has a role, and who is banned, muted or kicked; `None` before anybody has decided that.
    pub(crate) policy: Option<Arc<SignedPolicy>>,
    /// Logs that were the group's and gave way to this one, the newest last. Only this relay knows them.
    pub(crate) former: Vec<LogId>,
    source: pb::Group,
}

/// Former logs that are remembered for one group.
const FORMER_LOGS: usize = 16;

/// Stored behind the registry's `Group`: protobuf readers of the one skip the other's unknown fields.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredFormer {
    #[prost(fixed64, repeated, tag = "1000")]
    logs: Vec<u64>,
}

/// How a group's messages leave the relay by multicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupLane {
    /// Datagrams of the protocol, repaired; while the group has no address only to members that ask.
    Proto,
    /// Bare text, one message a datagram, for programs that do not speak the protocol.
    Text,
    /// Nothing: a private group, as datagrams are not encrypted, or a text group whose address lease lapsed.
    Closed,
}

/// The registry described a group in a way that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the registry's description of a group has a bad {0}")]
pub(crate) struct GroupConfigError(&'static str);

impl GroupConfig {
    /// Decodes a config that was stored beside a log.
    pub(crate) fn from_stored(bytes: &Bytes) -> Result<Self, GroupConfigError> {
        let group = pb::Group::decode(bytes.clone()).map_err(|_| GroupConfigError("encoding"))?;
        let former = StoredFormer::decode(bytes.clone()).map_err(|_| GroupConfigError("encoding"))?;
        Ok(Self { former: former.logs.into_iter().map(LogId).collect(), ..Self::try_from(group)? })
    }

    /// Encodes the config to be stored beside the log.
    pub(crate) fn to_stored(&self) -> Bytes {
        let former = StoredFormer { logs: self.former.iter().map(|log| log.0).collect() };
        [self.source.encode_to_vec(), former.encode_to_vec()].concat().into()
    }

    /// Returns the device that made the group; `None` for a reserved group.
    pub(crate) fn owner(&self) -> Option<DeviceId> {
        DeviceId::try_from(&self.source.owner_device_id[..]).ok()
    }

    /// Whether the group is one of the registry's own, which nobody owns.
    pub(crate) const fn is_reserved(&self) -> bool {
        self.source.reserved
    }

    /// Merges what the registry says now into what this relay has stored (`known`): the owner never changes, and the former
    /// logs, which the relay alone knows, stay.
    pub(crate) fn after(mut self, known: &Self) -> Self {
        self.source.owner_device_id.clone_from(&known.source.owner_device_id);
        self.source.reserved = known.source.reserved;
        self.former.clone_from(&known.former);
        self
    }

    /// Returns the config with `log` remembered as a former log.
    pub(crate) fn superseding(&self, log: LogId) -> Self {
        let mut former = self.former.clone();
        former.retain(|known| *known != log);
        former.push(log);
        former.drain(..former.len().saturating_sub(FORMER_LOGS));
        Self { former, ..self.clone() }
    }

    /// Returns the config with another log.
    pub(crate) fn with_log(&self, log: LogId) -> Self {
        let source = pb::Group { log_id: log.0, ..self.source.clone() };
        Self { log, source, ..self.clone() }
    }

    /// Returns the config with other limits of its log.
    pub(crate) fn with_keep(&self, keep: GroupRetention) -> Self {
        let source = pb::Group { keep: keep.to_pb(), ..self.source.clone() };
        Self { keep, source, ..self.clone() }
    }

    /// Returns the config with the policy of `other`.
    pub(crate) fn with_policy_of(&self, other: &Self) -> Self {
        let pb::Group { policy, policy_version, .. } = other.source.clone();
        let source = pb::Group { policy, policy_version, ..self.source.clone() };
        Self { policy: other.policy.clone(), source, ..self.clone() }
    }

    /// Returns the tag of datagrams at the group's present address.
    pub(crate) fn tag(&self) -> GroupTag {
        GroupTag::of(self.id, self.generation, self.log)
    }

    /// Returns all tags under which members may write to the relay: of the present address and of former ones.
    pub(crate) fn tags(&self) -> Vec<GroupTag> {
        iter::once(self.tag()).chain(GroupTag::former(self.id, self.generation, self.log)).collect()
    }

    /// Whether the opening can go on under `other`: the same log at another address, without one, with other limits or another
    /// policy.
    pub(crate) fn moves_to(&self, other: &Self) -> bool {
        let Self {
            id,
            name,
            lane,
            private,
            log,
            relay,
            lapsed: _,
            addr: _,
            generation: _,
            ttl: _,
            keep: _,
            policy: _,
            former: _,
            source: _,
        } = other;
        let is_same = (&self.id, &self.name, self.private, self.log) == (id, name, *private, *log);
        is_same && self.relay == *relay && self.lane == GroupLane::Proto && *lane == GroupLane::Proto
    }
}

impl TryFrom<pb::Group> for GroupConfig {
    type Error = GroupConfigError;

    fn try_from(group: pb::Group) -> Result<Self, GroupConfigError> {
        let bad = GroupConfigError;
        let ip: Ipv4Addr = group.address.parse().map_err(|_| bad("address"))?;
        let port = u16::try_from(group.port).map_err(|_| bad("port"))?;
        let text = match group.format() {
            Format::Proto => false,
            Format::Text => true,
            Format::Unspecified => return Err(bad("format")),
        };
        Ok(Self {
            id: GroupId::try_from(&group.id[..]).map_err(|_| bad("id"))?,
            name: group.name.clone(),
            lane: match (group.private, text, group.address_lapsed) {
                (true, _, _) | (false, true, true) => GroupLane::Closed,
                (false, true, false) => GroupLane::Text,
                (false, false, _) => GroupLane::Proto,
            },
            private: group.private,
            lapsed: group.address_lapsed,
            addr: GroupAddr::new(ip, port).map_err(|_| bad("address"))?,
            generation: Generation(group.generation),
            log: LogId(group.log_id),
            relay: RelayId::try_from(&group.relay_id[..]).map_err(|_| bad("relay id"))?,
            ttl: u8::try_from(group.ttl).ok().filter(|&ttl| ttl > 0).ok_or(bad("ttl"))?,
            keep: group.keep.into(),
            policy: match &group.policy {
                none if none.is_empty() => None,
                signed => Some(Arc::new(SignedPolicy::decode(signed).map_err(|_| bad("policy"))?)),
            },
            former: Vec::new(),
            source: group,
        })
    }
}
