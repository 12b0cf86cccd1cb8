//! Decides about missing messages: wait, request a repair (NACK), read the log, or give up.

use std::time::{Duration, Instant};

use gaung_proto::{Seq, SeqRange, body::NakRange};

use super::{
    HistoryEnd,
    blocks::ReceivedBlocks,
    nak_builder::{NakBuilder, RequestOutcome},
    reassembly::Reassembly,
    row_sweep::{RowSweep, RowVerdict},
    spans::{MissingState, PktRange},
    window::{PLACES, ReceiveWindow},
};
use crate::timing::{self, TIMING};

/// Messages missing in a row from which on they are read from the log: one read costs less than that many repairs.
pub const MAX_NAK_GAP: u64 = 1024;
/// Messages missing in all from which on they are read from the log: repair does not keep up.
const MAX_MISSING: u64 = PLACES / 2;

/// NAKs for one message before it is read from the log.
const MAX_NAKS: u8 = 7;
/// NAKs for one message before it is given up, where there is no log to read.
const MAX_NAKS_ALONE: u8 = 8;
/// NCFs honoured for one message: forged ones must not silence a member for good.
const MAX_SILENCED: u8 = 4;
/// Doublings of the delay after a forged datagram: once the forger has gone, what is really missing is read within 2 s.
const MAX_DOUBLINGS: u32 = 3;

/// Tracks what is missing of a window, and when to act on it.
#[derive(Debug)]
pub(super) struct GapTracker {
    /// The highest seq that any datagram advertised; it may be forged.
    advertised: Seq,
    /// The log reaches at least here: the relay itself said so.
    confirmed: Seq,
    /// The highest seq of which the relay has sent all fragments.
    sent: Seq,
    /// Up to here a trusted source said that the log has messages; they are read from it.
    catch_up: Seq,
    /// Up to here datagrams found no place because nobody took messages.
    overrun: Seq,
    /// Below here missing messages are lost.
    trim: Seq,
    /// First repairable seq of the last two heartbeats.
    oldest_repairable: [Seq; 2],
    due: Option<Instant>,
    /// No NAK is sent before this.
    nak_not_before: Instant,
    reading: Option<HistoryReading>,
    read_not_before: Instant,
    forgeries: u32,
}

/// A read of the log that is in progress.
#[derive(Debug, Clone, Copy)]
struct HistoryReading {
    range: SeqRange,
    since: Instant,
}

/// The means by which missing messages can be recovered now.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecoveryMeans {
    /// Whether repairs may be requested by NAK.
    pub(super) repair: bool,
    /// The log can be read.
    pub(super) history: bool,
    pub(super) grtt: Duration,
}

/// Says what to request now, and of whom.
#[derive(Debug, Default)]
pub(super) struct RecoveryRequests {
    /// The ranges of one NAK, at most [`gaung_proto::limits::MAX_NAK_RANGES`].
    pub(super) naks: Vec<NakRange>,
    pub(super) history: Option<SeqRange>,
    /// Whether something would be given up, which the relay has to confirm first.
    pub(super) confirm: bool,
}

impl GapTracker {
    /// Makes a tracker without gaps. `next`: the first message wanted.
    pub(super) const fn new(next: Seq, now: Instant) -> Self {
        Self {
            advertised: Seq(next.0.saturating_sub(1)),
            confirmed: Seq::ZERO,
            sent: Seq::ZERO,
            catch_up: Seq::ZERO,
            overrun: Seq::ZERO,
            trim: Seq::ZERO,
            oldest_repairable: [Seq::ZERO; 2],
            due: None,
            nak_not_before: now,
            reading: None,
            read_not_before: now,
            forgeries: 0,
        }
    }

    pub(super) const fn advertised(&self) -> Seq {
        self.advertised
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.map(|due| due.max(self.nak_not_before))
    }

    pub(super) fn is_catching_up(&self, window: &ReceiveWindow) -> bool {
        window.first() <= self.catch_up
    }

    /// Returns the seq below which gaps are not reported, because they are the past, or due to a slow reader.
    pub(super) fn unannounced_below(&self) -> Seq {
        self.catch_up.max(self.overrun).next()
    }

    pub(super) fn advertise(&mut self, head: Seq) {
        self.advertised = self.advertised.max(head);
    }

