//! Services killed in the middle of work: nothing acknowledged is lost, nothing is there twice, clients go on by themselves.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use gaung_tests::{
    process::Process,
    services::{Service, Services},
};
use serde_json::Value;

#[test]
fn who_speaks_datagrams_alone_goes_on_after_the_relay_was_killed() {
    let mut services = Services::start();
    let (ani, budi) = (services.person("ani"), services.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let shown: Value = serde_json::from_str(&ani.out(&["group", "show", "lobby", "--json"])[0]).unwrap();
    let address = format!("{}:{}", shown["address"].as_str().unwrap(), shown["port"]);
    let listener = budi.listen(&["--udp-only", &address, "--json", "--count", "4"]);
    let mut send = budi.start(&["send", "--udp-only", &address, "-"]);
    send.write("satu\ndua\n");
    let _ = send.stdout_lines(2);
    let _ = listener.stdout_lines(2);
    services.kill(Service::Relay);
    send.write("tiga\nempat\n");
    services.start_again(Service::Relay);
    assert_eq!(send.end().expect_code(0).stdout, ["1", "2", "3", "4"]);
    let texts: Vec<String> = messages(&listener.end().expect_code(0).stdout).into_iter().map(|m| m.1).collect();
    assert_eq!(texts, ["satu", "dua", "tiga", "empat"]);
}

/// How long the registry is away.
const REGISTRY_AWAY: Duration = Duration::from_secs(60);

#[test]
fn the_relay_killed_ten_times_during_twenty_thousand_publishes_loses_nothing_acknowledged() {
    const CLIENTS: usize = 4;
    const LINES: usize = 5000;
    const KILLS: usize = 10;

    let mut services = Services::start();
    let people: Vec<_> = (0..CLIENTS).map(|i| services.person(&format!("klien-{i}"))).collect();
    let _ = people[0].out(&["group", "create", "ramai"]);
    let mut sends: Vec<Process> = people.iter().map(|person| person.start(&["send", "ramai", "-"])).collect();
    // A share of the lines before each kill, so that every kill meets publishes under way.
    for round in 0..KILLS {
        for (who, send) in sends.iter_mut().enumerate() {
            let share = LINES * round / KILLS..LINES * (round + 1) / KILLS;
            send.write(share.map(|line| format!("{who}/{line}\n")).collect::<String>());
        }
        for send in &sends {
            let acknowledged = send.stdout_so_far().len();
            let _ = send.stdout_lines(acknowledged.min(LINES * round / KILLS) + 1);
        }
        services.kill(Service::Relay);
        services.start_again(Service::Relay);
    }
    let mut acknowledged = HashMap::new();
    for (who, send) in sends.into_iter().enumerate() {
        let ended = send.end_within(gaung_tests::process::PATIENCE * 3).expect_code(0);
        assert_eq!(ended.stdout.len(), LINES, "one seq for each line");
        for (line, seq) in ended.stdout.iter().enumerate() {
            acknowledged.insert(format!("{who}/{line}"), seq.parse::<u64>().unwrap());
        }
    }

    let history = messages(&people[0].out(&["history", "ramai", "--from", "1", "--json"]));
    let seqs: Vec<u64> = history.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (1..=(CLIENTS * LINES) as u64).collect::<Vec<_>>(), "dense");
    for (seq, text) in history {
        assert_eq!(acknowledged.remove(&text), Some(seq), "{text} is there once, under the seq that was acknowledged");
    }
    assert!(acknowledged.is_empty(), "acknowledged and gone: {acknowledged:?}");
}

