//! The member's side of one group: orders messages of all lanes, requests what is missing, delivers each message once
//! (RFC 5740, RFC 5401).

mod announced;
mod backoff;
mod blocks;
mod broadcast;
mod data;
mod doubts;
mod fingerprints;
mod gaps;
mod heartbeats;
mod lane;
mod moving;
mod nak_builder;
mod path_mtu;
mod reassembly;
mod reception;
mod report;
mod row_sweep;
mod sources;
mod spans;
mod types;
mod window;

use std::{
    collections::VecDeque,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{
    DecodeError, GroupTag, LogId, Seq, SeqRange,
    body::{Heartbeat, Migrate, Ncf, Parity, Probe},
    datagram::{Header, PacketType, flags},
    net::Lane,
    run::Run,
};
use rand::{SeedableRng as _, rngs::SmallRng};

use self::{
    announced::AnnouncedGaps,
    blocks::ReceivedBlocks,
    data::MessageCarrier,
    doubts::ForgeryDoubts,
    fingerprints::Fingerprints,
    gaps::{GapTracker, RecoveryMeans},
    lane::{LaneHealth, LaneQuality},
    moving::MoveTracker,
    path_mtu::PathMtu,
    reassembly::Reassembly,
    reception::Reception,
    report::MemberReporter,
    sources::{RelaySource, SourceVerdict},
    spans::PktRange,
    window::{MAX_HELD_BYTES, PLACES, ReceiveWindow},
};
pub use self::{
    broadcast::{BroadcastHeard, BroadcastReceiver},
    gaps::MAX_NAK_GAP,
    lane::{LanePolicy, LaneTrouble},
    moving::ListenChange,
    types::{ArrivalSocket, HistoryEnd, OtherLog, ReceiverConfig, ReceiverEvent, ReceiverStats},
};
use crate::{sabotage::Sabotage, timing, transmit::Transmit};

/// Group sizes above this no longer change the backoff.
const MAX_GROUP_SIZE: u32 = 1_000_000;
/// Runs are taken only while fewer bytes than this are held.
const RUNS_BELOW: usize = 512 * 1024;
/// Most bytes that one receiver holds: the window, a run or message that just found its place, fragments, and blocks
/// that parity may complete, whose bodies share the memory of the others as long as those are held.
pub const MAX_RECEIVER_BYTES: usize = MAX_HELD_BYTES + reassembly::MAX_BYTES + blocks::MAX_BYTES + 1024 * 1024;
/// Events kept for a driver that does not drain them; later ones are dropped, except those that request something.
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
    window: ReceiveWindow,
    fingerprints: Fingerprints,
    doubts: ForgeryDoubts,
    source: RelaySource,
    reassembly: Reassembly,
    blocks: ReceivedBlocks,
    gaps: GapTracker,
    announced: AnnouncedGaps,
    reception: Reception,
    lane: LaneHealth,
    path_mtu: PathMtu,
    moving: MoveTracker,
    reporter: MemberReporter,
    grtt: Duration,
    group_size: u32,
    stale_said: Option<Instant>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ReceiverEvent>,
    stats: ReceiverStats,
    sabotage: Sabotage,
}

impl MemberReceiver {
    /// Makes a receiver that starts at `config.next`; a PROBE is due at once.
    #[must_use]
    pub fn new(config: ReceiverConfig, now: Instant) -> Self {
        Self {
            now,
            rng: SmallRng::seed_from_u64(config.rng_seed),
            window: ReceiveWindow::new(config.next),
            fingerprints: Fingerprints::new(config.rng_seed, config.next),
            doubts: ForgeryDoubts::new(now),
            source: RelaySource::new(),
            reassembly: Reassembly::default(),
            blocks: ReceivedBlocks::default(),
            gaps: GapTracker::new(config.next, now),
            announced: AnnouncedGaps::default(),
            reception: Reception::new(),
            lane: LaneHealth::new(config.policy, now),
            path_mtu: PathMtu::default(),
            moving: MoveTracker::default(),
            reporter: MemberReporter::new(config.sender, config.device, config.relay, config.tag, now),
            grtt: timing::TIMING.grtt_initial,
            group_size: 1,
            stale_said: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            stats: ReceiverStats::default(),
            sabotage: Sabotage::default(),
            config,
        }
    }

    /// Whether a datagram from this address can be the relay's: check before [`Self::handle_datagram`]. Sources can be forged,
    /// so this only keeps those out who did not take that trouble.
    pub fn admits(&mut self, now: Instant, via: ArrivalSocket, from: SocketAddrV4) -> bool {
        self.now = now;
        let admission = self.source.judge(now, via, self.reporter.relay(), from);
        match admission {
            SourceVerdict::Admitted => return true,
            SourceVerdict::Unexpected => self.say_stale(now),
            SourceVerdict::Foreign => {}
        }
        self.stats.foreign += 1;
        false
    }

