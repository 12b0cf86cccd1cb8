//! Verifies who wrote messages, by their own signatures or by the attestations that follow them.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, GroupId, Kind, LogId, Seq,
    authorship::{AttestDigest, Authorship, MAX_ATTESTED},
    block::{Message, SentAt},
};

/// What is known about the author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthorState {
    /// This device has signed the message, or attested it.
    Signed(DeviceId),
    /// An attestation may follow; [`AuthorVerifier::poll_outcome`] gives the final state.
    Pending,
    /// Nobody has signed it.
    Unsigned,
    /// What was signed does not fit: the message, its author or its place was changed, or one beside it was taken out.
    Broken,
}

/// Verifies the messages of one log. Give it every message in seq order; where some are missing, or come again, attestations that would
/// need them prove nothing.
///
/// A message with a trailer is verified at once. One without may be vouched for by an attestation of its publisher, which comes within
/// 5 s; until then it is pending.
///
/// Call order: [`handle_message`](Self::handle_message) for each message, [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout); after each of them drain [`poll_outcome`](Self::poll_outcome).
#[derive(Debug)]
pub struct AuthorVerifier {
    group: GroupId,
    log: LogId,
    /// The message that follows, once there was one.
    next: Option<Seq>,
    streams: HashMap<ClientId, AttestedStream>,
    /// At so many streams those without pending messages are forgotten.
    forget_at: usize,
    /// Pending messages in the order of their arrival, with some that are not pending any more.
    arrivals: VecDeque<Arrival>,
    pending_bytes: usize,
    outcomes: VecDeque<(Seq, AuthorState)>,
}

/// How long an attestation may take.
const ATTESTED_WITHIN: Duration = Duration::from_secs(5);
/// Limits the pending messages; above it the oldest count as unsigned. At 2 million messages a second attestations are 20 000 behind.
const MAX_PENDING: usize = 65_536;
/// Limits the payloads of pending messages, bytes.
const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;
/// Limits the publishers that are remembered while nothing of them is pending.
const MAX_STREAMS: usize = 4096;

/// The pending messages of one publisher.
#[derive(Debug)]
struct AttestedStream {
    /// From this number on nothing of the stream has escaped us, so that what is missing was taken out.
    complete_from: ClientSeq,
    pending: VecDeque<PendingMessage>,
}

#[derive(Debug)]
struct PendingMessage {
    seq: Seq,
    device: DeviceId,
    client_seq: ClientSeq,
    content_type: ContentType,
    payload: Bytes,
}

#[derive(Debug)]
struct Arrival {
    client: ClientId,
    seq: Seq,
    due: Instant,
    sent_at: SentAt,
}

impl AuthorVerifier {
    /// Makes a verifier for a group's log, from any message on.
    #[must_use]
    pub fn new(group: GroupId, log: LogId) -> Self {
        let (streams, arrivals, outcomes) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Self { group, log, next: None, streams, forget_at: MAX_STREAMS, arrivals, pending_bytes: 0, outcomes }
    }

    /// Handles the next message and returns what is known of its author.
    pub fn handle_message(&mut self, now: Instant, message: &Message) -> AuthorState {
        if self.next.replace(message.seq.next()).is_some_and(|next| next != message.seq) {
            self.give_up(|_| true);
            self.streams.clear();
        }
        self.give_up(|arrival| arrival.due <= now || is_overdue(arrival.sent_at, message.sent_at));
        self.note_stream(message.author.client, message.client_seq);
        let has_device = !message.author.device.is_none();
        match Authorship::of_message(self.group, self.log, message) {
            Authorship::Broken => AuthorState::Broken,
            Authorship::Signed { public_key, .. } => {
                let device = DeviceId::of_public_key(&public_key);
                if message.content_type == ContentType::Attest {
                    self.handle_attest(device, message);
                }
                AuthorState::Signed(device)
            }
            // Without a device no attestation could name the author, and an unsigned one vouches for nothing.
            Authorship::Unsigned if !has_device || message.content_type == ContentType::Attest => AuthorState::Unsigned,
            Authorship::Unsigned => {
                let Some(stream) = self.streams.get_mut(&message.author.client) else { return AuthorState::Unsigned };
                stream.pending.push_back(PendingMessage {
                    seq: message.seq,
                    device: message.author.device,
                    client_seq: message.client_seq,
                    content_type: message.content_type,
                    // A copy, since the payload shares the memory of many others.
                    payload: Bytes::copy_from_slice(&message.payload),
                });
                self.pending_bytes += message.payload.len();
                let (client, seq, sent_at) = (message.author.client, message.seq, message.sent_at);
                self.arrivals.push_back(Arrival { client, seq, due: now + ATTESTED_WITHIN, sent_at });
                let is_full = |this: &Self| this.arrivals.len() > MAX_PENDING || this.pending_bytes > MAX_PENDING_BYTES;
                while is_full(self) && !self.arrivals.is_empty() {
                    self.give_up_oldest();
                }
                AuthorState::Pending
            }
        }
    }

