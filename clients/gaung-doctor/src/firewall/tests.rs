//! The walk through rules, each listed by `nft -j list ruleset` 1.0.6 unless it says otherwise.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::*;

const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

fn multicast(transport: Transport) -> Packet<'static> {
    let to = Ipv4Addr::new(239, 255, 3, 7);
    Packet {
        direction: Direction::In,
        interface: "eth0",
        transport,
        from: NEIGHBOUR,
        to,
        cast: Cast::Multicast,
        from_port: None,
        tracking: Tracking::New,
        looped: false,
    }
}

fn unicast(transport: Transport) -> Packet<'static> {
    Packet { to: OWN, cast: Cast::Unicast, ..multicast(transport) }
}

/// A base chain of `input` with these rules, and a chain `mine` that it may call.
fn input(policy: &str, rules: &[Value], mine: &[Value]) -> Ruleset {
    let mut listing = vec![
        json!({"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter",
            "hook": "input", "prio": 0, "policy": policy}}),
        json!({"chain": {"family": "inet", "table": "filter", "name": "mine", "handle": 2}}),
        json!({"set": {"family": "inet", "name": "lan", "table": "filter", "type": "ipv4_addr",
            "elem": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"elem": {"val": "192.168.1.1", "timeout": 60}}]}}),
    ];
    for (chain, rules) in [("input", rules), ("mine", mine)] {
        for (number, rule) in rules.iter().enumerate() {
            listing.push(json!({"rule": {"family": "inet", "table": "filter", "chain": chain, "handle": number + 10, "expr": rule}}));
        }
    }
    Ruleset::from(json!({ "nftables": listing }))
}

fn fate(rules: &[Value], packet: &Packet<'_>) -> Fate {
    input("accept", rules, &[]).fate(packet)
}

fn dropped_by(handle: u64) -> Fate {
    let [family, table, chain] = ["inet", "filter", "input"].map(str::to_owned);
    Fate::Dropped(Culprit { family, table, chain, handle: Some(handle) })
}

fn equals(left: &Value, right: &Value) -> Value {
    json!({"match": {"op": "==", "left": left, "right": right}})
}

fn meta(key: &str, right: &Value) -> Value {
    equals(&json!({"meta": {"key": key}}), right)
}

fn payload(protocol: &str, field: &str, right: &Value) -> Value {
    equals(&json!({"payload": {"protocol": protocol, "field": field}}), right)
}

const GROUP: Transport = Transport::Udp(20000);

#[test]
fn nothing_drops_where_there_are_no_rules() {
    assert_eq!(Ruleset::from(json!({"nftables": [{"metainfo": {}}]})).fate(&multicast(GROUP)), Fate::Passes);
    assert_eq!(Ruleset::from(json!("no listing")).fate(&multicast(GROUP)), Fate::Passes);
}

