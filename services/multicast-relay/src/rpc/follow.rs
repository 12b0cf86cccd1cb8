//! The Follow call: streams the runs of many groups as they become durable, each group from its own cursor.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gaung_engine::{ReportingHub, RingRead};
use gaung_proto::{
    GroupId, LogId, Seq,
    pb::relay::{
        FollowEnded, FollowGroup, FollowPolicy, FollowRequest, FollowResponse, FollowStarted, FollowTicket,
        SessionReports, follow_request::Change, follow_response::Event,
    },
    policy::SignedPolicy,
};
use service_kit::{
    rpc::{AnswerSender, AnswerStream, CallBytes, CallEnded, answer_queue},
    secure::PeerDevice,
    share::{Caller, Share},
};
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
};
use tonic::{Request, Streaming};

use super::{
    CallError, RelayCalls, group_id,
    read::{READ_BYTES, read_log},
    sessions::{self, ReportedSessions},
    shared_right::SharedRight,
};
use crate::directory::{GroupPhase, OpenGroup};

/// Most groups of one stream; further ones are answered with RESOURCE_EXHAUSTED.
const MAX_FOLLOWED: usize = 16_384;
/// Bytes of events that wait for a slow follower; at this limit its cursors pause.
const WINDOW: usize = 256 * 1024;
/// Groups of one stream whose runs are read at a time; the others wait for their turn and hold nothing in memory.
const READING: usize = 2;
/// Time that a follower waits for a group to be opened again before its cursor ends.
const PATIENCE: Duration = Duration::from_secs(5);

type EventSender = AnswerSender<FollowResponse>;

/// Serves one Follow stream: one task with a cursor for each group; they share the stream's window.
///
/// The stream ends when the client cancels it, or when the client has half-closed it and no group is followed any more.
pub(super) fn follow(relay: RelayCalls, requests: Request<Streaming<FollowRequest>>) -> AnswerStream<FollowResponse> {
    let (sender, answers) = answer_queue(CallBytes::of(&requests), WINDOW);
    let mut requests = requests.into_inner();
    let tasks = relay.0.tasks.clone();
    tasks.spawn(async move {
        let mut cursors = FollowCursors::new(relay.0.reporters.next());
        let mut is_half_closed = false;
        // A client that sends no more requests still reads its groups, until the last of them has ended.
        while !is_half_closed || !cursors.tasks.is_empty() {
            let request = tokio::select! {
                request = requests.message(), if !is_half_closed => request,
                () = sender.closed() => return,
                Some(_) = cursors.tasks.join_next() => continue,
            };
            match request {
                Ok(Some(FollowRequest { change: Some(change) })) => cursors.change(&relay, change, &sender).await,
                Ok(Some(FollowRequest { change: None })) => {}
                Ok(None) => is_half_closed = true,
                Err(_) => return,
            }
        }
    });
    answers
}

/// The cursors of one stream, by group.
struct FollowCursors {
    tasks: JoinSet<()>,
    by_group: HashMap<GroupId, (AbortHandle, SharedRight)>,
    reporter: ReportingHub,
    reported: ReportedSessions,
    /// The [`READING`] permits to read runs, shared by the stream's cursors.
    turns: Arc<Semaphore>,
}

impl FollowCursors {
    fn new(reporter: ReportingHub) -> Self {
        let turns = Arc::new(Semaphore::new(READING));
        Self { tasks: JoinSet::new(), by_group: HashMap::new(), reporter, reported: ReportedSessions::default(), turns }
    }

    async fn change(&mut self, relay: &RelayCalls, change: Change, sender: &EventSender) {
        let changed = match change {
            Change::Add(add) => self.add(relay, add, sender).await,
            Change::Remove(remove) => group_id(&remove.group_id).map(|group| self.remove(group)),
            Change::Sessions(reports) => self.report(relay, sender.caller(), reports).await,
            Change::Ticket(newer) => self.renew(relay, &newer),
        };
        if let Err(error) = changed {
            // Nobody may read the stream any more.
            let _ = sender.send(Err(error.into()), 0).await;
        }
    }

    async fn report(&mut self, relay: &RelayCalls, caller: Caller, reports: SessionReports) -> Result<(), CallError> {
        let group = group_id(&reports.group_id)?;
        let Some((_, right)) = self.by_group.get(&group) else { return Ok(()) };
        let is_private = match relay.0.directory.phase(group) {
            Some(GroupPhase::Serving(serving)) => serving.config.private,
            Some(GroupPhase::Unavailable | GroupPhase::Refused { .. } | GroupPhase::Deleted) | None => return Ok(()),
        };
        // Without a ticket, forged sessions would count in the receipts of a private group.
        if is_private && !right.is_proven() {
            return Ok(());
        }
        sessions::report(relay, (caller, &mut self.reported), group, self.reporter, reports).await
    }

