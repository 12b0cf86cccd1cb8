//! This machine's IPv4 interfaces, and which of them multicast and broadcast go through.
//!
//! The choice is by flag or by role, never by the routing table alone: a default route says nothing about where the
//! members are.

mod choose;
mod list;
#[cfg(test)]
mod tests;
mod watch;

use std::{fmt, net::Ipv4Addr};

use gaung_proto::{
    datagram::DATAGRAM_HEADER,
    limits::{MAX_BODY, MAX_DATA_BODY},
};

pub use choose::{ChooseError, ChosenLinks, InterfaceFallback, LinkSelection, choose, select};
pub use list::interfaces;
pub use watch::LinkWatch;

/// What an interface is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A network card, a bond, or a container's own end of a veth.
    Wired,
    /// The interface is a wireless network card.
    Wifi,
    /// A bridge with an address that a person made, such as `br0`.
    Bridge,
    /// A bridge that container or machine software made (`docker0`, `br-` and an id, `virbr*`), or a port of any bridge, such
    /// as the host's end of a veth.
    Container,
    /// A tunnel: tun, tap, `WireGuard`, PPP.
    Vpn,
    /// The loopback interface, `lo`.
    Loopback,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wired => "wired",
            Self::Wifi => "wifi",
            Self::Bridge => "bridge",
            Self::Container => "container bridge",
            Self::Vpn => "vpn",
            Self::Loopback => "loopback",
        })
    }
}

/// An IPv4 address of an interface, with its netmask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceAddr {
    /// This machine's address.
    pub ip: Ipv4Addr,
    /// The mask of the network.
    pub netmask: Ipv4Addr,
    /// The broadcast address that the system has for it, right or wrong; `None` where it has none.
    pub broadcast: Option<Ipv4Addr>,
}

/// One interface as the system describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eth0`.
    pub name: String,
    /// The system's number for it.
    pub index: u32,
    /// Its IPv4 addresses; may be empty. First of all the one in the default gateway's network, for members that can answer to
    /// one address alone are most likely there; the others as the system lists them.
    pub addresses: Vec<InterfaceAddr>,
    /// Set up by an administrator (`IFF_UP`).
    pub up: bool,
    /// Has a carrier: a cable, an access point, a peer (`IFF_RUNNING`).
    pub running: bool,
    /// Says that it can multicast (`IFF_MULTICAST`); `lo` does not say so and can.
    pub multicast: bool,
    /// Has a broadcast address (`IFF_BROADCAST`); `lo` does not say so and has.
    pub broadcast: bool,
    /// What the interface is for.
    pub role: Role,
    /// Longest IP packet that it sends, in bytes.
    pub mtu: u32,
    /// How often the link came back, see [`Link::renewals`].
    pub renewals: u32,
}

impl Interface {
    /// True if IPv4 multicast can be sent and joined through it.
    #[must_use]
    pub fn can_multicast(&self) -> bool {
        self.multicast || self.role == Role::Loopback
    }

    /// True if multicast goes through it as it is now.
    fn is_usable(&self) -> bool {
        self.up && !self.addresses.is_empty() && self.can_multicast()
    }

    /// This interface by one of its addresses alone.
    #[must_use]
    pub fn link(&self, address: InterfaceAddr) -> Link {
        Link {
            name: self.name.clone(),
            index: self.index,
            ip: address.ip,
            netmask: address.netmask,
            others: Vec::new(),
            role: self.role,
            can_broadcast: self.broadcast || self.role == Role::Loopback,
            mtu: self.mtu,
            renewals: self.renewals,
        }
    }

    /// This interface by all of its addresses. `None` without an address.
    #[must_use]
    pub fn whole(&self) -> Option<Link> {
        let (first, others) = self.addresses.split_first()?;
        Some(Link { others: others.to_vec(), ..self.link(*first) })
    }
}

impl InterfaceAddr {
    /// True if `peer` is in this address's network.
    #[must_use]
    pub fn contains(&self, peer: Ipv4Addr) -> bool {
        (peer.to_bits() ^ self.ip.to_bits()) & self.netmask.to_bits() == 0
    }

    /// The network's last address; `None` where there is none (/31, /32).
    fn last(&self) -> Option<Ipv4Addr> {
        let host_bits = !self.netmask.to_bits();
        (host_bits > 1).then(|| Ipv4Addr::from_bits(self.ip.to_bits() | host_bits))
    }
}

/// An interface that was chosen, by the address that multicast leaves from, and its other addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The name of the interface, such as `eth0`.
    pub name: String,
    /// The system's number for it.
    pub index: u32,
    /// The own address that multicast leaves from.
    pub ip: Ipv4Addr,
    /// The mask of that address's network.
    pub netmask: Ipv4Addr,
    /// Further addresses of the interface, at which unicast comes in too; none where one address was asked for.
    pub others: Vec<InterfaceAddr>,
    /// What the interface is for.
    pub role: Role,
    /// False for tunnels and the like.
    pub can_broadcast: bool,
    /// Longest IP packet that the interface sends, in bytes.
    pub mtu: u32,
    /// How often a watcher saw the interface lose an address or go. The kernel forgets memberships with the last address,
    /// though the socket still has them, so what was joined at another count has to be joined again.
    pub renewals: u32,
}

impl Link {
    /// The loopback interface, which every machine has.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            name: "lo".to_owned(),
            index: 1,
            ip: Ipv4Addr::LOCALHOST,
            netmask: Ipv4Addr::new(255, 0, 0, 0),
            others: Vec::new(),
            role: Role::Loopback,
            can_broadcast: true,
            mtu: 65_536,
            renewals: 0,
        }
    }

    /// The interface's addresses, the one that multicast leaves from first.
    pub fn addresses(&self) -> impl Iterator<Item = InterfaceAddr> {
        let first = InterfaceAddr { ip: self.ip, netmask: self.netmask, broadcast: None };
        std::iter::once(first).chain(self.others.iter().copied())
    }

    /// The same interface by each of its addresses alone.
    pub fn each_address(&self) -> impl Iterator<Item = Self> {
        let at = |address: InterfaceAddr| Self {
            ip: address.ip,
            netmask: address.netmask,
            others: Vec::new(),
            ..self.clone()
        };
        self.addresses().map(at)
    }

    /// The last address of the first address's network, by its real mask; `None` where there is no such network (a
    /// tunnel, /31, /32).
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let first = self.addresses().next()?;
        if self.can_broadcast { first.last() } else { None }
    }

    /// True if `peer` is in one of the interface's own networks.
    #[must_use]
    pub fn contains(&self, peer: Ipv4Addr) -> bool {
        self.addresses().any(|address| address.contains(peer))
    }
}

/// Longest body of DATA, PARITY's share and BROADCAST that passes every one of these links whole, bytes: datagrams are never
/// fragmented by IP. At least [`MIN_DATA_BODY`], for a network that carries less carries no groups.
#[must_use]
pub fn data_body(links: &[Link]) -> usize {
    let mtu = links.iter().map(|link| link.mtu).min().unwrap_or(u32::MAX);
    // PARITY adds as much to the longest body that it repairs as MAX_BODY leaves.
    let around = IP_AND_UDP + DATAGRAM_HEADER + (MAX_BODY - MAX_DATA_BODY);
    (mtu as usize).saturating_sub(around).clamp(MIN_DATA_BODY, MAX_DATA_BODY)
}

/// Bytes of an IPv4 header without options and a UDP header.
const IP_AND_UDP: usize = 28;
/// Below this a datagram would be header more than message.
pub const MIN_DATA_BODY: usize = 256;

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.ip)
    }
}
