//! The rules on recorded facts: a laptop on Wi-Fi with a VPN and Docker, and what becomes of it.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use super::{
    super::{
        facts::{
            AddressFacts, BufferFacts, CastName, ForeignFacts, InterfaceFacts, Kind, Passage, PeerFacts, QuerierFacts,
            ServerFacts, ServerProof,
        },
        finding::{Finding, Severity, Trouble},
        report::Report,
        words::{self, Mend},
    },
    *,
};

fn laptop() -> Facts {
    serde_json::from_str(include_str!("../recorded/laptop.json")).unwrap()
}

fn interface<'a>(facts: &'a mut Facts, name: &str) -> &'a mut InterfaceFacts {
    facts.interfaces.iter_mut().find(|interface| interface.name == name).unwrap()
}

fn changed(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = laptop();
    change(&mut facts);
    judge(&facts)
}

fn codes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.trouble.code()).collect()
}

/// The laptop's card, with a cable, and Wi-Fi off.
fn cabled(facts: &mut Facts) {
    let wifi = wifi_of(facts);
    let cable = interface(facts, "enp3s0");
    *cable = InterfaceFacts { name: cable.name.clone(), index: cable.index, kind: Kind::Wired, ..wifi.clone() };
    *interface(facts, "wlp2s0") = InterfaceFacts { addresses: Vec::new(), running: false, probe: None, ..wifi };
}

fn wifi_of(facts: &mut Facts) -> InterfaceFacts {
    interface(facts, "wlp2s0").clone()
}

#[test]
fn a_laptop_on_wifi_is_well_and_hears_notes() {
    let findings = judge(&laptop());
    assert_eq!(codes(&findings), ["wifi", "small-buffer"]);
    assert!(findings.iter().all(|finding| finding.trouble.severity() == Severity::Note));
    assert_eq!(Report::new(&laptop(), findings).worst(), Some(Severity::Note));
}

#[test]
fn a_server_is_judged_by_its_proof_and_its_clock() {
    let day = 24 * 60 * 60;
    let codes_of = |proof, takes_plaintext| {
        let server = ServerFacts { address: "10.77.0.1:7400".to_owned(), proof, takes_plaintext };
        let findings = changed(|facts| facts.server = Some(server));
        let of_server = findings.iter().filter(|finding| matches!(finding.trouble, Trouble::Server { .. }));
        of_server.map(|finding| (finding.trouble.code(), finding.trouble.severity())).collect::<Vec<_>>()
    };
    let aged = |age| codes_of(ServerProof::Site { certificate_age: age }, false);
    for usual in [None, Some(0), Some(-day / 4), Some(2 * day)] {
        assert_eq!(aged(usual), [], "{usual:?}");
    }
    assert_eq!(aged(Some(-2 * day)), [("clocks-differ", Severity::Note)]);
    assert_eq!(aged(Some(7300 * day)), [("clocks-differ", Severity::Warning)]);
    let other = ServerProof::OtherSite { shown: "K7QX".to_owned(), expected: vec!["ABCD".to_owned()] };
    assert_eq!(codes_of(other, false), [("server-other-site", Severity::Problem)]);
    assert_eq!(codes_of(ServerProof::NoTls, false), [("server-without-tls", Severity::Problem)]);
    let open = codes_of(ServerProof::NotAsked, true);
    assert_eq!(open, [("server-not-encrypted", Severity::Note), ("server-takes-plaintext", Severity::Note)]);
}

#[test]
fn copies_of_a_data_folder_are_told() {
    let servers = vec!["10.77.0.1:7400".parse().unwrap(), "10.77.0.2:7400".parse().unwrap()];
    let findings = changed(|facts| facts.copies = vec![servers]);
    assert_eq!(codes(&findings)[0], "copied-folder");
    assert_eq!(findings[0].trouble.severity(), Severity::Problem);
}

#[test]
fn a_group_has_several_sockets_where_one_may_not_join_on_all_interfaces() {
    let few = |limit| codes(&changed(|facts| facts.max_memberships = Some(limit))).contains(&"few-memberships");
    assert!(few(0) && !few(1));
}

