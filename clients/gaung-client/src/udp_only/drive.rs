//! The engines of a session on their one thread: receiver and publisher, once a heartbeat has told of the group.

use std::{
    collections::VecDeque,
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{
    DatagramOutcome, DatagramPublisher, Hearing, LanePolicy, MemberReceiver, ReceiverConfig, ReceiverEvent, Transmit,
    Via,
};
use gaung_net::{
    SenderAddr, SocketError,
    driver::{Drive, SocketChange, SocketId},
    interface::Link,
};
use gaung_proto::{
    ClientId, ContentType, DeviceId, GroupId, GroupTag, LogId, Seq,
    body::Heartbeat,
    datagram::{Header, PacketType},
};
use rand::Rng as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{debug, trace};

pub(super) const OWN_SOCKET: SocketId = SocketId(0);
/// They take turns when the group goes to another address.
pub(super) const GROUP_SOCKETS: [SocketId; 2] = [SocketId(1), SocketId(2)];

#[derive(Debug)]
pub(super) enum Command {
    Publish(Wish),
    /// There is room for events again.
    Drain,
    /// Hear the group there from now on.
    Links(Vec<Link>),
}

/// A message to be published.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) content_type: ContentType,
    pub(super) payload: Bytes,
    pub(super) reply: oneshot::Sender<DatagramOutcome>,
    pub(super) _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(super) enum Heard {
    /// The first heartbeat.
    Group {
        group: GroupId,
        log: LogId,
        next: Seq,
    },
    Event(ReceiverEvent),
    /// What follows is of another log.
    Changed {
        log: LogId,
    },
}

#[derive(Debug)]
pub(super) struct SessionDrive {
    client: ClientId,
    device: DeviceId,
    links: Vec<Link>,
    /// Of [`GROUP_SOCKETS`]: the present one first.
    ears: [SocketId; 2],
    /// The group of the present one, and of the other one while it is open too.
    at: SocketAddrV4,
    trying: Option<SocketAddrV4>,
    changes: VecDeque<SocketChange>,
    give_up_after: Duration,
    place: Option<Place>,
    receiver: Option<MemberReceiver>,
    publisher: Option<DatagramPublisher>,
    /// Waiting, each with its share of the room; the first one is with the publisher.
    wishes: VecDeque<Wish>,
    marks: VecDeque<Heard>,
    out: mpsc::Sender<Heard>,
    stalled: Arc<AtomicBool>,
}

/// What the heartbeats told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    group: GroupId,
    log: LogId,
    tag: GroupTag,
    relay: SocketAddrV4,
    heard: Instant,
}

/// Another relay's heartbeats are heeded once this one has been silent for so long.
const RELAY_SILENCE: Duration = Duration::from_secs(4);

impl SessionDrive {
    pub(super) fn new(
        device: DeviceId,
        at: SocketAddrV4,
        links: Vec<Link>,
        give_up_after: Duration,
        out: mpsc::Sender<Heard>,
        stalled: Arc<AtomicBool>,
    ) -> Self {
        Self {
            client: ClientId(rand::rng().random()),
            device,
            links,
            ears: GROUP_SOCKETS,
            at,
            trying: None,
            changes: VecDeque::new(),
            give_up_after,
            place: None,
            receiver: None,
            publisher: None,
            wishes: VecDeque::new(),
            marks: VecDeque::new(),
            out,
            stalled,
        }
    }

    fn handle_heartbeat(&mut self, now: Instant, from: SocketAddrV4, header: &Header, body: &[u8]) {
        let Ok(heartbeat) = Heartbeat::decode(body) else { return };
        let told = Place { group: heartbeat.group, log: heartbeat.log, tag: header.tag, relay: from, heard: now };
        if header.tag != GroupTag::of(told.group, heartbeat.generation, told.log) {
            return;
        }
        // The engine follows a move by itself.
        let follows = self.receiver.as_ref().is_some_and(|receiver| receiver.is_addressed(told.tag));
        match &mut self.place {
            Some(place) if follows && place.relay == from => place.heard = now,
            None => self.begin(now, told, header.seq),
            Some(place) if place.relay.ip() == from.ip() && place.tag == told.tag => {
                place.heard = now;
                // A relay that restarted may have another port.
                if place.relay != from {
                    self.change(now, told, heartbeat.oldest_repairable);
                }
            }
            Some(place) => {
                let trusted = place.relay == from && place.group == told.group;
                let silent = now.saturating_duration_since(place.heard) >= RELAY_SILENCE;
                if trusted || (silent && place.group == told.group) {
                    self.change(now, told, heartbeat.oldest_repairable);
                }
            }
        }
    }

    fn begin(&mut self, now: Instant, place: Place, head: Seq) {
        let config = ReceiverConfig {
            group: place.group,
            log: place.log,
            tag: place.tag,
            next: head.next(),
            sender: self.client.into(),
            device: self.device,
            relay: Some(place.relay),
            policy: LanePolicy::MulticastOnly,
            history: false,
            rng_seed: rand::rng().random(),
        };
        self.receiver = Some(MemberReceiver::new(config, now));
        let (give_up, seed) = (self.give_up_after, rand::rng().random());
        self.publisher =
            Some(DatagramPublisher::new(self.client, self.device, place.tag, place.relay, give_up, seed, now));
        self.marks.push_back(Heard::Group { group: place.group, log: place.log, next: head.next() });
        self.place = Some(place);
    }

