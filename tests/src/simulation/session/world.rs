//! The run: what happens when, the sockets between hub and peers, and the shell that drives each core as the hub's does.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};

use broadcast_hub::{
    Failure, GroupInfo,
    session_core::{Dialect, LogPart, Pressure, PublishOutcome, PublishRequest, SessionCore, Surroundings},
};
use bytes::{Buf as _, BytesMut};
use gaung_proto::{GroupId, LogId, Seq};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tonic::Code;

use super::{
    hub::{Asked, Hub, HubOf, OpenRead},
    peer::Peer,
    requests::Requester,
    settings::{Reader, SessionSettings},
};

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReport {
    /// What did not hold, first.
    pub failure: Option<String>,
    /// The same for the same run.
    pub trace: u64,
    /// What happened.
    pub counts: SessionCounts,
}

/// How often what happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionCounts {
    /// Messages that framed peers and text peers were sent.
    pub delivered: u64,
    /// Gaps that were stated.
    pub gaps: u64,
    /// Reads of a log.
    pub reads: u64,
    /// Readers that fell behind a ring.
    pub resyncs: u64,
    /// Requests that were published.
    pub published: u64,
    /// Sessions that the hub ended for what their peers did or did not do.
    pub sent_away: u64,
}

impl std::ops::Add for SessionCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            gaps: self.gaps + other.gaps,
            reads: self.reads + other.reads,
            resyncs: self.resyncs + other.resyncs,
            published: self.published + other.published,
            sent_away: self.sent_away + other.sent_away,
        }
    }
}

/// Runs once.
#[must_use]
pub fn run_sessions(settings: &SessionSettings) -> SessionReport {
    let mut world = World::new(settings);
    let failure = world.run().err().map(|what| format!("seed {}: at {:?}: {what}", settings.seed, world.now));
    SessionReport { failure, trace: world.trace, counts: world.counts }
}

/// Bytes that a socket takes before its peer reads them.
pub(super) const SOCKET_BYTES: usize = 16 * 1024;
/// Bytes that a peer can send before the hub reads them.
const UPLINK_BYTES: usize = 256 * 1024;
pub(super) const SWEEP: Duration = Duration::from_millis(500);
pub(super) const DRAIN: Duration = Duration::from_millis(10);
pub(super) const CHECK: Duration = Duration::from_millis(250);
/// From the last request until all that was asked for has come.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// Most bytes that a session may hold for its peer alone: answers at their limit, what was read ahead, and the last word.
const MOST_QUEUED: usize = (1024 + 256 + 256) * 1024;
/// Most publish requests of a session that may wait, in bytes: the limit, and what one read brings beyond it.
const MOST_IN_FLIGHT: usize = 5 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum Event {
    Connect(usize),
    /// The session's task has something to do.
    Turn(usize),
    /// The peer sends something.
    Act(usize),
    /// A slow peer reads something.
    Drain(usize),
    Die(usize),
    Append,
    Trim,
    Replace,
    EndGroup,
    Everyone,
    Found {
        session: usize,
        number: u64,
        outcome: Result<Arc<GroupInfo>, Failure>,
    },
    Published {
        session: usize,
        outcome: PublishOutcome,
    },
    ReadStep {
        session: usize,
        read: OpenReadId,
    },
    Sweep,
    Check,
}

type OpenReadId = usize;

pub(super) struct World<'a> {
    pub(super) settings: &'a SessionSettings,
    pub(super) base: Instant,
    pub(super) now: Duration,
    pub(super) rng: SmallRng,
    pub(super) hub: Hub,
    pub(super) sessions: Vec<Option<Session>>,
    pub(super) reads: Vec<OpenRead>,
    pub(super) queue: BinaryHeap<Reverse<(Duration, u64)>>,
    pub(super) events: BTreeMap<u64, Event>,
    pub(super) next_event: u64,
    /// Heads of all groups at the last checks.
    pub(super) heads: Vec<Vec<(LogId, Seq)>>,
    pub(super) trace: u64,
    pub(super) counts: SessionCounts,
}

