//! One group, every way in: multicast, TCP, datagrams alone and a bare text session read the same in the same order.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    thread,
};

use gaung_tests::{
    deployment::{Person, Up},
    process::{PATIENCE, Process},
};
use serde_json::Value;

const MESSAGES: usize = 1000;

#[test]
fn four_kinds_of_members_read_the_same_thousand_messages_in_the_same_order() {
    let up = Up::start(&[]);
    let (ani, budi, citra) = (up.person("ani"), up.person("budi"), up.person("citra"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let address = group_address(&ani, "lobby");
    let count = MESSAGES.to_string();

    let multicast = ani.listen(&["lobby", "--lane", "multicast", "--json", "--count", &count]);
    let tcp = budi.listen(&["lobby", "--lane", "tcp", "--json", "--count", &count]);
    let udp_only = citra.listen(&["--udp-only", &address, "--json", "--count", &count]);
    let text = text_session_in(&up, "lobby");

    let shares = [
        (&ani, vec!["send", "lobby", "-"], 334),
        (&budi, vec!["send", "lobby", "-"], 333),
        (&citra, vec!["send", "--udp-only", &address, "-"], 333),
    ];
    thread::scope(|scope| {
        for (who, (person, args, lines)) in shares.iter().enumerate() {
            scope.spawn(move || {
                let input: String = (1..=*lines).map(|i| format!("{who}: kata ke-{i}\n")).collect();
                let ended = person.feed(args, input.as_bytes()).expect_code(0);
                assert_eq!(ended.stdout.len(), *lines, "one seq a line");
            });
        }
    });

    let by_multicast = heard(multicast);
    assert_eq!(by_multicast.len(), MESSAGES);
    let seqs: Vec<u64> = by_multicast.iter().map(|m| m.0).collect();
    assert_eq!(seqs, (1..=MESSAGES as u64).collect::<Vec<_>>(), "dense, from 1, in order");
    assert_eq!(by_multicast.iter().map(|m| &m.2).collect::<HashSet<_>>().len(), MESSAGES, "each once");
    assert_eq!(heard(tcp), by_multicast);
    assert_eq!(heard(udp_only), by_multicast);
    let as_text: Vec<String> = by_multicast.iter().map(|(_, author, text)| format!("{author}: {text}")).collect();
    assert_eq!(text.join().unwrap(), as_text);
}

#[test]
fn fifty_parallel_sends_by_one_user_lose_nothing() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "ramai"]);
    let sends: Vec<Process> = (0..50).map(|i| ani.start(&["send", "ramai", &format!("pesan {i}")])).collect();
    let mut acknowledged: Vec<u64> =
        sends.into_iter().map(|send| send.end().expect_code(0).stdout[0].parse().unwrap()).collect();
    acknowledged.sort_unstable();
    assert_eq!(acknowledged, (1..=50).collect::<Vec<_>>());

    let history = ani.out(&["history", "ramai", "--from", "1", "--json"]);
    let texts: HashSet<String> = history.iter().map(|line| parse(line).2).collect();
    assert_eq!(texts, (0..50).map(|i| format!("pesan {i}")).collect());
}

#[test]
fn broadcast_reaches_everyone_by_tcp_and_by_udp_broadcast() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let port = up.address("broadcast").port().to_string();
    let tcp = ani.listen(&["--everyone", "--lane", "tcp", "--json", "--count", "3"]);
    let broadcast =
        ani.listen(&["--everyone", "--lane", "broadcast", "--broadcast-port", &port, "--json", "--count", "3"]);
    for text in ["satu", "dua", "tiga"] {
        let _ = budi.out(&["broadcast", text]);
    }
    let by_tcp = heard(tcp);
    assert_eq!(by_tcp.iter().map(|m| m.2.as_str()).collect::<Vec<_>>(), ["satu", "dua", "tiga"]);
    assert_eq!(heard(broadcast), by_tcp);
}

