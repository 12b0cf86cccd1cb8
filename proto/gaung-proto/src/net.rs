//! Multicast addresses and scopes (RFC 1112, RFC 2365).

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use crate::pb;

/// An address that a group cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupAddrError {
    /// The address is not in 224.0.0.0/4.
    #[error("{0} is not a multicast address; use one from 224.0.0.0 to 239.255.255.255")]
    NotMulticast(Ipv4Addr),
    /// The port is 0.
    #[error("a group needs a port from 1 to 65535")]
    NoPort,
}

/// Where a group's datagrams go: an IPv4 multicast address and a port that is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupAddr(SocketAddrV4);

impl GroupAddr {
    /// # Errors
    /// [`GroupAddrError`] if the address is outside 224/4 or the port is 0.
    pub fn new(ip: Ipv4Addr, port: u16) -> Result<Self, GroupAddrError> {
        if !ip.is_multicast() {
            return Err(GroupAddrError::NotMulticast(ip));
        }
        if port == 0 {
            return Err(GroupAddrError::NoPort);
        }
        Ok(Self(SocketAddrV4::new(ip, port)))
    }

    /// Returns the multicast address.
    #[must_use]
    pub const fn ip(&self) -> Ipv4Addr {
        *self.0.ip()
    }

    /// Returns the UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.0.port()
    }

    /// Returns address and port together.
    #[must_use]
    pub const fn socket_addr(&self) -> SocketAddrV4 {
        self.0
    }
}

impl fmt::Display for GroupAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a group's datagrams travel (RFC 2365).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Site-local, 239.255.0.0/16 with TTL 1 (RFC 2365).
    Site,
    /// Organization-local, 239.192.0.0/14 with TTL 16 (RFC 2365).
    Organization,
}

impl Scope {
    /// Returns the IP time to live of the scope's datagrams.
    #[must_use]
    pub const fn ttl(self) -> u8 {
        match self {
            Self::Site => 1,
            Self::Organization => 16,
        }
    }
}

impl From<Scope> for pb::registry::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Site => Self::Site,
            Scope::Organization => Self::Organization,
        }
    }
}

/// How a message reached a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// IP multicast, first sent or repaired.
    Multicast,
    /// The hub's fan-out over TCP.
    Tcp,
    /// The hub's UDP broadcast, for `everyone`.
    Broadcast,
    /// The message was read from the log.
    History,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Multicast => "multicast",
            Self::Tcp => "tcp",
            Self::Broadcast => "broadcast",
            Self::History => "history",
        })
    }
}