#[test]
fn a_cable_and_a_large_buffer_leave_nothing_to_say() {
    let findings = changed(|facts| {
        cabled(facts);
        facts.receive_buffer = Some(BufferFacts { wanted_bytes: 2 << 20, got_bytes: 2 << 20 });
    });
    assert_eq!(codes(&findings), [""; 0]);
}

#[test]
fn a_vpn_that_the_system_would_choose_is_a_warning() {
    let findings = changed(|facts| facts.multicast_source = Some(Ipv4Addr::new(10, 8, 0, 2)));
    let Trouble::RouteElsewhere { to, kind, ours } = &findings[0].trouble else { panic!("{findings:?}") };
    assert_eq!((to.as_str(), *kind, ours.as_str()), ("wg0", Kind::Vpn, "wlp2s0"));
    assert_eq!(findings[0].trouble.severity(), Severity::Warning);
}

#[test]
fn a_vpn_alone_is_a_problem() {
    let findings = changed(|facts| {
        facts.interfaces.retain(|interface| matches!(interface.kind, Kind::Vpn | Kind::Loopback));
        facts.interfaces[1].multicast = true;
    });
    assert_eq!(findings[0].trouble, Trouble::OnlyContainerOrVpn(Kind::Vpn));
    assert!(words::words(&findings[0]).means.contains("VPN"));
}

#[test]
fn of_two_lans_the_other_one_is_worth_a_note() {
    let findings = changed(|facts| {
        let other = InterfaceFacts { name: "enp9s0".to_owned(), index: 9, kind: Kind::Wired, ..wifi_of(facts) };
        let address = AddressFacts { ip: Ipv4Addr::new(10, 9, 0, 1), ..other.addresses[0] };
        facts.interfaces.push(InterfaceFacts { addresses: vec![address], probe: None, ..other });
        facts.wanted = Some("wlp2s0".to_owned());
        facts.multicast_source = Some(Ipv4Addr::new(10, 9, 0, 1));
    });
    let route = findings.iter().find(|finding| finding.trouble.code() == "route-elsewhere").unwrap();
    assert_eq!(route.trouble.severity(), Severity::Note);
}

#[test]
fn a_network_of_virtual_machines_beside_a_card_is_named() {
    let add = |name: &'static str| {
        move |facts: &mut Facts| {
            let like = wifi_of(facts);
            let address = AddressFacts {
                ip: Ipv4Addr::new(192, 168, 56, 1),
                netmask: Ipv4Addr::new(255, 255, 255, 0),
                broadcast: Some(Ipv4Addr::new(192, 168, 56, 255)),
            };
            let (name, addresses) = (name.to_owned(), vec![address]);
            let kind = Kind::Wired;
            facts.interfaces.push(InterfaceFacts {
                name,
                index: 9,
                kind,
                hardware: false,
                addresses,
                probe: None,
                ..like
            });
        }
    };
    assert!(codes(&changed(add("vboxnet0"))).contains(&"software-only"));
    // A bond or a VLAN is software too, and leads out.
    for leads_out in ["bond0", "enp3s0.20", "team0"] {
        assert!(!codes(&changed(add(leads_out))).contains(&"software-only"), "{leads_out}");
    }
}

#[test]
fn a_veth_is_a_containers_own_cable_where_there_is_no_card() {
    let findings = changed(|facts| {
        cabled(facts);
        facts.interfaces.retain(|interface| matches!(interface.name.as_str(), "lo" | "enp3s0"));
        let cable = interface(facts, "enp3s0");
        (cable.name, cable.hardware) = ("veth0".to_owned(), false);
    });
    assert_eq!(codes(&findings), ["small-buffer"]);
}

#[test]
fn a_card_without_an_address_is_noted_unless_it_is_part_of_a_bond() {
    let card = |part_of: Option<&str>| {
        let part_of = part_of.map(str::to_owned);
        changed(move |facts| {
            let card = interface(facts, "enp3s0");
            (card.running, card.part_of) = (true, part_of);
        })
    };
    assert!(codes(&card(None)).contains(&"no-address"));
    assert!(!codes(&card(Some("bond0"))).contains(&"no-address"));
}

