//! The member's side of one group: orders messages of all lanes, requests what is missing, delivers each message once
//! (RFC 5740, RFC 5401).

mod announced;
mod backoff;
mod blocks;
mod broadcast;
mod datagrams;
mod doubts;
mod fingerprints;
mod gaps;
mod lane;
mod moving;
mod nak_builder;
mod order;
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

use gaung_proto::{GroupTag, LogId, Seq, SeqRange, net::Lane, run::Run};

use self::{
    backoff::NakBackoff,
    blocks::ReceivedBlocks,
    doubts::ForgeryDoubts,
    gaps::RecoveryMeans,
    lane::{LaneHealth, LaneMove, LaneQuality},
    moving::MoveTracker,
    order::{MessageCarrier, MessageOrder},
    path_mtu::PathMtu,
    reception::Reception,
    report::MemberReporter,
    sources::RelaySource,
    window::MAX_HELD_BYTES,
};
pub use self::{
    broadcast::{BroadcastHeard, BroadcastReceiver},
    gaps::MAX_NAK_GAP,
    lane::{LanePolicy, LaneTrouble},
    moving::ListenChange,
    types::{ArrivalSocket, HistoryEnd, OtherLog, ReceiverConfig, ReceiverEvent, ReceiverStats},
};
#[cfg(feature = "sabotage")]
use crate::sabotage::Sabotage;
use crate::{timing::TIMING, transmit::Transmit};

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
    order: MessageOrder,
    doubts: ForgeryDoubts,
    backoff: NakBackoff,
    source: RelaySource,
    blocks: ReceivedBlocks,
    reception: Reception,
    lane: LaneHealth,
    path_mtu: PathMtu,
    moving: MoveTracker,
    reporter: MemberReporter,
    stale_said: Option<Instant>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ReceiverEvent>,
    stats: ReceiverStats,
}

