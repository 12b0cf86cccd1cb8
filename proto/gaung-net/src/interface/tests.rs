#![allow(clippy::unwrap_used)]

use nix::net::if_::InterfaceFlags;

use super::{
    list::{SysfsFacts, role},
    *,
};

pub(super) fn interface(name: &str, index: u32, address: &str, role: Role) -> Interface {
    let addresses = match address.split_once('/') {
        Some((ip, bits)) => {
            let bits: u32 = bits.parse().unwrap();
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            vec![InterfaceAddr { ip: ip.parse().unwrap(), netmask: Ipv4Addr::from_bits(mask), broadcast: None }]
        }
        None => Vec::new(),
    };
    let many = !matches!(role, Role::Loopback | Role::Vpn);
    Interface {
        name: name.to_owned(),
        index,
        addresses,
        up: true,
        running: true,
        multicast: role != Role::Loopback,
        broadcast: many,
        role,
        mtu: if role == Role::Loopback { 65_536 } else { 1500 },
        renewals: 0,
    }
}

/// As recorded on a laptop with Docker, a compose network and a VPN.
fn laptop() -> Vec<Interface> {
    vec![
        interface("lo", 1, "127.0.0.1/8", Role::Loopback),
        Interface { running: false, ..interface("enp3s0", 2, "", Role::Wired) },
        interface("wlp2s0", 3, "192.168.43.17/23", Role::Wifi),
        Interface { running: false, ..interface("docker0", 4, "172.17.0.1/16", Role::Container) },
        interface("br-1f2e3d4c5b6a", 5, "172.18.0.1/16", Role::Container),
        interface("veth12ab34c", 6, "", Role::Container),
        interface("wg0", 7, "10.8.0.2/24", Role::Vpn),
        Interface { up: false, running: false, ..interface("eth9", 8, "10.9.9.9/24", Role::Wired) },
        Interface { multicast: false, ..interface("ib0", 9, "10.7.7.7/24", Role::Wired) },
    ]
}

fn names(chosen: &ChosenLinks) -> Vec<&str> {
    chosen.links.iter().map(|l| l.name.as_str()).collect()
}

fn without(names: &[&str]) -> Vec<Interface> {
    laptop().into_iter().filter(|i| !names.contains(&i.name.as_str())).collect()
}

#[test]
fn by_role_the_lan_alone() {
    let chosen = choose(&laptop(), None).unwrap();
    assert_eq!((names(&chosen), chosen.fallback), (vec!["wlp2s0"], None));
}

#[test]
fn every_lan_when_there_are_several() {
    let mut list = laptop();
    list.push(interface("eth1", 20, "10.0.0.1/8", Role::Wired));
    list.push(interface("br0", 21, "10.200.0.1/16", Role::Bridge));
    assert_eq!(names(&choose(&list, None).unwrap()), ["wlp2s0", "eth1", "br0"]);
}

#[test]
fn second_choices_only_when_nothing_else_is_left() {
    let chosen = choose(&without(&["wlp2s0"]), None).unwrap();
    assert_eq!(
        (names(&chosen), chosen.fallback),
        (vec!["br-1f2e3d4c5b6a", "wg0"], Some(InterfaceFallback::ContainerOrVpn))
    );
    let chosen = choose(&without(&["wlp2s0", "br-1f2e3d4c5b6a", "wg0"]), None).unwrap();
    assert_eq!((names(&chosen), chosen.fallback), (vec!["lo"], Some(InterfaceFallback::Loopback)));
    assert_eq!(choose(&[], None), Err(ChooseError::Nothing));
}

