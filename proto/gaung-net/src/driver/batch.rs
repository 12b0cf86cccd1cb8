//! Several datagrams in one system call, on their way out.

use std::{
    array, fmt,
    io::IoSlice,
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
};

use bytes::Bytes;
use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, SockaddrIn, getsockopt, sendmsg, sockopt},
};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tracing::info;

use crate::socket;

/// How much a system call may take or give; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Batching {
    /// The batch holds one datagram.
    Single,
    /// Several datagrams (`sendmmsg`, `recvmmsg`), each through the network stack by itself.
    Messages,
    /// Datagrams of one length to one destination as a single packet, which the kernel or the network card cuts, and
    /// the receiving kernel may have joined (UDP GSO and GRO; `udp(7)`, `UDP_SEGMENT`).
    #[default]
    Segments,
}

/// A datagram and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutgoingDatagram {
    pub(super) payload: Bytes,
    pub(super) to: SocketAddrV4,
    /// IP time to live; `None` for the socket's own.
    pub(super) ttl: Option<u8>,
}

/// A socket's ways of sending. Each returns how many datagrams left, at least one, or why the first one did not.
pub(super) trait BatchSocket: fmt::Debug {
    /// Whether the kernel knows UDP GSO: one that does not would send segments as one long datagram.
    fn knows_segments(&self) -> Result<(), Errno>;
    /// Sends one datagram; returns the bytes that left.
    fn send_one(&self, datagram: &OutgoingDatagram) -> Result<usize, Errno>;
    /// Sends up to [`MAX_MESSAGES`] without a time to live of their own, by `sendmmsg`.
    fn send_messages(&self, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno>;
    /// Sends what [`segments`] found as one packet.
    fn send_segments(&self, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno>;
}

/// How one socket sends: as wanted, until the system refuses it.
#[derive(Debug)]
pub(super) struct BatchSender {
    batching: Batching,
}

/// Segments of one packet that every kernel with UDP GSO takes (`UDP_MAX_SEGMENTS`).
const MAX_SEGMENTS: usize = 64;
/// Payload of one packet before it is cut: what IPv4's length field leaves beside the headers.
const MAX_PACKET: usize = 65_507;
/// Datagrams of one `sendmmsg`; more spare little and cost stack.
const MAX_MESSAGES: usize = 16;

impl BatchSender {
    /// Asks the kernel once what it knows.
    pub(super) fn new(socket: &impl BatchSocket, wanted: Batching) -> Self {
        let mut sender = Self { batching: wanted };
        if wanted == Batching::Segments
            && let Err(errno) = socket.knows_segments()
        {
            sender.lower(socket, Batching::Messages, errno);
        }
        sender
    }

    /// Sends the first of `datagrams` (at least one) without blocking, and as many of those behind it as the same system
    /// call takes. Returns how many left.
    ///
    /// # Errors
    /// Why the first one did not leave; then none did.
    pub(super) fn send(&mut self, socket: &impl BatchSocket, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        let segments = if self.batching >= Batching::Segments { segments(datagrams) } else { 1 };
        let messages = if self.batching >= Batching::Messages { self.messages(datagrams) } else { 1 };
        let (below, sent) = if segments > 1 {
            (Batching::Messages, socket.send_segments(&datagrams[..segments]))
        } else if messages > 1 {
            (Batching::Single, socket.send_messages(&datagrams[..messages]))
        } else {
            return socket.send_one(&datagrams[0]);
        };
        match sent {
            Err(errno) if may_refuse_batches(errno) => {
                // Either the way of sending or these datagrams are at fault; alone, the first one tells which.
                let alone = socket.send_one(&datagrams[0])?;
                self.lower(socket, below, errno);
                Ok(alone)
            }
            sent => sent,
        }
    }

    /// How many datagrams from the first on go by `sendmmsg`: those with which no packet of segments begins.
    fn messages(&self, datagrams: &[OutgoingDatagram]) -> usize {
        let apart = |at: usize| {
            datagrams[at].ttl.is_none() && (self.batching < Batching::Segments || segments(&datagrams[at..]) == 1)
        };
        (0..datagrams.len().min(MAX_MESSAGES)).take_while(|&at| apart(at)).count()
    }

    fn lower(&mut self, socket: &impl BatchSocket, to: Batching, errno: Errno) {
        info!(?socket, %errno, refused = ?self.batching, instead = ?to, "sending in smaller batches");
        self.batching = to;
    }
}

/// How many datagrams from the first on fit one packet of segments: to one destination, of one length, of which the
/// last may fall short.
fn segments(datagrams: &[OutgoingDatagram]) -> usize {
    let Some(first) = datagrams.first() else { return 0 };
    let (length, mut bytes, mut count) = (first.payload.len(), first.payload.len(), 1);
    for datagram in datagrams.iter().take(MAX_SEGMENTS).skip(1) {
        let next = datagram.payload.len();
        let fits = next > 0 && next <= length && bytes + next <= MAX_PACKET;
        if !fits || datagram.to != first.to || datagram.ttl != first.ttl {
            break;
        }
        bytes += next;
        count += 1;
        if next < length {
            break;
        }
    }
    count
}

/// Also what a kernel says to a datagram that is too long, or with an address that it does not like.
fn may_refuse_batches(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP | Errno::ENOSYS
    )
}

impl BatchSocket for UdpSocket {
    fn knows_segments(&self) -> Result<(), Errno> {
        getsockopt(self, sockopt::UdpGsoSegment).map(drop)
    }