    fn change(&mut self, now: Instant, place: Place, oldest_repairable: Seq) {
        let new_log = self.place.is_some_and(|old| old.log != place.log);
        if let Some(receiver) = &mut self.receiver {
            let next = oldest_repairable.max(Seq::FIRST);
            receiver.handle_change(now, place.log, place.tag, Some(place.relay), next);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.handle_place(place.tag, place.relay);
        }
        if new_log {
            self.marks.push_back(Heard::Changed { log: place.log });
        }
        self.place = Some(place);
    }

    /// The sockets follow the engine, and place and publisher do.
    fn follow(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        while let Some(hearing) = receiver.poll_hearing() {
            let change = match hearing {
                Hearing::Also(addr) => {
                    let (group, links) = (addr.socket_addr(), self.links.clone());
                    self.trying = Some(group);
                    SocketChange::OpenGroup { id: self.ears[1], group, links }
                }
                Hearing::Moved => {
                    self.ears.swap(0, 1);
                    self.at = self.trying.take().unwrap_or(self.at);
                    SocketChange::Close(self.ears[1])
                }
                Hearing::Stayed => {
                    self.trying = None;
                    SocketChange::Close(self.ears[1])
                }
            };
            self.changes.push_back(change);
        }
        if let Some(place) = self.place.as_mut().filter(|place| place.tag != receiver.tag()) {
            place.tag = receiver.tag();
            if let Some(publisher) = &mut self.publisher {
                publisher.handle_place(place.tag, place.relay);
            }
        }
    }

    /// Answers wishes and gives events as far as there is room.
    fn pump(&mut self, now: Instant) {
        self.follow();
        self.publish(now);
        loop {
            let Ok(permit) = self.out.try_reserve() else {
                if self.stalled.swap(true, Ordering::AcqRel) || self.out.capacity() == 0 {
                    return;
                }
                continue;
            };
            let event = self.receiver.as_mut().map(MemberReceiver::poll_event);
            match self.marks.pop_front().or_else(|| event.flatten().map(Heard::Event)) {
                Some(heard) => permit.send(heard),
                None => return,
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        let Some(publisher) = &mut self.publisher else { return };
        loop {
            if let Some(outcome) = publisher.poll_outcome()
                && let Some(wish) = self.wishes.pop_front()
            {
                // The caller may not care.
                let _ = wish.reply.send(outcome);
            }
            match self.wishes.front() {
                Some(wish) if publisher.is_idle() => {
                    publisher.handle_message(now, wish.content_type, wish.payload.clone());
                }
                Some(_) | None => return,
            }
        }
    }
}

impl Drive for SessionDrive {
    type Command = Command;

    fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Publish(wish) => self.wishes.push_back(wish),
            Command::Drain => {}
            Command::Links(links) => {
                self.links.clone_from(&links);
                let open = [(self.ears[0], Some(self.at)), (self.ears[1], self.trying)];
                for (id, group) in open.into_iter().filter_map(|(id, group)| Some((id, group?))) {
                    self.changes.push_back(SocketChange::OpenGroup { id, group, links: links.clone() });
                }
            }
        }
        self.pump(now);
    }

    fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        let Ok((header, body)) = Header::decode(bytes) else { return };
        if socket != OWN_SOCKET && header.packet_type == PacketType::Heartbeat {
            self.handle_heartbeat(now, from.0, &header, body);
        }
        // Without a log to ask, nobody but the relay is believed.
        if self.place.is_none_or(|place| place.relay.ip() != from.0.ip()) {
            return;
        }
        let via = if socket == OWN_SOCKET { Via::Unicast } else { Via::Group };
        let taken = match (&mut self.publisher, &mut self.receiver) {
            (Some(publisher), _) if header.packet_type == PacketType::Puback => {
                publisher.handle_puback(now, &header, body)
            }
            (_, Some(receiver)) => receiver.handle_datagram(now, via, &header, body),
            (_, None) => Ok(()),
        };
        if let Err(error) = taken {
            trace!(%from, %error, "datagram dropped");
        }
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(receiver) = &mut self.receiver {
            receiver.handle_timeout(now);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.handle_timeout(now);
        }
        self.pump(now);
    }

    fn handle_socket(&mut self, _now: Instant, _socket: SocketId, outcome: Result<Vec<Link>, SocketError>) {
        if let Err(error) = outcome {
            debug!(%error, "socket not opened");
        }
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let publish = self.publisher.as_mut().and_then(DatagramPublisher::poll_transmit);
        publish.or_else(|| self.receiver.as_mut()?.poll_transmit())
    }

    fn poll_socket_change(&mut self) -> Option<SocketChange> {
        self.changes.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let receiver = self.receiver.as_ref().and_then(MemberReceiver::poll_timeout);
        let publisher = self.publisher.as_ref().and_then(DatagramPublisher::poll_timeout);
        [receiver, publisher].into_iter().flatten().min()
    }
}
