//! Is there a querier? Queries come every 125 s (RFC 3376, 8.2), too seldom to wait for. But a querier asks at once when
//! a member leaves (6.4.2), so this joins a group, leaves it, and listens. It joins again as soon as the leave has been
//! sent: the system takes in only queries for groups that it is in, and so shows whether a filter lets them pass.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use rand::Rng as _;

use super::{IgmpMessage, IgmpPacket, IgmpTap, IgmpVersion, SeenIgmp};
use crate::{interface::Link, multicast::GroupSocket};

/// What the search found on one interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuerierReport {
    /// The querier's address and version; `None` if no query came.
    pub querier: Option<(Ipv4Addr, IgmpVersion)>,
    /// Queries that the system should have taken in came by the interface, and it took in none: a filter eats them.
    pub queries_eaten: bool,
    /// The report of a joined group left. If not, a filter eats it, and no switch learns of memberships.
    pub reports_leave: bool,
}

/// Limits how long to search for a querier.
#[derive(Debug, Clone, Copy)]
pub struct SearchLimits {
    /// For the reports of a group that was just joined; they leave within 1 s (RFC 3376, 8.11), each twice.
    pub reports: Duration,
    /// For the query that answers a leave.
    pub answer: Duration,
    /// For a general query, if no answer came; counted from the start.
    pub general: Duration,
}

impl SearchLimits {
    /// 1.5 s for reports, 2.5 s for an answer, no waiting for a general query.
    pub const QUICK: Self =
        Self { reports: Duration::from_millis(1500), answer: Duration::from_millis(2500), general: Duration::ZERO };
    /// Like [`Self::QUICK`], and then the query interval of RFC 3376 for a general query.
    pub const WHOLE: Self = Self { general: Duration::from_secs(125), ..Self::QUICK };
}

/// Longest time for which `stopped` is not noticed.
const LOOK: Duration = Duration::from_millis(100);
/// A leave is sent within 1 s (RFC 3376, 8.11).
const LEAVE: Duration = Duration::from_millis(1200);
/// More packets do not wait in a socket, unless somebody floods the network with IGMP.
const MOST_WAITING: usize = 4096;
/// Between a query's way past the interface and the system's taking it in.
const TAKEN_IN: Duration = Duration::from_millis(200);

/// Searches on each of `links`; gives what was found by the interface's number. Ends early once every link has a
/// querier, or when `stopped` says so.
///
/// # Errors
/// If the tap fails.
pub fn search(
    tap: &mut IgmpTap,
    links: &[Link],
    search: SearchLimits,
    mut stopped: impl FnMut() -> bool,
) -> io::Result<BTreeMap<u32, QuerierReport>> {
    let start = Instant::now();
    let (group, alias) = group_and_alias();
    let mut notes = SearchNotes::new(links, group);
    // The alias shares the group's Ethernet address, so that the network card still lets its queries in after the leave.
    let _stays = join(alias, links);
    let leaves = join(group, links);
    notes.listen(tap, start + search.reports, &mut stopped, SearchNotes::all_reported)?;
    drop(leaves);
    notes.forget_reports();
    notes.listen(tap, Instant::now() + LEAVE, &mut stopped, SearchNotes::all_reported)?;
    let _again = join(group, links);
    notes.skip_what_waits(tap)?;
    notes.listen(tap, Instant::now() + search.answer, &mut stopped, SearchNotes::all_are_clear)?;
    notes.listen(tap, start + search.general, &mut stopped, SearchNotes::all_have_queriers)?;
    notes.listen(tap, Instant::now() + TAKEN_IN, &mut stopped, |_| false)?;
    Ok(notes.finish())
}

fn group_and_alias() -> (Ipv4Addr, Ipv4Addr) {
    let mut rng = rand::rng();
    let (high, low) = (rng.random_range(1..=254), rng.random_range(1..=254));
    (Ipv4Addr::new(239, 255, high, low), Ipv4Addr::new(239, 127, high, low))
}

