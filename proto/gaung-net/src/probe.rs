//! Looks at a network by sockets, as `gaung doctor` needs it: is one's own multicast and broadcast heard ([`echo`]), who
//! speaks IGMP ([`igmp`]), which way the system would take ([`source_towards`]), who else sends to a group ([`overhear`]),
//! what passes between this machine and another ([`exchange`]).
//!
//! Everything here blocks, for as long as the caller says.

mod answers;
pub mod echo;
pub mod exchange;
pub mod igmp;
mod overhear;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
};

pub use answers::AnswerTap;
pub use overhear::overhear;
use socket2::SockRef;

use crate::socket::{self, SocketError};

/// The own address that the system would send from to `to`, by its routing alone, as for a program that names no
/// interface. Sends nothing.
///
/// # Errors
/// What the system says, such as that the network is unreachable.
pub fn source_towards(to: SocketAddrV4) -> io::Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    match socket.local_addr()? {
        SocketAddr::V4(own) => Ok(*own.ip()),
        SocketAddr::V6(_) => unreachable!("the socket was opened for IPv4"),
    }
}

/// A receive buffer as the data plane gets it, in bytes as they are asked for: the kernel keeps as much again for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiveBuffer {
    /// What a data socket asks for.
    pub wanted_bytes: usize,
    /// The bytes that the kernel grants.
    pub got_bytes: usize,
}

/// Opens a socket as the data plane does and sees how large its receive buffer is.
///
/// # Errors
/// [`SocketError`] if no socket can be opened.
pub fn receive_buffer() -> Result<ReceiveBuffer, SocketError> {
    let socket = socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), socket::PortSharing::Alone)?;
    let doubled = SockRef::from(&socket).recv_buffer_size().map_err(SocketError::system("read a buffer's size"))?;
    Ok(ReceiveBuffer { wanted_bytes: socket::BUFFER_BYTES, got_bytes: doubled / 2 })
}
