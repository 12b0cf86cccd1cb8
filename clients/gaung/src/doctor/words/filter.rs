//! Words of filter rules, and the rules that mend them.

use gaung_proto::ports;

use super::{
    super::{facts::Way, finding::Needed, firewall::Culprit},
    Mend, command, way_name,
};

pub(super) fn words(name: &str, what: &Needed, culprit: &Culprit) -> (String, String, Option<Mend>) {
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
        Needed::Relay => (
            format!("UDP to port {}", ports::RELAY_UDP),
            "if this machine serves, members cannot ask for repairs, and UDP-only clients cannot speak".to_owned(),
        ),
        Needed::Tcp(tcp) => (
            format!("TCP to port {}", list(tcp, ", ")),
            "if this machine serves, others cannot reach its services".to_owned(),
        ),
    };
    let seen = format!("the packet filter of {name} drops {packets} ({})", rule(culprit));
    (seen, means, command(insertion(what, culprit)))
}

fn rule(culprit: &Culprit) -> String {
    let Culprit { family, table, chain, handle } = culprit;
    match handle {
        Some(handle) => format!("rule with handle {handle} in chain {chain} of table {family} {table}"),
        None => format!("policy of chain {chain} of table {family} {table}"),
    }
}

fn packets(way: Way) -> String {
    match way {
        Way::Multicast => "UDP to groups".to_owned(),
        Way::Discovery => format!("UDP to port {}", ports::DISCOVERY),
        Way::Broadcast => format!("UDP to port {}", ports::BROADCAST),
    }
}

/// A rule at the head of the chain, so that it stands before whatever drops.
fn insertion(what: &Needed, culprit: &Culprit) -> String {
    let Culprit { family, table, chain, .. } = culprit;
    let matching = match what {
        Needed::IgmpIn | Needed::IgmpOut => "ip protocol igmp".to_owned(),
        Needed::In(Way::Multicast) | Needed::Out(Way::Multicast) => "ip daddr 239.0.0.0/8 meta l4proto udp".to_owned(),
        Needed::In(Way::Discovery) | Needed::Out(Way::Discovery) => format!("udp dport {}", ports::DISCOVERY),
        Needed::In(Way::Broadcast) | Needed::Out(Way::Broadcast) => format!("udp dport {}", ports::BROADCAST),
        Needed::Relay => format!("udp dport {}", ports::RELAY_UDP),
        Needed::Tcp(tcp) => format!("tcp dport '{{ {} }}'", list(tcp, ", ")),
    };
    format!("nft insert rule {family} {table} {chain} {matching} accept")
}

fn list(ports: &[u16], between: &str) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(between)
}
