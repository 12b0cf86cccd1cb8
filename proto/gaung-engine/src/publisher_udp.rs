//! Publishing by datagrams alone: one PUBLISH at a time, sent again until its PUBACK comes.

use std::{
    collections::VecDeque,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DecodeError, DeviceId, Epoch, GroupTag, Pkt, Seq,
    body::{Cookie, Puback, Publish, PublishOutcome},
    datagram::{Fragment, Header, PacketType},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    timing::TIMING,
    transmit::{Destination, Transmit},
};

/// A client that speaks datagrams alone.
///
/// Call order: [`handle_message`](Self::handle_message) while [`is_idle`](Self::is_idle); PUBACKs from the relay to
/// [`handle_puback`](Self::handle_puback); [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout). After each drain [`poll_transmit`](Self::poll_transmit) and
/// [`poll_outcome`](Self::poll_outcome).
#[derive(Debug)]
pub struct DatagramPublisher {
    client: ClientId,
    device: DeviceId,
    tag: GroupTag,
    relay: SocketAddrV4,
    cookie: Cookie,
    next: ClientSeq,
    next_pkt: u32,
    started: Instant,
    give_up_after: Duration,
    rng: SmallRng,
    current: Option<CurrentPublish>,
    transmits: VecDeque<Transmit>,
    outcomes: VecDeque<DatagramOutcome>,
}

/// How publishing a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatagramOutcome {
    /// The message is durable under this seq.
    Logged(Seq),
    /// The relay does not take it; see the outcome.
    Refused(PublishOutcome),
    /// No answer in the time allowed.
    GaveUp,
}

#[derive(Debug)]
struct CurrentPublish {
    client_seq: ClientSeq,
    content_type: ContentType,
    payload: Bytes,
    since: Instant,
    due: Instant,
    tries: u32,
    /// Sent again at once because of a new cookie.
    proved: bool,
}

impl DatagramPublisher {
    /// Largest payload of one message.
    pub const MAX_PAYLOAD: usize = Publish::MAX_PAYLOAD;

