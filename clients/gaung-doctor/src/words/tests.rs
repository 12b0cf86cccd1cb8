//! Everything can be said, and what a program holds on to is told apart.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, net::Ipv4Addr};

use super::{
    super::{
        facts::CastName,
        finding::{Direction, Needed, PassageName, PeerTrouble, ServerTrouble},
        firewall::Culprit,
    },
    *,
};

const IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

fn culprit() -> Culprit {
    let [family, table, chain] = ["inet", "filter", "input"].map(str::to_owned);
    Culprit { family, table, chain, handle: Some(7) }
}

fn not_heard(way: ProbedTraffic, outcome: EchoOutcome) -> Trouble {
    Trouble::NotHeard { way, to: "239.255.3.7:20000".parse().unwrap(), outcome, suspect: None }
}

/// One of each kind.
fn all() -> Vec<Trouble> {
    let ours = || "eth0".to_owned();
    let filtered = |what| Trouble::Filtered { what, culprit: culprit() };
    let ways = [ProbedTraffic::Multicast, ProbedTraffic::Discovery, ProbedTraffic::Broadcast];
    let mut all = vec![
        Trouble::CannotChoose("there is no interface \"eth7\"".to_owned()),
        Trouble::OnlyLoopback { remedy: Remedy::Cable },
        Trouble::OnlyContainerOrVpn(Kind::Vpn),
        Trouble::Down,
        Trouble::NoCarrier,
        Trouble::CannotMulticast,
        Trouble::NoAddress { mac: None },
        Trouble::Wifi,
        Trouble::SoftwareOnly,
        Trouble::RouteElsewhere { to: "wg0".to_owned(), kind: Kind::Vpn, ours: ours() },
        Trouble::NoRoute { ours: ours(), has_default: false },
        Trouble::SmallMtu { mtu: 1300, wanted: 1428, text_only: false },
        Trouble::WrongBroadcast { address: (IP, 24), has: IP, should: IP },
        Trouble::NoBroadcast { prefix: 32 },
        Trouble::ReversePath { back: Some("eth1".to_owned()), network: (IP, 24), strict: true },
        Trouble::MulticastGateway { gateway: IP },
        Trouble::LanElsewhere { to: IP, instead: "through wg0".to_owned() },
        Trouble::FilterUnclear { what: vec![Needed::Relay], suspect: Some(culprit()) },
        Trouble::GroupRefused {
            group: "lobby".to_owned(),
            address: "239.255.3.7:20000".parse().unwrap(),
            why: "in use".to_owned(),
        },
        Trouble::OldIgmp { forced: true },
        Trouble::FewMemberships { limit: 1, needed: 2 },
        Trouble::CopiedFolder { servers: vec!["10.77.0.1:7400".parse().unwrap(), "10.77.0.2:7400".parse().unwrap()] },
        Trouble::SmallBuffer { got_bytes: 1 << 16, wanted_bytes: 1 << 21, lowered: true },
        Trouble::ReportsEaten { culprit: None },
        Trouble::QueriesEaten { querier: IP, culprit: Some(culprit()), no_way_back: false },
        Trouble::NoQuerier { bridge: false },
        Trouble::BridgeFloods { snooping: true },
        Trouble::PortDoesNotFlood { port: "p1".to_owned(), multicast: true, broadcast: false },
        filtered(Needed::IgmpIn),
        filtered(Needed::IgmpOut),
        filtered(Needed::Relay),
        filtered(Needed::RelayOut),
        filtered(Needed::Tcp(vec![7400, 8080])),
        filtered(Needed::TcpOut(vec![7400])),
        filtered(Needed::Answers { seen: true, found: false }),
        Trouble::Foreign {
            group: "lobby".to_owned(),
            address: "239.255.3.7:20000".parse().unwrap(),
            from: "10.77.0.2:5000".parse().unwrap(),
            datagrams: 3,
            gaung: false,
        },
    ];
    let passage = PassageName { cast: CastName::Multicast, direction: Direction::To };
    let peers = [
        PeerTrouble::Unreached("no doctor waits".to_owned()),
        PeerTrouble::Silent { passage, same_network: true },
        PeerTrouble::Loses { passage, permille: 125 },
        PeerTrouble::Cuts { passage, largest: 1320, wanted: 1400, text_only: true },
        PeerTrouble::Reorders { passage, permille: 20 },
    ];
    let servers = [
        ServerTrouble::OtherSite { shown: "K7QX".to_owned(), expected: vec!["ABCD".to_owned()] },
        ServerTrouble::NoTls,
        ServerTrouble::NotAsked,
        ServerTrouble::TakesPlaintext,
        ServerTrouble::ClocksDiffer { days: -7300, refused_by_browsers: true },
    ];
    all.extend(servers.map(|trouble| Trouble::Server { address: "10.77.0.1:7400".to_owned(), trouble }));
    all.extend(peers.map(|trouble| Trouble::Peer { host: "10.77.0.2".to_owned(), trouble }));
    all.extend(ways.map(|way| not_heard(way, EchoOutcome::Silent)));
    all.extend(ways.map(|way| filtered(Needed::In(way))));
    all.extend(ways.map(|way| filtered(Needed::Out(way))));
    all
}