    /// Confirms the head that the relay itself answered to a question sent at `asked`. What came earlier and lies
    /// behind it was forged.
    pub(super) fn confirm(
        &mut self,
        now: Instant,
        head: Seq,
        asked: Instant,
        wait: Duration,
        window: &mut ReceiveWindow,
    ) {
        if let Some(known) = SeqRange::new(self.confirmed.next(), head) {
            let due = now + wait;
            window.missing_mut().within_mut(known).for_each(|missing| missing.due = missing.due.min(due));
            self.wake_at(due);
        }
        self.confirmed = self.confirmed.max(head);
        if head < self.advertised {
            window.cut(head.next(), asked);
            self.advertised = head.max(Seq(window.end().0 - 1));
            self.sent = self.sent.min(self.advertised);
        }
    }

    /// Believes what datagrams advertise, because the relay does not answer.
    pub(super) fn confirm_unanswered(&mut self) {
        self.confirmed = self.advertised;
    }

    pub(super) fn catch_up(&mut self, head: Seq) {
        self.catch_up = self.catch_up.max(head);
    }

    pub(super) fn handle_overrun(&mut self, seq: Seq) {
        self.overrun = self.overrun.max(seq);
    }

    pub(super) fn handle_sent(&mut self, seq: Seq) {
        self.sent = self.sent.max(seq);
    }

    pub(super) fn handle_heartbeat(&mut self, head: Seq, oldest_repairable: Seq) {
        self.handle_sent(head);
        self.oldest_repairable = [oldest_repairable.min(head.next()), self.oldest_repairable[0]];
    }

    pub(super) fn trim_to(&mut self, oldest: Seq) {
        self.trim = self.trim.max(oldest);
        self.advertise(Seq(oldest.0.saturating_sub(1)));
    }

    /// Makes room up to before `end`; what is missing there is requested after `wait`. `pkts`: what carried it.
    pub(super) fn extend(
        &mut self,
        now: Instant,
        wait: Duration,
        end: Seq,
        pkts: Option<PktRange>,
        window: &mut ReceiveWindow,
    ) {
        let due = now + wait;
        window.extend(end, MissingState::new(now, due, pkts));
        self.wake_at(due);
    }

    /// Postpones requests for `seq`, of which a fragment came: the others may be on their way. `pkts`: the datagrams
    /// that carry it.
    pub(super) fn handle_progress(
        &mut self,
        now: Instant,
        due: Instant,
        seq: Seq,
        pkts: Option<PktRange>,
        window: &mut ReceiveWindow,
    ) {
        for missing in window.missing_mut().within_mut(SeqRange { first: seq, last: seq }) {
            missing.since = now;
            missing.due = missing.due.max(due);
            missing.pkts = pkts;
        }
        self.wake_at(due);
    }

    /// Postpones requests for what parity may repair until no more of it comes.
    pub(super) fn handle_parity(&mut self, now: Instant, grtt: Duration) {
        self.wake_at(now + timing::linger(grtt));
    }

    /// Waits for the repair that an NCF confirmed to another member, as if the NAK had been this member's own.
    pub(super) fn handle_ncf(
        &mut self,
        now: Instant,
        ranges: &[NakRange],
        grtt: Duration,
        backoff: Duration,
        window: &mut ReceiveWindow,
    ) {
        let due = now + timing::retry(grtt, 1) + backoff;
        for range in ranges {
            let range = SeqRange { first: range.first_seq, last: range.last_seq };
            for missing in window.missing_mut().within_mut(range) {
                if missing.silenced < MAX_SILENCED {
                    missing.silenced += 1;
                    missing.due = missing.due.max(due);
                }
            }
        }
    }

    /// Restarts all rows, because repair is possible again.
    pub(super) fn restart(&mut self, now: Instant, due: Instant, window: &mut ReceiveWindow) {
        for (_, missing) in window.missing_mut().rows_mut() {
            *missing = missing.anew(now, due);
            self.due = Some(due);
        }
    }

    /// Makes rows that are to be read from the log due now.
    pub(super) fn hasten(&mut self, now: Instant, window: &mut ReceiveWindow) {
        if let Some(range) = SeqRange::new(window.first(), self.catch_up) {
            window.missing_mut().within_mut(range).for_each(|missing| missing.due = now);
        }
        self.wake_at(now);
    }

