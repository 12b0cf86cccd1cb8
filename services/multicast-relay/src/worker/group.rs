//! One group on its worker: its sequencer, its outlet to members, and the replies to requests under way.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use gaung_engine::{
    AckRange, LogIdentity, PublishBatch, PublishEntry, RefuseReason, RequestId, RequestOrigin, SenderConfig, Sequencer,
    SequencerEvent, Transmit,
};
use gaung_log::Append;
use gaung_net::driver::SocketId;
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, Seq,
    block::SentAt,
    body::{Puback, Publish, PublishOutcome},
    datagram::PacketType,
};
use rand::Rng as _;
use tracing::trace;

use super::{
    AttachGroup, ReceivedDatagram, WorkerContext, audience::CountedMembers, outlet::GroupOutlet, reply::PublishReply,
    rosters::Rosters,
};
use crate::{
    feed::GroupFeed,
    group::{GroupConfig, GroupLane},
    metrics::RelayFigures,
};

/// A group whose messages this worker takes.
#[derive(Debug)]
pub(super) struct WorkerGroup {
    pub(super) config: Arc<GroupConfig>,
    pub(super) identity: LogIdentity,
    feed: Arc<GroupFeed>,
    pub(super) outlet: GroupOutlet,
    /// The socket that receives a text group's datagrams.
    pub(super) socket: Option<SocketId>,
    /// The deadline under which the group stands in the worker's timers.
    pub(super) timer: Option<Instant>,
    sequencer: Sequencer,
    replies: HashMap<RequestId, RequestReply>,
    /// Client id under which datagrams of programs that do not speak the protocol are logged.
    strangers: ClientId,
    next_stranger_seq: u64,
    /// The epoch's datagram numbers are used up.
    exhausted: bool,
    pub(super) rosters: Rosters,
    counted: CountedMembers,
    /// Evicted client windows, as last added to the metrics.
    clients_forgotten: u64,
}

/// Where the outcome of a request is sent.
#[derive(Debug)]
enum RequestReply {
    Grpc(PublishReply),
    Udp { peer: SocketAddrV4, own: Option<Ipv4Addr>, puback: Puback },
}

impl WorkerGroup {
    /// Whether the group needs a socket that receives bare text.
    pub(super) fn hears_text(config: &GroupConfig) -> bool {
        config.lane == GroupLane::Text
    }

    pub(super) fn new(attach: AttachGroup, socket: Option<SocketId>, context: &WorkerContext, now: Instant) -> Self {
        let AttachGroup { config, feed, opened, windows } = attach;
        let identity = LogIdentity { group: config.id, log: opened.log, epoch: opened.epoch };
        let strangers = ClientId(rand::rng().random());
        let sender = SenderConfig {
            group: config.id,
            log: opened.log,
            epoch: opened.epoch,
            generation: config.generation,
            addr: config.addr,
            ttl: config.ttl,
            head: opened.head,
            oldest_logged: opened.oldest,
            repair_bytes: context.repair_bytes,
            rate: context.rate,
            pads: context.pads,
            cookies: context.cookies.clone(),
            repair_shares: context.repair_shares.clone(),
        };
        Self {
            outlet: GroupOutlet::new(&config, sender, strangers, now),
            sequencer: Sequencer::new(identity, opened.head, windows),
            config,
            identity,
            feed,
            socket,
            timer: None,
            replies: HashMap::new(),
            strangers,
            next_stranger_seq: 1,
            exhausted: false,
            rosters: Rosters::default(),
            counted: CountedMembers::default(),
            clients_forgotten: 0,
        }
    }

    pub(super) fn publish(&mut self, now: SentAt, request: RequestId, batch: &PublishBatch, reply: PublishReply) {
        self.replies.insert(request, RequestReply::Grpc(reply));
        self.sequencer.handle_publish(now, request, batch);
    }