fn spoken(trouble: Trouble) -> Words {
    words(&Finding { interface: Some("eth0".to_owned()), trouble })
}

#[test]
fn each_has_a_code_of_its_own_and_says_what_and_why_and_what_to_do() {
    let mut codes = BTreeSet::new();
    for trouble in all() {
        assert!(codes.insert(trouble.code()), "{} twice", trouble.code());
        let words = spoken(trouble.clone());
        assert!(!words.seen.is_empty() && !words.means.is_empty(), "{trouble:?}");
        let (Some(Mend::Command(text)) | Some(Mend::Advice(text))) = words.mend else { panic!("{trouble:?}") };
        assert!(!text.is_empty());
    }
}

#[test]
fn commands_name_the_rule_and_the_interface() {
    let mend = |trouble| match spoken(trouble).mend {
        Some(Mend::Command(line)) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(mend(Trouble::Down), "ip link set eth0 up");
    let igmp = Trouble::Filtered { what: Needed::IgmpIn, culprit: culprit() };
    assert_eq!(mend(igmp), "nft insert rule inet filter input ip protocol igmp accept");
    let tcp = Trouble::Filtered { what: Needed::Tcp(vec![7400, 8080]), culprit: culprit() };
    assert_eq!(mend(tcp), "nft insert rule inet filter input tcp dport '{ 7400, 8080 }' accept");
}

#[test]
fn each_outcome_of_an_echo_is_said() {
    let refused =
        spoken(not_heard(ProbedTraffic::Multicast, EchoOutcome::NotSent("Operation not permitted".to_owned())));
    assert!(refused.seen.contains("could not be sent"), "{}", refused.seen);
    let taken =
        spoken(not_heard(ProbedTraffic::Broadcast, EchoOutcome::NoSocket("UDP port 7405 is in use".to_owned())));
    assert!(taken.seen.contains("in use"), "{}", taken.seen);
}

#[test]
fn commands_mend_what_is_needed_and_harm_nobody() {
    let at = |interface: &str, trouble| match words(&Finding { interface: Some(interface.to_owned()), trouble }).mend {
        Some(Mend::Command(line)) => line,
        other => panic!("{other:?}"),
    };
    let mtu = Trouble::SmallMtu { mtu: 1300, wanted: 1428, text_only: false };
    assert_eq!(at("a;touch${IFS}X", mtu.clone()), "ip link set 'a;touch${IFS}X' mtu 1500");
    assert_eq!(at("it's", mtu.clone()), r"ip link set 'it'\''s' mtu 1500");
    assert!(!at("\u{1b}[31m", mtu).contains('\u{1b}'));
    let few = |limit, needed| at("eth0", Trouble::FewMemberships { limit, needed });
    assert_eq!(few(20, 22), "sysctl -w net.ipv4.igmp_max_memberships=22");
    assert_eq!(few(0, 1), "sysctl -w net.ipv4.igmp_max_memberships=20");
    assert!(few(20, 1).contains("optmem_max"), "the limit itself would do");
    let nowhere = |strict| Trouble::ReversePath { back: None, network: (Ipv4Addr::new(10, 77, 0, 0), 24), strict };
    assert_eq!(at("eth0", nowhere(true)), "ip route add 10.77.0.0/24 dev eth0");
    assert_eq!(at("eth0", nowhere(false)), "ip route add 10.77.0.0/24 dev eth0");
    let queries = |culprit, no_way_back| Trouble::QueriesEaten { querier: IP, culprit, no_way_back };
    assert_eq!(at("eth0", queries(None, true)), "ip route add 10.77.0.1/32 dev eth0");
    assert_eq!(
        at("eth0", queries(Some(culprit()), false)),
        "nft insert rule inet filter input ip protocol igmp accept"
    );
    let legacy = Culprit {
        family: crate::firewall::LEGACY.to_owned(),
        table: "filter".to_owned(),
        chain: "OUTPUT".to_owned(),
        handle: Some(1),
    };
    let reports = Trouble::ReportsEaten { culprit: Some(legacy) };
    assert_eq!(at("eth0", reports), "iptables-legacy -t filter -I OUTPUT -p igmp -j ACCEPT");
    let address = Remedy::Address { name: "eth0".to_owned(), mac: Some([2, 0, 0, 0, 3, 9]) };
    let address = at("eth0", Trouble::OnlyLoopback { remedy: address });
    assert_eq!(address, "ip address add 169.254.4.9/16 broadcast + dev eth0");
    let unknown = words(&Finding { interface: None, trouble: Trouble::ReportsEaten { culprit: None } }).mend;
    assert!(matches!(unknown, Some(Mend::Advice(_))), "no table is named that may not be there");
}
