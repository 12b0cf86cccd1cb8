//! Receipts: who has delivered a message, of those who were present when it was logged, by both lanes.

use std::time::Instant;

use gaung_proto::{SenderId, Seq};

use super::{
    RelaySender, SenderEvent,
    member::MemberState,
    members::{Heard, Members, Reporter, SessionReport},
};

/// Who has delivered a message, of those who were present when it was logged.
///
/// Known of members that are present, or have not been absent for more than a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Present then, and delivered.
    pub heard: u32,
    /// Present then.
    pub present: u32,
    /// Of those, text sessions, which cannot say.
    pub silent: u32,
    /// Known, but absent then.
    pub absent: u32,
}

impl Receipt {
    /// Nothing more can be learnt: all who can say have heard.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.heard + self.silent >= self.present
    }
}

/// What changes in the counts from one message to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    heard: i32,
    present: i32,
    silent: i32,
}

impl Members {
    /// Who has delivered `seq`.
    #[must_use]
    pub fn receipt(&self, seq: Seq) -> Receipt {
        self.receipts(&[seq]).first().copied().unwrap_or_default()
    }

    /// The receipts of messages, in the order given, which rises. Costs little more than one: each member adds to where
    /// its presence and its deliveries begin and end among them, and the sums are taken afterwards.
    #[must_use]
    pub fn receipts(&self, seqs: &[Seq]) -> Vec<Receipt> {
        let mut changes = vec![Change::default(); seqs.len() + 1];
        let upto = |last: Seq| seqs.partition_point(|&seq| seq <= last);
        for member in self.by_id.values() {
            let delivered = upto(member.delivered);
            for (since, until) in member.stays() {
                let from = upto(since);
                let to = until.map_or(seqs.len(), upto).max(from);
                let heard = delivered.clamp(from, to);
                let silent = if member.can_tell() { to } else { heard };
                changes[from].present += 1;
                changes[to].present -= 1;
                changes[from].heard += 1;
                changes[heard].heard -= 1;
                changes[silent].silent += 1;
                changes[to].silent -= 1;
            }
        }
        let known = self.by_id.len() as u32;
        let mut sum = Change::default();
        let receipt = |change: &Change| {
            sum.present += change.present;
            sum.heard += change.heard;
            sum.silent += change.silent;
            let (heard, present, silent) = (sum.heard as u32, sum.present as u32, sum.silent as u32);
            Receipt { heard, present, silent, absent: known - present }
        };
        changes.iter().take(seqs.len()).map(receipt).collect()
    }

    /// Those who were present at `seq` and have not delivered it, text sessions included.
    pub fn missing(&self, seq: Seq) -> impl Iterator<Item = (SenderId, &MemberState)> {
        let missing = self.by_id.iter().filter(move |(_, member)| member.was_present(seq) && member.delivered < seq);
        missing.map(|(&id, member)| (id, member))
    }

    /// How many messages, since the last call, were found to be lacked by nobody who was present and can tell. Begins
    /// with the first member.
    pub fn take_completed(&mut self) -> u64 {
        let positions = || self.by_id.values().filter_map(|member| Some((member.position()?, member)));
        let Some(upto) = positions().map(|(position, _)| position).min() else { return 0 };
        let first = positions().map(|(_, member)| member.first_sent()).min().unwrap_or(upto);
        let from = self.completed.max(first);
        if upto <= from {
            return 0;
        }
        let complete = upto.0 - from.0 - self.lacking(from, upto);
        self.completed = upto;
        complete
    }

    /// How many messages in (`from`, `upto`] somebody lacks who was present then and has gone.
    fn lacking(&self, from: Seq, upto: Seq) -> u64 {
        let mut lacks: Vec<(u64, u64)> = Vec::new();
        for member in self.by_id.values().filter(|member| member.can_tell()) {
            let ended = member.stays().filter_map(|(since, until)| Some((since, until?)));
            let lacked = ended.map(|(since, until)| (since.max(member.delivered).max(from).0, until.min(upto).0));
            lacks.extend(lacked.filter(|(after, last)| after < last));
        }
        lacks.sort_unstable();
        let mut counted = from.0;
        lacks.into_iter().fold(0, |sum, (after, last)| {
            let after = after.max(counted);
            counted = counted.max(last);
            sum + last.saturating_sub(after)
        })
    }
}

impl MemberState {
    fn was_present(&self, seq: Seq) -> bool {
        self.stays().any(|(since, until)| since < seq && until.is_none_or(|until| seq <= until))
    }

    fn first_sent(&self) -> Seq {
        self.stays().map(|(since, _)| since).min().unwrap_or_default()
    }
}

impl RelaySender {
    /// Takes what a hub says of its sessions in the group, on one stream of reports. An empty report renews all that
    /// was reported on the stream before.
    pub fn handle_sessions(&mut self, now: Instant, reporter: Reporter, sessions: &[SessionReport]) {
        self.members.renew(now, self.head, reporter);
        for session in sessions {
            match self.members.handle_session(now, self.head, reporter, session) {
                Heard::Joined => self.emit(SenderEvent::MemberJoined(session.member)),
                Heard::NoRoom => self.stats.ignored += 1,
                Heard::Progressed | Heard::Unchanged => {}
            }
        }
    }

    /// Who listens, by both lanes.
    #[must_use]
    pub const fn audience(&self) -> &Members {
        &self.members
    }

    /// The same, to take its counts.
    pub const fn audience_mut(&mut self) -> &mut Members {
        &mut self.members
    }

    /// Tells of those who fell silent; before anything is sent, so that they do not count as its hearers.
    pub(super) fn expire_members(&mut self, now: Instant) {
        for gone in self.members.expire(now, self.head) {
            self.emit(SenderEvent::MemberLost(gone));
        }
    }
}

#[cfg(test)]
mod tests;
