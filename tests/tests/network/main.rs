//! Networks change under running programs: addresses and cards come late, go and come back. Nothing is started again for it.
#![allow(missing_docs)]

mod mtu;
mod talk;

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use gaung_net::{
    interface::{choose, interfaces, select},
    multicast::GroupSocket,
};
use gaung_tests::{
    lab::{INTERFACE, Lab},
    needs,
};
use tempfile::TempDir;

use self::talk::{Talk, start_up};

#[test]
fn a_server_whose_network_comes_late_and_changes_goes_on_by_multicast() {
    needs!(Namespaces);
    let lab = Lab::new(2);
    let (server, member) = (lab.host(0), lab.host(1));
    server.ip_command(&format!("addr flush dev {INTERFACE}"));
    let mut talk = Talk::begin(&lab, &["--iface", INTERFACE]);
    assert!(talk.up.stderr_so_far().join("\n").contains(INTERFACE), "what is waited for is named");
    server.ip_command(&format!("addr add 10.77.0.1/24 broadcast + dev {INTERFACE}"));
    talk.join(member, &[]);
    talk.until_multicast("the network came late");

    // DHCP gives another address.
    server.ip_command(&format!("addr flush dev {INTERFACE}"));
    server.ip_command(&format!("addr add 10.77.0.101/24 broadcast + dev {INTERFACE}"));
    talk.until_multicast("another address");

    // A card is pulled and plugged in again, at the server and at the member; then it has another name.
    for (index, ip) in [(0, "10.77.0.101"), (1, "10.77.0.2")] {
        lab.replug(index);
        lab.host(index).ip_command(&format!("addr add {ip}/24 broadcast + dev {INTERFACE}"));
        talk.until_multicast("a card that was made anew");
    }
    member.ip_command(&format!("link set {INTERFACE} down"));
    member.ip_command(&format!("link set {INTERFACE} name lan0"));
    member.ip_command("link set lan0 up");
    talk.until_multicast("another name");
    // The kernel forgets memberships with the last address, though the same one comes back at once.
    member.ip_command("addr flush dev lan0");
    member.ip_command("addr add 10.77.0.2/24 broadcast + dev lan0");
    talk.until_multicast("an address that was away for a moment");
    talk.check_that_nothing_is_lost();
}

#[test]
fn what_a_link_goes_through_is_over_with_it() {
    needs!(Namespaces);
    let lab = Lab::new(2);
    let mut talk = Talk::begin(&lab, &[]);
    talk.join(lab.host(1), &[]);
    talk.until_multicast("nothing is wrong");
    for (index, port) in [(1, "p2"), (0, "p1")] {
        let host = lab.host(index);
        let (ip, at) = (host.ip(), if index == 0 { "the server" } else { "the member" });
        let address = |change: &str, device: &str| {
            host.ip_command(&format!("addr {change} {ip}/24 broadcast + dev {device}"));
        };
        host.ip_command(&format!("link set {INTERFACE} down"));
        talk.say();
        host.ip_command(&format!("link set {INTERFACE} up"));
        talk.until_multicast(&format!("{at}: down and up"));

        lab.switch_command(&format!("link set {port} down"));
        talk.say();
        lab.switch_command(&format!("link set {port} up"));
        talk.until_multicast(&format!("{at}: the carrier was away"));

        host.ip_command(&format!("addr add fd00::{index}:1/64 dev {INTERFACE}"));
        address("del", INTERFACE);
        talk.say();
        address("add", INTERFACE);
        talk.until_multicast(&format!("{at}: IPv6 alone for a while"));

        host.ip_command("link add br9 type bridge");
        host.ip_command("link set br9 up");
        address("del", INTERFACE);
        host.ip_command(&format!("link set {INTERFACE} master br9"));
        address("add", "br9");
        talk.until_multicast(&format!("{at}: its card is in a bridge"));
        host.ip_command("link del br9");
        address("add", INTERFACE);
        talk.until_multicast(&format!("{at}: the bridge is gone"));
    }
    talk.check_that_nothing_is_lost();
}

#[test]
fn an_interface_that_lost_its_name_is_used_until_another_one_can_be() {
    needs!(Namespaces);
    let lab = Lab::new(2);
    let mut talk = Talk::begin(&lab, &["--iface", INTERFACE]);
    talk.join(lab.host(1), &["--iface", INTERFACE]);
    for index in [1, 0] {
        let host = lab.host(index);
        host.ip_command(&format!("link set {INTERFACE} down"));
        host.ip_command(&format!("link set {INTERFACE} name lan0"));
        host.ip_command("link set lan0 up");
        talk.until_multicast("another name");
        host.ip_command(&format!("link add {INTERFACE} type veth peer name far0"));
        host.ip_command(&format!("link set {INTERFACE} up"));
        host.ip_command("link set far0 up");
        talk.until_multicast("another card has the name, and no address");
    }
    talk.check_that_nothing_is_lost();
}

