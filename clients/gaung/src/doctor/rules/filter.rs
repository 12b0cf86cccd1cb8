//! What the system's filter does to the packets that Gaung lives by.

use std::net::Ipv4Addr;

use gaung_net::discovery::DISCOVERY_GROUP;
use gaung_proto::ports;

use super::{
    super::{
        facts::{Facts, Kind, Way},
        finding::{Needed, Trouble},
        firewall::{Cast, Culprit, Direction, Fate, Packet, Ruleset, Transport},
        gather::neighbour,
    },
    Findings, Used, addressing,
};

/// Stands for all groups of the default scope.
const A_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 3, 7);
/// Where IGMPv3 reports and general queries go (RFC 3376).
const REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Open on a machine that serves.
const TCP_PORTS: [u16; 4] = [ports::REGISTRY, ports::RELAY, ports::HUB_TCP, ports::TEXT];

/// The rules first, then what was tried out: an echo is only told of where no rule explains it.
pub(super) fn judge(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    if let (Some(ruleset), Some(ends)) = (&facts.firewall, Ends::of(used)) {
        for (what, culprit) in eaten(ruleset, &ends) {
            findings.at(used.interface, Trouble::Filtered { what, culprit });
        }
    }
    addressing::judge_echoes(used, findings);
}

/// An interface and the two ends of what passes it.
struct Ends<'a> {
    interface: &'a str,
    own: Ipv4Addr,
    neighbour: Ipv4Addr,
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
        let neighbour = neighbour(address.ip, address.netmask)?;
        Some(Self { interface: &used.interface.name, own: address.ip, neighbour, broadcast })
    }

    fn comes(&self, transport: Transport, to: Ipv4Addr, cast: Cast) -> Packet<'a> {
        let (interface, from) = (self.interface, self.neighbour);
        Packet { direction: Direction::In, interface, transport, from, to, cast }
    }

    fn goes(&self, transport: Transport, to: Ipv4Addr, cast: Cast) -> Packet<'a> {
        Packet { direction: Direction::Out, from: self.own, ..self.comes(transport, to, cast) }
    }
}

/// What is certainly dropped, and by which rule.
fn eaten(ruleset: &Ruleset, ends: &Ends<'_>) -> Vec<(Needed, Culprit)> {
    let many = [
        (Way::Multicast, ports::FIRST_GROUP, A_GROUP, Cast::Multicast),
        (Way::Discovery, ports::DISCOVERY, DISCOVERY_GROUP, Cast::Multicast),
        (Way::Broadcast, ports::BROADCAST, ends.broadcast, Cast::Broadcast),
    ];
    let mut asked = vec![
        (Needed::IgmpIn, ends.comes(Transport::Igmp, ALL_HOSTS, Cast::Multicast)),
        (Needed::IgmpOut, ends.goes(Transport::Igmp, REPORTS, Cast::Multicast)),
    ];
    for (way, port, to, cast) in many {
        asked.push((Needed::In(way), ends.comes(Transport::Udp(port), to, cast)));
        asked.push((Needed::Out(way), ends.goes(Transport::Udp(port), to, cast)));
    }
    asked.push((Needed::Relay, ends.comes(Transport::Udp(ports::RELAY_UDP), ends.own, Cast::Unicast)));
    let dropped = |(what, packet): (Needed, Packet<'_>)| Some((what, culprit(ruleset, &packet)?));
    let mut eaten: Vec<_> = asked.into_iter().filter_map(dropped).collect();
    eaten.extend(eaten_tcp(ruleset, ends));
    eaten
}

/// All TCP ports that are dropped as one finding, by the rule that drops the first.
fn eaten_tcp(ruleset: &Ruleset, ends: &Ends<'_>) -> Option<(Needed, Culprit)> {
    let dropped: Vec<_> = TCP_PORTS
        .iter()
        .filter_map(|&port| Some((port, culprit(ruleset, &ends.comes(Transport::Tcp(port), ends.own, Cast::Unicast))?)))
        .collect();
    let (_, first) = dropped.first().cloned()?;
    Some((Needed::Tcp(dropped.into_iter().map(|(port, _)| port).collect()), first))
}

fn culprit(ruleset: &Ruleset, packet: &Packet<'_>) -> Option<Culprit> {
    match ruleset.fate(packet) {
        Fate::Dropped(culprit) => Some(culprit),
        Fate::Passes | Fate::Unclear => None,
    }
}