    /// Counts messages as unsigned for which no attestation has come in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.give_up(|arrival| arrival.due <= now);
    }

    /// Returns when the oldest pending message counts as unsigned; it may be pending no more.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.arrivals.front().map(|arrival| arrival.due)
    }

    /// Returns the next message that is pending no more, with its final state.
    pub fn poll_outcome(&mut self) -> Option<(Seq, AuthorState)> {
        self.outcomes.pop_front()
    }

    fn note_stream(&mut self, client: ClientId, client_seq: ClientSeq) {
        if self.streams.contains_key(&client) {
            return;
        }
        if self.streams.len() >= self.forget_at {
            self.streams.retain(|_, stream| !stream.pending.is_empty());
            // Later the more there are, so that many publishers do not make each message search them all.
            self.forget_at = (2 * self.streams.len()).max(MAX_STREAMS);
        }
        self.streams.insert(client, AttestedStream { complete_from: client_seq, pending: VecDeque::new() });
    }

    fn handle_attest(&mut self, signer: DeviceId, message: &Message) {
        let content = Content::decode(message.content_type, &message.payload);
        let Kind::Attest { first, count, digest } = content.kind else { return };
        let Some(stream) = self.streams.get_mut(&message.author.client).filter(|_| count <= MAX_ATTESTED) else {
            return;
        };
        let end = ClientSeq(first.0.saturating_add(count.into()));
        let mut attested = Vec::new();
        stream.pending.retain_mut(|pending| {
            let is_attested = (first..end).contains(&pending.client_seq);
            if is_attested {
                let payload = std::mem::take(&mut pending.payload);
                attested.push(PendingMessage { payload, ..*pending });
            }
            !is_attested
        });
        let state = if is_attested_by(&attested, signer, first, count, &digest) {
            AuthorState::Signed(signer)
        } else if stream.complete_from <= first {
            AuthorState::Broken
        } else {
            AuthorState::Unsigned
        };
        stream.complete_from = stream.complete_from.max(end);
        for pending in attested {
            self.pending_bytes -= pending.payload.len();
            self.outcomes.push_back((pending.seq, state));
        }
        self.forget_settled();
    }

    /// Removes arrivals at the front that are pending no more.
    fn forget_settled(&mut self) {
        while let Some(arrival) = self.arrivals.front() {
            let stream = self.streams.get(&arrival.client);
            let oldest = stream.and_then(|stream| stream.pending.front());
            if oldest.is_some_and(|pending| pending.seq <= arrival.seq) {
                break;
            }
            self.arrivals.pop_front();
        }
    }

    fn give_up(&mut self, is_over: impl Fn(&Arrival) -> bool) {
        while self.arrivals.front().is_some_and(&is_over) {
            self.give_up_oldest();
        }
    }

    fn give_up_oldest(&mut self) {
        let Some(arrival) = self.arrivals.pop_front() else { return };
        let Some(stream) = self.streams.get_mut(&arrival.client) else { return };
        // It may have been settled meanwhile.
        if stream.pending.front().is_none_or(|pending| pending.seq != arrival.seq) {
            return;
        }
        let Some(pending) = stream.pending.pop_front() else { return };
        stream.complete_from = stream.complete_from.max(ClientSeq(pending.client_seq.0.saturating_add(1)));
        self.pending_bytes -= pending.payload.len();
        self.outcomes.push_back((pending.seq, AuthorState::Unsigned));
    }
}

/// Returns whether the relay logged a message so much later than another one that no attestation of that one can follow.
const fn is_overdue(of: SentAt, now: SentAt) -> bool {
    now.0.saturating_sub(of.0) as u128 >= ATTESTED_WITHIN.as_micros()
}

fn is_attested_by(messages: &[PendingMessage], signer: DeviceId, first: ClientSeq, count: u32, digest: &[u8]) -> bool {
    let numbered = (first.0..).map(ClientSeq).zip(messages);
    if messages.len() != count as usize
        || !numbered.clone().all(|(expected, message)| message.client_seq == expected && message.device == signer)
    {
        return false;
    }
    let mut found = AttestDigest::default();
    messages.iter().for_each(|message| found.add(message.client_seq, message.content_type, &message.payload));
    found.finish()[..] == *digest
}

#[cfg(test)]
mod tests;
