//! Those who mean harm: floods of NAKs, words under others' client ids, noise under the right group tag, and datagrams in
//! the relay's name.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use gaung_engine::{Destination, Transmit};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, Generation, GroupAddr, GroupTag, Pkt, SenderId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    body::{Cookie, Heartbeat, Migrate, Nak, NakRange, Probe, Publish},
    datagram::{Fragment, Header, PacketType, flags},
    limits::MAX_NAK_RANGES,
};
use rand::{Rng as _, RngCore as _};

use super::{
    event::{Arrival, Event, Node},
    network::{RELAY, address},
    relay::{GROUP, LOG},
    settings::{Attack, AttackKind, Fault, TimedFault},
    world::World,
};

/// One of them.
#[derive(Debug)]
pub(super) struct Attacker {
    id: usize,
    attack: Attack,
    cookie: Option<Cookie>,
    next_pkt: u32,
}

impl Attacker {
    pub(super) const fn new(id: usize, attack: Attack) -> Self {
        Self { id, attack, cookie: None, next_pkt: 1 }
    }

    pub(super) const fn begins_at(&self) -> Duration {
        self.attack.from
    }

    /// Sends the next datagram.
    pub(super) fn wake(&mut self, world: &mut World) {
        if world.now >= self.attack.until {
            return;
        }
        let gap = Duration::from_secs(1) / self.attack.per_second;
        world.queue.put(world.now + gap, Event::Wake(Node::Attacker(self.id)));
        let own = address(Node::Attacker(self.id));
        match self.attack.kind {
            AttackKind::NakFloodOfMember => match self.cookie {
                Some(cookie) if self.next_pkt.is_multiple_of(8) => self.copy_client(world, own, cookie),
                Some(cookie) => self.ask(world, own, cookie),
                None => self.probe(world, own),
            },
            AttackKind::NakFloodOfStranger => {
                let cookie = Cookie(world.rng.random());
                self.ask(world, own, cookie);
            }
            AttackKind::NakFloodSpoofed => {
                let member = world.rng.random_range(0..world.settings.members);
                self.ask(world, address(Node::Member(member)), Cookie(0));
            }
            AttackKind::Noise => self.make_noise(world, own),
            AttackKind::ForgedAhead => self.forge_messages(world),
            AttackKind::ForgedHeartbeats => self.forge_heartbeat(world),
            AttackKind::ForgedMoves => self.forge_move(world),
        }
    }

    /// An answer to its PROBE has its cookie.
    pub(super) fn handle_datagram(&mut self, arrival: &Arrival) {
        let Ok((header, body)) = Header::decode(&arrival.bytes) else { return };
        if header.packet_type == PacketType::Probe && header.has(flags::RESPONSE) {
            self.cookie = Probe::decode(body).ok().map(|probe| probe.cookie).or(self.cookie);
        }
    }

    fn probe(&mut self, world: &mut World, own: SocketAddrV4) {
        let mut body = BytesMut::new();
        Probe { sender: self.sender(), nonce: world.rng.random(), cookie: Cookie(0) }.write(&mut body);
        self.send(world, own, RELAY, PacketType::Probe, Seq::ZERO, &body);
    }

    /// Asks for as much as fits a NAK.
    fn ask(&mut self, world: &mut World, source: SocketAddrV4, cookie: Cookie) {
        let head = world.disk.head().0.max(1);
        let ranges = (0..world.rng.random_range(1..=MAX_NAK_RANGES)).map(|_| {
            let first = world.rng.random_range(1..=head);
            NakRange::messages(Seq(first), Seq(world.rng.random_range(first..=head)))
        });
        let nak = Nak { sender: self.sender(), cookie, ranges: ranges.collect() };
        let mut body = BytesMut::new();
        nak.write(&mut body);
        self.send(world, source, RELAY, PacketType::Nak, Seq::ZERO, &body);
    }

    /// Publishes under the newest message's client id, with the next number of it. Only where the relay never opens the log
    /// anew, also not while the datagram is under way: afterwards a client belongs to who comes first.
    fn copy_client(&mut self, world: &mut World, own: SocketAddrV4, cookie: Cookie) {
        let reopens =
            |timed: &TimedFault| matches!(timed.fault, Fault::RelayCrash | Fault::RelayTakeover | Fault::AppendFailure);
        let newest = world.disk.run_at(world.disk.head()).and_then(|run| run.messages().last());
        let Some(message) = newest.filter(|_| !world.settings.faults.iter().any(reopens)) else {
            return self.ask(world, own, cookie);
        };
        let mut body = BytesMut::new();
        Publish {
            sender: message.author.client.into(),
            cookie,
            device: message.author.device,
            content_type: message.content_type.to_byte(),
            payload: b"words that nobody said",
        }
        .write(&mut body);
        self.send(world, own, RELAY, PacketType::Publish, Seq(message.client_seq.0 + 1), &body);
    }

    fn make_noise(&mut self, world: &mut World, own: SocketAddrV4) {
        let mut body = vec![0; world.rng.random_range(0..=1280)];
        world.rng.fill_bytes(&mut body);
        let kind = PacketType::ALL[world.rng.random_range(0..PacketType::ALL.len())];
        let seq = Seq(world.rng.random_range(1..=world.disk.head().0 + 20));
        let to = if world.rng.random() { RELAY } else { world.place.addr().socket_addr() };
        self.send(world, own, to, kind, seq, &body);
    }

