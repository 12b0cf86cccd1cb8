//! Networks change under running programs: addresses and cards come late, go and come back. Nothing is started again for it.
#![allow(missing_docs)]

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use gaung_net::{
    interface::{choose, interfaces, select},
    multicast::GroupSocket,
};
use gaung_tests::{
    lab::{Host, INTERFACE, Lab},
    process::Process,
    programs::program,
    requires::{self, Need},
};
use serde_json::Value;
use tempfile::TempDir;

/// Within this multicast must be back, on a machine that does much else.
const BACK: Duration = Duration::from_secs(40);

#[test]
fn a_server_whose_network_comes_late_and_changes_goes_on_by_multicast() {
    if !requires::has("a_server_whose_network_comes_late_and_changes", &[Need::Namespaces]) {
        return;
    }
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(2);
    let (server, member) = (lab.host(0), lab.host(1));
    server.ip_command(&format!("addr flush dev {INTERFACE}"));
    let up = start_up(server, data.path(), &["--iface", INTERFACE]);
    assert!(up.stderr_so_far().join("\n").contains(INTERFACE), "what is waited for is named");
    let here = |args: &[&str]| gaung(server, data.path(), &[args, &["--server", "127.0.0.1"]].concat());
    let _ = here(&["group", "create", "lobby"]).end().expect_code(0);
    server.ip_command(&format!("addr add 10.77.0.1/24 broadcast + dev {INTERFACE}"));

    // Found by discovery, so that it is found again at another address.
    let listen = ["listen", "lobby", "--lane", "multicast", "--json"];
    let listener = gaung(member, &data.path().join("member"), &listen);
    listener.stderr_line("ready line", |line| line.starts_with("listening to lobby"));
    let mut talk = Talk { listener: &listener, said: 0, say: &here };
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
fn an_interface_may_have_several_addresses() {
    if !requires::has("an_interface_may_have_several_addresses", &[Need::Namespaces]) {
        return;
    }
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(2);
    let (server, member) = (lab.host(0), lab.host(1));
    // The LAN's own address is the second one.
    server.ip_command(&format!("addr flush dev {INTERFACE}"));
    for ip in ["10.50.0.1", "10.77.0.1"] {
        server.ip_command(&format!("addr add {ip}/24 broadcast + dev {INTERFACE}"));
    }
    server.ip_command(&format!("route add default via 10.77.0.254 dev {INTERFACE} onlink"));
    let _up = start_up(server, data.path(), &[]);
    let here = |args: &[&str]| gaung(server, data.path(), &[args, &["--server", "127.0.0.1"]].concat());
    let _ = here(&["group", "create", "lobby"]).end().expect_code(0);
    let listen = ["listen", "lobby", "--lane", "multicast", "--json", "--server", "10.77.0.1"];
    let listener = gaung(member, &data.path().join("member"), &listen);
    listener.stderr_line("ready line", |line| line.starts_with("listening to lobby"));
    let mut talk = Talk { listener: &listener, said: 0, say: &here };
    talk.until_multicast("two addresses");
    // A receipt counts who reports itself to the relay's UDP port.
    let heard = |line: &String| line.contains("heard by 1 of 1");
    let send = || here(&["send", "lobby", "siapa dengar?", "--receipts"]).end().expect_code(0).stdout;
    assert!((0..20).any(|_| send().iter().any(heard)), "the member's reports do not arrive");
}

#[test]
fn more_networks_than_memberships_of_one_socket() {
    if !requires::has("more_networks_than_memberships_of_one_socket", &[Need::Namespaces]) {
        return;
    }
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
    if !requires::has("a_name_that_no_interface_has_is_told", &[Need::Namespaces]) {
        return;
    }
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(1);
    let up = start_up(lab.host(0), data.path(), &["--iface", "eht0"]);
    let said = up.stderr_so_far().join("\n");
    assert!(said.contains("\"eht0\"") && said.contains("eth0 (10.77.0.1)"), "{said}");
}

/// Messages to one listener, one after the other.
struct Talk<'a> {
    listener: &'a Process,
    said: usize,
    say: &'a dyn Fn(&[&str]) -> Process,
}

impl Talk<'_> {
    /// Says something until it came by multicast.
    fn until_multicast(&mut self, after: &str) {
        let begun = Instant::now();
        loop {
            self.said += 1;
            let text = format!("pesan {}", self.said);
            let _ = (self.say)(&["send", "lobby", &text]).end().expect_code(0);
            let lane = |line: &String| {
                let message: Value = serde_json::from_str(line).unwrap_or_default();
                (message["text"] == *text).then(|| message["lane"].clone())
            };
            let heard = self.listener.stdout_so_far().iter().rev().find_map(lane);
            if heard.is_some_and(|lane| lane == "multicast") {
                return;
            }
            assert!(begun.elapsed() < BACK, "{after}: not heard by multicast: {:?}", self.listener.stdout_so_far());
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// What did not come by multicast was read from the log.
    fn check_that_nothing_is_lost(&self) {
        let texts: Vec<_> = (1..=self.said).map(|number| format!("pesan {number}")).collect();
        let last = texts.last().expect("something was said").clone();
        self.listener.stdout_line("the last message", |line| line.contains(&last));
        let lines = self.listener.stdout_so_far();
        let messages = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let heard: Vec<_> = messages.filter_map(|message| Some(message["text"].as_str()?.to_owned())).collect();
        assert_eq!(heard, texts);
    }
}

fn start_up(host: &Host, data: &Path, flags: &[&str]) -> Process {
    let data = data.join("server").display().to_string();
    let server = host.start(program("gaung"), &[&["up", "--headless", "--data", &data], flags].concat());
    server.stdout_line("registry's address", |line| line.contains("7400"));
    server
}

fn gaung(host: &Host, data: &Path, args: &[&str]) -> Process {
    let data = data.join("client").display().to_string();
    host.start(program("gaung"), &[args, &["--data", &data]].concat())
}
