//! Assigns each new message of one group its seq, and acknowledges it once it is durable.

use std::collections::VecDeque;

use bytes::Bytes;
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    limits::{MAX_PAYLOAD, MAX_PUBLISH_BYTES, MAX_PUBLISH_MESSAGES, TARGET_RUN},
    run::{RUN_HEADER, Run, RunHeader},
};

use crate::{
    claim::Claimant,
    sabotage::Sabotage,
    windows::{ClientWindows, DuplicateCheck},
};

/// The sequencer of one group and one epoch.
///
/// Call order: any number of [`handle_publish`](Self::handle_publish), then drain [`poll_append`](Self::poll_append)
/// and hand each [`NewRun`] to the log in that order; for every one of them, in that order,
/// [`handle_appended`](Self::handle_appended); then drain [`poll_event`](Self::poll_event).
///
/// While a run is being committed the next one gathers, and is handed out early only once it is full, so that runs grow
/// under load and a lone message waits for nothing. After a failed append nothing is known of what reached the disk:
/// all that was not durable is rolled back, and the group must be opened again (a new epoch, a new sequencer).
#[derive(Debug)]
pub struct Sequencer {
    identity: LogIdentity,
    windows: ClientWindows,
    /// Highest seq that was assigned.
    assigned: Seq,
    durable: Seq,
    gathering: BlockBuilder,
    gathering_base: Seq,
    closed: VecDeque<Run>,
    in_flight: VecDeque<Run>,
    /// Bytes of `closed` and `in_flight`.
    queued_bytes: usize,
    waiting: VecDeque<WaitingAck>,
    events: VecDeque<SequencerEvent>,
    runs_since_snapshot: u32,
    bytes_since_snapshot: usize,
    failed: bool,
    sabotage: Sabotage,
}

/// Which log a sequencer appends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogIdentity {
    /// The group to sequence.
    pub group: GroupId,
    /// The group's log.
    pub log: LogId,
    /// The present opening of the log.
    pub epoch: Epoch,
}

/// Chosen by the caller, returned in the events of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One publish request: messages of one client, client_seq rising.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishBatch {
    /// The author under whose name it is published.
    pub author: Author,
    /// The publisher that owns the author's client id, see [`Self::claimed_by`].
    pub claimant: Claimant,
    /// 1 to [`MAX_PUBLISH_MESSAGES`], at most [`MAX_PUBLISH_BYTES`] together.
    pub entries: Vec<PublishEntry>,
}

/// One message to be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishEntry {
    /// From 1, rising within a batch.
    pub client_seq: ClientSeq,
    /// The kind of the payload.
    pub content_type: ContentType,
    /// The payload, at most [`MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
}

impl PublishBatch {
    /// Checks the limits of one request. Its claimant is the relay itself.
    ///
    /// # Errors
    /// [`BatchError`], each case.
    pub fn new(device: DeviceId, client: ClientId, entries: Vec<PublishEntry>) -> Result<Self, BatchError> {
        if client.is_none() {
            return Err(BatchError::NoClient);
        }
        if entries.is_empty() || entries.len() > MAX_PUBLISH_MESSAGES {
            return Err(BatchError::Count(entries.len()));
        }
        if let Some(entry) = entries.iter().find(|entry| entry.payload.len() > MAX_PAYLOAD) {
            return Err(BatchError::TooLarge(entry.payload.len()));
        }
        let bytes = entries.iter().map(|entry| entry.payload.len()).sum();
        if bytes > MAX_PUBLISH_BYTES {
            return Err(BatchError::TooMany(bytes));
        }
        let rising = entries[0].client_seq.0 > 0 && entries.is_sorted_by(|a, b| a.client_seq < b.client_seq);
        let author = Author { device, client };
        if rising { Ok(Self { author, claimant: Claimant::LOCAL, entries }) } else { Err(BatchError::Order) }
    }

    /// The same from another claimant.
    #[must_use]
    pub fn claimed_by(self, claimant: Claimant) -> Self {
        Self { claimant, ..self }
    }

    /// Returns the payload bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.payload.len()).sum()
    }
}

