//! Several datagrams from one system call, on their way in.

use std::{
    array,
    io::IoSliceMut,
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, recvmmsg, recvmsg, setsockopt, sockopt,
    },
};
use tracing::info;

use super::Batching;
use crate::socket::SenderAddr;

/// Longer datagrams are cut: none of the protocol's is longer than 1400 bytes.
pub(super) const RECEIVE_BYTES: usize = 2048;

/// How one socket receives: as wanted, until the system refuses it.
#[derive(Debug)]
pub(super) struct BatchReceiver {
    batching: Batching,
    /// Most datagrams that were joined in one packet, last time.
    joined: usize,
}

/// What one system call received, in order. One serves all sockets of a thread.
#[derive(Default)]
pub(super) struct ReceivedBatch {
    bytes: Vec<u8>,
    packets: Vec<ReceivedPacket>,
    /// Packets that cannot be taken apart.
    unreadable: usize,
    control: Vec<u8>,
}

/// One datagram, or several that the kernel joined.
#[derive(Debug, Clone, Copy)]
struct ReceivedPacket {
    slot: usize,
    length: usize,
    /// Length of each datagram in it but the last.
    segment: usize,
    from: SocketAddrV4,
}

/// Packets of one system call.
const MAX_PACKETS: usize = 16;
/// Place for one packet: the longest that there is, and a little more, so that the beginnings of all do not compete for
/// the same lines of the processor's cache. What no packet reaches stays untouched, without memory behind it.
const SLOT_BYTES: usize = (1 << 16) + 1088;

impl BatchReceiver {
    /// Asks the kernel to join datagrams, if that is wanted.
    pub(super) fn new(socket: &UdpSocket, wanted: Batching) -> Self {
        let mut receiver = Self { batching: wanted, joined: 1 };
        if wanted == Batching::Segments
            && let Err(errno) = setsockopt(socket, sockopt::UdpGroSegment, &true)
        {
            receiver.lower(socket, Batching::Messages, errno);
        }
        receiver
    }

    /// Receives without blocking; `budget`: about how many datagrams are wanted. Returns true if there may be more.
    ///
    /// # Errors
    /// Why nothing was received; `EAGAIN` if nothing is there.
    pub(super) fn receive(
        &mut self,
        socket: &UdpSocket,
        budget: usize,
        received: &mut ReceivedBatch,
    ) -> Result<bool, Errno> {
        let joins = self.batching >= Batching::Segments;
        let packets = budget.div_ceil(self.joined).clamp(1, MAX_PACKETS);
        let full = if self.batching == Batching::Single || packets == 1 {
            received.one(socket, joins)?
        } else {
            match received.several(socket, packets, joins) {
                Err(Errno::ENOSYS) => {
                    self.lower(socket, Batching::Single, Errno::ENOSYS);
                    received.one(socket, joins)?
                }
                outcome => outcome?,
            }
        };
        self.joined = received.packets.iter().map(ReceivedPacket::datagrams).max().unwrap_or(1);
        Ok(full)
    }

    fn lower(&mut self, socket: &UdpSocket, to: Batching, errno: Errno) {
        let local = socket.local_addr().ok();
        info!(?local, %errno, refused = ?self.batching, instead = ?to, "receiving in smaller batches");
        self.batching = to;
    }
}

impl ReceivedBatch {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; MAX_PACKETS * SLOT_BYTES],
            packets: Vec::with_capacity(MAX_PACKETS),
            unreadable: 0,
            control: cmsg_space!(i32),
        }
    }

    /// The datagrams, each with its sender.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (SenderAddr, &[u8])> {
        self.packets.iter().flat_map(|packet| {
            let bytes = &self.bytes[packet.slot * SLOT_BYTES..][..packet.length];
            (0..packet.datagrams()).map(move |at| {
                let rest = &bytes[at * packet.segment..];
                let length = rest.len().min(packet.segment).min(RECEIVE_BYTES);
                (SenderAddr(packet.from), &rest[..length])
            })
        })
    }

    /// How many packets could not be taken apart.
    pub(super) const fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Receives one packet, which may hold several joined datagrams.
    fn one(&mut self, socket: &UdpSocket, joins: bool) -> Result<bool, Errno> {
        self.clear();
        let mut slices = [IoSliceMut::new(&mut self.bytes[..SLOT_BYTES])];
        let control = joins.then_some(self.control.as_mut_slice());
        let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, control, MsgFlags::MSG_DONTWAIT)?;
        match ReceivedPacket::of(0, &message) {
            Some(packet) => self.packets.push(packet),
            None => self.unreadable += 1,
        }
        Ok(true)
    }

    /// Receives up to `most` packets.
    fn several(&mut self, socket: &UdpSocket, most: usize, joins: bool) -> Result<bool, Errno> {
        self.clear();
        // Made anew for each call, because the kernel leaves in them the lengths of what it gave, not of the room there is.
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(most, joins.then(|| cmsg_space!(i32)));
        let mut slots = self.bytes.chunks_exact_mut(SLOT_BYTES);
        let mut slices: [_; MAX_PACKETS] = array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let messages = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices[..most], MsgFlags::MSG_DONTWAIT, None)?;
        for (slot, message) in messages.enumerate() {
            match ReceivedPacket::of(slot, &message) {
                Some(packet) => self.packets.push(packet),
                None => self.unreadable += 1,
            }
        }
        Ok(self.packets.len() + self.unreadable == most)
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.unreadable = 0;
    }
}

impl ReceivedPacket {
    /// `None` if the system did not tell how to take it apart, or from whom it is.
    fn of(slot: usize, message: &RecvMsg<'_, '_, SockaddrIn>) -> Option<Self> {
        let from = message.address.map(SocketAddrV4::from)?;
        let segment = message.cmsgs().ok()?.find_map(|control| {
            let ControlMessageOwned::UdpGroSegments(segment) = control else { return None };
            usize::try_from(segment).ok()
        });
        let segment = segment.filter(|&segment| segment > 0).unwrap_or(message.bytes.max(1));
        Some(Self { slot, length: message.bytes, segment, from })
    }

    /// How many datagrams it holds; an empty one is one.
    fn datagrams(&self) -> usize {
        self.length.div_ceil(self.segment).max(1)
    }
}

#[cfg(test)]
mod tests;
