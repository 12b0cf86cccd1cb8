//! The findings as data; [`super::words`] describes them.

mod peer;
mod server;

use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) use peer::{Direction, PassageName, PeerTrouble};
use serde::Serialize;
pub(crate) use server::ServerTrouble;

use super::{
    facts::{EchoOutcome, Kind, ProbedTraffic},
    firewall::Culprit,
};

/// A finding that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its interface; `None` if it is of the whole machine.
    pub(crate) interface: Option<String>,
    /// What is wrong.
    pub(crate) trouble: Trouble,
}

/// The severity of a finding; worse is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, and no fault.
    Note,
    /// Something may fail, or fails for some.
    Warning,
    /// Something does not work.
    Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The requested interface cannot be used, for this reason.
    CannotChoose(String),
    /// No interface but `lo` can be used.
    OnlyLoopback {
        /// What makes another one usable.
        remedy: Remedy,
    },
    /// No interface but this one of containers or a tunnel can be used.
    OnlyContainerOrVpn(Kind),
    /// It has an address and is down.
    Down,
    /// It has an address, is up, and has no carrier.
    NoCarrier,
    /// Its multicast flag is off.
    CannotMulticast,
    /// It is up, with a carrier, and has no IPv4 address.
    NoAddress {
        /// Its Ethernet address, of which a link-local address is made.
        mac: Option<[u8; 6]>,
    },
    /// Multicast over Wi-Fi.
    Wifi,
    /// Made by software, and used beside real cards.
    SoftwareOnly,
    /// The system's default interface for multicast is none that Gaung uses.
    RouteElsewhere {
        /// That interface.
        to: String,
        /// What it is for.
        kind: Kind,
        /// One that Gaung uses.
        ours: String,
    },
    /// There is no multicast route, so programs that name no interface cannot multicast.
    NoRoute {
        /// One that Gaung uses.
        ours: String,
        /// Whether there is a default route, so that another route or rule keeps multicast from it.
        has_default: bool,
    },
    /// The largest datagrams do not fit the MTU.
    SmallMtu {
        /// What it has.
        mtu: u32,
        /// What the largest datagram needs.
        wanted: u32,
        /// Whether only datagrams of text groups do not fit.
        text_only: bool,
    },
    /// The broadcast address is not that of the mask.
    WrongBroadcast {
        /// The own address with its mask's length.
        address: (Ipv4Addr, u32),
        /// What it has.
        has: Ipv4Addr,
        /// What it should have.
        should: Ipv4Addr,
    },
    /// The network has no broadcast address.
    NoBroadcast {
        /// Length of the mask.
        prefix: u32,
    },
    /// The route back to the network leads elsewhere, and the reverse path filter drops what comes from it.
    ReversePath {
        /// The interface of the route back; `None` if there is no route.
        back: Option<String>,
        /// The network, by its first address and the mask's length.
        network: (Ipv4Addr, u32),
        /// Whether the filter is strict, not loose.
        strict: bool,
    },
    /// A route sends multicast of this interface to a gateway instead of the network.
    MulticastGateway {
        /// The gateway.
        gateway: Ipv4Addr,
    },
    /// Packets to the own network leave by another interface, go to a gateway, or have no route.
    LanElsewhere {
        /// One such address.
        to: Ipv4Addr,
        /// The interface or gateway, or what the system says.
        instead: String,
    },
    /// Whether a filter lets this pass cannot be read from its rules, and nothing tried it out.
    FilterUnclear {
        /// The packets in question.
        what: Vec<Needed>,
        /// The first rule that perhaps drops it.
        suspect: Option<Culprit>,
    },
    /// A group of the server cannot be listened to here.
    GroupRefused {
        /// Its name.
        group: String,
        /// Its address.
        address: SocketAddrV4,
        /// Why.
        why: String,
    },
    /// The system uses IGMPv1.
    OldIgmp {
        /// Whether a setting forces it.
        forced: bool,
    },
    /// Own multicast or broadcast datagrams do not come back.
    NotHeard {
        /// The kind of traffic.
        way: ProbedTraffic,
        /// Their destination.
        to: SocketAddrV4,
        /// Their outcome.
        outcome: EchoOutcome,
        /// A rule that perhaps drops it.
        suspect: Option<Culprit>,
    },
    /// A group's sockets may not join on each interface.
    FewMemberships {
        /// The setting.
        limit: u32,
        /// What each of them needs.
        needed: u32,
    },
    /// The receive buffer is so small that bursts are lost.
    SmallBuffer {
        /// The size that it gets.
        got_bytes: usize,
        /// The size that Gaung requests.
        wanted_bytes: usize,
        /// Whether it is below Linux's default.
        lowered: bool,
    },
    /// Membership reports do not leave this machine.
    ReportsEaten {
        /// The rule that drops them, or perhaps does.
        culprit: Option<Culprit>,
    },
    /// Queries arrive and the system drops them.
    QueriesEaten {
        /// The querier.
        querier: Ipv4Addr,
        /// The rule that drops them, or perhaps does.
        culprit: Option<Culprit>,
        /// Whether the reverse path filter drops them, because the route to the querier does not lead here.
        no_way_back: bool,
    },
    /// There is no IGMP querier.
    NoQuerier {
        /// Whether the interface is a local bridge, which could be the querier.
        bridge: bool,
    },
    /// A local bridge sends multicast to all its ports.
    BridgeFloods {
        /// Whether it would prune if there were a querier.
        snooping: bool,
    },
    /// A local bridge does not flood this port.
    PortDoesNotFlood {
        /// The port.
        port: String,
        /// Whether it lacks multicast.
        multicast: bool,
        /// Whether it lacks broadcast.
        broadcast: bool,
    },
    /// A filter rule drops what Gaung needs.
    Filtered {
        /// The packets that it drops.
        what: Needed,
        /// The rule.
        culprit: Culprit,
    },
    /// Foreign traffic is sent to a group's address.
    Foreign {
        /// The group.
        group: String,
        /// Its address.
        address: SocketAddrV4,
        /// The sender.
        from: SocketAddrV4,
        /// How many datagrams came.
        datagrams: u64,
        /// Whether another Gaung sends it.
        gaung: bool,
    },
    /// Servers share one identity: their data folders are copies.
    CopiedFolder {
        /// One address of each.
        servers: Vec<SocketAddrV4>,
    },
    /// Something is wrong with a server's security.
    Server {
        /// Its address.
        address: String,
        /// What is wrong.
        trouble: ServerTrouble,
    },
    /// Something is wrong between this machine and another.
    Peer {
        /// The other machine.
        host: String,
        /// What is wrong.
        trouble: PeerTrouble,
    },
}