pub(super) struct Session {
    pub(super) core: SessionCore,
    pub(super) dialect: Box<dyn Dialect>,
    pub(super) peer: Peer,
    pub(super) requester: Requester,
    pub(super) reader: Reader,
    pub(super) is_text: bool,
    /// Written by the hub, not read by the peer.
    pub(super) downlink: BytesMut,
    /// Sent by the peer, not read by the hub.
    pub(super) uplink: BytesMut,
    pub(super) is_turn_due: bool,
    pub(super) is_over: bool,
    /// Since when the socket has taken nothing.
    pub(super) blocked_since: Option<Duration>,
    pub(super) in_flight_bytes: usize,
    /// When the reader of each log was resynchronised.
    pub(super) resynced: BTreeMap<LogId, Duration>,
}

impl<'a> World<'a> {
    fn new(settings: &'a SessionSettings) -> Self {
        let mut limits = settings.limits.clone();
        limits.ring_bytes = settings.ring_bytes;
        let mut world = Self {
            settings,
            base: Instant::now(),
            now: Duration::ZERO,
            rng: SmallRng::seed_from_u64(settings.seed),
            hub: Hub::new(settings.groups, limits),
            sessions: settings.peers.iter().map(|_| None).collect(),
            reads: Vec::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            heads: Vec::new(),
            trace: 0,
            counts: SessionCounts::default(),
        };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        for (session, peer) in self.settings.peers.iter().enumerate() {
            self.put(peer.at, Event::Connect(session));
        }
        let at = |times: &[Duration], event: fn() -> Event| times.iter().map(|at| (*at, event())).collect::<Vec<_>>();
        let mut timed = at(&self.settings.trims, || Event::Trim);
        timed.extend(at(&self.settings.replacements, || Event::Replace));
        timed.extend(at(&self.settings.ends, || Event::EndGroup));
        timed.extend([(self.settings.everyone_at, Event::Everyone), (Duration::ZERO, Event::Append)]);
        timed.extend([(SWEEP, Event::Sweep), (CHECK, Event::Check)]);
        timed.into_iter().for_each(|(at, event)| self.put(at, event));
    }

    pub(super) fn put(&mut self, at: Duration, event: Event) {
        self.queue.push(Reverse((at, self.next_event)));
        self.events.insert(self.next_event, event);
        self.next_event += 1;
    }

    pub(super) fn put_in(&mut self, delay: Duration, event: Event) {
        self.put(self.now + delay, event);
    }

    fn run(&mut self) -> Result<(), String> {
        let end = self.settings.until + QUIET;
        while let Some(Reverse((at, number))) = self.queue.pop() {
            let Some(event) = self.events.remove(&number) else { continue };
            if at > end {
                break;
            }
            self.now = at;
            self.handle(event)?;
        }
        self.now = end;
        self.judge_end()
    }

