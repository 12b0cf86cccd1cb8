//! A snapshot of a group's members and receipts, for many readers.

use std::{collections::BTreeSet, sync::OnceLock};

use gaung_proto::{SenderId, Seq, limits::MAX_MISSING_MEMBERS};

use super::{
    member::{MemberLane, MemberState},
    members::Members,
    receipts::Receipt,
};

/// A copy of a group's members. The receipts of all messages are computed once, by whoever asks first; then each is found
/// by a binary search, however many members there are.
#[derive(Debug, Default)]
pub struct Roster {
    members: Vec<(SenderId, MemberState)>,
    steps: OnceLock<Vec<ReceiptStep>>,
}

/// A receipt that holds for a row of messages. It changes only where a member came, left or has its position.
#[derive(Debug)]
struct ReceiptStep {
    /// The receipt holds for the messages above this one, up to where the next step begins.
    after: Seq,
    receipt: Receipt,
    /// Indices of members that were present and have not delivered, text sessions last; at most
    /// [`MAX_MISSING_MEMBERS`].
    missing: Box<[u32]>,
}

/// A change of the receipt above a seq. Ends sort before beginnings, since one stay may begin where another ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PresenceEdge {
    /// The member's presence ends.
    Left,
    /// Messages above were not sent to it, or it has delivered them.
    NotMissing,
    /// The member's presence begins.
    Came,
    /// It has not delivered what is above.
    Missing,
}

impl Members {
    /// Takes a snapshot of the members.
    #[must_use]
    pub fn roster(&self) -> Roster {
        let members = self.by_key.iter().map(|(key, member)| (key.id, member.clone())).collect();
        Roster { members, steps: OnceLock::new() }
    }
}

impl Roster {
    /// Returns the members that were present, by whichever lane.
    pub fn present(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.members.iter().filter(|(_, member)| member.until.is_none()).map(|(id, member)| (*id, member))
    }

    /// Returns who has delivered `seq`.
    #[must_use]
    pub fn receipt(&self, seq: Seq) -> Receipt {
        let nobody = || Receipt { absent: self.ids().max().unwrap_or(0), ..Receipt::default() };
        self.step(seq).map_or_else(nobody, |step| step.receipt)
    }

    /// Returns the members that were present at `seq` and have not delivered it, text sessions last; at most
    /// [`MAX_MISSING_MEMBERS`].
    pub fn missing(&self, seq: Seq) -> impl Iterator<Item = (SenderId, &MemberState)> {
        let missing = self.step(seq).map_or(&[][..], |step| &step.missing);
        missing.iter().map(|&index| {
            let (id, member) = &self.members[index as usize];
            (*id, member)
        })
    }

    /// Returns, for each member, how many ids there are up to its own; several hosts or hubs may report one id.
    fn ids(&self) -> impl Iterator<Item = u32> {
        let ids = self.members.iter().map(|(id, _)| id);
        ids.scan((None, 0), |(before, count), id| {
            *count += u32::from(before.replace(id) != Some(id));
            Some(*count)
        })
    }

    fn step(&self, seq: Seq) -> Option<&ReceiptStep> {
        let steps = self.steps.get_or_init(|| self.steps());
        let behind = steps.partition_point(|step| step.after < seq);
        steps.get(behind.checked_sub(1)?)
    }

    fn steps(&self) -> Vec<ReceiptStep> {
        let mut edges: Vec<(Seq, PresenceEdge, u32)> = Vec::with_capacity(self.members.len() * 2);
        for (index, (_, member)) in (0..).zip(&self.members) {
            // During some stays nothing was logged.
            for (since, until) in member.stays().filter(|&(since, until)| until != Some(since)) {
                edges.push((since, PresenceEdge::Came, index));
                edges.extend(until.map(|until| (until, PresenceEdge::Left, index)));
                let delivered = member.delivered.max(since);
                if until.is_none_or(|until| delivered < until) {
                    edges.push((delivered, PresenceEdge::Missing, index));
                    edges.extend(until.map(|until| (until, PresenceEdge::NotMissing, index)));
                }
            }
        }
        edges.sort_unstable();
        let (mut present, mut telling, mut silent) = (0_u32, BTreeSet::new(), BTreeSet::new());
        let ids: Vec<u32> = self.ids().collect();
        let known = ids.last().copied().unwrap_or(0);
        let mut present_of_id = vec![0_u32; known as usize + 1];
        let mut present_ids = 0_u32;
        let step = |edges: &[(Seq, PresenceEdge, u32)]| {
            for &(_, edge, index) in edges {
                let is_text = self.members[index as usize].1.lane == MemberLane::Text;
                let missing = if is_text { &mut silent } else { &mut telling };
                let of_id = &mut present_of_id[ids[index as usize] as usize];
                match edge {
                    PresenceEdge::Came => {
                        present += 1;
                        present_ids += u32::from(*of_id == 0);
                        *of_id += 1;
                    }
                    PresenceEdge::Left => {
                        present -= 1;
                        *of_id -= 1;
                        present_ids -= u32::from(*of_id == 0);
                    }
                    PresenceEdge::Missing => drop(missing.insert(index)),
                    PresenceEdge::NotMissing => drop(missing.remove(&index)),
                }
            }
            let lacking = (telling.len() + silent.len()) as u32;
            ReceiptStep {
                after: edges[0].0,
                receipt: Receipt {
                    heard: present - lacking,
                    present,
                    silent: silent.len() as u32,
                    absent: known - present_ids,
                },
                missing: telling.iter().chain(&silent).take(MAX_MISSING_MEMBERS).copied().collect(),
            }
        };
        edges.chunk_by(|a, b| a.0 == b.0).map(step).collect()
    }
}