    /// Ends a read of the log; returns the range that was requested.
    pub(super) fn end_history(
        &mut self,
        now: Instant,
        end: HistoryEnd,
        window: &mut ReceiveWindow,
    ) -> Option<SeqRange> {
        let read = self.reading.take()?;
        match end {
            HistoryEnd::Failed => self.read_not_before = now + TIMING.history_retry,
            HistoryEnd::Reached { head } if head < read.range.last => {
                window.cut(head.next(), read.since);
                self.advertised = head.max(Seq(window.end().0 - 1));
                self.overrun = self.overrun.min(self.advertised);
                self.sent = self.sent.min(self.advertised);
                self.catch_up = self.catch_up.min(self.advertised);
                // Whoever forges heads must not make this member read the log without pause.
                self.read_not_before = now + TIMING.history_after_forgery * (1 << self.forgeries.min(MAX_DOUBLINGS));
                self.forgeries += 1;
            }
            HistoryEnd::Reached { .. } => {
                self.forgeries = 0;
                // The log did not bring the oldest one either; reading again at once would spin.
                let stuck = window.missing().rows().next().is_some_and(|row| row.first <= read.range.last);
                self.read_not_before = if stuck { now + TIMING.history_retry } else { now };
            }
        }
        let due = now + TIMING.history_recheck;
        if let Some(range) = SeqRange::new(window.first(), read.range.last) {
            window.missing_mut().within_mut(range).for_each(|missing| *missing = missing.anew(now, due));
        }
        self.wake_at(due);
        Some(read.range)
    }

    /// Whether the log is being read.
    pub(super) const fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Notes a read of the log that was started for another reason than a gap.
    pub(super) const fn begin_reading(&mut self, now: Instant, range: SeqRange) {
        self.reading = Some(HistoryReading { range, since: now });
    }

    /// Forgets what was advertised from `next` on; a read in progress continues.
    pub(super) fn go_back(&mut self, now: Instant, next: Seq) {
        let head = Seq(next.0.saturating_sub(1));
        *self = Self {
            confirmed: self.confirmed.min(head),
            sent: self.sent.min(head),
            oldest_repairable: self.oldest_repairable.map(|oldest| oldest.min(next)),
            reading: self.reading,
            ..Self::new(next, now)
        };
    }

    /// Decides for each row of missing messages that is due, oldest first, and returns what to request.
    pub(super) fn work(
        &mut self,
        now: Instant,
        means: RecoveryMeans,
        window: &mut ReceiveWindow,
        reassembly: &Reassembly,
        blocks: &ReceivedBlocks,
    ) -> RecoveryRequests {
        self.due = None;
        let mut requests = RecoveryRequests::default();
        if !means.repair || window.missing().messages() == 0 {
            return requests;
        }
        let end = window.end();
        if !means.history {
            requests.confirm = self.put_off_unknown(now, window);
        }
        let far = self.far(window);
        let mut naks = NakBuilder::new(reassembly, blocks, means.grtt, self.sent);
        let being_read = self.reading.map_or(Seq::ZERO, |reading| reading.range.last);
        let mut sweep = RowSweep::new(self.confirmed);
        // What is being read is judged again when the read ends.
        for (row, missing) in window.missing_mut().rows_mut().filter(|(row, _)| row.last > being_read) {
            honour_parity(missing, blocks, means.grtt);
            let verdict = self.judge(now, row, missing, means.history, &far);
            match verdict {
                RowVerdict::NotDue => {}
                RowVerdict::GiveUp => missing.due = now + TIMING.history_recheck,
                RowVerdict::Request => {
                    let wait = naks.request(row, missing);
                    missing.naks += u8::from(matches!(wait, RequestOutcome::Requested(_)));
                    missing.touched = now;
                    missing.due = now + wait.delay();
                }
            }
            sweep.add(row, verdict);
            self.wake_at(missing.due);
        }
        requests.naks = naks.into_ranges();
        let spacing = if requests.naks.is_empty() { Duration::ZERO } else { TIMING.nack_spacing };
        self.nak_not_before = now + spacing.max(TIMING.gap_scan_rest * sweep.rows);
        if means.history {
            let to_end = far.last().is_some_and(|far| far.last >= end);
            requests.history = sweep.given_up.and_then(|range| self.read_history(now, range, to_end, end));
        } else {
            requests.confirm |= sweep.is_unconfirmed;
            sweep.lost_below.into_iter().for_each(|trim| self.lose_below(trim, end));
        }
        requests
    }

    fn judge(
        &self,
        now: Instant,
        row: SeqRange,
        missing: &MissingState,
        history: bool,
        far: &[SeqRange],
    ) -> RowVerdict {
        if missing.due > now {
            RowVerdict::NotDue
        } else if self.is_given_up(now, row, missing, history, far) {
            RowVerdict::GiveUp
        } else {
            RowVerdict::Request
        }
    }