impl MemberReceiver {
    /// Makes a receiver that starts at `config.next`; a PROBE is due at once.
    #[must_use]
    pub fn new(config: ReceiverConfig, now: Instant) -> Self {
        Self {
            now,
            order: MessageOrder::new(config.rng_seed, config.next, now, config.policy != LanePolicy::TcpOnly),
            doubts: ForgeryDoubts::new(now),
            backoff: NakBackoff::new(config.rng_seed),
            source: RelaySource::new(),
            blocks: ReceivedBlocks::default(),
            reception: Reception::new(),
            lane: LaneHealth::new(config.policy, now),
            path_mtu: PathMtu::default(),
            moving: MoveTracker::new(config.group, config.log, config.tag),
            reporter: MemberReporter::new(config.sender, config.device, config.relay, config.tag, now),
            stale_said: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            stats: ReceiverStats::default(),
            config,
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
        if self.order.has_place(run.first_seq()) {
            let messages = run.messages();
            let was_missed = self.lane.is_active() && run.first_seq() >= self.order.unannounced_below();
            if was_missed {
                self.path_mtu.handle_read(now, self.order.missing(), &messages);
            }
            if let Some(first) = self.order.conflict(&messages, lane) {
                self.correct(now, first, run.last_seq());
            }
            let fresh = self.order.hold(now, messages, lane, MessageCarrier::default(), &mut self.backoff);
            if was_missed {
                self.reception.count(fresh, false);
            }
        } else {
            self.stats.refused += 1;
        }
        self.order.advertise(now, run.last_seq(), &mut self.backoff);
        Ok(())
    }

    /// Whether a run would find its place. While not, take events first.
    #[must_use]
    pub fn can_take_run(&self) -> bool {
        self.order.can_take_run()
    }

    /// Handles a head from a trusted source: what is missing up to `head` is read from the log.
    pub fn handle_head(&mut self, now: Instant, head: Seq) {
        self.now = now;
        self.order.catch_up(now, head, &mut self.backoff);
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
        self.order.end_history(now, end);
        if let Some(first_forged) = self.doubts.handle_compared(end) {
            self.go_back(now, first_forged);
        }
        self.compare_suspects(now);
        self.order.make_places(now, &mut self.backoff);
        self.work_gaps(now);
    }

    /// Handles that the log, or the hub, has nothing before `oldest` any more: what is missing below is lost.
    pub fn handle_trimmed(&mut self, now: Instant, oldest: Seq) {
        self.now = now;
        self.order.trim_to(oldest);
    }

    /// Handles a change of the group's log, address or relay. With another log seqs start again at `next`; otherwise
    /// `next` is ignored.
    pub fn handle_change(&mut self, now: Instant, log: LogId, tag: GroupTag, relay: Option<SocketAddrV4>, next: Seq) {
        self.now = now;
        if log != self.config.log {
            let is_suspicious = self.config.policy != LanePolicy::TcpOnly;
            self.order = MessageOrder::new(self.config.rng_seed, next, now, is_suspicious);
            self.doubts = ForgeryDoubts::new(now);
            self.events.retain(ReceiverEvent::outlives_log);
        }
        if relay != self.reporter.relay() {
            self.handle_network();
        }
        if tag != self.moving.tag() || relay != self.reporter.relay() {
            self.reporter.restart(now, relay, tag);
        }
        if tag != self.moving.tag() {
            self.moving.restart(log, tag);
            self.reception = Reception::new();
            self.blocks.clear();
        }
        self.config.log = log;
    }

    /// This machine's interfaces or addresses, or the relay's address, are others: what was learnt of the former path counts no
    /// more, such as how long multicast must be heard before the member returns to it.
    pub fn handle_network(&mut self) {
        self.lane.handle_network();
        self.path_mtu = PathMtu::default();
    }

    /// Sends the requests and reports that are due; early calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.order.due().is_some_and(|due| due <= now) {
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
                // A member that may leave multicast has the hub meanwhile.
                if self.config.policy == LanePolicy::MulticastOnly {
                    self.say_stale(now, TIMING.stale_interval_silent);
                }
            }
        }
        let step = self.moving.work(now, self.reporter.is_unanswered());
        self.perform_move(now, step);
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
            if let Some((message, lane, filled)) = self.order.pop(self.now, &mut self.backoff) {
                self.reporter.handle_delivered();
                self.doubts.handle_delivered(self.now);
                self.events.extend(filled.map(ReceiverEvent::GapFilled));
                return Some(ReceiverEvent::Message { message, lane });
            }
            let lost = self.order.skip_lost(self.now, &mut self.backoff)?;
            self.events.push_back(ReceiverEvent::Lost(lost));
        }
    }

    /// Returns the next change of addresses; drain it after each input.
    pub fn poll_hearing(&mut self) -> Option<ListenChange> {
        self.moving.poll_hearing()
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let report = match self.config.policy {
            LanePolicy::TcpOnly => None,
            LanePolicy::Auto | LanePolicy::MulticastOnly => {
                let reports = self.lane.is_active() && self.reception.epoch().is_some();
                self.reporter.next_due(reports, self.backoff.group_size())
            }
        };
        let doubt = self.doubts.due(self.order.is_reading());
        [self.order.due(), self.lane.next_tick(), self.moving.due(), report, doubt].into_iter().flatten().min()
    }

    /// Returns the seq of the next message to deliver.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.order.next()
    }

    /// Returns the tag of the group's datagrams.
    #[must_use]
    pub const fn tag(&self) -> GroupTag {
        self.moving.tag()
    }

    /// Whether a datagram with this tag can be of the group: at its address, or at the one it comes from or goes to.
    #[must_use]
    pub fn is_addressed(&self, tag: GroupTag) -> bool {
        self.moving.is_addressed(tag)
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
        self.order.held_bytes() + self.blocks.bytes()
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.backoff.sabotage(sabotage);
    }

    fn work_gaps(&mut self, now: Instant) {
        let history = self.config.history;
        let repair = self.lane.is_active() || (history && self.order.is_catching_up());
        let requests = self.order.work(now, RecoveryMeans { repair, history, grtt: self.backoff.grtt() }, &self.blocks);
        if let Some(range) = requests.history {
            self.announce(range);
            self.read_history(range);
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

    /// Reports a gap that is recovered.
    fn announce(&mut self, range: SeqRange) {
        for fresh in self.order.announce(range, self.config.history) {
            self.emit(ReceiverEvent::Gap(fresh));
        }
    }

    fn read_history(&mut self, range: SeqRange) {
        self.stats.history += 1;
        self.events.push_back(ReceiverEvent::NeedHistory(range));
    }

    /// Sends a PROBE for the relay's head; where the relay does not answer, what datagrams advertise is believed.
    fn confirm_head(&mut self, now: Instant) {
        if self.reporter.is_out_of_reach() {
            self.order.confirm_unanswered();
        } else if self.doubts.may_confirm(now) {
            self.reporter.probe_soon(now);
        }
    }

    /// Doubts what was delivered beyond `head`, which the relay or somebody in its name advertised. What was delivered less
    /// than `settled` ago may have been logged since.
    fn doubt_head(&mut self, now: Instant, head: Seq, settled: Duration) {
        let (delivered, is_unanswered) = (self.order.delivered(), self.reporter.is_unanswered());
        if head < delivered
            && !self.order.is_proven(delivered)
            && self.doubts.handle_head(now, head, delivered, settled, is_unanswered)
        {
            self.reporter.probe_soon(now);
        }
    }

    /// Marks delivered seqs under which another message came as suspect.
    fn suspect(&mut self, now: Instant, range: SeqRange) {
        if self.config.history && self.config.policy != LanePolicy::TcpOnly {
            self.doubts.suspect(range);
            self.compare_suspects(now);
        }
    }

    /// Reads suspect messages from the log, if it can be read now.
    fn compare_suspects(&mut self, now: Instant) {
        if let Some(range) = self.doubts.begin_comparison(now, self.order.is_reading()) {
            self.order.begin_reading(now, range);
            self.read_history(range);
        }
    }

    /// Corrects messages from `first` to `last`, where the log has others than datagrams had.
    fn correct(&mut self, now: Instant, first: Seq, last: Seq) {
        self.doubts.handle_corrected();
        if !self.lane.is_trusted() {
            // Datagrams are still forged: stay away from multicast for another hold.
            let _ = self.lane.handle_forged(now);
        }
        if first < self.order.next() {
            let delivered = self.order.delivered();
            self.go_back(now, first);
            if self.config.history {
                // Only the log is believed for what comes again.
                self.order.catch_up(now, delivered, &mut self.backoff);
            }
        } else if let Some(range) = SeqRange::new(first, last) {
            self.order.release(now, range, &mut self.backoff);
        }
    }

    /// Restarts delivery at `to`, because what was delivered from there on is not in the log.
    fn go_back(&mut self, now: Instant, to: Seq) {
        let Some(range) = self.order.go_back(now, to) else { return };
        self.doubts.go_back(to);
        self.blocks.clear();
        self.stats.forged = self.stats.forged.saturating_add(range.len());
        // The relay must not count as heard what was not delivered.
        self.reporter.handle_delivered();
        self.events.push_back(ReceiverEvent::Forged(range));
        if self.config.history && !self.lane.is_active() {
            // The hub delivered that already, and goes on behind it.
            self.order.catch_up(now, range.last, &mut self.backoff);
        }
        let moved = self.lane.handle_forged(now);
        self.handle_move(now, moved);
    }

    fn handle_move(&mut self, now: Instant, moved: Option<LaneMove>) {
        match moved {
            None => {}
            Some(LaneMove::Up) => {
                self.reception.forget_loss();
                self.path_mtu.retry();
                self.order.restart_requests(now, &mut self.backoff);
                self.emit(ReceiverEvent::LaneUp);
            }
            Some(LaneMove::Down(why)) => {
                self.reception.forget_loss();
                self.emit(ReceiverEvent::LaneDown { why, cookie: self.reporter.cookie() });
            }
        }
    }

    /// Sends the PROBE or STATUS that is due.
    fn report(&mut self, now: Instant) {
        let (delivered, group_size) = (self.order.delivered(), self.backoff.group_size());
        let probe = self.reporter.probe(now, delivered, self.backoff.rng());
        probe.into_iter().for_each(|probe| self.send(probe));
        if self.lane.is_active() {
            let status = self.reporter.status(now, &self.reception, delivered, group_size, self.backoff.rng());
            status.into_iter().for_each(|status| self.send(status));
        }
    }

    /// Has the registry asked where the group is, unless that was done less than `interval` ago.
    fn say_stale(&mut self, now: Instant, interval: Duration) {
        if self.stale_said.is_none_or(|said| now.saturating_duration_since(said) >= interval) {
            self.stale_said = Some(now);
            self.emit(ReceiverEvent::Stale);
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
