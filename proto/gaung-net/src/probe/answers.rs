//! Answers to discovery as they come in by an interface, before the system's filters: one that came and was not heard was
//! eaten on this machine.

use std::{
    io::{self, Read as _},
    net::Ipv4Addr,
};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

/// `ETH_P_IP` in network order.
const IPV4: u16 = 0x0800_u16.to_be();
/// More answers than a search waits for.
const MOST: u32 = 256;

// Classic BPF (Linux, Documentation/networking/filter.rst).
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEHIND: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Offset of the protocol in an IPv4 header.
const IP_PROTOCOL: u32 = 9;
const UDP: u32 = 17;

/// A socket that sees UDP from one port on all interfaces. Needs the right to open raw sockets (root or `CAP_NET_RAW`).
#[derive(Debug)]
pub struct AnswerTap {
    socket: Socket,
}

impl AnswerTap {
    /// Begins to see what comes from `port`.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] without that right, and what else the system says.
    pub fn open(port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(IPV4))))?;
        socket.attach_filter(&[
            SockFilter::new(LOAD_BYTE, 0, 0, IP_PROTOCOL),
            SockFilter::new(JUMP_IF_EQUAL, 0, 4, UDP),
            SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 0),
            SockFilter::new(LOAD_HALF_BEHIND, 0, 0, 0),
            SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(port)),
            SockFilter::new(RETURN, 0, 0, 0xffff),
            SockFilter::new(RETURN, 0, 0, 0),
        ])?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// How many datagrams to one of the `own` addresses, and from none of them, came since it was opened or last asked.
    pub fn count(&mut self, own: &[Ipv4Addr]) -> u32 {
        let mut header = [0; 20];
        let mut count = 0;
        while count < MOST
            && let Ok(length) = self.socket.read(&mut header)
        {
            let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
            if length == header.len() && own.contains(&address(16)) && !own.contains(&address(12)) {
                count += 1;
            }
        }
        count
    }
}
