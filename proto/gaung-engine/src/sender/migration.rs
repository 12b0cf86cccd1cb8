//! The address of a group, and its moves to another one: MIGRATE goes out before the group leaves and for a while after,
//! and to whoever missed all of that when it next speaks.

use std::time::{Duration, Instant};

use gaung_proto::{Generation, GroupAddr, GroupId, GroupTag, LogId};

use super::SenderConfig;
use crate::timing::TIMING;

/// Notices at the old address, the last of them some 3 s after the first: long before anybody else is given it.
const NOTICES: u32 = 7;
/// Former addresses whose members still get a MIGRATE.
const MAX_FORMER: usize = 8;
/// MIGRATEs sent to single members in one second, to each as often as it speaks; others get theirs a second later.
const MAX_ANSWERS: u32 = 256;

/// The address that a group's datagrams go to, with the tag that marks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupEndpoint {
    pub(super) addr: GroupAddr,
    pub(super) ttl: u8,
    pub(super) generation: Generation,
    pub(super) tag: GroupTag,
}

/// A move to another address that is in progress.
#[derive(Debug)]
struct AddressMove {
    from: GroupEndpoint,
    to: GroupEndpoint,
    /// When the group leaves the old address; `None` once it has.
    leaves_at: Option<Instant>,
    notices: u32,
    next_notice: Instant,
}

impl AddressMove {
    fn due(&self) -> Option<Instant> {
        let notice = (self.notices < NOTICES).then_some(self.next_notice);
        [notice, self.leaves_at].into_iter().flatten().min()
    }
}

/// Where a group's datagrams go, and the tags that members may still know it by.
///
/// Every tag that members may know is the present one or, if it is not too long ago, a former one: also that of an
/// address that was announced and never reached.
#[derive(Debug)]
pub(super) struct GroupAddress {
    group: GroupId,
    log: LogId,
    /// `None` while the group has no address.
    endpoint: Option<GroupEndpoint>,
    /// The tag of the endpoint, or of the last one.
    tag: GroupTag,
    /// The tags of its former addresses, newest first.
    former: Vec<GroupTag>,
    departure: Option<AddressMove>,
    /// The second in which MIGRATEs to single members are counted, and how many were sent in it.
    answers: (Instant, u32),
}

/// What a step of a move requires to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MoveStep {
    /// The group is at this address from now on.
    pub(super) arrived: Option<GroupEndpoint>,
    /// A MIGRATE is due at the first address, which names the second.
    pub(super) notice: Option<(GroupEndpoint, GroupEndpoint)>,
}

impl GroupAddress {
    pub(super) fn new(config: &SenderConfig, now: Instant) -> Self {
        let &SenderConfig { group, log, generation, addr, ttl, .. } = config;
        let tag = GroupTag::of(group, generation, log);
        Self {
            group,
            log,
            endpoint: Some(GroupEndpoint { addr, ttl, generation, tag }),
            tag,
            former: GroupTag::former(group, generation, log).collect(),
            departure: None,
            answers: (now, 0),
        }
    }

    pub(super) const fn endpoint(&self) -> Option<GroupEndpoint> {
        self.endpoint
    }

    pub(super) const fn tag(&self) -> GroupTag {
        self.tag
    }

    pub(super) fn is_former(&self, tag: GroupTag) -> bool {
        self.former.contains(&tag)
    }

    /// Whether a move is in progress, until its last notice.
    pub(super) const fn is_moving(&self) -> bool {
        self.departure.is_some()
    }

