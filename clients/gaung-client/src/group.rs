//! What the registry, relays and hubs tell, checked.

use std::net::Ipv4Addr;

use gaung_proto::{
    ClientId, DeviceId, Generation, GroupAddr, GroupId, GroupName, GroupRetention, GroupTag, LogId, RelayId, Scope,
    Seq, pb::registry as pb,
};

use gaung_engine::MemberLane;

use crate::error::ClientError;

/// What a group's datagrams are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Gaung's own: ordered and repaired.
    Proto,
    /// A datagram is exactly the text: no header, no repair, at most 1400 B.
    Text,
}

/// A group as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Unique for ever.
    pub id: GroupId,
    /// Unique among the groups that exist.
    pub name: GroupName,
    /// How far its datagrams travel.
    pub scope: Scope,
    /// What its datagrams are.
    pub format: Format,
    /// Entered by invite only, carried by TCP only.
    pub private: bool,
    /// Where its datagrams go; where they went, once the address has [lapsed](Self::lapsed).
    pub addr: GroupAddr,
    /// Rises each time the group gets an address, and each time the address is given out.
    pub generation: Generation,
    /// Its relay was away for so long that the address was taken back: TCP alone carries the group until the relay
    /// returns.
    pub lapsed: bool,
    /// The current log.
    pub log: LogId,
    /// The relay that orders it.
    pub relay: RelayId,
    /// Who made it; `None` for `everyone`.
    pub owner: Option<DeviceId>,
    /// IP time to live of its datagrams.
    pub ttl: u8,
    /// `everyone`: cannot be deleted.
    pub reserved: bool,
    /// When it was made, ms since 1970.
    pub created_unix_ms: i64,
    /// How much of its log is kept.
    pub keep: GroupRetention,
    /// The version of its policy, which [`crate::Client::policy`] reads; 0 before anybody has decided anything.
    pub policy_version: u64,
}

impl GroupInfo {
    /// What its datagrams are marked with.
    #[must_use]
    pub fn tag(&self) -> GroupTag {
        GroupTag::of(self.id, self.generation, self.log)
    }

    /// Where its datagrams go; `None` while it has no address.
    #[must_use]
    pub fn heard_at(&self) -> Option<GroupAddr> {
        (!self.lapsed).then_some(self.addr)
    }
}

impl TryFrom<pb::Group> for GroupInfo {
    type Error = ClientError;
    fn try_from(group: pb::Group) -> Result<Self, ClientError> {
        let scope = match group.scope() {
            pb::Scope::Organization => Scope::Organization,
            pb::Scope::Site | pb::Scope::Unspecified => Scope::Site,
        };
        let format = match group.format() {
            pb::Format::Text => Format::Text,
            pb::Format::Proto | pb::Format::Unspecified => Format::Proto,
        };
        let ip: Ipv4Addr = group.address.parse().map_err(|_| bad("a group's address"))?;
        let port = u16::try_from(group.port).map_err(|_| bad("a group's port"))?;
        let owner = match group.owner_device_id.is_empty() {
            true => None,
            false => Some(DeviceId::try_from(&group.owner_device_id[..]).map_err(bad)?),
        };
        Ok(Self {
            id: GroupId::try_from(&group.id[..]).map_err(bad)?,
            name: group.name.parse().map_err(bad)?,
            scope,
            format,
            private: group.private,
            addr: GroupAddr::new(ip, port).map_err(bad)?,
            generation: Generation(group.generation),
            lapsed: group.address_lapsed,
            log: LogId(group.log_id),
            relay: RelayId::try_from(&group.relay_id[..]).map_err(bad)?,
            owner,
            ttl: u8::try_from(group.ttl).unwrap_or(scope.ttl()).max(1),
            reserved: group.reserved,
            created_unix_ms: group.created_unix_ms,
            keep: group.keep.into(),
            policy_version: group.policy_version,
        })
    }
}

/// A group to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Not taken yet.
    pub name: GroupName,
    /// How far its datagrams travel.
    pub scope: Scope,
    /// What its datagrams are.
    pub format: Format,
    /// Entered by invite only, carried by TCP only.
    pub private: bool,
    /// `None`: the registry chooses. Checked by the registry, whose error says what is allowed.
    pub address: Option<Ipv4Addr>,
    /// `None`: the registry chooses.
    pub port: Option<u16>,
    /// How much of its log is kept.
    pub keep: GroupRetention,
}

impl NewGroup {
    /// A public group of site scope with an address from the pool, of which everything is kept.
    #[must_use]
    pub const fn named(name: GroupName) -> Self {
        let keep = GroupRetention { max_age_ms: None, max_bytes: None, max_messages: None };
        Self { name, scope: Scope::Site, format: Format::Proto, private: false, address: None, port: None, keep }
    }
}

impl From<Format> for pb::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Proto => Self::Proto,
            Format::Text => Self::Text,
        }
    }
}

/// A device that is a member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which device.
    pub device: DeviceId,
    /// As it called itself; for display only.
    pub name: String,
    /// One of its processes is here now.
    pub present: bool,
    /// How messages reach it: `multicast`, `tcp`, `broadcast`, or empty.
    pub lane: String,
    /// Since when, ms since 1970.
    pub joined_unix_ms: i64,
}

