//! What was seen on this machine, without judgement. Facts can be written down and read again: most tests are on
//! recorded ones.

mod peer;

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_net::interface::{ChooseError, ChosenLinks, Interface, InterfaceAddr, Link, Role, choose};
use serde::{Deserialize, Serialize};

pub(crate) use peer::{CastName, Passage, PeerFacts};

use super::firewall::Ruleset;

/// Everything that was looked at.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Facts {
    /// The interface that was asked for by name or address; `None`: Gaung chooses.
    pub(crate) wanted: Option<String>,
    /// Every interface.
    pub(crate) interfaces: Vec<InterfaceFacts>,
    /// From which own address the system would send to a group, left to itself; `None`: it has no way.
    pub(crate) multicast_source: Option<Ipv4Addr>,
    /// Of one socket.
    pub(crate) receive_buffer: Option<BufferFacts>,
    /// `igmp_max_memberships`: most groups of one socket.
    pub(crate) max_memberships: Option<u32>,
    /// The system's way to a place outside all own networks; `None`: it has no default route.
    #[serde(default)]
    pub(crate) default_source: Option<Ipv4Addr>,
    /// Groups of a server that was asked.
    #[serde(default)]
    pub(crate) groups: Vec<GroupFacts>,
    /// Answers to a search for servers; `None` where packets cannot be seen before the filter.
    #[serde(default)]
    pub(crate) discovery: Option<DiscoveryFacts>,
    /// Servers that share one identity, each by one of its addresses.
    #[serde(default)]
    pub(crate) copies: Vec<Vec<SocketAddrV4>>,
    /// The filter rules, if they could be read.
    pub(crate) firewall: Option<Ruleset>,
    /// Datagrams on groups' addresses that are no group's.
    pub(crate) foreign: Vec<ForeignFacts>,
    /// The test with another machine.
    #[serde(default)]
    pub(crate) peer: Option<PeerFacts>,
    /// What could not be looked at.
    pub(crate) not_looked_at: Vec<NotLookedAt>,
}

/// One interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct InterfaceFacts {
    /// Its name.
    pub(crate) name: String,
    /// The system's number for it.
    pub(crate) index: u32,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Set up by an administrator.
    pub(crate) up: bool,
    /// Has a carrier.
    pub(crate) running: bool,
    /// Says that it can multicast.
    pub(crate) multicast: bool,
    /// Can broadcast at all.
    pub(crate) can_broadcast: bool,
    /// There is a card behind it, and not only software.
    pub(crate) hardware: bool,
    /// The bridge or bond that it is a port of.
    pub(crate) part_of: Option<String>,
    /// Largest IP packet, in bytes.
    pub(crate) mtu: Option<u32>,
    /// IPv4.
    pub(crate) addresses: Vec<AddressFacts>,
    /// As the system speaks it here.
    pub(crate) igmp_version: Option<u8>,
    /// The version that a setting forces; 0: none.
    pub(crate) forced_igmp_version: Option<u8>,
    /// Groups that this machine is in here.
    pub(crate) memberships: Vec<Ipv4Addr>,
    /// Reverse path filter in force: 0 off, 1 strict, 2 loose.
    pub(crate) rp_filter: Option<u8>,
    /// Its Ethernet address.
    #[serde(default)]
    pub(crate) mac: Option<[u8; 6]>,
    /// If it is a bridge.
    pub(crate) bridge: Option<BridgeFacts>,
    /// Of an interface that Gaung uses.
    pub(crate) probe: Option<ProbeFacts>,
}

/// What an interface is for: [`Role`] as it is written down.
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
    /// It sends multicast only where there are members, once it knows a querier.
    pub(crate) snooping: bool,
    /// It asks itself.
    pub(crate) querier: bool,
    /// Its ports.
    pub(crate) ports: Vec<PortFacts>,
}

/// One port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PortFacts {
    /// The interface behind it.
    pub(crate) name: String,
    /// Gets multicast of which the bridge knows no member.
    pub(crate) multicast_flood: bool,
    /// Gets broadcasts.
    pub(crate) broadcast_flood: bool,
}

