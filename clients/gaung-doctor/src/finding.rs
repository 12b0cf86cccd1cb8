//! What can be wrong, as data: the words for it are chosen in [`super::words`].

mod peer;

use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) use peer::{Direction, PassageName, PeerTrouble};
use serde::Serialize;

use super::{
    facts::{EchoOutcome, Kind, Way},
    firewall::Culprit,
};

/// One thing that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Where; `None`: it is of the whole machine.
    pub(crate) interface: Option<String>,
    /// What.
    pub(crate) trouble: Trouble,
}

/// How bad it is; worse is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, and no fault.
    Note,
    /// It works, and may fail or does fail for some.
    Warning,
    /// Something does not work.
    Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// What was asked for cannot be used, in the words of the choice.
    CannotChoose(String),
    /// No interface but `lo` can be used.
    OnlyLoopback {
        /// What would make another one usable.
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
    /// What the system would choose for multicast if a program did not.
    RouteElsewhere {
        /// That interface.
        to: String,
        /// What it is for.
        kind: Kind,
        /// One that Gaung uses.
        ours: String,
    },
    /// A program that names no interface cannot multicast.
    NoRoute {
        /// One that Gaung uses.
        ours: String,
        /// There is a default route, so that another one or a rule keeps multicast from it.
        has_default: bool,
    },
    /// Datagrams do not fit.
    SmallMtu {
        /// It has.
        mtu: u32,
        /// The largest datagram needs.
        wanted: u32,
        /// Those of text groups alone, the only ones as large as that.
        text_only: bool,
    },
    /// Not what the mask says.
    WrongBroadcast {
        /// The own address with its mask's length.
        address: (Ipv4Addr, u32),
        /// It has.
        has: Ipv4Addr,
        /// It should have.
        should: Ipv4Addr,
    },
    /// The network has no broadcast address.
    NoBroadcast {
        /// Length of the mask.
        prefix: u32,
    },
    /// The way back to the network leads elsewhere, and the filter drops what comes.
    ReversePath {
        /// The interface of the way back; `None`: there is no way back.
        back: Option<String>,
        /// The network, by its first address and the mask's length.
        network: (Ipv4Addr, u32),
        /// The filter is strict, not loose.
        strict: bool,
    },
    /// The system gives multicast of this interface to a gateway instead of the network.
    MulticastGateway {
        /// It.
        gateway: Ipv4Addr,
    },
    /// Packets to the own network leave by another interface, go to a gateway, or do not leave.
    LanElsewhere {
        /// One such address.
        to: Ipv4Addr,
        /// The interface or gateway, or what the system says.
        instead: String,
    },
    /// Whether a filter lets this pass cannot be read from its rules, and nothing tried it out.
    FilterUnclear {
        /// What.
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
    /// IGMP is spoken as in 1989.
    OldIgmp {
        /// A setting forces it.
        forced: bool,
    },
    /// Own datagrams to many do not come back.
    NotHeard {
        /// Which of Gaung's ways.
        way: Way,
        /// Where they went.
        to: SocketAddrV4,
        /// What became of it.
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
    /// Bursts will be lost in the socket.
    SmallBuffer {
        /// It gets.
        got_bytes: usize,
        /// Gaung asks for.
        wanted_bytes: usize,
        /// Less than Linux has by itself.
        lowered: bool,
    },
    /// Reports of memberships do not leave.
    ReportsEaten {
        /// The rule that drops them, or perhaps does.
        culprit: Option<Culprit>,
    },
    /// Queries come and are not taken in.
    QueriesEaten {
        /// Who asks.
        querier: Ipv4Addr,
        /// The rule that drops them, or perhaps does.
        culprit: Option<Culprit>,
        /// The reverse path filter drops them, for the way to the querier does not lead here.
        no_way_back: bool,
    },
    /// Nobody asks who is a member.
    NoQuerier {
        /// The interface is a local bridge, which could ask.
        bridge: bool,
    },
    /// A local bridge sends multicast to all its ports.
    BridgeFloods {
        /// It would prune if there were a querier.
        snooping: bool,
    },
    /// A local bridge sends nothing to many out of this port.
    PortDoesNotFlood {
        /// The port.
        port: String,
        /// Multicast too, not broadcast alone.
        multicast: bool,
        /// Broadcast too, not multicast alone.
        broadcast: bool,
    },
    /// A filter rule drops what Gaung needs.
    Filtered {
        /// What.
        what: Needed,
        /// By which rule.
        culprit: Culprit,
    },
    /// Somebody else sends to a group's address.
    Foreign {
        /// The group.
        group: String,
        /// Its address.
        address: SocketAddrV4,
        /// Who.
        from: SocketAddrV4,
        /// How many datagrams came.
        datagrams: u64,
        /// Another Gaung.
        gaung: bool,
    },
    /// Servers that take themselves for one: their data folders are copies.
    CopiedFolder {
        /// One address of each.
        servers: Vec<SocketAddrV4>,
    },
    /// Something between this machine and another.
    Peer {
        /// The other machine.
        host: String,
        /// What.
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
    /// There is none that a command could make usable.
    Cable,
}

/// What a filter must let pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Queries.
    IgmpIn,
    /// Reports.
    IgmpOut,
    /// Datagrams of one of the ways to many.
    In(Way),
    /// The same, sent.
    Out(Way),
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
    /// What servers answer to a search for them.
    Answers {
        /// Answers were seen to come in.
        seen: bool,
        /// Servers were found all the same, by another way.
        found: bool,
    },
}

/// A part of the groups that a filter treats otherwise than the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPart {
    /// Coming in, or going out.
    pub(crate) incoming: bool,
    /// One of the part.
    pub(crate) example: SocketAddrV4,
    /// A group of the server that was asked, by its name.
    pub(crate) group: Option<String>,
    /// Only the organization's scope (239.192.0.0/14), which groups have where it was wished for.
    pub(crate) only_organization: bool,
}

impl Needed {
    /// How bad it is if this is dropped.
    const fn severity(&self) -> Severity {
        match self {
            Self::IgmpIn | Self::IgmpOut | Self::In(_) | Self::Out(_) | Self::TcpOut(_) => Severity::Problem,
            Self::Groups(part) if !part.only_organization || part.group.is_some() => Severity::Problem,
            // Only a machine that serves needs the first two; what a member cannot ask the relay for comes by TCP.
            Self::Relay | Self::Tcp(_) | Self::RelayOut | Self::Answers { seen: true, .. } => Severity::Warning,
            // Nobody may have such groups, or there is no server that would answer.
            Self::Groups(_) | Self::Answers { seen: false, .. } => Severity::Note,
        }
    }
}

impl Trouble {
    /// How bad.
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

    /// A name that programs can hold on to.
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
            Self::NotHeard { way: Way::Multicast, .. } => "multicast-not-heard",
            Self::NotHeard { way: Way::Discovery, .. } => "discovery-not-heard",
            Self::NotHeard { way: Way::Broadcast, .. } => "broadcast-not-heard",
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
                Needed::In(Way::Multicast) | Needed::Groups(GroupPart { incoming: true, .. }) => {
                    "filter-eats-multicast"
                }
                Needed::In(Way::Discovery) => "filter-eats-discovery",
                Needed::In(Way::Broadcast) => "filter-eats-broadcast",
                Needed::Out(Way::Multicast) | Needed::Groups(GroupPart { incoming: false, .. }) => {
                    "filter-eats-sent-multicast"
                }
                Needed::Out(Way::Discovery) => "filter-eats-sent-discovery",
                Needed::Out(Way::Broadcast) => "filter-eats-sent-broadcast",
                Needed::Relay => "filter-eats-relay-port",
                Needed::RelayOut => "filter-eats-sent-to-relay",
                Needed::Tcp(_) => "filter-eats-tcp-ports",
                Needed::TcpOut(_) => "filter-eats-sent-tcp",
                Needed::Answers { .. } => "filter-eats-discovery-answers",
            },
            Self::Foreign { .. } => "foreign-traffic",
            Self::CopiedFolder { .. } => "copied-folder",
            Self::Peer { trouble, .. } => trouble.code(),
        }
    }
}
