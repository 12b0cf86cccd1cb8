//! What peers send: requests of clients, and those of peers that mean harm.

use broadcast_hub::Group;
use bytes::Bytes;
use gaung_proto::{
    ClientId, Content, GroupId, Seq,
    frame::encode_control,
    pb::hub::{
        Ack, ClientFrame, Hello, Ping, Publish, PublishEntry, Renew, Subscribe, Unsubscribe, client_frame::Frame,
        subscribe,
    },
};
use rand::{Rng as _, rngs::SmallRng};

use super::{hub::Hub, peer::Peer, settings::Habit};

/// Makes what a peer sends, and remembers what that needs.
pub(super) struct Requester {
    pub(super) client: ClientId,
    pub(super) habit: Habit,
    is_text: bool,
    is_greeted: bool,
    is_subscribed: bool,
    /// Subscriptions that were asked for.
    pub(super) subscriptions: u64,
    last_tag: u64,
    last_client_seq: u64,
}

/// Publish requests in one go of a flood, and bytes of each.
const FLOOD_REQUESTS: usize = 30;
const FLOOD_BYTES: usize = 20_000;
/// Pings in one go.
const PINGS: u64 = 200;

impl Requester {
    pub(super) fn new(number: usize, is_text: bool, habit: Habit) -> Self {
        let mut id = [0x11; 16];
        id[0] = number as u8;
        Self {
            client: ClientId(id),
            habit,
            is_text,
            is_greeted: false,
            is_subscribed: false,
            subscriptions: 0,
            last_tag: 0,
            last_client_seq: 0,
        }
    }

    /// Bytes to send now. `is_quiet`: nothing but what keeps the session alive.
    pub(super) fn next(&mut self, rng: &mut SmallRng, peer: &mut Peer, hub: &Hub, is_quiet: bool) -> Vec<u8> {
        if self.habit == Habit::Noise && !is_quiet {
            return (0..rng.random_range(1..200)).map(|_| rng.random()).collect();
        }
        if self.is_text {
            return if is_quiet { Vec::new() } else { self.lines(rng, peer, hub) };
        }
        let mut frames = Vec::new();
        if !self.is_greeted && self.habit != Habit::Silent {
            self.is_greeted = true;
            frames.push(self.hello());
        }
        match self.habit {
            Habit::Silent | Habit::Noise => {}
            _ if is_quiet => frames.push(ping(rng.random(), peer)),
            Habit::Client => self.client_frames(rng, peer, hub, &mut frames),
            Habit::Restless => {
                self.subscriptions += 20;
                frames.extend((0..20).map(|_| restless(rng, hub)));
            }
            Habit::Flood => {
                let group = any_group(rng, hub);
                frames.extend((0..FLOOD_REQUESTS).map(|_| self.publish(group, 1, FLOOD_BYTES, peer)));
            }
            Habit::Pings => frames.extend((0..PINGS).map(|nonce| ping(nonce, peer))),
            Habit::Faulty => {
                let frame = self.faulty(rng, peer, hub);
                frames.push(frame);
            }
        }
        frames.into_iter().flat_map(|frame| encode_control(&ClientFrame { frame })).collect()
    }

    fn hello(&self) -> Option<Frame> {
        Some(Frame::Hello(Hello { version: 1, client_id: self.client.into(), ..Hello::default() }))
    }

    fn client_frames(&mut self, rng: &mut SmallRng, peer: &mut Peer, hub: &Hub, frames: &mut Vec<Option<Frame>>) {
        if !std::mem::replace(&mut self.is_subscribed, true) || rng.random_ratio(1, 100) {
            self.subscriptions += 1;
            frames.push(subscribe_frame(rng, hub));
        }
        for (id, group) in &peer.groups {
            frames.push(Some(Frame::Ack(Ack {
                group_id: (*id).into(),
                log_id: group.log.0,
                delivered_seq: group.next.0 - 1,
                ..Ack::default()
            })));
        }
        if rng.random_ratio(1, 4) {
            let (count, size) = (rng.random_range(1..4), rng.random_range(1..300));
            let group = any_group(rng, hub);
            frames.push(self.publish(group, count, size, peer));
        }
        frames.push(ping(rng.random(), peer));
    }