#[test]
fn matches_go_by_each_field_of_the_packet() {
    let drop = json!({"drop": null});
    let eats = |statement: Value, packet: &Packet<'_>| match fate(&[json!([statement, {"counter": {}}, drop])], packet)
    {
        Fate::Dropped(_) => true,
        Fate::Passes => false,
        Fate::Unclear(_) => panic!("unclear"),
    };
    let udp = multicast(GROUP);
    let cases = [
        (meta("l4proto", &json!("igmp")), false),
        (meta("l4proto", &json!("udp")), true),
        (meta("l4proto", &json!(17)), true),
        (meta("l4proto", &json!({"set": ["tcp", "udp"]})), true),
        (meta("iifname", &json!("eth*")), true),
        (meta("iifname", &json!({"set": ["wlan0", "eth1"]})), false),
        (meta("oifname", &json!("eth0")), false),
        (meta("pkttype", &json!({"set": ["broadcast", "multicast"]})), true),
        (meta("nfproto", &json!("ipv6")), false),
        (payload("ip", "protocol", &json!("udp")), true),
        (payload("ip", "daddr", &json!("239.255.3.7")), true),
        (payload("ip", "daddr", &json!({"prefix": {"addr": "239.0.0.0", "len": 8}})), true),
        (payload("ip", "daddr", &json!({"range": ["224.0.0.0", "239.255.3.6"]})), false),
        (payload("ip", "saddr", &json!("@lan")), true),
        (payload("ip6", "daddr", &json!("ff02::1")), false),
        (payload("udp", "dport", &json!({"set": [53, {"range": [20000, 29999]}]})), true),
        (payload("th", "dport", &json!(20000)), true),
        (payload("tcp", "dport", &json!(20000)), false),
        (json!({"match": {"op": "!=", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}}), true),
        (
            json!({"match": {"op": "!=", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}),
            false,
        ),
        (
            json!({"match": {"op": ">=", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 1024}}),
            true,
        ),
        (json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}), false),
        (json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "invalid"]}}), true),
        (equals(&json!({"fib": {"result": "type", "flags": ["daddr"]}}), &json!("multicast")), true),
        (json!({"limit": {"rate": 5, "per": "second"}}), true),
        (json!({"limit": {"rate": 5, "per": "second", "inv": true}}), false),
    ];
    for (statement, expected) in cases {
        assert_eq!(eats(statement.clone(), &udp), expected, "{statement}");
    }
    assert!(eats(meta("l4proto", &json!("igmp")), &multicast(Transport::Igmp)));
    assert!(eats(payload("igmp", "type", &json!("membership-query")), &multicast(Transport::Igmp)));
    assert!(eats(payload("tcp", "dport", &json!(7400)), &unicast(Transport::Tcp(7400))));
}

#[test]
fn the_first_verdict_decides_and_the_policy_last() {
    let igmp = json!([meta("l4proto", &json!("igmp")), {"accept": null}]);
    let all = json!([{"reject": {"type": "icmpx", "expr": "port-unreachable"}}]);
    assert_eq!(fate(&[igmp.clone(), all.clone()], &multicast(Transport::Igmp)), Fate::Passes);
    assert_eq!(fate(&[igmp.clone(), all], &multicast(GROUP)), dropped_by(11));
    let closed = input("drop", &[igmp], &[]);
    assert_eq!(closed.fate(&multicast(Transport::Igmp)), Fate::Passes);
    assert!(matches!(closed.fate(&multicast(GROUP)), Fate::Dropped(Culprit { handle: None, .. })));
}

#[test]
fn called_chains_return_or_decide() {
    let jump = |target: &str| json!([{"jump": {"target": target}}]);
    let accept = json!([{"accept": null}]);
    let back = input("drop", &[jump("mine"), accept.clone()], &[json!([{"return": null}]), json!([{"drop": null}])]);
    assert_eq!(back.fate(&multicast(GROUP)), Fate::Passes);
    let gone = input("drop", &[json!([{"goto": {"target": "mine"}}]), accept], &[]);
    assert!(matches!(gone.fate(&multicast(GROUP)), Fate::Dropped(Culprit { handle: None, .. })));
    let deep = input("accept", &[jump("mine")], &[json!([{"drop": null}])]);
    assert!(matches!(deep.fate(&multicast(GROUP)), Fate::Dropped(Culprit { chain, .. }) if chain == "mine"));
    let ring = input("accept", &[jump("mine")], &[jump("mine")]);
    assert_eq!(ring.fate(&multicast(GROUP)), Fate::Unclear(None));
}

