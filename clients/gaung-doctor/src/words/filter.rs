//! Describes findings about filter rules, and the rules that fix them.

use gaung_proto::ports;

use super::{
    super::{
        facts::ProbedTraffic,
        finding::Needed,
        firewall::{Culprit, LEGACY},
    },
    Mend, Words, advice, command, one_line, quoted, way_name,
};

pub(super) fn words(name: &str, what: &Needed, culprit: &Culprit) -> Words {
    let (packets, means) = match what {
        Needed::IgmpIn => (
            "IGMP queries".to_owned(),
            "memberships are not renewed: a switch that snoops forgets this member after some minutes".to_owned(),
        ),
        Needed::IgmpOut => (
            "IGMP reports on their way out".to_owned(),
            "a switch that snoops never learns of this member, and sends it nothing".to_owned(),
        ),
        Needed::In(way) => (packets(*way), format!("{} does not arrive here", way_name(*way))),
        Needed::Out(way) => {
            (format!("{} on its way out", packets(*way)), format!("{} is not sent from here", way_name(*way)))
        }
        Needed::Groups(part) => (
            match &part.group {
                Some(group) => format!("UDP to groups such as {} ({})", part.example, one_line(group)),
                None => format!("UDP to groups of some addresses or ports, such as {}", part.example),
            },
            match (part.incoming, &part.group) {
                (true, None) if part.only_organization => "groups of the organization's scope do not arrive here",
                (true, _) => "the messages of these groups do not arrive here by multicast",
                (false, _) => "the messages of these groups are not sent from here by multicast",
            }
            .to_owned(),
        ),
        Needed::Relay => (
            format!("UDP to port {}", ports::RELAY_UDP),
            "if this machine serves, members cannot request repairs, and UDP-only clients cannot publish".to_owned(),
        ),
        Needed::RelayOut => (
            format!("UDP to port {} on its way out", ports::RELAY_UDP),
            "a member on this machine cannot request repairs, and its receipts are lost".to_owned(),
        ),
        Needed::Tcp(tcp) => (
            format!("TCP to port {}", list(tcp, ", ")),
            "if this machine serves, others cannot reach its services".to_owned(),
        ),
        Needed::TcpOut(tcp) => (
            format!("TCP to port {} on its way out", list(tcp, ", ")),
            "this machine cannot reach a server's services".to_owned(),
        ),
        Needed::Answers { seen, found } => (
            format!("UDP from port {}, answers to discovery", ports::DISCOVERY),
            match (seen, found) {
                (true, false) => "a server answered just now and was not found: every command needs --server",
                (_, true) => "without --server a server is found by multicast or broadcast alone, where these work",
                (false, false) => "without --server no server may be found",
            }
            .to_owned(),
        ),
    };
    let seen = format!("the packet filter of {name} drops {packets} ({})", rule(culprit));
    Words::new(seen, means, command(insertion(what, culprit)))
}

pub(super) fn rule(culprit: &Culprit) -> String {
    let Culprit { family, table, chain, handle } = culprit;
    let (table, chain) = (one_line(table), one_line(chain));
    match handle {
        Some(place) if family == LEGACY => format!("rule {place} of chain {chain} in {LEGACY}'s table {table}"),
        None if family == LEGACY => format!("policy of chain {chain} in {LEGACY}'s table {table}"),
        Some(handle) => format!("rule with handle {handle} in chain {chain} of table {family} {table}"),
        None => format!("policy of chain {chain} of table {family} {table}"),
    }
}

/// Returns what lets IGMP pass: a rule before the one that drops it, if that is known.
pub(super) fn igmp_mend(interface: &str, culprit: Option<&Culprit>, direction: &str) -> Option<Mend> {
    let what = if direction == "input" { Needed::IgmpIn } else { Needed::IgmpOut };
    match culprit {
        Some(culprit) => command(insertion(&what, culprit)),
        None => advice(format!(
            "no rule that was read drops IGMP: look at the {direction} rules of the packet filter and at traffic control: sudo \
             nft list ruleset; tc filter show dev {}",
            quoted(interface)
        )),
    }
}