#[test]
fn the_registry_killed_during_two_thousand_creates_keeps_every_acknowledged_group_once() {
    const CLIENTS: usize = 8;
    const CREATES: usize = 250;

    let mut services = Services::start();
    let created: Vec<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|who| {
                let person = services.person(&format!("guru-{who}"));
                scope.spawn(move || {
                    let create = |i| person.run(&["group", "create", &format!("kelas-{who}-{i}")]);
                    let done = |i: &usize| create(*i).code() == 0;
                    (0..CREATES).filter(done).map(|i| format!("kelas-{who}-{i}")).collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..5 {
            let watcher = services.person("pengawas");
            let before = watcher.run(&["group", "list"]).stdout.len();
            while clients.iter().any(|client| !client.is_finished())
                && watcher.run(&["group", "list"]).stdout.len() < before + 20
            {}
            services.kill(Service::Registry);
            services.start_again(Service::Registry);
        }
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });

    let listed = services.person("pengawas").out(&["group", "list", "--json"]);
    let groups: Vec<Value> = listed.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for field in ["id", "name", "address"] {
        let values: HashSet<String> = groups.iter().map(|group| group[field].to_string()).collect();
        assert_eq!(values.len(), groups.len(), "a {field} was given twice");
    }
    let names: HashSet<&str> = groups.iter().map(|group| group["name"].as_str().unwrap()).collect();
    let lost: Vec<&String> = created.iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    assert!(created.len() >= CLIENTS * CREATES / 2, "only {} creates came through", created.len());
}

#[test]
fn sessions_of_a_killed_hub_come_back_and_miss_nothing() {
    let mut services = Services::start();
    let (ani, budi) = (services.person("ani"), services.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let listener = budi.listen(&["lobby", "--lane", "tcp", "--json", "--count", "600"]);
    let mut send = ani.start(&["send", "lobby", "-"]);
    for round in 0..3 {
        send.write((0..200).map(|i| format!("{round}/{i}\n")).collect::<String>());
        let _ = listener.stdout_lines(200 * round + 1);
        services.kill(Service::Hub);
        services.start_again(Service::Hub);
    }
    let _ = send.end().expect_code(0);
    let heard = messages(&listener.end().expect_code(0).stdout);
    let wanted: Vec<(u64, String)> = (0..600).map(|i| (i + 1, format!("{}/{}", i / 200, i % 200))).collect();
    assert_eq!(heard, wanted);
}

#[test]
fn a_minute_without_the_registry_groups_go_on_and_new_joins_end_with_5() {
    let mut services = Services::start();
    let (ani, budi) = (services.person("ani"), services.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let listener = budi.listen(&["lobby", "--json"]);
    let mut send = ani.start(&["send", "lobby", "-"]);
    let mut sent = 0;
    let mut say = || {
        sent += 1;
        send.write(format!("{sent}\n"));
        let _ = send.stdout_lines(sent);
        let _ = listener.stdout_lines(sent);
    };
    say();
    services.kill(Service::Registry);
    let away = Instant::now();
    while away.elapsed() < REGISTRY_AWAY {
        say();
        let refused = budi.run(&["listen", "lobby"]);
        assert_eq!(refused.code(), 5, "{:?}", refused.stderr);
        thread::sleep(Duration::from_secs(2));
    }
    // A relay that starts meanwhile serves from its own store.
    services.kill(Service::Relay);
    let relay = Process::spawn(services.command(Service::Relay));
    let _ = relay.stderr_line("sign that it serves", |line| line.contains("serving"));
    services.start_again(Service::Registry);
    let _ = relay.stderr_line("registration", |line| line.contains("registered"));
    say();
    let seqs: Vec<String> = (1..=sent).map(|n| n.to_string()).collect();
    assert_eq!(send.end().expect_code(0).stdout, seqs);
    let heard: Vec<(u64, String)> = messages(&listener.stdout_so_far());
    assert_eq!(heard, (1..).zip(seqs).collect::<Vec<_>>());
}

fn messages(lines: &[String]) -> Vec<(u64, String)> {
    let parse = |line: &String| {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        (message["seq"].as_u64().unwrap(), message["text"].as_str().unwrap().to_owned())
    };
    lines.iter().map(parse).collect()
}
