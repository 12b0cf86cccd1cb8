//! The sockets of one driver, by number.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::Arc,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg},
};

use super::{Counters, SocketChange, SocketId, outbox::Exits};
use crate::{
    broadcast,
    interface::{Link, Role},
    multicast::{DataSocket, GroupSocket},
    socket::{self, SenderAddr, SocketError},
};

/// Longer datagrams are cut: none of the protocol's is longer than 1400 bytes.
pub(super) const RECEIVE_BYTES: usize = 2048;

/// What a driver does with a [`DataSocket`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketUse {
    /// Read from it. Of several drivers that share a socket, one.
    pub receive: bool,
    /// Send the group's multicast through it.
    pub multicast: bool,
}

/// The sockets that a driver starts with.
#[derive(Debug, Default)]
pub struct DriverSockets {
    data: BTreeMap<SocketId, (DataSocket, SocketUse)>,
    receivers: BTreeMap<SocketId, UdpSocket>,
}

impl DriverSockets {
    /// None: a driver that only gets commands, or opens sockets by itself.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a socket to send from.
    #[must_use]
    pub fn data(mut self, id: SocketId, socket: DataSocket, usage: SocketUse) -> Self {
        self.data.insert(id, (socket, usage));
        self
    }

    /// Adds a group to hear.
    #[must_use]
    pub fn group(mut self, id: SocketId, socket: GroupSocket) -> Self {
        self.receivers.insert(id, socket.socket);
        self
    }

    /// Adds a listener to hear, such as [`broadcast::open_listener`]'s.
    #[must_use]
    pub fn listener(mut self, id: SocketId, socket: UdpSocket) -> Self {
        self.receivers.insert(id, socket);
        self
    }
}

pub(super) struct SocketTable {
    data: BTreeMap<SocketId, (DataSocket, SocketUse)>,
    /// Sockets that are read, sharing the file description with `data` where they are in both.
    readers: BTreeMap<SocketId, Reader>,
    counters: Arc<Counters>,
}

struct Reader {
    /// `None`: the socket in `data` of the same number.
    socket: Option<UdpSocket>,
    readable: bool,
}

impl SocketTable {
    pub(super) fn new(sockets: DriverSockets, counters: Arc<Counters>) -> Self {
        let read_data = sockets.data.iter().filter(|(_, (_, usage))| usage.receive).map(|(id, _)| (*id, None));
        let receivers = sockets.receivers.into_iter().map(|(id, socket)| (id, Some(socket)));
        let readers = read_data.chain(receivers).map(|(id, socket)| (id, Reader { socket, readable: true })).collect();
        Self { data: sockets.data, readers, counters }
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() + self.readers.len()
    }

    /// Applies a change; returns what to tell the drive about a socket that was to be opened.
    pub(super) fn change(&mut self, change: SocketChange) -> Option<(SocketId, Result<Vec<Link>, SocketError>)> {
        let (id, opened) = match change {
            SocketChange::Close(id) => {
                self.data.remove(&id);
                self.readers.remove(&id);
                return None;
            }
            SocketChange::OpenGroup { id, group, links } => {
                let opened = GroupSocket::open(group, &links).map(|socket| {
                    let failed = socket.failed().iter().map(|(link, _)| link.clone()).collect();
                    (socket.socket, failed)
                });
                (id, opened)
            }
            SocketChange::OpenBroadcast { id, port } => {
                (id, broadcast::open_listener(port).map(|socket| (socket, Vec::new())))
            }
        };
        self.data.remove(&id);
        self.readers.remove(&id);
        let outcome = opened.map(|(socket, failed)| {
            self.readers.insert(id, Reader { socket: Some(socket), readable: true });
            failed
        });
        if outcome.is_err() {
            self.counters.socket_failed();
        }
        Some((id, outcome))
    }

    /// The sockets that may hold datagrams.
    pub(super) fn readable(&self) -> Vec<SocketId> {
        self.readers.iter().filter(|(_, reader)| reader.readable).map(|(id, _)| *id).collect()
    }