    fn renew(&self, relay: &RelayCalls, newer: &FollowTicket) -> Result<(), CallError> {
        let Some((_, right)) = self.by_group.get(&group_id(&newer.group_id)?) else { return Ok(()) };
        right.renew(relay, &newer.group_id, &newer.ticket)
    }

    fn remove(&mut self, group: GroupId) {
        self.reported.forget(group);
        if let Some((task, _)) = self.by_group.remove(&group) {
            task.abort();
        }
    }

    async fn add(&mut self, relay: &RelayCalls, add: FollowGroup, sender: &EventSender) -> Result<(), CallError> {
        let group = group_id(&add.group_id)?;
        self.remove(group);
        for (ended, _) in self.by_group.extract_if(|_, (task, _)| task.is_finished()) {
            self.reported.forget(ended);
        }
        let place = if self.by_group.len() >= MAX_FOLLOWED {
            Err(format!("a stream follows at most {MAX_FOLLOWED} groups; open another"))
        } else {
            relay.0.follows.take(sender.caller(), 1).map_err(|full| full.to_string())
        };
        let place = match place {
            Ok(place) => place,
            Err(message) => {
                let _ = sender.send(Ok(exhausted(group, message)), 0).await;
                return Ok(());
            }
        };
        let (right, turns) = (SharedRight::new(), Arc::clone(&self.turns));
        let (relay, sender) = (relay.clone(), sender.clone());
        relay.0.figures.follows.inc();
        let cursor = FollowCursor { relay, group, sender, turns, right: right.clone(), at: None, place };
        self.by_group.insert(group, (self.tasks.spawn(cursor.run(add)), right));
        Ok(())
    }
}

fn exhausted(group: GroupId, message: String) -> FollowResponse {
    let ended = FollowEnded { group_id: group.into(), code: tonic::Code::ResourceExhausted.into(), message };
    FollowResponse { event: Some(Event::Ended(ended)) }
}

/// The cursor of one stream in one group.
struct FollowCursor {
    relay: RelayCalls,
    group: GroupId,
    sender: EventSender,
    turns: Arc<Semaphore>,
    right: SharedRight,
    at: Option<(LogId, Seq)>,
    /// Its share of all groups that are followed.
    place: Share<Caller>,
}

impl Drop for FollowCursor {
    fn drop(&mut self) {
        // Here, because the task of a cursor is aborted when its group or its stream is given up.
        self.relay.0.figures.follows.dec();
    }
}

/// Sends each change of a group's policy, at once and beside the runs, which may wait for a slow reader; ends with the reader.
async fn tell_policies(mut policies: watch::Receiver<Option<Arc<SignedPolicy>>>, sender: EventSender) {
    // Its sender is there as long as the relay; without one there is nothing more to tell.
    while policies.changed().await.is_ok() {
        let policy = policies.borrow_and_update().clone();
        let Some(policy) = policy else { continue };
        let event = Event::Policy(FollowPolicy { policy: policy.encoded().clone() });
        if sender.send(Ok(FollowResponse { event: Some(event) }), policy.encoded().len()).await.is_err() {
            return;
        }
    }
    std::future::pending().await
}

/// Why a cursor stopped sending runs.
enum CursorStop {
    /// The group's phase has changed.
    PhaseChanged,
    /// The stream's reader is gone.
    ReaderGone,
}

impl FollowCursor {
    async fn run(mut self, add: FollowGroup) {
        let evicted = self.place.notice();
        let (right, relay) = (self.right.clone(), self.relay.clone());
        let outcome = tokio::select! {
            biased;
            () = evicted.evicted() => None,
            error = right.ended(&relay.0.access) => Some(Err(error)),
            // Ends with the reader, which the next branch finds too.
            () = tell_policies(relay.0.policies.watch(self.group), self.sender.clone()) => Some(Ok(())),
            outcome = self.follow(&add) => Some(outcome),
        };
        let Some(outcome) = outcome else {
            let message = "others needed the place of this group; follow it again".to_owned();
            // Nobody may read the stream any more.
            let _ = self.sender.send(Ok(exhausted(self.group, message)), 0).await;
            return;
        };
        if let Err(error) = outcome {
            let refused = error.to_refused();
            let ended = FollowEnded { group_id: self.group.into(), code: refused.code, message: refused.message };
            self.send(Event::Ended(ended)).await;
        }
    }

    /// Sends runs until the reader is gone (`Ok`) or the group cannot be followed any more.
    async fn follow(&mut self, add: &FollowGroup) -> Result<(), CallError> {
        let serving = self.relay.serving(self.group).await?;
        // Only hubs get here, and they follow by tickets of their sessions.
        self.right.show(&self.relay.0.access, &serving.config, PeerDevice::Believed, &add.ticket)?;
        self.relay.0.policies.check_reader(&serving.config, &add.ticket)?;
        drop(serving);
        let policy = self.relay.0.policies.watch(self.group).borrow().clone();
        if let Some(policy) = policy {
            self.send(Event::Policy(FollowPolicy { policy: policy.encoded().clone() })).await;
        }
        let mut phases = self.relay.0.directory.watch(self.group).ok_or(CallError::NoSuchGroup)?;
        loop {
            let serving = self.until_serving(&mut phases).await?;
            self.start(&serving, add).await?;
            match self.send_runs(&serving, &mut phases).await? {
                CursorStop::PhaseChanged => {}
                CursorStop::ReaderGone => return Ok(()),
            }
        }
    }

