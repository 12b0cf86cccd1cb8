//! The engines of a session on their one thread: receiver and publisher, once a heartbeat has named the group.

use std::{
    collections::VecDeque,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{
    ArrivalSocket, DatagramOutcome, DatagramPublisher, LanePolicy, MemberReceiver, ReceiverConfig, ReceiverEvent,
    Transmit,
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
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{debug, trace};

use crate::{event_queue::EventSender, group_sockets::GroupSockets};

/// The socket for NACK, STATUS, PROBE and PUBLISH; the others are those of [`GroupSockets`].
pub(super) const OWN_SOCKET: SocketId = SocketId(0);
/// A relay that has been silent for this long may be replaced by another one that sends heartbeats of the group.
const RELAY_SILENCE: Duration = Duration::from_secs(4);

/// A command of the session to its thread.
#[derive(Debug)]
pub(super) enum SessionCommand {
    Publish(PublishRequest),
    /// The event queue has room again.
    Drain,
    /// The group is received on these interfaces from now on.
    Links(Vec<Link>),
}

/// A message to be published.
#[derive(Debug)]
pub(super) struct PublishRequest {
    pub(super) content_type: ContentType,
    pub(super) payload: Bytes,
    pub(super) reply: oneshot::Sender<DatagramOutcome>,
    pub(super) _room: OwnedSemaphorePermit,
}

/// What the thread reports to the session.
#[derive(Debug)]
pub(super) enum SessionEvent {
    /// The first heartbeat.
    Group {
        group: GroupId,
        log: LogId,
        next: Seq,
    },
    Receiver(ReceiverEvent),
    /// The log was replaced; events after this one are of this log.
    Changed {
        log: LogId,
    },
}

/// Drives the engines of one session.
#[derive(Debug)]
pub(super) struct SessionDrive {
    client: ClientId,
    device: DeviceId,
    sockets: GroupSockets,
    changes: VecDeque<SocketChange>,
    give_up_after: Duration,
    /// `None` until the first heartbeat.
    relay: Option<HeardRelay>,
    receiver: Option<MemberReceiver>,
    publisher: Option<DatagramPublisher>,
    /// In order, each with its share of the room; the first one is with the publisher.
    requests: VecDeque<PublishRequest>,
    /// Sent before the receiver's events.
    notices: VecDeque<SessionEvent>,
    out: EventSender<SessionEvent>,
}

/// The relay and its group, as its heartbeats describe them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HeardRelay {
    group: GroupId,
    log: LogId,
    tag: GroupTag,
    addr: SocketAddrV4,
    /// When the last heartbeat came.
    heard: Instant,
}

impl SessionDrive {
    pub(super) fn new(
        device: DeviceId,
        sockets: GroupSockets,
        give_up_after: Duration,
        out: EventSender<SessionEvent>,
    ) -> Self {
        Self {
            client: ClientId(rand::rng().random()),
            device,
            sockets,
            changes: VecDeque::new(),
            give_up_after,
            relay: None,
            receiver: None,
            publisher: None,
            requests: VecDeque::new(),
            notices: VecDeque::new(),
            out,
        }
    }

    fn handle_heartbeat(&mut self, now: Instant, from: SocketAddrV4, header: &Header, body: &[u8]) {
        let Ok(heartbeat) = Heartbeat::decode(body) else { return };
        let new = HeardRelay { group: heartbeat.group, log: heartbeat.log, tag: header.tag, addr: from, heard: now };
        if header.tag != GroupTag::of(new.group, heartbeat.generation, new.log) {
            return;
        }
        // The engine follows a move by itself.
        let follows = self.receiver.as_ref().is_some_and(|receiver| receiver.is_addressed(new.tag));
        match &mut self.relay {
            Some(relay) if follows && relay.addr == from => relay.heard = now,
            None => self.begin(now, new, header.seq),
            Some(relay) if relay.addr.ip() == from.ip() && relay.tag == new.tag => {
                relay.heard = now;
                // A relay that restarted may have another port.
                if relay.addr != from {
                    self.change(now, new, heartbeat.oldest_repairable);
                }
            }
            Some(relay) => {
                let is_silent = now.saturating_duration_since(relay.heard) >= RELAY_SILENCE;
                if relay.group == new.group && (relay.addr == from || is_silent) {
                    self.change(now, new, heartbeat.oldest_repairable);
                }
            }
        }
    }

    fn begin(&mut self, now: Instant, relay: HeardRelay, head: Seq) {
        let config = ReceiverConfig {
            group: relay.group,
            log: relay.log,
            tag: relay.tag,
            next: head.next(),
            sender: self.client.into(),
            device: self.device,
            relay: Some(relay.addr),
            policy: LanePolicy::MulticastOnly,
            history: false,
            rng_seed: rand::rng().random(),
        };
        self.receiver = Some(MemberReceiver::new(config, now));
        let (give_up, seed) = (self.give_up_after, rand::rng().random());
        self.publisher =
            Some(DatagramPublisher::new(self.client, self.device, relay.tag, relay.addr, give_up, seed, now));
        self.notices.push_back(SessionEvent::Group { group: relay.group, log: relay.log, next: head.next() });
        self.relay = Some(relay);
    }

    fn change(&mut self, now: Instant, relay: HeardRelay, oldest_repairable: Seq) {
        let new_log = self.relay.is_some_and(|old| old.log != relay.log);
        if let Some(receiver) = &mut self.receiver {
            let next = oldest_repairable.max(Seq::FIRST);
            receiver.handle_change(now, relay.log, relay.tag, Some(relay.addr), next);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.handle_place(relay.tag, relay.addr);
        }
        if new_log {
            self.notices.push_back(SessionEvent::Changed { log: relay.log });
        }
        self.relay = Some(relay);
    }

    /// Makes sockets and publisher follow the receiver when the group moves to another address.
    fn follow_receiver(&mut self) {
        let Some(receiver) = &mut self.receiver else { return };
        while let Some(hearing) = receiver.poll_hearing() {
            self.changes.extend(self.sockets.handle_hearing(hearing));
        }
        if let Some(relay) = self.relay.as_mut().filter(|relay| relay.tag != receiver.tag()) {
            relay.tag = receiver.tag();
            if let Some(publisher) = &mut self.publisher {
                publisher.handle_place(relay.tag, relay.addr);
            }
        }
    }

    /// Publishes, and sends events as far as there is room.
    fn pump(&mut self, now: Instant) {
        self.follow_receiver();
        self.publish(now);
        let Self { receiver, notices, out, .. } = self;
        out.send_all(|| notices.pop_front().or_else(|| receiver.as_mut()?.poll_event().map(SessionEvent::Receiver)));
    }

    fn publish(&mut self, now: Instant) {
        let Some(publisher) = &mut self.publisher else { return };
        loop {
            if let Some(outcome) = publisher.poll_outcome()
                && let Some(request) = self.requests.pop_front()
            {
                // The caller may have dropped its end.
                let _ = request.reply.send(outcome);
            }
            match self.requests.front() {
                Some(request) if publisher.is_idle() => {
                    publisher.handle_message(now, request.content_type, request.payload.clone());
                }
                Some(_) | None => return,
            }
        }
    }
}

impl Drive for SessionDrive {
    type Command = SessionCommand;

    fn handle_command(&mut self, now: Instant, command: SessionCommand) {
        match command {
            SessionCommand::Publish(request) => self.requests.push_back(request),
            SessionCommand::Drain => {}
            SessionCommand::Links(links) => self.changes.extend(self.sockets.handle_links(&links)),
        }
        self.pump(now);
    }

    fn handle_datagram(&mut self, now: Instant, socket: SocketId, from: SenderAddr, bytes: &[u8]) {
        let Ok((header, body)) = Header::decode(bytes) else { return };
        if socket != OWN_SOCKET && header.packet_type == PacketType::Heartbeat {
            self.handle_heartbeat(now, from.0, &header, body);
        }
        // There is no log against which to check forged datagrams, so only those of the relay's host are taken.
        if self.relay.is_none_or(|relay| relay.addr.ip() != from.0.ip()) {
            return;
        }
        let via = if socket == OWN_SOCKET { ArrivalSocket::Unicast } else { ArrivalSocket::Group };
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