    fn is_quiet(&self) -> bool {
        self.now >= self.settings.until
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Connect(session) => self.connect(session),
            Event::Turn(session) => self.turn(session),
            Event::Act(session) => self.peer_acts(session),
            Event::Drain(session) => self.peer_drains(session),
            Event::Die(session) => {
                self.act(session, |core, around| core.handle_lost(around.now))?;
                self.turn_soon(session);
                Ok(())
            }
            Event::Append => self.append(),
            Event::Trim => {
                let index = self.rng.random_range(0..self.hub.groups.len());
                self.hub.groups[index].trim();
                Ok(())
            }
            Event::Replace => {
                let index = self.rng.random_range(0..self.hub.groups.len());
                self.hub.groups[index].replace();
                self.fan_out(index)
            }
            Event::EndGroup => {
                // Not `everyone`.
                let index = self.rng.random_range(1..self.hub.groups.len());
                self.hub.groups[index].end();
                self.fan_out(index)
            }
            Event::Everyone => {
                self.hub.knows_everyone = true;
                (0..self.sessions.len()).try_for_each(|session| {
                    self.act(session, SessionCore::handle_everyone)?;
                    self.turn_soon(session);
                    Ok(())
                })
            }
            Event::Found { session, number, outcome } => {
                self.act(session, |core, around| core.handle_found(number, outcome, around))?;
                self.turn_soon(session);
                Ok(())
            }
            Event::Published { session, outcome } => {
                if let Some(session) = &mut self.sessions[session] {
                    session.in_flight_bytes -= outcome.bytes;
                }
                self.act(session, |core, around| core.handle_published(outcome, around))?;
                self.turn_soon(session);
                Ok(())
            }
            Event::ReadStep { session, read } => self.read_step(session, read),
            Event::Sweep => self.sweep(),
            Event::Check => self.check(),
        }
    }

    /// Lets a core do something, and what follows from it.
    pub(super) fn act<T>(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut SessionCore, &mut Surroundings<'_>) -> T,
    ) -> Result<(), String> {
        let now = self.base + self.now;
        let Some(session) = self.sessions[index].as_mut().filter(|session| !session.is_over) else { return Ok(()) };
        let mut hub = HubOf { hub: &mut self.hub, session: index };
        let mut around = Surroundings { now, hub: &mut hub, dialect: session.dialect.as_mut() };
        act(&mut session.core, &mut around);
        session.core.handle_decoded(&mut around);
        let queued = session.core.queued_bytes();
        if queued > MOST_QUEUED {
            return Err(format!("session {index} holds {queued} bytes for its peer"));
        }
        self.asked(index)
    }

    /// Has done what sessions asked of the hub, in a while.
    fn asked(&mut self, index: usize) -> Result<(), String> {
        for asked in std::mem::take(&mut self.hub.asked) {
            let delay = Duration::from_micros(self.rng.random_range(100..20_000));
            match asked {
                Asked::LookUp { session, number, key } => {
                    let missing = || Failure::new(Code::NotFound, "there is no such group");
                    let outcome = self.hub.find(&key).ok_or_else(missing);
                    self.put_in(delay, Event::Found { session, number, outcome });
                }
                Asked::Publish { session, group, request } => self.publish(session, group, &request)?,
                Asked::Read { session, read } => {
                    self.note_read(session, &read)?;
                    self.reads.push(read);
                    self.put_in(delay, Event::ReadStep { session, read: self.reads.len() - 1 });
                }
            }
        }
        let groups = self.hub.groups_of(index);
        if groups > gaung_proto::limits::MAX_SESSION_GROUPS { Err(format!("in {groups} groups")) } else { Ok(()) }
    }

    fn publish(&mut self, index: usize, group: GroupId, request: &PublishRequest) -> Result<(), String> {
        let bytes = request.bytes;
        if let Some(session) = &mut self.sessions[index] {
            session.in_flight_bytes += bytes;
            if session.in_flight_bytes > MOST_IN_FLIGHT {
                return Err(format!("{} bytes of session {index} wait for the relay", session.in_flight_bytes));
            }
        }
        let outcome = self.hub.publish(group, request);
        self.counts.published += u64::from(outcome.is_ok());
        // The order of answers is that of the requests.
        let delay = self.settings.relay_delay;
        let published = PublishOutcome { tag: request.tag, group, bytes, outcome };
        self.put_in(delay, Event::Published { session: index, outcome: published });
        match self.hub.groups.iter().position(|logged| logged.info.id == group) {
            Some(group) => self.fan_out(group),
            None => Ok(()),
        }
    }

    fn append(&mut self) -> Result<(), String> {
        if self.is_quiet() {
            return Ok(());
        }
        let index = self.rng.random_range(0..self.hub.groups.len());
        if !self.hub.groups[index].has_ended {
            let most = self.settings.payload_bytes;
            let count = self.rng.random_range(1..=3);
            let sizes: Vec<usize> = (0..count).map(|_| self.rng.random_range(0..=most)).collect();
            self.hub.append_own(index, &sizes);
            self.fan_out(index)?;
        }
        self.put_in(Duration::from_secs(1) / self.settings.runs_per_second, Event::Append);
        Ok(())
    }

    /// Tells the sessions of a group that it has something new, as a shard does.
    fn fan_out(&mut self, group: usize) -> Result<(), String> {
        let id = self.hub.groups[group].info.id;
        for index in self.hub.members(id) {
            if self.settings.breakage.loses_marks && self.rng.random_ratio(1, 4) {
                continue;
            }
            self.act(index, |core, around| core.mark(id, around))?;
            self.turn(index)?;
            let is_blocked = self.sessions[index].as_ref().is_some_and(|session| session.core.is_blocked());
            if self.settings.breakage.waits_for_blocked && is_blocked {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn turn_soon(&mut self, index: usize) {
        let Some(session) = self.sessions[index].as_mut().filter(|session| !session.is_turn_due) else { return };
        session.is_turn_due = true;
        self.put_in(Duration::from_micros(50), Event::Turn(index));
    }

    fn peer_acts(&mut self, index: usize) -> Result<(), String> {
        let is_quiet = self.is_quiet();
        let Some(session) = self.sessions[index].as_mut().filter(|session| !session.is_over) else { return Ok(()) };
        if session.uplink.len() < UPLINK_BYTES {
            let bytes = session.requester.next(&mut self.rng, &mut session.peer, &self.hub, is_quiet);
            session.uplink.extend_from_slice(&bytes);
            self.turn_soon(index);
        }
        let pause = Duration::from_millis(self.rng.random_range(20..150));
        self.put_in(pause, Event::Act(index));
        Ok(())
    }

    fn peer_drains(&mut self, index: usize) -> Result<(), String> {
        let Some(session) = &mut self.sessions[index] else { return Ok(()) };
        let most = match session.reader {
            Reader::Slow(bytes) => bytes,
            Reader::Pausing(period) if (self.now.as_nanos() / period.as_nanos()) % 2 == 1 => 0,
            Reader::Stuck(at) if self.now >= at => return Ok(()),
            Reader::Pausing(_) | Reader::Stuck(_) | Reader::Fast | Reader::Dying(_) => usize::MAX,
        };
        self.peer_reads(index, most)?;
        self.put_in(DRAIN, Event::Drain(index));
        if self.sessions[index].as_ref().is_some_and(|session| session.downlink.len() < SOCKET_BYTES) {
            self.act(index, |core, _| core.handle_writable())?;
            self.turn_soon(index);
        }
        Ok(())
    }

    pub(super) fn peer_reads(&mut self, index: usize, most: usize) -> Result<(), String> {
        let Some(session) = &mut self.sessions[index] else { return Ok(()) };
        let most = most.min(session.downlink.len());
        let bytes = session.downlink.copy_to_bytes(most);
        let (delivered, gaps) = (session.peer.delivered, session.peer.gaps);
        let taken = match session.is_text {
            true => session.peer.take_text(&bytes, &self.hub),
            false => session.peer.take_frames(&bytes, &self.hub),
        };
        self.counts.delivered += session.peer.delivered - delivered;
        self.counts.gaps += session.peer.gaps - gaps;
        taken.map_err(|what| format!("peer {index}: {what}"))
    }

    fn read_step(&mut self, index: usize, read: OpenReadId) -> Result<(), String> {
        let Some(session) = self.sessions[index].as_ref().filter(|session| !session.is_over) else { return Ok(()) };
        let delay = Duration::from_micros(self.rng.random_range(50..1000));
        if !session.core.wants_log_parts() {
            self.put_in(delay + DRAIN, Event::ReadStep { session: index, read });
            return Ok(());
        }
        let mut open = self.reads[read].clone();
        let Some(part) = self.hub.step(&mut open) else { return Ok(()) };
        let (group, number) = (open.group, open.number);
        self.reads[read] = open;
        let goes_on = matches!(part, LogPart::Run(_) | LogPart::Gap(_));
        let is_lost =
            self.settings.breakage.loses_log_runs && matches!(part, LogPart::Run(_)) && self.rng.random_ratio(1, 3);
        if !is_lost {
            self.act(index, |core, around| core.handle_log_part(group, number, part, around))?;
        }
        if goes_on {
            self.put_in(delay, Event::ReadStep { session: index, read });
        }
        self.turn(index)
    }

    fn sweep(&mut self) -> Result<(), String> {
        for index in 0..self.sessions.len() {
            self.act(index, |core, around| core.handle_sweep(Pressure::default(), around))?;
            self.turn_soon(index);
        }
        self.put_in(SWEEP, Event::Sweep);
        Ok(())
    }
}