/// A request that breaks a limit; nothing of it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The client id is all zero.
    #[error("the client id is empty; choose 16 random bytes for each publishing process")]
    NoClient,
    /// None, or too many messages.
    #[error("a request has 1 to {MAX_PUBLISH_MESSAGES} messages, this one has {0}")]
    Count(usize),
    /// One message is too long.
    #[error("a message of {0} bytes is over the limit of {MAX_PAYLOAD} bytes (256 KiB)")]
    TooLarge(usize),
    /// All together are too long.
    #[error("a request of {0} payload bytes is over the limit of {MAX_PUBLISH_BYTES} bytes (1 MiB); send several")]
    TooMany(usize),
    /// client_seq 0, or not rising.
    #[error("client_seq counts from 1 and rises within a request")]
    Order,
}

/// Why nothing of a request was logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefuseReason {
    /// A message is older than the client's window.
    #[error("client_seq {0} is older than the last 1024 of this client; whether it was logged is no longer known")]
    OutOfWindow(u64),
    /// Somebody else published under this client id before. With a new one the same messages are taken.
    #[error("this client id belongs to another publisher; take a new one")]
    OtherPublisher,
    /// More is waiting for the disk than may.
    #[error("too much is waiting to be written; send it again in a moment")]
    Busy,
    /// The append failed; whether it was logged is not known. Sent again with the same client_seq it is logged once.
    #[error("the log cannot be written at the moment; send it again")]
    Unavailable,
}

/// `client_seq first_client_seq + i` has seq `first_seq + i`, for `i < count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckRange {
    /// The client's own number of the first message.
    pub first_client_seq: ClientSeq,
    /// The seq of the first message.
    pub first_seq: Seq,
    /// How many messages the range has, at least 1.
    pub count: u32,
}

/// A run for the log.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The run that has to be appended to the log.
    pub run: Run,
    /// The client windows as they are after it, with every [`SNAPSHOT_RUNS`]th run, and each [`SNAPSHOT_BYTES`], once the
    /// runs since the last one have [`SNAPSHOT_SHARE`] times its bytes.
    pub snapshot: Option<Bytes>,
}

/// Says what became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SequencerEvent {
    /// The run is in the log: send it. Dense and in order.
    Durable(Run),
    /// All messages of the request are in the log.
    Acked {
        /// The request that this answers.
        request: RequestId,
        /// In the order of its messages.
        acks: Vec<AckRange>,
    },
    /// The request was refused; nothing of it counts as logged.
    Refused {
        /// The request that this answers.
        request: RequestId,
        /// Why the request was refused.
        reason: RefuseReason,
    },
}

/// A snapshot of the windows goes with every so many runs, so that at most as many are replayed at an opening.
pub const SNAPSHOT_RUNS: u32 = 4096;
/// The same for bytes of runs: large ones would make an opening as slow as many.
pub const SNAPSHOT_BYTES: usize = 8 * 1024 * 1024;
/// A snapshot has at most this part of the bytes of the runs before it: writing it must cost little beside them.
pub const SNAPSHOT_SHARE: usize = 8;
/// Bytes of runs that wait for the log or are being written; more is refused as [`RefuseReason::Busy`].
pub const MAX_QUEUED_BYTES: usize = 16 * 1024 * 1024;
/// Requests that wait for their acknowledgement; more are refused as [`RefuseReason::Busy`].
pub const MAX_WAITING_REQUESTS: usize = 65_536;

#[derive(Debug)]
struct WaitingAck {
    request: RequestId,
    acks: Vec<AckRange>,
    /// The highest of its seqs, those of duplicates too; the request is acknowledged once this is durable.
    needs: Seq,
}

impl Sequencer {
    /// Makes a sequencer for a log that was opened with `head` as its highest seq and `windows` as of that head.
    #[must_use]
    pub fn new(identity: LogIdentity, head: Seq, windows: ClientWindows) -> Self {
        Self {
            identity,
            windows,
            assigned: head,
            durable: head,
            gathering: BlockBuilder::new(),
            gathering_base: head.next(),
            closed: VecDeque::new(),
            in_flight: VecDeque::new(),
            queued_bytes: 0,
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            runs_since_snapshot: 0,
            bytes_since_snapshot: 0,
            failed: false,
            sabotage: Sabotage::default(),
        }
    }

    /// Sequences what is new in `batch`; the answer comes as an event, at once where nothing has to be written.
    ///
    /// `now`: the wall clock, which becomes the messages' sent_at.
    pub fn handle_publish(&mut self, now: SentAt, request: RequestId, batch: &PublishBatch) {
        let row = self.next_row(batch);
        if let Err(reason) = self.admit(batch, row.is_some()) {
            self.events.push_back(SequencerEvent::Refused { request, reason });
            return;
        }
        let AckRanges { ranges: acks, highest: needs } = match row {
            Some(first) => self.assign_row(now, batch, first),
            None => self.assign_new(now, batch),
        };
        if needs <= self.durable {
            self.events.push_back(SequencerEvent::Acked { request, acks });
        } else {
            self.waiting.push_back(WaitingAck { request, acks, needs });
        }
    }