#[test]
fn verdict_maps_are_looked_up() {
    let by_port = |packet: &Packet<'_>| {
        let map = json!([["invalid", {"drop": null}]]);
        let states = json!([{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": map}}}]);
        let ports = json!([[{"range": [20000, 29999]}, {"drop": null}], [7406, {"jump": {"target": "mine"}}]]);
        let ports =
            json!([{"vmap": {"key": {"payload": {"protocol": "udp", "field": "dport"}}, "data": {"set": ports}}}]);
        input("accept", &[states, ports], &[json!([{"drop": null}])]).fate(packet)
    };
    assert_eq!(by_port(&multicast(GROUP)), dropped_by(11));
    assert!(
        matches!(by_port(&multicast(Transport::Udp(7406))), Fate::Dropped(Culprit { chain, .. }) if chain == "mine")
    );
    assert_eq!(by_port(&multicast(Transport::Udp(7405))), Fate::Passes);
    assert_eq!(by_port(&unicast(Transport::Tcp(7400))), Fate::Passes);
}

fn perhaps_by(handle: u64) -> Fate {
    let Fate::Dropped(culprit) = dropped_by(handle) else { panic!("it is dropped") };
    Fate::Unclear(Some(culprit))
}

#[test]
fn what_cannot_be_known_is_not_said_and_the_first_suspect_is_named() {
    let extension = json!({"xt": {"type": "match", "name": "recent"}});
    let drop = json!([extension, {"drop": null}]);
    let accept = json!([extension, {"accept": null}]);
    let all = json!([{"drop": null}]);
    assert_eq!(fate(std::slice::from_ref(&drop), &multicast(GROUP)), perhaps_by(10), "perhaps dropped is not dropped");
    assert_eq!(fate(&[drop, all.clone()], &multicast(GROUP)), dropped_by(11));
    assert_eq!(fate(&[accept, all.clone()], &multicast(GROUP)), perhaps_by(11), "perhaps accepted before");
    let mark = meta("mark", &json!(1));
    assert_eq!(fate(&[json!([mark, {"return": null}]), all.clone()], &multicast(GROUP)), perhaps_by(11));
    let jump = json!([mark, {"jump": {"target": "mine"}}]);
    let called = input("accept", &[jump], &[all]);
    let suspect = called.fate(&multicast(GROUP));
    assert!(matches!(&suspect, Fate::Unclear(Some(culprit)) if culprit.chain == "mine"), "{suspect:?}");
    // A comment is no condition.
    let comment = json!([{"xt": {"type": "match", "name": "comment"}}, {"drop": null}]);
    assert_eq!(fate(&[comment], &multicast(GROUP)), dropped_by(10));
}

#[test]
fn statements_and_fields_that_nobody_knows_are_not_taken_for_certain() {
    let lan =
        json!({"match": {"op": "==", "left": {"payload": {"base": "nh", "offset": 96, "len": 24}}, "right": 675_072}});
    let mac = payload("ether", "saddr", &json!("00:11:22:33:44:55"));
    let new = json!({"a statement of a later nft": {}});
    for unknown in [lan, mac.clone(), new] {
        let accept = json!([unknown, {"accept": null}]);
        let eats = fate(&[accept, json!([{"drop": null}])], &multicast(GROUP));
        assert_eq!(eats, perhaps_by(11), "{unknown}");
    }
    // Own copies have no Ethernet header.
    let copy = Packet { looped: true, ..multicast(GROUP) };
    assert_eq!(fate(&[json!([mac, {"accept": null}]), json!([{"drop": null}])], &copy), dropped_by(11));
    let drop = json!({"drop": null});
    let per_source = json!({"set": {"op": "add", "elem": {"payload": {"protocol": "ip", "field": "saddr"}},
        "set": "@flood", "stmt": [{"limit": {"rate": 5000, "burst": 5, "per": "second", "inv": true}}]}});
    let unused = json!({"quota": {"val": 100_000, "val_unit": "mbytes", "inv": true}});
    let connections = json!({"ct count": {"val": 100, "inv": true}});
    for within in [per_source, unused, connections] {
        assert_eq!(fate(&[json!([within, drop])], &multicast(GROUP)), Fate::Passes, "{within}");
    }
    let spent =
        json!({"quota": {"val": 1, "val_unit": "mbytes", "used": 1_048_576, "used_unit": "bytes", "inv": true}});
    assert_eq!(fate(&[json!([spent, drop])], &multicast(GROUP)), dropped_by(10));
    assert_eq!(fate(&[json!([{"quota": "named"}, drop])], &multicast(GROUP)), perhaps_by(10));
}

#[test]
fn connections_that_are_not_tracked_are_known_as_such() {
    let chain = |name: &str, hook: &str, priority: i64, policy: &str| {
        json!({"chain": {"family": "inet", "table": "t", "name": name, "handle": 1, "type": "filter", "hook": hook,
            "prio": priority, "policy": policy}})
    };
    let rule = |chain: &str, expr: Value| json!({"rule": {"family": "inet", "table": "t", "chain": chain, "handle": 7, "expr": expr}});
    let states =
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "untracked"]}});
    let rules = Ruleset::from(json!({"nftables": [
        chain("raw", "prerouting", -300, "accept"),
        rule("raw", json!([payload("udp", "dport", &json!(20000)), {"notrack": null}])),
        chain("c", "input", 0, "drop"),
        rule("c", json!([states, {"accept": null}])),
    ]}));
    assert_eq!(rules.fate(&multicast(GROUP)), Fate::Passes);
    assert!(matches!(rules.fate(&multicast(Transport::Udp(20001))), Fate::Dropped(_)));
    // The own copy stays in the connection in which it was sent.
    assert!(matches!(rules.fate(&Packet { looped: true, ..multicast(GROUP) }), Fate::Dropped(_)));
}

