//! The sockets of one driver, by number.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsFd as _,
    sync::Arc,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
};

use super::{
    Batching, Counters, SocketChange, SocketId,
    batch::{BatchSender, Datagram},
    outbox::Exits,
    receive::{BatchReceiver, Received},
};
use crate::{
    broadcast,
    interface::{Link, Role},
    multicast::{DataSocket, GroupSocket},
    socket::SocketError,
};

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
    batching: Batching,
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

    /// How much a system call may take or give, with these sockets and those that are opened later; as much as the system
    /// can, unless told otherwise.
    #[must_use]
    pub const fn batching(mut self, batching: Batching) -> Self {
        self.batching = batching;
        self
    }
}

pub(super) struct SocketTable {
    data: BTreeMap<SocketId, Exit>,
    /// Sockets that are read, sharing the file description with `data` where they are in both.
    readers: BTreeMap<SocketId, Reader>,
    batching: Batching,
    counters: Arc<Counters>,
}

/// A socket to send from.
struct Exit {
    data: DataSocket,
    usage: SocketUse,
    sender: BatchSender,
}

struct Reader {
    /// `None`: the socket in `data` of the same number.
    socket: Option<UdpSocket>,
    receiver: BatchReceiver,
    readable: bool,
}

impl SocketTable {
    pub(super) fn new(sockets: DriverSockets, counters: Arc<Counters>) -> Self {
        let DriverSockets { data, receivers, batching } = sockets;
        let reader = |socket: &UdpSocket| BatchReceiver::new(socket, batching);
        let mut readers = BTreeMap::new();
        for (id, (data, _)) in data.iter().filter(|(_, (_, usage))| usage.receive) {
            readers.insert(*id, Reader { socket: None, receiver: reader(&data.socket), readable: true });
        }
        for (id, socket) in receivers {
            readers.insert(id, Reader { receiver: reader(&socket), socket: Some(socket), readable: true });
        }
        let exit = |(id, (data, usage)): (_, (DataSocket, _))| {
            (id, Exit { sender: BatchSender::new(&data.socket, batching), data, usage })
        };
        Self { data: data.into_iter().map(exit).collect(), readers, batching, counters }
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
            let receiver = BatchReceiver::new(&socket, self.batching);
            self.readers.insert(id, Reader { socket: Some(socket), receiver, readable: true });
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

    /// Receives from a socket, about `budget` datagrams at most. Returns how many; none if there are none, or no such
    /// socket.
    pub(super) fn receive(&mut self, id: SocketId, budget: usize, received: &mut Received) -> usize {
        let Some(reader) = self.readers.get_mut(&id) else { return 0 };
        let Some(socket) = reader.socket.as_ref().or_else(|| self.data.get(&id).map(|exit| &exit.data.socket)) else {
            return 0;
        };
        loop {
            match reader.receiver.receive(socket, budget, received) {
                Ok(more) => {
                    reader.readable = more;
                    let bytes = received.datagrams().map(|(_, bytes)| bytes.len());
                    let (count, bytes) = bytes.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
                    self.counters.received(count, bytes);
                    (0..received.unreadable()).for_each(|_| self.counters.receive_failed());
                    return count;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    if errno != Errno::EAGAIN {
                        self.counters.receive_failed();
                    }
                    reader.readable = false;
                    return 0;
                }
            }
        }
    }

    /// Whether a socket may hold datagrams.
    pub(super) fn is_readable(&self, id: SocketId) -> bool {
        self.readers.get(&id).is_some_and(|reader| reader.readable)
    }

    /// Appends one entry for each socket that is read, and returns their numbers in the same order; then one for
    /// `blocked`, the socket that must become writable.
    pub(super) fn poll_fds<'a>(&'a self, blocked: Option<SocketId>, fds: &mut Vec<PollFd<'a>>) -> Vec<SocketId> {
        let mut ids = Vec::with_capacity(self.len());
        for (id, reader) in &self.readers {
            let socket = reader.socket.as_ref().or_else(|| self.data.get(id).map(|exit| &exit.data.socket));
            if let Some(socket) = socket {
                fds.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN));
                ids.push(*id);
            }
        }
        if let Some(exit) = blocked.and_then(|id| self.data.get(&id)) {
            fds.push(PollFd::new(exit.data.socket.as_fd(), PollFlags::POLLOUT));
        }
        ids
    }
}

impl Exits for SocketTable {
    fn multicast_from(&self, first: SocketId) -> Option<SocketId> {
        self.data.range(first..).find(|(_, exit)| exit.usage.multicast).map(|(id, _)| *id)
    }

    /// Without a wish or a socket that fits it: the one whose network the peer is in, else one bound to all addresses,
    /// else any that can reach another machine.
    fn unicast_to(&self, peer: Ipv4Addr, from: Option<Ipv4Addr>) -> Option<SocketId> {
        let find =
            |fits: &dyn Fn(&DataSocket) -> bool| self.data.iter().find(|(_, exit)| fits(&exit.data)).map(|(id, _)| *id);
        let own = |ip: Ipv4Addr| find(&|socket| *socket.local_addr().ip() == ip);
        let near = || find(&|socket| socket.link().is_some_and(|link| link.contains(peer)));
        let any = || find(&|socket| socket.link().is_none());
        let leads_out = |link: &Link| link.role != Role::Loopback && !peer.is_loopback();
        let far = || find(&|socket| socket.link().is_some_and(leads_out));
        from.and_then(own).or_else(near).or_else(any).or_else(far)
    }

    /// Of a socket that was closed meanwhile nothing is expected.
    fn send(&mut self, id: SocketId, datagrams: &[Datagram]) -> Result<usize, Errno> {
        let Some(exit) = self.data.get_mut(&id) else { return Ok(datagrams.len()) };
        let sent = exit.sender.send(&exit.data.socket, datagrams)?;
        self.counters.sent(sent, datagrams[..sent].iter().map(|datagram| datagram.payload.len()).sum());
        Ok(sent)
    }
}
