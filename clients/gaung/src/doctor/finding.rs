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
pub(crate) enum Severity {
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
    OnlyLoopback,
    /// No interface but this one of containers or a tunnel can be used.
    OnlyContainerOrVpn(Kind),
    /// It has an address and is down.
    Down,
    /// It has an address, is up, and has no carrier.
    NoCarrier,
    /// Its multicast flag is off.
    CannotMulticast,
    /// It is up, with a carrier, and has no IPv4 address.
    NoAddress,
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
    },
    /// One socket may be in fewer groups than it needs.
    FewMemberships {
        /// The setting.
        limit: u32,
        /// Interfaces that Gaung uses.
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
    ReportsEaten,
    /// Queries come and are not taken in.
    QueriesEaten {
        /// Who asks.
        querier: Ipv4Addr,
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
    /// Something between this machine and another.
    Peer {
        /// The other machine.
        host: String,
        /// What.
        trouble: PeerTrouble,
    },
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
    /// Members' datagrams to the relay, on the machine that serves.
    Relay,
    /// TCP, on the machine that serves.
    Tcp(Vec<u16>),
}

impl Trouble {
    /// How bad.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::CannotChoose(_)
            | Self::OnlyLoopback
            | Self::OnlyContainerOrVpn(_)
            | Self::CannotMulticast
            | Self::SmallMtu { text_only: false, .. }
            | Self::ReversePath { .. }
            | Self::NotHeard { .. }
            | Self::FewMemberships { .. }
            | Self::ReportsEaten
            | Self::QueriesEaten { .. }
            | Self::PortDoesNotFlood { .. } => Severity::Problem,
            Self::Peer { trouble, .. } => trouble.severity(),
            Self::Filtered { what: Needed::IgmpIn | Needed::IgmpOut | Needed::In(_) | Needed::Out(_), .. } => {
                Severity::Problem
            }
            // Only a machine that serves needs these.
            Self::Filtered { what: Needed::Relay | Needed::Tcp(_), .. } => Severity::Warning,
            Self::RouteElsewhere { kind: Kind::Container | Kind::Vpn, .. } => Severity::Warning,
            Self::SmallBuffer { lowered: true, .. } => Severity::Warning,
            Self::Down
            | Self::NoCarrier
            | Self::SoftwareOnly
            | Self::SmallMtu { .. }
            | Self::WrongBroadcast { .. }
            | Self::NoBroadcast { .. }
            | Self::OldIgmp { .. }
            | Self::NoQuerier { .. }
            | Self::Foreign { .. } => Severity::Warning,
            Self::NoAddress
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
            Self::OnlyLoopback => "only-loopback",
            Self::OnlyContainerOrVpn(_) => "only-container-or-vpn",
            Self::Down => "down",
            Self::NoCarrier => "no-carrier",
            Self::CannotMulticast => "cannot-multicast",
            Self::NoAddress => "no-address",
            Self::Wifi => "wifi",
            Self::SoftwareOnly => "software-only",
            Self::RouteElsewhere { .. } => "route-elsewhere",
            Self::NoRoute { .. } => "no-route",
            Self::SmallMtu { .. } => "small-mtu",
            Self::WrongBroadcast { .. } => "wrong-broadcast",
            Self::NoBroadcast { .. } => "no-broadcast",
            Self::ReversePath { .. } => "reverse-path",
            Self::OldIgmp { .. } => "old-igmp",
            Self::NotHeard { way: Way::Multicast, .. } => "multicast-not-heard",
            Self::NotHeard { way: Way::Discovery, .. } => "discovery-not-heard",
            Self::NotHeard { way: Way::Broadcast, .. } => "broadcast-not-heard",
            Self::FewMemberships { .. } => "few-memberships",
            Self::SmallBuffer { .. } => "small-buffer",
            Self::ReportsEaten => "reports-eaten",
            Self::QueriesEaten { .. } => "queries-eaten",
            Self::NoQuerier { .. } => "no-querier",
            Self::BridgeFloods { .. } => "bridge-floods",
            Self::PortDoesNotFlood { .. } => "port-does-not-flood",
            Self::Filtered { what, .. } => match what {
                Needed::IgmpIn => "filter-eats-igmp-queries",
                Needed::IgmpOut => "filter-eats-igmp-reports",
                Needed::In(Way::Multicast) => "filter-eats-multicast",
                Needed::In(Way::Discovery) => "filter-eats-discovery",
                Needed::In(Way::Broadcast) => "filter-eats-broadcast",
                Needed::Out(Way::Multicast) => "filter-eats-sent-multicast",
                Needed::Out(Way::Discovery) => "filter-eats-sent-discovery",
                Needed::Out(Way::Broadcast) => "filter-eats-sent-broadcast",
                Needed::Relay => "filter-eats-relay-port",
                Needed::Tcp(_) => "filter-eats-tcp-ports",
            },
            Self::Foreign { .. } => "foreign-traffic",
            Self::Peer { trouble, .. } => trouble.code(),
        }
    }
}
