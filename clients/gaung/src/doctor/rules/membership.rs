//! IGMP: who asks, who answers, and what bridges make of it.

use super::{
    super::{
        facts::{BridgeFacts, InterfaceFacts, Kind},
        finding::{Needed, Trouble},
    },
    Findings, Used,
};

const V1: u8 = 1;

pub(super) fn judge(used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    if interface.kind == Kind::Loopback {
        return;
    }
    if interface.igmp_version == Some(V1) {
        findings.at(interface, Trouble::OldIgmp { forced: interface.forced_igmp_version == Some(V1) });
    }
    judge_igmp(used, findings);
    if let Some(bridge) = &interface.bridge {
        judge_bridge(interface, bridge, has_querier(used), findings);
    }
}

fn judge_igmp(used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    let Some(igmp) = used.probe.and_then(|probe| probe.igmp.as_ref()) else { return };
    if !igmp.reports_leave && !filtered(interface, &Needed::IgmpOut, findings) {
        findings.at(interface, Trouble::ReportsEaten);
    }
    match igmp.querier {
        Some(querier) if igmp.queries_eaten && !filtered(interface, &Needed::IgmpIn, findings) => {
            findings.at(interface, Trouble::QueriesEaten { querier: querier.from });
        }
        Some(_) => {}
        // A querier that answers no leave is known only by its general queries.
        None if igmp.whole_interval => {
            findings.at(interface, Trouble::NoQuerier { bridge: interface.bridge.is_some() });
        }
        None => {}
    }
}

fn filtered(interface: &InterfaceFacts, needed: &Needed, findings: &Findings) -> bool {
    findings.all.iter().any(|finding| {
        finding.interface.as_deref() == Some(&interface.name)
            && matches!(&finding.trouble, Trouble::Filtered { what, .. } if what == needed)
    })
}

fn has_querier(used: &Used<'_>) -> bool {
    let heard = used.probe.and_then(|probe| probe.igmp.as_ref()).is_some_and(|igmp| igmp.querier.is_some());
    heard || used.interface.bridge.as_ref().is_some_and(|bridge| bridge.querier)
}

/// A Linux bridge floods until it knows a querier, and always without snooping.
fn judge_bridge(interface: &InterfaceFacts, bridge: &BridgeFacts, querier: bool, findings: &mut Findings) {
    let prunes = bridge.snooping && querier;
    if !prunes {
        findings.at(interface, Trouble::BridgeFloods { snooping: bridge.snooping });
    }
    for port in &bridge.ports {
        let multicast = !port.multicast_flood && !prunes;
        let broadcast = !port.broadcast_flood;
        if multicast || broadcast {
            let port = port.name.clone();
            findings.at(interface, Trouble::PortDoesNotFlood { port, multicast, broadcast });
        }
    }
}
