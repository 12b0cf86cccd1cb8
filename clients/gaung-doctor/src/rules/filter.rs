//! Judges what the packet filter does to the packets that Gaung needs.

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_net::discovery::DISCOVERY_GROUP;
use gaung_proto::ports;

use super::{
    super::{
        facts::{EchoFacts, EchoOutcome, Facts, InterfaceFacts, Kind, ProbedTraffic},
        finding::{GroupPart, Needed, Trouble},
        firewall::{Cast, Culprit, Direction, Fate, Packet, Ruleset, Tracking, Transport},
        gather::neighbours,
    },
    Findings, Used, groups,
};

/// Destination of IGMPv3 reports (RFC 3376).
const REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// TCP ports of a server.
const TCP_PORTS: [u16; 5] = [ports::REGISTRY, ports::RELAY, ports::HUB_TCP, ports::TEXT, ports::WEB];
/// TCP ports that `gaung` connects to.
const TCP_OUT_PORTS: [u16; 3] = [ports::REGISTRY, ports::RELAY, ports::HUB_TCP];
/// One of the ports that Linux gives to an unbound socket (`ip_local_port_range`).
const SOME_PORT: u16 = 45_000;

/// Judges the rules first, then the trials: a missing echo is reported only if no rule explains it. What came back was not
/// dropped, whatever the rules say.
pub(super) fn judge(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let judged = match (&facts.firewall, Ends::of(used)) {
        (Some(ruleset), Some(ends)) => Judged::of(facts, ruleset, &ends, used),
        _ => Judged::default(),
    };
    for (what, culprit) in &judged.dropped {
        findings.at(used.interface, Trouble::Filtered { what: what.clone(), culprit: culprit.clone() });
    }
    judge_echoes(used, &judged, findings);
    if !judged.unclear.is_empty() {
        let what = judged.unclear.iter().map(|(what, _)| what.clone()).collect();
        let suspect = judged.unclear.iter().find_map(|(_, suspect)| suspect.clone());
        findings.at(used.interface, Trouble::FilterUnclear { what, suspect });
    }
}

/// Judges the echoes that did not come back, unless a rule explains them.
fn judge_echoes(used: &Used<'_>, judged: &Judged, findings: &mut Findings) {
    for echo in used.probe.iter().flat_map(|probe| &probe.echoes) {
        let of_way = |what: &Needed| match what {
            Needed::In(way) | Needed::Out(way) => *way == echo.way,
            // Another part of the groups does not explain the silence of this one, but stands for it.
            Needed::Groups(_) => echo.way == ProbedTraffic::Multicast,
            Needed::IgmpIn
            | Needed::IgmpOut
            | Needed::Relay
            | Needed::RelayOut
            | Needed::Tcp(_)
            | Needed::TcpOut(_)
            | Needed::Answers { .. } => false,
        };
        let explained = judged.dropped.iter().any(|(what, _)| of_way(what)) || judged.only_the_echo.contains(&echo.way);
        let told = matches!(echo.outcome, EchoOutcome::Heard | EchoOutcome::TooManyMemberships);
        if !told && !explained {
            let (way, to, outcome) = (echo.way, echo.to, echo.outcome.clone());
            let suspect = judged.suspect_of(&Needed::In(way)).or_else(|| judged.suspect_of(&Needed::Out(way)));
            findings.at(used.interface, Trouble::NotHeard { way, to, outcome, suspect });
        }
    }
}

/// The verdicts of the rules on everything that Gaung needs here.
#[derive(Debug, Default)]
struct Judged {
    dropped: Vec<(Needed, Culprit)>,
    /// What neither the rules nor a trial decide.
    unclear: Vec<(Needed, Option<Culprit>)>,
    /// What a rule may drop, whether a trial decides or not.
    suspects: Vec<(Needed, Culprit)>,
    /// Traffic of which only the own copy is dropped, so that its missing echo means nothing.
    only_the_echo: Vec<ProbedTraffic>,
}

