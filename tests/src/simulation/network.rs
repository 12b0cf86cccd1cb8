//! The network: carries a datagram from one node to one or to all, or loses, delays, doubles or damages it.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use gaung_engine::{ArrivalSocket, Destination, Transmit};
use gaung_proto::{Generation, GroupAddr, GroupTag, datagram::Header};
use rand::{Rng as _, rngs::SmallRng};

use super::{
    event::{Arrival, Event, Node},
    figures::Sending,
    relay::{GROUP, LOG},
    settings::Target,
    trace::digest,
    weather::Channel,
    world::World,
};

pub(super) const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 7402);
const GROUP_PORT: u16 = 20_000;
/// Where the datagram's type stands, and what a NAK's is.
const TYPE_AT: usize = 3;
const NAK: u8 = 3;
/// The longest that a datagram is held back.
const LATE_US: u64 = 20_000;

/// Where the group is, as the registry knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: Generation,
    /// It has no address now.
    pub(super) is_lapsed: bool,
}

impl Place {
    pub(super) const FIRST: Self = Self { generation: Generation(1), is_lapsed: false };

    /// The address of this generation, even once it has lapsed.
    pub(super) fn addr(self) -> GroupAddr {
        let Generation(generation) = self.generation;
        GroupAddr::new(Ipv4Addr::new(239, 255, 1, generation as u8), GROUP_PORT).expect("it is a multicast address")
    }

    pub(super) fn tag(self) -> GroupTag {
        GroupTag::of(GROUP, self.generation, LOG)
    }
}

/// Links of members; publishers and attackers share one each way.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) links: Vec<Link>,
    egress: Channel,
    others: Channel,
}

/// A member's link. The counts are those of faults that hold now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    pub(super) is_present: bool,
    /// Where it listens; the second while the group may be going there.
    pub(super) ears: [Option<SocketAddrV4>; 2],
    pub(super) deaf: u32,
    pub(super) mute: u32,
    pub(super) naks_lost: u32,
    down: Channel,
    up: Channel,
}

impl Network {
    pub(super) fn new(members: usize) -> Self {
        Self { links: vec![Link::default(); members], ..Self::default() }
    }

    pub(super) fn targets(&mut self, target: Target) -> &mut [Link] {
        match target {
            Target::One(member) => std::slice::from_mut(&mut self.links[member]),
            Target::All => &mut self.links,
        }
    }
}

/// Where a node sends from.
pub(super) fn address(node: Node) -> SocketAddrV4 {
    let ip = |kind: u8, index: usize| Ipv4Addr::new(10, kind, (index >> 8) as u8, index as u8);
    match node {
        Node::Relay => RELAY,
        Node::Member(index) => SocketAddrV4::new(ip(1, index), 5000),
        Node::Publisher(index) => SocketAddrV4::new(ip(2, index), 6000),
        Node::Attacker(index) => SocketAddrV4::new(ip(3, index), 6666),
    }
}

/// Who has an address.
fn node_at(addr: SocketAddrV4) -> Option<Node> {
    let [_, kind, high, low] = addr.ip().octets();
    let index = usize::from(high) << 8 | usize::from(low);
    match kind {
        _ if addr == RELAY => Some(Node::Relay),
        1 => Some(Node::Member(index)),
        2 => Some(Node::Publisher(index)),
        3 => Some(Node::Attacker(index)),
        _ => None,
    }
}

impl World {
    /// Sends a datagram of an honest node.
    pub(super) fn send(&mut self, from: Node, transmit: &Transmit) {
        self.send_as(from, address(from), transmit, true);
    }

    /// Sends a datagram from `from` under the address `source`.
    pub(super) fn send_as(&mut self, from: Node, source: SocketAddrV4, transmit: &Transmit, genuine: bool) {
        let bytes = &transmit.payload;
        self.trace.note(self.now, [1, digest(bytes), bytes.len() as u64], || {
            let what = Header::decode(bytes).map(|(header, _)| header);
            format!("{from:?} sends {:?} {}", transmit.destination, what.map_or("noise".to_owned(), |h| brief(&h)))
        });
        match transmit.destination {
            Destination::Multicast(group) => self.send_to_group(from, source, group, bytes, genuine),
            Destination::Unicast { peer, .. } => {
                let Some(to) = node_at(peer) else { return };
                self.send_to_one(from, source, to, bytes, genuine);
            }
        }
    }

