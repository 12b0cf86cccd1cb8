//! The member's side of one group: orders what comes by any lane, asks for what is missing, delivers each message once
//! (RFC 5740, RFC 5401).

mod announced;
mod asks;
mod backoff;
mod blocks;
mod broadcast;
mod data;
mod gaps;
mod lane;
mod moving;
mod reassembly;
mod reception;
mod report;
mod spans;
mod types;
mod window;

use std::{
    collections::VecDeque,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{
    DecodeError, GroupTag, LogId, Pkt, Seq, SeqRange,
    body::{Heartbeat, Migrate, Ncf, Parity, Probe},
    datagram::{Header, PacketType, flags},
    net::Lane,
    run::Run,
};
use rand::{SeedableRng as _, rngs::SmallRng};

use self::{
    announced::Announced,
    blocks::Blocks,
    data::Carried,
    gaps::{Gaps, Ways},
    lane::{LaneHealth, LaneMove},
    moving::Moving,
    reassembly::Reassembly,
    reception::Reception,
    report::Reporter,
    spans::Pkts,
    window::{MAX_HELD_BYTES, PLACES, Window},
};
pub use self::{
    broadcast::{BroadcastHeard, BroadcastReceiver},
    gaps::MAX_NAK_GAP,
    lane::{LanePolicy, LaneTrouble},
    moving::Hearing,
    types::{HistoryEnd, OtherLog, ReceiverConfig, ReceiverEvent, ReceiverStats, Via},
};
use crate::{sabotage::Sabotage, timing, transmit::Transmit};

/// More members than this change no wait any more.
const MAX_GROUP_SIZE: u32 = 1_000_000;
/// Held bytes up to which runs are taken.
const RUNS_BELOW: usize = 512 * 1024;
/// What one receiver holds at most, bytes: the window, a run or message that just found its place, fragments, and blocks
/// that parity may complete, whose bodies share the memory of the others as long as those are held.
pub const MAX_RECEIVER_BYTES: usize = MAX_HELD_BYTES + reassembly::MAX_BYTES + blocks::MAX_BYTES + 1024 * 1024;
/// Events kept for a driver that does not drain them; later ones are dropped, but for those that ask for something.
const MAX_EVENTS: usize = 256;
/// Datagrams kept for a driver that does not drain them; later ones are dropped, and sent again by their timers.
const MAX_TRANSMITS: usize = 64;

/// Receives one group.
///
/// Inputs: [`handle_datagram`](Self::handle_datagram), [`handle_run`](Self::handle_run) (while
/// [`can_take_run`](Self::can_take_run)), [`handle_head`](Self::handle_head), [`handle_history`](Self::handle_history),
/// and [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout). After each, drain
/// [`poll_transmit`](Self::poll_transmit) and [`poll_hearing`](Self::poll_hearing); take events by [`poll_event`](Self::poll_event) as fast as they are wanted:
/// messages that nobody takes stay in a bounded window, and what finds no place in it is read from the log later.
#[derive(Debug)]
pub struct MemberReceiver {
    config: ReceiverConfig,
    now: Instant,
    rng: SmallRng,
    window: Window,
    reassembly: Reassembly,
    blocks: Blocks,
    gaps: Gaps,
    announced: Announced,
    reception: Reception,
    lane: LaneHealth,
    moving: Moving,
    reporter: Reporter,
    grtt: Duration,
    group_size: u32,
    stale_said: Option<Instant>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ReceiverEvent>,
    stats: ReceiverStats,
    sabotage: Sabotage,
}

impl MemberReceiver {
    /// Begins at `config.next`; a PROBE is due at once.
    #[must_use]
    pub fn new(config: ReceiverConfig, now: Instant) -> Self {
        Self {
            now,
            rng: SmallRng::seed_from_u64(config.rng_seed),
            window: Window::new(config.next),
            reassembly: Reassembly::default(),
            blocks: Blocks::default(),
            gaps: Gaps::new(config.next, now),
            announced: Announced::default(),
            reception: Reception::new(),
            lane: LaneHealth::new(config.policy, now),
            moving: Moving::default(),
            reporter: Reporter::new(config.sender, config.device, config.relay, config.tag, now),
            grtt: timing::FIRST_GRTT,
            group_size: 1,
            stale_said: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            stats: ReceiverStats::default(),
            sabotage: Sabotage::default(),
            config,
        }
    }

    /// Takes a datagram whose header was decoded.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not what the header says: drop it.
    pub fn handle_datagram(&mut self, now: Instant, via: Via, header: &Header, body: &[u8]) -> Result<(), DecodeError> {
        self.now = now;
        if header.tag != self.config.tag && !self.follow(now, via, header) {
            self.stats.ignored += 1;
            return self.handle_stranger(now, header, body);
        }
        match header.packet_type {
            PacketType::Data => self.handle_data(now, via, header, body),
            PacketType::Heartbeat if via == Via::Group => self.handle_heartbeat(now, header, &Heartbeat::decode(body)?),
            PacketType::Ncf => {
                self.handle_ncf(now, &Ncf::decode(body)?);
                Ok(())
            }
            PacketType::Parity if via == Via::Group => {
                self.handle_parity(now, header, &Parity::decode(body)?);
                Ok(())
            }
            PacketType::Probe if header.has(flags::RESPONSE) => {
                let first = self.reporter.handle_answer(now, &Probe::decode(body)?);
                if first {
                    self.reporter.handle_heard(now, header.ts_us);
                }
                Ok(())
            }
            PacketType::Migrate => {
                self.handle_migrate(now, &Migrate::decode(body)?);
                Ok(())
            }
            PacketType::Heartbeat
            | PacketType::Nak
            | PacketType::Status
            | PacketType::Parity
            | PacketType::Probe
            | PacketType::Publish
            | PacketType::Puback
            | PacketType::Broadcast => {
                self.stats.ignored += 1;
                Ok(())
            }
        }
    }

    /// Takes a run from the hub ([`Lane::Tcp`]) or from the log ([`Lane::History`]).
    ///
    /// # Errors
    /// [`OtherLog`]: nothing was taken.
    pub fn handle_run(&mut self, now: Instant, run: &Run, lane: Lane) -> Result<(), OtherLog> {
        self.now = now;
        let header = run.header();
        if header.group != self.config.group || header.log != self.config.log {
            return Err(OtherLog);
        }
        let ahead = run.first_seq() > self.window.first();
        if run.first_seq().0 >= self.window.first().0.saturating_add(PLACES)
            || (ahead && self.window.held_bytes() >= MAX_HELD_BYTES)
        {
            self.stats.refused += 1;
        } else {
            self.hold(now, run.messages(), lane, Carried::default());
        }
        self.claim(now, run.last_seq());
        Ok(())
    }

    /// Whether a run would find its place. While not, take events first.
    #[must_use]
    pub fn can_take_run(&self) -> bool {
        self.window.held_bytes() < RUNS_BELOW || self.window.first_held() != Some(self.window.first())
    }

    /// A source that can be trusted says that the log reaches to `head`: what is missing up to there is read from it.
    pub fn handle_head(&mut self, now: Instant, head: Seq) {
        self.now = now;
        self.gaps.catch_up(head);
        self.claim(now, head);
        self.gaps.hasten(now, &mut self.window);
        self.work_gaps(now);
    }

    /// The reading that [`ReceiverEvent::NeedHistory`] asked for has ended.
    pub fn handle_history(&mut self, now: Instant, end: HistoryEnd) {
        self.now = now;
        self.gaps.end_history(now, end, &mut self.window);
        self.announced.cut(self.gaps.claimed());
        self.claim(now, self.gaps.claimed());
        self.work_gaps(now);
    }

    /// The log, or the hub, has nothing before `oldest` any more: what is missing below is lost.
    pub fn handle_trimmed(&mut self, now: Instant, oldest: Seq) {
        self.now = now;
        self.gaps.trim_to(oldest);
    }

    /// The group has another log, address or relay. With another log its seqs start anew at `next`; otherwise `next`
    /// is not heeded.
    pub fn handle_change(&mut self, now: Instant, log: LogId, tag: GroupTag, relay: Option<SocketAddrV4>, next: Seq) {
        self.now = now;
        if log != self.config.log {
            self.window = Window::new(next);
            self.gaps = Gaps::new(next, now);
            self.announced = Announced::default();
            self.events.retain(ReceiverEvent::outlives_log);
            self.reassembly.clear();
        }
        if tag != self.config.tag {
            self.moving.end();
            self.reception = Reception::new();
            self.blocks.clear();
        }
        if tag != self.config.tag || relay != self.reporter.relay() {
            self.reporter.restart(now, relay, tag);
        }
        self.config.log = log;
        self.config.tag = tag;
    }

    /// Does what is due; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.gaps.due().is_some_and(|due| due <= now) {
            self.work_gaps(now);
        }
        if self.lane.next_tick().is_some_and(|due| due <= now) {
            self.reception.sample(now);
            let moved = self.lane.tick(now, self.reception.loss_percent());
            self.handle_move(now, moved);
            if self.lane.is_silent(now) {
                self.reporter.probe_soon(now);
                self.ask_after_silence(now);
            }
        }
        self.work_moving(now);
        if self.config.policy != LanePolicy::TcpOnly {
            self.report(now);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event. Messages come in seq order.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some((message, lane)) = self.window.pop() {
                self.reporter.handle_delivered();
                let filled = self.announced.handle_delivered(message.seq);
                self.events.extend(filled.map(ReceiverEvent::GapFilled));
                self.claim(self.now, self.gaps.claimed());
                return Some(ReceiverEvent::Message { message, lane });
            }
            let lost = self.gaps.settle(&mut self.window)?;
            self.announced.handle_lost(lost);
            self.reassembly.forget_below(self.window.first());
            self.claim(self.now, self.gaps.claimed());
            self.events.push_back(ReceiverEvent::Lost(lost));
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let report = match self.config.policy {
            LanePolicy::TcpOnly => None,
            LanePolicy::Auto | LanePolicy::MulticastOnly => {
                let reports = self.lane.is_active() && self.reception.epoch().is_some();
                self.reporter.next_due(reports, self.group_size)
            }
        };
        [self.gaps.due(), self.lane.next_tick(), self.moving.due(), report].into_iter().flatten().min()
    }

    /// The next message to be delivered.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.window.first()
    }

    /// The highest seq heard of.
    #[must_use]
    pub const fn claimed_head(&self) -> Seq {
        self.gaps.claimed()
    }

    /// What the group's datagrams are marked with.
    #[must_use]
    pub const fn tag(&self) -> GroupTag {
        self.config.tag
    }

    /// The log being received.
    #[must_use]
    pub const fn log(&self) -> LogId {
        self.config.log
    }

    /// Counts since the start.
    #[must_use]
    pub const fn stats(&self) -> ReceiverStats {
        self.stats
    }

    /// Loss of first-sent datagrams over the last 5 s, percent.
    #[must_use]
    pub fn loss_percent(&self) -> u32 {
        self.reception.loss_percent()
    }

    /// Bytes of messages that wait for those before them, of fragments and of blocks; at most [`MAX_RECEIVER_BYTES`].
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.window.held_bytes() + self.reassembly.bytes() + self.blocks.bytes()
    }

    /// Takes mechanisms out.
    #[cfg(feature = "sabotage")]
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    fn handle_heartbeat(&mut self, now: Instant, header: &Header, heartbeat: &Heartbeat) -> Result<(), DecodeError> {
        if heartbeat.group != self.config.group || heartbeat.log != self.config.log {
            self.stats.ignored += 1;
            return Ok(());
        }
        if self.reception.handle_epoch(now, header.epoch) {
            self.reporter.forget_cookie(now);
            self.blocks.clear();
        }
        if GroupTag::of(heartbeat.group, heartbeat.generation, heartbeat.log) == self.config.tag {
            self.moving.handle_generation(heartbeat.generation);
        }
        let mut missed = None;
        if self.reception.epoch() == Some(header.epoch) {
            let before = self.reception.highest();
            self.reception.handle_last_pkt(heartbeat.last_pkt);
            missed = Pkts::between(before, Pkt(self.reception.highest().0.saturating_add(1)));
        }
        self.grtt = Duration::from_micros(heartbeat.grtt_us.into()).clamp(*timing::GRTT.start(), *timing::GRTT.end());
        self.group_size = heartbeat.group_size.clamp(1, MAX_GROUP_SIZE);
        self.heard(now, header);
        self.gaps.handle_heartbeat(header.seq, heartbeat.oldest_repairable);
        self.claim_carried(now, header.seq, missed);
        Ok(())
    }

    fn handle_ncf(&mut self, now: Instant, ncf: &Ncf) {
        self.stats.ncfs += 1;
        // Whoever still lacks it then asks at a random time again, or all that this silenced ask at once.
        let backoff = self.nak_backoff();
        self.gaps.handle_ncf(now, &ncf.ranges, self.grtt, backoff, &mut self.window);
    }

    fn heard(&mut self, now: Instant, header: &Header) {
        self.reporter.handle_heard(now, header.ts_us);
        let moved = self.lane.handle_heard(now);
        self.handle_move(now, moved);
    }

    fn handle_move(&mut self, now: Instant, moved: Option<LaneMove>) {
        match moved {
            None => {}
            Some(LaneMove::Up) => {
                self.reception.forget_loss();
                let due = now + self.gap_wait();
                self.gaps.begin_anew(now, due, &mut self.window);
                self.emit(ReceiverEvent::LaneUp);
            }
            Some(LaneMove::Down(why)) => {
                self.reception.forget_loss();
                self.emit(ReceiverEvent::LaneDown(why));
            }
        }
    }

    /// The log may reach to `head`; nothing is believed beyond making room for it.
    fn claim(&mut self, now: Instant, head: Seq) {
        self.claim_carried(now, head, None);
    }

    /// `pkts`: the datagrams that carried what is new up to `head`.
    fn claim_carried(&mut self, now: Instant, head: Seq, pkts: Option<Pkts>) {
        self.gaps.claim(head);
        let end = self.gaps.claimed().next().min(self.window.first().plus(PLACES));
        if self.window.end() < end {
            let wait = self.gap_wait();
            self.gaps.extend(now, wait, end, pkts, &mut self.window);
        }
    }

    fn gap_wait(&mut self) -> Duration {
        timing::reorder(self.grtt) + self.nak_backoff()
    }

    fn nak_backoff(&mut self) -> Duration {
        if self.sabotage.asks_at_once() {
            return Duration::ZERO;
        }
        backoff::nak_backoff(&mut self.rng, self.grtt, self.group_size)
    }

    fn work_gaps(&mut self, now: Instant) {
        let repair = self.lane.is_active() || (self.config.history && self.gaps.is_catching_up(&self.window));
        let ways = Ways { repair, history: self.config.history, grtt: self.grtt };
        let asks = self.gaps.work(now, ways, &mut self.window, &self.reassembly, &self.blocks);
        if let Some(range) = asks.history {
            self.stats.history += 1;
            // What is claimed beyond the window is not believed enough to be told.
            self.announce(SeqRange { last: range.last.min(Seq(self.window.end().0 - 1)), ..range });
            self.events.push_back(ReceiverEvent::NeedHistory(range));
        }
        if asks.naks.is_empty() || !self.lane.is_active() {
            return;
        }
        for range in &asks.naks {
            let range = SeqRange::new(range.first_seq, range.last_seq).expect("ranges are made in order");
            self.announce(range);
        }
        let Some(epoch) = self.reception.epoch() else { return };
        let nak = self.reporter.nak(now, epoch, asks.naks);
        self.stats.naks += u64::from(nak.is_some());
        nak.into_iter().for_each(|nak| self.send(nak));
    }

    /// Tells of a gap, unless it is only the past being read, or nobody took the messages.
    fn announce(&mut self, range: SeqRange) {
        let known = self.gaps.unannounced_below();
        let Some(range) = SeqRange::new(range.first.max(known), range.last) else { return };
        for fresh in self.announced.add(range) {
            self.emit(ReceiverEvent::Gap(fresh));
        }
    }

    fn report(&mut self, now: Instant) {
        let probe = self.reporter.probe(now, &mut self.rng);
        probe.into_iter().for_each(|probe| self.send(probe));
        if self.lane.is_active() {
            let delivered = Seq(self.window.first().0.saturating_sub(1));
            let status = self.reporter.status(now, &self.reception, delivered, self.group_size, &mut self.rng);
            status.into_iter().for_each(|status| self.send(status));
        }
    }

    fn send(&mut self, transmit: Transmit) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(transmit);
        }
    }

    fn emit(&mut self, event: ReceiverEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }
}
