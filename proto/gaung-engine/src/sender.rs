//! The relay's side of one group's multicast: packs, sends once, repairs, keeps the heartbeat (RFC 5740, RFC 5401).

mod config;
mod confirm;
mod cookie;
mod heartbeat;
mod limits;
mod member;
mod members;
mod migration;
mod outgoing;
mod pacing;
mod packing;
mod peer;
mod rate;
mod receipts;
mod repair;
mod roster;
mod serving;
mod window;

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    DecodeError, Epoch, GroupTag, Pkt, SenderId, Seq,
    body::{Heartbeat, Nak, Probe, Puback, Status},
    datagram::{Fragment, Header, MAX_PADDING, PacketType, flags},
    limits::MAX_DATA_BODY,
    run::Run,
};

use crate::{
    parity::{BLOCK, bit_of, block_of},
    sabotage::Sabotage,
    timing::TIMING,
    transmit::{Destination, Transmit},
};

pub use self::{
    config::{DEFAULT_REPAIR_BYTES, SenderConfig, SenderEvent, SenderStats, WakeReason},
    cookie::Cookies,
    limits::RepairShares,
    member::{MemberLane, MemberState},
    members::{Members, ReportingHub, SessionReport, StatusOutcome, StatusSample},
    rate::Rate,
    receipts::Receipt,
    roster::Roster,
};
use self::{
    heartbeat::HeartbeatSchedule,
    limits::RequestLimits,
    members::round_trip,
    migration::{AddressMove, GroupEndpoint},
    outgoing::SendQueues,
    packing::{PackedBody, Packer},
    peer::PeerAddr,
    repair::{RepairPlan, RepairQueue},
    serving::ParityCache,
    window::{RepairWindow, SentData},
};

/// Multicasts one group in one epoch and repairs what members miss.
///
/// Inputs: [`handle_run`](Self::handle_run) with each durable run, dense from head + 1, and [`flush`](Self::flush) once
/// the batch is in; [`handle_datagram`](Self::handle_datagram) with what arrived for this group's tag;
/// [`handle_timeout`](Self::handle_timeout) at or after [`poll_timeout`](Self::poll_timeout). After each, drain
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct RelaySender {
    config: SenderConfig,
    /// Where its datagrams go; `None` while it has no address.
    endpoint: Option<GroupEndpoint>,
    departure: Option<AddressMove>,
    tag: GroupTag,
    /// The tags of its former addresses.
    former: Vec<GroupTag>,
    started: Instant,
    epoch_start: Seq,
    head: Seq,
    next_data: u32,
    next_other: u32,
    exhausted: bool,
    packer: Packer,
    /// The longest DATA body that is sent, bytes.
    data_body: usize,
    /// When the oldest message of the packer came.
    packing_since: Option<Instant>,
    window: RepairWindow,
    repairs: RepairQueue,
    /// Repairs that are about to be sent.
    due: Vec<RepairPlan>,
    parity: ParityCache,
    limits: RequestLimits,
    members: Members,
    /// Greatest round trip of the members present.
    grtt: Duration,
    /// The round trip that the last heartbeat advertised.
    advertised_grtt: Duration,
    heartbeat: HeartbeatSchedule,
    outgoing: SendQueues,
    /// When the last STATUS or PROBE came; at first the beginning, unless the log is new.
    last_heard: Option<Instant>,
    /// When the last run, STATUS, PROBE or move came; at first the beginning.
    last_activity: Instant,
    skipped_at: Option<Instant>,
    events: VecDeque<SenderEvent>,
    stats: SenderStats,
    /// Counts requests for what others had requested already, modulo 2³².
    requests_joined: u32,
    sabotage: Sabotage,
}

/// Events kept for a driver that does not drain them; older ones are dropped.
const MAX_EVENTS: usize = 1024;