#[test]
fn a_table_that_is_switched_off_drops_nothing() {
    let table = |flags: Value| json!({"table": {"family": "inet", "name": "t", "handle": 1, "flags": flags}});
    let chain = json!({"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1, "type": "filter",
        "hook": "input", "prio": 0, "policy": "drop"}});
    let fate = |flags| Ruleset::from(json!({"nftables": [table(flags), chain]})).fate(&multicast(GROUP));
    assert_eq!(fate(json!("dormant")), Fate::Passes);
    assert_eq!(fate(json!(["owner", "dormant"])), Fate::Passes);
    assert!(matches!(fate(json!("owner")), Fate::Dropped(_)));
}

#[test]
fn named_maps_and_concatenations_are_looked_up() {
    let map = json!({"map": {"family": "inet", "table": "filter", "name": "ports", "type": "inet_service", "map": "verdict",
        "elem": [[22, {"accept": null}], [{"range": [20000, 20010]}, {"drop": null}]]}});
    let set = json!({"set": {"family": "inet", "table": "filter", "name": "open", "type": ["inet_proto", "inet_service"],
        "elem": [{"concat": ["tcp", 7400]}, {"concat": ["udp", {"range": [20000, 29999]}]}]}});
    let dport = json!({"payload": {"protocol": "th", "field": "dport"}});
    let listing = |rule: Value, policy: &str| {
        Ruleset::from(json!({"nftables": [map, set,
            {"chain": {"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter", "hook": "input",
                "prio": 0, "policy": policy}},
            {"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": 10, "expr": rule}}]}))
    };
    let by_map = listing(json!([{"vmap": {"key": dport, "data": "@ports"}}]), "accept");
    assert_eq!(by_map.fate(&multicast(GROUP)), dropped_by(10));
    assert_eq!(by_map.fate(&multicast(Transport::Udp(20011))), Fate::Passes);
    let both = json!({"concat": [{"payload": {"protocol": "ip", "field": "protocol"}}, dport]});
    let by_set = listing(json!([equals(&both, &json!("@open")), {"accept": null}]), "drop");
    assert_eq!(by_set.fate(&multicast(GROUP)), Fate::Passes);
    assert_eq!(by_set.fate(&unicast(Transport::Tcp(7400))), Fate::Passes);
    assert!(matches!(by_set.fate(&unicast(Transport::Tcp(7401))), Fate::Dropped(_)));
}