    /// Makes a publisher. `client`: random, and of this publisher alone, because its client_seq begins at 1.
    #[must_use]
    pub fn new(
        client: ClientId,
        device: DeviceId,
        tag: GroupTag,
        relay: SocketAddrV4,
        give_up_after: Duration,
        rng_seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            client,
            device,
            tag,
            relay,
            cookie: Cookie::default(),
            next: ClientSeq(1),
            next_pkt: 1,
            started: now,
            give_up_after,
            rng: SmallRng::seed_from_u64(rng_seed),
            current: None,
            transmits: VecDeque::new(),
            outcomes: VecDeque::new(),
        }
    }

    /// Whether the next message may come.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.current.is_none()
    }

    /// Handles that the relay moved, or the group has another log or address.
    pub const fn handle_place(&mut self, tag: GroupTag, relay: SocketAddrV4) {
        self.tag = tag;
        self.relay = relay;
    }

    /// Sends a message.
    ///
    /// # Panics
    /// If it is not [`is_idle`](Self::is_idle), or the payload is over [`MAX_PAYLOAD`](Self::MAX_PAYLOAD).
    pub fn handle_message(&mut self, now: Instant, content_type: ContentType, payload: Bytes) {
        assert!(self.is_idle(), "one message at a time");
        assert!(payload.len() <= Self::MAX_PAYLOAD, "the caller has checked the payload's length");
        let client_seq = self.next;
        self.next = ClientSeq(client_seq.0 + 1);
        self.current =
            Some(CurrentPublish { client_seq, content_type, payload, since: now, due: now, tries: 0, proved: false });
        self.handle_timeout(now);
    }

    /// Handles a PUBACK from the relay; one of another message is ignored.
    ///
    /// # Errors
    /// [`DecodeError`]: drop it.
    pub fn handle_puback(&mut self, now: Instant, header: &Header, body: &[u8]) -> Result<(), DecodeError> {
        let puback = Puback::decode(body)?;
        let Some(current) = &mut self.current else { return Ok(()) };
        if header.packet_type != PacketType::Puback
            || puback.client != self.client
            || puback.client_seq != current.client_seq
        {
            return Ok(());
        }
        let outcome = match puback.outcome {
            PublishOutcome::Logged if header.seq == Seq::ZERO => return Err(DecodeError::Field("seq")),
            PublishOutcome::Logged => DatagramOutcome::Logged(header.seq),
            PublishOutcome::NeedsCookie => {
                self.cookie = puback.cookie;
                if !std::mem::replace(&mut current.proved, true) {
                    current.due = now;
                    self.handle_timeout(now);
                }
                return Ok(());
            }
            PublishOutcome::Unavailable => return Ok(()),
            PublishOutcome::OtherPublisher => {
                // Others may have published under this id, which stands in the log, or the own address has changed.
                self.client = ClientId(self.rng.random());
                current.due = now;
                self.handle_timeout(now);
                return Ok(());
            }
            refused @ (PublishOutcome::NotFound | PublishOutcome::Refused | PublishOutcome::OutOfWindow) => {
                DatagramOutcome::Refused(refused)
            }
        };
        self.cookie = puback.cookie;
        self.finish(outcome);
        Ok(())
    }

    /// Sends again, or gives up; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(current) = &mut self.current else { return };
        if now.saturating_duration_since(current.since) >= self.give_up_after {
            self.finish(DatagramOutcome::GaveUp);
            return;
        }
        if current.due > now {
            return;
        }
        let wait = (TIMING.publish_retry_min * (1 << current.tries.min(8))).min(TIMING.publish_retry_max);
        current.tries = current.tries.saturating_add(1);
        current.due = now + wait.mul_f64(self.rng.random_range(0.75..1.25));
        // A relay that restarted knows another cookie.
        current.proved = false;
        let mut body = BytesMut::new();
        Publish {
            sender: self.client.into(),
            cookie: self.cookie,
            device: self.device,
            content_type: current.content_type.to_byte(),
            payload: &current.payload,
        }
        .write(&mut body);
        let header = Header {
            packet_type: PacketType::Publish,
            flags: 0,
            tag: self.tag,
            epoch: Epoch(0),
            pkt: Pkt(self.next_pkt),
            seq: Seq(current.client_seq.0),
            fragment: Fragment::WHOLE,
            ts_us: now.saturating_duration_since(self.started).as_micros() as u32,
        };
        self.next_pkt = self.next_pkt.wrapping_add(1);
        self.transmits.clear();
        let destination = Destination::Unicast { peer: self.relay, from: None };
        self.transmits.push_back(Transmit { destination, payload: header.encode(&body), ttl: 1 });
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What became of the message.
    pub fn poll_outcome(&mut self) -> Option<DatagramOutcome> {
        self.outcomes.pop_front()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.current.as_ref().map(|current| current.due.min(current.since + self.give_up_after))
    }

    fn finish(&mut self, outcome: DatagramOutcome) {
        self.current = None;
        self.transmits.clear();
        self.outcomes.push_back(outcome);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: ClientId = ClientId([5; 16]);

    fn publisher(now: Instant) -> DatagramPublisher {
        let relay = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7402);
        DatagramPublisher::new(CLIENT, DeviceId::NONE, GroupTag(1), relay, Duration::from_secs(60), 1, now)
    }

    fn answer(publisher: &mut DatagramPublisher, now: Instant, client_seq: u64, seq: u64, outcome: PublishOutcome) {
        let mut body = BytesMut::new();
        Puback { client: CLIENT, client_seq: ClientSeq(client_seq), cookie: Cookie(77), outcome }.write(&mut body);
        let header = Header {
            packet_type: PacketType::Puback,
            flags: 0,
            tag: GroupTag(1),
            epoch: Epoch(1),
            pkt: Pkt(1),
            seq: Seq(seq),
            fragment: Fragment::WHOLE,
            ts_us: 0,
        };
        publisher.handle_puback(now, &header, &body).unwrap();
    }

    fn sent(publisher: &mut DatagramPublisher) -> Option<(u64, Cookie)> {
        let transmit = publisher.poll_transmit()?;
        let (header, body) = Header::decode(&transmit.payload).unwrap();
        Some((header.seq.0, Publish::decode(body).unwrap().cookie))
    }

    #[test]
    fn a_cookie_is_earned_once_and_messages_go_one_by_one() {
        let now = Instant::now();
        let mut publisher = publisher(now);
        publisher.handle_message(now, ContentType::Text, Bytes::from_static(b"a"));
        assert_eq!(sent(&mut publisher), Some((1, Cookie(0))));
        answer(&mut publisher, now, 1, 0, PublishOutcome::NeedsCookie);
        assert_eq!(sent(&mut publisher), Some((1, Cookie(77))));
        answer(&mut publisher, now, 9, 4, PublishOutcome::Logged);
        assert_eq!(publisher.poll_outcome(), None);
        answer(&mut publisher, now, 1, 4, PublishOutcome::Logged);
        assert_eq!(publisher.poll_outcome(), Some(DatagramOutcome::Logged(Seq(4))));
        publisher.handle_message(now, ContentType::Text, Bytes::from_static(b"b"));
        assert_eq!(sent(&mut publisher), Some((2, Cookie(77))));
        answer(&mut publisher, now, 2, 0, PublishOutcome::Refused);
        assert_eq!(publisher.poll_outcome(), Some(DatagramOutcome::Refused(PublishOutcome::Refused)));
    }

    #[test]
    fn whose_client_id_is_anothers_takes_a_new_one() {
        let now = Instant::now();
        let mut publisher = publisher(now);
        publisher.handle_message(now, ContentType::Text, Bytes::from_static(b"a"));
        let _ = sent(&mut publisher);
        answer(&mut publisher, now, 1, 0, PublishOutcome::OtherPublisher);
        let transmit = publisher.poll_transmit().unwrap();
        let (header, body) = Header::decode(&transmit.payload).unwrap();
        let publish = Publish::decode(body).unwrap();
        assert_ne!(ClientId::from(publish.sender), CLIENT);
        assert_eq!((header.seq.0, publish.payload), (1, &b"a"[..]));
        answer(&mut publisher, now, 1, 7, PublishOutcome::Logged);
        assert_eq!(publisher.poll_outcome(), None, "that is of the former id");
    }

    #[test]
    fn it_sends_again_until_it_gives_up() {
        let begin = Instant::now();
        let mut publisher = publisher(begin);
        publisher.handle_message(begin, ContentType::Text, Bytes::new());
        let mut sends = 0;
        while let Some(due) = publisher.poll_timeout() {
            sends += u32::from(sent(&mut publisher).is_some());
            answer(&mut publisher, due, 1, 0, PublishOutcome::Unavailable);
            publisher.handle_timeout(due);
        }
        assert_eq!(publisher.poll_outcome(), Some(DatagramOutcome::GaveUp));
        assert!((25..60).contains(&sends), "{sends}");
    }
}
