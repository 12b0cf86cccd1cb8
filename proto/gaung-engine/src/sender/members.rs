//! The members of a group by multicast and at hubs: presence, position, group size and round trip (RFC 5401).

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{
    DeviceId, SenderId, Seq,
    body::{Cookie, Status},
};

use super::member::{MemberKey, MemberLane, MemberOrigin, MemberState, smoothed};

use crate::timing::{self, TIMING};

/// Members kept of one group, present or not. When there are more, whoever made the most of them has no share for one
/// more, and gives up its oldest for a newcomer of another origin.
const MAX_MEMBERS: usize = 4096;
/// Members kept that send STATUS from one host: a process has one each.
const MAX_MEMBERS_PER_HOST: usize = 64;
/// Samples kept for a driver that does not drain them; older ones are dropped.
const MAX_SAMPLES: usize = 256;

/// Identifies the hub that reports sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportingHub {
    /// The hub, or the stream if the hub does not say who it is.
    pub hub: u64,
    /// The stream that it reports on; on a new one it reports all its sessions again.
    pub stream: u64,
}

/// A hub's report of one session in the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionReport {
    /// The client's id, which is its sender id by multicast too.
    pub member: SenderId,
    /// Distinguishes clients that use one id at one hub.
    pub owner: u64,
    /// Its device, as it says.
    pub device: DeviceId,
    /// What a text session calls itself; else empty.
    pub name: String,
    /// Last message that it acknowledged; `None` for a text session.
    pub delivered: Option<Seq>,
    /// The cookie that the client got for where it sends STATUS from, if it does so on the other lane; else 0.
    pub cookie: Cookie,
    /// It has ended; its member is present for [`Timing::presence`](crate::Timing::presence) more.
    pub gone: bool,
}

/// Reception of one member between two of its STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusSample {
    /// First-sent datagrams that the member received.
    pub received: u32,
    /// First-sent datagrams that did not come.
    pub lost: u32,
    /// Datagrams that came by repair.
    pub repaired: u32,
    /// Messages that it has not delivered yet.
    pub behind: u64,
    /// The round trip that this report measured.
    pub round_trip: Option<Duration>,
}

/// The members of one group in one epoch, by whichever lane they hear.
///
/// Ids are public, so what comes under one from another host or hub is another member, until the cookie of the first
/// one's address proves that they are the same process.
#[derive(Debug, Clone, Default)]
pub struct Members {
    pub(super) by_key: BTreeMap<MemberKey, MemberState>,
    /// Counts the members of each origin.
    shares: BTreeMap<MemberOrigin, usize>,
    /// The member that each address reports as; a process has one id.
    speakers: BTreeMap<SocketAddrV4, SenderId>,
    pub(super) completed: Seq,
    changes: u64,
    /// Earliest time at which a member becomes absent or is forgotten.
    next_expiry: Option<Instant>,
    samples: Vec<StatusSample>,
    /// Messages that members say to have delivered since they came.
    delivered: u64,
}

/// What a STATUS or a hub's report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusOutcome {
    /// The member was not present before.
    Joined,
    /// The member delivered further.
    Progressed,
    /// The member is still there, and nothing else changed.
    Unchanged,
    /// The table has no room for the member.
    NoRoom,
}