/// A link that cannot join reports nothing, which is what the search then says.
fn join(group: Ipv4Addr, links: &[Link]) -> Vec<GroupSocket> {
    let one = |link: &Link| GroupSocket::open(SocketAddrV4::new(group, 0), std::slice::from_ref(link)).ok();
    links.iter().filter_map(one).collect()
}

struct SearchNotes {
    group: Ipv4Addr,
    /// The system is in the group, and has been since before whatever is read now.
    member_again: bool,
    by_interface: BTreeMap<u32, InterfaceNote>,
}

#[derive(Default)]
struct InterfaceNote {
    heard: QuerierReport,
    /// The last leave or join was reported.
    reported: bool,
    /// A query that the system should take in.
    arrived: bool,
    accepted: bool,
}

impl SearchNotes {
    fn new(links: &[Link], group: Ipv4Addr) -> Self {
        let by_interface = links.iter().map(|link| (link.index, InterfaceNote::default())).collect();
        Self { group, member_again: false, by_interface }
    }

    fn listen(
        &mut self,
        tap: &mut IgmpTap,
        until: Instant,
        stopped: &mut impl FnMut() -> bool,
        done: impl Fn(&Self) -> bool,
    ) -> io::Result<()> {
        while !done(self) && !stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Some(seen) = tap.next(left.min(LOOK))? {
                self.note(&seen);
            }
        }
        Ok(())
    }

    fn note(&mut self, seen: &SeenIgmp) {
        match seen {
            SeenIgmp::Arrived { interface, packet } => {
                let Some(note) = self.by_interface.get_mut(interface) else { return };
                let IgmpMessage::Query { version, group } = packet.message else { return };
                note.heard.querier = Some((packet.from, version));
                note.arrived |= group.is_none() || (self.member_again && group == Some(self.group));
            }
            SeenIgmp::Left { interface, packet } => {
                let Some(note) = self.by_interface.get_mut(interface) else { return };
                let of_group =
                    matches!(&packet.message, IgmpMessage::Report { groups } if groups.contains(&self.group));
                note.reported |= of_group;
                note.heard.reports_leave |= of_group;
            }
            SeenIgmp::Accepted(packet) => self.accept(packet),
        }
    }

    /// Raw sockets do not say by which interface; the querier's address does.
    fn accept(&mut self, packet: &IgmpPacket) {
        if !matches!(packet.message, IgmpMessage::Query { .. }) {
            return;
        }
        for note in self.by_interface.values_mut() {
            note.accepted |= note.heard.querier.is_some_and(|(from, _)| from == packet.from);
        }
    }

    fn all_reported(&self) -> bool {
        self.by_interface.values().all(|note| note.reported)
    }

    fn forget_reports(&mut self) {
        self.by_interface.values_mut().for_each(|note| note.reported = false);
    }

    /// What has come until now came perhaps before the system was in the group again.
    fn skip_what_waits(&mut self, tap: &mut IgmpTap) -> io::Result<()> {
        for _ in 0..MOST_WAITING {
            let Some(seen) = tap.next(Duration::ZERO)? else { break };
            self.note(&seen);
        }
        self.member_again = true;
        Ok(())
    }

    /// There is a querier, and it is known whether its queries are taken in.
    fn all_are_clear(&self) -> bool {
        self.by_interface.values().all(|note| note.heard.querier.is_some() && (note.arrived || note.accepted))
    }

    fn all_have_queriers(&self) -> bool {
        self.by_interface.values().all(|note| note.heard.querier.is_some())
    }

    fn finish(self) -> BTreeMap<u32, QuerierReport> {
        let finish =
            |note: InterfaceNote| QuerierReport { queries_eaten: note.arrived && !note.accepted, ..note.heard };
        self.by_interface.into_iter().map(|(interface, note)| (interface, finish(note))).collect()
    }
}
