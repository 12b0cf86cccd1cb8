//! `gaung doctor` in namespaces: each planted fault is named, what it proposes mends it, and a network in which nothing
//! is wrong hears nothing.
#![allow(missing_docs)]

mod planted;
mod told;

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use gaung_tests::{
    lab::{Host, Lab},
    programs::program,
    requires::{self, Need},
};
use tempfile::TempDir;

use self::{
    planted::{HEALTHY, INPUT, OUTPUT, bridged, filter, sysctl},
    told::{Told, doctor, doctor_without_rules, lab, passages, started, with_peer},
};

const WELL: i32 = 0;
const WARNINGS: i32 = 6;
const PROBLEMS: i32 = 7;

/// Plants a fault on a healthy host, expects the doctor to name it, does what it says, and expects it to be gone.
fn named_and_mended(code: &str, exit: i32, plant: impl Fn(&Lab, &Host)) {
    let lab = lab();
    let host = lab.host(0);
    plant(&lab, host);
    let told = doctor(host);
    assert_eq!(told.code, exit, "{code}: {:#}", told.report);
    let mend = told.finding(code)["mend"].as_str().unwrap_or_else(|| panic!("{code} has no command")).to_owned();
    let mended = host.command("sh").args(["-c", &mend]).output().expect("a shell can be started");
    assert!(mended.status.success(), "{code}: {mend}: {}", String::from_utf8_lossy(&mended.stderr));
    let told = doctor(host);
    assert!(!told.codes().contains(&code), "{code} stands after {mend}: {:#}", told.report);
}

macro_rules! in_lab {
    ($(fn $name:ident() $body:block)*) => {$(
        #[test]
        fn $name() {
            if requires::has(stringify!($name), &[Need::Namespaces, Need::Nft, Need::Sysctl]) $body
        }
    )*};
}

