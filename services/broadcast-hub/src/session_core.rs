//! The pure part of a session: how requests are answered, which messages are written, and when the session ends.
//!
//! [`SessionCore`] has no socket, task, clock or randomness. The shell around it (`session.rs`) reads and writes the
//! socket; the simulation drives the same core over a network of its own.

mod end_reason;
mod groups;
mod reading;
mod request;
mod say;
mod subscription;
mod surroundings;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{Fanout, FanoutLimits};
use gaung_proto::{DeviceId, GroupId, LogId, pb::relay::AckRange, signing::verify_hello};
use service_kit::secure::{OtherDevice, PeerDevice};
use tonic::Code;

pub use self::{
    end_reason::EndReason,
    request::{GroupKey, Hello, HelloProof, PublishRequest, Request, SubscribeRequest},
    say::{ResumePoint, Say},
    surroundings::{
        Counted, Decoded, Dialect, DialectRules, LogPart, LogRead, LogReadGuard, RunSource, SessionHub, Surroundings,
        Unsent,
    },
};
use self::{
    groups::{SubscriptionStart, WaitingRequest},
    subscription::Subscriptions,
};
use crate::{audience::ClientKey, config::Limits, directory::GroupInfo, failure::Failure};

/// One session's state besides its socket.
///
/// Call order: first [`Self::open`]; then [`Self::handle_request`] and the other `handle_*` for whatever happens, and
/// [`Self::mark`] when a group has something new. After each of them write: [`Self::gather`], [`Self::wrote`] until nothing
/// is left or the socket takes no more, then [`Self::recover_cursors`]. [`Self::handle_sweep`] is due twice a second.
/// The session is closed once [`Self::is_over`]; [`Self::leave_all`] comes last.
pub struct SessionCore {
    limits: Arc<Limits>,
    fan: Fanout,
    subscriptions: Subscriptions,
    /// Requests that wait for a lookup, by its number.
    waiting: BTreeMap<u64, WaitingRequest>,
    client: Option<SessionClient>,
    /// The peer's device, as far as it is proven.
    device: PeerDevice,
    /// What a proof of the peer's device signs.
    challenge: [u8; 32],
    is_for_open_groups: bool,
    is_welcomed: bool,
    is_blocked: bool,
    next_number: u64,
    in_flight_bytes: usize,
    in_flight_requests: usize,
    opened: Instant,
    /// When the peer last sent something.
    heard: Instant,
    /// When the socket last had room, or there was nothing to write.
    progress: Instant,
    ending: Option<Box<SessionEnding>>,
}

/// The client at the other end, by its hello.
#[derive(Debug)]
struct SessionClient {
    key: ClientKey,
    /// The device by its hello.
    named: DeviceId,
    /// The device as far as it is proven; [`DeviceId::NONE`] for none.
    device: DeviceId,
    name: String,
}

/// The end of a session that has been decided. No more is read; pending data is written until the deadline.
struct SessionEnding {
    reason: EndReason,
    deadline: Instant,
    is_lost: bool,
}

/// The outcome of a publish request.
#[derive(Debug, Clone)]
pub struct PublishOutcome {
    /// The tag that the peer gave the request.
    pub tag: u64,
    /// The group.
    pub group: GroupId,
    /// Bytes of the request.
    pub bytes: usize,
    /// The log, and the seqs of the messages in it.
    pub outcome: Result<(LogId, Vec<AckRange>), Failure>,
}

/// Which of a session's places are needed by others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pressure {
    /// The session was evicted for an address with fewer sessions.
    pub is_evicted: bool,
    /// Its place among the sessions that have not said hello was evicted.
    pub is_handshake_evicted: bool,
    /// Its place for reading the log was evicted.
    pub is_history_evicted: bool,
    /// The hub is nearly full, so that silent text sessions have to go.
    pub is_nearly_full: bool,
}

/// Bytes of pending answers above which no more requests are read.
const CONTROL_PAUSE_BYTES: usize = 256 * 1024;
/// Bytes and number of publish requests in flight above which no more requests are read.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;
const IN_FLIGHT_REQUESTS: usize = 16 * 1024;
/// How long a session may read nothing before its evicted place for reading the log ends it.
const EVICTED_STALL: Duration = Duration::from_secs(1);