#[test]
fn a_late_joiner_reads_from_the_start_and_goes_on_live() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    let early: String = (1..=500).map(|i| format!("awal {i}\n")).collect();
    let _ = ani.feed(&["send", "lobby", "-"], early.as_bytes()).expect_code(0);
    for lane in ["multicast", "tcp"] {
        let late = ani.listen(&["lobby", "--lane", lane, "--from", "start", "--json"]);
        let first = late.stdout_lines(500);
        assert_eq!(parse(&first[0]).0, 1);
        let _ = ani.out(&["send", "lobby", lane]);
        let wanted = late.stdout_line("live message", |line| parse(line).2 == lane);
        let live: Value = serde_json::from_str(&wanted).unwrap();
        assert_eq!(live["lane"], lane);
        let seqs: Vec<u64> = late.stdout_so_far().iter().map(|line| parse(line).0).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn everything_is_still_there_after_a_stop_and_a_start() {
    let up = Up::start(&[]);
    let server_port = up.address("registry").port().to_string();
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    assert_eq!(ani.out(&["send", "lobby", "sebelum"]), ["1"]);
    let (ended, data) = up.stop();
    assert_eq!(ended.code(), 0, "a drained end: {:?}", ended.stderr);

    let _up = Up::start_in(data, &["--registry-port", &server_port]);
    assert_eq!(ani.out(&["send", "lobby", "sesudah"]), ["2"]);
    let texts: Vec<String> =
        ani.out(&["history", "lobby", "--from", "1", "--json"]).iter().map(|line| parse(line).2).collect();
    assert_eq!(texts, ["sebelum", "sesudah"]);
}

#[test]
fn up_ends_when_told_to_though_nobody_reads_its_log_any_more() {
    let up = Up::start_unheard(&["--log", "memory"]);
    let (ended, _) = up.stop();
    let _ = ended.expect_code(0);
}

#[test]
fn history_is_read_in_pages_from_the_end() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    let lines: String = (1..=50).map(|i| format!("baris {i}\n")).collect();
    let _ = ani.feed(&["send", "lobby", "-"], lines.as_bytes()).expect_code(0);
    let seqs = |args: &[&str]| -> Vec<u64> {
        let all = [&["history", "lobby", "--json"], args].concat();
        ani.out(&all).iter().map(|line| parse(line).0).collect()
    };
    assert_eq!(seqs(&["--limit", "3"]), [48, 49, 50]);
    assert_eq!(seqs(&["--limit", "3", "--before", "48"]), [45, 46, 47]);
    assert_eq!(seqs(&["--limit", "3", "--before", "2"]), [1]);
    assert_eq!(seqs(&["--before", "4"]), [1, 2, 3]);
    assert_eq!(seqs(&["--before", "1"]), [0; 0]);
    assert_eq!(seqs(&["--before", "900", "--limit", "60"]), (1..=50).collect::<Vec<_>>());
}

fn group_address(person: &Person, group: &str) -> String {
    let shown: Value = serde_json::from_str(&person.out(&["group", "show", group, "--json"])[0]).unwrap();
    format!("{}:{}", shown["address"].as_str().unwrap(), shown["port"])
}

fn heard(listener: Process) -> Vec<(u64, String, String)> {
    listener.end().expect_code(0).stdout.iter().map(|line| parse(line)).collect()
}

fn parse(line: &str) -> (u64, String, String) {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let field = |name: &str| message[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
    (message["seq"].as_u64().unwrap(), field("author"), field("text"))
}

/// A bare socket that only listens; gives what it read of the group's messages.
fn text_session_in(up: &Up, group: &str) -> thread::JoinHandle<Vec<String>> {
    let mut socket = TcpStream::connect(up.address("text")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map(Result::unwrap);
    let _welcome = lines.next().unwrap();
    socket.write_all(format!("/join {group}\n").as_bytes()).unwrap();
    let _joined = lines.next().unwrap();
    thread::spawn(move || {
        let _open = socket;
        lines.take(MESSAGES).collect()
    })
}
