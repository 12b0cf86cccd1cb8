//! What a session needs around it: the hub's tables and links, and a dialect.

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

/// What a session asks of the hub. Every call returns at once; what takes time is answered by a `handle_*` call.
pub trait SessionHub {
    /// The group that everybody is in, once the registry has named it.
    fn everyone(&self) -> Option<Arc<GroupInfo>>;
    /// The group, if the hub's directory has it.
    fn known_group(&self, key: &GroupKey) -> Option<Arc<GroupInfo>>;
    /// Asks the registry for a group, which holders of `ticket` may see if it is private. The answer comes to
    /// [`handle_found`](super::SessionCore::handle_found) with this number.
    ///
    /// # Errors
    /// The session's address asks for too many.
    fn look_up(&mut self, number: u64, key: GroupKey, ticket: Bytes) -> Result<(), Failure>;
    /// Whether `device` may use a private group by this ticket.
    ///
    /// # Errors
    /// Why not.
    fn check_ticket(&self, now: Instant, group: GroupId, device: DeviceId, ticket: &[u8]) -> Result<(), TicketError>;
    /// The time at which tickets are judged, in ms since 1970.
    fn ticket_time(&self, now: Instant) -> i64;
    /// A number that sessions of one client have in common and others cannot know: from the stream key, or without one
    /// from the session's address.
    fn owner_of(&self, stream_key: Option<[u8; 16]>) -> u64;
    /// Counts the session in as one of the group's: the hub follows the group, and marks the session when something is
    /// new.
    ///
    /// # Errors
    /// The hub follows too many groups.
    fn watch(&mut self, group: &Arc<GroupInfo>, ticket: &Bytes) -> Result<Arc<Group>, Failure>;
    /// Undoes [`Self::watch`].
    fn unwatch(&mut self, group: &Arc<Group>);
    /// The session has a newer ticket for a group that it watches.
    fn renew_ticket(&mut self, group: &Arc<Group>, ticket: &Bytes);
    /// The group's audience has something to report.
    fn audience_changed(&mut self, group: &Arc<Group>);
    /// Reads a group's log for the session; what is read comes to
    /// [`handle_log_part`](super::SessionCore::handle_log_part), until the guard is dropped.
    fn read_log(&mut self, read: LogRead) -> LogReadGuard;
    /// Counts something in the hub's metrics.
    fn count(&mut self, what: Counted);
    /// Hands a request to the group's relay; its answer comes to
    /// [`handle_published`](super::SessionCore::handle_published), at the latest after `limit`.
    ///
    /// # Errors
    /// Too much waits for the relay.
    fn publish(
        &mut self,
        now: Instant,
        group: &GroupInfo,
        request: PublishRequest,
        limit: Duration,
    ) -> Result<(), Failure>;
}

/// A way of writing requests and answers as bytes. A session has one for its whole life.
pub trait Dialect {
    /// What sessions of this dialect may do.
    fn rules(&self) -> DialectRules;
    /// The first bytes that the hub sends, if it speaks first.
    fn greeting(&mut self) -> Option<Bytes> {
        None
    }
    /// The request that opens a session whose peer does not say hello itself.
    fn opening(&mut self) -> Option<Request> {
        None
    }
    /// Takes what was read. False: nothing can come after it, and the connection is lost.
    fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) -> bool;
    /// The peer sends no more. False: the connection is lost; true: what it sent last is still answered.
    fn handle_end(&mut self) -> bool {
        false
    }
    /// [`Self::poll_timeout`] is over.
    fn handle_timeout(&mut self, _now: Instant) {}
    /// When something unfinished counts as finished.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// The next request, or an answer that the dialect gives itself.
    fn poll_decoded(&mut self) -> Option<Decoded>;
    /// Whether a subscription to the group has come and was not taken yet.
    fn is_requested(&self, _group: &GroupInfo) -> bool {
        false
    }
    /// The peer has sent its last, and all of it is answered.
    fn is_finished(&self) -> bool {
        false
    }
    /// Encodes one thing said; `None`: the dialect has no words for it.
    fn encode(&mut self, say: Say) -> Option<Bytes>;
    /// Encodes the messages of a run from `next` on, as shared bytes where that is possible.
    fn encode_run(&self, group: &Group, run: &Run, next: Seq, source: RunSource) -> Bytes;
    /// Takes over a batch of `bytes` bytes whose frame borders are the dialect's own. False: the pieces are written as
    /// they are.
    fn wrap(&mut self, _pieces: &mut dyn Iterator<Item = &Bytes>, _bytes: usize) -> bool {
        false
    }
    /// Bytes that have to be written before anything else: the rest of a batch that was wrapped.
    fn unsent(&mut self) -> Option<&mut Unsent> {
        None
    }
    /// Whether there are such bytes.
    fn has_unsent(&self) -> bool {
        false
    }
    /// The last bytes of the connection itself, if it has such.
    fn closing(&self) -> &'static [u8] {
        &[]
    }
}

/// Bytes of a batch that was begun, in order.
pub type Unsent = std::collections::VecDeque<Bytes>;

/// What a session may do by its dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialectRules {
    /// Tells how far it delivered. A session that cannot is a member from its subscription on.
    pub acknowledges: bool,
    /// Has to say hello, and to send something now and then. A session that need not is ended for its silence only where
    /// the hub is nearly full.
    pub must_speak: bool,
    /// Most bytes of one read.
    pub read_bytes: usize,
}

/// Something that came from a dialect.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// For the session.
    Request(Request),
    /// For the peer.
    Answer(Bytes),
    /// For the peer, whose line was dropped because it is too long.
    TooLong(Bytes),
}

/// What a session has the hub count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The peer said how far it delivered.
    Ack,
    /// A line was dropped because it is too long.
    LongLine,
}

/// Where a run was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSource {
    /// The group's ring: other sessions take the same run.
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
    /// The session had been at the head and fell behind the ring.
    pub is_resync: bool,
}

/// Ends a read of a log when it is dropped.
pub struct LogReadGuard(Box<dyn Fn()>);

impl LogReadGuard {
    /// `end` is called once.
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

/// What a read of a log brings, in order.
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
