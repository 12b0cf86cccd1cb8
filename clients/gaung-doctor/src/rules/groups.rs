//! Finds the addresses and ports of groups that the packet filter drops.

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_proto::ports;

use super::{
    super::{
        facts::GroupFacts,
        finding::{GroupPart, Needed},
        firewall::{Culprit, Fate, Ruleset},
    },
    filter::Ends,
};

/// Groups of the usual scope (RFC 2365).
const LOCAL: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(239, 255, 0, 0), Ipv4Addr::new(239, 255, 255, 255));
/// Groups of the organization's scope.
const ORGANIZATION: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(239, 192, 0, 0), Ipv4Addr::new(239, 195, 255, 255));
/// An address that stands for all groups when ports are compared.
const A_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 3, 7);
/// The last of the ports that the registry gives out first.
const LAST_PORT: u16 = 32_767;
/// A part smaller than one in so many is reported only for a known group: a rule about a single port or address is about
/// some other program.
const SMALL_PART: u32 = 256;

/// The verdicts on datagrams to groups, in one direction.
pub(super) struct GroupsJudged {
    /// The verdict on all groups.
    pub(super) whole: Fate,
    /// The part that is dropped, if not all are.
    pub(super) part: Option<(Needed, Culprit)>,
}

/// Judges both directions, received first.
pub(super) fn judge(ruleset: &Ruleset, ends: &Ends<'_>, known: &[GroupFacts]) -> (GroupsJudged, GroupsJudged) {
    (one_way(ruleset, ends, known, true), one_way(ruleset, ends, known, false))
}

fn one_way(ruleset: &Ruleset, ends: &Ends<'_>, known: &[GroupFacts], incoming: bool) -> GroupsJudged {
    let fate = |address, port| ends.group_fate(ruleset, SocketAddrV4::new(address, port), incoming);
    let ports: Vec<_> = ruleset.ports_told_apart(ports::FIRST_GROUP..=LAST_PORT).into_iter().collect();
    let by_port = Share::of(&ports, |port| u32::from(*port), u32::from(LAST_PORT) + 1, |port| fate(A_GROUP, *port));
    // Any port that passes will do to compare addresses; if none does, all groups are dropped.
    let Some(port) = by_port.passes else { return GroupsJudged { whole: by_port.worst, part: None } };
    let by_address = |(first, last): (Ipv4Addr, Ipv4Addr)| {
        let addresses: Vec<_> = ruleset.addresses_told_apart(first..=last).into_iter().collect();
        Share::of(&addresses, |address| address.to_bits(), last.to_bits() + 1, |address| fate(*address, port))
    };
    let local = by_address(LOCAL);
    if local.passes.is_none() {
        return GroupsJudged { whole: local.worst, part: None };
    }
    let part = |example, group: Option<&GroupFacts>, only_organization| {
        let group = group.map(|group| group.name.clone());
        Needed::Groups(GroupPart { incoming, example, group, only_organization })
    };
    let is_organization = |group: &GroupFacts| (ORGANIZATION.0..=ORGANIZATION.1).contains(group.address.ip());
    let of_known = known.iter().find_map(|group| match fate(*group.address.ip(), group.address.port()) {
        Fate::Dropped(culprit) => Some((part(group.address, Some(group), is_organization(group)), culprit)),
        Fate::Passes | Fate::Unclear(_) => None,
    });
    let of_ports = || by_port.dropped.map(|(port, by)| (part(SocketAddrV4::new(A_GROUP, port), None, false), by));
    let of_local = || local.dropped.map(|(address, by)| (part(SocketAddrV4::new(address, port), None, false), by));
    let of_organization = || {
        let organization = by_address(ORGANIZATION);
        organization.dropped.map(|(address, by)| (part(SocketAddrV4::new(address, port), None, true), by))
    };
    let part = of_known.or_else(of_ports).or_else(of_local).or_else(of_organization);
    GroupsJudged { whole: Fate::Passes, part }
}

/// The verdicts on points, each of which stands for all up to the next.
struct Share<T> {
    /// A point that passes.
    passes: Option<T>,
    /// A point that is dropped, if those are no small part.
    dropped: Option<(T, Culprit)>,
    /// The verdict on all if none passes.
    worst: Fate,
}

impl<T: Copy> Share<T> {
    fn of(points: &[T], number: impl Fn(&T) -> u32, end: u32, fate: impl Fn(&T) -> Fate) -> Self {
        let mut share = Self { passes: None, dropped: None, worst: Fate::Unclear(None) };
        let whole = points.first().map_or(0, |first| end.wrapping_sub(number(first)));
        let (mut dropped, mut all_dropped) = (0, true);
        for (place, point) in points.iter().enumerate() {
            let next = points.get(place + 1).map_or(end, &number);
            match fate(point) {
                Fate::Passes => {
                    share.passes.get_or_insert(*point);
                }
                Fate::Dropped(culprit) => {
                    dropped += next.wrapping_sub(number(point));
                    share.dropped.get_or_insert((*point, culprit));
                }
                unclear @ Fate::Unclear(_) => {
                    all_dropped = false;
                    share.worst = unclear;
                }
            }
        }
        match &share.dropped {
            Some((_, culprit)) if share.passes.is_none() && all_dropped => share.worst = Fate::Dropped(culprit.clone()),
            _ => {}
        }
        if dropped < whole / SMALL_PART {
            share.dropped = None;
        }
        share
    }
}