    fn send_to_group(&mut self, from: Node, source: SocketAddrV4, group: SocketAddrV4, bytes: &Bytes, genuine: bool) {
        let mut sending = if from == Node::Relay { self.figures.begin(bytes) } else { Sending::default() };
        let is_lost = self.network.egress.loses(self.weather.egress, &mut self.rng);
        for member in 0..self.network.links.len() {
            let link = &mut self.network.links[member];
            if !link.is_present || link.deaf > 0 || !link.ears.contains(&Some(group)) {
                continue;
            }
            let is_lost = link.down.loses(self.weather.down, &mut self.rng) || is_lost;
            self.figures.outcome(&mut sending, member, !is_lost);
            if !is_lost {
                self.arrive(Node::Member(member), source, ArrivalSocket::Group, bytes, genuine);
            }
        }
        self.figures.end(&sending);
    }

    fn send_to_one(&mut self, from: Node, source: SocketAddrV4, to: Node, bytes: &Bytes, genuine: bool) {
        let is_lost = match (from, to) {
            (Node::Relay, Node::Member(member)) => {
                let link = &mut self.network.links[member];
                let is_lost = self.network.egress.loses(self.weather.egress, &mut self.rng) | !link.is_present
                    || link.down.loses(self.weather.down, &mut self.rng);
                self.figures.sent_to(member, bytes, !is_lost);
                is_lost
            }
            (Node::Member(member), _) => {
                let link = &mut self.network.links[member];
                let is_nak = bytes.get(TYPE_AT) == Some(&NAK);
                self.figures.naks += u64::from(is_nak);
                link.mute > 0
                    || (is_nak && (link.naks_lost > 0 || self.rng.random_bool(self.weather.nak_loss)))
                    || link.up.loses(self.weather.up, &mut self.rng)
            }
            (Node::Relay, _) => self.network.others.loses(self.weather.down, &mut self.rng),
            (Node::Publisher(_) | Node::Attacker(_), _) => self.network.others.loses(self.weather.up, &mut self.rng),
        };
        if !is_lost {
            self.arrive(to, source, ArrivalSocket::Unicast, bytes, genuine);
        }
    }

    fn arrive(&mut self, to: Node, from: SocketAddrV4, via: ArrivalSocket, bytes: &Bytes, genuine: bool) {
        let copies = 1 + u8::from(self.rng.random_bool(self.weather.double));
        for _ in 0..copies {
            let (low, high) = self.weather.delay_us;
            let mut delay = self.rng.random_range(low * 1000..=high * 1000);
            if self.rng.random_bool(self.weather.late) {
                delay += self.rng.random_range(0..=LATE_US * 1000);
            }
            let is_damaged = self.weather.corrupt > 0.0 && self.rng.random_bool(self.weather.corrupt);
            let arrival = Arrival {
                from,
                via,
                bytes: if is_damaged { damaged(bytes, &mut self.rng) } else { bytes.clone() },
                genuine: genuine && !is_damaged,
            };
            self.queue.put(self.now + Duration::from_nanos(delay), Event::Arrive(to, arrival));
        }
    }
}

/// For people who read a trace.
pub(super) fn brief(header: &Header) -> String {
    let Header { packet_type, flags, epoch, pkt, seq, fragment, .. } = header;
    format!(
        "{packet_type:?} flags {flags} epoch {} pkt {} seq {seq} part {} of {}",
        epoch.0, pkt.0, fragment.index, fragment.count
    )
}

/// One to four bytes changed, or the end cut off or lengthened.
fn damaged(bytes: &Bytes, rng: &mut SmallRng) -> Bytes {
    let mut damaged = BytesMut::from(&bytes[..]);
    match rng.random_range(0..8) {
        0 => damaged.truncate(rng.random_range(0..=bytes.len())),
        1 => damaged.resize(bytes.len() + rng.random_range(1..=16), rng.random()),
        _ => {
            for _ in 0..rng.random_range(1..=4) {
                let at = rng.random_range(0..bytes.len());
                damaged[at] ^= rng.random_range(1..=255u8);
            }
        }
    }
    damaged.freeze()
}