    /// Returns the next run for the log, if one may be handed out now.
    pub fn poll_append(&mut self) -> Option<NewRun> {
        // Group commit: while an append is under way messages gather, so that one sync serves all that came meanwhile.
        if self.closed.is_empty() && self.in_flight.is_empty() {
            self.close_run();
        }
        let run = self.closed.pop_front()?;
        self.in_flight.push_back(run.clone());
        self.runs_since_snapshot += 1;
        self.bytes_since_snapshot += run.as_bytes().len();
        let much = self.runs_since_snapshot >= SNAPSHOT_RUNS || self.bytes_since_snapshot >= SNAPSHOT_BYTES;
        let is_cheap = self.bytes_since_snapshot / SNAPSHOT_SHARE >= self.windows.snapshot_bytes();
        let snapshot = (much && is_cheap).then(|| {
            (self.runs_since_snapshot, self.bytes_since_snapshot) = (0, 0);
            self.windows.snapshot(run.last_seq())
        });
        Some(NewRun { run, snapshot })
    }

    /// Handles the end of the oldest append: the run is in the log (`true`), or could not be written.
    pub fn handle_appended(&mut self, durable: bool) {
        if self.failed {
            return;
        }
        if !durable {
            self.roll_back();
            return;
        }
        let run = self.in_flight.pop_front().expect("one answer for each run that was handed out");
        self.queued_bytes -= run.as_bytes().len();
        self.durable = run.last_seq();
        self.events.push_back(SequencerEvent::Durable(run));
        while self.waiting.front().is_some_and(|waiting| waiting.needs <= self.durable) {
            let done = self.waiting.pop_front().expect("front has just seen it");
            self.events.push_back(SequencerEvent::Acked { request: done.request, acks: done.acks });
        }
    }

    /// Returns the next event, oldest first.
    pub fn poll_event(&mut self) -> Option<SequencerEvent> {
        self.events.pop_front()
    }

    /// Forgets clients that have been silent for a day; see [`ClientWindows::expire`].
    pub fn expire_clients(&mut self, now_unix_ms: i64, set_forward_ms: i64) {
        self.windows.expire(now_unix_ms, set_forward_ms);
    }

    /// Sets the bytes that the client windows may have; see [`ClientWindows::set_limit`].
    pub fn limit_windows(&mut self, limit_bytes: usize) {
        self.windows.set_limit(limit_bytes);
    }

    /// Returns the windows of the clients.
    #[must_use]
    pub const fn windows(&self) -> &ClientWindows {
        &self.windows
    }

    /// Refuses everything that waits; for the end of a group. What is in flight may still become durable.
    pub fn abandon(&mut self) {
        self.roll_back();
    }