    /// Logs a datagram that was sent to a text group's address.
    pub(super) fn log_stranger(&mut self, now: SentAt, request: RequestId, from: SocketAddrV4, bytes: &[u8]) {
        let (content_type, payload) = Content::text(format!("udp:{from}"), Bytes::copy_from_slice(bytes)).encode();
        let entry = PublishEntry { client_seq: ClientSeq(self.next_stranger_seq), content_type, payload };
        let batch =
            PublishBatch::new(DeviceId::NONE, self.strangers, vec![entry]).expect("a datagram is within every limit");
        self.next_stranger_seq += 1;
        self.sequencer.handle_publish(now, request, &batch);
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        request: RequestId,
        datagram: &ReceivedDatagram,
        context: &WorkerContext,
    ) {
        let ReceivedDatagram { from, own, header, body, group: _ } = datagram;
        if header.packet_type == PacketType::Publish {
            match Publish::decode(body) {
                Ok(publish) => self.publish_datagram(now, request, datagram, &publish, context),
                Err(_) => {
                    context.figures.datagrams_ignored.inc();
                }
            }
            return;
        }
        let GroupOutlet::Proto { sender, .. } = &mut self.outlet else {
            context.figures.datagrams_ignored.inc();
            return;
        };
        if let Err(error) = sender.handle_datagram(now, *from, *own, header, body) {
            trace!(%error, "datagram ignored");
            context.figures.datagrams_ignored.inc();
        }
    }

    fn publish_datagram(
        &mut self,
        now: Instant,
        request: RequestId,
        datagram: &ReceivedDatagram,
        publish: &Publish<'_>,
        context: &WorkerContext,
    ) {
        let &ReceivedDatagram { from: peer, own, ref header, .. } = datagram;
        let client = ClientId::from(publish.sender);
        let client_seq = ClientSeq(header.seq.0);
        let cookie = context.cookies.of(peer);
        let mut answer = |outcome| {
            let puback = Puback { client, client_seq, cookie, outcome };
            self.outlet.send_puback(now, peer, own, Seq::ZERO, &puback);
        };
        let config = &self.config;
        if config.lane != GroupLane::Proto {
            // A group whose lease lapsed gets an address again, so its publisher should retry.
            let passes = config.lapsed && !config.private;
            return answer(if passes { PublishOutcome::Unavailable } else { PublishOutcome::Refused });
        }
        if !context.cookies.proves(peer, publish.cookie) {
            return answer(PublishOutcome::NeedsCookie);
        }
        let content_type = ContentType::from_byte(publish.content_type);
        // Whoever hides messages has to prove a role, and a datagram proves nothing.
        if content_type == ContentType::Moderate {
            return answer(PublishOutcome::Refused);
        }
        let entry = PublishEntry { client_seq, content_type, payload: Bytes::copy_from_slice(publish.payload) };
        let device = if context.believes_devices { publish.device } else { DeviceId::NONE };
        let Ok(batch) = PublishBatch::new(device, client, vec![entry]) else {
            return answer(PublishOutcome::Refused);
        };
        // The cookie has proven the address.
        let origin = RequestOrigin { peer: Some((*peer.ip()).into()), session: None };
        let batch = batch.claimed_by(context.claims.claimant(None, origin));
        let puback = Puback { client, client_seq, cookie, outcome: PublishOutcome::Logged };
        self.replies.insert(request, RequestReply::Udp { peer, own, puback });
        self.sequencer.handle_publish(crate::clock::sent_at(), request, &batch);
    }

    /// Takes the outcome of the append of the oldest `runs` runs that were handed out.
    pub(super) fn handle_appended(&mut self, now: Instant, runs: usize, durable: bool, figures: &RelayFigures) {
        if durable {
            (0..runs).for_each(|_| self.sequencer.handle_appended(true));
        } else {
            figures.append_failures.inc();
            self.sequencer.handle_appended(false);
        }
        self.handle_events(now, figures);
    }

