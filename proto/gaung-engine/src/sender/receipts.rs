//! Receipts: which members, of those present when a message was logged, have delivered it, by both lanes.

use gaung_proto::Seq;

use super::{member::MemberState, members::Members};

/// Who has delivered a message, of those who were present when it was logged.
///
/// Known of members that are present, or have not been absent for more than a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Members that were present when it was logged, and have delivered it.
    pub heard: u32,
    /// Members that were present when it was logged.
    pub present: u32,
    /// Of those, text sessions, which cannot acknowledge.
    pub silent: u32,
    /// Members that are known and were absent then.
    pub absent: u32,
}

impl Receipt {
    /// Whether every present member that sends receipts has delivered it, so that nothing will change.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.heard + self.silent >= self.present
    }
}

impl Members {
    /// Returns how many messages, since the last call, were delivered to every present member that sends receipts.
    /// Counting begins with the first member.
    pub fn take_completed(&mut self) -> u64 {
        let positions = || self.by_key.values().filter_map(|member| Some((member.position()?, member)));
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

    /// Counts the messages in (`from`, `upto`] that a member who was present then and has left did not deliver.
    fn lacking(&self, from: Seq, upto: Seq) -> u64 {
        let mut lacks: Vec<(u64, u64)> = Vec::new();
        for member in self.by_key.values().filter(|member| member.can_tell()) {
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
    fn first_sent(&self) -> Seq {
        self.stays().map(|(since, _)| since).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