impl RelaySender {
    /// Starts an epoch; a heartbeat is due at once.
    #[must_use]
    pub fn new(config: SenderConfig, now: Instant) -> Self {
        let SenderConfig { group, log, generation, addr, ttl, .. } = config;
        let tag = GroupTag::of(group, generation, log);
        Self {
            endpoint: Some(GroupEndpoint { addr, ttl, generation, tag }),
            departure: None,
            tag,
            former: GroupTag::former(group, generation, log).collect(),
            started: now,
            epoch_start: config.head.next(),
            head: config.head,
            next_data: Pkt::FIRST_DATA.0,
            next_other: Pkt::FIRST_OTHER.0,
            exhausted: false,
            packer: Packer::default(),
            data_body: MAX_DATA_BODY,
            packing_since: None,
            window: RepairWindow::new(config.repair_bytes),
            repairs: RepairQueue::default(),
            due: Vec::new(),
            parity: ParityCache::default(),
            limits: RequestLimits::new(now, config.repair_shares.clone()),
            members: Members::default(),
            grtt: TIMING.grtt_initial,
            advertised_grtt: Duration::ZERO,
            heartbeat: HeartbeatSchedule::new(now),
            outgoing: SendQueues::new(config.rate, config.head, now),
            // Of a log's first epoch nobody knows yet; to a later one members come from the one before.
            last_heard: (config.epoch > Epoch(1)).then_some(now),
            last_activity: now,
            skipped_at: None,
            events: VecDeque::new(),
            stats: SenderStats::default(),
            requests_joined: 0,
            sabotage: Sabotage::default(),
            config,
        }
    }

    /// Sends a durable run. Full datagrams leave; the rest waits for [`flush`](Self::flush).
    ///
    /// # Panics
    /// If the run does not follow the last one.
    pub fn handle_run(&mut self, now: Instant, run: &Run) {
        assert_eq!(run.first_seq(), self.head.next(), "runs come dense and in order");
        self.outgoing.handle_time(now);
        self.expire_members(now);
        self.wake(now);
        if self.packer.is_empty() && !self.is_heard(now) {
            return self.pass_over(now, run);
        }
        let mut packer = std::mem::take(&mut self.packer);
        for (seq, message) in (run.first_seq().0..).map(Seq).zip(run.block().messages()) {
            packer.push(seq, &message, &mut |packed| self.send_data(now, packed));
        }
        self.packing_since = if packer.is_empty() { None } else { self.packing_since.or(Some(now)) };
        self.packer = packer;
        self.head = run.last_seq();
    }

    /// Sends what waits for a datagram to fill.
    pub fn flush(&mut self, now: Instant) {
        self.outgoing.handle_time(now);
        let mut packer = std::mem::take(&mut self.packer);
        packer.flush(&mut |packed| self.send_data(now, packed));
        self.packer = packer;
        self.packing_since = None;
    }

