//! Who listens, by multicast and at hubs: who is present, how far each got, the group's size and round trip (RFC 5401).

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use gaung_proto::{DeviceId, SenderId, Seq, body::Status};

use super::member::{MemberLane, MemberState, Origin, smoothed};

use crate::timing;

/// A member is present for this long after its last STATUS, or after its session was last known to be there.
pub const PRESENCE: Duration = Duration::from_secs(5);

/// Members kept of one group, present or not. When there are more, whoever made the most of them has no share for one
/// more, and gives up its oldest for a newcomer of another origin.
const MAX_MEMBERS: usize = 4096;
/// Members kept that send STATUS from one host: a process has one each.
const MAX_MEMBERS_PER_HOST: usize = 64;
/// Samples kept for a driver that does not drain them; older ones are dropped.
const MAX_SAMPLES: usize = 256;
/// Longest round trip that is believed; more is a wrong or foreign echo.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

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
    /// How many of them each origin has.
    shares: BTreeMap<Origin, usize>,
    /// For whom each address speaks: a process has one id.
    speakers: BTreeMap<SocketAddrV4, SenderId>,
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
        let id = status.sender;
        if !self.may_speak(from, id) {
            return Heard::NoRoom;
        }
        let origin = Origin::Host(*from.ip());
        let Some((member, heard)) = self.hear(now, head, id, Some(delivered), origin) else { return Heard::NoRoom };
        let former = member.addr.replace(from);
        let since = |now: u32, before: u32| Some(now.wrapping_sub(before)).filter(|&more| more <= u32::MAX / 2);
        let counted = since(status.received, member.received).zip(since(status.lost, member.lost));
        let (received, lost) = counted.unwrap_or((status.received, status.lost));
        let repaired = since(status.repaired, member.repaired).unwrap_or(status.repaired);
        let behind = head.0 - member.delivered.0;
        let sample = StatusSample { received, lost, repaired, behind, round_trip };
        member.lane = MemberLane::Multicast;
        member.reporter = None;
        member.device = status.device;
        member.received = status.received;
        member.lost = status.lost;
        member.repaired = status.repaired;
        member.round_trip = round_trip.or(member.round_trip);
        member.smoothed = round_trip.map(|sample| smoothed(member.smoothed, sample)).or(member.smoothed);
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push(sample);
        }
        if former != Some(from) {
            if let Some(former) = former {
                self.speakers.remove(&former);
            }
            self.speakers.insert(from, id);
        }
        heard
    }

    /// Takes what a hub says of one session. `head`: the highest seq logged; what was delivered is believed up to it.
    pub fn handle_session(&mut self, now: Instant, head: Seq, reporter: Reporter, report: &SessionReport) -> Heard {
        if report.gone {
            return self.handle_gone(now, reporter, report.member);
        }
        let origin = Origin::Stream(reporter);
        let Some((member, heard)) = self.hear(now, head, report.member, report.delivered, origin) else {
            return Heard::NoRoom;
        };
        let former = member.addr.take();
        member.lane = if report.delivered.is_some() { MemberLane::Tcp } else { MemberLane::Text };
        member.reporter = Some(reporter);
        member.device = report.device;
        member.name.clone_from(&report.name);
        member.round_trip = None;
        member.smoothed = None;
        if let Some(former) = former {
            self.speakers.remove(&former);
        }
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
        let (mut gone, mut forgotten) = (Vec::new(), Vec::new());
        for (&id, member) in &mut self.by_id {
            if member.expiry() <= now && member.until.is_none() {
                member.until = Some(head);
                gone.push(id);
            }
            // Of an origin that had more than a person's machine has, nobody asks who was there.
            let is_one_of_many = self.shares.get(&member.origin).is_some_and(|&share| share > MAX_MEMBERS_PER_HOST);
            if member.expiry() <= now || (member.until.is_some() && is_one_of_many) {
                forgotten.push(id);
            }
        }
        forgotten.into_iter().for_each(|id| self.forget(id));
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

    /// An address speaks for one member as long as that is present, and not for one that speaks elsewhere: by multicast
    /// from another host, or at a hub.
    fn may_speak(&self, from: SocketAddrV4, id: SenderId) -> bool {
        let is_present = |id: &SenderId| self.by_id.get(id).is_some_and(|member| member.until.is_none());
        let speaks_for_another = self.speakers.get(&from).is_some_and(|other| *other != id && is_present(other));
        let speaks_elsewhere = self.by_id.get(&id).is_some_and(|member| {
            let is_here = match member.origin {
                Origin::Host(host) => host == *from.ip(),
                // Its session has ended, or may have without a word.
                Origin::Stream(_) => member.reporter.is_none(),
            };
            member.until.is_none() && !is_here
        });
        !(speaks_for_another || speaks_elsewhere)
    }

    /// Makes room for one more member of `origin`; false if it has its share.
    fn make_room(&mut self, origin: Origin) -> bool {
        let share = self.shares.get(&origin).copied().unwrap_or_default();
        if matches!(origin, Origin::Host(_)) && share >= MAX_MEMBERS_PER_HOST {
            let absent = self.by_id.iter().filter(|(_, member)| member.origin == origin && member.until.is_some());
            let oldest = absent.min_by_key(|(_, member)| member.last_heard).map(|(&id, _)| id);
            oldest.into_iter().for_each(|id| self.forget(id));
            return oldest.is_some();
        }
        if self.by_id.len() < MAX_MEMBERS {
            return true;
        }
        let Some((&largest, &most)) = self.shares.iter().max_by_key(|(_, share)| **share) else { return false };
        if most <= share + 1 {
            return false;
        }
        let of_it = self.by_id.iter().filter(|(_, member)| member.origin == largest);
        let Some(oldest) = of_it.min_by_key(|(_, member)| member.last_heard).map(|(&id, _)| id) else { return false };
        self.forget(oldest);
        self.changes += 1;
        true
    }

    fn forget(&mut self, id: SenderId) {
        let Some(member) = self.by_id.remove(&id) else { return };
        if let Some(addr) = member.addr {
            self.speakers.remove(&addr);
        }
        self.give_back(member.origin);
    }

    fn give_back(&mut self, origin: Origin) {
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
        id: SenderId,
        delivered: Option<Seq>,
        origin: Origin,
    ) -> Option<(&mut MemberState, Heard)> {
        let known = self.by_id.get(&id).map(|member| (member.origin, member.until.is_some()));
        // What another host says cannot tell what was heard before it: it begins anew.
        if let Some((Origin::Host(before), true)) = known
            && matches!(origin, Origin::Host(host) if host != before)
        {
            self.forget(id);
        }
        let is_new = !self.by_id.contains_key(&id);
        if is_new && !self.make_room(origin) {
            return None;
        }
        let member = self.by_id.entry(id).or_insert_with(|| MemberState::new(now, head, origin));
        let before = std::mem::replace(&mut member.origin, origin);
        if is_new || before != origin {
            *self.shares.entry(origin).or_default() += 1;
        }
        if !is_new && before != origin {
            self.give_back(before);
        }
        let member = self.by_id.get_mut(&id)?;
        let joined = member.hear(now, head) || is_new;
        let delivered = member.believed(now, head, delivered.unwrap_or_default());
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

/// The round trip that a STATUS tells: now − echo − the member's own delay, all modulo 2³² µs.
pub(super) fn round_trip(now_us: u32, status: &Status) -> Option<Duration> {
    let elapsed = now_us.wrapping_sub(status.echo_ts_us);
    let round_trip = Duration::from_micros(elapsed.checked_sub(status.echo_delay_us)?.into());
    (round_trip <= MAX_ROUND_TRIP).then_some(round_trip)
}