#[test]
fn by_flag_whatever_the_role() {
    for (wanted, name) in [("lo", "lo"), ("127.0.0.1", "lo"), ("10.8.0.2", "wg0"), ("docker0", "docker0")] {
        let chosen = choose(&laptop(), Some(wanted)).unwrap();
        assert_eq!((names(&chosen), chosen.fallback), (vec![name], None), "{wanted}");
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    let error = |wanted: &str| choose(&laptop(), Some(wanted)).unwrap_err();
    assert_eq!(error("eth9"), ChooseError::Down("eth9".to_owned()));
    assert_eq!(error("ib0"), ChooseError::CannotMulticast("ib0".to_owned()));
    assert_eq!(error("enp3s0"), ChooseError::NoAddress("enp3s0".to_owned()));
    let text = error("eth7").to_string();
    assert!(text.contains("\"eth7\"") && text.contains("wlp2s0 (192.168.43.17)") && text.contains("enp3s0"), "{text}");
    assert!(matches!(error("10.1.2.3"), ChooseError::NoSuch { .. }));
}

#[test]
fn broadcast_follows_the_real_mask() {
    let link = |list: &[Interface], name: &str| choose(list, Some(name)).unwrap().links.remove(0);
    assert_eq!(link(&laptop(), "wlp2s0").broadcast(), Some(Ipv4Addr::new(192, 168, 43, 255)));
    assert_eq!(link(&laptop(), "wg0").broadcast(), None);
    assert_eq!(Link::loopback().broadcast(), Some(Ipv4Addr::new(127, 255, 255, 255)));
    for bits in [31, 32] {
        let list = [interface("eth0", 2, &format!("10.0.0.2/{bits}"), Role::Wired)];
        assert_eq!(link(&list, "eth0").broadcast(), None);
    }
    let wifi = link(&laptop(), "wlp2s0");
    assert!(wifi.contains(Ipv4Addr::new(192, 168, 42, 1)) && !wifi.contains(Ipv4Addr::new(192, 168, 44, 1)));
}

#[test]
fn roles_come_from_flags_sysfs_and_names() {
    let (none, up) = (SysfsFacts::default(), InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST);
    assert_eq!(role("lo", up | InterfaceFlags::IFF_LOOPBACK, &none), Role::Loopback);
    assert_eq!(role("eth0", up, &none), Role::Wired);
    assert_eq!(role("eth0", up, &SysfsFacts { bridge_port: true, ..none }), Role::Container);
    assert_eq!(role("br0", up, &SysfsFacts { bridge: true, ..none }), Role::Bridge);
    assert_eq!(role("br-0123456789ab", up, &SysfsFacts { bridge: true, ..none }), Role::Container);
    for person in ["br-lan", "br-ex", "br-dead", "br-0123456789abc"] {
        assert_eq!(role(person, up, &SysfsFacts { bridge: true, ..none }), Role::Bridge, "{person}");
    }
    for inner in ["flannel.1", "kube-ipvs0", "dummy0", "cali0123"] {
        assert_eq!(role(inner, up, &none), Role::Container, "{inner}");
    }
    assert_eq!(role("wlan0", up, &SysfsFacts { wireless: true, ..none }), Role::Wifi);
    assert_eq!(role("office", up, &SysfsFacts { tunnel: true, ..none }), Role::Vpn);
    assert_eq!(role("tailscale0", up | InterfaceFlags::IFF_POINTOPOINT, &none), Role::Vpn);
}

#[test]
fn facts_are_read_from_a_sysfs_tree() {
    let root = tempfile::tempdir().unwrap();
    let facts = |name: &str, file: &str, text: &str| {
        std::fs::create_dir_all(root.path().join(name)).unwrap();
        std::fs::write(root.path().join(name).join(file), text).unwrap();
        SysfsFacts::read(root.path(), name)
    };
    assert!(facts("wg7", "uevent", "DEVTYPE=wireguard\nINTERFACE=wg7\n").tunnel);
    assert!(facts("t", "tun_flags", "0x1001\n").tunnel);
    assert!(
        facts("v", "brport", "").bridge_port && facts("b", "bridge", "").bridge && facts("w", "phy80211", "").wireless
    );
    assert_eq!(SysfsFacts::read(root.path(), "absent"), SysfsFacts::default());
}

#[test]
fn this_machine_has_loopback() {
    let list = interfaces().unwrap();
    let chosen = choose(&list, Some("127.0.0.1")).unwrap();
    assert_eq!(chosen.links[0].role, Role::Loopback);
    assert_eq!(
        chosen.links[0],
        Link { name: chosen.links[0].name.clone(), index: chosen.links[0].index, ..Link::loopback() }
    );
}

#[test]
fn all_addresses_of_an_interface_are_used() {
    let mut eth0 = interface("eth0", 2, "10.50.0.1/24", Role::Wired);
    eth0.addresses.push(interface("", 0, "10.77.0.1/24", Role::Wired).addresses[0]);
    let ips = |chosen: &ChosenLinks| chosen.links[0].addresses().map(|a| a.ip.to_string()).collect::<Vec<_>>();
    let by_name = |eth0: &Interface| choose(std::slice::from_ref(eth0), None).unwrap();
    assert_eq!(ips(&by_name(&eth0)), ["10.50.0.1", "10.77.0.1"]);
    eth0.addresses.reverse();
    let chosen = by_name(&eth0);
    assert_eq!((ips(&chosen), chosen.links.len()), (vec!["10.77.0.1".to_owned(), "10.50.0.1".to_owned()], 1));
    assert!(chosen.links[0].contains(Ipv4Addr::new(10, 50, 0, 9)));
    let each: Vec<_> = chosen.links[0].each_address().map(|link| link.broadcast().unwrap().to_string()).collect();
    assert_eq!(each, ["10.77.0.255", "10.50.0.255"]);
    let one = choose(&[eth0.clone()], Some("10.50.0.1")).unwrap();
    assert_eq!(ips(&one), ["10.50.0.1"], "who asks for one address gets it alone");
    let wishes = ["10.50.0.1", "eth0", "eth9"].map(str::to_owned);
    let selection = select(&[eth0], &wishes);
    assert_eq!((selection.links.len(), selection.links[0].others.len(), selection.missing.len()), (1, 1, 1));
}

#[test]
fn gateways_are_read_from_the_table_of_routes() {
    let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 eth0\t00000000\t0100A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
                 eth0\t00000000\tFE00A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                 eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
                 tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\nrubbish\n";
    let gateways = list::gateways(table);
    if cfg!(target_endian = "little") {
        assert_eq!(gateways.into_iter().collect::<Vec<_>>(), [("eth0".to_owned(), Ipv4Addr::new(192, 168, 0, 254))]);
    }
}

#[test]
fn datagrams_are_as_long_as_the_narrowest_link_carries() {
    let link = |mtu| Link { mtu, ..Link::loopback() };
    assert_eq!(data_body(&[]), 1256);
    assert_eq!(data_body(&[link(65_536), link(1500)]), 1256);
    assert_eq!(data_body(&[link(1348)]), 1256);
    assert_eq!(data_body(&[link(1500), link(1280)]), 1188);
    assert_eq!(data_body(&[link(68)]), MIN_DATA_BODY);
}
