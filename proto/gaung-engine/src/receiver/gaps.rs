//! What is missing, and what to do about it: wait, ask the relay, read the log, or give up.

use std::time::{Duration, Instant};

use gaung_proto::{Seq, SeqRange, body::NakRange};

use super::{
    HistoryEnd,
    asks::{Asker, Outcome},
    blocks::Blocks,
    reassembly::Reassembly,
    spans::{Missing, Pkts},
    window::{PLACES, Window},
};
use crate::timing::{self, TIMING};

/// More messages than this missing in a row are read from the log.
pub const MAX_NAK_GAP: u64 = 1024;
/// More messages than this missing in all are read from the log: repair does not keep up.
const MAX_MISSING: u64 = PLACES / 2;

/// NAKs for one message before the log is read.
const MAX_NAKS: u8 = 7;
/// NAKs for one message where there is no log to read.
const MAX_NAKS_ALONE: u8 = 8;
/// NCFs heeded for one message: forged ones silence no longer.
const MAX_SILENCED: u8 = 4;
/// So many times: after a liar has gone, what is really missing is read within 2 s.
const MAX_DOUBLINGS: u32 = 3;

/// Decides for the missing places of a window.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The highest seq that anybody spoke of.
    claimed: Seq,
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
    /// As the last two heartbeats had it.
    oldest_repairable: [Seq; 2],
    due: Option<Instant>,
    /// No NAK before.
    nak_not_before: Instant,
    asked: Option<Asked>,
    ask_not_before: Instant,
    lies: u32,
}

/// The log is being read.
#[derive(Debug, Clone, Copy)]
struct Asked {
    range: SeqRange,
    since: Instant,
}

/// How the missing may be had.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// Repair may be asked for.
    pub(super) repair: bool,
    /// The log can be read.
    pub(super) history: bool,
    pub(super) grtt: Duration,
}

/// What to ask for now.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// At most [`gaung_proto::limits::MAX_NAK_RANGES`].
    pub(super) naks: Vec<NakRange>,
    pub(super) history: Option<SeqRange>,
    /// Something would be given up, and has to be confirmed by the relay first.
    pub(super) confirm: bool,
}

impl Gaps {
    /// `next`: the first message wanted.
    pub(super) const fn new(next: Seq, now: Instant) -> Self {
        Self {
            claimed: Seq(next.0.saturating_sub(1)),
            confirmed: Seq::ZERO,
            sent: Seq::ZERO,
            catch_up: Seq::ZERO,
            overrun: Seq::ZERO,
            trim: Seq::ZERO,
            oldest_repairable: [Seq::ZERO; 2],
            due: None,
            nak_not_before: now,
            asked: None,
            ask_not_before: now,
            lies: 0,
        }
    }

    pub(super) const fn claimed(&self) -> Seq {
        self.claimed
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.map(|due| due.max(self.nak_not_before))
    }

    pub(super) fn is_catching_up(&self, window: &Window) -> bool {
        window.first() <= self.catch_up
    }

    /// Gaps below this are the past, or the reader's own slowness, and no news to people.
    pub(super) fn unannounced_below(&self) -> Seq {
        self.catch_up.max(self.overrun).next()
    }

    pub(super) fn claim(&mut self, head: Seq) {
        self.claimed = self.claimed.max(head);
    }

    /// The relay itself says, to a question asked at `asked`, that its log ends at `head`. What lies behind it and came earlier
    /// was made up. Without this, only what reads of the log found would be known.
    pub(super) fn confirm(&mut self, now: Instant, head: Seq, asked: Instant, wait: Duration, window: &mut Window) {
        if let Some(known) = SeqRange::new(self.confirmed.next(), head) {
            let due = now + wait;
            window.missing_mut().within_mut(known).for_each(|missing| missing.due = missing.due.min(due));
            self.wake_at(due);
        }
        self.confirmed = self.confirmed.max(head);
        if head < self.claimed {
            window.cut(head.next(), asked);
            self.claimed = head.max(Seq(window.end().0 - 1));
            self.sent = self.sent.min(self.claimed);
        }
    }

    /// The relay cannot be asked: what is said of it is believed.
    pub(super) fn confirm_unasked(&mut self) {
        self.confirmed = self.claimed;
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
        self.claim(Seq(oldest.0.saturating_sub(1)));
    }

    /// Makes places up to before `end`; whoever is missing then is asked for after `wait`. `pkts`: what carried them.
    pub(super) fn extend(&mut self, now: Instant, wait: Duration, end: Seq, pkts: Option<Pkts>, window: &mut Window) {
        let due = now + wait;
        window.extend(end, Missing::new(now, due, pkts));
        self.wake_at(due);
    }

