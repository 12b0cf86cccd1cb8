//! This machine's IPv4 interfaces, and which of them multicast and broadcast go through.
//!
//! The choice is by flag or by role, never by the routing table alone: a default route says nothing about where the
//! members are.

mod choose;
mod list;
#[cfg(test)]
mod tests;

use std::{fmt, net::Ipv4Addr};

pub use choose::{ChooseError, Chosen, Fallback, choose};
pub use list::interfaces;

/// What an interface is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A network card, a bond, or a container's own end of a veth.
    Wired,
    /// A wireless network card.
    Wifi,
    /// A bridge with an address that a person made, such as `br0`.
    Bridge,
    /// A bridge that container or machine software made (`docker0`, `br-` and an id, `virbr*`), or a port of any bridge, such
    /// as the host's end of a veth.
    Container,
    /// A tunnel: tun, tap, `WireGuard`, PPP.
    Vpn,
    /// `lo`.
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
    /// The own address.
    pub ip: Ipv4Addr,
    /// The network's mask.
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
    /// Its IPv4 addresses, the primary one first; may be empty.
    pub addresses: Vec<InterfaceAddr>,
    /// Set up by an administrator (`IFF_UP`).
    pub up: bool,
    /// Has a carrier: a cable, an access point, a peer (`IFF_RUNNING`).
    pub running: bool,
    /// Says that it can multicast (`IFF_MULTICAST`); `lo` does not say so and can.
    pub multicast: bool,
    /// Has a broadcast address (`IFF_BROADCAST`); `lo` does not say so and has.
    pub broadcast: bool,
    /// What it is for.
    pub role: Role,
}

impl Interface {
    /// True if IPv4 multicast can be sent and joined through it.
    #[must_use]
    pub fn can_multicast(&self) -> bool {
        self.multicast || self.role == Role::Loopback
    }

    /// This interface by one of its addresses.
    #[must_use]
    pub fn link(&self, address: InterfaceAddr) -> Link {
        Link {
            name: self.name.clone(),
            index: self.index,
            ip: address.ip,
            netmask: address.netmask,
            role: self.role,
            can_broadcast: self.broadcast || self.role == Role::Loopback,
        }
    }
}

/// An interface that was chosen, by the one address that is used on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The interface's name.
    pub name: String,
    /// The system's number for it.
    pub index: u32,
    /// The own address.
    pub ip: Ipv4Addr,
    /// The network's mask.
    pub netmask: Ipv4Addr,
    /// What the interface is for.
    pub role: Role,
    /// False for tunnels and the like.
    pub can_broadcast: bool,
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
            role: Role::Loopback,
            can_broadcast: true,
        }
    }

    /// The last address of the interface's own network, by its real mask; `None` where there is no such network (a
    /// tunnel, /31, /32).
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let host_bits = !self.netmask.to_bits();
        (self.can_broadcast && host_bits > 1).then(|| Ipv4Addr::from_bits(self.ip.to_bits() | host_bits))
    }

    /// True if `peer` is in the interface's own network.
    #[must_use]
    pub fn contains(&self, peer: Ipv4Addr) -> bool {
        (peer.to_bits() ^ self.ip.to_bits()) & self.netmask.to_bits() == 0
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.ip)
    }
}
