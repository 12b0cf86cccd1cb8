//! Who listens: members by their STATUS, the group's size and round trip (RFC 5401), receipts.

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{DeviceId, SenderId, Seq, body::Status};

/// A member is present for this long after its last STATUS.
pub const PRESENCE: Duration = Duration::from_secs(5);

/// Members kept of one group, present or not; more are heard by nobody and still served.
const MAX_MEMBERS: usize = 4096;
/// An absent member's place is kept for so long, for the receipts of what it missed.
const ABSENCE_KEPT: Duration = Duration::from_secs(60);
/// Longest round trip that is believed; more is a wrong or foreign echo.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

/// One member as its STATUS tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// Its device, as it says.
    pub device: DeviceId,
    /// Where it writes from.
    pub addr: SocketAddrV4,
    /// Last message delivered in order.
    pub delivered: Seq,
    /// First-sent datagrams received in this epoch.
    pub received: u32,
    /// First-sent datagrams that did not come.
    pub lost: u32,
    /// Of those, made good by multicast.
    pub repaired: u32,
    /// Last round trip.
    pub round_trip: Option<Duration>,
    last_heard: Instant,
    /// The head when it came: messages above were sent to it.
    since: Seq,
    /// The head when it went.
    until: Option<Seq>,
}

/// Who has delivered a message, of those who were present when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Present then, and delivered.
    pub heard: u32,
    /// Present then.
    pub present: u32,
    /// Known, but absent then.
    pub absent: u32,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<SenderId, MemberState>,
}

/// What a STATUS changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Joined,
    Progressed,
    Unchanged,
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
        let delivered = delivered.min(head);
        let full = self.by_id.len() >= MAX_MEMBERS;
        let known = self.by_id.get(&status.sender);
        if known.is_none() && full {
            return Heard::NoRoom;
        }
        let heard = match known {
            Some(member) if member.until.is_none() && member.delivered == delivered => Heard::Unchanged,
            Some(member) if member.until.is_none() => Heard::Progressed,
            Some(_) | None => Heard::Joined,
        };
        let since = known.filter(|member| member.until.is_none()).map_or(head, |member| member.since);
        let member = MemberState {
            device: status.device,
            addr: from,
            delivered,
            received: status.received,
            lost: status.lost,
            repaired: status.repaired,
            round_trip: round_trip.or_else(|| known.and_then(|member| member.round_trip)),
            last_heard: now,
            since,
            until: None,
        };
        self.by_id.insert(status.sender, member);
        heard
    }

    /// Marks those absent that were silent for [`PRESENCE`]; gives them. Forgets those long gone.
    pub(super) fn expire(&mut self, now: Instant, head: Seq) -> Vec<SenderId> {
        let mut gone = Vec::new();
        self.by_id.retain(|&id, member| {
            let silent = now.saturating_duration_since(member.last_heard);
            if silent >= PRESENCE && member.until.is_none() {
                member.until = Some(head);
                gone.push(id);
            }
            silent < PRESENCE + ABSENCE_KEPT
        });
        gone
    }

    pub(super) fn present(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.by_id.iter().filter(|(_, member)| member.until.is_none()).map(|(&id, member)| (id, member))
    }

    pub(super) fn receipt(&self, seq: Seq) -> Receipt {
        let mut receipt = Receipt::default();
        for member in self.by_id.values() {
            if member.since < seq && member.until.is_none_or(|until| seq <= until) {
                receipt.present += 1;
                receipt.heard += u32::from(member.delivered >= seq);
            } else {
                receipt.absent += 1;
            }
        }
        receipt
    }
}

/// The greatest round trip of the group (RFC 5401 section 4): up at once, down slowly.
#[derive(Debug)]
pub(super) struct Grtt {
    current: Duration,
    peak: Option<Duration>,
    interval_began: Instant,
}

/// Before the first report: a LAN with a busy receiver.
const FIRST_GRTT: Duration = Duration::from_millis(5);
/// Below this, scheduling is all that is measured.
const MIN_GRTT: Duration = Duration::from_micros(100);
/// One member that lies or sleeps must not slow every repair beyond this.
const MAX_GRTT: Duration = Duration::from_millis(250);
/// The estimate falls at most once in so long.
const GRTT_INTERVAL: Duration = Duration::from_secs(1);

impl Grtt {
    pub(super) const fn new(now: Instant) -> Self {
        Self { current: FIRST_GRTT, peak: None, interval_began: now }
    }

    pub(super) const fn current(&self) -> Duration {
        self.current
    }

    pub(super) fn handle_sample(&mut self, now: Instant, round_trip: Duration) {
        let sample = round_trip.clamp(MIN_GRTT, MAX_GRTT);
        self.current = self.current.max(sample);
        self.peak = Some(self.peak.map_or(sample, |peak| peak.max(sample)));
        if now.saturating_duration_since(self.interval_began) < GRTT_INTERVAL {
            return;
        }
        self.interval_began = now;
        if let Some(peak) = self.peak.take().filter(|&peak| peak < self.current) {
            self.current = (self.current * 9 + peak) / 10;
        }
    }
}

/// The round trip that a STATUS tells: now − echo − the member's own delay, all modulo 2³² µs.
pub(super) fn round_trip(now_us: u32, status: &Status) -> Option<Duration> {
    let elapsed = now_us.wrapping_sub(status.echo_ts_us);
    let round_trip = Duration::from_micros(elapsed.checked_sub(status.echo_delay_us)?.into());
    (round_trip <= MAX_ROUND_TRIP).then_some(round_trip)
}
