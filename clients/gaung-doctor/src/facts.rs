//! The facts of a machine, without judgement. They can be recorded and read again: most tests are on recorded facts.

mod peer;
mod server;

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_net::interface::{ChooseError, ChosenLinks, Interface, InterfaceAddr, Link, Role, choose};
use serde::{Deserialize, Serialize};

pub(crate) use peer::{CastName, Passage, PeerFacts};
pub use server::{ServerFacts, ServerProof};

use super::firewall::Ruleset;

/// All facts of a machine.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Facts {
    /// The interface that was asked for by name or address; `None`: Gaung chooses.
    pub(crate) wanted: Option<String>,
    /// Every interface.
    pub(crate) interfaces: Vec<InterfaceFacts>,
    /// The own address from which the system would send to a group by default; `None` without a route.
    pub(crate) multicast_source: Option<Ipv4Addr>,
    /// The receive buffer of one socket.
    pub(crate) receive_buffer: Option<BufferFacts>,
    /// `igmp_max_memberships`: the most groups of one socket.
    pub(crate) max_memberships: Option<u32>,
    /// The own address on the default route; `None` without a default route.
    #[serde(default)]
    pub(crate) default_source: Option<Ipv4Addr>,
    /// The groups of a server.
    #[serde(default)]
    pub(crate) groups: Vec<GroupFacts>,
    /// Answers to a search for servers; `None` where packets cannot be captured before the filter.
    #[serde(default)]
    pub(crate) discovery: Option<DiscoveryFacts>,
    /// Servers that share one identity, each by one of its addresses.
    #[serde(default)]
    pub(crate) copies: Vec<Vec<SocketAddrV4>>,
    /// The security of a server; `None` if none was reached.
    #[serde(default)]
    pub(crate) server: Option<ServerFacts>,
    /// The filter rules, if they could be read.
    pub(crate) firewall: Option<Ruleset>,
    /// Foreign datagrams on groups' addresses.
    pub(crate) foreign: Vec<ForeignFacts>,
    /// The test with another machine.
    #[serde(default)]
    pub(crate) peer: Option<PeerFacts>,
    /// What could not be examined.
    pub(crate) not_looked_at: Vec<NotLookedAt>,
}

/// One interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InterfaceFacts {
    /// Its name.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u32,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Whether it is administratively up.
    pub(crate) up: bool,
    /// Whether it has a carrier.
    pub(crate) running: bool,
    /// Whether its multicast flag is on.
    pub(crate) multicast: bool,
    /// Whether it can broadcast.
    pub(crate) can_broadcast: bool,
    /// Whether there is hardware behind it.
    pub(crate) hardware: bool,
    /// The bridge or bond that it is a port of.
    pub(crate) part_of: Option<String>,
    /// Largest IP packet, in bytes.
    pub(crate) mtu: Option<u32>,
    /// Its IPv4 addresses.
    pub(crate) addresses: Vec<AddressFacts>,
    /// The IGMP version that the system uses here.
    pub(crate) igmp_version: Option<u8>,
    /// The IGMP version that a setting forces; 0 for none.
    pub(crate) forced_igmp_version: Option<u8>,
    /// The groups that this machine has joined here.
    pub(crate) memberships: Vec<Ipv4Addr>,
    /// Reverse path filter in force: 0 off, 1 strict, 2 loose.
    pub(crate) rp_filter: Option<u8>,
    /// Its Ethernet address.
    #[serde(default)]
    pub(crate) mac: Option<[u8; 6]>,
    /// Its settings if it is a bridge.
    pub(crate) bridge: Option<BridgeFacts>,
    /// What was tried on it, if Gaung uses it.
    pub(crate) probe: Option<ProbeFacts>,
}

/// The kind of an interface: [`Role`] as it is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A network card, or a container's own end of a cable.
    Wired,
    /// A wireless card.
    Wifi,
    /// A bridge that a person made.
    Bridge,
    /// A bridge of container or machine software, or a port of a bridge.
    Container,
    /// A tunnel.
    Vpn,
    /// `lo`.
    Loopback,
}