in_lab! {
    fn a_healthy_network_has_no_findings() {
        let lab = lab();
        let told = doctor(lab.host(0));
        assert_eq!((told.code, told.codes()), (WELL, vec![]), "{:#}", told.report);
        assert_eq!(told.report["health"], "well");
        let eth0 = told.interface("eth0");
        assert_eq!((&eth0["kind"], &eth0["up"], &eth0["igmp_version"]), (&"wired".into(), &true.into(), &3.into()));
        assert_eq!(eth0["probe"]["igmp"]["querier"]["version"], 3, "{eth0:#}");
        let echoes = eth0["probe"]["echoes"].as_array().expect("echoes");
        assert!(echoes.len() == 3 && echoes.iter().all(|echo| echo["outcome"] == "heard"), "{echoes:?}");
        // Another machine of the same network is as well.
        let other = doctor(lab.host(1));
        assert_eq!((other.code, other.codes()), (WELL, vec!["no-route"]), "{:#}", other.report);
    }

    fn without_rights_it_says_what_it_did_not_see() {
        let lab = lab();
        let mut command = lab.host(0).command("setpriv");
        command.args(["--bounding-set", "-net_admin,-net_raw"]).arg(program("gaung"));
        let told = Told::of(&started(command, &[]).end());
        assert_eq!(told.code, WELL, "{:#}", told.report);
        let unseen = told.report["not_looked_at"].to_string();
        assert!(unseen.contains("IGMP queries") && unseen.contains("packet filter's rules"), "{unseen}");
    }

    fn an_interface_that_is_down_is_named() {
        named_and_mended("down", PROBLEMS, |_, host| host.ip_command("link set eth0 down"));
    }

    fn loopback_alone_is_named() {
        let lab = lab();
        lab.host(0).ip_command("link del eth0");
        let told = doctor(lab.host(0));
        assert_eq!((told.code, told.codes()), (PROBLEMS, vec!["only-loopback"]), "{:#}", told.report);
    }

    fn a_missing_multicast_flag_is_named() {
        named_and_mended("cannot-multicast", PROBLEMS, |_, host| host.ip_command("link set eth0 multicast off"));
    }

    fn a_small_mtu_is_named() {
        named_and_mended("small-mtu", PROBLEMS, |_, host| host.ip_command("link set eth0 mtu 1300"));
        named_and_mended("small-mtu", WARNINGS, |_, host| host.ip_command("link set eth0 mtu 1400"));
    }

    fn a_wrong_broadcast_address_is_named() {
        named_and_mended("wrong-broadcast", WARNINGS, |_, host| {
            host.ip_command("address del 10.77.0.1/24 dev eth0");
            host.ip_command("address add 10.77.0.1/24 broadcast 10.77.255.255 dev eth0");
            host.add_default_route();
        });
    }

    fn a_network_without_broadcast_is_named() {
        let lab = lab();
        lab.host(0).ip_command("address del 10.77.0.1/24 dev eth0");
        lab.host(0).ip_command("address add 10.77.0.1/32 dev eth0");
        let told = doctor(lab.host(0));
        assert_eq!(told.finding("no-broadcast")["severity"], "warning");
    }

    fn no_route_for_multicast_is_worth_a_note() {
        named_and_mended("no-route", WELL, |_, host| host.ip_command("route del default"));
    }

    fn a_tunnel_that_takes_the_multicast_is_named() {
        named_and_mended("route-elsewhere", WARNINGS, |_, host| {
            host.ip_command("link add tun7 type veth peer name office");
            host.ip_command("link set office up");
            host.ip_command("address add 10.8.0.2/24 dev tun7");
            host.ip_command("link set tun7 multicast on up");
            host.ip_command("route replace default dev tun7");
        });
    }

    fn a_container_bridge_that_is_all_there_is_is_named() {
        let lab = lab();
        let host = lab.host(0);
        host.ip_command("link add docker0 type bridge");
        host.ip_command("link set eth0 master docker0");
        host.ip_command("address flush dev eth0");
        host.ip_command("address add 172.17.0.1/16 broadcast + dev docker0");
        host.ip_command("link set docker0 up");
        let told = doctor(host);
        assert_eq!((told.code, &told.finding("only-container-or-vpn")["interface"]), (PROBLEMS, &"docker0".into()));
    }

    fn a_reverse_path_filter_that_bites_is_named() {
        named_and_mended("reverse-path", PROBLEMS, |_, host| {
            host.ip_command("link add eth1 type veth peer name neighbour");
            host.ip_command("link set neighbour up");
            host.ip_command("address add 10.77.0.99/24 broadcast + dev eth1");
            host.ip_command("link set eth1 multicast on up");
            sysctl(host, "net.ipv4.conf.all.rp_filter=1");
        });
    }

    fn a_strict_reverse_path_filter_alone_is_no_fault() {
        let lab = lab();
        sysctl(lab.host(0), "net.ipv4.conf.all.rp_filter=1");
        let told = doctor(lab.host(0));
        assert_eq!((told.code, told.codes()), (WELL, vec![]), "{:#}", told.report);
        assert_eq!(told.interface("eth0")["rp_filter"], 1);
    }

    fn old_igmp_is_named() {
        named_and_mended("old-igmp", WARNINGS, |_, host| sysctl(host, "net.ipv4.conf.all.force_igmp_version=1"));
    }

    fn too_few_memberships_are_named() {
        named_and_mended("few-memberships", PROBLEMS, |_, host| sysctl(host, "net.ipv4.igmp_max_memberships=0"));
    }

    fn copies_of_a_data_folder_are_named() {
        let (lab, data) = (lab(), TempDir::new().expect("a temporary folder"));
        let [first, second] = ["first", "second"].map(|name| data.path().join(name));
        let up = |host: usize, folder: &std::path::Path| {
            let folder = folder.display().to_string();
            let up = lab.host(host).start(program("gaung"), &["up", "--headless", "--data", &folder]);
            up.stdout_line("registry's address", |line| line.contains("7400"));
            up
        };
        drop(up(0, &first));
        let copied = Command::new("cp").arg("-r").args([&first, &second]).status().expect("`cp` is installed");
        assert!(copied.success());
        let _servers = [up(0, &first), up(1, &second)];
        let told = doctor(lab.host(1));
        let seen = told.finding("copied-folder")["seen"].as_str().expect("words");
        assert!(["10.77.0.1:7400", "10.77.0.2:7400"].iter().all(|server| seen.contains(server)), "{seen}");
        assert_eq!(told.code, PROBLEMS);
    }

    fn more_networks_than_memberships_of_one_socket_are_no_fault() {
        let lab = lab();
        for number in 1..=22 {
            lab.host(0).ip_command(&format!("link add n{number} type veth peer name e{number}"));
            lab.host(0).ip_command(&format!("link set n{number} up"));
            lab.host(0).ip_command(&format!("link set e{number} up"));
            lab.host(0).ip_command(&format!("addr add 10.100.{number}.1/24 broadcast + dev n{number}"));
        }
        let told = doctor(lab.host(0));
        assert!(!told.codes().contains(&"few-memberships"), "{:#}", told.report);
    }

    fn filter_rules_are_named() {
        for (code, exit, chain, rule) in [
            ("filter-eats-igmp-queries", PROBLEMS, INPUT, "ip protocol igmp drop"),
            ("filter-eats-igmp-reports", PROBLEMS, OUTPUT, "meta l4proto igmp drop"),
            ("filter-eats-multicast", PROBLEMS, INPUT, "meta pkttype multicast ip protocol udp drop"),
            ("filter-eats-multicast", PROBLEMS, INPUT, "udp dport 20000-30000 reject"),
            ("filter-eats-discovery", PROBLEMS, INPUT, "udp dport { 7000-7401, 7406 } counter drop"),
            ("filter-eats-broadcast", PROBLEMS, INPUT, "fib daddr type broadcast drop"),
            ("filter-eats-sent-multicast", PROBLEMS, OUTPUT, "oifname \"eth*\" ip daddr 224.0.0.0/4 udp dport 1-65535 drop"),
            ("filter-eats-relay-port", WARNINGS, INPUT, "udp dport 7402 drop"),
            ("filter-eats-tcp-ports", WARNINGS, INPUT, "tcp dport { 7400, 8080 } drop"),
        ] {
            named_and_mended(code, exit, |_, host| filter(host, chain, rule));
        }
    }

    fn a_closed_chain_is_named_with_all_that_it_eats() {
        let lab = lab();
        filter(lab.host(0), "type filter hook input priority 0; policy drop;", "ct state established,related accept; iif lo accept; tcp dport 22 accept");
        let told = doctor(lab.host(0));
        assert_eq!(told.code, PROBLEMS);
        for code in [
            "filter-eats-igmp-queries", "filter-eats-multicast", "filter-eats-discovery", "filter-eats-broadcast",
            "filter-eats-relay-port", "filter-eats-tcp-ports",
        ] {
            assert!(told.finding(code)["seen"].to_string().contains("policy of chain here"), "{:#}", told.report);
        }
    }

    fn an_open_firewall_is_no_fault() {
        let lab = lab();
        filter(
            lab.host(0),
            "type filter hook input priority 0; policy drop;",
            "ct state vmap { established : accept, related : accept, invalid : drop }; iif lo accept; ip protocol igmp accept; \
             ip saddr 10.77.0.0/24 udp dport { 7402, 7405, 7406, 20000-32767 } accept; ip saddr 10.77.0.0/24 udp sport 7406 \
             accept; ip saddr 10.77.0.0/24 tcp dport vmap { 7400-7410 : accept, 7480 : accept, 8080 : accept }",
        );
        let told = doctor(lab.host(0));
        assert_eq!((told.code, told.codes()), (WELL, vec![]), "{:#}", told.report);
    }

    fn what_is_healthy_is_told_of_nothing() {
        for (what, plant) in HEALTHY {
            let lab = lab();
            plant(lab.host(0));
            let told = doctor(lab.host(0));
            assert_eq!(told.code, WELL, "{what}: {:#}", told.report);
            let bad = told.findings().iter().filter(|finding| finding["severity"] != "note").count();
            assert_eq!(bad, 0, "{what}: {:#}", told.report);
        }
    }

    fn a_part_of_the_groups_that_is_closed_is_named() {
        for rules in ["udp dport 20001-32767 drop", "ip daddr 239.255.128.0/17 drop"] {
            named_and_mended("filter-eats-multicast", PROBLEMS, |_, host| filter(host, INPUT, rules));
        }
    }

    fn what_may_not_leave_for_a_server_is_named() {
        named_and_mended("filter-eats-sent-tcp", PROBLEMS, |_, host| filter(host, OUTPUT, "tcp dport 7400 drop"));
        named_and_mended("filter-eats-sent-to-relay", WARNINGS, |_, host| filter(host, OUTPUT, "udp dport 7402 drop"));
    }

    fn answers_to_discovery_that_a_filter_eats_are_named() {
        let data = TempDir::new().expect("a temporary folder");
        let lab = lab();
        let server = lab.host(1).start(program("gaung"), &["up", "--headless", "--data", &data.path().display().to_string()]);
        server.stdout_line("registry's address", |line| line.contains("7400"));
        filter(
            lab.host(0),
            "type filter hook input priority 0; policy drop;",
            "ct state established,related accept; iif lo accept; ip protocol igmp accept; udp dport { 7402, 7405, 7406, \
             20000-32767 } accept; tcp dport { 7400-7410, 7480, 8080 } accept",
        );
        let told = doctor(lab.host(0));
        assert_eq!((told.code, told.codes()), (WARNINGS, vec!["filter-eats-discovery-answers"]), "{:#}", told.report);
    }

    fn a_gateway_that_gets_the_multicast_is_named() {
        named_and_mended("multicast-gateway", PROBLEMS, |_, host| host.ip_command("route add 224.0.0.0/4 via 10.77.0.254 dev eth0"));
    }

    fn a_vpn_that_takes_the_own_network_is_named() {
        let lab = lab();
        let host = lab.host(0);
        host.ip_command("link add tun7 type veth peer name office");
        host.ip_command("link set office up");
        host.ip_command("link set tun7 multicast off up");
        host.ip_command("route add 10.77.0.0/25 dev tun7");
        host.ip_command("route add 10.77.0.128/25 dev tun7");
        let told = doctor(host);
        assert!(told.finding("lan-elsewhere")["seen"].to_string().contains("tun7"), "{:#}", told.report);
    }

    fn a_querier_of_another_network_is_not_blamed_on_the_filter() {
        named_and_mended("queries-eaten", PROBLEMS, |lab, host| {
            lab.switch_command("address add 192.168.9.1/24 dev br0");
            lab.switch_command("link set br0 type bridge mcast_query_use_ifaddr 1");
            host.ip_command("route del default");
            sysctl(host, "net.ipv4.conf.all.rp_filter=1");
        });
    }

    fn an_early_end_makes_no_finding() {
        let lab = lab();
        for more in [&["--quick"][..], &["--quick", "--peer"]] {
            let doctor = started(lab.host(0).command(program("gaung")), more);
            if more.len() > 1 {
                doctor.stderr_line("waiting", |line| line.starts_with("waiting for a peer"));
            }
            doctor.signal(nix::sys::signal::Signal::SIGINT);
            let ended = doctor.end();
            // Ended before the signal was watched for, it says nothing.
            if !ended.stdout.is_empty() {
                let told = Told::of(&ended);
                assert_eq!(told.code, WELL, "{:#}", told.report);
            }
        }
    }

    fn what_a_filter_eats_shows_without_reading_its_rules() {
        for (code, chain, rule) in [
            ("multicast-not-heard", INPUT, "udp dport 20000 drop"),
            ("discovery-not-heard", INPUT, "udp dport 7406 drop"),
            ("broadcast-not-heard", INPUT, "udp dport 7405 drop"),
            ("multicast-not-heard", OUTPUT, "udp dport 20000 drop"),
            ("reports-eaten", OUTPUT, "ip protocol igmp drop"),
        ] {
            let lab = lab();
            filter(lab.host(0), chain, rule);
            let told = doctor_without_rules(lab.host(0));
            assert_eq!((told.code, told.codes()), (PROBLEMS, vec![code]), "{:#}", told.report);
        }
    }

    fn queries_that_a_filter_eats_show_without_reading_its_rules() {
        let lab = lab();
        // A general query each second, the least that a bridge does.
        lab.switch_command("link set br0 type bridge mcast_query_interval 100");
        filter(lab.host(0), INPUT, "ip protocol igmp drop");
        let told = doctor_without_rules(lab.host(0));
        assert_eq!((told.code, told.codes()), (PROBLEMS, vec!["queries-eaten"]), "{:#}", told.report);
    }

    fn a_missing_querier_is_named_after_a_whole_query_interval() {
        let lab = Lab::new(1);
        lab.host(0).add_default_route();
        let quick = doctor(lab.host(0));
        assert_eq!((quick.code, quick.codes()), (WELL, vec![]), "{:#}", quick.report);
        let whole = started(lab.host(0).command(program("gaung")), &["--iface", "eth0"]);
        let told = Told::of(&whole.end_within(Duration::from_secs(180)));
        assert_eq!((told.code, told.codes()), (WARNINGS, vec!["no-querier"]), "{:#}", told.report);
    }

    fn a_local_bridge_that_floods_is_noted() {
        for setting in ["mcast_snooping 0", "mcast_snooping 1"] {
            let lab = Lab::new(1);
            bridged(lab.host(0), setting);
            let told = doctor(lab.host(0));
            assert_eq!((told.code, told.codes()), (WELL, vec!["bridge-floods"]), "{:#}", told.report);
            assert_eq!(told.interface("br1")["kind"], "bridge");
        }
    }

    fn a_local_bridge_that_prunes_is_no_fault() {
        let lab = lab();
        bridged(lab.host(0), "mcast_snooping 1 mcast_querier 1");
        let told = doctor(lab.host(0));
        assert_eq!((told.code, told.codes()), (WELL, vec![]), "{:#}", told.report);
    }

    fn a_bridge_port_that_does_not_flood_is_named() {
        named_and_mended("port-does-not-flood", WARNINGS, |_, host| {
            bridged(host, "mcast_snooping 0");
            // Somebody behind another port; this machine's own datagrams do not pass the setting.
            host.ip_command("link add vm0 type veth peer name vm0p");
            host.ip_command("link set vm0p master br1");
            host.ip_command("link set vm0 up");
            host.ip_command("link set vm0p up");
            let port = ["link", "set", "dev", "eth0", "mcast_flood", "off"];
            assert!(host.command("bridge").args(port).status().expect("`bridge` of iproute2").success());
        });
    }

    fn an_interface_that_cannot_be_used_is_named() {
        let lab = lab();
        for wanted in ["eth7", "192.0.2.9"] {
            let told = Told::of(&started(lab.host(0).command(program("gaung")), &["--quick", "--iface", wanted]).end());
            assert_eq!((told.code, told.codes()), (PROBLEMS, vec!["cannot-choose"]), "{:#}", told.report);
        }
    }

    fn two_machines_that_hear_each_other_have_no_findings() {
        let lab = lab();
        lab.host(1).add_default_route();
        for told in with_peer(&lab) {
            assert_eq!((told.code, told.codes()), (WELL, vec![]), "{:#}", told.report);
            for way in passages(&told, "to_peer").iter().chain(passages(&told, "from_peer")) {
                assert_eq!((&way["received"], &way["largest_bytes"]), (&200.into(), &1472.into()), "{way}");
            }
        }
    }

    fn what_a_peer_does_not_hear_is_named_on_both_sides() {
        for (code, rule) in [
            ("peer-multicast-silent", "ip daddr 224.0.0.0/4"),
            ("peer-broadcast-silent", "meta pkttype broadcast"),
            ("peer-unicast-silent", "udp dport 7402"),
        ] {
            let lab = lab();
            lab.host(1).add_default_route();
            // Not on the way of what is looped back on the peer itself.
            lab.host(1).nft(&format!(
                "table netdev planted {{ chain here {{ type filter hook ingress device \"eth0\" priority 0; \
                 ip protocol udp {rule} drop; }}; }}"
            ));
            let [here, there] = with_peer(&lab);
            for (told, way) in [(&here, "to"), (&there, "from")] {
                assert_eq!(told.code, PROBLEMS, "{:#}", told.report);
                let seen = told.finding(code)["seen"].as_str().expect("words");
                assert!(seen.contains(&format!(" {way} 10.77.0.")), "{seen}");
            }
            assert_eq!(here.codes(), [code], "{:#}", here.report);
        }
    }

    fn loss_and_a_small_mtu_between_two_machines_are_named() {
        let lab = lab();
        lab.host(1).add_default_route();
        lab.host(1).lose(200);
        let [here, _] = with_peer(&lab);
        let loses = here.findings().iter().filter(|finding| finding["code"] == "peer-loses").count();
        assert_eq!((here.code, loses), (WARNINGS, 3), "{:#}", here.report);
        lab.host(1).heal();
        // Both ends and the bridge have their usual MTU; only what is on the way has not.
        lab.host(1).nft(
            "table netdev planted { chain here { type filter hook ingress device \"eth0\" priority 0; \
             ip protocol udp ip length > 1400 drop; }; }",
        );
        let [here, _] = with_peer(&lab);
        let cut: Vec<_> = here.findings().iter().filter(|finding| finding["code"] == "peer-cuts").collect();
        assert_eq!((here.code, cut.len()), (WARNINGS, 3), "{:#}", here.report);
        assert!(cut[0]["seen"].as_str().expect("words").contains("up to 1320 B"), "{}", cut[0]);
    }

    fn a_peer_that_does_not_wait_is_named() {
        let lab = lab();
        let told = Told::of(&started(lab.host(0).command(program("gaung")), &["--quick", "--peer", "10.77.0.2"]).end());
        assert_eq!((told.code, told.codes()), (PROBLEMS, vec!["peer-unreached"]), "{:#}", told.report);
    }

    fn a_server_that_takes_plaintext_is_told() {
        for (plaintext, told) in [("loopback", &[][..]), ("any", &["server-takes-plaintext"])] {
            let (lab, data) = (lab(), TempDir::new().expect("a temporary folder"));
            let folder = data.path().display().to_string();
            let args = ["up", "--headless", "--plaintext", plaintext, "--data", &folder];
            let server = lab.host(1).start(program("gaung"), &args);
            server.stdout_line("registry's address", |line| line.contains("7400"));
            let diagnosis = doctor(lab.host(0));
            assert_eq!((diagnosis.code, diagnosis.codes()), (WELL, told.to_vec()), "{:#}", diagnosis.report);
        }
    }

    fn strangers_on_a_groups_address_are_named() {
        strangers_on_a_groups_address();
    }
}