    async fn until_serving(&self, phases: &mut watch::Receiver<GroupPhase>) -> Result<Arc<OpenGroup>, CallError> {
        let settled = phases.wait_for(|phase| !matches!(phase, GroupPhase::Unavailable));
        let phase = match tokio::time::timeout(PATIENCE, settled).await {
            Err(_) => return Err(CallError::NotReady),
            Ok(Err(_)) => return Err(CallError::NoSuchGroup),
            Ok(Ok(phase)) => phase.clone(),
        };
        match phase {
            GroupPhase::Serving(serving) => Ok(serving),
            GroupPhase::Refused { name, .. } => Err(CallError::Refused { name }),
            GroupPhase::Deleted => Err(CallError::NoSuchGroup),
            GroupPhase::Unavailable => Err(CallError::NotReady),
        }
    }

    /// Sets the cursor, unless it continues in the same log, and tells the follower its position.
    async fn start(&mut self, serving: &OpenGroup, add: &FollowGroup) -> Result<(), CallError> {
        let log = serving.identity.log;
        let position = self.relay.0.log.position(self.group).ok_or(CallError::NotReady)?;
        let head = serving.feed.head();
        let wanted = match self.at {
            Some((at, next)) if at == log => next,
            Some(_) => Seq::FIRST,
            None if add.log_id != 0 && add.log_id != log.0 => Seq::FIRST,
            None if add.from_seq == 0 => head.next(),
            None => Seq(add.from_seq),
        };
        let next = wanted.max(position.oldest).min(head.next());
        self.at = Some((log, next));
        let started = FollowStarted {
            group_id: self.group.into(),
            log_id: log.0,
            epoch: serving.identity.epoch.0,
            next_seq: next.0,
            head_seq: head.0,
            oldest_seq: position.oldest.0,
        };
        self.send(Event::Started(started)).await;
        Ok(())
    }

    async fn send_runs(
        &mut self,
        serving: &Arc<OpenGroup>,
        phases: &mut watch::Receiver<GroupPhase>,
    ) -> Result<CursorStop, CallError> {
        let mut heads = serving.feed.heads();
        let log = serving.identity.log;
        loop {
            heads.borrow_and_update();
            let next = self.at.map_or(Seq::FIRST, |(_, next)| next);
            let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Ok(CursorStop::ReaderGone) };
            let mut held = None;
            let runs = match serving.feed.read_from(next, READ_BYTES) {
                // Slices of what all followers share.
                RingRead::Runs(runs) => runs,
                RingRead::Trimmed { .. } => {
                    match self.sender.reserve(READ_BYTES as u64).await {
                        Ok(bytes) => held = Some(bytes),
                        Err(CallEnded) => return Ok(CursorStop::ReaderGone),
                    }
                    match read_log(&self.relay, self.sender.caller(), self.group, log, next).await {
                        Ok(runs) => runs,
                        // The log was reset or closed meanwhile; the next phase shows which.
                        Err(CallError::NotReady) => {
                            drop((turn, held));
                            return Ok(self.next_phase(phases).await);
                        }
                        Err(error) => return Err(error),
                    }
                }
                RingRead::AtHead => {
                    drop(turn);
                    let stop = tokio::select! {
                        _ = heads.changed() => None,
                        stop = self.next_phase(phases) => Some(stop),
                    };
                    match stop {
                        None => continue,
                        Some(stop) => return Ok(stop),
                    }
                }
            };
            for run in runs {
                self.at = Some((log, run.last_seq().next()));
                if let Some(held) = &mut held {
                    held.shrink(run.as_bytes().len() as u64);
                }
                if !self.send(Event::Run(run.as_bytes().clone())).await {
                    return Ok(CursorStop::ReaderGone);
                }
            }
        }
    }

    async fn next_phase(&self, phases: &mut watch::Receiver<GroupPhase>) -> CursorStop {
        tokio::select! {
            _ = phases.changed() => CursorStop::PhaseChanged,
            () = self.sender.closed() => CursorStop::ReaderGone,
        }
    }

    /// Queues an event; returns false if the reader is gone.
    async fn send(&self, event: Event) -> bool {
        let size = match &event {
            Event::Run(run) => run.len(),
            Event::Policy(policy) => policy.policy.len(),
            Event::Started(_) | Event::Ended(_) => 0,
        };
        self.sender.send(Ok(FollowResponse { event: Some(event) }), size).await.is_ok()
    }
}
