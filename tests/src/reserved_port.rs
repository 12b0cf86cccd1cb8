//! A port for a service that comes, goes and comes again.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A TCP port of loopback on which nothing listens, and which no other process gets: a service may listen there, stop and
/// listen again. It is free once this is dropped.
#[derive(Debug)]
pub struct ReservedPort(Socket);

impl ReservedPort {
    /// Finds a free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn find() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Both who reserves and who listens set it; then the kernel lets them share the port.
        socket.set_reuse_address(true).expect("an option that every socket has");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        Self(socket)
    }

    /// The address, of which the port is free.
    ///
    /// # Panics
    /// Never: the socket is bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().ok().and_then(|addr| addr.as_socket()).expect("a bound socket has an address")
    }
}