impl Members {
    /// `head`: the highest seq sent; `delivered`: of the STATUS header, believed up to the head. The cookie in `status` has
    /// proven `from`.
    pub(super) fn handle_status(
        &mut self,
        now: Instant,
        head: Seq,
        from: SocketAddrV4,
        delivered: Seq,
        status: &Status,
        round_trip: Option<Duration>,
    ) -> StatusOutcome {
        let id = status.sender;
        if self.speaks_for_another(from, id) {
            return StatusOutcome::NoRoom;
        }
        let key = MemberKey { id, origin: MemberOrigin::Host(*from.ip()), owner: 0 };
        self.move_here(key, status.cookie);
        let Some((member, heard)) = self.hear(now, head, key, Some(delivered)) else { return StatusOutcome::NoRoom };
        let former = member.addr.replace(from);
        let since = |now: u32, before: u32| Some(now.wrapping_sub(before)).filter(|&more| more <= u32::MAX / 2);
        let counted = since(status.received, member.received).zip(since(status.lost, member.lost));
        let (received, lost) = counted.unwrap_or((status.received, status.lost));
        let repaired = since(status.repaired, member.repaired).unwrap_or(status.repaired);
        let behind = head.0 - member.delivered.0;
        let sample = StatusSample { received, lost, repaired, behind, round_trip };
        member.lane = MemberLane::Multicast;
        member.reporter = None;
        member.cookie = status.cookie;
        member.device = status.device;
        member.received = status.received;
        member.lost = status.lost;
        member.repaired = status.repaired;
        member.round_trip = round_trip.or(member.round_trip);
        member.smoothed = round_trip.map(|sample| smoothed(member.smoothed, sample)).or(member.smoothed);
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(sample);
        }
        if let Some(former) = former {
            self.silence(former, id);
        }
        self.speakers.insert(from, id);
        heard
    }

    /// Applies a hub's report of one session. `head`: the highest seq logged; what was delivered is believed up to it.
    pub fn handle_session(
        &mut self,
        now: Instant,
        head: Seq,
        reporter: ReportingHub,
        report: &SessionReport,
    ) -> StatusOutcome {
        let key = MemberKey { id: report.member, origin: MemberOrigin::Hub(reporter.hub), owner: report.owner };
        if report.gone {
            return self.handle_gone(now, head, key);
        }
        self.move_here(key, report.cookie);
        let Some((member, heard)) = self.hear(now, head, key, report.delivered) else { return StatusOutcome::NoRoom };
        member.lane = if report.delivered.is_some() { MemberLane::Tcp } else { MemberLane::Text };
        member.reporter = Some(reporter);
        if report.cookie != Cookie::default() {
            member.cookie = report.cookie;
        }
        member.device = report.device;
        member.name.clone_from(&report.name);
        member.round_trip = None;
        member.smoothed = None;
        heard
    }

    /// Renews all sessions that the hub reported on this stream and did not report as ended.
    pub fn renew(&mut self, now: Instant, head: Seq, reporter: ReportingHub) {
        let of_it = self.by_key.values_mut().filter(|member| member.reporter == Some(reporter));
        let joined = of_it.filter_map(|member| member.hear(now, head).then_some(())).count();
        if joined > 0 {
            self.changes += 1;
            self.next_expiry = self.next_expiry.min(Some(now + TIMING.presence));
        }
    }

    /// Marks members absent that were silent for [`Timing::presence`](crate::Timing::presence), and returns them.
    /// Forgets members that have been absent for [`Timing::absence_kept`](crate::Timing::absence_kept).
    pub fn expire(&mut self, now: Instant, head: Seq) -> Vec<SenderId> {
        if self.next_expiry.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let (mut gone, mut forgotten) = (Vec::new(), Vec::new());
        for (&key, member) in &mut self.by_key {
            if member.expiry() <= now && member.until.is_none() {
                member.until = Some(head);
                gone.push(key.id);
            }
            // An origin with more members than a person's machine has is a flood, whose receipts nobody needs.
            let is_one_of_many = self.shares.get(&key.origin).is_some_and(|&share| share > MAX_MEMBERS_PER_HOST);
            if member.expiry() <= now || (member.until.is_some() && is_one_of_many) {
                forgotten.push(key);
            }
        }
        forgotten.into_iter().for_each(|key| self.forget(key));
        self.next_expiry = self.by_key.values().map(MemberState::expiry).min();
        self.changes += u64::from(!gone.is_empty());
        gone
    }

    /// Returns when to call [`Self::expire`]; early calls do nothing and cost nothing.
    #[must_use]
    pub const fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// Members heard by multicast within [`Timing::presence`](crate::Timing::presence).
    pub fn present(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.all_present().filter(|(_, member)| member.lane == MemberLane::Multicast)
    }

    /// Members present, by whichever lane.
    pub fn all_present(&self) -> impl Iterator<Item = (SenderId, &MemberState)> {
        self.by_key.iter().filter(|(_, member)| member.until.is_none()).map(|(key, member)| (key.id, member))
    }

    /// Returns the greatest round trip of the members present (RFC 5401). Each member's is smoothed apart, for all of
    /// them are known here: a guess or a single late report then does not slow repairs for half a minute, as it would
    /// by the slow fall of an estimate that is made of the group's reports together.
    pub(super) fn grtt(&self) -> Duration {
        let slowest = self.present().filter_map(|(_, member)| member.smoothed).max();
        slowest.map_or(TIMING.grtt_initial, timing::bounded_grtt)
    }

    /// Returns, for each multicast member that reported since the last call, the share of first-sent datagrams that it
    /// missed.
    pub(super) fn losses(&mut self) -> Vec<f64> {
        let present = self.by_key.values_mut().filter(|member| member.until.is_none());
        present
            .filter(|member| member.lane == MemberLane::Multicast)
            .filter_map(MemberState::loss_since_review)
            .collect()
    }

    /// Messages that members say to have delivered since they came, once for each member; and since the last call.
    pub const fn take_delivered(&mut self) -> u64 {
        std::mem::replace(&mut self.delivered, 0)
    }

    /// Returns a count that rises with every change that can change a receipt.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the samples of STATUS since the last call, at most 256.
    pub fn take_samples(&mut self) -> Vec<StatusSample> {
        std::mem::take(&mut self.samples)
    }

    /// Handles the end of a session. Its member stays present for a while, because it may be moving to the other lane.
    fn handle_gone(&mut self, now: Instant, head: Seq, key: MemberKey) -> StatusOutcome {
        let is_elsewhere = self.of_id(key.id).any(|(other, member)| *other != key && member.until.is_none());
        if let Some(member) = self.by_key.get_mut(&key) {
            member.reporter = None;
            member.last_heard = now;
            if is_elsewhere && member.until.is_none() {
                member.until = Some(head);
                self.changes += 1;
            }
        }
        StatusOutcome::Unchanged
    }

    /// Whether the address reports as another member that is still present.
    fn speaks_for_another(&self, from: SocketAddrV4, id: SenderId) -> bool {
        let is_present = |other: SenderId| {
            let mut present = self.of_id(other).filter(|(_, member)| member.until.is_none());
            present.any(|(_, member)| member.addr == Some(from))
        };
        self.speakers.get(&from).is_some_and(|&other| other != id && is_present(other))
    }

    fn of_id(&self, id: SenderId) -> impl Iterator<Item = (&MemberKey, &MemberState)> {
        self.by_key.range(MemberKey::range(id))
    }

    /// Moves a member to a new key if its cookie proves that it is the same process.
    fn move_here(&mut self, key: MemberKey, cookie: Cookie) {
        if cookie == Cookie::default() {
            return;
        }
        let former = self.of_id(key.id).find(|(other, member)| **other != key && member.cookie == cookie);
        let Some(former) = former.map(|(&former, _)| former) else { return };
        if self.is_full(key.origin) && !self.free_place_of(key.origin) {
            return;
        }
        self.forget(key);
        if let Some(member) = self.by_key.remove(&former) {
            self.give_back(former.origin);
            *self.shares.entry(key.origin).or_default() += 1;
            self.by_key.insert(key, member);
            self.changes += 1;
        }
    }

    /// Whether a host has as many members as one may have.
    fn is_full(&self, origin: MemberOrigin) -> bool {
        matches!(origin, MemberOrigin::Host(_))
            && self.shares.get(&origin).is_some_and(|&share| share >= MAX_MEMBERS_PER_HOST)
    }

    /// Forgets the member of `origin` that has been absent for longest; false if all are present.
    fn free_place_of(&mut self, origin: MemberOrigin) -> bool {
        let absent = self.by_key.iter().filter(|(key, member)| key.origin == origin && member.until.is_some());
        let oldest = absent.min_by_key(|(_, member)| member.last_heard).map(|(&key, _)| key);
        oldest.into_iter().for_each(|key| self.forget(key));
        oldest.is_some()
    }

    /// Makes room for one more member of `origin`; false if it has its share.
    fn make_room(&mut self, origin: MemberOrigin) -> bool {
        if self.is_full(origin) {
            return self.free_place_of(origin);
        }
        if self.by_key.len() < MAX_MEMBERS {
            return true;
        }
        let Some((&largest, &most)) = self.shares.iter().max_by_key(|(_, share)| **share) else { return false };
        if most <= self.shares.get(&origin).copied().unwrap_or_default() + 1 {
            return false;
        }
        let of_it = self.by_key.iter().filter(|(key, _)| key.origin == largest);
        let Some(oldest) = of_it.min_by_key(|(_, member)| member.last_heard).map(|(&key, _)| key) else { return false };
        self.forget(oldest);
        self.changes += 1;
        true
    }

    fn forget(&mut self, key: MemberKey) {
        let Some(member) = self.by_key.remove(&key) else { return };
        if let Some(addr) = member.addr {
            self.silence(addr, key.id);
        }
        self.give_back(key.origin);
    }

    /// Ends the association of the address with `id`, unless the address reports as another member by now.
    fn silence(&mut self, addr: SocketAddrV4, id: SenderId) {
        if self.speakers.get(&addr) == Some(&id) {
            self.speakers.remove(&addr);
        }
    }

    fn give_back(&mut self, origin: MemberOrigin) {
        if let Some(share) = self.shares.get_mut(&origin) {
            *share -= 1;
            if *share == 0 {
                self.shares.remove(&origin);
            }
        }
    }

    fn hear(
        &mut self,
        now: Instant,
        head: Seq,
        key: MemberKey,
        delivered: Option<Seq>,
    ) -> Option<(&mut MemberState, StatusOutcome)> {
        let is_new = !self.by_key.contains_key(&key);
        if is_new && !self.make_room(key.origin) {
            return None;
        }
        if is_new {
            *self.shares.entry(key.origin).or_default() += 1;
            // A session that has ended went here.
            let former =
                self.by_key.range_mut(MemberKey::range(key.id)).filter(|(_, member)| member.is_ended_session());
            former.for_each(|(_, member)| member.until = member.until.or(Some(head)));
        }
        let member = self.by_key.entry(key).or_insert_with(|| MemberState::new(now, head));
        let joined = member.hear(now, head) || is_new;
        let delivered = member.believed(now, head, delivered.unwrap_or_default());
        let before = std::mem::replace(&mut member.delivered, delivered);
        let progressed = delivered != before;
        self.delivered += delivered.0.saturating_sub(before.max(member.since).0);
        let heard = match (joined, progressed) {
            (true, _) => StatusOutcome::Joined,
            (false, true) => StatusOutcome::Progressed,
            (false, false) => StatusOutcome::Unchanged,
        };
        self.changes += u64::from(heard != StatusOutcome::Unchanged);
        let soonest = now + TIMING.presence;
        self.next_expiry = Some(self.next_expiry.map_or(soonest, |next| next.min(soonest)));
        Some((member, heard))
    }
}

/// Computes the round trip of a STATUS: now − echo − the member's own delay, all modulo 2³² µs.
pub(super) fn round_trip(now_us: u32, status: &Status) -> Option<Duration> {
    let elapsed = now_us.wrapping_sub(status.echo_ts_us);
    let round_trip = Duration::from_micros(elapsed.checked_sub(status.echo_delay_us)?.into());
    (round_trip <= TIMING.grtt_sample_max).then_some(round_trip)
}