/// What makes an interface usable, where none is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// This one has an address and is down.
    Up(String),
    /// This one is up, with a carrier, and has no address.
    Address {
        /// Its name.
        name: String,
        /// Its Ethernet address.
        mac: Option<[u8; 6]>,
    },
    /// There is no interface that a command could make usable.
    Cable,
}

/// What a filter must let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    /// IGMP queries, received.
    IgmpIn,
    /// IGMP reports, sent.
    IgmpOut,
    /// Datagrams of one kind of traffic, received.
    In(ProbedTraffic),
    /// Datagrams of one kind of traffic, sent.
    Out(ProbedTraffic),
    /// Datagrams of a part of all groups.
    Groups(GroupPart),
    /// Members' datagrams to the relay, on the machine that serves.
    Relay,
    /// Datagrams to the relay, on a member's machine.
    RelayOut,
    /// TCP, on the machine that serves.
    Tcp(Vec<u16>),
    /// TCP to a server.
    TcpOut(Vec<u16>),
    /// Answers of servers to a search for them.
    Answers {
        /// Whether answers were seen to arrive.
        seen: bool,
        /// Whether servers were found in another way.
        found: bool,
    },
}

/// A part of the groups that a filter treats differently from the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPart {
    /// Whether it is received, not sent.
    pub(crate) incoming: bool,
    /// The endpoint of one of them.
    pub(crate) example: SocketAddrV4,
    /// The name of a group of the server, if one is affected.
    pub(crate) group: Option<String>,
    /// Whether only the organization's scope (239.192.0.0/14) is affected, which groups have on request.
    pub(crate) only_organization: bool,
}

impl Needed {
    /// Returns how severe it is if this is dropped.
    const fn severity(&self) -> Severity {
        match self {
            Self::IgmpIn | Self::IgmpOut | Self::In(_) | Self::Out(_) | Self::TcpOut(_) => Severity::Problem,
            Self::Groups(part) if !part.only_organization || part.group.is_some() => Severity::Problem,
            // Only a machine that serves needs the first two; what a member cannot ask the relay for comes by TCP.
            Self::Relay | Self::Tcp(_) | Self::RelayOut | Self::Answers { seen: true, .. } => Severity::Warning,
            // There may be no such groups, or no server that would answer.
            Self::Groups(_) | Self::Answers { seen: false, .. } => Severity::Note,
        }
    }
}

