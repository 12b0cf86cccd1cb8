//! Who listens, by multicast and at hubs: who is present, how far each got, the group's size and round trip (RFC 5401).

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{DeviceId, SenderId, Seq, body::Status};

use crate::timing;

/// A member is present for this long after its last STATUS, or after its session was last known to be there.
pub const PRESENCE: Duration = Duration::from_secs(5);

/// Members kept of one group, present or not; more are heard by nobody and still served.
const MAX_MEMBERS: usize = 4096;
/// An absent member's place is kept for so long, for the receipts of what it missed.
const ABSENCE_KEPT: Duration = Duration::from_secs(60);
/// Times of presence kept of one member; the oldest go first.
const MAX_STAYS: usize = 4;
/// Samples kept for a driver that does not drain them; older ones are dropped.
const MAX_SAMPLES: usize = 256;
/// Datagrams below which a member's loss says nothing of the rate.
const MIN_REVIEWED: f64 = 50.0;
/// Longest round trip that is believed; more is a wrong or foreign echo.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

/// How a member hears the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberLane {
    /// Multicast; it sends STATUS.
    Multicast,
    /// A framed session at a hub, which acknowledges.
    Tcp,
    /// A bare text session at a hub, which cannot say how far it read.
    Text,
}

impl MemberLane {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Tcp => "tcp",
            Self::Text => "text",
        }
    }
}

/// One member as its STATUS or its hub tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Its device, as it says; none for a text session.
    pub device: DeviceId,
    /// How it hears now.
    pub lane: MemberLane,
    /// What a text session calls itself; for display only, else empty.
    pub name: String,
    /// Where it writes STATUS from.
    pub addr: Option<SocketAddrV4>,
    /// Last message delivered in order; does not fall.
    pub delivered: Seq,
    /// First-sent datagrams received in this epoch.
    pub received: u32,
    /// First-sent datagrams that did not come.
    pub lost: u32,
    /// Of those, made good by multicast.
    pub repaired: u32,
    /// Last round trip.
    pub round_trip: Option<Duration>,
    /// `received` and `lost` at the last review of the rate.
    reviewed: (u32, u32),
    /// Its mean of late.
    smoothed: Option<Duration>,
    last_heard: Instant,
    /// Whose word its session's life is.
    reporter: Option<Reporter>,
    /// The head when it came: messages above were sent to it.
    since: Seq,
    /// The head when it went.
    until: Option<Seq>,
    /// Times of presence before, as heads when it came and went.
    earlier: Vec<(Seq, Seq)>,
}

/// One stream of a hub's reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reporter(pub u64);

/// What a hub says of one session in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReport {
    /// The client's id, which is its sender id by multicast too.
    pub member: SenderId,
    /// Its device, as it says.
    pub device: DeviceId,
    /// What a text session calls itself; else empty.
    pub name: String,
    /// Last message that it acknowledged; `None` for a text session.
    pub delivered: Option<Seq>,
    /// It has ended; its member is present for [`PRESENCE`] more.
    pub gone: bool,
}

/// What one STATUS tells of the way to its member since the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSample {
    /// First-sent datagrams received.
    pub received: u32,
    /// First-sent datagrams that did not come.
    pub lost: u32,
    /// Datagrams that came by repair.
    pub repaired: u32,
    /// Messages that it has not delivered yet.
    pub behind: u64,
    /// There and back.
    pub round_trip: Option<Duration>,
}

/// The members of one group in one epoch: one entry each, by whichever lane it hears.
#[derive(Debug, Clone, Default)]
pub struct Members {
    pub(super) by_id: BTreeMap<SenderId, MemberState>,
    pub(super) completed: Seq,
    changes: u64,
    /// Nobody falls silent or is forgotten before.
    next_expiry: Option<Instant>,
    samples: Vec<StatusSample>,
    /// Messages that members say to have delivered since they came.
    delivered: u64,
}

/// What a STATUS or a hub's report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was not present.
    Joined,
    /// It delivered further.
    Progressed,
    /// It is still there.
    Unchanged,
    /// There is no place for it.
    NoRoom,
}