    /// A fragment of `seq` came: the others may be on their way. `pkts`: all that carry it.
    pub(super) fn handle_progress(
        &mut self,
        now: Instant,
        due: Instant,
        seq: Seq,
        pkts: Option<Pkts>,
        window: &mut Window,
    ) {
        for missing in window.missing_mut().within_mut(SeqRange { first: seq, last: seq }) {
            missing.since = now;
            missing.due = missing.due.max(due);
            missing.pkts = pkts;
        }
        self.wake_at(due);
    }

    /// Parity came for something: what it does not heal is asked for once no more of it comes.
    pub(super) fn handle_parity(&mut self, now: Instant, grtt: Duration) {
        self.wake_at(now + timing::linger(grtt));
    }

    /// Another asked already: wait for the repair as if the NAK had been one's own.
    pub(super) fn handle_ncf(
        &mut self,
        now: Instant,
        ranges: &[NakRange],
        grtt: Duration,
        backoff: Duration,
        window: &mut Window,
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

    /// Repair is possible again: what is missing is counted from now.
    pub(super) fn begin_anew(&mut self, now: Instant, due: Instant, window: &mut Window) {
        for (_, missing) in window.missing_mut().rows_mut() {
            *missing = missing.anew(now, due);
            self.due = Some(due);
        }
    }

    /// What is to be read anyway is read now.
    pub(super) fn hasten(&mut self, now: Instant, window: &mut Window) {
        if let Some(range) = SeqRange::new(window.first(), self.catch_up) {
            window.missing_mut().within_mut(range).for_each(|missing| missing.due = now);
        }
        self.wake_at(now);
    }

    /// Gives what was asked for.
    pub(super) fn end_history(&mut self, now: Instant, end: HistoryEnd, window: &mut Window) -> Option<SeqRange> {
        let asked = self.asked.take()?;
        match end {
            HistoryEnd::Failed => self.ask_not_before = now + TIMING.history_retry,
            HistoryEnd::Reached { head } if head < asked.range.last => {
                window.cut(head.next(), asked.since);
                self.claimed = head.max(Seq(window.end().0 - 1));
                self.overrun = self.overrun.min(self.claimed);
                self.sent = self.sent.min(self.claimed);
                self.catch_up = self.catch_up.min(self.claimed);
                self.ask_not_before = now + TIMING.history_after_forgery * (1 << self.lies.min(MAX_DOUBLINGS));
                self.lies += 1;
            }
            HistoryEnd::Reached { .. } => {
                self.lies = 0;
                let stuck = window.missing().rows().next().is_some_and(|row| row.first <= asked.range.last);
                self.ask_not_before = if stuck { now + TIMING.history_retry } else { now };
            }
        }
        let due = now + TIMING.history_recheck;
        if let Some(range) = SeqRange::new(window.first(), asked.range.last) {
            window.missing_mut().within_mut(range).for_each(|missing| *missing = missing.anew(now, due));
        }
        self.wake_at(due);
        Some(asked.range)
    }

    /// Whether the log is being read.
    pub(super) const fn is_reading(&self) -> bool {
        self.asked.is_some()
    }

    /// The log is read for another reason than that something is missing.
    pub(super) const fn begin_reading(&mut self, now: Instant, range: SeqRange) {
        self.asked = Some(Asked { range, since: now });
    }

    /// What was heard of from `next` on is not believed any more; a reading under way goes on.
    pub(super) fn go_back(&mut self, now: Instant, next: Seq) {
        let head = Seq(next.0.saturating_sub(1));
        *self = Self {
            confirmed: self.confirmed.min(head),
            sent: self.sent.min(head),
            oldest_repairable: self.oldest_repairable.map(|oldest| oldest.min(next)),
            asked: self.asked,
            ..Self::new(next, now)
        };
    }

    /// Goes through what is due.
    pub(super) fn work(
        &mut self,
        now: Instant,
        ways: Ways,
        window: &mut Window,
        reassembly: &Reassembly,
        blocks: &Blocks,
    ) -> Asks {
        self.due = None;
        let mut asks = Asks::default();
        if !ways.repair || window.missing().messages() == 0 {
            return asks;
        }
        let end = window.end();
        if !ways.history {
            asks.confirm = self.put_off_unknown(now, window);
        }
        let far = self.far(window);
        let mut asker = Asker::new(reassembly, blocks, ways.grtt, self.sent);
        let being_read = self.asked.map_or(Seq::ZERO, |asked| asked.range.last);
        let mut read: Option<SeqRange> = None;
        let mut lost_so_far = !ways.history;
        let mut rows = 0;
        for (row, missing) in window.missing_mut().rows_mut().filter(|(row, _)| row.last > being_read) {
            rows += 1;
            heed_parity(missing, blocks, ways.grtt);
            if missing.due > now {
                lost_so_far = false;
            } else if self.is_given_up(now, row, missing, ways.history, &far) {
                read.get_or_insert(row).last = row.last;
                if lost_so_far && row.first <= self.confirmed {
                    self.trim = row.last.min(self.confirmed).next();
                    if self.trim == end {
                        self.trim = self.trim.max(self.unrepairable_below().min(self.confirmed.next()));
                    }
                }
                // What is given up cannot be had once it is said.
                let is_confirmed = row.last <= self.confirmed;
                asks.confirm |= !ways.history && !is_confirmed;
                lost_so_far &= is_confirmed;
                missing.due = now + TIMING.history_recheck;
            } else {
                lost_so_far = false;
                let wait = match asker.ask(row, missing) {
                    Outcome::Asked(wait) => {
                        missing.naks += 1;
                        wait
                    }
                    Outcome::NotNeeded(wait) => wait,
                    Outcome::NoRoom => TIMING.nack_spacing,
                };
                missing.touched = now;
                missing.due = now + wait;
            }
            self.due = Some(self.due.map_or(missing.due, |due| due.min(missing.due)));
        }
        asks.naks = asker.into_ranges();
        let spacing = if asks.naks.is_empty() { Duration::ZERO } else { TIMING.nack_spacing };
        self.nak_not_before = now + spacing.max(TIMING.gap_scan_rest * rows);
        if let Some(range) = read.filter(|_| ways.history) {
            let to_end = far.last().is_some_and(|far| far.last >= end);
            asks.history = self.ask_history(now, range, to_end, end);
        }
        asks
    }

    /// Puts off asking for messages that nothing but heartbeats speaks of: anybody can speak of some, and whoever asks for them
    /// would use up its share of repairs. True if there are such.
    fn put_off_unknown(&self, now: Instant, window: &mut Window) -> bool {
        let known = self.confirmed.next().max(window.held_end());
        let Some(unknown) = SeqRange::new(known, Seq(window.end().0 - 1)) else { return false };
        let mut found = false;
        for missing in window.missing_mut().within_mut(unknown) {
            *missing = missing.anew(now, now + TIMING.history_recheck);
            found = true;
        }
        found
    }

    /// What is missing in rows too long to be asked for; all, if too much is.
    fn far(&self, window: &Window) -> Vec<SeqRange> {
        if window.missing().messages() >= MAX_MISSING {
            return vec![SeqRange { first: window.first(), last: self.claimed.max(window.end()) }];
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
        // The last row goes on to what is claimed beyond the window.
        let to_end = joined.filter(|row| row.last.next() == window.end());
        let joined = to_end.map(|row| SeqRange { last: row.last.max(self.claimed), ..row }).or(joined);
        far.extend(joined.filter(is_far));
        far
    }

    /// Skips what is lost at the front; gives it.
    pub(super) fn settle(&self, window: &mut Window) -> Option<SeqRange> {
        let first = window.first();
        let held = window.first_held().unwrap_or(window.end());
        let mut to = self.trim.min(window.end()).min(held).max(first);
        if to == window.end() {
            to = to.max(self.trim);
        }
        if to == first {
            return None;
        }
        window.skip_to(to);
        SeqRange::new(first, Seq(to.0 - 1))
    }

    fn is_given_up(&self, now: Instant, row: SeqRange, missing: &Missing, history: bool, far: &[SeqRange]) -> bool {
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

    /// Below here nothing can be repaired, as the last two heartbeats had it.
    fn unrepairable_below(&self) -> Seq {
        self.oldest_repairable[0].min(self.oldest_repairable[1]).min(self.claimed.next())
    }

    fn ask_history(&mut self, now: Instant, mut range: SeqRange, to_end: bool, end: Seq) -> Option<SeqRange> {
        if self.asked.is_some() || now < self.ask_not_before {
            self.wake_at(self.ask_not_before.max(now + TIMING.history_recheck));
            return None;
        }
        if to_end {
            range.last = range.last.max(self.claimed);
        }
        if range.last.next() >= end {
            range.last = range.last.max(self.catch_up).max(self.overrun);
        }
        self.asked = Some(Asked { range, since: now });
        Some(range)
    }

    pub(super) fn wake_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// Parity that came since the last ask, or while waiting to ask, says that repair is under way: wait for the rest of it,
/// and ask for what lacks then as if for the first time.
fn heed_parity(missing: &mut Missing, blocks: &Blocks, grtt: Duration) {
    let came = missing.pkts.and_then(|pkts| blocks.last_shard(pkts));
    if let Some(came) = came.filter(|came| *came > missing.touched) {
        missing.touched = came;
        missing.due = came + timing::linger(grtt);
        missing.naks = missing.naks.min(1);
    }
}