    pub(super) fn mark(&mut self, id: SocketId, readable: bool) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.readable = readable;
        }
    }

    /// The next datagram of a socket; `None` once there is none, or no such socket.
    pub(super) fn receive(&mut self, id: SocketId, buffer: &mut [u8]) -> Option<(usize, SenderAddr)> {
        let reader = self.readers.get_mut(&id)?;
        let socket = match &reader.socket {
            Some(socket) => socket,
            None => &self.data.get(&id)?.0.socket,
        };
        loop {
            match socket.recv_from(buffer) {
                Ok((length, SocketAddr::V4(from))) => {
                    self.counters.received(length);
                    return Some((length, SenderAddr(from)));
                }
                Ok((_, SocketAddr::V6(_))) => unreachable!("all sockets here are opened for IPv4"),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.counters.receive_failed();
                    }
                    reader.readable = false;
                    return None;
                }
            }
        }
    }

    /// Appends one entry for each socket that is read, and returns their numbers in the same order; then one for
    /// `blocked`, the socket that must become writable.
    pub(super) fn poll_fds<'a>(&'a self, blocked: Option<SocketId>, fds: &mut Vec<PollFd<'a>>) -> Vec<SocketId> {
        let mut ids = Vec::with_capacity(self.len());
        for (id, reader) in &self.readers {
            let socket = reader.socket.as_ref().or_else(|| self.data.get(id).map(|(data, _)| &data.socket));
            if let Some(socket) = socket {
                fds.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
                ids.push(*id);
            }
        }
        if let Some((data, _)) = blocked.and_then(|id| self.data.get(&id)) {
            fds.push(PollFd::new(data.socket.as_fd(), PollFlags::POLLOUT));
        }
        ids
    }
}

impl Exits for SocketTable {
    fn multicast_from(&self, first: SocketId) -> Option<SocketId> {
        self.data.range(first..).find(|(_, (_, usage))| usage.multicast).map(|(id, _)| *id)
    }

    /// Without a wish or a socket that fits it: the one whose network the peer is in, else one bound to all addresses,
    /// else any that can reach another machine.
    fn unicast_to(&self, peer: Ipv4Addr, from: Option<Ipv4Addr>) -> Option<SocketId> {
        let find = |fits: &dyn Fn(&DataSocket) -> bool| {
            self.data.iter().find(|(_, (socket, _))| fits(socket)).map(|(id, _)| *id)
        };
        let own = |ip: Ipv4Addr| find(&|socket| *socket.local_addr().ip() == ip);
        let near = || find(&|socket| socket.link().is_some_and(|link| link.contains(peer)));
        let any = || find(&|socket| socket.link().is_none());
        let leads_out = |link: &Link| link.role != Role::Loopback && !peer.is_loopback();
        let far = || find(&|socket| socket.link().is_some_and(leads_out));
        from.and_then(own).or_else(near).or_else(any).or_else(far)
    }

    fn send(&self, id: SocketId, payload: &[u8], to: SocketAddrV4, ttl: u8) -> Result<(), Errno> {
        let Some((data, _)) = self.data.get(&id) else { return Ok(()) };
        let sent = if to.ip().is_multicast() && ttl != DEFAULT_TTL {
            send_with_ttl(&data.socket, payload, to, ttl)
        } else {
            data.socket.send_to(payload, to).map_err(|e| socket::errno(&e))
        };
        sent.map(|bytes| self.counters.sent(bytes))
    }
}

/// What the system gives multicast unless told otherwise.
const DEFAULT_TTL: u8 = 1;

/// The time to live travels with the datagram: as an option of the socket it would be shared by all its clones.
fn send_with_ttl(socket: &UdpSocket, payload: &[u8], to: SocketAddrV4, ttl: u8) -> Result<usize, Errno> {
    let (slices, ttl) = ([io::IoSlice::new(payload)], i32::from(ttl));
    let control = [ControlMessage::Ipv4Ttl(&ttl)];
    sendmsg(socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))
}
