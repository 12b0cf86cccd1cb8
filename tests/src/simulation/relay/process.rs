//! One process of the relay: as its worker does, it sequences, appends, and sends what is durable.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use bytes::Bytes;
use gaung_engine::{
    ClaimHasher, Cookies, Destination, LogIdentity, NewRun, PublishBatch, PublishEntry, Rate, RefuseReason,
    RelaySender, RepairShares, RequestId, RequestOrigin, Sabotage, SenderConfig, Sequencer, SequencerEvent, StreamKey,
};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, GroupId, LogId, Seq,
    body::{Puback, Publish, PublishOutcome},
    datagram::{Header, PacketType},
};

use super::super::{
    disk::Opened,
    event::{Answer, Event, Node},
    limits::Limits,
    network::{Place, RELAY},
    world::World,
};
use super::RelayClock;

pub(in super::super) const GROUP: GroupId = GroupId([7; 16]);
pub(in super::super) const LOG: LogId = LogId(42);
/// Bytes of datagrams that wait in the socket of a stopped process.
const SOCKET_BYTES: usize = 208 * 1024;

/// What comes in.
#[derive(Debug)]
pub(super) enum Input {
    Datagram {
        from: SocketAddrV4,
        bytes: Bytes,
    },
    Request {
        connection: u64,
        publisher: usize,
        entries: Vec<PublishEntry>,
    },
    Appended {
        runs: usize,
        durable: bool,
    },
    /// The group is elsewhere.
    Place,
}

/// A process that runs or is stopped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) id: u64,
    pub(super) cookies: Cookies,
    /// Answers to requests, by connection.
    pub(super) answers: Vec<(u64, Answer)>,
    opening: Option<Opening>,
    /// The last opening has ended and the next one was not asked for.
    has_ended: bool,
    limits: Limits,
    stopped: Option<Inbox>,
    wake_at: Option<Duration>,
}

/// The group as it is being served.
#[derive(Debug)]
struct Opening {
    sequencer: Sequencer,
    sender: RelaySender,
    replies: BTreeMap<RequestId, Reply>,
    next_request: u64,
    /// Batches handed to the log in this opening, and answered.
    handed: usize,
    answered: usize,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<Input>,
    datagram_bytes: usize,
}

#[derive(Debug)]
enum Reply {
    Stream { connection: u64 },
    Datagram { peer: SocketAddrV4, puback: Puback },
}

