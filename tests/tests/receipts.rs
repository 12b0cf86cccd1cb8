//! Who has heard: members by multicast, by TCP and by a bare text session in one receipt, also when some are killed.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Instant,
};

use gaung_tests::{
    deployment::{Person, Up},
    process::PATIENCE,
    services::{Service, Services},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

#[test]
fn every_lane_is_in_the_receipt_and_the_killed_are_missing_then_absent() {
    let up = Up::start(&[]);
    let (ani, budi, citra, doni) = (up.person("ani"), up.person("budi"), up.person("citra"), up.person("doni"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let heard = budi.listen(&["lobby", "--lane", "multicast", "--json"]);
    let mut by_tcp = citra.listen(&["lobby", "--lane", "tcp"]);
    let mut by_multicast = doni.listen(&["lobby", "--lane", "multicast"]);
    let _text = text_session_in(&up, "lobby");
    until_status(&ani, "all four are members", |rows| {
        lanes(rows) == ["budi multicast", "citra tcp", "client-1 text", "doni multicast"]
    });

    let receipt = one(&ani, &["satu", "--wait", "60s"]);
    let (text, none) = (json!(["client-1"]), json!([]));
    assert_eq!(receipt, json!({"seq": 1, "heard": 3, "present": 4, "silent": 1, "absent": 0, "missing": text}));
    let lines = ani.out(&["send", "lobby", "dua", "--receipts", "--wait", "60s"]);
    assert_eq!(lines, ["2", "heard by 3 of 4; cannot say: client-1"]);
    let ended = ani.feed(&["send", "lobby", "-", "--receipts", "--json", "--wait", "60s"], b"tiga\nempat\nlima\n");
    let receipts: Vec<Value> = ended.expect_code(0).stdout.iter().map(|line| parse(line)).collect();
    let told: Vec<_> = receipts.iter().map(|r| (r["seq"].as_u64().unwrap(), &r["heard"], &r["present"])).collect();
    assert_eq!(told, [(3, &json!(3), &json!(4)), (4, &json!(3), &json!(4)), (5, &json!(3), &json!(4))]);
    let ended = ani.feed(&["send", "lobby", "-", "--receipts", "--wait", "60s"], b"enam\n");
    assert_eq!(ended.expect_code(0).stdout, ["6: heard by 3 of 4; cannot say: client-1"]);

    by_tcp.kill();
    by_multicast.kill();
    let receipt = one(&ani, &["tujuh", "--wait", "2s"]);
    let missing = json!(["citra", "doni", "client-1"]);
    let mut named: Vec<&str> = receipt["missing"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    named[..2].sort_unstable();
    assert_eq!(json!(named), missing, "{receipt}: heard of within 5 s, so present");
    assert_eq!((&receipt["heard"], &receipt["present"], &receipt["absent"]), (&json!(1), &json!(4), &json!(0)));
    until_status(&ani, "both are gone", |rows| {
        ["citra", "doni"].iter().all(|name| rows.iter().any(|row| row["name"] == *name && row["client"].is_null()))
    });
    let receipt = one(&ani, &["delapan", "--wait", "60s"]);
    assert_eq!(receipt, json!({"seq": 8, "heard": 1, "present": 2, "silent": 1, "absent": 2, "missing": text}));
    assert_eq!(heard.stdout_lines(8).len(), 8);

    let _ = ani.out(&["group", "create", "kosong"]);
    let alone = ani.out(&["send", "kosong", "halo", "--receipts", "--json"]);
    assert_eq!(parse(&alone[0])["missing"], none, "nobody is waited for");
}

#[test]
fn a_private_groups_receipts_come_by_tcp() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    let code = ani.out(&["group", "invite", "rapat"]);
    let _ = budi.out(&["group", "join", "--invite", &code[0]]);
    let _listener = budi.listen(&["rapat"]);
    until(&ani, "rapat", "budi hears", |rows| lanes(rows).contains(&"budi tcp".to_owned()));
    let told = ani.out(&["send", "rapat", "rahasia", "--receipts", "--json", "--wait", "60s"]);
    let receipt = parse(&told[0]);
    assert_eq!((&receipt["heard"], &receipt["present"]), (&json!(1), &json!(1)));
    let stranger = up.person("citra");
    assert_eq!(stranger.run(&["status", "rapat"]).code(), 4, "members are shown to members");
}

#[test]
fn a_listener_that_slept_tells_what_it_missed_and_that_it_came() {
    const MESSAGES: usize = 600;
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let listener = budi.listen(&["lobby", "--lane", "multicast", "--json"]);
    listener.signal(Signal::SIGSTOP);
    let long = "x".repeat(30_000);
    let input: String = (1..=MESSAGES).map(|i| format!("{i} {long}\n")).collect();
    let sent = ani.feed(&["send", "lobby", "-"], input.as_bytes()).expect_code(0);
    assert_eq!(sent.stdout.len(), MESSAGES);
    listener.signal(Signal::SIGCONT);
    let missing = listener.stderr_line("what is missing", |line| line.starts_with("lobby: missing "));
    let _ = listener.stderr_line("that it came", |line| line.starts_with("lobby: filled "));
    let seqs: Vec<u64> =
        listener.stdout_lines(MESSAGES).iter().map(|line| parse(line)["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=MESSAGES as u64).collect::<Vec<_>>(), "nothing but messages, in order; {missing}");
}

#[test]
fn a_relay_that_was_killed_does_not_know_who_was_present() {
    let mut services = Services::start();
    let (ani, budi) = (services.person("ani"), services.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let sleeper = budi.listen(&["lobby", "--lane", "multicast"]);
    until_status(&ani, "budi is a member", |rows| lanes(rows) == ["budi multicast"]);
    sleeper.signal(Signal::SIGSTOP);
    let send = ani.start(&["send", "lobby", "halo", "--receipts", "--wait", "10m"]);
    let _ = send.stdout_line("that it is logged", |line| line == "1");
    services.kill(Service::Relay);
    services.start_again(Service::Relay);
    let ended = send.end().expect_code(1);
    assert!(ended.stderr.iter().any(|line| line.contains("opened its log after")), "{:?}", ended.stderr);
    assert_eq!(ended.stdout.len(), 2, "{:?}", ended.stdout);
}

/// The receipt of one message.
fn one(person: &Person, args: &[&str]) -> Value {
    let lines = person.out(&[&["send", "lobby", "--receipts", "--json"], args].concat());
    assert_eq!(lines.len(), 1, "{lines:?}");
    parse(&lines[0])
}

fn until_status(person: &Person, what: &str, met: impl Fn(&[Value]) -> bool) {
    until(person, "lobby", what, met);
}

/// Asks for the members until they are as they should be.
fn until(person: &Person, group: &str, what: &str, met: impl Fn(&[Value]) -> bool) {
    let began = Instant::now();
    loop {
        let rows: Vec<Value> = person.out(&["status", group, "--json"]).iter().map(|line| parse(line)).collect();
        if met(&rows) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "in vain: {what}; {rows:?}");
    }
}

/// Who hears by which lane, as the relay knows, by name.
fn lanes(rows: &[Value]) -> Vec<String> {
    let known = rows.iter().filter(|row| !row["client"].is_null());
    let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    known.map(|row| format!("{} {}", word(&row["name"]), word(&row["lane"]))).collect()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn text_session_in(up: &Up, group: &str) -> TcpStream {
    let mut socket = TcpStream::connect(up.address("text")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map(Result::unwrap);
    let _welcome = lines.next().unwrap();
    socket.write_all(format!("/join {group}\n").as_bytes()).unwrap();
    let _joined = lines.next().unwrap();
    socket
}
