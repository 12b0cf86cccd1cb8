//! Those who say something: over a TCP connection to the relay, or by datagrams alone.

use std::{collections::VecDeque, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use gaung_engine::{DatagramOutcome, DatagramPublisher, MessageOutcome, Publisher as StreamPublisher};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId,
    datagram::{Header, PacketType},
};
use rand::{Rng as _, rngs::SmallRng};

use super::{
    clock::NodeClock,
    event::{Answer, Arrival, Event, Node},
    network::{Place, RELAY},
    relay::Relay,
    settings::PayloadSizes,
    world::World,
};

/// Longer than any run: nothing is given up.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Between two tries to connect, doubling.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(3);

/// One publishing process.
#[derive(Debug)]
pub(super) struct Publisher {
    id: usize,
    clock: NodeClock,
    client: ClientId,
    way: PublishTransport,
    /// Those before were told what became of them.
    next_outcome: u64,
    wake_at: Option<Duration>,
    /// A damaged answer reached it.
    is_misled: bool,
}

#[derive(Debug)]
enum PublishTransport {
    Stream { engine: Box<StreamPublisher>, connection: Option<u64>, failures: u32 },
    Datagram { engine: Box<DatagramPublisher>, waiting: VecDeque<Bytes> },
}

/// The client id of a publisher over TCP.
pub(super) const fn stream_client(id: usize) -> ClientId {
    ClientId([id as u8 + 1; 16])
}

impl Publisher {
    pub(super) fn over_stream(id: usize, clock: NodeClock) -> Self {
        let way = PublishTransport::Stream {
            engine: Box::new(StreamPublisher::new(PATIENCE)),
            connection: None,
            failures: 0,
        };
        Self::new(id, clock, way)
    }

    pub(super) fn by_datagrams(id: usize, clock: NodeClock, seed: u64, now: Duration) -> Self {
        let client = stream_client(id);
        let tag = Place::FIRST.tag();
        let engine = DatagramPublisher::new(client, DeviceId::NONE, tag, RELAY, PATIENCE, seed, clock.read(now));
        Self::new(id, clock, PublishTransport::Datagram { engine: Box::new(engine), waiting: VecDeque::new() })
    }

    fn new(id: usize, clock: NodeClock, way: PublishTransport) -> Self {
        let client = stream_client(id);
        Self { id, clock, client, way, next_outcome: 1, wake_at: None, is_misled: false }
    }

    /// Whether all that it was asked to say is durable.
    pub(super) fn is_idle(&self) -> bool {
        match &self.way {
            PublishTransport::Stream { engine, .. } => engine.is_idle(),
            PublishTransport::Datagram { engine, waiting } => engine.is_idle() && waiting.is_empty(),
        }
    }

    /// Of how many messages it knows what became of them.
    pub(super) const fn told(&self) -> u64 {
        self.next_outcome - 1
    }

    /// Has `count` messages to say; gives how many found room.
    pub(super) fn speak(&mut self, world: &mut World, said: &mut u64, count: u32) -> u32 {
        let mut taken = 0;
        while taken < count && self.has_room() {
            taken += 1;
            let now = self.clock.read(world.now);
            *said += 1;
            let payload = match &self.way {
                PublishTransport::Stream { .. } => {
                    payload(self.id, *said, world.settings.traffic.sizes, &mut world.rng)
                }
                PublishTransport::Datagram { .. } => payload(self.id, *said, PayloadSizes::Talk, &mut world.rng),
            };
            world.judge.said(self.client, ClientSeq(*said), &payload);
            match &mut self.way {
                PublishTransport::Stream { engine, .. } => engine.handle_message(now, ContentType::Text, payload),
                PublishTransport::Datagram { waiting, .. } => waiting.push_back(payload),
            }
        }
        self.settle(world);
        taken
    }

    /// Whether it takes another message.
    fn has_room(&self) -> bool {
        match &self.way {
            PublishTransport::Stream { engine, .. } => engine.has_room(),
            PublishTransport::Datagram { waiting, .. } => waiting.is_empty(),
        }
    }

    /// Who sends one datagram after another says little at once.
    pub(super) const fn most_at_once(&self, burst: u32) -> u32 {
        match &self.way {
            PublishTransport::Stream { .. } => burst,
            PublishTransport::Datagram { .. } => 1,
        }
    }

    pub(super) fn connect(&mut self, world: &mut World, relay: &mut Relay) {
        let PublishTransport::Stream { connection, failures, .. } = &mut self.way else { return };
        if connection.is_some() {
            return;
        }
        *connection = relay.connect(self.id);
        if connection.is_some() {
            *failures = 0;
        } else {
            self.retry(world);
        }
        self.settle(world);
    }

    pub(super) fn handle_broken(&mut self, world: &mut World, broken: u64) {
        let PublishTransport::Stream { engine, connection, .. } = &mut self.way else { return };
        if *connection == Some(broken) {
            *connection = None;
            engine.handle_disconnected();
            self.retry(world);
        }
    }