fn strangers_on_a_groups_address() {
    let data = TempDir::new().expect("a temporary folder");
    let lab = lab();
    let path = data.path().display().to_string();
    let server = lab.host(0).start(program("gaung"), &["up", "--headless", "--data", &path]);
    server.stdout_line("registry's address", |line| line.contains("7400"));
    let create = ["group", "create", "lobby", "--address", "239.255.9.9", "--port", "20009", "--data", &path];
    let _ = lab.host(0).start(program("gaung"), &create).end().expect_code(0);
    let quiet = doctor(lab.host(0));
    assert_eq!((quiet.code, quiet.codes()), (WELL, vec![]), "{:#}", quiet.report);

    let done = AtomicBool::new(false);
    let told = thread::scope(|scope| {
        scope.spawn(|| lab.host(1).within(|| shout(SocketAddrV4::new(Ipv4Addr::new(239, 255, 9, 9), 20009), &done)));
        let told = doctor(lab.host(0));
        done.store(true, Ordering::Relaxed);
        told
    });
    let finding = told.finding("foreign-traffic");
    assert_eq!(told.code, WARNINGS);
    let seen = finding["seen"].as_str().expect("words");
    assert!(seen.contains("from 10.77.0.2:") && seen.contains("239.255.9.9:20009 (lobby)"), "{seen}");
}

fn shout(group: SocketAddrV4, done: &AtomicBool) {
    let socket = UdpSocket::bind((Ipv4Addr::new(10, 77, 0, 2), 0)).expect("a free port");
    socket2::SockRef::from(&socket).set_multicast_if_v4(&Ipv4Addr::new(10, 77, 0, 2)).expect("an own address");
    while !done.load(Ordering::Relaxed) {
        socket.send_to(b"somebody else's", group).expect("a datagram can be sent");
        thread::park_timeout(Duration::from_millis(20));
    }
}