#[test]
fn a_card_with_an_address_and_no_cable_is_named() {
    let findings = changed(|facts| interface(facts, "enp3s0").addresses = wifi_of(facts).addresses);
    assert_eq!(codes(&findings)[0], "no-carrier");
}

#[test]
fn a_buffer_below_the_usual_is_a_warning() {
    let findings =
        changed(|facts| facts.receive_buffer = Some(BufferFacts { wanted_bytes: 2 << 20, got_bytes: 65_536 }));
    assert_eq!((findings[0].trouble.code(), findings[0].trouble.severity()), ("small-buffer", Severity::Warning));
    let Some(Mend::Command(command)) = words::words(&findings[0]).mend else { panic!("a command") };
    assert_eq!(command, "sysctl -w net.core.rmem_max=2097152");
}

#[test]
fn without_a_querier_it_takes_a_whole_interval_to_say_so() {
    let igmp = |whole_interval: bool, querier: Option<QuerierFacts>| {
        changed(move |facts| {
            let igmp = interface(facts, "wlp2s0").probe.as_mut().unwrap().igmp.as_mut().unwrap();
            (igmp.whole_interval, igmp.querier) = (whole_interval, querier);
        })
    };
    let someone = Some(QuerierFacts { from: Ipv4Addr::UNSPECIFIED, version: 3 });
    assert!(codes(&igmp(true, None)).contains(&"no-querier"));
    assert!(!codes(&igmp(false, None)).contains(&"no-querier"));
    assert!(!codes(&igmp(true, someone)).contains(&"no-querier"));
}

#[test]
fn unseen_igmp_and_rules_make_no_findings() {
    let findings = changed(|facts| {
        interface(facts, "wlp2s0").probe.as_mut().unwrap().igmp = None;
        facts.firewall = None;
        facts.multicast_source = Some(Ipv4Addr::new(192, 168, 43, 17));
    });
    assert_eq!(codes(&findings), ["wifi", "small-buffer"]);
}

#[test]
fn strangers_are_told_with_their_address() {
    let findings = changed(|facts| {
        facts.foreign.push(ForeignFacts {
            group: "lobby\u{1b}[2J".to_owned(),
            address: "239.255.3.7:20000".parse().unwrap(),
            from: "192.168.43.9:5000".parse().unwrap(),
            datagrams: 12,
            gaung: true,
        });
    });
    let said = words::words(&findings[0]);
    assert!(said.seen.contains("192.168.43.9:5000") && said.seen.contains("another Gaung"), "{}", said.seen);
    assert!(!said.seen.contains('\u{1b}'));
}

#[test]
fn the_worst_comes_first() {
    let findings = changed(|facts| {
        interface(facts, "wlp2s0").mtu = Some(1000);
        facts.multicast_source = Some(Ipv4Addr::new(10, 8, 0, 2));
    });
    let severities: Vec<_> = findings.iter().map(|finding| finding.trouble.severity()).collect();
    assert_eq!(severities, [Severity::Problem, Severity::Warning, Severity::Note, Severity::Note]);
}

fn passage(cast: CastName) -> Passage {
    Passage { sent: 200, received: 200, largest_sent_bytes: 1472, largest_bytes: 1472, ..Passage::none(cast) }
}

/// What is said of a peer to which one way is as given, and all others are whole.
fn with_peer(given: Passage, same_network: bool) -> Vec<Finding> {
    let casts = [CastName::Unicast, CastName::Multicast, CastName::Broadcast];
    let whole: Vec<_> = casts.map(passage).into();
    let to_peer = casts.map(|cast| if cast == given.cast { given } else { passage(cast) }).into();
    let host = "192.168.43.20".to_owned();
    let peer = PeerFacts { host, failed: None, same_network, to_peer, from_peer: whole };
    let findings = changed(|facts| facts.peer = Some(peer));
    findings.into_iter().filter(|finding| matches!(finding.trouble, Trouble::Peer { .. })).collect()
}

