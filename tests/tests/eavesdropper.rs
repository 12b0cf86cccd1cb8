//! Who records the server's network reads open groups, and of a private one nothing; who takes the server's address learns nothing either.
#![allow(missing_docs)]

use gaung_tests::{
    lab::{Host, INTERFACE, Lab},
    needs,
    programs::program,
    tcpdump::{Recording, holds},
};
use serde_json::Value;
use tempfile::TempDir;

const OPEN_WORDS: &[u8] = b"kabar terbuka";
const PRIVATE_NAME: &str = "rapat-tertutup";
const PRIVATE_WORDS: [&str; 3] = ["kunci brankas", "di bawah pot", "jangan bilang"];

#[test]
fn of_a_private_group_nothing_can_be_read_on_the_wire() {
    needs!(Namespaces, Tcpdump);
    let (lab, data) = (Lab::new(3), TempDir::new().expect("a temporary folder"));
    lab.start_querier();
    let (server, far, near) = (lab.host(0), lab.host(1), lab.host(2));
    let recording = Recording::start(server, data.path().join("wire.pcap"), "");
    let folder = |name: &str| data.path().join(name).display().to_string();
    let up = server.start(program("gaung"), &["up", "--headless", "--data", &folder("server")]);
    let site = up.stdout_line("the site's code", |line| line.starts_with("site"));
    let code = site.split_whitespace().last().expect("a code").to_owned();
    up.stdout_line("registry's address", |line| line.contains("7400"));
    // Nobody is told where the server is: it is found by discovery.
    let gaung = |host: &Host, name: &str, args: &[&str]| {
        host.start(program("gaung"), &[args, &["--name", name, "--data", &folder(name)]].concat())
    };

    let made = gaung(far, "Srikandi", &["group", "create", PRIVATE_NAME, "--private", "--json"]).end().expect_code(0);
    let first_contact: Vec<_> = made.stderr.iter().filter(|line| line.contains(&code)).collect();
    assert_eq!(first_contact.len(), 1, "one line with the site's code: {:?}", made.stderr);
    let group: Value = serde_json::from_str(&made.stdout[0]).expect("a JSON line");
    let id = bytes_of_hex(group["id"].as_str().expect("an id"));
    let invited = gaung(far, "Srikandi", &["group", "invite", PRIVATE_NAME]).end().expect_code(0);
    assert!(!invited.stderr.iter().any(|line| line.contains(&code)), "the site is known now: {:?}", invited.stderr);
    let invite = invited.stdout[0].clone();
    let _ = gaung(near, "Gatotkaca", &["group", "join", "--invite", &invite]).end().expect_code(0);

    let count = PRIVATE_WORDS.len().to_string();
    let listener = gaung(near, "Gatotkaca", &["listen", PRIVATE_NAME, "--count", &count]);
    listener.stderr_line("ready line", |line| line.contains("listening to"));
    for words in PRIVATE_WORDS {
        let _ = gaung(far, "Srikandi", &["send", PRIVATE_NAME, words]).end().expect_code(0);
    }
    let heard = listener.end().expect_code(0).stdout.join("\n");
    let read = gaung(near, "Gatotkaca", &["history", PRIVATE_NAME]).end().expect_code(0).stdout.join("\n");
    for words in PRIVATE_WORDS {
        assert!(heard.contains(words) && read.contains(words), "{words}: {heard} {read}");
    }
    let status = gaung(near, "Gatotkaca", &["status", "--json"]).end().expect_code(0).stdout;
    assert!(status[0].contains(r#""encrypted":true"#), "{status:?}");

    let open = std::str::from_utf8(OPEN_WORDS).expect("they are text");
    let _ = gaung(far, "Arjuna", &["send", "everyone", open]).end().expect_code(0);
    let wire = recording.end_after(OPEN_WORDS);

    assert!(holds(&wire, b"Arjuna"), "an open group's author is to be read");
    let hidden = PRIVATE_WORDS.into_iter().chain([PRIVATE_NAME, "Srikandi", "Gatotkaca", &invite]);
    for hidden in hidden {
        assert!(!holds(&wire, hidden.as_bytes()), "{hidden:?} is to be read");
    }
    // Each ticket names its group.
    assert!(!holds(&wire, &id), "the group's id is to be read");
}

/// The address is taken as on any network: the server is silent, and another machine answers for it, by ARP too.
#[test]
fn another_site_at_the_servers_address_learns_nothing() {
    needs!(Namespaces, Tcpdump);
    let (lab, data) = (Lab::new(3), TempDir::new().expect("a temporary folder"));
    let (server, client, rogue) = (lab.host(0), lab.host(1), lab.host(2));
    let folder = |name: &str| data.path().join(name).display().to_string();
    let start = |host: &Host, name: &str| {
        let up = host.start(program("gaung"), &["up", "--headless", "--data", &folder(name)]);
        let site = up.stdout_line("the site's code", |line| line.starts_with("site"));
        up.stdout_line("registry's address", |line| line.contains("7400"));
        (up, site.split_whitespace().last().expect("a code").to_owned())
    };
    let address = server.ip().to_string();
    let gaung = |name: &str, args: &[&str]| {
        client
            .start(program("gaung"), &[args, &["--name", name, "--data", &folder(name), "--server", &address]].concat())
    };
    let (up, code) = start(server, "server");
    let _ = gaung("Srikandi", &["group", "create", PRIVATE_NAME, "--private"]).end().expect_code(0);
    let invite = gaung("Srikandi", &["group", "invite", PRIVATE_NAME]).end().expect_code(0).stdout[0].clone();
    let _ = gaung("Gatotkaca", &["status"]).end().expect_code(0);

    server.ip_command(&format!("link set {INTERFACE} down"));
    rogue.ip_command(&format!("addr add {address}/24 broadcast + dev {INTERFACE}"));
    // With the notice the kernel announces its addresses by ARP when the card's own changes: the client's table has the other machine then.
    let notice = format!("echo 1 > /proc/sys/net/ipv4/conf/{INTERFACE}/arp_notify");
    let _ = rogue.start("sh", &["-c", &notice]).end().expect_code(0);
    rogue.ip_command(&format!("link set {INTERFACE} address 02:00:00:00:00:66"));
    let recording = Recording::start(rogue, data.path().join("rogue.pcap"), "");
    let (other_up, other_code) = start(rogue, "rogue");

    let attempts: [(&str, &[&str]); 4] = [
        ("Gatotkaca", &["group", "join", "--invite", &invite]),
        ("Srikandi", &["send", PRIVATE_NAME, PRIVATE_WORDS[0]]),
        ("Srikandi", &["history", PRIVATE_NAME]),
        ("Srikandi", &["group", "members", PRIVATE_NAME]),
    ];
    for (name, args) in attempts {
        let said = gaung(name, args).end().expect_code(8).stderr.join("\n");
        assert!(said.contains(&code) && said.contains(&other_code), "{args:?}: {said}");
    }
    // Somebody who knows neither site is deceived: the recording is of what was sent to the other one.
    let open = std::str::from_utf8(OPEN_WORDS).expect("they are text");
    let _ = gaung("Arjuna", &["send", "everyone", open]).end().expect_code(0);
    let wire = recording.end_after(OPEN_WORDS);
    for hidden in [&invite, PRIVATE_NAME, PRIVATE_WORDS[0], "Srikandi", "Gatotkaca"] {
        assert!(!holds(&wire, hidden.as_bytes()), "{hidden:?} was sent to the other site");
    }
    drop((up, other_up));
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).expect("hexadecimal digits");
    digits.chunks(2).map(byte).collect()
}
