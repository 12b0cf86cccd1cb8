//! Judges addresses, masks, MTU and routes of an interface that is used.

use std::net::Ipv4Addr;

use gaung_proto::{
    datagram::DATAGRAM_HEADER,
    limits::{MAX_BODY, MAX_DATAGRAM},
};

use super::{
    super::{
        facts::{AddressFacts, Facts, InterfaceFacts, Kind, RouteFacts},
        finding::Trouble,
    },
    Findings, Used,
};

/// IPv4 and UDP headers.
const HEADERS: usize = 28;
/// Smallest MTU that groups' datagrams fit; none is ever fragmented.
const NEEDED_MTU: u32 = (HEADERS + DATAGRAM_HEADER + MAX_BODY) as u32;
/// Smallest MTU that those of text groups fit too.
const WANTED_MTU: u32 = (HEADERS + MAX_DATAGRAM) as u32;

const STRICT: u8 = 1;
const LOOSE: u8 = 2;

pub(super) fn judge(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    if let Some(mtu) = interface.mtu.filter(|mtu| *mtu < WANTED_MTU) {
        let text_only = mtu >= NEEDED_MTU;
        findings.at(interface, Trouble::SmallMtu { mtu, wanted: WANTED_MTU, text_only });
    }
    if interface.kind != Kind::Loopback {
        judge_broadcast(interface, findings);
        judge_way_back(facts, used, findings);
        judge_routes(used, findings);
    }
}

fn judge_broadcast(interface: &InterfaceFacts, findings: &mut Findings) {
    let mut broadcasting = interface.addresses.iter().filter(|address| prefix(address) < 31).peekable();
    // An address of its own beside that of the network, such as keepalived's, takes nothing from it; and a network card
    // whose only address is a machine's within containers is not what broadcasts go through.
    if broadcasting.peek().is_none()
        && interface.can_broadcast
        && let Some(first) = interface.addresses.first()
    {
        findings.at(interface, Trouble::NoBroadcast { prefix: prefix(first) });
    }
    for address in broadcasting.filter(|_| interface.can_broadcast) {
        let should = last_address(address);
        // Some have 255.255.255.255, or none, for which the system shows the own address: Gaung computes its own, and others
        // take the limited one.
        let harmless = [should, Ipv4Addr::BROADCAST, address.ip, Ipv4Addr::UNSPECIFIED];
        if let Some(has) = address.broadcast.filter(|has| !harmless.contains(has)) {
            findings.at(interface, Trouble::WrongBroadcast { address: (address.ip, prefix(address)), has, should });
        }
    }
}

fn prefix(address: &AddressFacts) -> u32 {
    address.netmask.to_bits().count_ones()
}

fn last_address(address: &AddressFacts) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.ip.to_bits() | !address.netmask.to_bits())
}

/// Judges the reverse path filter (RFC 3704). If strict it drops what comes from a network whose route leads through another
/// interface, and always what comes from one without a route.
fn judge_way_back(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    let (Some(probe), Some(filter @ (STRICT | LOOSE))) = (used.probe, interface.rp_filter) else { return };
    let own = interface.addresses.iter().find(|address| address.ip == probe.ip);
    let Some(own) = own.filter(|address| prefix(address) < 31) else { return };
    let back = match probe.source_to_neighbour {
        Some(_) if filter == LOOSE => return,
        Some(source) if interface.addresses.iter().any(|address| address.ip == source) => return,
        Some(source) => facts.with_address(source).map(|other| other.name.clone()),
        None => None,
    };
    let network = (Ipv4Addr::from_bits(own.ip.to_bits() & own.netmask.to_bits()), prefix(own));
    findings.at(interface, Trouble::ReversePath { back, network, strict: filter == STRICT });
}

/// Judges the routes of packets from the own address, which the choice of an interface does not change.
fn judge_routes(used: &Used<'_>, findings: &mut Findings) {
    let (interface, Some(probe)) = (used.interface, used.probe) else { return };
    if let Some(gateway) = probe.multicast_route.as_ref().and_then(|route| route.gateway) {
        findings.at(interface, Trouble::MulticastGateway { gateway });
    }
    let astray = |route: &&RouteFacts| route.gateway.is_some() || route.device.as_ref() != Some(&interface.name);
    let elsewhere: Vec<_> = probe.neighbour_routes.iter().filter(astray).collect();
    // One route may be to one machine, on purpose.
    if let Some(route) = elsewhere.first().filter(|_| elsewhere.len() * 4 > probe.neighbour_routes.len()) {
        let device = route.device.clone().unwrap_or_default();
        let instead = match (&route.refused, route.gateway) {
            (Some(why), _) => why.clone(),
            (None, Some(gateway)) => format!("to the gateway {gateway} through {device}"),
            (None, None) => format!("through {device}"),
        };
        findings.at(interface, Trouble::LanElsewhere { to: route.to, instead });
    }
}