    /// Takes a datagram that [`is_addressed`](Self::is_addressed) to this sender. `own`: the address that it was sent to, for the answer.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not what the header says: drop it.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        own: Option<Ipv4Addr>,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let peer = PeerAddr { addr: from, own };
        self.outgoing.handle_time(now);
        if header.tag != self.tag {
            return self.handle_former(now, peer, header, body);
        }
        match header.packet_type {
            PacketType::Nak => self.handle_nak(now, peer, header, &Nak::decode(body)?),
            PacketType::Status => self.handle_status(now, peer, header, &Status::decode(body)?),
            PacketType::Probe if !header.has(flags::RESPONSE) => self.handle_probe(now, peer, &Probe::decode(body)?),
            PacketType::Data
            | PacketType::Heartbeat
            | PacketType::Ncf
            | PacketType::Parity
            | PacketType::Probe
            | PacketType::Migrate
            | PacketType::Publish
            | PacketType::Puback
            | PacketType::Broadcast => self.stats.ignored += 1,
        }
        Ok(())
    }

    /// Answers a PUBLISH, which is decided elsewhere. `seq`: the message's, [`Seq::ZERO`] unless logged.
    pub fn send_puback(&mut self, now: Instant, peer: SocketAddrV4, own: Option<Ipv4Addr>, seq: Seq, puback: &Puback) {
        self.outgoing.handle_time(now);
        let Some(pkt) = self.other_pkt() else { return };
        let mut body = BytesMut::new();
        puback.write(&mut body);
        let payload = self.header(now, PacketType::Puback, pkt, seq).encode(&body);
        self.answer(PeerAddr { addr: peer, own }, payload);
    }

    /// Sends what is due; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.outgoing.handle_time(now);
        self.review_rate(now);
        if self.packing_since.is_some_and(|since| since + TIMING.packing_max <= now) {
            self.flush(now);
        }
        self.serve_due(now);
        self.work_departure(now);
        if self.heartbeat.next() <= now {
            if self.is_awake(now) || self.heartbeat.has_rested(now) {
                self.send_heartbeat(now);
            }
            self.expire_members(now);
            if !self.is_awake(now) {
                self.heartbeat.rest(now, self.members.next_expiry());
            }
            self.grtt = self.members.grtt();
        }
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.poll()
    }

    /// Returns the next event, oldest first.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> (Instant, WakeReason) {
        let pack = self.packing_since.map(|since| (since + TIMING.packing_max, WakeReason::Pack));
        let repair = self.repairs.next_due().map(|at| (at, WakeReason::Repair));
        let rate = self.outgoing.opens_at().map(|at| (at, WakeReason::Rate));
        let departure = self.departure_due().map(|at| (at, WakeReason::Move));
        let first = [pack, repair, rate, departure].into_iter().flatten().min_by_key(|&(at, _)| at);
        let heartbeat = (self.heartbeat.next(), WakeReason::Heartbeat);
        first.filter(|&(at, _)| at <= heartbeat.0).unwrap_or(heartbeat)
    }

    /// Sets the first seq that the log still has, which heartbeats carry.
    pub fn set_oldest_logged(&mut self, oldest: Seq) {
        self.config.oldest_logged = oldest;
    }

    /// Returns the tag of this group's datagrams.
    #[must_use]
    pub const fn tag(&self) -> GroupTag {
        self.tag
    }

    /// Members heard by multicast within [`Timing::presence`](crate::Timing::presence).
    pub fn members(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.members.present()
    }

    /// Returns how fast datagrams may leave now.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.outgoing.rate()
    }

    /// Returns the counts since the beginning of the epoch.
    #[must_use]
    pub const fn stats(&self) -> SenderStats {
        self.stats
    }

    /// Returns the bytes that are kept for repairs.
    #[must_use]
    pub const fn repair_bytes(&self) -> usize {
        self.window.bytes()
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    fn handle_status(&mut self, now: Instant, peer: PeerAddr, header: &Header, status: &Status) {
        let proven = self.config.cookies.proves(peer.addr, status.cookie);
        if header.epoch != self.config.epoch || !proven {
            self.stats.ignored += 1;
            return;
        }
        self.stats.statuses += 1;
        self.handle_listener(now);
        let round_trip = round_trip(self.ts_us(now), status);
        let heard = self.members.handle_status(now, self.head, peer.addr, header.seq, status, round_trip);
        self.grtt = self.members.grtt();
        if self.grtt * 2 < self.advertised_grtt || self.advertised_grtt * 2 < self.grtt {
            self.heartbeat.hasten(now);
        }
        let delivered = SenderEvent::Delivered { member: status.sender, upto: header.seq.min(self.head) };
        match heard {
            StatusOutcome::Joined => {
                self.emit(SenderEvent::MemberJoined(status.sender));
                self.emit(delivered);
            }
            StatusOutcome::Progressed => self.emit(delivered),
            StatusOutcome::Unchanged => {}
            StatusOutcome::NoRoom => self.stats.ignored += 1,
        }
    }

    fn handle_probe(&mut self, now: Instant, peer: PeerAddr, probe: &Probe) {
        self.answer_probe(now, peer, self.tag, probe);
        self.handle_listener(now);
        self.heartbeat.hasten(now);
    }

    /// Answers a PROBE under the tag that it used.
    fn answer_probe(&mut self, now: Instant, peer: PeerAddr, tag: GroupTag, probe: &Probe) {
        let answer = Probe { cookie: self.config.cookies.of(peer.addr), ..*probe };
        let Some(pkt) = self.other_pkt() else { return };
        let mut body = BytesMut::new();
        answer.write(&mut body);
        let header = Header { flags: flags::RESPONSE, tag, ..self.header(now, PacketType::Probe, pkt, self.head) };
        let payload = header.encode(&body);
        self.answer(peer, payload);
    }

    fn send_data(&mut self, now: Instant, packed: PackedBody<'_>) {
        let Some(pkt) = self.data_pkt() else {
            self.skip_to(now, packed.last, Pkt(self.next_data - 1));
            return;
        };
        let header = Header { fragment: packed.fragment, ..self.header(now, PacketType::Data, pkt, packed.first) };
        let datagram = header.encode_padded(packed.bytes, self.padding(&packed));
        self.stats.data += 1;
        self.stats.data_bytes += datagram.len() as u64;
        let PackedBody { first, last, fragment, bytes, .. } = packed;
        let is_last = fragment.index + 1 == fragment.count;
        let sent = outgoing::SentPosition { seq: if is_last { last } else { Seq(first.0 - 1) }, pkt };
        let has_room = match self.to_group(datagram.clone()) {
            Some(transmit) => {
                self.limits.count_data(now);
                self.outgoing.push_data(transmit, sent)
            }
            None => {
                self.stats.data_skipped += 1;
                self.outgoing.pass(sent)
            }
        };
        let body_bytes = bytes.len();
        self.window.push(SentData { first, last, fragment, pkt, datagram, body_bytes, sent_at: now, repaired: None });
        if bit_of(pkt) == 1 << (BLOCK - 1) {
            self.repairs.handle_closed(block_of(pkt), now + self.gather_wait());
        }
        self.heartbeat.restart(now);
        if !has_room {
            self.skip_to(now, last, pkt);
        }
    }

    /// Returns the padding that makes a nearly full datagram as long as a full one.
    fn padding(&self, packed: &PackedBody<'_>) -> usize {
        let lacking = self.data_body.saturating_sub(packed.bytes.len());
        if self.config.pads && packed.is_full && lacking <= MAX_PADDING { lacking } else { 0 }
    }

    fn send_heartbeat(&mut self, now: Instant) {
        self.heartbeat.sent(now);
        self.advertised_grtt = self.grtt;
        let Some(GroupEndpoint { generation, .. }) = self.endpoint else { return };
        let Some(pkt) = self.other_pkt() else { return };
        let left = self.outgoing.left();
        let none = left.seq.next();
        let heartbeat = Heartbeat {
            group: self.config.group,
            log: self.config.log,
            oldest_repairable: self.window.oldest().unwrap_or(none).min(none),
            oldest_logged: self.config.oldest_logged.min(none),
            epoch_start: self.epoch_start,
            last_pkt: left.pkt,
            grtt_us: self.advertised_grtt.as_micros() as u32,
            group_size: self.members.present().count() as u32,
            generation,
        };
        let mut body = BytesMut::new();
        heartbeat.write(&mut body);
        self.stats.heartbeats += 1;
        let heartbeat = self.header(now, PacketType::Heartbeat, pkt, left.seq).encode(&body);
        self.to_group(heartbeat).into_iter().for_each(|heartbeat| self.outgoing.push_answer(heartbeat));
    }

    fn header(&self, now: Instant, packet_type: PacketType, pkt: Pkt, seq: Seq) -> Header {
        Header {
            packet_type,
            flags: 0,
            tag: self.tag,
            epoch: self.config.epoch,
            pkt,
            seq,
            fragment: Fragment::WHOLE,
            ts_us: self.ts_us(now),
        }
    }

    fn ts_us(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_micros() as u32
    }

    /// Addresses a payload to the group; `None` while it has no address.
    fn to_group(&self, payload: Bytes) -> Option<Transmit> {
        let GroupEndpoint { addr, ttl, .. } = self.endpoint?;
        Some(Transmit { destination: Destination::Multicast(addr.socket_addr()), payload, ttl })
    }

    fn to_peer(&self, PeerAddr { addr, own }: PeerAddr, payload: Bytes) -> Transmit {
        let destination = Destination::Unicast { peer: addr, from: own };
        Transmit { destination, payload, ttl: self.config.ttl }
    }

    fn answer(&mut self, peer: PeerAddr, payload: Bytes) {
        let answer = self.to_peer(peer, payload);
        self.outgoing.push_answer(answer);
    }

    fn data_pkt(&mut self) -> Option<Pkt> {
        if self.exhausted || self.next_data >= Pkt::FIRST_OTHER.0 {
            self.exhaust();
            return None;
        }
        let pkt = Pkt(self.next_data);
        self.next_data += 1;
        Some(pkt)
    }

    fn other_pkt(&mut self) -> Option<Pkt> {
        let Some(next) = self.next_other.checked_add(1) else {
            self.exhaust();
            return None;
        };
        let pkt = Pkt(self.next_other);
        self.next_other = next;
        Some(pkt)
    }

    fn exhaust(&mut self) {
        if !self.exhausted {
            self.exhausted = true;
            self.window.clear();
            self.emit(SenderEvent::EpochExhausted);
        }
    }

    fn emit(&mut self, event: SenderEvent) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests;
