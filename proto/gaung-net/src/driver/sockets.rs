//! The sockets of one driver, by number.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::AsFd as _,
    sync::Arc,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
};

use super::{
    Batching, Counters, SocketChange, SocketId,
    batch::{BatchSender, OutgoingDatagram},
    outbox::ExitSockets,
    receive::{BatchReceiver, ReceivedBatch},
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
    groups: BTreeMap<SocketId, GroupSocket>,
    listeners: BTreeMap<SocketId, UdpSocket>,
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
        self.groups.insert(id, socket);
        self
    }

    /// Adds a listener to hear, such as [`broadcast::open_listener`]'s.
    #[must_use]
    pub fn listener(mut self, id: SocketId, socket: UdpSocket) -> Self {
        self.listeners.insert(id, socket);
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
    data: BTreeMap<SocketId, ExitSocket>,
    groups: BTreeMap<SocketId, GroupSocket>,
    /// Sockets that are read, sharing the file description with `data` and `groups`.
    readers: BTreeMap<ReaderId, ReadSocket>,
    batching: Batching,
    counters: Arc<Counters>,
}

/// A socket that is read: several are one to the drive where a group has more memberships than one socket can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReaderId {
    pub(super) socket: SocketId,
    part: usize,
}

/// A socket to send from.
struct ExitSocket {
    data: DataSocket,
    usage: SocketUse,
    sender: BatchSender,
}

struct ReadSocket {
    socket: Arc<UdpSocket>,
    receiver: BatchReceiver,
    readable: bool,
}

impl SocketTable {
    pub(super) fn new(sockets: DriverSockets, counters: Arc<Counters>) -> Self {
        let DriverSockets { data, groups, listeners, batching } = sockets;
        let (readers, none) = (BTreeMap::new(), BTreeMap::new());
        let mut table = Self { data: BTreeMap::new(), groups: none, readers, batching, counters };
        for (id, (data, usage)) in data {
            table.adopt(id, data, usage);
        }
        for (id, socket) in listeners {
            table.read(id, [Arc::new(socket)]);
        }
        for (id, group) in groups {
            table.read(id, group.sockets().map(Arc::clone));
            table.groups.insert(id, group);
        }
        table
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() + self.readers.len()
    }

    /// Applies a change; returns what to tell the drive about a socket that was to be opened.
    pub(super) fn change(&mut self, change: SocketChange) -> Option<(SocketId, Result<Vec<Link>, SocketError>)> {
        let (id, outcome) = match change {
            SocketChange::Close(id) => {
                self.close(id);
                return None;
            }
            SocketChange::Adopt { id, socket, usage } => {
                self.close(id);
                self.adopt(id, socket, usage);
                return None;
            }
            SocketChange::OpenGroup { id, group, links } => (id, self.open_group(id, group, &links)),
            SocketChange::OpenBroadcast { id, port } => {
                self.close(id);
                let opened = broadcast::open_listener(port);
                (id, opened.map(|socket| self.read(id, [Arc::new(socket)])).map(|()| Vec::new()))
            }
        };
        if outcome.is_err() {
            self.counters.socket_failed();
        }
        Some((id, outcome))
    }

    fn close(&mut self, id: SocketId) {
        self.data.remove(&id);
        self.groups.remove(&id);
        self.readers.retain(|reader, _| reader.socket != id);
    }

    fn adopt(&mut self, id: SocketId, data: DataSocket, usage: SocketUse) {
        if usage.receive {
            self.read(id, [Arc::clone(&data.socket)]);
        }
        let sender = BatchSender::new(&*data.socket, self.batching);
        self.data.insert(id, ExitSocket { data, usage, sender });
    }

    /// One that is open for the same group stays so, with what waits in it.
    fn open_group(&mut self, id: SocketId, group: SocketAddrV4, links: &[Link]) -> Result<Vec<Link>, SocketError> {
        let socket = match self.groups.remove(&id).filter(|open| open.group() == group) {
            Some(mut socket) => {
                socket.relink(links);
                socket
            }
            None => {
                self.close(id);
                GroupSocket::open(group, links)?
            }
        };
        let failed = socket.failed().iter().map(|(link, _)| link.clone()).collect();
        self.read(id, socket.sockets().map(Arc::clone));
        self.groups.insert(id, socket);
        Ok(failed)
    }

    /// Reads from these sockets under a number, and from no others.
    fn read(&mut self, id: SocketId, sockets: impl IntoIterator<Item = Arc<UdpSocket>>) {
        let sockets: Vec<_> = sockets.into_iter().collect();
        self.readers.retain(|reader, _| reader.socket != id || reader.part < sockets.len());
        for (part, socket) in sockets.into_iter().enumerate() {
            let id = ReaderId { socket: id, part };
            if self.readers.get(&id).is_none_or(|known| !Arc::ptr_eq(&known.socket, &socket)) {
                let receiver = BatchReceiver::new(&socket, self.batching);
                self.readers.insert(id, ReadSocket { socket, receiver, readable: true });
            }
        }
    }

    /// The sockets that may hold datagrams.
    pub(super) fn readable(&self) -> Vec<ReaderId> {
        self.readers.iter().filter(|(_, reader)| reader.readable).map(|(id, _)| *id).collect()
    }

    pub(super) fn mark(&mut self, id: ReaderId, readable: bool) {
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.readable = readable;
        }
    }

    /// Receives from a socket, about `budget` datagrams at most. Returns how many; none if there are none, or no such
    /// socket.
    pub(super) fn receive(&mut self, id: ReaderId, budget: usize, received: &mut ReceivedBatch) -> usize {
        let Some(reader) = self.readers.get_mut(&id) else { return 0 };
        loop {
            match reader.receiver.receive(&reader.socket, budget, received) {
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
    pub(super) fn is_readable(&self, id: ReaderId) -> bool {
        self.readers.get(&id).is_some_and(|reader| reader.readable)
    }

    /// Appends one entry for each socket that is read, and returns their numbers in the same order; then one for
    /// `blocked`, the socket that must become writable.
    pub(super) fn poll_fds<'a>(&'a self, blocked: Option<SocketId>, fds: &mut Vec<PollFd<'a>>) -> Vec<ReaderId> {
        fds.extend(self.readers.values().map(|reader| PollFd::new(reader.socket.as_fd(), PollFlags::POLLIN)));
        let ids = self.readers.keys().copied().collect();
        if let Some(exit) = blocked.and_then(|id| self.data.get(&id)) {
            fds.push(PollFd::new(exit.data.socket.as_fd(), PollFlags::POLLOUT));
        }
        ids
    }
}

impl ExitSockets for SocketTable {
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
    fn send(&mut self, id: SocketId, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno> {
        let Some(exit) = self.data.get_mut(&id) else { return Ok(datagrams.len()) };
        let multicast = || datagrams.first().is_some_and(|datagram| datagram.to.ip().is_multicast());
        let sent = match exit.sender.send(&*exit.data.socket, datagrams) {
            Ok(sent) => sent,
            Err(errno) => {
                if errno != Errno::EAGAIN && multicast() {
                    exit.data.note_failed(errno);
                }
                return Err(errno);
            }
        };
        if multicast() {
            exit.data.note_sent();
        }
        self.counters.sent(sent, datagrams[..sent].iter().map(|datagram| datagram.payload.len()).sum());
        Ok(sent)
    }
}
