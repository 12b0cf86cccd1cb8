//! The interfaces that a session uses: the hub's tables and links, and a dialect.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::TicketError;
use gaung_proto::{DeviceId, GroupId, LogId, Seq, SeqRange, run::Run};

use crate::{directory::GroupInfo, failure::Failure, group::Group};

use super::{
    request::{GroupKey, PublishRequest, Request},
    say::Say,
};

/// The time and the two sides that every call of a [`SessionCore`](super::SessionCore) is given.
pub struct Surroundings<'a> {
    /// The time of the call.
    pub now: Instant,
    /// The hub.
    pub hub: &'a mut dyn SessionHub,
    /// The peer's dialect.
    pub dialect: &'a mut dyn Dialect,
}

/// The hub, as a session uses it. Every call returns at once; what takes time is answered by a `handle_*` call.
pub trait SessionHub {
    /// Returns the group that everybody is in, once the registry has named it.
    fn everyone(&self) -> Option<Arc<GroupInfo>>;
    /// Returns the group if the hub's directory has it.
    fn known_group(&self, key: &GroupKey) -> Option<Arc<GroupInfo>>;
    /// Looks a group up at the registry, which describes a private one to holders of `ticket`. The answer comes to
    /// [`handle_found`](super::SessionCore::handle_found) with this number.
    ///
    /// # Errors
    /// If the session's address looks up too many.
    fn look_up(&mut self, number: u64, key: GroupKey, ticket: Bytes) -> Result<(), Failure>;
    /// Checks that `device` may use a private group by this ticket.
    ///
    /// # Errors
    /// Says why it may not.
    fn check_ticket(&self, now: Instant, group: GroupId, device: DeviceId, ticket: &[u8]) -> Result<(), TicketError>;
    /// Returns the time by which tickets expire, in ms since 1970.
    fn ticket_time(&self, now: Instant) -> i64;
    /// Returns a number that sessions of one client share and others cannot know: a hash of the stream key, or without one of
    /// the session's address.
    fn owner_of(&self, stream_key: Option<[u8; 16]>) -> u64;
    /// Notes that the peer has proven its device by the session's challenge, which it alone has seen.
    fn device_proven(&mut self, _challenge: [u8; 32], _device: DeviceId) {}
    /// Counts the session in to the group: the hub follows the group, and marks it for the session at every change.
    ///
    /// # Errors
    /// If the hub follows too many groups.
    fn watch(&mut self, group: &Arc<GroupInfo>, ticket: &Bytes) -> Result<Arc<Group>, Failure>;
    /// Undoes [`Self::watch`].
    fn unwatch(&mut self, group: &Arc<Group>);
    /// Hands over a newer ticket for a group that the session watches.
    fn renew_ticket(&mut self, group: &Arc<Group>, ticket: &Bytes);
    /// Has the group's audience reported to its relay.
    fn audience_changed(&mut self, group: &Arc<Group>);
    /// Reads a group's log for the session; what is read comes to
    /// [`handle_log_part`](super::SessionCore::handle_log_part), until the guard is dropped.
    fn read_log(&mut self, read: LogRead) -> LogReadGuard;
    /// Counts something in the hub's metrics.
    fn count(&mut self, what: Counted);
    /// Hands a request of `device` to the group's relay; its answer comes to
    /// [`handle_published`](super::SessionCore::handle_published), at the latest after `limit`.
    ///
    /// # Errors
    /// If too many requests wait for the relay.
    fn publish(
        &mut self,
        now: Instant,
        group: &GroupInfo,
        device: DeviceId,
        request: PublishRequest,
        limit: Duration,
    ) -> Result<(), Failure>;
}