    fn send_one(&self, datagram: &OutgoingDatagram) -> Result<usize, Errno> {
        if datagram.ttl.is_some() {
            send_with_control(self, &[IoSlice::new(&datagram.payload)], datagram, None)?;
        } else {
            self.send_to(&datagram.payload, datagram.to).map_err(|error| socket::errno(&error))?;
        }
        Ok(1)
    }

    fn send_messages(&self, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        let last = datagrams.len() - 1;
        let mut parts: [(SocketAddrAny, [IoSlice<'_>; 1], SendAncillaryBuffer<'_, '_, '_>); MAX_MESSAGES] =
            array::from_fn(|at| {
                let datagram = &datagrams[at.min(last)];
                (datagram.to.into(), [IoSlice::new(&datagram.payload)], SendAncillaryBuffer::default())
            });
        let mut headers = parts.each_mut().map(|(to, slices, control)| MMsgHdr::new_with_addr(to, slices, control));
        sendmmsg(self, &mut headers[..datagrams.len()], SendFlags::empty())
            .map_err(|errno| Errno::from_raw(errno.raw_os_error()))
    }

    fn send_segments(&self, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        let first = &datagrams[0];
        let length = u16::try_from(first.payload.len()).map_err(|_| Errno::EMSGSIZE)?;
        let mut slices = [IoSlice::new(&[]); MAX_SEGMENTS];
        for (slice, datagram) in slices.iter_mut().zip(datagrams) {
            *slice = IoSlice::new(&datagram.payload);
        }
        send_with_control(self, &slices[..datagrams.len()], first, Some(length))?;
        Ok(datagrams.len())
    }
}

/// Sends to `first`'s destination. The time to live travels with the datagram: as an option of the socket it would be
/// shared by all its clones.
fn send_with_control(
    socket: &UdpSocket,
    slices: &[IoSlice<'_>],
    first: &OutgoingDatagram,
    segment: Option<u16>,
) -> Result<(), Errno> {
    let (to, ttl) = (SockaddrIn::from(first.to), first.ttl.map(i32::from));
    let ttl = ttl.as_ref().map(ControlMessage::Ipv4Ttl);
    let segment = segment.as_ref().map(ControlMessage::UdpGsoSegments);
    let send = |control: &[ControlMessage<'_>]| {
        sendmsg(socket.as_raw_fd(), slices, control, MsgFlags::empty(), Some(&to)).map(drop)
    };
    match (ttl, segment) {
        (Some(ttl), Some(segment)) => send(&[ttl, segment]),
        (Some(one), None) | (None, Some(one)) => send(&[one]),
        (None, None) => send(&[]),
    }
}

#[cfg(test)]
mod tests;
