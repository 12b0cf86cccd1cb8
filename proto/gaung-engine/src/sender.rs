//! The relay's side of one group's multicast: packs, sends once, repairs, keeps the heartbeat (RFC 5740, RFC 5401).

mod activity;
mod config;
mod confirm;
mod cookie;
mod heartbeat;
mod limits;
mod member;
mod members;
mod migration;
mod numbers;
mod outgoing;
mod packing;
mod peer;
mod rate;
mod receipts;
mod repair;
mod repair_server;
mod requests;
mod roster;
mod window;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    Epoch, Generation, GroupAddr, GroupTag, Pkt, SenderId, Seq,
    body::{Data, Heartbeat, Migrate, Parity},
    datagram::{Fragment, Header, MAX_PADDING, PacketType, flags},
    run::Run,
};

#[cfg(feature = "sabotage")]
use crate::sabotage::Sabotage;
use crate::{
    parity::{BLOCK, SHARDS, pkt_at},
    timing::TIMING,
    transmit::{Destination, Transmit},
};

use self::{
    activity::GroupActivity,
    heartbeat::HeartbeatSchedule,
    migration::{GroupAddress, GroupEndpoint, MoveStep},
    numbers::PktNumbers,
    outgoing::{SendQueues, SentPosition},
    packing::{PackedBody, Packer},
    peer::{PeerAddr, RepairTarget},
    repair_server::{DueRepair, RepairServer},
    window::SentData,
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

/// Multicasts one group in one epoch and repairs what members miss.
///
/// Inputs: [`handle_run`](Self::handle_run) with each durable run, dense from head + 1, and [`flush`](Self::flush) once
/// the batch is in; [`handle_datagram`](Self::handle_datagram) with what arrived for this group's tag;
/// [`handle_timeout`](Self::handle_timeout) at or after [`poll_timeout`](Self::poll_timeout). After each, drain
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct RelaySender {
    config: SenderConfig,
    address: GroupAddress,
    numbers: PktNumbers,
    started: Instant,
    epoch_start: Seq,
    head: Seq,
    packer: Packer,
    /// When the oldest message of the packer came.
    packing_since: Option<Instant>,
    repairs: RepairServer,
    members: Members,
    /// Greatest round trip of the members present.
    grtt: Duration,
    heartbeat: HeartbeatSchedule,
    activity: GroupActivity,
    outgoing: SendQueues,
    skipped_at: Option<Instant>,
    events: VecDeque<SenderEvent>,
    stats: SenderStats,
}

/// Events kept for a driver that does not drain them; older ones are dropped.
const MAX_EVENTS: usize = 1024;

impl RelaySender {
    /// Starts an epoch; a heartbeat is due at once.
    #[must_use]
    pub fn new(config: SenderConfig, now: Instant) -> Self {
        Self {
            address: GroupAddress::new(&config, now),
            numbers: PktNumbers::new(),
            started: now,
            epoch_start: config.head.next(),
            head: config.head,
            packer: Packer::default(),
            packing_since: None,
            repairs: RepairServer::new(config.repair_bytes, config.repair_shares.clone(), now),
            members: Members::default(),
            grtt: TIMING.grtt_initial,
            heartbeat: HeartbeatSchedule::new(now),
            // Of a log's first epoch nobody knows yet; to a later one members come from the one before.
            activity: GroupActivity::new(now, config.epoch > Epoch(1)),
            outgoing: SendQueues::new(config.rate, config.head, now),
            skipped_at: None,
            events: VecDeque::new(),
            stats: SenderStats::default(),
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
        if self.packer.is_empty() && !self.activity.is_heard(now) {
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

    /// Sends what is due; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.outgoing.handle_time(now);
        self.review_rate(now);
        if self.packing_since.is_some_and(|since| since + TIMING.packing_max <= now) {
            self.flush(now);
        }
        for repair in self.repairs.take_due(now, self.grtt, &mut self.stats) {
            self.send_repair(now, repair);
        }
        let step = self.address.work(now);
        self.perform_move(now, step);
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
        self.events.pop_front().or_else(|| self.numbers.take_exhausted().then_some(SenderEvent::EpochExhausted))
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), and why.
    #[must_use]
    pub fn poll_timeout(&self) -> (Instant, WakeReason) {
        let pack = self.packing_since.map(|since| (since + TIMING.packing_max, WakeReason::Pack));
        let repair = self.repairs.next_due().map(|at| (at, WakeReason::Repair));
        let rate = self.outgoing.opens_at().map(|at| (at, WakeReason::Rate));
        let departure = self.address.due().map(|at| (at, WakeReason::Move));
        let first = [pack, repair, rate, departure].into_iter().flatten().min_by_key(|&(at, _)| at);
        let heartbeat = (self.heartbeat.next(), WakeReason::Heartbeat);
        first.filter(|&(at, _)| at <= heartbeat.0).unwrap_or(heartbeat)
    }

    /// Sets the first seq that the log still has, which heartbeats carry.
    pub fn set_oldest_logged(&mut self, oldest: Seq) {
        self.config.oldest_logged = oldest;
    }

    /// Makes DATA bodies at most so long from the next message on, where an interface cannot carry longer datagrams; `bytes` above
    /// [`MAX_DATA_BODY`](gaung_proto::limits::MAX_DATA_BODY) is that. What was sent before is repaired as it was, or read
    /// from the log.
    pub fn set_data_body(&mut self, bytes: usize) {
        self.packer.set_limit(bytes);
    }

    /// Sets how many groups share the relay's heartbeats: the more there are, the longer is the interval of those
    /// without listeners, 2 to 60 s.
    pub fn set_groups(&mut self, groups: usize) {
        self.heartbeat.set_groups(groups);
    }

    /// Moves the group to another address in the same log and epoch, so that earlier messages can still be repaired.
    /// The group leaves after a tenth of a second, in which MIGRATE is sent; at once if it has no address now.
    pub fn handle_move(&mut self, now: Instant, addr: GroupAddr, ttl: u8, generation: Generation) {
        self.outgoing.handle_time(now);
        let step = self.address.begin_move(now, addr, ttl, generation);
        self.perform_move(now, step);
    }

    /// Stops multicast because the group lost its address and has no other yet. What is logged meanwhile is kept for
    /// repairs, and members that send NAKs are answered one by one.
    pub fn handle_lapse(&mut self, now: Instant) {
        self.outgoing.handle_time(now);
        self.address.lapse();
        self.stats.data_skipped += self.outgoing.drop_multicast() as u64;
    }

    /// Whether a datagram with this tag is for this sender: the group's own, or one of its former addresses'.
    #[must_use]
    pub fn is_addressed(&self, tag: GroupTag) -> bool {
        tag == self.address.tag() || self.address.is_former(tag)
    }

    /// Returns the tag of this group's datagrams.
    #[must_use]
    pub const fn tag(&self) -> GroupTag {
        self.address.tag()
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
        self.repairs.bytes()
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.repairs.sabotage(sabotage);
    }

    fn send_data(&mut self, now: Instant, packed: PackedBody<'_>) {
        let PackedBody { first, last, fragment, bytes, lacking } = packed;
        let Some(pkt) = self.numbers.data() else { return self.skip_to(now, last) };
        let header = Header { fragment, ..self.header(now, PacketType::Data, pkt, first) };
        // A nearly full datagram is made as long as a full one.
        let padding = if self.config.pads && lacking <= MAX_PADDING { lacking } else { 0 };
        let datagram = header.encode_padded(bytes, padding);
        self.stats.data += 1;
        self.stats.data_bytes += datagram.len() as u64;
        let is_last = fragment.index + 1 == fragment.count;
        let sent = SentPosition { seq: if is_last { last } else { Seq(first.0 - 1) }, pkt };
        let transmit = self.to_group(datagram.clone());
        let has_left = transmit.is_some();
        let has_room = match transmit {
            Some(transmit) => self.outgoing.push_data(transmit, sent),
            None => {
                self.stats.data_skipped += 1;
                self.outgoing.pass(sent)
            }
        };
        let body_bytes = bytes.len();
        let kept = SentData { first, last, fragment, pkt, datagram, body_bytes, sent_at: now, repaired: None };
        self.repairs.handle_sent(now, self.grtt, kept, has_left);
        self.heartbeat.restart(now);
        if !has_room {
            self.skip_to(now, last);
        }
    }

    /// Drops queued data: members read the log up to `seq`.
    fn skip_to(&mut self, now: Instant, seq: Seq) {
        let skipped = self.outgoing.skip_data(SentPosition { seq, pkt: self.numbers.last_data() });
        self.stats.data_skipped += skipped as u64;
        self.skipped_at = (skipped > 0).then_some(now).or(self.skipped_at);
        self.repairs.clear();
        self.heartbeat.hasten(now);
    }

    /// Passes over a run without packing it, because nobody listens.
    fn pass_over(&mut self, now: Instant, run: &Run) {
        self.stats.messages_unheard += u64::from(run.count());
        self.head = run.last_seq();
        let skipped = self.outgoing.skip_data(SentPosition { seq: self.head, pkt: self.numbers.last_data() });
        self.stats.data_skipped += skipped as u64;
        self.repairs.clear();
        self.heartbeat.restart(now);
    }

    /// Whether heartbeats are sent as often as members expect them.
    fn is_awake(&self, now: Instant) -> bool {
        self.activity.is_recent(now) || self.activity.is_heard(now) || self.address.is_moving()
    }

    /// Restarts heartbeats because something happens in the group.
    fn wake(&mut self, now: Instant) {
        if !self.is_awake(now) {
            self.heartbeat.hasten(now);
        }
        self.activity.handle_activity(now);
    }

    fn review_rate(&mut self, now: Instant) {
        if self.outgoing.next_period() <= now {
            let mut losses = self.members.losses();
            // Members cannot tell what was lost from what never left.
            if self.skipped_at.is_some_and(|at| now.saturating_duration_since(at) < TIMING.skip_echo) {
                losses.clear();
            }
            self.outgoing.end_period(now, &mut losses);
        }
    }

    fn send_repair(&mut self, now: Instant, repair: DueRepair) {
        let Some(pkt) = self.numbers.other() else { return };
        let (payload, to) = match repair {
            DueRepair::Again { pkt: original, seq, fragment, body: bytes, to } => {
                let mut body = BytesMut::with_capacity(4 + bytes.len());
                Data { original: Some(original), bytes: &bytes }.write(&mut body);
                let header = self.header(now, PacketType::Data, pkt, seq);
                match to {
                    RepairTarget::Group => self.stats.repairs_multicast += 1,
                    RepairTarget::Peer(_) => self.stats.repairs_unicast += 1,
                }
                (Header { flags: flags::REPAIR, fragment, ..header }.encode(&body), to)
            }
            DueRepair::Shard { block, index, shard } => {
                let mut body = BytesMut::with_capacity(8 + shard.len());
                let parity = Parity { first_pkt: pkt_at(block, 0), k: BLOCK, r: SHARDS, index, shard: &shard };
                parity.write(&mut body);
                self.stats.parity += 1;
                (self.header(now, PacketType::Parity, pkt, Seq::ZERO).encode(&body), RepairTarget::Group)
            }
        };
        let transmit = match to {
            RepairTarget::Group => self.to_group(payload),
            RepairTarget::Peer(peer) => Some(self.to_peer(peer, payload)),
        };
        let is_queued = transmit.is_some_and(|transmit| self.outgoing.push_repair(transmit));
        self.stats.repairs_withheld += u64::from(!is_queued);
    }

    /// Performs a step of a move. What waits in the queues goes to the new address too.
    fn perform_move(&mut self, now: Instant, step: MoveStep) {
        if let Some(to) = step.arrived {
            self.activity.handle_activity(now);
            self.outgoing.redirect(to.addr.socket_addr(), to.ttl, to.tag);
            self.heartbeat.restart_at_once(now);
        }
        if let Some((from, to)) = step.notice
            && let Some(payload) = self.migrate(now, from.tag, to)
        {
            let destination = Destination::Multicast(from.addr.socket_addr());
            self.outgoing.push_answer(Transmit { destination, payload, ttl: from.ttl });
        }
    }

    /// Makes a MIGRATE for members that know the group by `tag`.
    fn migrate(&mut self, now: Instant, tag: GroupTag, to: GroupEndpoint) -> Option<Bytes> {
        let header = self.next_header(now, PacketType::Migrate, Seq::ZERO)?;
        let mut body = BytesMut::new();
        let (group, log) = (self.config.group, self.config.log);
        Migrate { group, log, generation: to.generation, to: to.addr }.write(&mut body);
        self.stats.moves_told += 1;
        Some(Header { tag, ..header }.encode(&body))
    }

    fn send_heartbeat(&mut self, now: Instant) {
        self.heartbeat.sent(now, self.grtt);
        let Some(GroupEndpoint { generation, .. }) = self.address.endpoint() else { return };
        let left = self.outgoing.left();
        let Some(header) = self.next_header(now, PacketType::Heartbeat, left.seq) else { return };
        let none = left.seq.next();
        let heartbeat = Heartbeat {
            group: self.config.group,
            log: self.config.log,
            oldest_repairable: self.repairs.oldest().unwrap_or(none).min(none),
            oldest_logged: self.config.oldest_logged.min(none),
            epoch_start: self.epoch_start,
            last_pkt: left.pkt,
            grtt_us: self.grtt.as_micros() as u32,
            group_size: self.members.present().count() as u32,
            generation,
        };
        let mut body = BytesMut::new();
        heartbeat.write(&mut body);
        self.stats.heartbeats += 1;
        self.announce(header.encode(&body));
    }

    /// Makes the header of the next datagram that is not first-sent DATA; `None` once the epoch's numbers are used up.
    fn next_header(&mut self, now: Instant, packet_type: PacketType, seq: Seq) -> Option<Header> {
        let pkt = self.numbers.other()?;
        Some(self.header(now, packet_type, pkt, seq))
    }

    fn header(&self, now: Instant, packet_type: PacketType, pkt: Pkt, seq: Seq) -> Header {
        Header {
            packet_type,
            flags: 0,
            tag: self.address.tag(),
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
        let GroupEndpoint { addr, ttl, .. } = self.address.endpoint()?;
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

    /// Sends to the group at once, if it has an address.
    fn announce(&mut self, payload: Bytes) {
        self.to_group(payload).into_iter().for_each(|transmit| self.outgoing.push_answer(transmit));
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
