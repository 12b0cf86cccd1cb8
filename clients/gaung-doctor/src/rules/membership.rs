//! Judges IGMP: queries, reports, and bridges.

use super::{
    super::{
        facts::{BridgeFacts, Facts, InterfaceFacts, Kind, QuerierFacts},
        finding::Trouble,
    },
    Findings, Used, filter,
};

const V1: u8 = 1;

pub(super) fn judge(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    if interface.kind == Kind::Loopback {
        return;
    }
    if interface.igmp_version == Some(V1) {
        findings.at(interface, Trouble::OldIgmp { forced: interface.forced_igmp_version == Some(V1) });
    }
    judge_igmp(facts, used, findings);
    if let Some(bridge) = &interface.bridge {
        judge_bridge(interface, bridge, has_querier(used), findings);
    }
}

fn judge_igmp(facts: &Facts, used: &Used<'_>, findings: &mut Findings) {
    let interface = used.interface;
    let Some(igmp) = used.probe.and_then(|probe| probe.igmp.as_ref()) else { return };
    // Where the rule that drops them is certain it is named beside this.
    if !igmp.reports_leave && !igmp.interrupted {
        findings.at(interface, Trouble::ReportsEaten { culprit: filter::igmp_culprit(facts, used, false) });
    }
    match igmp.querier {
        Some(querier) if igmp.queries_eaten => {
            let culprit = filter::igmp_culprit(facts, used, true);
            let no_way_back = culprit.is_none() && has_no_way_back(used, querier);
            findings.at(interface, Trouble::QueriesEaten { querier: querier.from, culprit, no_way_back });
        }
        Some(_) => {}
        // A querier that answers no leave is known only by its general queries.
        None if igmp.whole_interval => {
            findings.at(interface, Trouble::NoQuerier { bridge: interface.bridge.is_some() });
        }
        None => {}
    }
}

/// Returns whether the reverse path filter drops queries: it needs a route to the querier, a strict one through this
/// interface.
fn has_no_way_back(used: &Used<'_>, querier: QuerierFacts) -> bool {
    if querier.from.is_unspecified() {
        return false;
    }
    let own = |source| used.interface.addresses.iter().any(|address| address.ip == source);
    match (used.interface.rp_filter, used.probe.and_then(|probe| probe.source_to_querier)) {
        (Some(1), Some(source)) => !own(source),
        (Some(1 | 2), None) => true,
        (_, _) => false,
    }
}

fn has_querier(used: &Used<'_>) -> bool {
    let heard = used.probe.and_then(|probe| probe.igmp.as_ref()).is_some_and(|igmp| igmp.querier.is_some());
    heard || used.interface.bridge.as_ref().is_some_and(|bridge| bridge.querier)
}

/// Judges a Linux bridge, which floods until it knows a querier, and always without snooping.
fn judge_bridge(interface: &InterfaceFacts, bridge: &BridgeFacts, querier: bool, findings: &mut Findings) {
    let prunes = bridge.snooping && querier;
    if !prunes {
        findings.at(interface, Trouble::BridgeFloods { snooping: bridge.snooping });
    }
    // What this machine sends itself passes these settings; what comes from behind another port does not.
    if bridge.ports.len() < 2 {
        return;
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
