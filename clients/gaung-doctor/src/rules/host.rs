//! Judges limits of the machine and foreign traffic on the network.

use gaung_net::{interface::ChosenLinks, multicast::GroupSocket};

use super::{
    super::{
        facts::{EchoOutcome, Facts},
        finding::Trouble,
    },
    Findings,
};

/// The long-standing default of `net.core.rmem_max` in Linux.
const USUAL_BYTES: usize = 212_992;

pub(super) fn judge(facts: &Facts, chosen: &ChosenLinks, findings: &mut Findings) {
    // A group is joined on each interface, by several sockets where one does not do.
    let needed = chosen.links.len().div_ceil(GroupSocket::MAX_PARTS) as u32;
    let limit = facts.max_memberships.unwrap_or(0);
    let too_low = facts.max_memberships.is_some_and(|limit| limit < needed);
    if too_low || refused_a_membership(facts) {
        findings.of_machine(Trouble::FewMemberships { limit, needed });
    }
    if let Some(buffer) = facts.receive_buffer.filter(|buffer| buffer.got_bytes < buffer.wanted_bytes) {
        findings.of_machine(Trouble::SmallBuffer {
            got_bytes: buffer.got_bytes,
            wanted_bytes: buffer.wanted_bytes,
            lowered: buffer.got_bytes < USUAL_BYTES,
        });
    }
    for group in &facts.groups {
        if let Some(why) = group.refused.clone() {
            let (group, address) = (group.name.clone(), group.address);
            findings.of_machine(Trouble::GroupRefused { group, address, why });
        }
    }
    for servers in facts.copies.clone() {
        findings.of_machine(Trouble::CopiedFolder { servers });
    }
    for foreign in facts.foreign.clone() {
        findings.of_machine(Trouble::Foreign {
            group: foreign.group,
            address: foreign.address,
            from: foreign.from,
            datagrams: foreign.datagrams,
            gaung: foreign.gaung,
        });
    }
}

fn refused_a_membership(facts: &Facts) -> bool {
    let mut echoes =
        facts.interfaces.iter().filter_map(|interface| interface.probe.as_ref()).flat_map(|probe| &probe.echoes);
    echoes.any(|echo| echo.outcome == EchoOutcome::TooManyMemberships)
}
