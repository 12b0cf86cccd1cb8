//! Several machines on one LAN, made of network namespaces: what is sent once leaves once, and nobody types an address.
#![allow(missing_docs)]

use std::{collections::BTreeSet, path::Path};

use gaung_proto::datagram::{PacketType, flags};
use gaung_tests::{
    capture::{Capture, Sent},
    lab::{Host, Lab},
    needs,
    process::Process,
    programs::program,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const MESSAGES: usize = 1000;

#[test]
fn a_message_leaves_once_for_one_member() {
    needs!(Namespaces);
    leaves_once(1);
}

#[test]
fn a_message_leaves_once_for_six_members() {
    needs!(Namespaces);
    leaves_once(6);
}

#[test]
fn a_second_machine_needs_no_address() {
    needs!(Namespaces);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(2);
    lab.start_querier();
    let _server = up(lab.host(0), data.path());
    // On the second machine no command says where the services are.
    let there = |args: &[&str]| gaung(lab.host(1), &data.path().join("second"), args);
    let _ = there(&["group", "create", "lobby"]).end().expect_code(0);
    let listener = there(&["listen", "lobby", "--lane", "multicast", "--json", "--count", "1"]);
    listener.stderr_line("ready line", |line| line == "listening to lobby from seq 1 by multicast");
    let sent = gaung(lab.host(0), data.path(), &["send", "lobby", "halo", "semua"]).end().expect_code(0);
    assert_eq!(sent.stdout, ["1"]);
    let heard: Value = serde_json::from_str(&listener.end().expect_code(0).stdout[0]).expect("a JSON line");
    assert_eq!((&heard["text"], &heard["lane"]), (&"halo semua".into(), &"multicast".into()));
}

#[test]
fn of_two_servers_a_person_chooses_and_a_script_has_to_say() {
    needs!(Namespaces);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(3);
    let _servers = [0, 1].map(|host| up(lab.host(host), &data.path().join(host.to_string())));
    let there = |args: &[&str]| gaung(lab.host(2), &data.path().join("third"), args).end();
    let unsure = there(&["group", "list"]).expect_code(2);
    for host in [0, 1] {
        let server = format!("{}:7400", lab.host(host).ip());
        assert!(unsure.stderr.iter().any(|line| line.contains(&server)), "{server}: {:?}", unsure.stderr);
        let _ = there(&["--server", &server, "group", "list"]).expect_code(0);
    }
}

#[test]
fn a_page_by_http_from_another_machine_is_for_open_groups() {
    needs!(Namespaces);
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(2);
    let folder = data.path().display().to_string();
    let flags = ["up", "--headless", "--plaintext", "loopback", "--data", &folder];
    let server = lab.host(0).start(program("gaung"), &flags);
    server.stdout_line("the page's address", |line| line.contains("7480"));
    let api = format!("http://{}:7480/api", lab.host(0).ip());
    // Each with connections of its own, or the second machine's would be used again on the first.
    let agent = || ureq::Agent::from(ureq::Agent::config_builder().http_status_as_error(false).build());
    let answer = |sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>| {
        let mut answer = sent.expect("the page answers");
        (answer.status().as_u16(), answer.body_mut().read_to_string().expect("an answer in words"))
    };
    let signature = json!({ "public_key": "07", "nonce": "07", "signature": "07" });
    let private = json!({
        "request_id": "07".repeat(16), "name": "rapat", "private": true, "member_name": "Eve", "signature": signature,
    });
    let redeemed = json!({ "code": "x", "signature": signature });
    let everyone = "00000000-0000-0000-0000-000000000000";
    let ask = || {
        let post = |path: &str, body: &Value| {
            answer(agent().post(format!("{api}{path}")).content_type("application/json").send(body.to_string()))
        };
        [
            post("/groups", &private),
            post("/invites/redeem", &redeemed),
            answer(agent().get(format!("{api}/groups/{everyone}/history?before=9&limit=9&ticket=07")).call()),
        ]
    };
    for (status, words) in lab.host(1).within(ask) {
        assert_eq!(status, 403, "{words}");
        assert!(words.contains("need HTTPS") && words.contains(r#""reason":"https""#), "{words}");
    }
    for (status, words) in lab.host(0).within(ask) {
        assert!(!words.contains("HTTPS"), "nobody hears what stays on the machine: {status} {words}");
    }
    let (status, words) = lab.host(1).within(|| answer(agent().get(format!("{api}/groups")).call()));
    assert!(status == 200 && words.contains("everyone"), "{status} {words}");
}

/// 1 000 messages of 1 KiB, each after the one before is acknowledged, to `members` machines.
fn leaves_once(members: u8) {
    let data = TempDir::new().expect("a temporary folder");
    let lab = Lab::new(members + 1);
    let relay = lab.host(0);
    let _server = up(relay, data.path());
    let _ = gaung(relay, data.path(), &["group", "create", "lobby"]).end().expect_code(0);
    let count = MESSAGES.to_string();
    let listen = ["listen", "lobby", "--lane", "multicast", "--json", "--count", &count];
    let listeners: Vec<_> = (1..=usize::from(members))
        .map(|member| gaung(lab.host(member), &data.path().join(member.to_string()), &listen))
        .collect();
    for listener in &listeners {
        listener.stderr_line("ready line", |line| line.starts_with("listening to lobby"));
    }

    let capture = Capture::start(relay);
    send_one_by_one(relay, data.path());
    for listener in listeners {
        let lines = listener.end().expect_code(0).stdout;
        check_heard(&lines);
    }
    check_sent(&capture.finish());
}

fn send_one_by_one(relay: &Host, data: &Path) {
    let mut sender = gaung(relay, data, &["send", "lobby", "-"]);
    let words = "x".repeat(1024);
    for seq in 1..=MESSAGES {
        sender.write(format!("{words}\n"));
        assert_eq!(sender.stdout_lines(seq).last(), Some(&seq.to_string()));
    }
    let _ = sender.end().expect_code(0);
}

fn check_heard(lines: &[String]) {
    assert_eq!(lines.len(), MESSAGES);
    for (index, line) in lines.iter().enumerate() {
        let message: Value = serde_json::from_str(line).expect("a JSON line");
        assert_eq!(message["seq"], index + 1);
        assert_eq!(message["lane"], "multicast", "seq {}", index + 1);
    }
}

/// Exactly one DATA datagram without the repair flag for each message, and their pkts without a hole.
fn check_sent(sent: &[Sent]) {
    let headers: Vec<_> =
        sent.iter().filter(|sent| sent.to.ip().is_multicast() && is_ours(sent)).map(Sent::header).collect();
    let tags: BTreeSet<u64> =
        headers.iter().filter(|header| header.packet_type == PacketType::Data).map(|header| header.tag.0).collect();
    assert_eq!(tags.len(), 1, "DATA of one group");
    let first: Vec<_> = headers
        .iter()
        .filter(|header| header.packet_type == PacketType::Data && !header.has(flags::REPAIR))
        .map(|header| (header.seq.0, u64::from(header.pkt.0)))
        .collect();
    let expected: Vec<_> = (1..=MESSAGES as u64).map(|seq| (seq, seq)).collect();
    assert_eq!(first.len(), MESSAGES, "DATA without the repair flag");
    assert_eq!(first, expected);
}

/// Other programs' datagrams, such as discovery's questions, begin otherwise.
fn is_ours(sent: &Sent) -> bool {
    sent.payload.starts_with(b"GA")
}

fn up(host: &Host, data: &Path) -> Process {
    let data = data.join("server").display().to_string();
    let server = host.start(program("gaung"), &["up", "--headless", "--data", &data]);
    server.stdout_line("registry's address", |line| line.contains("7400"));
    server
}

fn gaung(host: &Host, data: &Path, args: &[&str]) -> Process {
    let data = data.join("client").display().to_string();
    host.start(program("gaung"), &[args, &["--data", &data]].concat())
}