    /// Up to 40 messages in one datagram, from the next seq or a little later on.
    fn forge_messages(&mut self, world: &mut World) {
        let ahead = if world.rng.random() { 1 } else { world.rng.random_range(1..=200) };
        let mut block = BlockBuilder::new();
        for at in 0..world.rng.random_range(1..=40) {
            block.push(&MessageRef {
                author: Author { device: DeviceId::NONE, client: ClientId([0xee; 16]) },
                client_seq: ClientSeq(u64::from(self.next_pkt) * 64 + at),
                content_type: ContentType::Text,
                sent_at: SentAt(1),
                payload: b"forged",
            });
        }
        let mut body = BytesMut::new();
        block.write(&mut body);
        let header = self.forged(world, PacketType::Data, world.disk.head().plus(ahead));
        self.cast(world, world.place.addr().socket_addr(), &header, &body);
    }

    fn forge_heartbeat(&mut self, world: &mut World) {
        let seq = match world.rng.random_range(0..4) {
            0 => Seq(1 << 62),
            1 => Seq::ZERO,
            _ => world.disk.head(),
        };
        let header = self.forged(world, PacketType::Heartbeat, seq);
        let epoch = Epoch(header.epoch.0.wrapping_add(world.rng.random_range(0..3)));
        let heartbeat = Heartbeat {
            group: GROUP,
            log: LOG,
            oldest_repairable: Seq(world.rng.random_range(0..=header.seq.0)),
            oldest_logged: Seq::FIRST,
            epoch_start: Seq::FIRST,
            last_pkt: Pkt(world.rng.random_range(0..120_000)),
            grtt_us: 250_000,
            group_size: 1_000_000,
            generation: world.place.generation,
        };
        let mut body = BytesMut::new();
        heartbeat.write(&mut body);
        self.cast(world, world.place.addr().socket_addr(), &Header { epoch, ..header }, &body);
    }

    fn forge_move(&mut self, world: &mut World) {
        let generation = Generation(world.place.generation.0 + 1);
        let to = SocketAddrV4::new(Ipv4Addr::new(239, 255, 99, 99), 29_999);
        let mut body = BytesMut::new();
        let addr = GroupAddr::new(*to.ip(), to.port()).expect("it is a multicast address");
        Migrate { group: GROUP, log: LOG, generation, to: addr }.write(&mut body);
        let header = self.forged(world, PacketType::Migrate, Seq::ZERO);
        self.cast(world, world.place.addr().socket_addr(), &header, &body);
        let mut body = BytesMut::new();
        Heartbeat {
            group: GROUP,
            log: LOG,
            oldest_repairable: Seq::FIRST,
            oldest_logged: Seq::FIRST,
            epoch_start: Seq::FIRST,
            last_pkt: Pkt(1),
            grtt_us: 1000,
            group_size: 1,
            generation,
        }
        .write(&mut body);
        let tag = GroupTag::of(GROUP, generation, LOG);
        let header = Header { tag, ..self.forged(world, PacketType::Heartbeat, world.disk.head()) };
        self.cast(world, to, &header, &body);
    }

    /// As the relay would write it.
    fn forged(&mut self, world: &mut World, packet_type: PacketType, seq: Seq) -> Header {
        self.next_pkt += 1;
        Header {
            packet_type,
            flags: 0,
            tag: world.place.tag(),
            epoch: world.disk.epoch(),
            pkt: Pkt(self.next_pkt),
            seq,
            fragment: Fragment::WHOLE,
            ts_us: world.rng.random(),
        }
    }

    /// In the relay's name.
    fn cast(&self, world: &mut World, to: SocketAddrV4, header: &Header, body: &[u8]) {
        let transmit = Transmit { destination: Destination::Multicast(to), payload: header.encode(body), ttl: 1 };
        world.send_as(Node::Attacker(self.id), RELAY, &transmit, false);
    }

    fn send(
        &mut self,
        world: &mut World,
        source: SocketAddrV4,
        to: SocketAddrV4,
        packet_type: PacketType,
        seq: Seq,
        body: &[u8],
    ) {
        let is_part = matches!(packet_type, PacketType::Data) && world.rng.random();
        let fragment = match is_part {
            true => Fragment { index: world.rng.random_range(0..3), count: 3 },
            false => Fragment::WHOLE,
        };
        let header = Header {
            packet_type,
            flags: 0,
            tag: world.place.tag(),
            epoch: world.disk.epoch(),
            pkt: Pkt(self.next_pkt),
            seq,
            fragment,
            ts_us: world.rng.random(),
        };
        self.next_pkt += 1;
        let destination = match to.ip().is_multicast() {
            true => Destination::Multicast(to),
            false => Destination::Unicast { peer: to, from: None },
        };
        let payload: Bytes = header.encode(body);
        let transmit = Transmit { destination, payload, ttl: 1 };
        // Only noise can be mistaken for what it is not; a NAK means what it says.
        let genuine = self.attack.kind != AttackKind::Noise;
        world.send_as(Node::Attacker(self.id), source, &transmit, genuine);
    }

    fn sender(&self) -> SenderId {
        SenderId([0xee ^ self.id as u8; 16])
    }
}
