//! A client's side of publishing: numbers its messages, keeps them until they are acknowledged, and sends them again
//! under the same numbers after a connection was lost.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{
    ClientSeq, ContentType, Seq,
    limits::{CLIENT_WINDOW, MAX_PUBLISH_BYTES, MAX_PUBLISH_MESSAGES},
};

use crate::{AckRange, PublishEntry};

/// Publishes to one group as one client.
///
/// Call order: [`handle_message`](Self::handle_message) while [`has_room`](Self::has_room); with a connection, drain
/// [`poll_request`](Self::poll_request) and send each; every answer goes to [`handle_acks`](Self::handle_acks) or
/// [`handle_refused`](Self::handle_refused); a lost connection to [`handle_disconnected`](Self::handle_disconnected);
/// after each of them drain [`poll_outcome`](Self::poll_outcome).
#[derive(Debug)]
pub struct Publisher {
    /// Unacknowledged, client_seq rising without a hole.
    messages: VecDeque<UnackedMessage>,
    bytes: usize,
    next: ClientSeq,
    /// The first `sent` of `messages` are in a request on this connection.
    sent: usize,
    /// Requests in flight, oldest first, as ranges of client_seq.
    requests: VecDeque<(ClientSeq, ClientSeq)>,
    outcomes: VecDeque<MessageOutcome>,
    give_up_after: Duration,
}

/// The outcome of one message; outcomes come in the order in which the messages were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The message is durable under this seq.
    Logged(Seq),
    /// Refused, or not acknowledged within the time allowed; the reason is the caller's that reported it.
    Failed,
}

/// Messages that wait for their acknowledgement; more are not taken. As many as a relay remembers of a client: one
/// that were sent further ahead could not be told from a duplicate after a reconnect.
pub const MAX_KEPT_MESSAGES: usize = CLIENT_WINDOW as usize;
/// Payload bytes that wait for their acknowledgement; more are not taken, but for a single message.
pub const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Requests in flight on one connection.
pub const MAX_REQUESTS: usize = 16;

#[derive(Debug)]
struct UnackedMessage {
    entry: PublishEntry,
    since: Instant,
    /// Known by an acknowledgement that came before that of an earlier message.
    seq: Option<Seq>,
}

