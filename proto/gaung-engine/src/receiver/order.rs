//! Orders the messages of all lanes: holds what came early, in whole or in parts, and tracks what is missing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use gaung_proto::{
    DecodeError, Pkt, Seq, SeqRange,
    block::{Block, Message},
    body::NakRange,
    datagram::Fragment,
    messages::Messages,
    net::Lane,
};

use super::{
    HistoryEnd, MAX_NAK_GAP,
    announced::AnnouncedGaps,
    backoff::NakBackoff,
    blocks::ReceivedBlocks,
    fingerprints::Fingerprints,
    gaps::{GapTracker, RecoveryMeans, RecoveryRequests},
    reassembly::{InsertOutcome, Reassembly},
    spans::{MissingSpans, MissingState, PktRange},
    window::{MAX_HELD_BYTES, PLACES, ReceiveWindow},
};
use crate::{parity::Original, timing};

/// Runs are taken only while fewer bytes than this are held.
const RUNS_BELOW: usize = 512 * 1024;

/// The messages from the next one to deliver on, as far as they are known.
///
/// Every seq up to the advertised head, as far as there are places, is either held or missing; what is held is in no
/// parts any more; and each message that was taken, also the last ones delivered, is recognised when it comes again.
#[derive(Debug)]
pub(super) struct MessageOrder {
    window: ReceiveWindow,
    gaps: GapTracker,
    reassembly: Reassembly,
    fingerprints: Fingerprints,
    announced: AnnouncedGaps,
    /// Whether datagrams are expected, so that forged ones have to be noticed.
    is_suspicious: bool,
}

/// Says by which datagram messages came.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MessageCarrier {
    /// The first-sent datagram, if it is known to be one of this epoch.
    pub(super) pkt: Option<Pkt>,
    /// The datagrams before it that did not come.
    pub(super) missed: Option<PktRange>,
    /// The message came in several datagrams.
    pub(super) is_parted: bool,
}

/// What became of one datagram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DatagramOutcome {
    /// Messages, or parts of one, that were new.
    pub(super) fresh: u64,
    /// Some of it had no place.
    pub(super) is_refused: bool,
    /// It has another message under a seq than came otherwise: one of them is forged.
    pub(super) is_contradiction: bool,
    /// The delivered seqs under which it has other messages.
    pub(super) suspect: Option<SeqRange>,
}

impl MessageOrder {
    /// Makes an order in which `next` is the next message to deliver. `seed`: of the hashes by which messages are
    /// recognised.
    pub(super) fn new(seed: u64, next: Seq, now: Instant, is_suspicious: bool) -> Self {
        Self {
            window: ReceiveWindow::new(next),
            gaps: GapTracker::new(next, now),
            reassembly: Reassembly::default(),
            fingerprints: Fingerprints::new(seed, next),
            announced: AnnouncedGaps::default(),
            is_suspicious,
        }
    }

    /// Returns the seq of the next message to deliver.
    pub(super) const fn next(&self) -> Seq {
        self.window.first()
    }

    /// Returns the seq of the last message that was delivered.
    pub(super) fn delivered(&self) -> Seq {
        Seq(self.window.first().0.saturating_sub(1))
    }

    /// Whether the log itself vouches for what was taken under `seq`.
    pub(super) fn is_proven(&self, seq: Seq) -> bool {
        self.fingerprints.is_proven(seq)
    }

    pub(super) const fn missing(&self) -> &MissingSpans {
        self.window.missing()
    }

    /// Returns the bytes of messages that wait for earlier ones, and of parts.
    pub(super) const fn held_bytes(&self) -> usize {
        self.window.held_bytes() + self.reassembly.bytes()
    }

    /// Whether a run would find its place.
    pub(super) fn can_take_run(&self) -> bool {
        self.window.held_bytes() < RUNS_BELOW || self.window.first_held() != Some(self.window.first())
    }

