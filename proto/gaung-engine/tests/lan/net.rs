//! A LAN in virtual time: one relay with its log, members, and a network that loses, doubles, delays and reorders.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{
    ArrivalSocket, Cookies, Destination, HistoryEnd, LanePolicy, ListenChange, MemberReceiver, ReceiverConfig,
    ReceiverEvent, RelaySender, RepairShares, SenderConfig, Transmit,
};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, Generation, GroupAddr, GroupId, GroupTag, LogId, SenderId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    datagram::Header,
    net::Lane,
    run::{Run, RunHeader},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

pub(crate) const GROUP: GroupId = GroupId([7; 16]);
pub(crate) const LOG: LogId = LogId(42);
/// Of the group, at first.
pub(crate) const HOME: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 1, 1), 20000);
pub(crate) const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 7402);

/// How bad the network is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) loss: f64,
    /// From members to the relay.
    pub(crate) loss_up: f64,
    pub(crate) double: f64,
    pub(crate) delay_us: (u64, u64),
}

pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) rng: SmallRng,
    pub(crate) weather: Weather,
    pub(crate) relay: RelaySender,
    pub(crate) log: Vec<Run>,
    pub(crate) members: Vec<Member>,
    /// UDP payload that the relay sent, bytes.
    pub(crate) relay_bytes: u64,
    /// When each run was published.
    pub(crate) published: Vec<Instant>,
    queue: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    flights: Vec<Option<Flight>>,
    count: u64,
}

pub(crate) struct Member {
    pub(crate) receiver: MemberReceiver,
    pub(crate) addr: SocketAddrV4,
    pub(crate) delivered: Vec<(Seq, Bytes, Lane)>,
    /// When.
    pub(crate) delivered_at: Vec<Instant>,
    pub(crate) lost: Vec<gaung_proto::SeqRange>,
    pub(crate) gaps: Vec<gaung_proto::SeqRange>,
    pub(crate) filled: Vec<gaung_proto::SeqRange>,
    pub(crate) forged: Vec<gaung_proto::SeqRange>,
    pub(crate) lanes: Vec<ReceiverEvent>,
    /// Takes events at all.
    pub(crate) reads: bool,
    /// Hears the group.
    pub(crate) hears: bool,
    /// The longest UDP payload that comes.
    pub(crate) longest: usize,
    /// Where it listens: the present address, and the one that the group may be going to.
    pub(crate) ears: Vec<SocketAddrV4>,
    /// Histories read.
    pub(crate) readings: usize,
    reading: Option<(Seq, Seq, Seq)>,
}

enum Flight {
    ToRelay { from: SocketAddrV4, payload: Bytes },
    ToMember { member: usize, via: ArrivalSocket, payload: Bytes },
    Read { member: usize },
}

impl Member {
    fn listen(&mut self) {
        while let Some(hearing) = self.receiver.poll_hearing() {
            match hearing {
                ListenChange::Also(addr) => self.ears.push(addr.socket_addr()),
                ListenChange::Moved => drop(self.ears.remove(0)),
                ListenChange::Stayed => drop(self.ears.pop()),
            }
        }
    }
}