/// Describes what the rules do not decide.
pub(super) fn unclear(name: &str, what: &[Needed], suspect: Option<&Culprit>) -> Words {
    let parts = what.iter().map(|needed| match needed {
        Needed::IgmpIn | Needed::IgmpOut => "IGMP".to_owned(),
        Needed::In(way) => packets(*way),
        Needed::Out(way) => format!("{} on its way out", packets(*way)),
        Needed::Groups(part) => format!("UDP to {}", part.example),
        Needed::Relay => format!("UDP to port {}", ports::RELAY_UDP),
        Needed::RelayOut => format!("UDP to port {} on its way out", ports::RELAY_UDP),
        Needed::Tcp(tcp) => format!("TCP to port {}", list(tcp, ", ")),
        Needed::TcpOut(tcp) => format!("TCP to port {} on its way out", list(tcp, ", ")),
        Needed::Answers { .. } => format!("UDP from port {}", ports::DISCOVERY),
    });
    let parts = parts.collect::<Vec<_>>().join("; ");
    let by = suspect.map(|culprit| format!(" (perhaps dropped by the {})", rule(culprit))).unwrap_or_default();
    Words::new(
        format!("whether the packet filter of {name} lets pass {parts} cannot be read from its rules{by}"),
        "it may work, and was not tested",
        advice("test it from two machines: gaung doctor --peer HOST; if others can reach this server, it passes"),
    )
}

fn packets(way: ProbedTraffic) -> String {
    match way {
        ProbedTraffic::Multicast => "UDP to groups".to_owned(),
        ProbedTraffic::Discovery => format!("UDP to port {}", ports::DISCOVERY),
        ProbedTraffic::Broadcast => format!("UDP to port {}", ports::BROADCAST),
    }
}

/// Makes the command that inserts a rule at the head of the chain, before whatever drops.
fn insertion(what: &Needed, culprit: &Culprit) -> String {
    let Culprit { family, table, chain, .. } = culprit;
    if family == LEGACY {
        return format!("{LEGACY} -t {} -I {} {} -j ACCEPT", quoted(table), quoted(chain), iptables_matching(what));
    }
    let matching = match what {
        Needed::IgmpIn | Needed::IgmpOut => "ip protocol igmp".to_owned(),
        Needed::In(ProbedTraffic::Multicast) | Needed::Out(ProbedTraffic::Multicast) | Needed::Groups(_) => {
            "ip daddr 239.0.0.0/8 meta l4proto udp".to_owned()
        }
        Needed::In(ProbedTraffic::Discovery) | Needed::Out(ProbedTraffic::Discovery) => {
            format!("udp dport {}", ports::DISCOVERY)
        }
        Needed::In(ProbedTraffic::Broadcast) | Needed::Out(ProbedTraffic::Broadcast) => {
            format!("udp dport {}", ports::BROADCAST)
        }
        Needed::Relay | Needed::RelayOut => format!("udp dport {}", ports::RELAY_UDP),
        Needed::Tcp(tcp) | Needed::TcpOut(tcp) => format!("tcp dport '{{ {} }}'", list(tcp, ", ")),
        Needed::Answers { .. } => format!("udp sport {}", ports::DISCOVERY),
    };
    format!("nft insert rule {family} {} {} {matching} accept", quoted(table), quoted(chain))
}

fn iptables_matching(what: &Needed) -> String {
    match what {
        Needed::IgmpIn | Needed::IgmpOut => "-p igmp".to_owned(),
        Needed::In(ProbedTraffic::Multicast) | Needed::Out(ProbedTraffic::Multicast) | Needed::Groups(_) => {
            "-d 239.0.0.0/8 -p udp".to_owned()
        }
        Needed::In(ProbedTraffic::Discovery) | Needed::Out(ProbedTraffic::Discovery) => {
            format!("-p udp --dport {}", ports::DISCOVERY)
        }
        Needed::In(ProbedTraffic::Broadcast) | Needed::Out(ProbedTraffic::Broadcast) => {
            format!("-p udp --dport {}", ports::BROADCAST)
        }
        Needed::Relay | Needed::RelayOut => format!("-p udp --dport {}", ports::RELAY_UDP),
        Needed::Tcp(tcp) | Needed::TcpOut(tcp) => format!("-p tcp -m multiport --dports {}", list(tcp, ",")),
        Needed::Answers { .. } => format!("-p udp --sport {}", ports::DISCOVERY),
    }
}

fn list(ports: &[u16], between: &str) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(between)
}