    /// Whether there is a place for messages from `first` on.
    pub(super) fn has_place(&self, first: Seq) -> bool {
        let is_ahead = first > self.window.first();
        first < self.limit() && !(is_ahead && self.window.held_bytes() >= MAX_HELD_BYTES)
    }

    /// Returns the seq below which gaps are not reported, because they are the past, or due to a slow reader.
    pub(super) fn unannounced_below(&self) -> Seq {
        self.gaps.unannounced_below()
    }

    /// Returns when to call [`Self::work`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.gaps.due()
    }

    /// Takes the next message to deliver, if it has come, and a reported gap that it fills.
    pub(super) fn pop(&mut self, now: Instant, backoff: &mut NakBackoff) -> Option<(Message, Lane, Option<SeqRange>)> {
        let (message, lane) = self.window.pop()?;
        self.fingerprints.handle_delivered(message.seq.next());
        let filled = self.announced.handle_delivered(message.seq);
        self.make_places(now, backoff);
        Some((message, lane, filled))
    }

    /// Skips what is lost before the next message that can still be delivered; returns it.
    pub(super) fn skip_lost(&mut self, now: Instant, backoff: &mut NakBackoff) -> Option<SeqRange> {
        let lost = self.gaps.skip_lost(&mut self.window)?;
        self.announced.handle_lost(lost);
        self.reassembly.forget_below(self.window.first());
        self.make_places(now, backoff);
        Some(lost)
    }

    /// Makes places up to an advertised `head`, which is believed no further.
    pub(super) fn advertise(&mut self, now: Instant, head: Seq, backoff: &mut NakBackoff) {
        self.advertise_carried(now, head, None, backoff);
    }

    /// Makes places up to `head`. `pkts`: the datagrams that carried what is new up to it.
    fn advertise_carried(&mut self, now: Instant, head: Seq, pkts: Option<PktRange>, backoff: &mut NakBackoff) {
        self.gaps.advertise(head);
        let end = self.gaps.advertised().next().min(self.limit());
        if self.window.end() < end {
            self.gaps.extend(now, backoff.gap_wait(), end, pkts, &mut self.window);
        }
    }

    /// Makes places up to what is advertised, because others became free.
    pub(super) fn make_places(&mut self, now: Instant, backoff: &mut NakBackoff) {
        self.advertise(now, self.gaps.advertised(), backoff);
    }

    /// Returns the first of `messages` from the log under whose seq a datagram had another one.
    pub(super) fn conflict(&self, messages: &Messages, lane: Lane) -> Option<Seq> {
        self.fingerprints.conflict(messages, lane)
    }

    /// Holds messages for delivery; returns how many were new.
    pub(super) fn hold(
        &mut self,
        now: Instant,
        messages: Messages,
        lane: Lane,
        carried: MessageCarrier,
        backoff: &mut NakBackoff,
    ) -> u64 {
        if self.is_suspicious {
            self.fingerprints.note(self.window.first(), &messages, lane, carried.is_parted);
        }
        let first = messages.next_seq();
        if self.window.end() < first {
            self.gaps.extend(now, backoff.gap_wait(), first, carried.missed, &mut self.window);
        }
        if let Some(range) = SeqRange::new(first, Seq(messages.end().0 - 1)) {
            self.reassembly.forget_within(range);
        }
        self.window.hold(messages, lane, now, carried.pkt)
    }

    /// Takes the messages of one datagram.
    ///
    /// # Errors
    /// [`DecodeError`] if they are malformed.
    pub(super) fn take(
        &mut self,
        now: Instant,
        original: &Original,
        carried: MessageCarrier,
        backoff: &mut NakBackoff,
    ) -> Result<DatagramOutcome, DecodeError> {
        let Original { seq, fragment, bytes } = original;
        if fragment.is_whole() {
            self.take_block(now, *seq, bytes, carried, backoff)
        } else {
            self.take_fragment(now, *seq, *fragment, bytes, carried, backoff)
        }
    }

    /// Compares a datagram with what came otherwise, without taking its messages.
    ///
    /// # Errors
    /// [`DecodeError`] if they are malformed.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        original: &Original,
        backoff: &mut NakBackoff,
    ) -> Result<DatagramOutcome, DecodeError> {
        let mut outcome = DatagramOutcome::default();
        if original.fragment.is_whole() {
            let messages = Messages::parse(original.bytes.clone(), original.seq)?;
            if let Some(first) = self.fingerprints.conflict(&messages, Lane::Multicast) {
                let range = SeqRange { first, last: Seq(messages.end().0 - 1) };
                self.handle_conflict(now, range, backoff, &mut outcome);
            }
            self.fingerprints.note(self.window.first(), &messages, Lane::Multicast, false);
        }
        Ok(outcome)
    }

    fn take_block(
        &mut self,
        now: Instant,
        first: Seq,
        bytes: &Bytes,
        carried: MessageCarrier,
        backoff: &mut NakBackoff,
    ) -> Result<DatagramOutcome, DecodeError> {
        let mut messages = Messages::parse(bytes.clone(), first)?;
        let last = Seq(messages.end().0 - 1);
        let (next, limit) = (self.window.first(), self.limit());
        // What holds the next message is taken at any fill: delivering it is what frees the rest.
        let is_next = first <= next && next <= last;
        let is_full = self.window.held_bytes() >= MAX_HELD_BYTES && !is_next;
        let mut outcome = DatagramOutcome::default();
        if is_full || first >= limit {
            self.refuse(first, &mut outcome);
        } else {
            if last >= limit {
                messages.cut(limit);
                self.refuse(limit, &mut outcome);
            }
            self.drop_conflicts(now, &mut messages, backoff, &mut outcome);
            if !messages.is_empty() {
                outcome.fresh = self.hold(now, messages, Lane::Multicast, carried, backoff);
            }
        }
        // Also where it was refused: only so is it known to be missing, and read from the log later.
        self.gaps.handle_sent(last);
        self.advertise(now, last, backoff);
        Ok(outcome)
    }

    fn take_fragment(
        &mut self,
        now: Instant,
        seq: Seq,
        fragment: Fragment,
        bytes: &Bytes,
        carried: MessageCarrier,
        backoff: &mut NakBackoff,
    ) -> Result<DatagramOutcome, DecodeError> {
        let mut outcome = DatagramOutcome::default();
        if seq < self.window.first() || self.window.is_held(seq) {
            if self.fingerprints.contradicts_part(seq) {
                self.handle_conflict(now, SeqRange { first: seq, last: seq }, backoff, &mut outcome);
            }
            return Ok(outcome);
        }
        if seq >= self.limit() || self.window.held_bytes() >= MAX_HELD_BYTES {
            self.refuse(seq, &mut outcome);
            self.advertise(now, seq, backoff);
            return Ok(outcome);
        }
        if self.window.end() < seq {
            // Only the datagrams before the first fragment carried earlier messages; those after it are parts of this one.
            let first_pkt = carried.pkt.map(|pkt| Pkt(pkt.0.saturating_sub(fragment.index.into())));
            let before =
                carried.missed.zip(first_pkt).and_then(|(pkts, own)| PktRange::new(pkts.first, own.0.max(1) - 1));
            self.advertise_carried(now, Seq(seq.0 - 1), before, backoff);
        }
        self.advertise(now, seq, backoff);
        // Fragments leave in order, so the last one says that the others were sent.
        if fragment.index + 1 == fragment.count {
            self.gaps.handle_sent(seq);
        }
        match self.reassembly.insert(seq, fragment, carried.pkt, bytes) {
            InsertOutcome::Stored => {
                let due = now + timing::reorder(backoff.grtt());
                let first = self.reassembly.first_pkt(seq);
                let pkts =
                    first.and_then(|Pkt(first)| PktRange::new(first, first.saturating_add(fragment.count.into()) - 1));
                self.gaps.handle_progress(now, due, seq, pkts, &mut self.window);
                outcome.fresh = 1;
            }
            InsertOutcome::Duplicate => {}
            InsertOutcome::Refused => outcome.is_refused = true,
            // Several messages that fit one datagram are never sent in parts: such a block is forged.
            InsertOutcome::Whole(block) if Block::parse(&block)?.count() == 1 => {
                return self.take_block(now, seq, &block, MessageCarrier { is_parted: true, ..carried }, backoff);
            }
            InsertOutcome::Whole(_) => return Err(DecodeError::Field("message count")),
        }
        Ok(outcome)
    }

    /// Drops messages of a datagram that contradict what was taken.
    fn drop_conflicts(
        &mut self,
        now: Instant,
        messages: &mut Messages,
        backoff: &mut NakBackoff,
        outcome: &mut DatagramOutcome,
    ) {
        while let Some(seq) = self.fingerprints.conflict(messages, Lane::Multicast) {
            let range = SeqRange { first: seq, last: Seq(messages.end().0 - 1) };
            self.handle_conflict(now, range, backoff, outcome);
            if seq < self.window.first() {
                messages.skip_to(self.window.first());
            } else {
                messages.cut(seq);
            }
        }
    }

    /// Handles other messages under `range` than were taken: delivered ones are to be compared with the log, waiting ones
    /// are requested again.
    fn handle_conflict(
        &mut self,
        now: Instant,
        range: SeqRange,
        backoff: &mut NakBackoff,
        outcome: &mut DatagramOutcome,
    ) {
        outcome.is_contradiction = true;
        match SeqRange::new(range.first, range.last.min(self.delivered())) {
            Some(delivered) => outcome.suspect = Some(delivered),
            None => self.release(now, range, backoff),
        }
    }

    /// Refuses `seq`, for which there is no place. If the reader takes no messages repair would not help, so it is read
    /// from the log.
    fn refuse(&mut self, seq: Seq, outcome: &mut DatagramOutcome) {
        outcome.is_refused = true;
        if self.window.is_held(self.window.first()) {
            self.gaps.handle_overrun(seq);
        }
    }

    /// Drops messages of datagrams that contradict each other before either was delivered; they are requested again.
    pub(super) fn release(&mut self, now: Instant, range: SeqRange, backoff: &mut NakBackoff) {
        let due = now + backoff.gap_wait();
        let released = self.window.release(range, MissingState::new(now, due, None));
        released.into_iter().chain([range]).for_each(|range| self.fingerprints.forget(range));
        self.gaps.wake_at(due);
    }

    /// Restarts delivery at `to`, because what was delivered from there on is not in the log; returns the range of that.
    pub(super) fn go_back(&mut self, now: Instant, to: Seq) -> Option<SeqRange> {
        let range = SeqRange::new(to, self.delivered())?;
        // The forged messages' hashes would make the true ones look like contradictions.
        self.fingerprints.forget(SeqRange { first: to, last: Seq(u64::MAX) });
        self.window = ReceiveWindow::new(to);
        self.gaps.go_back(now, to);
        self.announced.cut(Seq(to.0.saturating_sub(1)));
        self.reassembly.clear();
        Some(range)
    }

    /// Has everything that is missing up to `last` read from the log, which a trusted source says reaches there.
    pub(super) fn catch_up(&mut self, now: Instant, last: Seq, backoff: &mut NakBackoff) {
        self.gaps.catch_up(last);
        self.advertise(now, last, backoff);
        self.gaps.hasten(now, &mut self.window);
    }

    /// Whether missing messages are to be read from the log because a trusted source said that it has them.
    pub(super) fn is_catching_up(&self) -> bool {
        self.gaps.is_catching_up(&self.window)
    }

    /// Whether the log is being read.
    pub(super) const fn is_reading(&self) -> bool {
        self.gaps.is_reading()
    }

    /// Notes a read of the log that was started for another reason than a gap.
    pub(super) const fn begin_reading(&mut self, now: Instant, range: SeqRange) {
        self.gaps.begin_reading(now, range);
    }

    /// Ends a read of the log. What datagrams advertised or brought beyond its end was forged.
    pub(super) fn end_history(&mut self, now: Instant, end: HistoryEnd) {
        let read = self.gaps.end_history(now, end, &mut self.window);
        if let (HistoryEnd::Reached { head }, Some(read)) = (end, read)
            && head < read.last
        {
            let from = head.next().max(self.window.first());
            self.fingerprints.forget(SeqRange { first: from, last: Seq(u64::MAX) });
        }
        self.announced.cut(self.gaps.advertised());
    }

    /// Handles that the log has nothing before `oldest` any more: what is missing below is lost.
    pub(super) fn trim_to(&mut self, oldest: Seq) {
        self.gaps.trim_to(oldest);
    }

    /// Handles a heartbeat. `missed`: the datagrams that did not come before it.
    pub(super) fn handle_heartbeat(
        &mut self,
        now: Instant,
        head: Seq,
        oldest_repairable: Seq,
        missed: Option<PktRange>,
        backoff: &mut NakBackoff,
    ) {
        self.gaps.handle_heartbeat(head, oldest_repairable);
        self.advertise_carried(now, head, missed, backoff);
    }

    /// Handles the head that the relay itself answered to a question sent at `asked`.
    pub(super) fn confirm(&mut self, now: Instant, head: Seq, asked: Instant, backoff: &mut NakBackoff) {
        self.gaps.confirm(now, head, asked, backoff.gap_wait(), &mut self.window);
        self.announced.cut(self.gaps.advertised());
    }

    /// Believes what datagrams advertise, because the relay does not answer.
    pub(super) fn confirm_unanswered(&mut self) {
        self.gaps.confirm_unanswered();
    }

    /// Waits for repairs that an NCF confirmed to others. Members that still lack one then request it at random times
    /// again, or all that this silenced would at once.
    pub(super) fn handle_ncf(&mut self, now: Instant, ranges: &[NakRange], backoff: &mut NakBackoff) {
        let wait = backoff.nak_backoff();
        self.gaps.handle_ncf(now, ranges, backoff.grtt(), wait, &mut self.window);
    }

    /// Waits for more parity before anything is requested.
    pub(super) fn handle_parity(&mut self, now: Instant, grtt: Duration) {
        self.gaps.handle_parity(now, grtt);
    }

    /// Restarts all requests, because repair is possible again.
    pub(super) fn restart_requests(&mut self, now: Instant, backoff: &mut NakBackoff) {
        let due = now + backoff.gap_wait();
        self.gaps.restart(now, due, &mut self.window);
    }

    /// Decides about what is missing and due; returns what to request.
    pub(super) fn work(&mut self, now: Instant, means: RecoveryMeans, blocks: &ReceivedBlocks) -> RecoveryRequests {
        self.gaps.work(now, means, &mut self.window, &self.reassembly, blocks)
    }

    /// Returns what to report of a gap that is recovered: nothing if only the past is being read, or the reader takes no
    /// messages. A gap is believed only up to the last message that came, and not if it is so long that the log, where
    /// there is one, is read at once, which knows better.
    pub(super) fn announce(&mut self, range: SeqRange, history: bool) -> Vec<SeqRange> {
        let last = range.last.min(Seq(self.window.held_end().0.saturating_sub(1)));
        match SeqRange::new(range.first.max(self.gaps.unannounced_below()), last) {
            Some(range) if !history || range.len() < MAX_NAK_GAP => self.announced.add(range),
            Some(_) | None => Vec::new(),
        }
    }

    /// Returns the seq after the last place that datagrams can fill.
    fn limit(&self) -> Seq {
        self.window.first().plus(PLACES)
    }
}

#[cfg(test)]
mod tests;