impl SessionCore {
    /// Creates the core of a session whose peer has sent nothing yet. `device`: what its connection proves;
    /// `challenge`: random bytes that no other session has.
    #[must_use]
    pub fn new(limits: Arc<Limits>, device: PeerDevice, challenge: [u8; 32], now: Instant) -> Self {
        Self {
            limits,
            fan: Fanout::new(FanoutLimits::default()),
            subscriptions: Subscriptions::default(),
            waiting: BTreeMap::new(),
            client: None,
            device,
            challenge,
            is_for_open_groups: false,
            is_welcomed: false,
            is_blocked: false,
            next_number: 1,
            in_flight_bytes: 0,
            in_flight_requests: 0,
            opened: now,
            heard: now,
            progress: now,
            ending: None,
        }
    }

    /// Limits the session to open groups if `is_limited`, because others on the network can read it.
    #[must_use]
    pub fn for_open_groups(self, is_limited: bool) -> Self {
        Self { is_for_open_groups: is_limited, ..self }
    }

    /// Begins the session.
    pub fn open(&mut self, around: &mut Surroundings<'_>) {
        if let Some(greeting) = around.dialect.greeting() {
            self.queue(greeting, around);
        }
        if let Some(request) = around.dialect.opening() {
            self.handle_request(request, around);
        }
    }

    /// Notes that the peer has sent something.
    pub const fn handle_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Handles requests that the dialect has decoded, up to the session's end.
    pub fn handle_decoded(&mut self, around: &mut Surroundings<'_>) {
        while self.ending.is_none()
            && let Some(decoded) = around.dialect.poll_decoded()
        {
            match decoded {
                Decoded::Request(request) => self.handle_request(request, around),
                Decoded::Answer(bytes) => self.queue(bytes, around),
                Decoded::TooLong(bytes) => {
                    around.hub.count(Counted::LongLine);
                    self.queue(bytes, around);
                }
            }
        }
        if around.dialect.is_finished() {
            self.end(EndReason::InputEnded, around);
        }
    }

    /// Handles one request.
    pub fn handle_request(&mut self, request: Request, around: &mut Surroundings<'_>) {
        if self.ending.is_some() {
            return;
        }
        let may_come_first = matches!(request, Request::Hello(_) | Request::Unknown | Request::Fatal(_));
        if self.client.is_none() && !may_come_first {
            return self.refuse("the first frame must be a hello", around);
        }
        match request {
            Request::Hello(hello) => self.hello(hello, around),
            Request::Subscribe(SubscribeRequest { group, from, log, ticket }) => {
                let request = WaitingRequest::Subscribe { from, log, ticket: ticket.clone() };
                self.find(group, ticket, request, around);
            }
            Request::Unsubscribe(group) => {
                self.unsubscribe(group, around);
                let message = String::new();
                self.say(Say::Unsubscribed { group, code: Code::Ok, message }, around);
            }
            Request::Publish(group, publish) => match publish.check() {
                Ok(()) => self.find(group, publish.ticket.clone(), WaitingRequest::Publish(publish), around),
                Err(failure) => self.say(Say::Error { tag: publish.tag, group: None, failure }, around),
            },
            Request::Ack { group, log, delivered, cookie } => {
                around.hub.count(Counted::Ack);
                self.acknowledge(group, log, delivered, cookie, around);
            }
            Request::Renew(group, ticket) => self.renew(group, ticket, around),
            Request::Ping(nonce) => self.say(Say::Pong { nonce }, around),
            Request::Prove(proof) => self.prove(&proof, around),
            Request::Join(name) => self.find(GroupKey::Name(name), Bytes::new(), WaitingRequest::Join, around),
            Request::Rename(name) => self.rename(name, around),
            Request::Unknown => {
                let failure = Failure::new(Code::Unimplemented, "this hub does not know such a frame");
                self.say(Say::Error { tag: 0, group: None, failure }, around);
            }
            Request::Invalid { tag, failure } => self.say(Say::Error { tag, group: None, failure }, around),
            Request::Fatal(EndReason::ProtocolError(what)) => self.refuse(what, around),
            Request::Fatal(reason) => self.end(reason, around),
        }
    }

    /// Handles the news that `everyone` is known, or is another group than before.
    pub fn handle_everyone(&mut self, around: &mut Surroundings<'_>) {
        let Some(everyone) = around.hub.everyone().filter(|_| self.client.is_some()) else { return };
        // A peer that acknowledges subscribes by itself.
        if self.is_welcomed && around.dialect.rules().acknowledges {
            return;
        }
        self.is_welcomed = true;
        self.say(Say::Welcome { everyone: everyone.clone(), challenge: self.challenge }, around);
        // Unless the peer has chosen a position in it already, or does so with what came along.
        if !self.subscriptions.contains(everyone.id) && !around.dialect.is_requested(&everyone) {
            self.subscribe_or_say(&everyone, SubscriptionStart::EVERYONE, around);
        }
    }

