//! The relay: judges tickets, sequences, appends, and lets go what is too old.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{
    AckRange, ClaimHasher, Claimant, ClientWindows, ClockWatch, DEFAULT_WINDOW_BYTES, LogIdentity, NewRun,
    PublishBatch, PublishEntry, ReadingRight, RequestId, RequestOrigin, Sequencer, SequencerEvent, StreamKey,
    TicketError, TicketJudge,
};
use gaung_log::{Append, GroupRetention, Log, MemoryLog, Runs};
use gaung_proto::{
    ClientId, DeviceId, GroupId, LogId, RelayId, Seq, block::SentAt, pb::registry::ServiceKind, run::Run,
};

use super::{machine::Machine, registry::RegistryNode, settings::DaySettings};

const RELAY: RelayId = RelayId([7; 16]);
pub(super) const LOG: LogId = LogId(42);
/// How often a service registers.
pub(super) const REGISTER: Duration = Duration::from_secs(5);
/// How often old messages and silent clients are looked for.
const UPKEEP: Duration = Duration::from_secs(60);
/// How long the group's messages are kept.
pub(super) const KEPT: Duration = Duration::from_secs(3600);

/// Why nothing came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Ticket(TicketError),
    Unavailable,
}

/// The relay's machine. What is on its disk outlives the process.
#[derive(Debug)]
pub(super) struct RelayNode {
    pub(super) machine: Machine,
    group: GroupId,
    disk: Arc<MemoryLog>,
    key: Option<[u8; 32]>,
    process: Option<Process>,
    by_own_clock: bool,
}

#[derive(Debug)]
struct Process {
    judge: TicketJudge,
    sequencer: Sequencer,
    register_at: Instant,
    upkeep_at: Instant,
    clock: ClockWatch,
    /// Of the hub's stream, while it follows.
    follow: Option<ReadingRight>,
}

impl RelayNode {
    pub(super) fn new(machine: Machine, settings: &DaySettings) -> Self {
        Self {
            machine,
            group: GroupId::NONE,
            disk: Arc::new(MemoryLog::new(64 << 20)),
            key: None,
            process: None,
            by_own_clock: settings.by_own_clocks,
        }
    }

    /// Registers for the first time, so that groups can be made.
    pub(super) fn introduce(&mut self, at: Duration, registry: &mut RegistryNode) {
        self.key = registry.register(at, RELAY, ServiceKind::Relay).map(|(key, _)| key);
    }

    pub(super) fn serve(&mut self, at: Duration, group: GroupId) {
        self.group = group;
        self.start(at);
    }