    /// Returns the highest seq that is in the log.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.durable
    }

    /// Returns the bytes of runs that wait for the log or are being written; at most [`MAX_QUEUED_BYTES`] and one
    /// request.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes + self.gathering.encoded_len()
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    /// Returns the group, log and epoch that are sequenced.
    #[must_use]
    pub const fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// Whether an append failed, so that the group must be opened again.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether nothing waits for the log.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_empty() && self.closed.is_empty() && self.gathering.is_empty()
    }

    /// Checks that a batch can be taken. `is_next`: it continues where its client stopped, so that each of its messages
    /// is new.
    fn admit(&self, batch: &PublishBatch, is_next: bool) -> Result<(), RefuseReason> {
        if self.failed {
            return Err(RefuseReason::Unavailable);
        }
        if self.queued_bytes + self.gathering.encoded_len() > MAX_QUEUED_BYTES
            || self.waiting.len() >= MAX_WAITING_REQUESTS
        {
            return Err(RefuseReason::Busy);
        }
        if is_next {
            return Ok(());
        }
        for entry in &batch.entries {
            match self.windows.check(batch.author, &batch.claimant, entry.client_seq) {
                DuplicateCheck::New | DuplicateCheck::Duplicate(_) => {}
                DuplicateCheck::OutOfWindow => return Err(RefuseReason::OutOfWindow(entry.client_seq.0)),
                DuplicateCheck::OtherPublisher => return Err(RefuseReason::OtherPublisher),
            }
        }
        Ok(())
    }

    /// Returns the first client_seq of a batch that only continues where its client stopped, as most do.
    fn next_row(&self, batch: &PublishBatch) -> Option<ClientSeq> {
        let [first, last] = [batch.entries.first()?.client_seq, batch.entries.last()?.client_seq];
        let is_dense = last.0.checked_sub(first.0)? + 1 == batch.entries.len() as u64;
        (is_dense && self.windows.are_next(batch.author, &batch.claimant, first, last)).then_some(first)
    }

    /// Assigns seqs to a batch of which everything is new, and records it as one row.
    fn assign_row(&mut self, now: SentAt, batch: &PublishBatch, first: ClientSeq) -> AckRanges {
        let first_seq = self.assigned.next();
        for entry in &batch.entries {
            self.assign(now, batch.author, entry);
        }
        let count = batch.entries.len();
        self.windows.record_row(batch.author, &batch.claimant, first, first_seq, count as u64, unix_ms(now));
        let range = AckRange { first_client_seq: first, first_seq, count: count as u32 };
        AckRanges { ranges: vec![range], highest: self.assigned }
    }

    /// Assigns seqs to the new messages of a batch.
    fn assign_new(&mut self, now: SentAt, batch: &PublishBatch) -> AckRanges {
        let mut acks = AckRanges::default();
        self.windows.claim(batch.author, &batch.claimant);
        for entry in &batch.entries {
            let seq = match self.windows.check(batch.author, &batch.claimant, entry.client_seq) {
                DuplicateCheck::Duplicate(seq) if !self.sabotage.keeps_duplicates() => seq,
                // The last two do not come: `admit` has refused them for the whole batch.
                DuplicateCheck::Duplicate(_)
                | DuplicateCheck::New
                | DuplicateCheck::OtherPublisher
                | DuplicateCheck::OutOfWindow => {
                    let seq = self.assign(now, batch.author, entry);
                    self.windows.record(batch.author, &batch.claimant, entry.client_seq, seq, unix_ms(now));
                    seq
                }
            };
            acks.push(entry.client_seq, seq);
        }
        acks
    }

    fn assign(&mut self, now: SentAt, author: Author, entry: &PublishEntry) -> Seq {
        let length = RUN_HEADER + self.gathering.encoded_len_with(&author, entry.payload.len());
        if self.gathering.is_full() || length > TARGET_RUN {
            self.close_run();
        }
        self.assigned = self.assigned.next();
        self.gathering.push(&MessageRef {
            author,
            client_seq: entry.client_seq,
            content_type: entry.content_type,
            sent_at: now,
            payload: &entry.payload,
        });
        self.assigned
    }

    fn close_run(&mut self) {
        if self.gathering.is_empty() {
            return;
        }
        let LogIdentity { group, log, epoch } = self.identity;
        let run = Run::encode(RunHeader { group, log, epoch, base_seq: self.gathering_base }, &self.gathering);
        self.gathering.clear();
        self.gathering_base = run.last_seq().next();
        self.queued_bytes += run.as_bytes().len();
        self.closed.push_back(run);
    }

    fn roll_back(&mut self) {
        self.failed = true;
        self.gathering.clear();
        self.closed.clear();
        self.in_flight.clear();
        self.queued_bytes = 0;
        self.assigned = self.durable;
        self.gathering_base = self.durable.next();
        self.windows.forget_after(self.durable);
        for WaitingAck { request, .. } in self.waiting.drain(..) {
            self.events.push_back(SequencerEvent::Refused { request, reason: RefuseReason::Unavailable });
        }
    }
}

const fn unix_ms(at: SentAt) -> i64 {
    (at.0 / 1000) as i64
}

#[derive(Default)]
struct AckRanges {
    ranges: Vec<AckRange>,
    highest: Seq,
}

impl AckRanges {
    fn push(&mut self, client_seq: ClientSeq, seq: Seq) {
        self.highest = self.highest.max(seq);
        if let Some(last) = self.ranges.last_mut() {
            let count = u64::from(last.count);
            if last.first_client_seq.0 + count == client_seq.0 && last.first_seq.0 + count == seq.0 {
                last.count += 1;
                return;
            }
        }
        self.ranges.push(AckRange { first_client_seq: client_seq, first_seq: seq, count: 1 });
    }
}

#[cfg(test)]
mod tests;