/// What was tried on an interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ProbeFacts {
    /// The address that Gaung uses here.
    pub(crate) ip: Ipv4Addr,
    /// Own datagrams to many, and whether they came back.
    pub(crate) echoes: Vec<EchoFacts>,
    /// From which own address the system would send to a neighbour in this network; `None`: not at all.
    pub(crate) source_to_neighbour: Option<Ipv4Addr>,
    /// The way to a group, as for a socket that names this interface; `None` where it could not be asked for.
    #[serde(default)]
    pub(crate) multicast_route: Option<RouteFacts>,
    /// The ways to addresses spread over the own network.
    #[serde(default)]
    pub(crate) neighbour_routes: Vec<RouteFacts>,
    /// From which own address the system would send to the querier; `None`: there is no querier, or no way to it.
    #[serde(default)]
    pub(crate) source_to_querier: Option<Ipv4Addr>,
    /// IGMP as it passes; `None` where raw sockets are not permitted.
    pub(crate) igmp: Option<IgmpFacts>,
}

/// One datagram to many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EchoFacts {
    /// Which of Gaung's ways it stands for.
    pub(crate) way: Way,
    /// Where it was sent.
    pub(crate) to: SocketAddrV4,
    /// What became of it.
    pub(crate) outcome: EchoOutcome,
}

/// Gaung's ways to many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    /// A group's multicast.
    Multicast,
    /// Asking the network for a server.
    Discovery,
    /// UDP broadcast.
    Broadcast,
}

/// What became of a datagram.
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
    /// No socket could be had for it.
    NoSocket(String),
}

/// IGMP on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IgmpFacts {
    /// The report of a group that was joined left the machine.
    pub(crate) reports_leave: bool,
    /// Queries came, and the system took none of them in.
    pub(crate) queries_eaten: bool,
    /// Who asks.
    pub(crate) querier: Option<QuerierFacts>,
    /// Whether the search lasted a whole query interval.
    pub(crate) whole_interval: bool,
    /// A person ended the search, so that what was not seen may have come later.
    #[serde(default)]
    pub(crate) interrupted: bool,
}

/// A querier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuerierFacts {
    /// 0.0.0.0 for a switch without an address.
    pub(crate) from: Ipv4Addr,
    /// 1 to 3.
    pub(crate) version: u8,
}

/// A socket's receive buffer, in bytes as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BufferFacts {
    /// What Gaung asks for.
    pub(crate) wanted_bytes: usize,
    /// What it gets.
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

/// A search for servers, as it passed this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiscoveryFacts {
    /// Answers that came in by an interface.
    pub(crate) arrived: u32,
    /// Services that were found by them.
    pub(crate) found: u32,
}

/// Where the system's routing leads a packet of Gaung's own address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteFacts {
    /// Where to.
    pub(crate) to: Ipv4Addr,
    /// By which interface; `None`: nowhere.
    pub(crate) device: Option<String>,
    /// To whom on that network, if not to the destination itself.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// What the system says if it leads nowhere.
    pub(crate) refused: Option<String>,
}

/// Somebody else on a group's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForeignFacts {
    /// The group's name, or what the address is for.
    pub(crate) group: String,
    /// The address.
    pub(crate) address: SocketAddrV4,
    /// Who sends.
    pub(crate) from: SocketAddrV4,
    /// How many datagrams came.
    pub(crate) datagrams: u64,
    /// They are of another Gaung, or of a group that had the address before.
    pub(crate) gaung: bool,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotLookedAt {
    /// What.
    pub(crate) what: Unseen,
    /// Why not, in the system's words.
    pub(crate) why: String,
}

/// Things that may stay unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unseen {
    /// Queries and reports.
    Igmp,
    /// nftables' rules.
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
    /// True if multicast or broadcast may fail for what stayed unseen.
    pub(crate) const fn may_hide_a_fault(self) -> bool {
        match self {
            Self::Igmp | Self::Firewall | Self::LegacyFirewall | Self::Routes => true,
            Self::Groups | Self::ReceiveBuffer => false,
        }
    }
}

impl Facts {
    /// What Gaung would use here.
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