    /// Opens the log as the product does: a new epoch, the client windows from the last snapshot and the runs since.
    pub(super) fn start(&mut self, at: Duration) {
        let opened = self.disk.open_group(self.group, LOG, true).expect("the log is good");
        let mut windows = ClientWindows::new(DEFAULT_WINDOW_BYTES);
        let mut next = opened.oldest;
        if let Some(snapshot) = &opened.snapshot {
            windows = ClientWindows::restore(&snapshot.bytes, DEFAULT_WINDOW_BYTES).expect("nothing damages it");
            next = next.max(snapshot.at.next());
        }
        for run in Runs::new(&*self.disk, self.group, LOG, next, 1 << 20) {
            for message in run.expect("the log is good").messages() {
                let at_ms = (message.sent_at.0 / 1000) as i64;
                windows.record(message.author, &Claimant::UNKNOWN, message.client_seq, message.seq, at_ms);
            }
        }
        let now = self.machine.now(at);
        windows.resume(now.unix_ms);
        let identity = LogIdentity { group: self.group, log: LOG, epoch: opened.epoch };
        self.process = Some(Process {
            judge: TicketJudge::new(self.key),
            sequencer: Sequencer::new(identity, opened.head, windows),
            register_at: now.mono,
            upkeep_at: now.mono,
            clock: ClockWatch::default(),
            follow: None,
        });
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub(super) const fn is_reachable(&self) -> bool {
        self.machine.works() && self.process.is_some()
    }

    /// First message that is kept, and the last one.
    pub(super) fn kept(&self) -> (Seq, Seq) {
        let position = self.disk.position(self.group).expect("the group is stored");
        (position.oldest, position.head)
    }

    pub(super) fn tick(&mut self, at: Duration, registry: &mut RegistryNode) {
        let (now, uptime) = (self.machine.now(at), at);
        let Some(process) = self.process.as_mut().filter(|_| self.machine.works()) else { return };
        if process.register_at <= now.mono {
            process.register_at = now.mono + REGISTER;
            if let Some((key, unix_ms)) = registry.register(at, RELAY, ServiceKind::Relay) {
                self.key = Some(key);
                process.judge.handle_registry(now.mono, key, unix_ms);
            }
        }
        let time_ms = if self.by_own_clock { now.unix_ms } else { process.judge.time_ms(now.mono, now.unix_ms) };
        if process.follow.as_mut().is_some_and(|right| right.is_over(now.mono, time_ms)) {
            process.follow = None;
        }
        if process.upkeep_at <= now.mono {
            process.upkeep_at = now.mono + UPKEEP;
            let set_forward_ms = process.clock.observe(uptime, now.unix_ms);
            process.sequencer.expire_clients(now.unix_ms, set_forward_ms);
            let kept_ms = KEPT.as_millis() as u64;
            let keep = GroupRetention { max_age_ms: Some(kept_ms), ..GroupRetention::default() };
            self.disk.retain_group(self.group, keep, now.unix_ms as u64).expect("the log is good");
        }
    }

    /// Logs a request; gives the answer, and the runs that are in the log now.
    pub(super) fn publish(
        &mut self,
        at: Duration,
        (device, client, key): (DeviceId, ClientId, StreamKey),
        ticket: &Bytes,
        entries: Vec<PublishEntry>,
    ) -> (Result<Vec<AckRange>, Refused>, Vec<Run>) {
        let now = self.machine.now(at);
        let time_ms = self.ticket_time(at);
        let Some(process) = self.process.as_mut().filter(|_| self.machine.works()) else {
            return (Err(Refused::Unavailable), Vec::new());
        };
        if let Err(error) = process.judge.check(time_ms, self.group, device, ticket) {
            return (Err(Refused::Ticket(error)), Vec::new());
        }
        let claimant = CLAIMS.claimant(Some(key), RequestOrigin { peer: None, session: None });
        let batch =
            PublishBatch::new(device, client, entries).expect("publishers keep the limits").claimed_by(claimant);
        process.sequencer.handle_publish(SentAt(now.unix_ms as u64 * 1000), RequestId(0), &batch);
        let mut logged = Vec::new();
        while let Some(NewRun { run, snapshot }) = process.sequencer.poll_append() {
            logged.push(run.clone());
            let (to, outcome) = mpsc::channel();
            self.disk.append(
                vec![Append { run, snapshot }],
                Box::new(move |done| to.send(done.is_ok()).expect("it is waited for")),
            );
            process.sequencer.handle_appended(outcome.recv().expect("it is called"));
        }
        let mut answer = Err(Refused::Unavailable);
        while let Some(event) = process.sequencer.poll_event() {
            match event {
                SequencerEvent::Acked { acks, .. } => answer = Ok(acks),
                SequencerEvent::Refused { .. } | SequencerEvent::Durable(_) => {}
            }
        }
        (answer, logged)
    }

    /// The hub shows a ticket of its sessions, on its stream or on a new one.
    pub(super) fn follow(&mut self, at: Duration, ticket: &Bytes) {
        let time_ms = self.ticket_time(at);
        if let Some(process) = self.process.as_mut().filter(|_| self.machine.works())
            && let Ok(expires) = process.judge.expiry(time_ms, self.group, ticket)
        {
            process.follow.get_or_insert_default().extend(expires);
        }
    }

    /// Whether the hub's stream goes on.
    pub(super) fn is_followed(&self) -> bool {
        self.is_reachable() && self.process.as_ref().is_some_and(|process| process.follow.is_some())
    }

    /// The connection to the hub is lost.
    pub(super) fn lose_hub(&mut self) {
        if let Some(process) = &mut self.process {
            process.follow = None;
        }
    }

    /// Whether this relay takes a ticket.
    pub(super) fn takes(&self, at: Duration, device: DeviceId, ticket: &Bytes) -> bool {
        let time_ms = self.ticket_time(at);
        let process = self.process.as_ref();
        process.is_some_and(|process| process.judge.check(time_ms, self.group, device, ticket).is_ok())
    }

    /// The time at which tickets are judged, ms since 1970.
    pub(super) fn ticket_time(&self, at: Duration) -> i64 {
        let now = self.machine.now(at);
        match &self.process {
            Some(process) if !self.by_own_clock => process.judge.time_ms(now.mono, now.unix_ms),
            Some(_) | None => now.unix_ms,
        }
    }
}

/// The relay's secret outlives its processes.
const CLAIMS: ClaimHasher = ClaimHasher::new([5; 16]);
