//! Judges which interfaces Gaung would use, and which it would not.

use gaung_net::interface::InterfaceFallback;

use super::{
    super::{
        facts::{Facts, InterfaceFacts, Kind},
        finding::{Remedy, Trouble},
    },
    Findings,
};

pub(super) fn judge(facts: &Facts, findings: &mut Findings) {
    match facts.chosen() {
        Err(error) => findings.of_machine(Trouble::CannotChoose(error.to_string())),
        Ok(chosen) => {
            match chosen.fallback {
                Some(InterfaceFallback::Loopback) => {
                    findings.of_machine(Trouble::OnlyLoopback { remedy: remedy(facts) });
                }
                Some(InterfaceFallback::ContainerOrVpn) => {
                    for interface in chosen.links.iter().filter_map(|link| facts.of_link(link)) {
                        findings.at(interface, Trouble::OnlyContainerOrVpn(interface.kind));
                    }
                }
                None => {}
            }
            let used: Vec<_> = chosen.links.iter().filter_map(|link| facts.of_link(link)).collect();
            judge_used(&used, findings);
            judge_route(facts, &used, findings);
        }
    }
    let lans = facts.interfaces.iter().filter(|interface| interface.is_lan() && !is_host_only(interface));
    lans.for_each(|interface| judge_unused(interface, findings));
}

/// What would give this machine an interface to use.
fn remedy(facts: &Facts) -> Remedy {
    let lans = || facts.interfaces.iter().filter(|interface| interface.is_lan() && interface.part_of.is_none());
    let (mut down, mut bare) = (
        lans().filter(|interface| !interface.up && !interface.addresses.is_empty()),
        lans().filter(|interface| interface.up && interface.running && interface.addresses.is_empty()),
    );
    if let Some(interface) = down.next() {
        return Remedy::Up(interface.name.clone());
    }
    let bare = bare.next().map(|interface| (interface.name.clone(), interface.mac));
    bare.map_or(Remedy::Cable, |(name, mac)| Remedy::Address { name, mac })
}

/// Interfaces of a LAN that are not used although somebody may have meant them to be.
fn judge_unused(interface: &InterfaceFacts, findings: &mut Findings) {
    let has_address = !interface.addresses.is_empty();
    match (interface.up, interface.running) {
        (false, _) if has_address => findings.at(interface, Trouble::Down),
        (true, false) if has_address => findings.at(interface, Trouble::NoCarrier),
        (true, true) if !has_address && interface.part_of.is_none() => {
            findings.at(interface, Trouble::NoAddress { mac: interface.mac });
        }
        (true, true) if has_address && !interface.multicast => findings.at(interface, Trouble::CannotMulticast),
        _ => {}
    }
}

fn judge_used(used: &[&InterfaceFacts], findings: &mut Findings) {
    let on_hardware = used.iter().any(|interface| interface.hardware);
    for interface in used {
        if interface.kind == Kind::Wifi {
            findings.at(interface, Trouble::Wifi);
        }
        if interface.kind == Kind::Wired && on_hardware && is_host_only(interface) {
            findings.at(interface, Trouble::SoftwareOnly);
        }
    }
}

/// A network of virtual machines or containers that looks like a card. Bonds and VLANs are software too, and lead out;
/// so this goes by the names that such software gives.
fn is_host_only(interface: &InterfaceFacts) -> bool {
    const NAMES: [&str; 11] =
        ["vboxnet", "vmnet", "dummy", "veth", "ifb", "cali", "cilium", "flannel", "lxc", "kube-ipvs", "nodelocaldns"];
    !interface.hardware && NAMES.iter().any(|name| interface.name.starts_with(name))
}

/// What the system would choose for a program that leaves it the choice.
fn judge_route(facts: &Facts, used: &[&InterfaceFacts], findings: &mut Findings) {
    let Some(first) = used.iter().find(|interface| interface.kind != Kind::Loopback) else { return };
    let ours = first.name.clone();
    let Some(source) = facts.multicast_source else {
        findings.of_machine(Trouble::NoRoute { ours, has_default: facts.default_source.is_some() });
        return;
    };
    match facts.with_address(source) {
        Some(to) if !used.iter().any(|interface| interface.index == to.index) => {
            findings.of_machine(Trouble::RouteElsewhere { to: to.name.clone(), kind: to.kind, ours });
        }
        Some(_) | None => {}
    }
}