impl Process {
    pub(super) fn new(id: u64, secret: [u8; 16]) -> Self {
        Self {
            id,
            cookies: Cookies::new(secret),
            answers: Vec::new(),
            opening: None,
            has_ended: false,
            limits: Limits::default(),
            stopped: None,
            wake_at: None,
        }
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// True once for each opening that has ended.
    pub(super) fn must_reopen(&mut self) -> bool {
        std::mem::take(&mut self.has_ended)
    }

    pub(super) fn open(&mut self, world: &mut World, clock: &RelayClock) {
        let place = world.place;
        let Opened { epoch, head, oldest, windows } = world.disk.open();
        let config = SenderConfig {
            group: GROUP,
            log: LOG,
            epoch,
            generation: place.generation,
            addr: place.addr(),
            ttl: 1,
            head,
            oldest_logged: oldest,
            repair_bytes: world.settings.repair_bytes,
            rate: Rate::from_mbit(world.settings.rate_mbit),
            pads: true,
            cookies: self.cookies.clone(),
            repair_shares: RepairShares::default(),
        };
        let mut sequencer = Sequencer::new(LogIdentity { group: GROUP, log: LOG, epoch }, head, windows);
        let mut sender = RelaySender::new(config, clock.read(world.now));
        let sabotage = sabotage(world);
        sequencer.sabotage(sabotage);
        sender.sabotage(sabotage);
        if place.is_lapsed {
            sender.handle_lapse(clock.read(world.now));
        }
        let (replies, next_request) = (BTreeMap::new(), 0);
        self.opening = Some(Opening { sequencer, sender, replies, next_request, handed: 0, answered: 0 });
        world.trace.note(world.now, [2, self.id, u64::from(epoch.0)], || {
            format!("process {} opens epoch {}", self.id, epoch.0)
        });
        self.settle(world, clock);
    }

    pub(super) fn pause(&mut self, world: &mut World, clock: &RelayClock, stops: bool) {
        if stops {
            self.stopped.get_or_insert_default();
            return;
        }
        let Some(inbox) = self.stopped.take() else { return };
        for input in inbox.waiting {
            self.input(world, clock, input);
        }
        self.wake_at = None;
        self.wake(world, clock);
    }

    pub(super) fn input(&mut self, world: &mut World, clock: &RelayClock, input: Input) {
        if let Some(inbox) = &mut self.stopped {
            inbox.put(input);
            return;
        }
        match input {
            Input::Datagram { from, bytes } => {
                self.limits.received(world.now, from, &bytes, &self.cookies);
                self.handle_datagram(world, clock, from, &bytes);
            }
            Input::Request { connection, entries, publisher } => {
                let author = super::super::publisher::stream_client(publisher);
                let batch = PublishBatch::new(DeviceId::NONE, author, entries).expect("publishers keep the limits");
                let key = StreamKey([publisher as u8; 16]);
                let claimant = claims().claimant(Some(key), RequestOrigin { peer: None, session: None });
                let batch = batch.claimed_by(claimant);
                self.publish(world, clock, Reply::Stream { connection }, &batch);
            }
            Input::Appended { runs, durable } => {
                // What an earlier opening handed over was answered when that ended.
                if let Some(opening) = &mut self.opening
                    && opening.answered < opening.handed
                {
                    opening.answered += 1;
                    let times = if durable { runs } else { 1 };
                    (0..times).for_each(|_| opening.sequencer.handle_appended(durable));
                }
            }
            Input::Place => {
                let now = clock.read(world.now);
                match (&mut self.opening, world.place) {
                    (Some(Opening { sender, .. }), Place { is_lapsed: true, .. }) => sender.handle_lapse(now),
                    (Some(Opening { sender, .. }), place) => sender.handle_move(now, place.addr(), 1, place.generation),
                    (None, _) => {}
                }
            }
        }
        self.settle(world, clock);
    }

    pub(super) fn wake(&mut self, world: &mut World, clock: &RelayClock) {
        if self.stopped.is_some() || self.wake_at.is_some_and(|at| at > world.now) {
            return;
        }
        self.wake_at = None;
        if let Some(opening) = &mut self.opening {
            opening.sender.handle_timeout(clock.read(world.now));
        }
        self.settle(world, clock);
    }

    pub(super) fn rewind(&mut self, world: &mut World, clock: &RelayClock) {
        self.wake_at = None;
        self.settle(world, clock);
    }

    fn handle_datagram(&mut self, world: &mut World, clock: &RelayClock, from: SocketAddrV4, bytes: &[u8]) {
        let Some(opening) = &mut self.opening else { return };
        let Ok((header, body)) = Header::decode(bytes) else { return };
        if !opening.sender.is_addressed(header.tag) {
            return;
        }
        match header.packet_type {
            PacketType::Nak | PacketType::Status | PacketType::Probe => {
                let _ = opening.sender.handle_datagram(clock.read(world.now), from, Some(*RELAY.ip()), &header, body);
            }
            PacketType::Publish => {
                if let Ok(publish) = Publish::decode(body) {
                    self.publish_datagram(world, clock, from, &header, &publish);
                }
            }
            PacketType::Data
            | PacketType::Heartbeat
            | PacketType::Ncf
            | PacketType::Parity
            | PacketType::Migrate
            | PacketType::Puback
            | PacketType::Broadcast => {}
        }
    }

    fn publish_datagram(
        &mut self,
        world: &mut World,
        clock: &RelayClock,
        peer: SocketAddrV4,
        header: &Header,
        publish: &Publish<'_>,
    ) {
        let (client, client_seq) = (ClientId::from(publish.sender), ClientSeq(header.seq.0));
        let cookie = self.cookies.of(peer);
        let puback = |outcome| Puback { client, client_seq, cookie, outcome };
        let entry = PublishEntry {
            client_seq,
            content_type: ContentType::from_byte(publish.content_type),
            payload: Bytes::copy_from_slice(publish.payload),
        };
        let origin = RequestOrigin { peer: Some((*peer.ip()).into()), session: None };
        let batch = PublishBatch::new(publish.device, client, vec![entry])
            .map(|batch| batch.claimed_by(claims().claimant(None, origin)));
        let refusal = match &batch {
            _ if !self.cookies.proves(peer, publish.cookie) => Some(PublishOutcome::NeedsCookie),
            Err(_) => Some(PublishOutcome::Refused),
            Ok(_) => None,
        };
        if let (None, Ok(batch)) = (refusal, &batch) {
            let reply = Reply::Datagram { peer, puback: puback(PublishOutcome::Logged) };
            self.publish(world, clock, reply, batch);
        } else if let (Some(outcome), Some(opening)) = (refusal, &mut self.opening) {
            opening.sender.send_puback(clock.read(world.now), peer, own(), Seq::ZERO, &puback(outcome));
        }
    }

    fn publish(&mut self, world: &World, clock: &RelayClock, reply: Reply, batch: &PublishBatch) {
        let Some(opening) = &mut self.opening else {
            if let Reply::Stream { connection } = reply {
                self.answers.push((connection, Err(RefuseReason::Unavailable)));
            }
            return;
        };
        let request = RequestId(opening.next_request);
        opening.next_request += 1;
        opening.replies.insert(request, reply);
        opening.sequencer.handle_publish(clock.wall(world.now), request, batch);
    }

    /// Sequenced messages go to the log, durable ones to members and publishers; then all outputs go their way.
    fn settle(&mut self, world: &mut World, clock: &RelayClock) {
        let Some(opening) = &mut self.opening else { return };
        let now = clock.read(world.now);
        opening.take_events(now, world, &mut self.answers);
        if opening.sequencer.has_failed() {
            for (_, reply) in std::mem::take(&mut opening.replies) {
                if let Reply::Stream { connection } = reply {
                    self.answers.push((connection, Err(RefuseReason::Unavailable)));
                }
            }
            self.opening = None;
            self.has_ended = true;
            return;
        }
        let runs: Vec<NewRun> = std::iter::from_fn(|| opening.sequencer.poll_append()).collect();
        if !runs.is_empty() {
            opening.handed += 1;
            if world.settings.breakage.sends_before_append {
                opening.answered += 1;
                runs.iter().for_each(|_| opening.sequencer.handle_appended(true));
                opening.take_events(now, world, &mut self.answers);
            }
            if world.disk.append(self.id, runs) {
                world.begin_sync();
            }
        }
        opening.sender.flush(now);
        opening.send_all(world, &mut self.limits);
        while opening.sender.poll_event().is_some() {}
        opening.check_memory(world);
        let due = clock.monotonic.when(opening.sender.poll_timeout().0, world.now);
        if self.wake_at.is_none_or(|at| at > due || at <= world.now) {
            self.wake_at = Some(due);
            world.queue.put(due, Event::WakeRelay { process: self.id });
        }
    }
}

/// The relay's secret outlives its processes.
const fn claims() -> ClaimHasher {
    ClaimHasher::new([5; 16])
}

impl Opening {
    fn take_events(&mut self, now: std::time::Instant, world: &mut World, answers: &mut Vec<(u64, Answer)>) {
        while let Some(event) = self.sequencer.poll_event() {
            match event {
                SequencerEvent::Durable(run) => {
                    world.trace.note(world.now, [3, run.first_seq().0, run.last_seq().0], || {
                        format!("durable {} to {}", run.first_seq(), run.last_seq())
                    });
                    self.sender.handle_run(now, &run);
                    world.hub.head = world.hub.head.max(run.last_seq());
                    world.hub.has_news = true;
                }
                SequencerEvent::Acked { request, acks } => self.answer(now, request, Ok(acks), answers),
                SequencerEvent::Refused { request, reason } => self.answer(now, request, Err(reason), answers),
            }
        }
    }