impl Publisher {
    /// Makes a publisher. `give_up_after`: how long a message is sent again; at most the relay's memory of clients.
    #[must_use]
    pub const fn new(give_up_after: Duration) -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
            next: ClientSeq(1),
            sent: 0,
            requests: VecDeque::new(),
            outcomes: VecDeque::new(),
            give_up_after,
        }
    }

    /// Whether another message is taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.messages.len() < MAX_KEPT_MESSAGES && self.bytes < MAX_KEPT_BYTES
    }

    /// Whether nothing waits for an acknowledgement.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes a message and numbers it.
    pub fn handle_message(&mut self, now: Instant, content_type: ContentType, payload: Bytes) {
        self.bytes += payload.len();
        let entry = PublishEntry { client_seq: self.next, content_type, payload };
        self.next = ClientSeq(self.next.0 + 1);
        self.messages.push_back(UnackedMessage { entry, since: now, seq: None });
    }

    /// Returns the number that the next message gets.
    #[must_use]
    pub const fn next_client_seq(&self) -> ClientSeq {
        self.next
    }

    /// Replaces payloads of messages that are not acknowledged, such as those that are signed for another log. `rewrite` gives the
    /// new payload, or `None` to keep the old one. Without a connection: a payload that is sent is not replaced.
    pub fn rewrite(&mut self, mut rewrite: impl FnMut(&PublishEntry) -> Option<Bytes>) {
        for kept in self.messages.iter_mut().skip(self.sent) {
            if let Some(payload) = rewrite(&kept.entry) {
                self.bytes = self.bytes - kept.entry.payload.len() + payload.len();
                kept.entry.payload = payload;
            }
        }
    }

    /// Returns the next request for this connection: 1 to [`MAX_PUBLISH_MESSAGES`] messages, at most
    /// [`MAX_PUBLISH_BYTES`].
    pub fn poll_request(&mut self) -> Option<Vec<PublishEntry>> {
        if self.requests.len() >= MAX_REQUESTS {
            return None;
        }
        let mut bytes = 0;
        let waiting = self.messages.iter().skip(self.sent).take(MAX_PUBLISH_MESSAGES);
        let entries: Vec<PublishEntry> = waiting
            .map(|kept| &kept.entry)
            .take_while(|entry| {
                bytes += entry.payload.len();
                bytes <= MAX_PUBLISH_BYTES
            })
            .cloned()
            .collect();
        let (first, last) = (entries.first()?.client_seq, entries.last()?.client_seq);
        self.sent += entries.len();
        self.requests.push_back((first, last));
        Some(entries)
    }

    /// Handles the acknowledgement of the oldest request in flight.
    pub fn handle_acks(&mut self, acks: &[AckRange]) {
        self.requests.pop_front();
        for ack in acks {
            for i in 0..u64::from(ack.count).min(MAX_PUBLISH_MESSAGES as u64) {
                let Some(client_seq) = ack.first_client_seq.0.checked_add(i) else { break };
                if let Some(kept) = self.kept(client_seq) {
                    kept.seq = Some(Seq(ack.first_seq.0.saturating_add(i)));
                }
            }
        }
        self.settle();
    }

    /// Handles the final refusal of the oldest request in flight: none of it counts as logged.
    pub fn handle_refused(&mut self) {
        let Some((first, last)) = self.requests.pop_front() else { return };
        // What stands before it was acknowledged already, for answers come in order.
        while let Some(kept) = self.messages.front().filter(|kept| kept.entry.client_seq <= last) {
            let outcome = if kept.entry.client_seq < first {
                kept.seq.map_or(MessageOutcome::Failed, MessageOutcome::Logged)
            } else {
                MessageOutcome::Failed
            };
            self.pop(outcome);
        }
    }

    /// Handles a lost connection: everything that was not acknowledged is sent again on the next one.
    pub fn handle_disconnected(&mut self) {
        self.sent = 0;
        self.requests.clear();
    }

    /// Gives up what has waited too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.messages.front().is_some_and(|kept| now.duration_since(kept.since) >= self.give_up_after) {
            self.pop(MessageOutcome::Failed);
        }
    }

    /// Returns when the oldest message is given up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.messages.front().map(|kept| kept.since + self.give_up_after)
    }

    /// Gives up all messages that are not acknowledged.
    pub fn handle_closed(&mut self) {
        while !self.messages.is_empty() {
            self.pop(MessageOutcome::Failed);
        }
        self.requests.clear();
    }

    /// Returns the next outcome.
    pub fn poll_outcome(&mut self) -> Option<MessageOutcome> {
        self.outcomes.pop_front()
    }

    fn kept(&mut self, client_seq: u64) -> Option<&mut UnackedMessage> {
        let first = self.messages.front()?.entry.client_seq.0;
        let index = usize::try_from(client_seq.checked_sub(first)?).ok()?;
        self.messages.get_mut(index)
    }

    fn settle(&mut self) {
        while let Some(seq) = self.messages.front().and_then(|kept| kept.seq) {
            self.pop(MessageOutcome::Logged(seq));
        }
    }

    fn pop(&mut self, outcome: MessageOutcome) {
        if let Some(kept) = self.messages.pop_front() {
            self.bytes -= kept.entry.payload.len();
            self.sent = self.sent.saturating_sub(1);
            self.outcomes.push_back(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn publisher_of(count: u64, now: Instant) -> Publisher {
        let mut publisher = Publisher::new(Duration::from_secs(10));
        for i in 1..=count {
            publisher.handle_message(now, ContentType::Text, Bytes::from(i.to_string()));
        }
        publisher
    }

    fn ack(first: u64, seq: u64, count: u32) -> AckRange {
        AckRange { first_client_seq: ClientSeq(first), first_seq: Seq(seq), count }
    }

    fn outcomes(publisher: &mut Publisher) -> Vec<MessageOutcome> {
        std::iter::from_fn(|| publisher.poll_outcome()).collect()
    }

    #[test]
    fn what_waits_goes_into_one_request_and_is_acknowledged_by_ranges() {
        let mut publisher = publisher_of(3, Instant::now());
        let request = publisher.poll_request().unwrap();
        assert_eq!(request.iter().map(|entry| entry.client_seq.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(publisher.poll_request().is_none());
        publisher.handle_acks(&[ack(1, 7, 2), ack(3, 12, 1)]);
        assert_eq!(outcomes(&mut publisher), [7, 8, 12].map(|seq| MessageOutcome::Logged(Seq(seq))));
        assert!(publisher.is_idle());
    }

    #[test]
    fn a_lost_connection_sends_the_same_numbers_again() {
        let mut publisher = publisher_of(3, Instant::now());
        let first = publisher.poll_request().unwrap();
        publisher.handle_disconnected();
        assert_eq!(publisher.poll_request().unwrap(), first);
        publisher.handle_acks(&[ack(1, 1, 3)]);
        assert!(publisher.is_idle());
    }

    #[test]
    fn a_refused_request_fails_its_own_messages_alone() {
        let now = Instant::now();
        let mut publisher = publisher_of(2, now);
        let _ = publisher.poll_request().unwrap();
        publisher.handle_message(now, ContentType::Text, Bytes::from_static(b"later"));
        let _ = publisher.poll_request().unwrap();
        publisher.handle_refused();
        publisher.handle_acks(&[ack(3, 9, 1)]);
        assert_eq!(
            outcomes(&mut publisher),
            [MessageOutcome::Failed, MessageOutcome::Failed, MessageOutcome::Logged(Seq(9))]
        );
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_as_it_was_rewritten() {
        let mut publisher = publisher_of(3, Instant::now());
        let _ = publisher.poll_request().unwrap();
        publisher.handle_disconnected();
        publisher.rewrite(|entry| (entry.client_seq == ClientSeq(2)).then(|| Bytes::from_static(b"another")));
        let payloads: Vec<_> = publisher.poll_request().unwrap().into_iter().map(|entry| entry.payload).collect();
        assert_eq!(payloads, ["1", "another", "3"]);
        publisher.handle_acks(&[ack(1, 1, 3)]);
        assert_eq!((publisher.bytes, publisher.next_client_seq()), (0, ClientSeq(4)));
    }

    #[test]
    fn large_messages_are_split_over_requests() {
        let now = Instant::now();
        let mut publisher = Publisher::new(Duration::from_secs(10));
        for _ in 0..6 {
            publisher.handle_message(now, ContentType::Text, Bytes::from(vec![0; 256 * 1024]));
        }
        assert_eq!(publisher.poll_request().unwrap().len(), 4);
        assert_eq!(publisher.poll_request().unwrap().len(), 2);
    }

    #[test]
    fn a_message_is_given_up_after_its_time_and_room_is_bounded() {
        let now = Instant::now();
        let mut publisher = publisher_of(2, now);
        publisher.handle_timeout(publisher.poll_timeout().unwrap());
        assert_eq!(outcomes(&mut publisher), [MessageOutcome::Failed, MessageOutcome::Failed]);
        let full = publisher_of(MAX_KEPT_MESSAGES as u64, now);
        assert!(!full.has_room());
    }

    #[test]
    fn answers_that_make_no_sense_change_nothing() {
        let mut publisher = publisher_of(1, Instant::now());
        publisher.handle_acks(&[ack(u64::MAX, u64::MAX, u32::MAX), ack(99, 1, 5)]);
        publisher.handle_refused();
        assert!(outcomes(&mut publisher).is_empty());
        assert!(!publisher.is_idle());
    }
}