    /// Answers a publish request of this session.
    pub fn handle_published(&mut self, published: PublishOutcome, around: &mut Surroundings<'_>) {
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(published.bytes);
        self.in_flight_requests = self.in_flight_requests.saturating_sub(1);
        let tag = published.tag;
        match published.outcome {
            Ok((log, acks)) => self.say(Say::Published { tag, log, acks }, around),
            Err(failure) => self.say(Say::Error { tag, group: Some(published.group), failure }, around),
        }
    }

    /// Ends the session because its connection is lost.
    pub fn handle_lost(&mut self, now: Instant) {
        // That the connection broke while the session was being ended is no news.
        let reason = match self.ending.take() {
            Some(ending) => ending.reason,
            None => EndReason::ConnectionLost,
        };
        self.ending = Some(Box::new(SessionEnding { reason, deadline: now, is_lost: true }));
    }

    /// Checks time limits and evictions; due twice a second.
    pub fn handle_sweep(&mut self, pressure: Pressure, around: &mut Surroundings<'_>) {
        let stalled = around.now.saturating_duration_since(self.progress);
        if self.is_blocked && stalled >= self.limits.stall {
            self.end(EndReason::Unresponsive, around);
        }
        if pressure.is_evicted {
            self.end(EndReason::Evicted, around);
        }
        if pressure.is_history_evicted && stalled >= EVICTED_STALL {
            self.end(EndReason::HistoryEvicted, around);
        }
        if let Some(reason) = self.silence(pressure, around) {
            self.end(reason, around);
        }
        self.sweep_subscriptions(around);
    }

    /// Tells the peer why the session ends and where to resume. The session is over once that is written, or cannot be.
    pub fn end(&mut self, reason: EndReason, around: &mut Surroundings<'_>) {
        if self.ending.is_some() {
            return;
        }
        let last = reason.is_said().then(|| Say::Bye { reason: reason.clone(), resume: self.resume_points() });
        let last = last.and_then(|bye| around.dialect.encode(bye));
        // What waits would only delay the last frame; a peer that resumes gets it again.
        self.fan.remove_all();
        last.into_iter().for_each(|last| self.fan.push_last(last));
        // The shell makes room in the socket for the last frame.
        self.is_blocked = false;
        let deadline = around.now + self.limits.linger;
        self.ending = Some(Box::new(SessionEnding { reason, deadline, is_lost: false }));
    }