/// One IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressFacts {
    /// The own address.
    pub(crate) ip: Ipv4Addr,
    /// The network's mask.
    pub(crate) netmask: Ipv4Addr,
    /// The broadcast address that the system has for it.
    pub(crate) broadcast: Option<Ipv4Addr>,
}

/// How a local bridge treats multicast.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BridgeFacts {
    /// Whether it forwards multicast only to ports with members, once it knows a querier.
    pub(crate) snooping: bool,
    /// Whether it is a querier itself.
    pub(crate) querier: bool,
    /// Its ports.
    pub(crate) ports: Vec<PortFacts>,
}

/// One port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortFacts {
    /// The interface behind it.
    pub(crate) name: String,
    /// Whether it gets multicast for which the bridge knows no member.
    pub(crate) multicast_flood: bool,
    /// Whether it gets broadcasts.
    pub(crate) broadcast_flood: bool,
}

/// What was tried on an interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProbeFacts {
    /// The address that Gaung uses here.
    pub(crate) ip: Ipv4Addr,
    /// Own multicast and broadcast datagrams, and whether they came back.
    pub(crate) echoes: Vec<EchoFacts>,
    /// The own address from which the system would send to a neighbour in this network; `None` without a route.
    pub(crate) source_to_neighbour: Option<Ipv4Addr>,
    /// The route to a group, as for a socket bound to this interface; `None` where it could not be read.
    #[serde(default)]
    pub(crate) multicast_route: Option<RouteFacts>,
    /// The routes to addresses spread over the own network.
    #[serde(default)]
    pub(crate) neighbour_routes: Vec<RouteFacts>,
    /// The own address from which the system would send to the querier; `None` without a querier or a route to it.
    #[serde(default)]
    pub(crate) source_to_querier: Option<Ipv4Addr>,
    /// The IGMP traffic; `None` where raw sockets are not permitted.
    pub(crate) igmp: Option<IgmpFacts>,
}

/// One multicast or broadcast datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EchoFacts {
    /// The kind of traffic that it stands for.
    pub(crate) way: ProbedTraffic,
    /// Where it was sent.
    pub(crate) to: SocketAddrV4,
    /// Its outcome.
    pub(crate) outcome: EchoOutcome,
}

/// The kinds of Gaung's multicast and broadcast traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbedTraffic {
    /// A group's multicast.
    Multicast,
    /// Multicast that searches for a server.
    Discovery,
    /// UDP broadcast.
    Broadcast,
}

/// The outcome of a datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EchoOutcome {
    /// It came back.
    Heard,
    /// It did not.
    Silent,
    /// The system refused to send it.
    NotSent(String),
    /// The system allows this socket no membership.
    TooManyMemberships,
    /// No socket could be opened for it.
    NoSocket(String),
}

/// IGMP on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IgmpFacts {
    /// Whether the report of a joined group left the machine.
    pub(crate) reports_leave: bool,
    /// Whether queries arrived and the system received none of them.
    pub(crate) queries_eaten: bool,
    /// The querier.
    pub(crate) querier: Option<QuerierFacts>,
    /// Whether the search lasted a whole query interval.
    pub(crate) whole_interval: bool,
    /// Whether a person ended the search, so that what was not seen may have come later.
    #[serde(default)]
    pub(crate) interrupted: bool,
}

/// A querier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuerierFacts {
    /// Its address; 0.0.0.0 for a switch without one.
    pub(crate) from: Ipv4Addr,
    /// Its IGMP version, 1 to 3.
    pub(crate) version: u8,
}

/// A socket's receive buffer, in the bytes of SO_RCVBUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BufferFacts {
    /// The size that Gaung requests.
    pub(crate) wanted_bytes: usize,
    /// The size that it gets.
    pub(crate) got_bytes: usize,
}

/// A server's group with datagrams of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupFacts {
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: SocketAddrV4,
    /// Why this machine cannot listen to it, if it cannot.
    pub(crate) refused: Option<String>,
}

/// The answers to a search for servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiscoveryFacts {
    /// Answers that came in by an interface.
    pub(crate) arrived: u32,
    /// Services that were found by them.
    pub(crate) found: u32,
}