    pub(super) fn handle_events(&mut self, now: Instant, figures: &RelayFigures) {
        while let Some(event) = self.sequencer.poll_event() {
            match event {
                SequencerEvent::Durable(run) => {
                    figures.runs.inc();
                    figures.messages.inc_by(run.count().into());
                    figures.message_payload_bytes.inc_by(run.block().payload_bytes() as u64);
                    self.outlet.handle_run(now, &run);
                    self.feed.push(run);
                }
                SequencerEvent::Acked { request, acks } => self.answer(now, request, Ok(acks)),
                SequencerEvent::Refused { request, reason } => {
                    figures.publish_refused.inc();
                    self.answer(now, request, Err(reason));
                }
            }
        }
    }

    /// Takes the runs that may be appended now.
    pub(super) fn take_appends(&mut self) -> Vec<Append> {
        let runs = std::iter::from_fn(|| self.sequencer.poll_append());
        runs.map(|new| Append { run: new.run, snapshot: new.snapshot }).collect()
    }

    /// Passes all datagrams that are due to `send`, and updates metrics and rosters.
    pub(super) fn flush(&mut self, now: Instant, figures: &RelayFigures, send: impl FnMut(Transmit)) {
        self.exhausted |= self.outlet.flush(now, figures, send);
        self.counted.count(now, self.outlet.audience_mut(), figures);
        self.rosters.update(now, self.outlet.audience(), self.outlet.sent(), &self.feed);
    }

    /// Returns when the group has something to do even if nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.outlet.poll_timeout(), self.rosters.due()].into_iter().flatten().min()
    }

    /// Whether this opening has failed, so that the keeper must open the group again.
    pub(super) fn is_over(&self) -> bool {
        self.sequencer.has_failed() || self.exhausted
    }

    pub(super) fn expire_clients(&mut self, now_unix_ms: i64, set_forward_ms: i64) {
        self.sequencer.expire_clients(now_unix_ms, set_forward_ms);
    }

    pub(super) fn window_bytes(&self) -> usize {
        self.sequencer.windows().bytes()
    }

    /// Limits the bytes of the group's client windows, evicting clients if they have more.
    pub(super) fn limit_windows(&mut self, limit_bytes: usize, figures: &RelayFigures) {
        self.sequencer.limit_windows(limit_bytes);
        let forgotten = self.sequencer.windows().forgotten();
        let before = std::mem::replace(&mut self.clients_forgotten, forgotten);
        figures.clients_forgotten.inc_by(forgotten - before);
    }

    /// Refuses every request under way, when the opening ends.
    pub(super) fn abandon(&mut self, figures: &RelayFigures) {
        self.counted.leave(figures);
        for (_, reply) in self.replies.drain() {
            match reply {
                RequestReply::Grpc(reply) => reply.send(Err(RefuseReason::Unavailable)),
                // A UDP publisher retransmits by itself, and then meets the next opening.
                RequestReply::Udp { .. } => {}
            }
        }
    }

    fn answer(&mut self, now: Instant, request: RequestId, outcome: Result<Vec<AckRange>, RefuseReason>) {
        match self.replies.remove(&request) {
            Some(RequestReply::Grpc(reply)) => reply.send(outcome),
            Some(RequestReply::Udp { peer, own, puback }) => {
                let seq = outcome.as_ref().ok().and_then(|acks| acks.first()).map_or(Seq::ZERO, |ack| ack.first_seq);
                let puback = Puback { outcome: outcome_of(&outcome), ..puback };
                self.outlet.send_puback(now, peer, own, seq, &puback);
            }
            None => {}
        }
    }
}

fn outcome_of(outcome: &Result<Vec<AckRange>, RefuseReason>) -> PublishOutcome {
    match outcome {
        Ok(_) => PublishOutcome::Logged,
        Err(RefuseReason::OutOfWindow(_)) => PublishOutcome::OutOfWindow,
        Err(RefuseReason::OtherPublisher) => PublishOutcome::OtherPublisher,
        Err(RefuseReason::Busy | RefuseReason::Unavailable) => PublishOutcome::Unavailable,
    }
}
