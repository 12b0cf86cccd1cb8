//! Sockets that send and receive IPv4 multicast, and the unicast sockets beside them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
};

use socket2::InterfaceIndexOrAddress;

use crate::{
    interface::Link,
    socket::{self, Sharing, SocketError},
};

/// A socket that datagrams leave from, and to which unicast comes back.
///
/// Bound to one address of one interface, so that the source address is the one that peers can answer to; or to all
/// addresses, for unicast only.
#[derive(Debug)]
pub struct DataSocket {
    pub(crate) socket: UdpSocket,
    local: SocketAddrV4,
    link: Option<Link>,
}

impl DataSocket {
    /// Opens a socket on an interface: multicast leaves through it (TTL 1 unless a datagram says otherwise, looped back
    /// to this host's own members), unicast to its address and port comes in. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`SocketError`], such as the port being in use.
    pub fn open(link: &Link, port: u16) -> Result<Self, SocketError> {
        let socket = socket::open(SocketAddrV4::new(link.ip, port), Sharing::Alone)?;
        socket.set_multicast_if_v4(&link.ip).map_err(SocketError::system("choose the interface for multicast"))?;
        Self::new(socket.into(), Some(link.clone()))
    }

    /// Opens a socket on all addresses, for unicast: NAK, STATUS, PROBE and PUBLISH leave from it.
    ///
    /// # Errors
    /// [`SocketError`], such as the port being in use.
    pub fn open_unicast(port: u16) -> Result<Self, SocketError> {
        let socket = socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), Sharing::Alone)?;
        Self::new(socket.into(), None)
    }

    fn new(socket: UdpSocket, link: Option<Link>) -> Result<Self, SocketError> {
        let local = socket::local_addr(&socket)?;
        Ok(Self { socket, local, link })
    }

    /// The same socket for another thread. Datagrams that arrive go to whichever reads first: let one read.
    ///
    /// # Errors
    /// If the process has no file descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, local: self.local, link: self.link.clone() })
    }

    /// The own address and port.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddrV4 {
        self.local
    }

    /// The interface; `None` if bound to all addresses.
    #[must_use]
    pub const fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }
}

/// A socket that hears one multicast group, from the interfaces that it joined, and nothing else.
///
/// Several on one host each get their copy. Leaving is closing.
#[derive(Debug)]
pub struct GroupSocket {
    pub(crate) socket: UdpSocket,
    group: SocketAddrV4,
    failed: Vec<(Link, SocketError)>,
}

impl GroupSocket {
    /// Joins `group` on each of `links`. One that joined on some of them is good: [`Self::failed`] tells the others.
    ///
    /// # Errors
    /// [`SocketError`] if the port belongs to a program that does not share it, or no interface could join.
    pub fn open(group: SocketAddrV4, links: &[Link]) -> Result<Self, SocketError> {
        if links.is_empty() {
            return Err(SocketError::NoInterface);
        }
        // Bound to the group's address, the socket hears no unicast and no other group on the same port.
        let socket = socket::open(group, Sharing::Shared)?;
        let mut failed = Vec::new();
        for link in links {
            if let Err(error) = socket.join_multicast_v4_n(group.ip(), &InterfaceIndexOrAddress::Index(link.index)) {
                failed.push((link.clone(), SocketError::joining(*group.ip(), &link.name, error)));
            }
        }
        if failed.len() == links.len() {
            return Err(failed.swap_remove(0).1);
        }
        Ok(Self { socket: socket.into(), group, failed })
    }

    /// The group's address and port.
    #[must_use]
    pub const fn group(&self) -> SocketAddrV4 {
        self.group
    }

    /// True if a datagram has arrived that nobody has read.
    #[must_use]
    pub fn has_datagram(&self) -> bool {
        self.socket.peek(&mut [0]).is_ok()
    }

    /// The interfaces on which the group could not be joined, and why.
    #[must_use]
    pub fn failed(&self) -> &[(Link, SocketError)] {
        &self.failed
    }
}