    pub(super) fn handle_answer(&mut self, world: &mut World, from: u64, answer: Answer) {
        let PublishTransport::Stream { engine, connection, .. } = &mut self.way else { return };
        if *connection != Some(from) {
            return;
        }
        match answer {
            Ok(acks) => engine.handle_acks(&acks),
            Err(gaung_engine::RefuseReason::OutOfWindow(_)) => engine.handle_refused(),
            Err(_) => self.handle_broken(world, from),
        }
        self.settle(world);
    }

    pub(super) fn handle_datagram(&mut self, world: &mut World, arrival: &Arrival) {
        let PublishTransport::Datagram { engine, .. } = &mut self.way else { return };
        let Ok((header, body)) = Header::decode(&arrival.bytes) else { return };
        if header.packet_type == PacketType::Puback {
            self.is_misled |= !arrival.genuine;
            let _ = engine.handle_puback(self.clock.read(world.now), &header, body);
            self.settle(world);
        }
    }

    /// Learns where the group is.
    pub(super) fn handle_place(&mut self, world: &World) {
        if let PublishTransport::Datagram { engine, .. } = &mut self.way {
            engine.handle_place(world.place.tag(), RELAY);
        }
    }

    pub(super) fn wake(&mut self, world: &mut World) {
        if self.wake_at.is_some_and(|at| at > world.now) {
            return;
        }
        self.wake_at = None;
        let now = self.clock.read(world.now);
        match &mut self.way {
            PublishTransport::Stream { engine, .. } => engine.handle_timeout(now),
            PublishTransport::Datagram { engine, .. } => engine.handle_timeout(now),
        }
        self.settle(world);
    }

    fn retry(&mut self, world: &mut World) {
        let PublishTransport::Stream { failures, .. } = &mut self.way else { return };
        let bound = (FIRST_RETRY * (1 << (*failures).min(10))).min(LAST_RETRY);
        *failures += 1;
        let wait = world.rng.random_range(bound / 2..=bound);
        world.queue.put(world.now + wait, Event::Connect { publisher: self.id });
    }

    fn settle(&mut self, world: &mut World) {
        let now = self.clock.read(world.now);
        let due = match &mut self.way {
            PublishTransport::Stream { engine, connection, .. } => {
                while let Some(connection) = *connection
                    && let Some(entries) = engine.poll_request()
                {
                    world.after_tcp(1, Event::Request { connection, entries });
                }
                let outcomes: Vec<_> = std::iter::from_fn(|| engine.poll_outcome()).collect();
                for outcome in outcomes {
                    match outcome {
                        MessageOutcome::Logged(seq) => {
                            world.judge.acked(self.client, ClientSeq(self.next_outcome), seq)
                        }
                        MessageOutcome::Failed => world.judge.refused(self.client, ClientSeq(self.next_outcome)),
                    }
                    self.next_outcome += 1;
                }
                None
            }
            PublishTransport::Datagram { engine, waiting } => {
                loop {
                    while let Some(outcome) = engine.poll_outcome() {
                        match outcome {
                            DatagramOutcome::Logged(_) if self.is_misled => {}
                            DatagramOutcome::Logged(seq) => {
                                world.judge.acked(self.client, ClientSeq(self.next_outcome), seq);
                            }
                            DatagramOutcome::Refused(_) | DatagramOutcome::GaveUp => {
                                world.judge.refused(self.client, ClientSeq(self.next_outcome));
                            }
                        }
                        self.next_outcome += 1;
                    }
                    if !engine.is_idle() {
                        break;
                    }
                    let Some(payload) = waiting.pop_front() else { break };
                    engine.handle_message(now, ContentType::Text, payload);
                }
                while let Some(transmit) = engine.poll_transmit() {
                    world.send(Node::Publisher(self.id), &transmit);
                }
                engine.poll_timeout()
            }
        };
        let Some(due) = due.map(|due| self.clock.when(due, world.now)) else { return };
        if self.wake_at.is_none_or(|at| at > due || at <= world.now) {
            self.wake_at = Some(due);
            world.queue.put(due, Event::Wake(Node::Publisher(self.id)));
        }
    }
}

/// Says whose it is and which; the rest is filled with what cannot be mistaken for another message.
fn payload(publisher: usize, number: u64, sizes: PayloadSizes, rng: &mut SmallRng) -> Bytes {
    let length = match sizes {
        PayloadSizes::Talk => rng.random_range(12..=200),
        PayloadSizes::Large(longest) if rng.random_bool(0.1) => rng.random_range(1400..=longest),
        PayloadSizes::Mixed | PayloadSizes::Large(_) => rng.random_range(12..=1400),
        PayloadSizes::Fixed(length) => length,
    };
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_u32(publisher as u32);
    bytes.put_u64(number);
    bytes.resize(length, (number as u8).wrapping_mul(31).wrapping_add(publisher as u8));
    bytes.freeze()
}