impl Members {
    /// `head`: the highest seq sent; `delivered`: of the STATUS header, believed up to the head.
    pub(super) fn handle_status(
        &mut self,
        now: Instant,
        head: Seq,
        from: SocketAddrV4,
        delivered: Seq,
        status: &Status,
        round_trip: Option<Duration>,
    ) -> Heard {
        let Some((member, heard)) = self.hear(now, head, status.sender, Some(delivered)) else { return Heard::NoRoom };
        let since = |now: u32, before: u32| Some(now.wrapping_sub(before)).filter(|&more| more <= u32::MAX / 2);
        let counted = since(status.received, member.received).zip(since(status.lost, member.lost));
        let (received, lost) = counted.unwrap_or((status.received, status.lost));
        let repaired = since(status.repaired, member.repaired).unwrap_or(status.repaired);
        let behind = head.0 - member.delivered.0;
        let sample = StatusSample { received, lost, repaired, behind, round_trip };
        member.lane = MemberLane::Multicast;
        member.reporter = None;
        member.device = status.device;
        member.addr = Some(from);
        member.received = status.received;
        member.lost = status.lost;
        member.repaired = status.repaired;
        member.round_trip = round_trip.or(member.round_trip);
        member.smoothed = round_trip.map(|sample| smoothed(member.smoothed, sample)).or(member.smoothed);
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(sample);
        }
        heard
    }

    /// Takes what a hub says of one session. `head`: the highest seq logged; what was delivered is believed up to it.
    pub fn handle_session(&mut self, now: Instant, head: Seq, reporter: Reporter, report: &SessionReport) -> Heard {
        if report.gone {
            return self.handle_gone(now, reporter, report.member);
        }
        let Some((member, heard)) = self.hear(now, head, report.member, report.delivered) else { return Heard::NoRoom };
        member.lane = if report.delivered.is_some() { MemberLane::Tcp } else { MemberLane::Text };
        member.reporter = Some(reporter);
        member.device = report.device;
        member.name.clone_from(&report.name);
        member.addr = None;
        member.round_trip = None;
        member.smoothed = None;
        heard
    }

    /// The hub lives: all sessions that it reported on this stream, and did not call gone, are still there.
    pub fn renew(&mut self, now: Instant, head: Seq, reporter: Reporter) {
        let of_it = self.by_id.values_mut().filter(|member| member.reporter == Some(reporter));
        let joined = of_it.filter_map(|member| member.hear(now, head).then_some(())).count();
        if joined > 0 {
            self.changes += 1;
            self.next_expiry = self.next_expiry.min(Some(now + PRESENCE));
        }
    }

    /// Marks those absent that were silent for [`PRESENCE`]; gives them. Forgets those long gone.
    pub fn expire(&mut self, now: Instant, head: Seq) -> Vec<SenderId> {
        if self.next_expiry.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        self.by_id.retain(|&id, member| {
            if member.expiry() <= now && member.until.is_none() {
                member.until = Some(head);
                gone.push(id);
            }
            member.expiry() > now
        });
        self.next_expiry = self.by_id.values().map(MemberState::expiry).min();
        self.changes += u64::from(!gone.is_empty());
        gone
    }

    /// When to call [`Self::expire`]; early calls do nothing and cost nothing.
    #[must_use]
    pub const fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Members heard by multicast within [`PRESENCE`].
    pub fn present(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.all_present().filter(|(_, member)| member.lane == MemberLane::Multicast)
    }

    /// Members present, by whichever lane.
    pub fn all_present(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.by_id.iter().filter(|(_, member)| member.until.is_none()).map(|(&id, member)| (id, member))
    }

    /// The greatest round trip of the group (RFC 5401 section 4), of those present. Each member's is smoothed apart, for
    /// all of them are known here: a guess or a single late report then does not slow repairs for half a minute, as it
    /// would by the slow fall of an estimate that is made of the group's reports together.
    pub(super) fn grtt(&self) -> Duration {
        let slowest = self.present().filter_map(|(_, member)| member.smoothed).max();
        slowest.map_or(timing::FIRST_GRTT, |slowest| slowest.clamp(*timing::GRTT.start(), *timing::GRTT.end()))
    }

    /// For each member by multicast that reported since the last call: which part of the first-sent datagrams it missed.
    pub(super) fn losses(&mut self) -> Vec<f64> {
        let present = self.by_id.values_mut().filter(|member| member.until.is_none());
        present
            .filter(|member| member.lane == MemberLane::Multicast)
            .filter_map(MemberState::loss_since_review)
            .collect()
    }

    /// Messages that members say to have delivered since they came, once for each member; and since the last call.
    pub const fn take_delivered(&mut self) -> u64 {
        std::mem::replace(&mut self.delivered, 0)
    }

    /// Rises with everything that can change a receipt.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// What STATUS told since the last call, at most 256 of them.
    pub fn take_samples(&mut self) -> Vec<StatusSample> {
        std::mem::take(&mut self.samples)
    }

    /// A member whose session ended is present for a while yet, for it may be on its way to the other lane.
    fn handle_gone(&mut self, now: Instant, reporter: Reporter, member: SenderId) -> Heard {
        if let Some(member) = self.by_id.get_mut(&member).filter(|member| member.reporter == Some(reporter)) {
            member.reporter = None;
            member.last_heard = now;
        }
        Heard::Unchanged
    }

    fn hear(
        &mut self,
        now: Instant,
        head: Seq,
        id: SenderId,
        delivered: Option<Seq>,
    ) -> Option<(&mut MemberState, Heard)> {
        let full = self.by_id.len() >= MAX_MEMBERS;
        let is_new = !self.by_id.contains_key(&id);
        if is_new && full {
            return None;
        }
        let member = self.by_id.entry(id).or_insert_with(|| MemberState::new(now, head));
        let joined = member.hear(now, head) || is_new;
        let delivered = delivered.unwrap_or_default().min(head).max(member.delivered);
        let before = std::mem::replace(&mut member.delivered, delivered);
        let progressed = delivered != before;
        self.delivered += delivered.0.saturating_sub(before.max(member.since).0);
        let heard = match (joined, progressed) {
            (true, _) => Heard::Joined,
            (false, true) => Heard::Progressed,
            (false, false) => Heard::Unchanged,
        };
        self.changes += u64::from(heard != Heard::Unchanged);
        let soonest = now + PRESENCE;
        self.next_expiry = Some(self.next_expiry.map_or(soonest, |next| next.min(soonest)));
        Some((member, heard))
    }
}