#[test]
fn an_interface_may_have_several_addresses() {
    needs!(Namespaces);
    let lab = Lab::new(2);
    let (server, member) = (lab.host(0), lab.host(1));
    // The LAN's own address is the second one.
    server.ip_command(&format!("addr flush dev {INTERFACE}"));
    for ip in ["10.50.0.1", "10.77.0.1"] {
        server.ip_command(&format!("addr add {ip}/24 broadcast + dev {INTERFACE}"));
    }
    server.ip_command(&format!("route add default via 10.77.0.254 dev {INTERFACE} onlink"));
    let mut talk = Talk::begin(&lab, &[]);
    talk.join(member, &[]);
    talk.until_multicast("two addresses");
    // A receipt counts who reports itself to the relay's UDP port.
    talk.until_receipt(server, "heard by 3 of 3");

    // Multicast leaves from the address in the default gateway's network, and who joins now asks at the other one.
    server.ip_command(&format!("route replace default via 10.50.0.254 dev {INTERFACE} onlink"));
    talk.up
        .stderr_line("where multicast leaves", |line| line.contains("multicast leaves here") && line.contains("10.50"));
    talk.listen(member, &["lobby", "--lane", "multicast", "--server", "10.77.0.1"]);
    talk.until_multicast("another default gateway");

    // The first address goes.
    member.ip_command(&format!("addr add 10.50.0.2/24 broadcast + dev {INTERFACE}"));
    server.ip_command(&format!("addr del 10.77.0.1/24 dev {INTERFACE}"));
    talk.until_multicast("one address less");
    server.ip_command(&format!("addr add 10.77.0.1/24 broadcast + dev {INTERFACE}"));
    talk.until_multicast("and it is back");
    talk.check_that_nothing_is_lost();
}

#[test]
fn members_in_the_first_and_in_the_last_of_many_networks_hear_by_multicast() {
    needs!(Namespaces);
    let lab = Lab::new(3);
    for number in 1..25 {
        let name = format!("n{number}");
        lab.host(0).ip_command(&format!("link add {name} type veth peer name e{number}"));
        lab.host(0).ip_command(&format!("link set e{number} up"));
        lab.host(0).ip_command(&format!("link set {name} up"));
        lab.host(0).ip_command(&format!("addr add 10.100.{number}.1/24 broadcast + dev {name}"));
    }
    lab.cable((0, "n25"), (2, "lan0"));
    lab.host(0).ip_command("addr add 10.100.25.1/24 broadcast + dev n25");
    lab.host(2).ip_command(&format!("link set {INTERFACE} down"));
    lab.host(2).ip_command("addr add 10.100.25.2/24 broadcast + dev lan0");
    let mut talk = Talk::begin(&lab, &[]);
    talk.join(lab.host(1), &[]);
    talk.join(lab.host(2), &[]);
    talk.until_multicast("26 networks");
    talk.until_receipt(lab.host(0), "heard by 6 of 6");
    // The last one goes and comes.
    lab.host(0).ip_command("link set n25 down");
    talk.say();
    lab.host(0).ip_command("link set n25 up");
    talk.until_multicast("the last network was away");
    talk.check_that_nothing_is_lost();
}

#[test]
fn more_networks_than_memberships_of_one_socket() {
    needs!(Namespaces);
    let lab = Lab::new(1);
    for number in 1..=45 {
        // Not every kernel has dummy interfaces.
        lab.host(0).ip_command(&format!("link add d{number} type veth peer name e{number}"));
        lab.host(0).ip_command(&format!("link set d{number} up"));
        lab.host(0).ip_command(&format!("link set e{number} up"));
        lab.host(0).ip_command(&format!("addr add 10.100.{number}.1/24 dev d{number}"));
    }
    lab.host(0).ip_command("route add 239.0.0.0/8 dev d45");
    lab.host(0).within(|| {
        let links = choose(&interfaces().expect("interfaces"), None).expect("links").links;
        assert_eq!(links.len(), 46);
        let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 71, 99), 20_199);
        let socket = GroupSocket::open(group, &links).expect("joined");
        assert!(socket.failed().is_empty(), "{:?}", socket.failed());
        // Looped back on the last one, for which two sockets have no room.
        let sender = UdpSocket::bind("10.100.45.1:0").expect("a socket");
        let heard = |socket: &GroupSocket| {
            sender.send_to(b"halo", group).expect("sent");
            let begun = Instant::now();
            while !socket.has_datagram() && begun.elapsed() < Duration::from_secs(5) {
                thread::yield_now();
            }
            socket.has_datagram()
        };
        assert!(heard(&socket));
        let mut socket = GroupSocket::open(group, &links).expect("joined a second time");
        let one = select(&interfaces().expect("interfaces"), &["d45".to_owned()]).links;
        socket.relink(&one);
        socket.relink(&[]);
        socket.relink(&one);
        assert!(socket.failed().is_empty() && heard(&socket), "{:?}", socket.failed());
    });
}

#[test]
fn a_name_that_no_interface_has_is_told() {
    needs!(Namespaces);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(1);
    let up = start_up(lab.host(0), data.path(), &["--iface", "eht0"]);
    let said = up.stderr_so_far().join("\n");
    assert!(said.contains("\"eht0\"") && said.contains("eth0 (10.77.0.1)"), "{said}");
}