impl Trouble {
    /// Returns the severity.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::CannotChoose(_)
            | Self::OnlyLoopback { .. }
            | Self::OnlyContainerOrVpn(_)
            | Self::CannotMulticast
            | Self::SmallMtu { text_only: false, .. }
            | Self::ReversePath { .. }
            | Self::MulticastGateway { .. }
            | Self::LanElsewhere { .. }
            | Self::GroupRefused { .. }
            | Self::NotHeard { .. }
            | Self::FewMemberships { .. }
            | Self::CopiedFolder { .. }
            | Self::ReportsEaten { .. }
            | Self::QueriesEaten { .. } => Severity::Problem,
            Self::Server { trouble, .. } => trouble.severity(),
            Self::Peer { trouble, .. } => trouble.severity(),
            Self::Filtered { what, .. } => what.severity(),
            Self::RouteElsewhere { kind: Kind::Container | Kind::Vpn, .. } => Severity::Warning,
            Self::SmallBuffer { lowered: true, .. } => Severity::Warning,
            Self::Down
            | Self::NoCarrier
            | Self::SoftwareOnly
            | Self::SmallMtu { .. }
            | Self::WrongBroadcast { .. }
            | Self::NoBroadcast { .. }
            | Self::OldIgmp { .. }
            | Self::PortDoesNotFlood { .. }
            | Self::NoQuerier { .. }
            | Self::Foreign { .. } => Severity::Warning,
            Self::NoAddress { .. }
            | Self::FilterUnclear { .. }
            | Self::Wifi
            | Self::RouteElsewhere { .. }
            | Self::NoRoute { .. }
            | Self::SmallBuffer { .. }
            | Self::BridgeFloods { .. } => Severity::Note,
        }
    }

    /// Returns a stable name for programs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::CannotChoose(_) => "cannot-choose",
            Self::OnlyLoopback { .. } => "only-loopback",
            Self::OnlyContainerOrVpn(_) => "only-container-or-vpn",
            Self::Down => "down",
            Self::NoCarrier => "no-carrier",
            Self::CannotMulticast => "cannot-multicast",
            Self::NoAddress { .. } => "no-address",
            Self::Wifi => "wifi",
            Self::SoftwareOnly => "software-only",
            Self::RouteElsewhere { .. } => "route-elsewhere",
            Self::NoRoute { .. } => "no-route",
            Self::SmallMtu { .. } => "small-mtu",
            Self::WrongBroadcast { .. } => "wrong-broadcast",
            Self::NoBroadcast { .. } => "no-broadcast",
            Self::ReversePath { .. } => "reverse-path",
            Self::MulticastGateway { .. } => "multicast-gateway",
            Self::LanElsewhere { .. } => "lan-elsewhere",
            Self::FilterUnclear { .. } => "filter-unclear",
            Self::GroupRefused { .. } => "group-refused",
            Self::OldIgmp { .. } => "old-igmp",
            Self::NotHeard { way: ProbedTraffic::Multicast, .. } => "multicast-not-heard",
            Self::NotHeard { way: ProbedTraffic::Discovery, .. } => "discovery-not-heard",
            Self::NotHeard { way: ProbedTraffic::Broadcast, .. } => "broadcast-not-heard",
            Self::FewMemberships { .. } => "few-memberships",
            Self::SmallBuffer { .. } => "small-buffer",
            Self::ReportsEaten { .. } => "reports-eaten",
            Self::QueriesEaten { .. } => "queries-eaten",
            Self::NoQuerier { .. } => "no-querier",
            Self::BridgeFloods { .. } => "bridge-floods",
            Self::PortDoesNotFlood { .. } => "port-does-not-flood",
            Self::Filtered { what, .. } => match what {
                Needed::IgmpIn => "filter-eats-igmp-queries",
                Needed::IgmpOut => "filter-eats-igmp-reports",
                Needed::In(ProbedTraffic::Multicast) | Needed::Groups(GroupPart { incoming: true, .. }) => {
                    "filter-eats-multicast"
                }
                Needed::In(ProbedTraffic::Discovery) => "filter-eats-discovery",
                Needed::In(ProbedTraffic::Broadcast) => "filter-eats-broadcast",
                Needed::Out(ProbedTraffic::Multicast) | Needed::Groups(GroupPart { incoming: false, .. }) => {
                    "filter-eats-sent-multicast"
                }
                Needed::Out(ProbedTraffic::Discovery) => "filter-eats-sent-discovery",
                Needed::Out(ProbedTraffic::Broadcast) => "filter-eats-sent-broadcast",
                Needed::Relay => "filter-eats-relay-port",
                Needed::RelayOut => "filter-eats-sent-to-relay",
                Needed::Tcp(_) => "filter-eats-tcp-ports",
                Needed::TcpOut(_) => "filter-eats-sent-tcp",
                Needed::Answers { .. } => "filter-eats-discovery-answers",
            },
            Self::Foreign { .. } => "foreign-traffic",
            Self::CopiedFolder { .. } => "copied-folder",
            Self::Server { trouble, .. } => trouble.code(),
            Self::Peer { trouble, .. } => trouble.code(),
        }
    }
}
