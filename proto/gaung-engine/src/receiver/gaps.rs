//! What is missing, and what to do about it: wait, ask the relay, read the log, or give up.

use std::time::{Duration, Instant};

use gaung_proto::{Seq, SeqRange, body::NakRange, limits::MAX_NAK_RANGES};

use super::{
    HistoryEnd,
    reassembly::Reassembly,
    window::{Missing, Window},
};

/// More messages than this missing at once are read from the log.
pub const MAX_NAK_GAP: u64 = 1024;

/// NAKs for one message before the log is read.
const MAX_NAKS: u8 = 4;
/// NAKs for one message where there is no log to read.
const MAX_NAKS_ALONE: u8 = 8;
/// NCFs heeded for one message: forged ones silence no longer.
const MAX_SILENCED: u8 = 4;
/// The first wait for a repair is 6 round trips, at least this; it doubles.
const MIN_RETRY: Duration = Duration::from_millis(4);
const RETRY_ROUND_TRIPS: u32 = 6;
/// The longest wait for a repair: a relay that stood still for a moment makes round trips look long for many seconds, and
/// who has no log to read waits for eight repairs in turn.
const MAX_RETRY: Duration = Duration::from_millis(500);
/// A message missing for so long is read from the log.
const MAX_AGE: Duration = Duration::from_millis(250);
/// Until a reading that cannot be asked for now is thought of again.
const RECHECK: Duration = Duration::from_millis(20);
/// After a reading that failed or brought nothing.
const READ_AGAIN: Duration = Duration::from_millis(500);
/// After a reading that showed that a datagram had lied; doubles up to 8 s.
const AFTER_LIE: Duration = Duration::from_millis(250);

/// Decides for the missing places of a window.
#[derive(Debug)]
pub(super) struct Gaps {
    /// The highest seq that anybody spoke of.
    claimed: Seq,
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

/// What to ask for now.
#[derive(Debug, Default)]
pub(super) struct Asks {
    /// At most [`MAX_NAK_RANGES`].
    pub(super) naks: Vec<NakRange>,
    pub(super) history: Option<SeqRange>,
}

impl Gaps {
    /// `next`: the first message wanted.
    pub(super) const fn new(next: Seq, now: Instant) -> Self {
        Self {
            claimed: Seq(next.0.saturating_sub(1)),
            sent: Seq::ZERO,
            catch_up: Seq::ZERO,
            overrun: Seq::ZERO,
            trim: Seq::ZERO,
            oldest_repairable: [Seq::ZERO; 2],
            due: None,
            asked: None,
            ask_not_before: now,
            lies: 0,
        }
    }