impl MemberState {
    /// Not heard of before.
    const fn new(now: Instant, head: Seq) -> Self {
        Self {
            device: DeviceId::NONE,
            lane: MemberLane::Multicast,
            name: String::new(),
            addr: None,
            delivered: Seq::ZERO,
            received: 0,
            lost: 0,
            repaired: 0,
            round_trip: None,
            reviewed: (0, 0),
            smoothed: None,
            last_heard: now,
            reporter: None,
            since: head,
            until: None,
            earlier: Vec::new(),
        }
    }

    /// `None` if too little was sent to tell. Late datagrams make `lost` fall.
    fn loss_since_review(&mut self) -> Option<f64> {
        let now = (self.received, self.lost);
        let before = std::mem::replace(&mut self.reviewed, now);
        let [received, lost] = [now.0.wrapping_sub(before.0), now.1.wrapping_sub(before.1)]
            .map(|count| f64::from(count.cast_signed().max(0)));
        (received + lost >= MIN_REVIEWED).then(|| lost / (received + lost))
    }

    /// True if it was absent.
    fn hear(&mut self, now: Instant, head: Seq) -> bool {
        self.last_heard = now;
        let Some(until) = self.until.take() else { return false };
        if self.earlier.len() >= MAX_STAYS {
            self.earlier.remove(0);
        }
        self.earlier.push((self.since, until));
        self.since = head;
        true
    }

    /// When it is absent, or forgotten, if it stays silent.
    fn expiry(&self) -> Instant {
        let kept = if self.until.is_some() { PRESENCE + ABSENCE_KEPT } else { PRESENCE };
        self.last_heard + kept
    }

    /// The times of its presence, as (head when it came, head when it went).
    pub(super) fn stays(&self) -> impl Iterator<Item = (Seq, Option<Seq>)> {
        let earlier = self.earlier.iter().map(|&(since, until)| (since, Some(until)));
        earlier.chain([(self.since, self.until)])
    }

    /// Whether it can say how far it got.
    pub(super) fn can_tell(&self) -> bool {
        self.lane != MemberLane::Text
    }

    /// Up to where it lacks nothing of what was sent to it since it came; `None` if it is absent or cannot tell.
    pub(super) fn position(&self) -> Option<Seq> {
        (self.until.is_none() && self.can_tell()).then(|| self.delivered.max(self.since))
    }
}

/// Weight of the newest sample. A sleepy moment of one member is forgotten after a few STATUS.
const SAMPLE_WEIGHT: u32 = 4;

fn smoothed(before: Option<Duration>, sample: Duration) -> Duration {
    before.map_or(sample, |before| (before * (SAMPLE_WEIGHT - 1) + sample) / SAMPLE_WEIGHT)
}

/// The round trip that a STATUS tells: now − echo − the member's own delay, all modulo 2³² µs.
pub(super) fn round_trip(now_us: u32, status: &Status) -> Option<Duration> {
    let elapsed = now_us.wrapping_sub(status.echo_ts_us);
    let round_trip = Duration::from_micros(elapsed.checked_sub(status.echo_delay_us)?.into());
    (round_trip <= MAX_ROUND_TRIP).then_some(round_trip)
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