impl Lan {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        Self::at_rate(seed, weather, 10_000)
    }

    /// `mbit`: the most that the relay may send.
    pub(crate) fn at_rate(seed: u64, weather: Weather, mbit: u32) -> Self {
        let now = Instant::now();
        let config = SenderConfig {
            group: GROUP,
            log: LOG,
            epoch: Epoch(1),
            generation: Generation(1),
            addr: GroupAddr::new(*HOME.ip(), HOME.port()).unwrap(),
            ttl: 1,
            head: Seq::ZERO,
            oldest_logged: Seq::FIRST,
            repair_bytes: gaung_engine::DEFAULT_REPAIR_BYTES,
            rate: gaung_engine::Rate::from_mbit(mbit),
            pads: true,
            cookies: Cookies::new([seed as u8; 16]),
            repair_shares: RepairShares::default(),
        };
        Self {
            now,
            rng: SmallRng::seed_from_u64(seed),
            weather,
            relay: RelaySender::new(config, now),
            log: Vec::new(),
            members: Vec::new(),
            relay_bytes: 0,
            published: Vec::new(),
            queue: BinaryHeap::new(),
            flights: Vec::new(),
            count: 0,
        }
    }

    pub(crate) fn tag() -> GroupTag {
        GroupTag::of(GROUP, Generation(1), LOG)
    }

    pub(crate) fn head(&self) -> Seq {
        self.log.last().map_or(Seq::ZERO, Run::last_seq)
    }

    pub(crate) fn join(&mut self, next: Seq, policy: LanePolicy, history: bool) -> usize {
        let id = self.members.len() as u8;
        let config = ReceiverConfig {
            group: GROUP,
            log: LOG,
            tag: Self::tag(),
            next,
            sender: SenderId([id + 1; 16]),
            device: DeviceId::NONE,
            relay: Some(RELAY),
            policy,
            history,
            rng_seed: self.rng.random(),
        };
        self.members.push(Member {
            receiver: MemberReceiver::new(config, self.now),
            addr: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2 + id), 5000),
            delivered: Vec::new(),
            delivered_at: Vec::new(),
            lost: Vec::new(),
            gaps: Vec::new(),
            filled: Vec::new(),
            forged: Vec::new(),
            lanes: Vec::new(),
            reads: true,
            hears: true,
            longest: usize::MAX,
            ears: vec![HOME],
            readings: 0,
            reading: None,
        });
        usize::from(id)
    }

    /// Appends and sends one run of messages with these payload lengths.
    pub(crate) fn publish(&mut self, lengths: &[usize]) {
        let mut block = BlockBuilder::new();
        let first = self.head().next();
        for (i, &len) in lengths.iter().enumerate() {
            let seq = first.0 + i as u64;
            let payload: Vec<u8> = (0..len).map(|at| (seq as usize * 31 + at * 7) as u8).collect();
            block.push(&MessageRef {
                author: Author { device: DeviceId::NONE, client: ClientId([(seq % 3) as u8; 16]) },
                client_seq: ClientSeq(seq),
                content_type: ContentType::Text,
                sent_at: SentAt(1),
                payload: &payload,
            });
        }
        let run = Run::encode(RunHeader { group: GROUP, log: LOG, epoch: Epoch(1), base_seq: first }, &block);
        self.relay.handle_run(self.now, &run);
        self.relay.flush(self.now);
        self.log.push(run);
        self.published.push(self.now);
        self.drain();
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let flight = self.queue.peek().map(|Reverse((at, ..))| *at);
            let relay = Some(self.relay.poll_timeout().0);
            let members = self.members.iter().filter_map(|member| member.receiver.poll_timeout());
            let Some(next) = members.chain(flight).chain(relay).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.step();
            self.drain();
        }
        self.now = end;
    }

    /// A datagram from a stranger, to one member.
    pub(crate) fn inject(&mut self, member: usize, via: ArrivalSocket, payload: &[u8]) {
        if let Ok((header, body)) = Header::decode(payload) {
            let _ = self.members[member].receiver.handle_datagram(self.now, via, &header, body);
        }
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(transmit) = self.relay.poll_transmit() {
            self.carry_from_relay(&transmit);
        }
        while self.relay.poll_event().is_some() {}
        for id in 0..self.members.len() {
            self.take_events(id);
            self.members[id].listen();
            while let Some(transmit) = self.members[id].receiver.poll_transmit() {
                let from = self.members[id].addr;
                let Destination::Unicast { peer, .. } = transmit.destination else { panic!("members never multicast") };
                assert_eq!(peer, RELAY);
                self.fly(self.weather.loss_up, || Flight::ToRelay { from, payload: transmit.payload.clone() });
            }
        }
    }

    fn step(&mut self) {
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
            let Reverse((_, _, slot)) = self.queue.pop().unwrap();
            match self.flights[slot].take().unwrap() {
                Flight::ToRelay { from, payload } => {
                    let (header, body) = Header::decode(&payload).unwrap();
                    self.relay.handle_datagram(self.now, from, None, &header, body).unwrap();
                }
                Flight::ToMember { member, via, payload } => {
                    let (header, body) = Header::decode(&payload).unwrap();
                    let member = &mut self.members[member];
                    if member.hears || via == ArrivalSocket::Unicast {
                        member.receiver.handle_datagram(self.now, via, &header, body).unwrap();
                    }
                }
                Flight::Read { member } => self.read(member),
            }
        }
        self.relay.handle_timeout(self.now);
        for member in &mut self.members {
            member.receiver.handle_timeout(self.now);
        }
    }

    fn take_events(&mut self, id: usize) {
        while self.members[id].reads {
            let Some(event) = self.members[id].receiver.poll_event() else { return };
            let member = &mut self.members[id];
            match event {
                ReceiverEvent::Message { message, lane } => {
                    member.delivered.push((message.seq, message.payload, lane));
                    member.delivered_at.push(self.now);
                }
                ReceiverEvent::Gap(range) => member.gaps.push(range),
                ReceiverEvent::GapFilled(range) => member.filled.push(range),
                ReceiverEvent::Forged(range) => {
                    member.forged.push(range);
                    member.delivered.retain(|(seq, ..)| *seq < range.first);
                }
                ReceiverEvent::Lost(range) => member.lost.push(range),
                ReceiverEvent::NeedHistory(range) => {
                    assert!(member.reading.is_none(), "one reading at a time");
                    member.reading = Some((range.first, range.last, self.log.last().map_or(Seq::ZERO, Run::last_seq)));
                    member.readings += 1;
                    self.put(self.now + Duration::from_millis(2), Flight::Read { member: id });
                }
                ReceiverEvent::LaneUp
                | ReceiverEvent::LaneDown { .. }
                | ReceiverEvent::Stale
                | ReceiverEvent::Moved { .. } => member.lanes.push(event),
            }
        }
    }

    fn read(&mut self, id: usize) {
        let member = &mut self.members[id];
        let (from, to, head) = member.reading.unwrap();
        let last = to.min(head);
        if from > last {
            member.reading = None;
            let end = if to <= head { to } else { head };
            member.receiver.handle_history(self.now, HistoryEnd::Reached { head: end });
            return;
        }
        if member.receiver.can_take_run() {
            let run = &self.log[self.log.partition_point(|run| run.last_seq() < from)];
            member.receiver.handle_run(self.now, run, Lane::History).unwrap();
            member.reading = Some((run.last_seq().next(), to, head));
        }
        self.put(self.now + Duration::from_micros(100), Flight::Read { member: id });
    }

    fn carry_from_relay(&mut self, transmit: &Transmit) {
        self.relay_bytes += transmit.payload.len() as u64;
        for id in 0..self.members.len() {
            let (via, mine) = match transmit.destination {
                Destination::Multicast(addr) => (ArrivalSocket::Group, self.members[id].ears.contains(&addr)),
                Destination::Unicast { peer, .. } => (ArrivalSocket::Unicast, self.members[id].addr == peer),
            };
            if mine && transmit.payload.len() <= self.members[id].longest {
                self.fly(self.weather.loss, || Flight::ToMember { member: id, via, payload: transmit.payload.clone() });
            }
        }
    }

    fn fly(&mut self, loss: f64, flight: impl Fn() -> Flight) {
        let copies = 1 + usize::from(self.rng.random_bool(self.weather.double));
        for _ in 0..copies {
            if self.rng.random_bool(loss) {
                continue;
            }
            let (low, high) = self.weather.delay_us;
            let delay = Duration::from_micros(self.rng.random_range(low..=high));
            self.put(self.now + delay, flight());
        }
    }

    fn put(&mut self, at: Instant, flight: Flight) {
        self.flights.push(Some(flight));
        self.queue.push(Reverse((at, self.count, self.flights.len() - 1)));
        self.count += 1;
    }
}

impl Member {
    /// Every message of the log from `from` on, once, in order, unchanged.
    pub(crate) fn check(&self, log: &[Run], from: Seq, context: &str) {
        let wanted: Vec<_> =
            log.iter().flat_map(|run| run.messages().collect::<Vec<_>>()).filter(|m| m.seq >= from).collect();
        let got: Vec<_> = self.delivered.iter().map(|(seq, ..)| seq.0).collect();
        let seqs: Vec<_> = wanted.iter().map(|message| message.seq.0).collect();
        assert_eq!(got, seqs, "{context}");
        for (message, (_, payload, _)) in wanted.iter().zip(&self.delivered) {
            assert_eq!(&message.payload, payload, "{context}: seq {}", message.seq);
        }
        assert!(self.lost.is_empty(), "{context}: {:?}", self.lost);
    }
}