#[test]
fn extensions_are_explained_by_what_iptables_saves() {
    let chain = json!({"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 1, "type": "filter",
        "hook": "input", "prio": 0, "policy": "drop"}});
    let rule = |handle: u64, expr: Value| json!({"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "handle": handle, "expr": expr}});
    let conntrack = json!([{"xt": {"type": "match", "name": "conntrack"}}, {"counter": {}}, {"accept": null}]);
    let multiport =
        json!([meta("l4proto", &json!("udp")), {"xt": {"type": "match", "name": "multiport"}}, {"accept": null}]);
    let mut rules = Ruleset::from(json!({"nftables": [chain, rule(2, conntrack), rule(3, multiport)]}));
    assert!(rules.has_extensions());
    assert!(matches!(rules.fate(&unicast(Transport::Tcp(7400))), Fate::Unclear(Some(_))));
    rules.explain_extensions(
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
         -A INPUT -p udp -m multiport --dports 7405,20000:32767 -j ACCEPT\nCOMMIT\n",
    );
    assert!(matches!(rules.fate(&unicast(Transport::Tcp(7400))), Fate::Dropped(_)));
    assert_eq!(rules.fate(&multicast(GROUP)), Fate::Passes);
    let mut legacy = Ruleset::default();
    legacy.add_legacy(
        "*filter\n:INPUT ACCEPT [0:0]\n:MINE - [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -j MINE\n-A MINE -p igmp -j DROP\n",
    );
    let eaten = legacy.fate(&multicast(Transport::Igmp));
    assert!(
        matches!(&eaten, Fate::Dropped(culprit) if culprit.family == LEGACY && culprit.chain == "MINE"),
        "{eaten:?}"
    );
}

#[test]
fn ports_and_addresses_are_told_apart_by_the_numbers_in_rules() {
    let drop = json!({"drop": null});
    let rules = input(
        "accept",
        &[
            json!([payload("udp", "dport", &json!({"range": [20000, 29999]})), drop]),
            json!([payload("ip", "daddr", &json!({"prefix": {"addr": "239.255.128.0", "len": 17}})), drop]),
        ],
        &[],
    );
    let ports = rules.ports_told_apart(20000..=32767);
    assert!([20000, 29999, 30000, 32767].iter().all(|port| ports.contains(port)) && ports.len() < 10, "{ports:?}");
    let addresses = rules.addresses_told_apart(Ipv4Addr::new(239, 255, 0, 0)..=Ipv4Addr::new(239, 255, 255, 255));
    let edge = [Ipv4Addr::new(239, 255, 127, 255), Ipv4Addr::new(239, 255, 128, 0)];
    assert!(edge.iter().all(|address| addresses.contains(address)), "{addresses:?}");
}

/// `iptables -P INPUT DROP; iptables -A INPUT -p igmp -j ACCEPT`, listed by nft.
#[test]
fn chains_of_iptables_are_followed() {
    let chain = json!({"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 1, "type": "filter",
        "hook": "input", "prio": 0, "policy": "drop"}});
    let rule = json!({"rule": {"family": "ip", "table": "filter", "chain": "INPUT", "handle": 2, "expr": [
        {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "igmp"}},
        {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}]}});
    let rules = Ruleset::from(json!({"nftables": [chain, rule]}));
    assert_eq!(rules.fate(&multicast(Transport::Igmp)), Fate::Passes);
    assert!(matches!(rules.fate(&multicast(GROUP)), Fate::Dropped(Culprit { family, .. }) if family == "ip"));
}

#[test]
fn only_the_hooks_on_the_packets_way_count() {
    let hooked = |family: &str, hook: &str, device: Value| {
        let chain = json!({"chain": {"family": family, "table": "t", "name": "c", "handle": 1, "type": "filter",
            "hook": hook, "prio": -300, "dev": device, "policy": "drop"}});
        Ruleset::from(json!({ "nftables": [chain] }))
    };
    let comes = multicast(GROUP);
    let goes = Packet { direction: Direction::Out, ..comes };
    let eats = |rules: &Ruleset, packet| matches!(rules.fate(packet), Fate::Dropped(_));
    for (family, hook, device, is_in, is_out) in [
        ("ip", "prerouting", Value::Null, true, false),
        ("inet", "output", Value::Null, false, true),
        ("ip", "postrouting", Value::Null, false, true),
        ("ip6", "input", Value::Null, false, false),
        ("inet", "forward", Value::Null, false, false),
        ("netdev", "ingress", json!("eth0"), true, false),
        ("netdev", "ingress", json!(["eth1", "eth0"]), true, false),
        ("netdev", "ingress", json!("eth1"), false, false),
        ("netdev", "egress", json!("eth0"), false, true),
    ] {
        let rules = hooked(family, hook, device);
        assert_eq!((eats(&rules, &comes), eats(&rules, &goes)), (is_in, is_out), "{family} {hook}");
    }
}
