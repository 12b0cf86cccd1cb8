//! UDP broadcast within each interface's own network.

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
};

use crate::{
    interface::Link,
    socket::{self, PortSharing, SocketError},
};

/// Sends to the broadcast address of each network of its interfaces, never to 255.255.255.255, which needs a default route and
/// leaves through one interface only.
#[derive(Debug)]
pub struct BroadcastSender {
    sockets: Vec<NetworkSocket>,
    failed: Vec<(Link, SocketError)>,
}

/// One interface's socket and broadcast address.
#[derive(Debug)]
struct NetworkSocket {
    socket: UdpSocket,
    link: Link,
    to: SocketAddrV4,
}

impl BroadcastSender {
    /// Opens one socket for each network of the links that has a broadcast address; datagrams go to `port`;
    /// [`Self::failed`] lists those that cannot be opened.
    ///
    /// # Errors
    /// [`SocketError`] if there are such networks and none can be opened.
    pub fn open(links: &[Link], port: u16) -> Result<Self, SocketError> {
        let mut sockets: Vec<NetworkSocket> = Vec::new();
        let mut failed = Vec::new();
        for link in links.iter().flat_map(Link::each_address) {
            let Some(to) = link.broadcast().map(|ip| SocketAddrV4::new(ip, port)) else { continue };
            // Two addresses of one network reach the same machines.
            if sockets.iter().any(|socket| socket.to == to && socket.link.index == link.index) {
                continue;
            }
            match NetworkSocket::open(&link, to) {
                Ok(socket) => sockets.push(socket),
                Err(error) => failed.push((link, error)),
            }
        }
        if sockets.is_empty() && !failed.is_empty() {
            return Err(failed.swap_remove(0).1);
        }
        Ok(Self { sockets, failed })
    }

    /// Returns the networks that it cannot send to, and why.
    #[must_use]
    pub fn failed(&self) -> &[(Link, SocketError)] {
        &self.failed
    }

    /// Returns the interfaces that it sends through, each with the address it sends to; may be none.
    pub fn networks(&self) -> impl Iterator<Item = (&Link, SocketAddrV4)> {
        self.sockets.iter().map(|socket| (&socket.link, socket.to))
    }

    /// Sends one datagram through each interface, without blocking. Returns through how many it left; failures are
    /// given to `failed`, to be counted.
    pub fn send(&self, payload: &[u8], mut failed: impl FnMut(&Link, io::Error)) -> usize {
        let sends = self
            .sockets
            .iter()
            .map(|socket| socket.socket.send_to(payload, socket.to).map_err(|e| failed(&socket.link, e)));
        sends.filter(Result::is_ok).count()
    }
}

impl NetworkSocket {
    fn open(link: &Link, to: SocketAddrV4) -> Result<Self, SocketError> {
        let socket = socket::open(SocketAddrV4::new(link.ip, 0), PortSharing::Alone)?;
        socket.set_broadcast(true).map_err(SocketError::system("allow broadcast"))?;
        Ok(Self { socket: socket.into(), link: link.clone(), to })
    }
}

/// Hears broadcasts to `port` on all interfaces, beside other programs that do; also unicast to that port.
///
/// Bound to 0.0.0.0, because a socket bound to the interface's own address hears no broadcast.
///
/// # Errors
/// [`SocketError`] if a program that does not share it has the port.
pub fn open_listener(port: u16) -> Result<UdpSocket, SocketError> {
    Ok(socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), PortSharing::Shared)?.into())
}
