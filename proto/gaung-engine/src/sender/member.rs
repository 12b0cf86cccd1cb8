//! State of one member of a group: its lane, its position, when it was present.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use gaung_proto::{DeviceId, SenderId, Seq, body::Cookie};

use super::members::ReportingHub;
use crate::timing::TIMING;

/// Times of presence kept of one member; the oldest go first.
const MAX_STAYS: usize = 4;
/// Datagrams below which a member's loss says nothing of the rate.
const MIN_REVIEWED: f64 = 50.0;

/// How a member hears the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberLane {
    /// The member receives multicast and sends STATUS.
    Multicast,
    /// A framed session at a hub, which acknowledges.
    Tcp,
    /// A bare text session at a hub, which cannot say how far it read.
    Text,
}

impl MemberLane {
    /// Returns the name that status output shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Tcp => "tcp",
            Self::Text => "text",
        }
    }
}

/// State of one member, as its STATUS or its hub reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Its device, as it says; none for a text session.
    pub device: DeviceId,
    /// By which lane the member receives now.
    pub lane: MemberLane,
    /// What a text session calls itself; for display only, else empty.
    pub name: String,
    /// Where it writes STATUS from, or did before it went to a hub.
    pub addr: Option<SocketAddrV4>,
    /// Last message delivered in order; does not fall.
    pub delivered: Seq,
    /// Cookie for the address that it sends STATUS from. Nobody else gets it, so whoever shows it is the same process.
    pub(super) cookie: Cookie,
    /// First-sent datagrams received in this epoch.
    pub received: u32,
    /// First-sent datagrams that did not come.
    pub lost: u32,
    /// Of those, made good by multicast.
    pub repaired: u32,
    /// The round trip that was measured last.
    pub round_trip: Option<Duration>,
    /// `received` and `lost` at the last review of the rate.
    pub(super) reviewed: (u32, u32),
    /// The smoothed mean of its round trips.
    pub(super) smoothed: Option<Duration>,
    pub(super) last_heard: Instant,
    /// The hub and stream that report its session.
    pub(super) reporter: Option<ReportingHub>,
    /// The seq that it acknowledged last.
    acknowledged: Seq,
    /// When it acknowledged more than was logged, which means that it received forged messages.
    doubted: Option<Instant>,
    /// The head when it came: messages above were sent to it.
    pub(super) since: Seq,
    /// The head when it went.
    pub(super) until: Option<Seq>,
    /// Earlier times of presence, as heads when it came and went.
    earlier: Vec<(Seq, Seq)>,
}

/// The host or hub that reports a member, whose share of the table the member takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MemberOrigin {
    Host(Ipv4Addr),
    /// A session at the hub that [`ReportingHub::hub`] identifies.
    Hub(u64),
}

/// Key of a member: an id as one host or hub reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberKey {
    pub(super) id: SenderId,
    pub(super) origin: MemberOrigin,
    /// As [`SessionReport::owner`](super::SessionReport::owner); 0 by multicast.
    pub(super) owner: u64,
}

impl MemberKey {
    /// Returns the keys of all members of one id.
    pub(super) const fn range(id: SenderId) -> RangeInclusive<Self> {
        let first = Self { id, origin: MemberOrigin::Host(Ipv4Addr::UNSPECIFIED), owner: 0 };
        first..=Self { id, origin: MemberOrigin::Hub(u64::MAX), owner: u64::MAX }
    }
}

impl MemberState {
    /// Creates the state of a new member.
    pub(super) const fn new(now: Instant, head: Seq) -> Self {
        Self {
            device: DeviceId::NONE,
            lane: MemberLane::Multicast,
            name: String::new(),
            addr: None,
            delivered: Seq::ZERO,
            cookie: Cookie(0),
            received: 0,
            lost: 0,
            repaired: 0,
            round_trip: None,
            reviewed: (0, 0),
            smoothed: None,
            last_heard: now,
            reporter: None,
            acknowledged: Seq::ZERO,
            doubted: None,
            since: head,
            until: None,
            earlier: Vec::new(),
        }
    }

    /// `None` if too little was sent to tell. Late datagrams make `lost` fall.
    pub(super) fn loss_since_review(&mut self) -> Option<f64> {
        let now = (self.received, self.lost);
        let before = std::mem::replace(&mut self.reviewed, now);
        let [received, lost] = [now.0.wrapping_sub(before.0), now.1.wrapping_sub(before.1)]
            .map(|count| f64::from(count.cast_signed().max(0)));
        (received + lost >= MIN_REVIEWED).then(|| lost / (received + lost))
    }

    /// Up to where it has delivered, as far as it is believed. One that acknowledges more than was logged was sent forged
    /// messages in place of true ones to come: it is not believed until it has gone back to the log.
    pub(super) fn believed(&mut self, now: Instant, head: Seq, acknowledged: Seq) -> Seq {
        let before = std::mem::replace(&mut self.acknowledged, acknowledged);
        if acknowledged > head {
            self.doubted = Some(now);
        } else if self.doubted.is_some_and(|since| acknowledged < before || now >= since + TIMING.receipt_doubt) {
            self.doubted = None;
        }
        if self.doubted.is_some() { self.delivered } else { acknowledged.max(self.delivered) }
    }

    /// Marks the member present; returns true if it was absent.
    pub(super) fn hear(&mut self, now: Instant, head: Seq) -> bool {
        self.last_heard = now;
        let Some(until) = self.until.take() else { return false };
        if self.earlier.len() >= MAX_STAYS {
            self.earlier.remove(0);
        }
        self.earlier.push((self.since, until));
        self.since = head;
        true
    }

    /// Returns when it counts as absent, or is forgotten, if it stays silent.
    pub(super) fn expiry(&self) -> Instant {
        let kept = if self.until.is_some() { TIMING.presence + TIMING.absence_kept } else { TIMING.presence };
        self.last_heard + kept
    }

    /// Returns the times of its presence, as (head when it came, head when it went).
    pub(super) fn stays(&self) -> impl Iterator<Item = (Seq, Option<Seq>)> {
        let earlier = self.earlier.iter().map(|&(since, until)| (since, Some(until)));
        earlier.chain([(self.since, self.until)])
    }

    /// Whether its hub has said that its session is over.
    pub(super) fn is_ended_session(&self) -> bool {
        self.lane != MemberLane::Multicast && self.reporter.is_none()
    }

    /// Whether it can acknowledge; a text session cannot.
    pub(super) fn can_tell(&self) -> bool {
        self.lane != MemberLane::Text
    }

    /// Returns up to where it has delivered everything since it came; `None` if it is absent or cannot acknowledge.
    pub(super) fn position(&self) -> Option<Seq> {
        (self.until.is_none() && self.can_tell()).then(|| self.delivered.max(self.since))
    }
}

/// Weight of the newest sample. A sleepy moment of one member is forgotten after a few STATUS.
const SAMPLE_WEIGHT: u32 = 4;

pub(super) fn smoothed(before: Option<Duration>, sample: Duration) -> Duration {
    before.map_or(sample, |before| (before * (SAMPLE_WEIGHT - 1) + sample) / SAMPLE_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_late_report_is_forgotten_soon() {
        let usual = Duration::from_micros(300);
        let mut estimate = smoothed(None, usual);
        assert_eq!(estimate, usual, "the first sample is all that is known");
        estimate = smoothed(Some(estimate), Duration::from_millis(10));
        assert!(estimate < Duration::from_millis(3));
        (0..8).for_each(|_| estimate = smoothed(Some(estimate), usual));
        assert!(estimate < usual * 2, "{estimate:?}");
    }
}
