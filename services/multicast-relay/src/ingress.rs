//! The thread that receives the datagrams of members and clients and dispatches each to its group's worker.

use std::{
    collections::{HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use gaung_engine::{Cookies, Destination, Transmit};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{Drive, SocketChange, SocketId},
    interface::Link,
};
use gaung_proto::{
    ClientId, ClientSeq, GroupId, GroupTag, Pkt, Seq,
    body::{Puback, Publish, PublishOutcome},
    datagram::{Header, PacketType},
};

use crate::{
    metrics::RelayFigures,
    sockets::{DataPlane, DriverRole},
    worker::{ReceivedDatagram, WorkerCommand, WorkerHandle},
};

/// A change of the routes from tags to workers, or of the sockets.
#[derive(Debug)]
pub(crate) enum RouteChange {
    /// Dispatch datagrams of these tags to the group's worker.
    Add { tags: Vec<GroupTag>, group: GroupId, worker: WorkerHandle },
    /// Remove the tags, unless one has passed to another group meanwhile.
    Remove { tags: Vec<GroupTag>, group: GroupId },
    /// Receive from these sockets from now on.
    Sockets(Arc<DataPlane>),
}

/// The engine of the ingress thread. It reads a datagram's header and leaves the body to the worker.
#[derive(Debug)]
pub(crate) struct Ingress {
    routes: HashMap<GroupTag, (GroupId, WorkerHandle)>,
    plane: Arc<DataPlane>,
    own: HashMap<SocketId, Ipv4Addr>,
    changes: VecDeque<SocketChange>,
    cookies: Cookies,
    figures: RelayFigures,
    answers: VecDeque<Transmit>,
    next_pkt: u32,
}

/// Most PUBACKs that wait to be sent for unknown groups; further ones are dropped.
const MAX_ANSWERS: usize = 256;

impl Ingress {
    pub(crate) fn new(plane: Arc<DataPlane>, cookies: Cookies, figures: RelayFigures) -> Self {
        let mut ingress = Self {
            routes: HashMap::new(),
            plane: Arc::default(),
            own: HashMap::new(),
            changes: VecDeque::new(),
            cookies,
            figures,
            answers: VecDeque::new(),
            next_pkt: Pkt::FIRST_OTHER.0,
        };
        ingress.handle_sockets(plane);
        ingress
    }

    fn handle_sockets(&mut self, plane: Arc<DataPlane>) {
        self.changes.extend(plane.changes(&self.plane, DriverRole::Receive));
        self.own = plane.addrs().map(|(id, addr)| (id, *addr.ip())).collect();
        self.plane = plane;
    }

    fn hand_on(&mut self, from: SocketAddrV4, own: Option<Ipv4Addr>, header: Header, body: &[u8]) {
        let Some((group, worker)) = self.routes.get(&header.tag) else {
            return self.answer_unknown(from, own, &header, body);
        };
        // Copied once: the worker takes it later, when the driver has received something else into this buffer.
        let body = Bytes::copy_from_slice(body);
        let datagram = ReceivedDatagram { group: *group, from, own, header, body };
        if worker.send(WorkerCommand::Datagram(datagram)).is_err() {
            self.figures.datagrams_dropped.inc();
        }
    }

    /// Answers a PUBLISH for an unknown group with NOT_FOUND. The answer is shorter than the request, so that a forged source
    /// address amplifies nothing.
    fn answer_unknown(&mut self, from: SocketAddrV4, own: Option<Ipv4Addr>, header: &Header, body: &[u8]) {
        self.figures.datagrams_ignored.inc();
        if header.packet_type != PacketType::Publish || self.answers.len() >= MAX_ANSWERS {
            return;
        }
        let Ok(publish) = Publish::decode(body) else { return };
        let puback = Puback {
            client: ClientId::from(publish.sender),
            client_seq: ClientSeq(header.seq.0),
            cookie: self.cookies.of(from),
            outcome: PublishOutcome::NotFound,
        };
        let mut body = BytesMut::new();
        puback.write(&mut body);
        let pkt = Pkt(self.next_pkt);
        self.next_pkt = self.next_pkt.checked_add(1).unwrap_or(Pkt::FIRST_OTHER.0);
        let header = Header { packet_type: PacketType::Puback, flags: 0, pkt, seq: Seq::ZERO, ..*header };
        // From the address that was written to: filters and NATs on the way drop answers from any other.
        let destination = Destination::Unicast { peer: from, from: own };
        self.answers.push_back(Transmit { destination, payload: header.encode(&body), ttl: 1 });
    }
}

impl Drive for Ingress {
    type Command = RouteChange;

    fn handle_command(&mut self, _now: Instant, command: RouteChange) {
        match command {
            RouteChange::Add { tags, group, worker } => {
                self.routes.extend(tags.into_iter().map(|tag| (tag, (group, worker.clone()))));
            }
            RouteChange::Remove { tags, group } => {
                for tag in tags {
                    if self.routes.get(&tag).is_some_and(|(known, _)| *known == group) {
                        self.routes.remove(&tag);
                    }
                }
            }
            RouteChange::Sockets(plane) => self.handle_sockets(plane),
        }
    }

    fn handle_datagram(&mut self, _now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        let own = self.own.get(&socket).copied();
        let Ok((header, body)) = Header::decode(bytes) else {
            self.figures.datagrams_ignored.inc();
            return;
        };
        match header.packet_type {
            PacketType::Nak | PacketType::Status | PacketType::Probe | PacketType::Publish => {
                self.hand_on(from.0, own, header, body);
            }
            PacketType::Data
            | PacketType::Heartbeat
            | PacketType::Ncf
            | PacketType::Parity
            | PacketType::Migrate
            | PacketType::Puback
            | PacketType::Broadcast => {
                self.figures.datagrams_ignored.inc();
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn handle_socket(&mut self, _now: Instant, _socket: SocketId, _outcome: Result<Vec<Link>, SocketError>) {}

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.answers.pop_front()
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        self.changes.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