    /// Returns why the session ends, once that is decided.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.ending.as_ref().map(|ending| &ending.reason)
    }

    /// Returns until when an ending session is written to.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.ending.as_ref().map(|ending| ending.deadline)
    }

    /// Returns true if the connection is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_lost)
    }

    /// Returns true if the session has ended and its last frame is written, or cannot be.
    #[must_use]
    pub fn is_over(&self, now: Instant, dialect: &dyn Dialect) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.deadline <= now || self.is_flushed(dialect))
    }

    /// Returns true if everything said is written.
    #[must_use]
    pub fn is_flushed(&self, dialect: &dyn Dialect) -> bool {
        self.fan.is_flushed() && !dialect.has_unsent()
    }

    /// Returns true if the peer has said hello.
    #[must_use]
    pub const fn is_greeted(&self) -> bool {
        self.client.is_some()
    }

    /// Returns true if more requests may be read: not while too many answers or publish requests are pending.
    #[must_use]
    pub fn may_read(&self) -> bool {
        // Unread requests stay in the socket, where TCP holds the peer back.
        self.ending.is_none()
            && self.in_flight_bytes < IN_FLIGHT_BYTES
            && self.in_flight_requests < IN_FLIGHT_REQUESTS
            && self.fan.control_bytes() < CONTROL_PAUSE_BYTES
    }

    /// Returns the bytes held for this peer alone: answers, and what was read from logs.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.fan.control_bytes() + self.fan.feed_bytes()
    }

    fn hello(&mut self, hello: Hello, around: &mut Surroundings<'_>) {
        if self.client.is_some() {
            return self.refuse("a second hello came", around);
        }
        let Ok(device) = self.device.device(hello.device) else {
            return self.end(EndReason::OtherDevice, around);
        };
        let key = ClientKey { id: hello.client, owner: around.hub.owner_of(hello.stream_key) };
        self.client = Some(SessionClient { key, named: hello.device, device, name: hello.name });
        self.handle_everyone(around);
    }

    fn prove(&mut self, proof: &HelloProof, around: &mut Surroundings<'_>) {
        if matches!(self.device, PeerDevice::Proven(_)) {
            return self.refuse("the device is proven already", around);
        }
        match verify_hello(&proof.public_key, &proof.signature, &self.challenge, self.client_key().id) {
            Ok(device) => {
                around.hub.device_proven(self.challenge, device);
                self.handle_proof(device, around);
            }
            Err(error) => self.refuse(format!("the device is not proven: {error}"), around),
        }
    }

    /// Sets the device whose key the peer has proven: the one place where a session gets another device than its connection gave it.
    /// Groups that the session has entered before are told of it.
    pub fn handle_proof(&mut self, device: DeviceId, around: &mut Surroundings<'_>) {
        let Some(client) = &mut self.client else { return };
        let is_other = matches!(self.device, PeerDevice::Proven(known) if known != device);
        self.device = PeerDevice::Proven(device);
        match self.device.device(client.named) {
            Ok(device) if !is_other => {
                client.device = device;
                self.tell_device(device, around);
            }
            Ok(_) | Err(OtherDevice) => self.end(EndReason::OtherDevice, around),
        }
    }

    /// Keeps a newer ticket for a group that the session is in, and ignores one for another group.
    fn renew(&mut self, group: GroupId, ticket: Bytes, around: &mut Surroundings<'_>) {
        let info = self.subscriptions.get(group).map(|subscription| subscription.group.info());
        let Some(info) = info.filter(|info| info.private) else { return };
        if let Err(failure) = self.check_ticket(&info, &ticket, around) {
            return self.say(Say::Error { tag: 0, group: Some(group), failure }, around);
        }
        if let Some(subscription) = self.subscriptions.get_mut(group) {
            around.hub.renew_ticket(&subscription.group, &ticket);
            subscription.show(ticket);
        }
    }

    /// Hands a checked request to the group's relay. Every outcome comes to [`Self::handle_published`].
    fn publish(&mut self, info: &GroupInfo, request: PublishRequest, around: &mut Surroundings<'_>) {
        let (tag, bytes) = (request.tag, request.bytes);
        self.in_flight_bytes += bytes;
        self.in_flight_requests += 1;
        // A person who typed a line wants to know sooner.
        let limit = if around.dialect.rules().acknowledges { self.limits.publish } else { self.limits.text_publish };
        let device = self.client.as_ref().map(|client| client.device).unwrap_or_default();
        let published = match self.check_exposure(info) {
            Ok(()) => around.hub.publish(around.now, info, device, request, limit),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = published {
            let failed = PublishOutcome { tag, group: info.id, bytes, outcome: Err(failure) };
            self.handle_published(failed, around);
        }
    }

    /// Returns why the session ends for its peer's silence, if it does.
    fn silence(&self, pressure: Pressure, around: &Surroundings<'_>) -> Option<EndReason> {
        let since_open = around.now.saturating_duration_since(self.opened);
        let is_silent = around.now.saturating_duration_since(self.heard) >= self.limits.idle;
        if !around.dialect.rules().must_speak {
            return (is_silent && pressure.is_nearly_full).then_some(EndReason::SilentWhileFull);
        }
        match (&self.client, self.is_welcomed) {
            (None, _) if pressure.is_handshake_evicted => Some(EndReason::HandshakeEvicted),
            (None, _) => (since_open >= self.limits.hello).then_some(EndReason::NoHello),
            (Some(_), false) => (since_open >= self.limits.subscribe).then_some(EndReason::NotReady),
            (Some(_), true) => is_silent.then_some(EndReason::Silent),
        }
    }

    fn refuse(&mut self, what: impl Into<String>, around: &mut Surroundings<'_>) {
        let what = what.into();
        let failure = Failure::new(Code::InvalidArgument, what.clone());
        self.say(Say::Error { tag: 0, group: None, failure }, around);
        self.end(EndReason::ProtocolError(what), around);
    }

    fn say(&mut self, say: Say, around: &mut Surroundings<'_>) {
        if self.ending.is_none()
            && let Some(bytes) = around.dialect.encode(say)
        {
            self.queue(bytes, around);
        }
    }

    fn queue(&mut self, bytes: Bytes, around: &mut Surroundings<'_>) {
        if self.ending.is_none() && self.fan.push_control(bytes).is_err() {
            self.end(EndReason::AnswersUnread, around);
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