impl TryFrom<pb::Member> for Member {
    type Error = ClientError;
    fn try_from(member: pb::Member) -> Result<Self, ClientError> {
        Ok(Self {
            device: DeviceId::try_from(&member.device_id[..]).map_err(bad)?,
            name: member.name,
            present: member.present,
            lane: member.lane,
            joined_unix_ms: member.joined_unix_ms,
        })
    }
}

/// A code that lets others into a private group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// 26 characters; hand it on by another way.
    pub code: String,
    /// Until when, ms since 1970.
    pub expires_unix_ms: i64,
}

/// Which of the services that members talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// Orders, stores, multicasts.
    Relay,
    /// Fans out over TCP.
    Hub,
}

/// A relay or hub, with the host at which this client reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInfo {
    /// Which service.
    pub kind: ServiceKind,
    /// 128 random bits kept in its data folder.
    pub id: RelayId,
    /// Host name or address: what it advertises, else the registry's host.
    pub host: String,
    /// gRPC.
    pub grpc_port: u16,
    /// Relay: data plane. Hub: broadcast. 0: none.
    pub udp_port: u16,
    /// Hub: framed TCP. 0: none.
    pub tcp_port: u16,
    /// Hub: text for bare sockets. 0: none.
    pub text_port: u16,
    /// Hub: page and WebSocket. 0: none.
    pub web_port: u16,
    /// False for a relay that keeps its log in memory.
    pub durable: bool,
    /// Of the program.
    pub version: String,
    /// Renewed within its lease.
    pub alive: bool,
}

impl ServiceInfo {
    /// `registry_host`: what an empty `advertise` stands for.
    pub(crate) fn checked(service: pb::ServiceInfo, registry_host: &str) -> Result<Self, ClientError> {
        let kind = match service.kind() {
            pb::ServiceKind::Relay => ServiceKind::Relay,
            pb::ServiceKind::Hub => ServiceKind::Hub,
            pb::ServiceKind::Unspecified => return Err(bad("a service's kind")),
        };
        let port = |port: u32| u16::try_from(port).map_err(|_| bad("a service's port"));
        let host = if service.advertise.is_empty() { registry_host.to_owned() } else { service.advertise };
        Ok(Self {
            kind,
            id: RelayId::try_from(&service.service_id[..]).map_err(bad)?,
            host,
            grpc_port: port(service.grpc_port)?,
            udp_port: port(service.udp_port)?,
            tcp_port: port(service.tcp_port)?,
            text_port: port(service.text_port)?,
            web_port: port(service.web_port)?,
            durable: service.durable,
            version: service.version,
            alive: service.alive,
        })
    }
}

/// What a server consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// The registry as `HOST:PORT`.
    pub server: String,
    /// Of the registry's program.
    pub version: String,
    /// How many groups exist.
    pub group_count: u64,
    /// Relays and hubs.
    pub services: Vec<ServiceInfo>,
    /// Where other servers answer that have this one's identity, as `HOST:PORT`: one of them runs on a copy of the other's data
    /// folder. None in a sound network.
    pub twins: Vec<String>,
}

/// A group's log as its relay has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The log.
    pub log: LogId,
    /// Which opening of it.
    pub epoch: u32,
    /// First seq that it still has.
    pub oldest: Seq,
    /// Last seq; 0 if empty.
    pub head: Seq,
    /// False for a log in memory.
    pub durable: bool,
    /// Members here now, each once: those that sent a STATUS, and the sessions at hubs. None of a private group unless
    /// asked for by [`crate::Client::group_status`].
    pub members: Vec<MemberProgress>,
}

/// How far one member got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberProgress {
    /// Its device.
    pub device: DeviceId,
    /// Its process.
    pub client: ClientId,
    /// Last seq delivered.
    pub delivered: Seq,
    /// Datagrams received, first sent.
    pub received_datagrams: u64,
    /// Datagrams that did not come.
    pub lost_datagrams: u64,
    /// Of those, made good by repair.
    pub repaired_datagrams: u64,
    /// Round trip, µs; 0 if unknown.
    pub round_trip_us: u32,
    /// How it hears; `None` if the relay is older than this.
    pub lane: Option<MemberLane>,
    /// What a text session calls itself; else empty.
    pub name: String,
}

/// What a hub is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubStatus {
    /// Framed sessions.
    pub framed_sessions: u64,
    /// Browsers.
    pub web_sessions: u64,
    /// Text sessions.
    pub text_sessions: u64,
    /// The groups that it follows.
    pub groups: Vec<FollowedGroup>,
}

/// One group that a hub follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedGroup {
    /// Which.
    pub group: GroupId,
    /// Its log.
    pub log: LogId,
    /// Last seq that the hub has.
    pub head: Seq,
    /// How many sessions read it.
    pub sessions: u64,
}

/// An answer with a field that cannot be.
pub(crate) fn bad(what: impl std::fmt::Display) -> ClientError {
    ClientError::Failed(format!("the server sent an answer that makes no sense: {what}; are both of the same version?"))
}
