//! What all UDP sockets here share: how they are made, and what can go wrong in words that say what to do.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use rustix::net::{sockopt::Ipv4PathMtuDiscovery, sockopt::set_ip_mtu_discover};
use socket2::{Domain, Protocol, Socket, Type};

/// Where a datagram came from. Repairs and answers go there only after the engine has decided so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenderAddr(pub SocketAddrV4);

impl fmt::Display for SenderAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A socket that could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another program has the port.
    #[error("UDP port {} is in use on {}; end the other program or choose another port", .0.port(), .0.ip())]
    PortInUse(SocketAddrV4),
    /// The address is not this machine's (any more).
    #[error("this machine has no address {0}; choose another interface")]
    NoSuchAddress(Ipv4Addr),
    /// More memberships than the system allows one socket.
    #[error(
        "the system allows no further membership for {group}; raise it with `sysctl -w net.ipv4.igmp_max_memberships=200`"
    )]
    TooManyMemberships {
        /// The group that could not be joined.
        group: Ipv4Addr,
    },
    /// The interface vanished or cannot join.
    #[error("interface {interface} cannot join {group}: it is gone or cannot multicast; choose another")]
    NoDevice {
        /// The name of the interface.
        interface: String,
        /// The group that could not be joined.
        group: Ipv4Addr,
    },
    /// No interface was given to join on.
    #[error("no interface was chosen to hear multicast on")]
    NoInterface,
    /// A low port, or a sandbox.
    #[error("not allowed to use UDP port {}; choose one above 1023", .0.port())]
    NotAllowed(SocketAddrV4),
    /// Anything else that the system says.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried, in words that follow "cannot".
        action: &'static str,
        /// The error that the system returned.
        source: io::Error,
    },
}

impl SocketError {
    pub(crate) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are many")]
    pub(crate) fn joining(group: Ipv4Addr, interface: &str, source: io::Error) -> Self {
        match errno(&source) {
            Errno::ENOBUFS | Errno::ENOMEM => Self::TooManyMemberships { group },
            Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::ENXIO => {
                Self::NoDevice { interface: interface.to_owned(), group }
            }
            _ => Self::System { action: "join the multicast group", source },
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are many")]
    fn binding(addr: SocketAddrV4, source: io::Error) -> Self {
        match errno(&source) {
            Errno::EADDRINUSE => Self::PortInUse(addr),
            Errno::EADDRNOTAVAIL => Self::NoSuchAddress(*addr.ip()),
            Errno::EACCES | Errno::EPERM => Self::NotAllowed(addr),
            _ => Self::System { action: "bind a UDP socket", source },
        }
    }
}

/// Whether several sockets may have one port, each with its own copy of multicast and broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PortSharing {
    Alone,
    Shared,
}

/// Socket buffers that hold what arrives while the thread does something else: about 10 ms at 1 Gbit/s, doubled by the
/// kernel for its own bookkeeping.
pub(crate) const BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// A non-blocking UDP socket with large buffers and without fragmentation.
pub(crate) fn open(addr: SocketAddrV4, sharing: PortSharing) -> Result<Socket, SocketError> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
        .map_err(SocketError::system("open a UDP socket"))?;
    prepare(&socket, sharing).map_err(SocketError::system("set up a UDP socket"))?;
    socket.bind(&addr.into()).map_err(|e| SocketError::binding(addr, e))?;
    Ok(socket)
}

fn prepare(socket: &Socket, sharing: PortSharing) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if sharing == PortSharing::Shared {
        // Both, because the other program that has the port may have set only one of them.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
    }
    // By default Linux delivers what any socket of this machine has joined, on interfaces that this one has not.
    socket.set_multicast_all_v4(false)?;
    // Members on the relay's own machine hear the relay only by this.
    socket.set_multicast_loop_v4(true)?;
    // PROBE sets DF like DO, but takes no forged ICMP message's word for a smaller path MTU.
    set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::PROBE)?;
    raise_buffers(socket);
    Ok(())
}

/// As far as allowed: beyond the system's limit with a privilege, else up to it. Never an error: less is only slower.
fn raise_buffers(socket: &Socket) {
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER_BYTES).is_err() {
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    }
}

pub(crate) fn local_addr(socket: &UdpSocket) -> Result<SocketAddrV4, SocketError> {
    match socket.local_addr().map_err(SocketError::system("read a socket's address"))? {
        SocketAddr::V4(addr) => Ok(addr),
        SocketAddr::V6(_) => unreachable!("all sockets here are opened for IPv4"),
    }
}

pub(crate) fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