#[test]
fn between_two_machines_the_worst_of_each_way_is_said() {
    let of = |given: Passage| {
        let findings = with_peer(given, true);
        assert!(findings.len() <= 1, "{findings:?}");
        findings.first().map(|finding| (finding.trouble.code(), finding.trouble.severity()))
    };
    let multicast = passage(CastName::Multicast);
    assert_eq!(of(multicast), None);
    assert_eq!(of(Passage { received: 199, ..multicast }), None, "one may be lost by chance");
    assert_eq!(of(Passage { received: 180, ..multicast }), Some(("peer-loses", Severity::Warning)));
    assert_eq!(of(Passage::none(CastName::Multicast)), Some(("peer-multicast-silent", Severity::Problem)));
    assert_eq!(of(Passage::none(CastName::Broadcast)), Some(("peer-broadcast-silent", Severity::Problem)));
    assert_eq!(of(Passage { received: 0, ..multicast }), Some(("peer-multicast-silent", Severity::Problem)));
    assert_eq!(of(Passage { largest_bytes: 1320, ..multicast }), Some(("peer-cuts", Severity::Warning)));
    assert_eq!(of(Passage { largest_bytes: 1000, ..multicast }), Some(("peer-cuts", Severity::Problem)));
    assert_eq!(of(Passage { reordered: 10, ..multicast }), Some(("peer-reorders", Severity::Note)));
    assert_eq!(of(Passage { reordered: u32::MAX, ..multicast }), Some(("peer-reorders", Severity::Note)), "a lie");
}

#[test]
fn in_another_network_a_silent_multicast_is_explained() {
    let means = |same_network| words::words(&with_peer(Passage::none(CastName::Multicast), same_network)[0]).means;
    assert!(means(false).contains("different networks") && !means(true).contains("different networks"));
}

/// Whose whole network a filter or a route is about, and whose only a machine of it.
#[test]
fn a_rule_about_one_neighbour_is_not_about_all() {
    let with_rule = |source: serde_json::Value| {
        let expr = serde_json::json!([
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": source}}, {"drop": null}]);
        let listing = serde_json::json!({"nftables": [
            {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1, "type": "filter", "hook": "input", "prio": 0,
                "policy": "accept"}},
            {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 2, "expr": expr}}]});
        changed(move |facts| facts.firewall = Some(crate::firewall::Ruleset::from(listing)))
    };
    let banned = with_rule(serde_json::json!({"set": ["192.168.42.1", "192.168.42.2"]}));
    assert_eq!(codes(&banned), ["wifi", "small-buffer"]);
    // What came back proves nothing of others if the rule is about them all.
    let lan = with_rule(serde_json::json!({"prefix": {"addr": "192.168.42.0", "len": 23}}));
    assert!(codes(&lan).contains(&"filter-eats-tcp-ports"), "{lan:?}");
}

#[test]
fn what_is_not_clear_is_a_note_and_the_network_is_not_called_whole() {
    let unknown = serde_json::json!({"nftables": [
        {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1, "type": "filter", "hook": "input", "prio": 0,
            "policy": "drop"}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 2, "expr": [{"unheard of": {}}, {"accept": null}]}}]});
    let mut facts = laptop();
    facts.firewall = Some(crate::firewall::Ruleset::from(unknown));
    let findings = judge(&facts);
    assert!(codes(&findings).contains(&"filter-unclear"), "{findings:?}");
    let report = Report::new(&facts, findings);
    assert_eq!(report.worst(), Some(Severity::Note));
    let last = report.lines(gaung_terminal::style::Style::of(false)).pop().unwrap();
    assert!(last.contains("Not everything was examined"), "{last}");
}

#[test]
fn an_interrupted_look_at_igmp_and_an_idle_address_are_no_finding() {
    let findings = changed(|facts| {
        let wifi = interface(facts, "wlp2s0");
        let igmp = wifi.probe.as_mut().unwrap().igmp.as_mut().unwrap();
        (igmp.reports_leave, igmp.interrupted) = (false, true);
        let vip = AddressFacts { netmask: Ipv4Addr::BROADCAST, broadcast: None, ..wifi.addresses[0] };
        wifi.addresses.push(AddressFacts { ip: Ipv4Addr::new(192, 168, 43, 100), ..vip });
        wifi.addresses[0].broadcast = Some(wifi.addresses[0].ip);
    });
    assert_eq!(codes(&findings), ["wifi", "small-buffer"]);
}
