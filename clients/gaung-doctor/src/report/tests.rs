//! How it looks, to people and to programs.

#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::{
    super::{facts::CastName, rules::judge},
    *,
};

fn laptop() -> Facts {
    serde_json::from_str(include_str!("../recorded/laptop.json")).unwrap()
}

#[test]
fn a_person_reads_what_why_and_what_to_do() {
    let mut facts = laptop();
    facts.interfaces[2].mtu = Some(1000);
    let report = Report::new(&facts, judge(&facts));
    let text = report.lines(Style::of(false)).join("\n");
    for expected in [
        "wlp2s0       Wi-Fi      up          192.168.43.17/23  1000   v2, 2 groups  used       192.168.42.1 v2\n",
        "wg0          VPN        up          10.8.0.2/24       1420                 off\n",
        "problem  wlp2s0 has an MTU of 1000 B; the largest datagrams need 1428 B\n",
        "  mend   ip link set wlp2s0 mtu 1500\n",
        "\n1 problem, 2 notes.",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn a_well_network_is_said_to_be_so() {
    let facts = laptop();
    let report = Report::new(&facts, judge(&facts));
    assert_eq!(report.lines(Style::of(false)).last().unwrap(), "Multicast and broadcast work here (2 notes).");
    assert_eq!(Report::new(&facts, Vec::new()).summary(), "Multicast and broadcast work here.");
}

#[test]
fn a_peer_is_shown_as_a_table() {
    let mut facts = laptop();
    let passage = Passage { sent: 200, received: 150, largest_bytes: 1400, ..Passage::none(CastName::Multicast) };
    let host = "192.168.43.20".to_owned();
    let (to_peer, from_peer) = (vec![passage], Vec::new());
    facts.peer = Some(PeerFacts { host, failed: None, same_network: true, to_peer, from_peer });
    let text = Report::new(&facts, judge(&facts)).lines(Style::of(false)).join("\n");
    assert!(text.contains("to 192.168.43.20  multicast  150 of 200  25 %  0          0      1400"), "{text}");
}

#[test]
fn a_program_reads_one_object() {
    let facts = laptop();
    let report: Value = serde_json::from_str(&Report::new(&facts, judge(&facts)).json()).unwrap();
    assert_eq!((&report["health"], &report["peer"]), (&"well".into(), &Value::Null));
    assert_eq!(report["interfaces"][2]["kind"], "wifi");
    let finding = &report["findings"][1];
    assert_eq!((&finding["code"], &finding["severity"]), (&"small-buffer".into(), &"note".into()));
    assert_eq!((&finding["mend"], &finding["advice"]), (&"sysctl -w net.core.rmem_max=2097152".into(), &Value::Null));
}