impl Judged {
    fn of(facts: &Facts, ruleset: &Ruleset, ends: &Ends<'_>, used: &Used<'_>) -> Self {
        let mut judged = Self::default();
        let echo_of =
            |way: ProbedTraffic| used.probe.iter().flat_map(|probe| &probe.echoes).find(|echo| echo.way == way);
        judged.note(Needed::IgmpIn, ends.fate_in(ruleset, Transport::Igmp, ALL_HOSTS, Cast::Multicast));
        judged.note(Needed::IgmpOut, ends.fate_out(ruleset, Transport::Igmp, REPORTS, Cast::Multicast));
        let (groups_in, groups_out) = groups::judge(ruleset, ends, &facts.groups);
        judged.note_ways(
            ruleset,
            ends,
            echo_of(ProbedTraffic::Multicast),
            ProbedTraffic::Multicast,
            groups_in.whole,
            groups_out.whole,
        );
        for part in [groups_in.part, groups_out.part].into_iter().flatten() {
            judged.dropped.push(part);
        }
        judged.note_tried_group(ruleset, ends, echo_of(ProbedTraffic::Multicast));
        for (way, port, to, cast) in [
            (ProbedTraffic::Discovery, ports::DISCOVERY, DISCOVERY_GROUP, Cast::Multicast),
            (ProbedTraffic::Broadcast, ports::BROADCAST, ends.broadcast, Cast::Broadcast),
        ] {
            let comes = ends.fate_in(ruleset, Transport::Udp(port), to, cast);
            let goes = ends.fate_out(ruleset, Transport::Udp(port), to, cast);
            judged.note_ways(ruleset, ends, echo_of(way), way, comes, goes);
        }
        let relay = Transport::Udp(ports::RELAY_UDP);
        judged.note(Needed::Relay, ends.fate_in(ruleset, relay, ends.own, Cast::Unicast));
        judged.note(Needed::RelayOut, ends.fate_to_neighbours(ruleset, relay));
        judged.note_tcp(&TCP_PORTS, Needed::Tcp, |port| {
            ends.fate_in(ruleset, Transport::Tcp(port), ends.own, Cast::Unicast)
        });
        judged.note_tcp(&TCP_OUT_PORTS, Needed::TcpOut, |port| ends.fate_to_neighbours(ruleset, Transport::Tcp(port)));
        judged.note_answers(facts, ruleset, ends);
        judged
    }

    fn note(&mut self, what: Needed, fate: Fate) {
        match fate {
            Fate::Passes => {}
            Fate::Dropped(culprit) => self.dropped.push((what, culprit)),
            Fate::Unclear(suspect) => {
                self.suspects.extend(suspect.clone().map(|culprit| (what.clone(), culprit)));
                // IGMP is seen passing, or said not to have been looked at.
                if !matches!(what, Needed::IgmpIn | Needed::IgmpOut) {
                    self.unclear.push((what, suspect));
                }
            }
        }
    }

    /// Both directions of a way to many, of which the own copy passes both.
    fn note_ways(
        &mut self,
        ruleset: &Ruleset,
        ends: &Ends<'_>,
        echo: Option<&EchoFacts>,
        way: ProbedTraffic,
        comes: Fate,
        goes: Fate,
    ) {
        let heard = echo.is_some_and(|echo| echo.outcome == EchoOutcome::Heard);
        let silent = echo.is_some_and(|echo| echo.outcome == EchoOutcome::Silent);
        let copy = echo.map(|echo| ruleset.fate(&ends.looped(echo)));
        let copy_dropped = matches!(copy, Some(Fate::Dropped(_)));
        match comes {
            // The same rules say so of the copy, which came.
            Fate::Dropped(_) if heard && copy_dropped => {}
            Fate::Unclear(suspect) if heard => {
                self.suspects.extend(suspect.map(|culprit| (Needed::In(way), culprit)));
            }
            fate @ (Fate::Passes | Fate::Dropped(_) | Fate::Unclear(_)) => {
                if silent && copy_dropped && !matches!(fate, Fate::Dropped(_)) {
                    self.only_the_echo.push(way);
                }
                self.note(Needed::In(way), fate);
            }
        }
        match goes {
            Fate::Dropped(_) | Fate::Unclear(_) if heard => {}
            fate @ (Fate::Passes | Fate::Dropped(_) | Fate::Unclear(_)) => self.note(Needed::Out(way), fate),
        }
    }