    fn answer(
        &mut self,
        now: std::time::Instant,
        request: RequestId,
        answer: Answer,
        answers: &mut Vec<(u64, Answer)>,
    ) {
        match self.replies.remove(&request) {
            Some(Reply::Stream { connection }) => answers.push((connection, answer)),
            Some(Reply::Datagram { peer, puback }) => {
                let seq = answer.as_ref().ok().and_then(|acks| acks.first()).map_or(Seq::ZERO, |ack| ack.first_seq);
                let outcome = match answer {
                    Ok(_) => PublishOutcome::Logged,
                    Err(RefuseReason::OutOfWindow(_)) => PublishOutcome::OutOfWindow,
                    Err(RefuseReason::OtherPublisher) => PublishOutcome::OtherPublisher,
                    Err(_) => PublishOutcome::Unavailable,
                };
                self.sender.send_puback(now, peer, own(), seq, &Puback { outcome, ..puback });
            }
            None => {}
        }
    }

    fn send_all(&mut self, world: &mut World, limits: &mut Limits) {
        while let Some(transmit) = self.sender.poll_transmit() {
            let peer = match transmit.destination {
                Destination::Unicast { peer, .. } => Some(peer),
                Destination::Multicast(_) => None,
            };
            if let Some(wrong) = limits.sent(world.now, peer, &transmit.payload) {
                world.judge.fail(|| wrong);
            }
            if let Ok((header, _)) = Header::decode(&transmit.payload)
                && header.packet_type == PacketType::Data
            {
                world.judge.sent(header.seq);
            }
            world.send(Node::Relay, &transmit);
        }
    }

    fn check_memory(&self, world: &mut World) {
        let (repair, most) = (self.sender.repair_bytes(), world.settings.repair_bytes.max(2048));
        if repair > most {
            world.judge.fail(|| format!("the relay keeps {repair} B for repairs, over its limit of {most} B"));
        }
        let queued = self.sequencer.queued_bytes();
        if queued > gaung_engine::MAX_QUEUED_BYTES + gaung_proto::limits::MAX_PUBLISH_BYTES * 2 {
            world.judge.fail(|| format!("the sequencer keeps {queued} B, over its limit"));
        }
    }
}

impl Inbox {
    fn put(&mut self, input: Input) {
        if let Input::Datagram { bytes, .. } = &input {
            if self.datagram_bytes + bytes.len() > SOCKET_BYTES {
                return;
            }
            self.datagram_bytes += bytes.len();
        }
        self.waiting.push_back(input);
    }
}

/// Which mechanisms of the engines are taken out.
pub(in super::super) fn sabotage(world: &World) -> Sabotage {
    let broken = world.settings.breakage;
    Sabotage {
        keep_duplicates: broken.keeps_duplicates,
        repair_at_once: broken.repairs_at_once,
        nack_at_once: broken.nacks_at_once,
    }
}

const fn own() -> Option<Ipv4Addr> {
    Some(*RELAY.ip())
}
