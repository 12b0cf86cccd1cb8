//! Adds a group's members to the relay's metrics.

use std::time::{Duration, Instant};

use gaung_engine::{MemberLane, Members};

use crate::metrics::RelayFigures;

/// The part of a group's members that is in the metrics already.
#[derive(Debug, Default)]
pub(super) struct CountedMembers {
    /// Members present, in the order of [`LANES`].
    members: [i64; 3],
    changes: u64,
    next: Option<Instant>,
}

const LANES: [MemberLane; 3] = [MemberLane::Multicast, MemberLane::Tcp, MemberLane::Text];
/// Least time between two counts of all members, many of whom report several times a second.
const INTERVAL: Duration = Duration::from_millis(250);

impl CountedMembers {
    /// Adds what changed since the last call.
    pub(super) fn count(&mut self, now: Instant, members: &mut Members, figures: &RelayFigures) {
        for sample in members.take_samples() {
            figures.observe_status(&sample);
        }
        figures.member_delivered.inc_by(members.take_delivered());
        if self.changes == members.changes() || self.next.is_some_and(|next| now < next) {
            return;
        }
        self.changes = members.changes();
        self.next = Some(now + INTERVAL);
        let mut present = [0; 3];
        for (_, member) in members.all_present() {
            present[LANES.iter().position(|&lane| lane == member.lane).expect("all lanes are there")] += 1;
        }
        self.set(present, figures);
        figures.receipts_complete.inc_by(members.take_completed());
    }

    /// Removes the group's members from the metrics, when it is no longer served.
    pub(super) fn leave(&mut self, figures: &RelayFigures) {
        self.set([0; 3], figures);
    }

    fn set(&mut self, present: [i64; 3], figures: &RelayFigures) {
        for ((lane, now), before) in LANES.into_iter().zip(present).zip(self.members) {
            if now != before {
                figures.members_of(lane).inc_by(now - before);
            }
        }
        self.members = present;
    }
}