    /// The group that was tried may be one of a part that is too small to be told of otherwise.
    fn note_tried_group(&mut self, ruleset: &Ruleset, ends: &Ends<'_>, echo: Option<&EchoFacts>) {
        let of_groups = |(what, _): &(Needed, Culprit)| {
            matches!(
                what,
                Needed::Groups(_) | Needed::In(ProbedTraffic::Multicast) | Needed::Out(ProbedTraffic::Multicast)
            )
        };
        let Some(echo) = echo.filter(|echo| echo.outcome != EchoOutcome::Heard) else { return };
        if self.dropped.iter().any(of_groups) {
            return;
        }
        for incoming in [true, false] {
            if let Fate::Dropped(culprit) = ends.group_fate(ruleset, echo.to, incoming) {
                let part = GroupPart { incoming, example: echo.to, group: None, only_organization: false };
                self.dropped.push((Needed::Groups(part), culprit));
            }
        }
    }

    /// All ports that are dropped as one finding, by the rule that drops the first; those that are not clear as another.
    fn note_tcp(&mut self, ports: &[u16], needed: impl Fn(Vec<u16>) -> Needed, fate: impl Fn(u16) -> Fate) {
        let (mut dropped, mut unclear) = (Vec::new(), Vec::new());
        for &port in ports {
            match fate(port) {
                Fate::Passes => {}
                Fate::Dropped(culprit) => dropped.push((port, culprit)),
                Fate::Unclear(suspect) => unclear.push((port, suspect)),
            }
        }
        if let Some((_, first)) = dropped.first().cloned() {
            self.dropped.push((needed(dropped.into_iter().map(|(port, _)| port).collect()), first));
        }
        if let Some((_, first)) = unclear.first().cloned() {
            self.unclear.push((needed(unclear.into_iter().map(|(port, _)| port).collect()), first));
        }
    }

    /// Answers come from servers' discovery port to one that the system chose. A firewall that opens ports by their number
    /// takes no answer to a question by multicast for one.
    fn note_answers(&mut self, facts: &Facts, ruleset: &Ruleset, ends: &Ends<'_>) {
        let answer = |from| Packet {
            from_port: Some(ports::DISCOVERY),
            ..ends.comes(Transport::Udp(SOME_PORT), ends.own, Cast::Unicast, from)
        };
        let seen = facts.discovery.is_some_and(|discovery| discovery.arrived > 0);
        let found = facts.discovery.is_some_and(|discovery| discovery.found > 0);
        if let Fate::Dropped(culprit) = ends.of_all(|from| ruleset.fate(&answer(from))) {
            self.dropped.push((Needed::Answers { seen, found }, culprit));
        }
    }

    fn suspect_of(&self, needed: &Needed) -> Option<Culprit> {
        self.suspects.iter().find(|(what, _)| what == needed).map(|(_, culprit)| culprit.clone())
    }
}

/// The rule that drops IGMP one way, or perhaps does.
pub(super) fn igmp_culprit(facts: &Facts, used: &Used<'_>, incoming: bool) -> Option<Culprit> {
    let (ruleset, ends) = (facts.firewall.as_ref()?, Ends::of(used)?);
    let fate = match incoming {
        true => ends.fate_in(ruleset, Transport::Igmp, ALL_HOSTS, Cast::Multicast),
        false => ends.fate_out(ruleset, Transport::Igmp, REPORTS, Cast::Multicast),
    };
    match fate {
        Fate::Dropped(culprit) | Fate::Unclear(Some(culprit)) => Some(culprit),
        Fate::Passes | Fate::Unclear(None) => None,
    }
}