/// An encoding of requests and answers. A session has one dialect for its whole life.
pub trait Dialect {
    /// Returns what sessions of this dialect may do.
    fn rules(&self) -> DialectRules;
    /// Returns the first bytes that the hub sends, if it speaks first.
    fn greeting(&mut self) -> Option<Bytes> {
        None
    }
    /// Returns the request that opens a session whose peer does not say hello itself.
    fn opening(&mut self) -> Option<Request> {
        None
    }
    /// Decodes what was read. Returns false if nothing can come after it and the connection is lost.
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> bool;
    /// Handles the end of input. Returns false if the connection is lost, true if what the peer sent last is still answered.
    fn handle_end(&mut self) -> bool {
        false
    }
    /// Handles the time of [`Self::poll_timeout`].
    fn handle_timeout(&mut self, _now: Instant) {}
    /// Returns when incomplete input counts as complete.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Returns the next request, or an answer that the dialect gives itself.
    fn poll_decoded(&mut self) -> Option<Decoded>;
    /// Returns true if a subscription to the group was decoded and not polled yet.
    fn is_requested(&self, _group: &GroupInfo) -> bool {
        false
    }
    /// Returns true if input has ended and all of it is answered.
    fn is_finished(&self) -> bool {
        false
    }
    /// Encodes one thing said; `None` if the dialect leaves it out.
    fn encode(&mut self, say: Say) -> Option<Bytes>;
    /// Encodes the messages of a run from `next` on, as shared bytes where that is possible.
    fn encode_run(&self, group: &Group, run: &Run, next: Seq, source: RunSource) -> Bytes;
    /// Takes over a batch of `bytes` bytes to frame it. Returns false if the pieces are written as they are.
    fn wrap(&mut self, _pieces: &mut dyn Iterator<Item = &Bytes>, _bytes: usize) -> bool {
        false
    }
    /// Returns the bytes that have to be written before anything else: the rest of a batch that was wrapped.
    fn unsent(&mut self) -> Option<&mut Unsent> {
        None
    }
    /// Returns true if there are such bytes.
    fn has_unsent(&self) -> bool {
        false
    }
    /// Returns the bytes that close the connection itself, if there are any.
    fn closing(&self) -> &'static [u8] {
        &[]
    }
}

/// Unwritten bytes of a batch, in order.
pub type Unsent = std::collections::VecDeque<Bytes>;

/// What a session may do by its dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialectRules {
    /// True if the peer acknowledges messages. One that cannot is a member from its subscription on.
    pub acknowledges: bool,
    /// True if the peer has to say hello, and to send something now and then. Else it is disconnected for silence only when
    /// the hub is nearly full.
    pub must_speak: bool,
    /// Most bytes of one read.
    pub read_bytes: usize,
}

/// Decoded input of a dialect.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// A request for the session.
    Request(Request),
    /// An answer to the peer.
    Answer(Bytes),
    /// An answer to the peer, whose line was dropped because it is too long.
    TooLong(Bytes),
}

/// An event that a session has the hub count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The peer acknowledged messages.
    Ack,
    /// A line was dropped because it is too long.
    LongLine,
}

/// Where a run was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSource {
    /// The group's ring, which other sessions read too.
    Ring,
    /// The relay's log, read for this session alone.
    Log,
}

/// A read of a group's log for one session, from `next` to the head.
#[derive(Debug)]
pub struct LogRead {
    /// Names the read in what it brings.
    pub number: u64,
    /// The group.
    pub group: Arc<Group>,
    /// The log.
    pub log: LogId,
    /// The first message.
    pub next: Seq,
    /// The right to read a private group.
    pub ticket: Bytes,
    /// True if the session had been at the head and fell behind the ring.
    pub is_resync: bool,
}

/// Ends a read of a log when it is dropped.
pub struct LogReadGuard(Box<dyn Fn()>);

impl LogReadGuard {
    /// Makes a guard that calls `end` once.
    pub fn new(end: impl Fn() + 'static) -> Self {
        Self(Box::new(end))
    }
}

impl Drop for LogReadGuard {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl fmt::Debug for LogReadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogReadGuard")
    }
}

/// One part of a log read, in order.
#[derive(Debug)]
pub enum LogPart {
    /// The next messages.
    Run(Run),
    /// No log has these any more.
    Gap(SeqRange),
    /// The head, as it was when the read began, is reached.
    End,
    /// It cannot go on.
    Failed(Failure),
}
