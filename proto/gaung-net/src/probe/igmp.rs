//! IGMP as it passes this machine: queries that come, reports that leave, and which queries a filter eats between the
//! wire and the system. Needs the right to open raw sockets (root or `CAP_NET_RAW`).

mod message;
mod querier;

use std::{
    io::{self, Read as _},
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{LinkAddr, recvfrom},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

pub use message::{IgmpMessage, IgmpPacket, IgmpVersion};
pub use querier::{QuerierReport, SearchLimits, search};

/// Sockets that see the IGMP of all interfaces.
#[derive(Debug)]
pub struct IgmpTap {
    arriving: Socket,
    leaving: Socket,
    accepted: Socket,
    buffer: Vec<u8>,
}

/// An IGMP packet, and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeenIgmp {
    /// It came in by an interface, before any filter of the system but those of the interface itself.
    Arrived {
        /// The number of the interface.
        interface: u32,
        /// The packet that came.
        packet: IgmpPacket,
    },
    /// The system took it in, past all filters.
    Accepted(IgmpPacket),
    /// It left through an interface, past all filters.
    Left {
        /// The number of the interface.
        interface: u32,
        /// The packet that left.
        packet: IgmpPacket,
    },
}

/// `ETH_P_IP` and `ETH_P_ALL` in network order; only sockets for all protocols see what leaves.
const IPV4: u16 = 0x0800_u16.to_be();
const ALL: u16 = 3_u16.to_be();
const IGMP: u8 = 2;
/// An IGMPv3 report fits one packet of any MTU in use.
const LARGEST: usize = 1 << 16;

impl IgmpTap {
    /// Begins to listen; whatever passes from now on is seen.
    ///
    /// # Errors
    /// [`io::ErrorKind::PermissionDenied`] without the right to raw sockets, and what else the system says.
    pub fn open() -> io::Result<Self> {
        let packet =
            |protocol: u16| Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol))));
        let arriving = packet(IPV4)?;
        arriving.attach_filter(&igmp_only())?;
        let leaving = packet(ALL)?;
        leaving.attach_filter(&outgoing_igmp_only())?;
        let accepted = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(IGMP))))?;
        for socket in [&arriving, &leaving, &accepted] {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { arriving, leaving, accepted, buffer: vec![0; LARGEST] })
    }

    /// The next packet; `None` if none came within `wait`.
    ///
    /// # Errors
    /// If waiting itself fails.
    pub fn next(&mut self, wait: Duration) -> io::Result<Option<SeenIgmp>> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(seen) = self.take() {
                return Ok(Some(seen));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut sockets = [&self.arriving, &self.leaving, &self.accepted]
                .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
            match poll(&mut sockets, PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What waits, without blocking. Packets that are no IGMP are dropped.
    fn take(&mut self) -> Option<SeenIgmp> {
        while let Some((length, interface)) = receive(&self.arriving, &mut self.buffer) {
            if let Some(packet) = IgmpPacket::decode(&self.buffer[..length]) {
                return Some(SeenIgmp::Arrived { interface, packet });
            }
        }
        while let Some((length, interface)) = receive(&self.leaving, &mut self.buffer) {
            if let Some(packet) = IgmpPacket::decode(&self.buffer[..length]) {
                return Some(SeenIgmp::Left { interface, packet });
            }
        }
        while let Ok(length) = (&self.accepted).read(&mut self.buffer) {
            if let Some(packet) = IgmpPacket::decode(&self.buffer[..length]) {
                return Some(SeenIgmp::Accepted(packet));
            }
        }
        None
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> Option<(usize, u32)> {
    let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer).ok()?;
    Some((length, u32::try_from(from?.ifindex()).ok()?))
}

// Classic BPF (Linux, Documentation/networking/filter.rst): without these the sockets would copy all traffic.
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// Offset of the protocol in an IPv4 header.
const IP_PROTOCOL: u32 = 9;
/// `SKF_AD_OFF + SKF_AD_PKTTYPE`.
const PACKET_TYPE: u32 = 0xffff_f004;
const PACKET_OUTGOING: u32 = 4;
const WHOLE: u32 = 0xffff;

fn igmp_only() -> [SockFilter; 4] {
    [
        SockFilter::new(LOAD_BYTE, 0, 0, IP_PROTOCOL),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(IGMP)),
        SockFilter::new(RETURN, 0, 0, WHOLE),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn outgoing_igmp_only() -> [SockFilter; 6] {
    [
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, PACKET_OUTGOING),
        SockFilter::new(LOAD_BYTE, 0, 0, IP_PROTOCOL),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(IGMP)),
        SockFilter::new(RETURN, 0, 0, WHOLE),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