    pub(super) const fn claimed(&self) -> Seq {
        self.claimed
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
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

    /// Makes places up to before `end`; whoever is missing then is asked for after `wait`.
    pub(super) fn extend(&mut self, now: Instant, wait: Duration, end: Seq, window: &mut Window) {
        let due = now + wait;
        window.extend(end, Missing { since: now, due, naks: 0, silenced: 0 });
        self.wake_at(due);
    }

    /// A fragment of `seq` came: the others may be on their way.
    pub(super) fn handle_progress(&mut self, now: Instant, due: Instant, seq: Seq, window: &mut Window) {
        if let Some(missing) = window.missing_mut(seq) {
            missing.since = now;
            missing.due = missing.due.max(due);
        }
        self.wake_at(due);
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
        let due = now + retry(grtt, 1) + backoff;
        for (seq, missing) in window.missing() {
            let named = ranges.iter().any(|range| range.first_seq <= seq && seq <= range.last_seq);
            if named && missing.silenced < MAX_SILENCED {
                missing.silenced += 1;
                missing.due = missing.due.max(due);
            }
        }
    }

    /// Repair is possible again: what is missing is counted from now.
    pub(super) fn begin_anew(&mut self, now: Instant, due: Instant, window: &mut Window) {
        for (_, missing) in window.missing() {
            *missing = Missing { since: now, due, naks: 0, silenced: 0 };
            self.due = Some(due);
        }
    }

    /// What is to be read anyway is read now.
    pub(super) fn hasten(&mut self, now: Instant, window: &mut Window) {
        let catch_up = self.catch_up;
        window.missing().filter(|(seq, _)| *seq <= catch_up).for_each(|(_, missing)| missing.due = now);
        self.wake_at(now);
    }

    pub(super) fn end_history(&mut self, now: Instant, end: HistoryEnd, window: &mut Window) {
        let Some(asked) = self.asked.take() else { return };
        match end {
            HistoryEnd::Failed => self.ask_not_before = now + READ_AGAIN,
            HistoryEnd::Reached { head } if head < asked.range.last => {
                window.cut(head.next(), asked.since);
                self.claimed = head.max(Seq(window.end().0 - 1));
                self.overrun = self.overrun.min(self.claimed);
                self.sent = self.sent.min(self.claimed);
                self.catch_up = self.catch_up.min(self.claimed);
                self.ask_not_before = now + AFTER_LIE * (1 << self.lies.min(5));
                self.lies += 1;
            }
            HistoryEnd::Reached { .. } => {
                self.lies = 0;
                let stuck = window.missing().next().is_some_and(|(seq, _)| seq <= asked.range.last);
                self.ask_not_before = if stuck { now + READ_AGAIN } else { now };
            }
        }
        let due = now + RECHECK;
        for (_, missing) in window.missing().filter(|(seq, _)| *seq <= asked.range.last) {
            *missing = Missing { since: now, due, naks: 0, silenced: 0 };
        }
        self.wake_at(due);
    }

    /// Goes through what is due. `active`: repair may be asked for. `history`: the log can be read.
    pub(super) fn work(
        &mut self,
        now: Instant,
        active: bool,
        history: bool,
        grtt: Duration,
        window: &mut Window,
        reassembly: &Reassembly,
    ) -> Asks {
        self.due = None;
        let mut asks = Asks::default();
        if !active || window.missing_count() == 0 {
            return asks;
        }
        let (first, end) = (window.first(), window.end());
        let being_read = self.asked.map_or(Seq::ZERO, |asked| asked.range.last);
        let far = self.claimed.0.saturating_sub(first.0) >= MAX_NAK_GAP;
        let mut read: Option<SeqRange> = None;
        let mut lost_so_far = !history;
        let mut next: Option<Instant> = None;
        let mut wake = |at: Instant| next = Some(next.map_or(at, |next: Instant| next.min(at)));
        for (seq, missing) in window.missing().filter(|(seq, _)| *seq > being_read) {
            if missing.due > now {
                lost_so_far = false;
                wake(missing.due);
                continue;
            }
            if self.is_given_up(now, seq, missing, history, far) {
                let range = read.get_or_insert(SeqRange { first: seq, last: seq });
                range.last = seq;
                if lost_so_far {
                    self.trim = seq.next();
                }
                missing.due = now + RECHECK;
            } else {
                lost_so_far = false;
                let (asked, wait) = ask(&mut asks.naks, seq, reassembly, seq <= self.sent, missing, grtt);
                missing.naks += u8::from(asked);
                missing.due = now + wait;
            }
            wake(missing.due);
        }
        self.due = next;
        if !history {
            self.trim_unrepairable(first);
        } else if let Some(range) = read {
            asks.history = self.ask_history(now, range, far, end);
        }
        asks
    }

    /// Skips what is lost at the front; gives it.
    pub(super) fn settle(&self, window: &mut Window) -> Option<SeqRange> {
        let first = window.first();
        let mut to = first;
        while to < self.trim && to < window.end() && !window.is_held(to) {
            to = to.next();
        }
        if to == window.end() {
            to = to.max(self.trim);
        }
        if to == first {
            return None;
        }
        window.skip_to(to);
        SeqRange::new(first, Seq(to.0 - 1))
    }

    fn is_given_up(&self, now: Instant, seq: Seq, missing: &Missing, history: bool, far: bool) -> bool {
        if !history {
            return missing.naks >= MAX_NAKS_ALONE;
        }
        far || seq <= self.catch_up
            || seq <= self.overrun
            || seq < self.oldest_repairable[0]
            || missing.naks >= MAX_NAKS
            || now.saturating_duration_since(missing.since) >= MAX_AGE
    }

    /// Without a log, what two heartbeats say cannot be repaired is not waited for.
    fn trim_unrepairable(&mut self, first: Seq) {
        let oldest = self.oldest_repairable[0].min(self.oldest_repairable[1]).min(self.claimed.next());
        if first < oldest {
            self.trim = self.trim.max(oldest);
        }
    }

    fn ask_history(&mut self, now: Instant, mut range: SeqRange, far: bool, end: Seq) -> Option<SeqRange> {
        if self.asked.is_some() || now < self.ask_not_before {
            self.wake_at(self.ask_not_before.max(now + RECHECK));
            return None;
        }
        if far {
            range.last = range.last.max(self.claimed);
        }
        if range.last.next() >= end {
            range.last = range.last.max(self.catch_up).max(self.overrun);
        }
        self.asked = Some(Asked { range, since: now });
        Some(range)
    }

    fn wake_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// Adds `seq`, or the fragments of it that are missing, to the NAK. Gives whether it was added, and when to look again.
fn ask(
    naks: &mut Vec<NakRange>,
    seq: Seq,
    reassembly: &Reassembly,
    all_sent: bool,
    missing: &Missing,
    grtt: Duration,
) -> (bool, Duration) {
    let wait = retry(grtt, missing.naks + 1);
    let Some(fragments) = reassembly.missing(seq, all_sent) else {
        let whole = |range: &&mut NakRange| range.last_fragment == u16::MAX && range.last_seq.next() == seq;
        if let Some(range) = naks.last_mut().filter(whole) {
            range.last_seq = seq;
            return (true, wait);
        }
        if naks.len() == MAX_NAK_RANGES {
            return (false, MIN_RETRY);
        }
        naks.push(NakRange::messages(seq, seq));
        return (true, wait);
    };
    let room = MAX_NAK_RANGES - naks.len();
    let asked = !fragments.is_empty() && room > 0;
    naks.extend(fragments.into_iter().take(room).map(|(first_fragment, last_fragment)| NakRange {
        first_seq: seq,
        last_seq: seq,
        first_fragment,
        last_fragment,
    }));
    (asked, wait)
}

/// The wait after the n-th NAK.
fn retry(grtt: Duration, n: u8) -> Duration {
    (MIN_RETRY.max(grtt * RETRY_ROUND_TRIPS) * (1 << u32::from(n - 1).min(6))).min(MAX_RETRY)
}

/// The gaps that people were told of, in order, apart.
#[derive(Debug, Default)]
pub(super) struct Announced {
    ranges: Vec<SeqRange>,
}

/// More are not told of.
const MAX_ANNOUNCED: usize = 64;

impl Announced {
    /// Gives what of `range` is news.
    pub(super) fn add(&mut self, range: SeqRange) -> Vec<SeqRange> {
        let mut fresh = Vec::new();
        let mut from = range.first;
        for known in &self.ranges {
            if known.last < from {
                continue;
            }
            if known.first > range.last {
                break;
            }
            fresh.extend(SeqRange::new(from, Seq(known.first.0 - 1)));
            from = known.last.next();
        }
        fresh.extend(SeqRange::new(from, range.last));
        fresh.truncate(MAX_ANNOUNCED.saturating_sub(self.ranges.len()));
        self.ranges.extend(&fresh);
        self.ranges.sort_by_key(|range| range.first);
        fresh
    }

    /// Everything up to `seq` was delivered; gives a gap that is filled by it.
    pub(super) fn handle_delivered(&mut self, seq: Seq) -> Option<SeqRange> {
        (self.ranges.first()?.last <= seq).then(|| self.ranges.remove(0))
    }

    /// `lost` was skipped.
    pub(super) fn handle_lost(&mut self, lost: SeqRange) {
        self.ranges.retain_mut(|range| {
            if range.first <= lost.last {
                range.first = range.first.max(lost.last.next());
            }
            range.first <= range.last
        });
    }

    /// Nothing after `head` exists.
    pub(super) fn cut(&mut self, head: Seq) {
        self.ranges.retain_mut(|range| {
            range.last = range.last.min(head);
            range.first <= range.last
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> SeqRange {
        SeqRange { first: Seq(first), last: Seq(last) }
    }

    #[test]
    fn a_gap_is_told_once() {
        let mut announced = Announced::default();
        assert_eq!(announced.add(range(5, 9)), [range(5, 9)]);
        assert_eq!(announced.add(range(5, 9)), []);
        assert_eq!(announced.add(range(3, 12)), [range(3, 4), range(10, 12)]);
        assert_eq!(announced.handle_delivered(Seq(3)), None);
        assert_eq!(announced.handle_delivered(Seq(4)), Some(range(3, 4)));
        announced.handle_lost(range(5, 6));
        assert_eq!(announced.handle_delivered(Seq(9)), Some(range(7, 9)));
        announced.cut(Seq(11));
        assert_eq!(announced.handle_delivered(Seq(11)), Some(range(10, 11)));
        for seq in 0..1000 {
            announced.add(range(100 + seq * 2, 100 + seq * 2));
        }
        assert_eq!(announced.ranges.len(), MAX_ANNOUNCED);
    }

    #[test]
    fn waits_for_repair_double() {
        let grtt = Duration::from_millis(1);
        assert_eq!(retry(Duration::ZERO, 1), MIN_RETRY);
        assert_eq!([1, 2, 3].map(|n| retry(grtt, n).as_millis()), [6, 12, 24]);
        assert_eq!(
            retry(grtt * 250, 8),
            MAX_RETRY,
            "a message that cannot be had holds the others up for seconds, not minutes"
        );
    }
}