    /// Gives up everything below `trim`. `end`: the end of the window; where all of it is lost, so is what cannot be
    /// repaired beyond.
    fn lose_below(&mut self, trim: Seq, end: Seq) {
        let beyond = self.unrepairable_below().min(self.confirmed.next());
        self.trim = if trim == end { trim.max(beyond) } else { trim };
    }

    /// Puts off requests for messages that only heartbeats advertise: anybody can forge those, and requests for them would
    /// use up this member's share of repairs. Returns whether there are such messages.
    fn put_off_unknown(&self, now: Instant, window: &mut ReceiveWindow) -> bool {
        let known = self.confirmed.next().max(window.held_end());
        let Some(unknown) = SeqRange::new(known, Seq(window.end().0 - 1)) else { return false };
        let mut found = false;
        for missing in window.missing_mut().within_mut(unknown) {
            *missing = missing.anew(now, now + TIMING.history_recheck);
            found = true;
        }
        found
    }

    /// Returns what is missing in rows too long for NAKs; everything, if too much is.
    fn far(&self, window: &ReceiveWindow) -> Vec<SeqRange> {
        if window.missing().messages() >= MAX_MISSING {
            return vec![SeqRange { first: window.first(), last: self.advertised.max(window.end()) }];
        }
        let mut far: Vec<SeqRange> = Vec::new();
        let mut joined: Option<SeqRange> = None;
        let is_far = |row: &SeqRange| row.len() >= MAX_NAK_GAP;
        for row in window.missing().rows() {
            match &mut joined {
                Some(before) if before.last.next() == row.first => before.last = row.last,
                Some(_) | None => far.extend(joined.replace(row).filter(is_far)),
            }
        }
        // The last row goes on to what is advertised beyond the window.
        let to_end = joined.filter(|row| row.last.next() == window.end());
        let joined = to_end.map(|row| SeqRange { last: row.last.max(self.advertised), ..row }).or(joined);
        far.extend(joined.filter(is_far));
        far
    }

    /// Skips what is lost at the front of the window; returns it.
    pub(super) fn skip_lost(&self, window: &mut ReceiveWindow) -> Option<SeqRange> {
        let first = window.first();
        let held = window.first_held().unwrap_or(window.end());
        let mut to = self.trim.min(window.end()).min(held).max(first);
        // Nothing is held, so the loss goes on beyond the window.
        if to == window.end() {
            to = to.max(self.trim);
        }
        if to == first {
            return None;
        }
        window.skip_to(to);
        SeqRange::new(first, Seq(to.0 - 1))
    }

    fn is_given_up(
        &self,
        now: Instant,
        row: SeqRange,
        missing: &MissingState,
        history: bool,
        far: &[SeqRange],
    ) -> bool {
        if !history {
            // Whatever heartbeats say of it: anybody can say that it cannot be repaired.
            return missing.naks >= MAX_NAKS_ALONE;
        }
        let seq = row.first;
        seq <= self.catch_up
            || seq <= self.overrun
            || seq < self.oldest_repairable[0]
            || missing.naks >= MAX_NAKS
            || now.saturating_duration_since(missing.since) >= TIMING.gap_age_max
            || far.iter().any(|far| far.contains(seq))
    }

    /// Returns the seq below which nothing can be repaired, according to the last two heartbeats.
    fn unrepairable_below(&self) -> Seq {
        self.oldest_repairable[0].min(self.oldest_repairable[1]).min(self.advertised.next())
    }

    fn read_history(&mut self, now: Instant, mut range: SeqRange, to_end: bool, end: Seq) -> Option<SeqRange> {
        if self.reading.is_some() || now < self.read_not_before {
            self.wake_at(self.read_not_before.max(now + TIMING.history_recheck));
            return None;
        }
        if to_end {
            range.last = range.last.max(self.advertised);
        }
        // A read up to the window's end would be followed by another at once: take the rest with it.
        if range.last.next() >= end {
            range.last = range.last.max(self.catch_up).max(self.overrun);
        }
        self.reading = Some(HistoryReading { range, since: now });
        Some(range)
    }

    pub(super) fn wake_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// Parity that came since the last NAK, or while waiting to send one, says that repair is under way: waits for the rest
/// of it, and requests what lacks then as if for the first time.
fn honour_parity(missing: &mut MissingState, blocks: &ReceivedBlocks, grtt: Duration) {
    let came = missing.pkts.and_then(|pkts| blocks.last_shard(pkts));
    if let Some(came) = came.filter(|came| *came > missing.touched) {
        missing.touched = came;
        missing.due = came + timing::linger(grtt);
        missing.naks = missing.naks.min(1);
    }
}