    /// Handles a datagram whose header was decoded.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not what the header says: drop it.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        via: ArrivalSocket,
        header: &Header,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        self.now = now;
        if header.tag != self.config.tag && !self.follow(now, via, header, body)? {
            self.stats.ignored += 1;
            return self.handle_stranger(now, header, body);
        }
        match header.packet_type {
            PacketType::Data => self.handle_data(now, via, header, body),
            PacketType::Heartbeat if via == ArrivalSocket::Group => {
                self.handle_heartbeat(now, header, &Heartbeat::decode(body)?)
            }
            PacketType::Ncf => {
                self.handle_ncf(now, &Ncf::decode(body)?);
                Ok(())
            }
            PacketType::Parity if via == ArrivalSocket::Group => {
                self.handle_parity(now, header, &Parity::decode(body)?);
                Ok(())
            }
            PacketType::Probe if header.has(flags::RESPONSE) => {
                self.handle_answer(now, header, &Probe::decode(body)?);
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
        if lane == Lane::Tcp {
            self.lane.handle_hub();
        }
        let ahead = run.first_seq() > self.window.first();
        if run.first_seq().0 >= self.window.first().0.saturating_add(PLACES)
            || (ahead && self.window.held_bytes() >= MAX_HELD_BYTES)
        {
            self.stats.refused += 1;
        } else {
            let was_missed = self.lane.is_active() && run.first_seq() >= self.gaps.unannounced_below();
            if was_missed {
                self.path_mtu.handle_read(now, self.window.missing(), &run.messages());
            }
            let fresh = self.hold(now, run.messages(), lane, MessageCarrier::default());
            if was_missed {
                self.reception.count(fresh, false);
            }
        }
        self.advertise(now, run.last_seq());
        Ok(())
    }

    /// Whether a run would find its place. While not, take events first.
    #[must_use]
    pub fn can_take_run(&self) -> bool {
        self.window.held_bytes() < RUNS_BELOW || self.window.first_held() != Some(self.window.first())
    }

    /// Handles a head from a trusted source: what is missing up to `head` is read from the log.
    pub fn handle_head(&mut self, now: Instant, head: Seq) {
        self.now = now;
        self.gaps.catch_up(head);
        self.advertise(now, head);
        self.gaps.hasten(now, &mut self.window);
        self.work_gaps(now);
    }

    /// Handles the head that the hub knows: more may have been delivered, or forged.
    pub fn handle_hub_head(&mut self, now: Instant, head: Seq) {
        self.now = now;
        self.lane.handle_hub();
        self.doubt_head(now, head, Duration::ZERO);
    }

    /// Handles the end of the history read that [`ReceiverEvent::NeedHistory`] requested.
    pub fn handle_history(&mut self, now: Instant, end: HistoryEnd) {
        self.now = now;
        let read = self.gaps.end_history(now, end, &mut self.window);
        if let (HistoryEnd::Reached { head }, Some(read)) = (end, read)
            && head < read.last
        {
            let from = head.next().max(self.window.first());
            self.fingerprints.forget(SeqRange { first: from, last: Seq(u64::MAX) });
        }
        self.handle_compared(now, end);
        self.announced.cut(self.gaps.advertised());
        self.advertise(now, self.gaps.advertised());
        self.work_gaps(now);
    }

    /// Handles that the log, or the hub, has nothing before `oldest` any more: what is missing below is lost.
    pub fn handle_trimmed(&mut self, now: Instant, oldest: Seq) {
        self.now = now;
        self.gaps.trim_to(oldest);
    }

    /// Handles a change of the group's log, address or relay. With another log seqs start again at `next`; otherwise
    /// `next` is ignored.
    pub fn handle_change(&mut self, now: Instant, log: LogId, tag: GroupTag, relay: Option<SocketAddrV4>, next: Seq) {
        self.now = now;
        if log != self.config.log {
            self.window = ReceiveWindow::new(next);
            self.fingerprints = Fingerprints::new(self.config.rng_seed, next);
            self.doubts = ForgeryDoubts::new(now);
            self.gaps = GapTracker::new(next, now);
            self.announced = AnnouncedGaps::default();
            self.events.retain(ReceiverEvent::outlives_log);
            self.reassembly.clear();
        }
        if tag != self.config.tag {
            self.moving.end();
            self.reception = Reception::new();
            self.blocks.clear();
        }
        if relay != self.reporter.relay() {
            self.handle_network();
        }
        if tag != self.config.tag || relay != self.reporter.relay() {
            self.reporter.restart(now, relay, tag);
        }
        self.config.log = log;
        self.config.tag = tag;
    }

    /// Sends the requests and reports that are due; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.gaps.due().is_some_and(|due| due <= now) {
            self.work_gaps(now);
        }
        if self.lane.next_tick().is_some_and(|due| due <= now) {
            self.reception.sample(now);
            let quality = LaneQuality {
                loss_percent: self.reception.lane_loss_percent(self.lane.is_active()),
                too_long: self.path_mtu.too_long(),
                may_be_too_long: self.path_mtu.may_be_too_long(),
            };
            let moved = self.lane.tick(now, quality);
            self.handle_move(now, moved);
            if self.lane.is_silent(now) {
                self.reporter.probe_soon(now);
                self.ask_after_silence(now);
            }
        }
        self.work_moving(now);
        self.compare_suspects(now);
        if self.config.policy != LanePolicy::TcpOnly {
            self.report(now);
        }
    }

    /// Returns the next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// Returns the next event. Messages come in seq order.
    pub fn poll_event(&mut self) -> Option<ReceiverEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if let Some((message, lane)) = self.window.pop() {
                self.reporter.handle_delivered();
                self.handle_taken(message.seq.next());
                let filled = self.announced.handle_delivered(message.seq);
                self.events.extend(filled.map(ReceiverEvent::GapFilled));
                self.advertise(self.now, self.gaps.advertised());
                return Some(ReceiverEvent::Message { message, lane });
            }
            let lost = self.gaps.skip_lost(&mut self.window)?;
            self.announced.handle_lost(lost);
            self.reassembly.forget_below(self.window.first());
            self.advertise(self.now, self.gaps.advertised());
            self.events.push_back(ReceiverEvent::Lost(lost));
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let report = match self.config.policy {
            LanePolicy::TcpOnly => None,
            LanePolicy::Auto | LanePolicy::MulticastOnly => {
                let reports = self.lane.is_active() && self.reception.epoch().is_some();
                self.reporter.next_due(reports, self.group_size)
            }
        };
        let doubt = self.doubts.due(&self.gaps);
        [self.gaps.due(), self.lane.next_tick(), self.moving.due(), report, doubt].into_iter().flatten().min()
    }

    /// Returns the seq of the next message to deliver.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.window.first()
    }

    /// Returns the tag of the group's datagrams.
    #[must_use]
    pub const fn tag(&self) -> GroupTag {
        self.config.tag
    }

    /// Returns the log that is received.
    #[must_use]
    pub const fn log(&self) -> LogId {
        self.config.log
    }

    /// Returns the counts since the start.
    #[must_use]
    pub const fn stats(&self) -> ReceiverStats {
        self.stats
    }

    /// Returns the loss of first-sent datagrams over the last 5 s, percent.
    #[must_use]
    pub fn loss_percent(&self) -> u32 {
        self.reception.loss_percent()
    }

    /// Returns the bytes of messages that wait for earlier ones, of fragments and of blocks; at most
    /// [`MAX_RECEIVER_BYTES`].
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.window.held_bytes() + self.reassembly.bytes() + self.blocks.bytes()
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    /// Makes room up to an advertised `head`, which is believed no further.
    fn advertise(&mut self, now: Instant, head: Seq) {
        self.advertise_carried(now, head, None);
    }

    /// Makes room up to `head`. `pkts`: the datagrams that carried what is new up to it.
    fn advertise_carried(&mut self, now: Instant, head: Seq, pkts: Option<PktRange>) {
        self.gaps.advertise(head);
        let end = self.gaps.advertised().next().min(self.window.first().plus(PLACES));
        if self.window.end() < end {
            let wait = self.gap_wait();
            self.gaps.extend(now, wait, end, pkts, &mut self.window);
        }
    }

    fn gap_wait(&mut self) -> Duration {
        timing::reorder(self.grtt) + self.nak_backoff()
    }

    fn nak_backoff(&mut self) -> Duration {
        if self.sabotage.nacks_at_once() {
            return Duration::ZERO;
        }
        backoff::nak_backoff(&mut self.rng, self.grtt, self.group_size)
    }

    fn work_gaps(&mut self, now: Instant) {
        let repair = self.lane.is_active() || (self.config.history && self.gaps.is_catching_up(&self.window));
        let means = RecoveryMeans { repair, history: self.config.history, grtt: self.grtt };
        let requests = self.gaps.work(now, means, &mut self.window, &self.reassembly, &self.blocks);
        if let Some(range) = requests.history {
            self.stats.history += 1;
            self.announce(range);
            self.events.push_back(ReceiverEvent::NeedHistory(range));
        }
        if requests.confirm {
            self.confirm_head(now);
        }
        if requests.naks.is_empty() || !self.lane.is_active() {
            return;
        }
        for range in &requests.naks {
            let range = SeqRange::new(range.first_seq, range.last_seq).expect("ranges are made in order");
            self.announce(range);
        }
        let Some(epoch) = self.reception.epoch() else { return };
        let nak = self.reporter.nak(now, epoch, requests.naks);
        self.stats.naks += u64::from(nak.is_some());
        nak.into_iter().for_each(|nak| self.send(nak));
    }

    /// Reports a gap, unless only the past is being read, or the reader takes no messages. A gap is believed only up to
    /// the last message that came, and not if it is so long that the log is read at once, which knows better.
    fn announce(&mut self, range: SeqRange) {
        let known = self.gaps.unannounced_below();
        let last = range.last.min(Seq(self.window.held_end().0.saturating_sub(1)));
        let Some(range) = SeqRange::new(range.first.max(known), last) else { return };
        if self.config.history && range.len() >= MAX_NAK_GAP {
            return;
        }
        for fresh in self.announced.add(range) {
            self.emit(ReceiverEvent::Gap(fresh));
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