/// An interface and the two ends of what passes it.
pub(super) struct Ends<'a> {
    interface: &'a str,
    own: Ipv4Addr,
    /// Spread over the network: rules about one of them are not about all.
    neighbours: Vec<Ipv4Addr>,
    broadcast: Ipv4Addr,
}

impl<'a> Ends<'a> {
    fn of(used: &Used<'a>) -> Option<Self> {
        if used.interface.kind == Kind::Loopback {
            return None;
        }
        let probe = used.probe?;
        let address = used.interface.addresses.iter().find(|address| address.ip == probe.ip)?;
        let broadcast = Ipv4Addr::from_bits(address.ip.to_bits() | !address.netmask.to_bits());
        let neighbours = neighbours(address.ip, address.netmask);
        let interface: &InterfaceFacts = used.interface;
        (!neighbours.is_empty()).then(|| Self { interface: &interface.name, own: address.ip, neighbours, broadcast })
    }

    fn comes(&self, transport: Transport, to: Ipv4Addr, cast: Cast, from: Ipv4Addr) -> Packet<'a> {
        Packet {
            direction: Direction::In,
            interface: self.interface,
            transport,
            from,
            to,
            cast,
            from_port: None,
            tracking: Tracking::New,
            looped: false,
        }
    }

    fn goes(&self, transport: Transport, to: Ipv4Addr, cast: Cast) -> Packet<'a> {
        Packet { direction: Direction::Out, ..self.comes(transport, to, cast, self.own) }
    }

    /// Makes the looped-back copy of an own datagram.
    fn looped(&self, echo: &EchoFacts) -> Packet<'a> {
        let cast = if echo.way == ProbedTraffic::Broadcast { Cast::Broadcast } else { Cast::Multicast };
        Packet { looped: true, ..self.comes(Transport::Udp(echo.to.port()), *echo.to.ip(), cast, self.own) }
    }

    /// Combines the verdicts for all neighbours: they pass if those of one do, because the rules are then about some machines.
    fn of_all(&self, fate: impl Fn(Ipv4Addr) -> Fate) -> Fate {
        let mut worst = None;
        for &neighbour in &self.neighbours {
            match (fate(neighbour), &worst) {
                (Fate::Passes, _) => return Fate::Passes,
                (unclear @ Fate::Unclear(_), None | Some(Fate::Dropped(_))) => worst = Some(unclear),
                (dropped @ Fate::Dropped(_), None) => worst = Some(dropped),
                (Fate::Unclear(_) | Fate::Dropped(_), Some(_)) => {}
            }
        }
        worst.unwrap_or(Fate::Passes)
    }

    fn fate_in(&self, ruleset: &Ruleset, transport: Transport, to: Ipv4Addr, cast: Cast) -> Fate {
        self.of_all(|from| ruleset.fate(&self.comes(transport, to, cast, from)))
    }

    fn fate_out(&self, ruleset: &Ruleset, transport: Transport, to: Ipv4Addr, cast: Cast) -> Fate {
        ruleset.fate(&self.goes(transport, to, cast))
    }

    fn fate_to_neighbours(&self, ruleset: &Ruleset, transport: Transport) -> Fate {
        self.of_all(|to| ruleset.fate(&self.goes(transport, to, Cast::Unicast)))
    }

    /// Evaluates the rules for a relay's datagrams to a group.
    pub(super) fn group_fate(&self, ruleset: &Ruleset, group: SocketAddrV4, incoming: bool) -> Fate {
        let transport = Transport::Udp(group.port());
        let from_relay = |packet: Packet<'a>| Packet { from_port: Some(ports::RELAY_UDP), ..packet };
        match incoming {
            true => {
                self.of_all(|from| ruleset.fate(&from_relay(self.comes(transport, *group.ip(), Cast::Multicast, from))))
            }
            false => ruleset.fate(&from_relay(self.goes(transport, *group.ip(), Cast::Multicast))),
        }
    }
}
