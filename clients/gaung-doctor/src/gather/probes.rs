//! Tries multicast, broadcast and IGMP on each interface that Gaung uses.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use gaung_net::{
    SocketError,
    discovery::DISCOVERY_GROUP,
    interface::{Link, Role},
    probe::{
        echo::{self, EchoResult},
        igmp::{IgmpTap, IgmpVersion, QuerierReport, SearchLimits, search},
        source_towards,
    },
};
use gaung_proto::ports;
use rand::Rng as _;

use super::{
    super::facts::{EchoFacts, EchoOutcome, Facts, IgmpFacts, ProbeFacts, ProbedTraffic, QuerierFacts, Unseen},
    neighbours, routes,
};
use crate::say;

/// How long to wait for a datagram that never leaves the machine.
const ECHO: Duration = Duration::from_millis(500);
/// Time after which a person is told that the search goes on.
const PATIENT: Duration = Duration::from_secs(5);

/// Probes each link and records the outcome at its interface.
pub(super) fn try_out(facts: &mut Facts, links: &[Link], quick: bool, stopped: &dyn Fn() -> bool) {
    let mut igmp = match listen_to_igmp(links, quick, stopped) {
        Ok(heard) => heard,
        Err(error) => {
            facts.could_not_look(Unseen::Igmp, error);
            BTreeMap::new()
        }
    };
    let cut_short = igmp.values().any(|igmp| igmp.interrupted);
    if cut_short {
        facts.could_not_look(Unseen::Igmp, "interrupted before reports had time to leave");
    }
    for link in links {
        let igmp = igmp.remove(&link.index);
        let source = |ip| source_towards(SocketAddrV4::new(ip, ports::RELAY_UDP)).ok();
        let querier = igmp.as_ref().and_then(|igmp| igmp.querier).filter(|querier| !querier.from.is_unspecified());
        let mut probe = ProbeFacts {
            ip: link.ip,
            echoes: echoes(link),
            source_to_neighbour: neighbours(link.ip, link.netmask).first().copied().and_then(source),
            multicast_route: None,
            neighbour_routes: Vec::new(),
            source_to_querier: querier.and_then(|querier| source(querier.from)),
            igmp,
        };
        if link.role != Role::Loopback
            && let Err(why) = routes::read(&mut probe, link)
            && !facts.not_looked_at.iter().any(|unseen| unseen.what == Unseen::Routes)
        {
            facts.could_not_look(Unseen::Routes, why);
        }
        if let Some(interface) = facts.interfaces.iter_mut().find(|interface| interface.index == link.index) {
            interface.probe = Some(probe);
        }
    }
}

fn echoes(link: &Link) -> Vec<EchoFacts> {
    let group = SocketAddrV4::new(some_group(), ports::FIRST_GROUP);
    let discovery = SocketAddrV4::new(DISCOVERY_GROUP, ports::DISCOVERY);
    let mut echoes: Vec<_> = [(ProbedTraffic::Multicast, group), (ProbedTraffic::Discovery, discovery)]
        .map(|(way, to)| EchoFacts { way, to, outcome: outcome(echo::multicast(link, to, ECHO)) })
        .into();
    if let Some(ip) = link.broadcast() {
        let outcome = match echo::broadcast(link, ports::BROADCAST, ECHO) {
            Ok(Some(echo)) => outcome(Ok(echo)),
            Ok(None) => return echoes,
            Err(error) => outcome(Err(error)),
        };
        echoes.push(EchoFacts { way: ProbedTraffic::Broadcast, to: SocketAddrV4::new(ip, ports::BROADCAST), outcome });
    }
    echoes
}

/// Draws an address that a group may have; a member of such a group drops foreign datagrams.
fn some_group() -> Ipv4Addr {
    let mut rng = rand::rng();
    Ipv4Addr::new(239, 255, rng.random_range(1..=254), rng.random_range(1..=254))
}

fn outcome(echo: Result<EchoResult, SocketError>) -> EchoOutcome {
    match echo {
        Ok(EchoResult::Heard) => EchoOutcome::Heard,
        Ok(EchoResult::Silent) => EchoOutcome::Silent,
        Ok(EchoResult::NotSent(error)) => EchoOutcome::NotSent(error.to_string()),
        Err(SocketError::TooManyMemberships { .. }) => EchoOutcome::TooManyMemberships,
        Err(error) => EchoOutcome::NoSocket(error.to_string()),
    }
}

/// Listens for IGMP queries and reports on each interface but loopback, which has neither.
fn listen_to_igmp(links: &[Link], quick: bool, stopped: &dyn Fn() -> bool) -> io::Result<BTreeMap<u32, IgmpFacts>> {
    let outside: Vec<_> = links.iter().filter(|link| link.role != Role::Loopback).cloned().collect();
    if outside.is_empty() {
        return Ok(BTreeMap::new());
    }
    let how = if quick { SearchLimits::QUICK } else { SearchLimits::WHOLE };
    let start = Instant::now();
    let mut told = quick;
    let heard = search(&mut IgmpTap::open()?, &outside, how, || {
        if !told && start.elapsed() > PATIENT {
            told = true;
            say("no IGMP querier has answered; listening for one up to 125 s (--quick does not, Ctrl-C ends it)");
        }
        stopped()
    })?;
    let whole_interval = start.elapsed() >= SearchLimits::WHOLE.general;
    // The wait for a general query may be ended at any time: reports had theirs then.
    let interrupted = stopped() && start.elapsed() < SearchLimits::QUICK.reports;
    Ok(heard.into_iter().map(|(index, heard)| (index, IgmpFacts::of(&heard, whole_interval, interrupted))).collect())
}

impl IgmpFacts {
    fn of(heard: &QuerierReport, whole_interval: bool, interrupted: bool) -> Self {
        let version = |version| match version {
            IgmpVersion::V1 => 1,
            IgmpVersion::V2 => 2,
            IgmpVersion::V3 => 3,
        };
        Self {
            reports_leave: heard.reports_leave,
            queries_eaten: heard.queries_eaten,
            querier: heard.querier.map(|(from, v)| QuerierFacts { from, version: version(v) }),
            whole_interval,
            interrupted,
        }
    }
}