    /// Returns when to call [`Self::work`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.departure.as_ref().and_then(AddressMove::due)
    }

    /// Begins a move in the same log, which replaces one that is in progress.
    pub(super) fn begin_move(&mut self, now: Instant, addr: GroupAddr, ttl: u8, generation: Generation) -> MoveStep {
        let to = GroupEndpoint { addr, ttl, generation, tag: GroupTag::of(self.group, generation, self.log) };
        let target = self.departure.as_ref().map(|departure| departure.to).or(self.endpoint);
        match self.endpoint {
            _ if target == Some(to) => MoveStep::default(),
            None => self.arrive(to),
            Some(from) => {
                let leaves_at = Some(now + TIMING.move_lead);
                self.cancel_move();
                self.departure = Some(AddressMove { from, to, leaves_at, notices: 0, next_notice: now });
                self.work(now)
            }
        }
    }

    /// Leaves the address without another one.
    pub(super) fn lapse(&mut self) {
        self.cancel_move();
        self.endpoint = None;
    }

    /// Takes the step of a move that is due.
    pub(super) fn work(&mut self, now: Instant) -> MoveStep {
        let Some(departure) = &mut self.departure else { return MoveStep::default() };
        let (from, to) = (departure.from, departure.to);
        let leaves = departure.leaves_at.take_if(|at| *at <= now).is_some();
        let notifies = departure.notices < NOTICES && departure.next_notice <= now;
        if notifies {
            departure.next_notice = now + TIMING.move_notice_min * (1 << departure.notices);
            departure.notices += 1;
        }
        if departure.due().is_none() {
            self.departure = None;
        }
        let step = if leaves { self.arrive(to) } else { MoveStep::default() };
        MoveStep { notice: notifies.then_some((from, to)), ..step }
    }

    /// Counts one more MIGRATE to a single member; returns where it sends the member, or `None` over the limit.
    pub(super) fn answer(&mut self, now: Instant) -> Option<GroupEndpoint> {
        let (began, sent) = &mut self.answers;
        if now.saturating_duration_since(*began) >= Duration::from_secs(1) {
            (*began, *sent) = (now, 0);
        }
        let endpoint = self.endpoint.filter(|_| *sent < MAX_ANSWERS)?;
        *sent += 1;
        Some(endpoint)
    }

    /// Cancels a move. Members know an address to which the group never came, and a forger can make them believe that
    /// it is there; so its tag is answered as a former one.
    fn cancel_move(&mut self) {
        if let Some(departure) = self.departure.take().filter(|departure| departure.leaves_at.is_some()) {
            self.remember(departure.to.tag);
        }
    }

    fn remember(&mut self, former: GroupTag) {
        self.former.insert(0, former);
        self.former.truncate(MAX_FORMER);
    }

    fn arrive(&mut self, to: GroupEndpoint) -> MoveStep {
        self.endpoint = Some(to);
        self.remember(self.tag);
        self.tag = to.tag;
        MoveStep { arrived: Some(to), notice: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::Ipv4Addr;

    use super::*;
    use crate::test_messages::{GROUP, LOG};

    fn endpoint(generation: u32) -> GroupEndpoint {
        let addr = GroupAddr::new(Ipv4Addr::new(239, 255, 1, 2), 20_000 + generation as u16).unwrap();
        GroupEndpoint { addr, ttl: 1, generation: Generation(generation), tag: tag(generation) }
    }

    fn tag(generation: u32) -> GroupTag {
        GroupTag::of(GROUP, Generation(generation), LOG)
    }

    /// A group at the address of `generation`, as after a start of the relay.
    fn address(generation: u32, now: Instant) -> GroupAddress {
        GroupAddress {
            group: GROUP,
            log: LOG,
            endpoint: Some(endpoint(generation)),
            tag: tag(generation),
            former: GroupTag::former(GROUP, Generation(generation), LOG).collect(),
            departure: None,
            answers: (now, 0),
        }
    }

    fn begin_move(address: &mut GroupAddress, now: Instant, generation: u32) -> MoveStep {
        let GroupEndpoint { addr, ttl, generation, .. } = endpoint(generation);
        address.begin_move(now, addr, ttl, generation)
    }

    fn former(address: &GroupAddress) -> Vec<u32> {
        (0..9).filter(|&generation| address.is_former(tag(generation))).collect()
    }

    #[test]
    fn a_group_leaves_between_its_first_and_its_last_notice() {
        let began = Instant::now();
        let mut address = address(1, began);
        let first = begin_move(&mut address, began, 2);
        assert_eq!(first, MoveStep { arrived: None, notice: Some((endpoint(1), endpoint(2))) });
        assert_eq!(begin_move(&mut address, began, 2), MoveStep::default(), "that is known");
        let (mut steps, mut at) = (vec![first], began);
        while let Some(due) = address.due() {
            assert!(address.is_moving() && due >= at);
            at = due;
            steps.push(address.work(at));
            assert_eq!(address.tag() == tag(2), at >= began + TIMING.move_lead);
        }
        assert_eq!(steps.iter().filter(|step| step.notice.is_some()).count(), NOTICES as usize);
        assert_eq!(steps.iter().filter(|step| step.arrived == Some(endpoint(2))).count(), 1);
        assert!(!address.is_moving() && at < began + Duration::from_secs(4));
    }

    #[test]
    fn an_address_that_was_announced_and_never_reached_is_a_former_one() {
        let now = Instant::now();
        let mut address = address(1, now);
        begin_move(&mut address, now, 2);
        begin_move(&mut address, now, 3);
        address.lapse();
        assert_eq!((former(&address), address.endpoint(), address.due()), (vec![0, 2, 3], None, None));
        assert_eq!(address.tag(), tag(1), "the last word counts: it never left");
        assert_eq!(begin_move(&mut address, now, 4).arrived, Some(endpoint(4)), "nobody is told at no address");
        assert_eq!(former(&address), [0, 1, 2, 3]);
    }

    #[test]
    fn a_relay_that_starts_at_the_new_address_knows_who_comes_from_the_old_one() {
        assert_eq!(former(&address(6, Instant::now())), [2, 3, 4, 5]);
    }

    #[test]
    fn single_members_are_told_so_often_in_a_second() {
        let now = Instant::now();
        let mut address = address(1, now);
        let answered = |address: &mut GroupAddress, now| (0..1000).filter(|_| address.answer(now).is_some()).count();
        assert_eq!(answered(&mut address, now), MAX_ANSWERS as usize);
        assert_eq!(answered(&mut address, now + Duration::from_secs(1)), MAX_ANSWERS as usize);
        address.lapse();
        assert_eq!(answered(&mut address, now + Duration::from_secs(2)), 0, "there is no address to name");
    }
}
