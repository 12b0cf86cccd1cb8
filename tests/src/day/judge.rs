//! The judge of a day. It knows no protocol: what was said, logged, acknowledged and heard, and when.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use gaung_proto::{ClientId, ClientSeq, Seq, run::Run};

use super::relay::KEPT;

/// Once all is well, everybody is heard and hears within this time.
pub const DEAF_OR_MUTE: Duration = Duration::from_secs(20);
/// Messages that are too old are gone so soon: upkeep comes once a minute.
const GONE_AFTER: Duration = Duration::from_secs(180);

/// How often things happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayCounts {
    /// Messages in the log.
    pub logged: u64,
    /// Messages whose publishers know.
    pub acked: u64,
    /// Messages given to readers.
    pub delivered: u64,
    /// Tickets that the registry gave.
    pub tickets: u64,
    /// Tickets that a relay or a hub did not take.
    pub refused: u64,
    /// Old tickets that were tried, and rightly not taken.
    pub expired: u64,
    /// Messages that retention dropped.
    pub dropped: u64,
    /// Addresses that groups got again after theirs had lapsed.
    pub regained: u64,
}

/// What must hold, and whether it did.
#[derive(Debug)]
pub(super) struct Judge {
    failure: Option<String>,
    pub(super) counts: DayCounts,
    log: Vec<Logged>,
    in_log: HashSet<(ClientId, ClientSeq)>,
    members: Vec<Member>,
    oldest: Seq,
}

#[derive(Debug, Clone, Copy)]
struct Logged {
    author: (ClientId, ClientSeq),
    at: Duration,
    /// The relay's wall clock then, ms since 1970.
    stamp_ms: i64,
}

#[derive(Debug, Clone)]
struct Member {
    /// What it said that is not acknowledged, and when.
    waiting: VecDeque<(ClientSeq, Duration)>,
    /// The next message that it has to hear.
    next: Seq,
}

impl Judge {
    pub(super) fn new(members: usize) -> Self {
        Self {
            failure: None,
            counts: DayCounts::default(),
            log: Vec::new(),
            in_log: HashSet::new(),
            members: vec![Member { waiting: VecDeque::new(), next: Seq::FIRST }; members],
            oldest: Seq::FIRST,
        }
    }

    /// The first thing that did not hold.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn fail(&mut self, at: Duration, what: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let (hours, minutes, seconds) = (at.as_secs() / 3600, at.as_secs() / 60 % 60, at.as_secs() % 60);
            self.failure = Some(format!("at {hours:02}:{minutes:02}:{seconds:02} {}", what()));
        }
    }

    pub(super) fn head(&self) -> Seq {
        Seq(self.log.len() as u64)
    }

    pub(super) fn said(&mut self, at: Duration, member: usize, client_seq: ClientSeq) {
        self.members[member].waiting.push_back((client_seq, at));
    }

    /// A run is in the log from now on.
    pub(super) fn logged(&mut self, at: Duration, run: &Run) {
        for message in run.messages() {
            let (wanted, author) = (self.head().next(), (message.author.client, message.client_seq));
            if message.seq != wanted {
                self.fail(at, || format!("{} was logged where {wanted} comes next", message.seq));
            }
            if !self.in_log.insert(author) {
                self.fail(at, || format!("{author:?} was logged twice, again as {}", message.seq));
            }
            self.log.push(Logged { author, at, stamp_ms: (message.sent_at.0 / 1000) as i64 });
            self.counts.logged += 1;
        }
    }

    pub(super) fn acked(&mut self, at: Duration, member: usize, client: ClientId, client_seq: ClientSeq, seq: Seq) {
        self.counts.acked += 1;
        if self.entry(seq).is_none_or(|entry| entry.author != (client, client_seq)) {
            self.fail(at, || format!("{client_seq:?} of device {member} was acknowledged as {seq}, which it is not"));
        }
        let waiting = self.members[member].waiting.pop_front();
        if waiting.is_none_or(|(said, _)| said != client_seq) {
            self.fail(at, || format!("{client_seq:?} of device {member} was acknowledged, {waiting:?} comes next"));
        }
    }

    pub(super) fn delivered(&mut self, at: Duration, member: usize, seq: Seq) {
        self.counts.delivered += 1;
        let next = std::mem::replace(&mut self.members[member].next, seq.next());
        if seq != next || seq > self.head() {
            self.fail(at, || format!("device {member} was given {seq} where {next} comes next"));
        }
    }

    /// Another process: what the last one had not sent is gone, and it hears what comes from now on.
    pub(super) fn restarted(&mut self, member: usize) {
        self.members[member] = Member { waiting: VecDeque::new(), next: self.head().next() };
    }

    /// All has been well for a member since `calm`: it is not mute, and not deaf.
    pub(super) fn check(&mut self, at: Duration, member: usize, calm: Duration) {
        let is_late = |since: Duration| at.saturating_sub(since.max(calm)) > DEAF_OR_MUTE;
        let Member { waiting, next } = &self.members[member];
        let (said, next) = (waiting.front().copied(), *next);
        if let Some((client_seq, _)) = said.filter(|&(_, said_at)| is_late(said_at)) {
            self.fail(at, || format!("device {member} is mute: {client_seq:?} is not acknowledged"));
        }
        if self.entry(next).is_some_and(|entry| is_late(entry.at)) {
            self.fail(at, || format!("device {member} is deaf: it waits for {next}"));
        }
    }

    /// Retention has kept what comes from `oldest` on. `unix_ms`: the relay's wall clock; `is_settled`: the relay has run for
    /// long and nobody set its clock.
    pub(super) fn kept(&mut self, at: Duration, oldest: Seq, unix_ms: i64, is_settled: bool) {
        if self.oldest < oldest {
            self.check_ages(at, oldest, unix_ms);
            self.counts.dropped += oldest.0 - self.oldest.0;
            self.oldest = oldest;
        }
        if let Some(entry) = self.entry(oldest).filter(|entry| is_settled && at - entry.at > KEPT + GONE_AFTER) {
            self.fail(at, || format!("{oldest}, which was logged at {:?}, is kept for too long", entry.at));
        }
    }

    /// What was dropped is too old by the relay's clock, or comes before something that is.
    fn check_ages(&mut self, at: Duration, oldest: Seq, unix_ms: i64) {
        let first = (self.oldest.0 - 1) as usize;
        let mut earliest_ms = i64::MAX;
        let mut early = None;
        for (index, entry) in self.log.iter().enumerate().skip(first).rev() {
            earliest_ms = earliest_ms.min(entry.stamp_ms);
            let age_ms = unix_ms.saturating_sub(earliest_ms);
            if (index as u64) < oldest.0 - 1 && age_ms < KEPT.as_millis() as i64 {
                early = Some((index + 1, age_ms));
            }
        }
        if let Some((seq, age_ms)) = early {
            self.fail(at, || format!("{seq} was dropped when it was {age_ms} ms old"));
        }
    }

    fn entry(&self, seq: Seq) -> Option<Logged> {
        self.log.get(usize::try_from(seq.0.checked_sub(1)?).ok()?).copied()
    }
}