/// The route of a packet from Gaung's own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteFacts {
    /// The destination.
    pub(crate) to: Ipv4Addr,
    /// The interface; `None` without a route.
    pub(crate) device: Option<String>,
    /// The gateway, if there is one.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The system's error if there is no route.
    pub(crate) refused: Option<String>,
}

/// Foreign datagrams on a group's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForeignFacts {
    /// The group's name, or what the address is for.
    pub(crate) group: String,
    /// The address.
    pub(crate) address: SocketAddrV4,
    /// The sender.
    pub(crate) from: SocketAddrV4,
    /// How many datagrams came.
    pub(crate) datagrams: u64,
    /// Whether they are of another Gaung, or of a group that had the address before.
    pub(crate) gaung: bool,
}

/// Something that could not be examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotLookedAt {
    /// What it is.
    pub(crate) what: Unseen,
    /// Why not, in the system's words.
    pub(crate) why: String,
}

/// Things that may be impossible to examine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unseen {
    /// IGMP queries and reports.
    Igmp,
    /// The rules of nftables.
    Firewall,
    /// Rules of the older iptables, which nft does not list.
    LegacyFirewall,
    /// The groups of a server.
    Groups,
    /// The socket's receive buffer.
    ReceiveBuffer,
    /// The routing table and its rules.
    Routes,
}

impl Unseen {
    /// Returns whether multicast or broadcast may fail because of what was not examined.
    pub(crate) const fn may_hide_a_fault(self) -> bool {
        match self {
            Self::Igmp | Self::Firewall | Self::LegacyFirewall | Self::Routes => true,
            Self::Groups | Self::ReceiveBuffer => false,
        }
    }
}

impl Facts {
    /// Returns the links that Gaung would use here.
    ///
    /// # Errors
    /// [`ChooseError`] if nothing can be used.
    pub(crate) fn chosen(&self) -> Result<ChosenLinks, ChooseError> {
        let interfaces: Vec<_> = self.interfaces.iter().map(InterfaceFacts::described).collect();
        choose(&interfaces, self.wanted.as_deref())
    }

    /// The interface that has this own address.
    pub(crate) fn with_address(&self, ip: Ipv4Addr) -> Option<&InterfaceFacts> {
        self.interfaces.iter().find(|interface| interface.addresses.iter().any(|address| address.ip == ip))
    }

    /// The interface of a link.
    pub(crate) fn of_link(&self, link: &Link) -> Option<&InterfaceFacts> {
        self.interfaces.iter().find(|interface| interface.index == link.index)
    }
}

impl InterfaceFacts {
    /// As `gaung-net` describes it.
    pub(crate) fn described(&self) -> Interface {
        let address = |a: &AddressFacts| InterfaceAddr { ip: a.ip, netmask: a.netmask, broadcast: a.broadcast };
        Interface {
            name: self.name.clone(),
            index: self.index,
            addresses: self.addresses.iter().map(address).collect(),
            up: self.up,
            running: self.running,
            multicast: self.multicast,
            broadcast: self.can_broadcast,
            role: self.kind.into(),
            mtu: self.mtu.unwrap_or(1500),
            renewals: 0,
        }
    }

    /// A network card or a person's bridge: what a LAN hangs on.
    pub(crate) const fn is_lan(&self) -> bool {
        matches!(self.kind, Kind::Wired | Kind::Wifi | Kind::Bridge)
    }
}

impl From<Kind> for Role {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Wired => Self::Wired,
            Kind::Wifi => Self::Wifi,
            Kind::Bridge => Self::Bridge,
            Kind::Container => Self::Container,
            Kind::Vpn => Self::Vpn,
            Kind::Loopback => Self::Loopback,
        }
    }
}

impl From<Role> for Kind {
    fn from(role: Role) -> Self {
        match role {
            Role::Wired => Self::Wired,
            Role::Wifi => Self::Wifi,
            Role::Bridge => Self::Bridge,
            Role::Container => Self::Container,
            Role::Vpn => Self::Vpn,
            Role::Loopback => Self::Loopback,
        }
    }
}