    fn publish(&mut self, group: GroupId, count: u64, size: usize, peer: &mut Peer) -> Option<Frame> {
        self.last_tag += 1;
        peer.tags.insert(self.last_tag);
        let first = self.last_client_seq + 1;
        self.last_client_seq += count;
        let entry = |client_seq| {
            let (content_type, payload) = Content::text("p", "x".repeat(size)).encode();
            PublishEntry { client_seq, content_type: content_type.to_byte().into(), payload }
        };
        let entries = (first..first + count).map(entry).collect();
        Some(Frame::Publish(Publish { tag: self.last_tag, group_id: group.into(), entries, ..Publish::default() }))
    }

    /// One frame that decodes and means nothing good.
    fn faulty(&mut self, rng: &mut SmallRng, peer: &mut Peer, hub: &Hub) -> Option<Frame> {
        let group = any_group(rng, hub);
        match rng.random_range(0..9) {
            0 => None,
            1 => Some(Frame::Subscribe(Subscribe::default())),
            2 => {
                let by = Some(subscribe::By::GroupId(group.into()));
                Some(Frame::Subscribe(Subscribe { by, from_seq: u64::MAX, ..Subscribe::default() }))
            }
            3 => Some(Frame::Unsubscribe(Unsubscribe { group_id: Bytes::from_static(b"short") })),
            4 => self.publish(group, 0, 0, peer),
            5 => self.publish(GroupId([0xee; 16]), 1, 10, peer),
            6 => Some(Frame::Ack(Ack { group_id: group.into(), log_id: 9, delivered_seq: u64::MAX, cookie: 3 })),
            7 => Some(Frame::Renew(Renew { group_id: group.into(), ticket: Bytes::from_static(b"none") })),
            _ => rng.random_ratio(1, 20).then(|| self.hello()).flatten(),
        }
    }

    fn lines(&mut self, rng: &mut SmallRng, peer: &mut Peer, hub: &Hub) -> Vec<u8> {
        let joins = !std::mem::replace(&mut self.is_subscribed, true) || self.habit == Habit::Restless;
        peer.moves |= self.habit == Habit::Restless;
        let mut lines = String::new();
        if joins && self.habit != Habit::Silent {
            self.subscriptions += 1;
            lines.push_str(&format!("/join g{}\n", rng.random_range(1..=hub.groups.len())));
        }
        match self.habit {
            Habit::Client | Habit::Restless => lines.push_str("halo\n/name Budi\n"),
            Habit::Flood => (0..FLOOD_REQUESTS).for_each(|_| lines.push_str(&format!("{}\n", "y".repeat(4000)))),
            Habit::Faulty => lines.push_str(&format!("/what\n/join \n{}\n", "z".repeat(70_000))),
            Habit::Pings | Habit::Noise | Habit::Silent => {}
        }
        lines.into_bytes()
    }
}

fn ping(nonce: u64, peer: &mut Peer) -> Option<Frame> {
    peer.pings.push_back(nonce);
    Some(Frame::Ping(Ping { nonce }))
}

fn any_group(rng: &mut SmallRng, hub: &Hub) -> GroupId {
    hub.groups[rng.random_range(0..hub.groups.len())].info.id
}

fn subscribe_frame(rng: &mut SmallRng, hub: &Hub) -> Option<Frame> {
    let group = &hub.groups[rng.random_range(0..hub.groups.len())];
    let head: Seq = Group::head(&group.group);
    let from_seq = match rng.random_range(0..4) {
        0 => 1,
        1 => rng.random_range(1..=head.0 + 1),
        _ => 0,
    };
    let by = Some(subscribe::By::Name(group.info.name.clone()));
    Some(Frame::Subscribe(Subscribe { by, from_seq, ..Subscribe::default() }))
}

/// Comes and goes: in groups that exist, and in many that do not.
fn restless(rng: &mut SmallRng, hub: &Hub) -> Option<Frame> {
    match rng.random_range(0..4) {
        0 => Some(Frame::Unsubscribe(Unsubscribe { group_id: any_group(rng, hub).into() })),
        1 => {
            let by = Some(subscribe::By::Name(format!("x{}", rng.random_range(0..200))));
            Some(Frame::Subscribe(Subscribe { by, ..Subscribe::default() }))
        }
        _ => subscribe_frame(rng, hub),
    }
}
