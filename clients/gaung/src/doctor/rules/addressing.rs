//! Addresses, masks, sizes and ways of an interface that is used.

use std::net::Ipv4Addr;

use gaung_proto::{
    datagram::DATAGRAM_HEADER,
    limits::{MAX_BODY, MAX_DATAGRAM},
};

use super::{
    super::{
        facts::{AddressFacts, EchoOutcome, Facts, InterfaceFacts, Kind, Way},
        finding::{Finding, Needed, Trouble},
    },
    Findings, Used,
};

/// IPv4 and UDP headers.
const HEADERS: usize = 28;
/// Smallest MTU through which groups' datagrams go; none is ever fragmented.
const NEEDED_MTU: u32 = (HEADERS + DATAGRAM_HEADER + MAX_BODY) as u32;
/// Smallest MTU through which those of text groups go too, and with tag and signature all others.
const WANTED_MTU: u32 = (HEADERS + MAX_DATAGRAM) as u32;

const STRICT: u8 = 1;

pub(super) fn judge(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    if let Some(mtu) = interface.mtu.filter(|mtu| *mtu < WANTED_MTU) {
        let text_only = mtu >= NEEDED_MTU;
        findings.at(interface, Trouble::SmallMtu { mtu, wanted: WANTED_MTU, text_only });
    }
    if interface.kind != Kind::Loopback {
        judge_broadcast(interface, findings);
        judge_way_back(facts, used, findings);
    }
}

fn judge_broadcast(interface: &InterfaceFacts, findings: &mut Findings) {
    for address in interface.addresses.iter().filter(|_| interface.can_broadcast) {
        let prefix = address.netmask.to_bits().count_ones();
        if prefix >= 31 {
            findings.at(interface, Trouble::NoBroadcast { prefix });
            continue;
        }
        let should = last_address(address);
        // Some have 255.255.255.255, or none: Gaung computes its own, and others take the limited one.
        if let Some(has) = address.broadcast.filter(|has| *has != should && *has != Ipv4Addr::BROADCAST) {
            findings.at(interface, Trouble::WrongBroadcast { address: (address.ip, prefix), has, should });
        }
    }
}

fn last_address(address: &AddressFacts) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.ip.to_bits() | !address.netmask.to_bits())
}

/// Strict filtering (RFC 3704) drops what comes from a network to which the way leads through another interface.
fn judge_way_back(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    let (Some(probe), Some(STRICT)) = (used.probe, interface.rp_filter) else { return };
    let own = interface.addresses.iter().find(|address| address.ip == probe.ip);
    if own.is_none_or(|address| address.netmask.to_bits().count_ones() >= 31) {
        return;
    }
    let back = match probe.source_to_neighbour {
        Some(source) if interface.addresses.iter().any(|address| address.ip == source) => return,
        Some(source) => facts.with_address(source).map(|other| other.name.clone()),
        None => None,
    };
    findings.at(interface, Trouble::ReversePath { back });
}

/// What an echo that did not come back means, unless a better explanation stands already.
pub(super) fn judge_echoes(used: &Used<'_>, findings: &mut Findings) {
    for echo in used.probe.iter().flat_map(|probe| &probe.echoes) {
        let heard = echo.outcome == EchoOutcome::Heard;
        let limited = echo.outcome == EchoOutcome::TooManyMemberships;
        if !heard && !limited && !explained(&findings.all, used.interface, echo.way) {
            let (way, to, outcome) = (echo.way, echo.to, echo.outcome.clone());
            findings.at(used.interface, Trouble::NotHeard { way, to, outcome });
        }
    }
}

fn explained(findings: &[Finding], interface: &InterfaceFacts, way: Way) -> bool {
    let mut here = findings.iter().filter(|finding| finding.interface.as_deref() == Some(&interface.name));
    here.any(|finding| {
        let Trouble::Filtered { what: Needed::In(of) | Needed::Out(of), .. } = &finding.trouble else { return false };
        *of == way
    })
}
