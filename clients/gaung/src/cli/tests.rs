//! What can be typed, and that help is helpful.

#![allow(clippy::unwrap_used)]

use clap::{Parser as _, error::ErrorKind};
use gaung_proto::GroupRetention;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

fn walk(command: &mut clap::Command, path: &str, seen: &mut Vec<String>) {
    let help = command.render_long_help().to_string();
    let example = help.split("Example").nth(1).unwrap_or_else(|| panic!("`{path} --help` has no example:\n{help}"));
    assert!(example.contains("gaung "), "`{path} --help`: {example}");
    seen.push(path.to_owned());
    let subcommands: Vec<_> = command.get_subcommands_mut().filter(|sub| sub.get_name() != "help").collect();
    for sub in subcommands {
        let path = format!("{path} {}", sub.get_name());
        walk(sub, &path, seen);
    }
}

#[test]
fn every_help_has_an_example() {
    let mut grammar = Cli::grammar();
    grammar.build();
    let mut seen = Vec::new();
    walk(&mut grammar, "gaung", &mut seen);
    assert_eq!(seen.len(), 1 + 16 + 32, "{seen:?}");
}

#[test]
fn the_examples_parse() {
    let mut grammar = Cli::grammar();
    grammar.build();
    let mut helps = vec![grammar.render_long_help().to_string()];
    let mut waiting: Vec<_> = grammar.get_subcommands().cloned().collect();
    while let Some(mut command) = waiting.pop() {
        waiting.extend(command.get_subcommands().cloned());
        helps.push(command.render_long_help().to_string());
    }
    let mut count = 0;
    for help in helps {
        let examples = help.split_once("Example").map(|(_, examples)| examples).unwrap_or_default();
        for line in examples.lines().map(str::trim).filter(|line| line.starts_with("gaung ")) {
            let typed = line.split(['>', '|', '&']).next().unwrap().split("  ").next().unwrap().trim();
            parse(typed).unwrap_or_else(|e| panic!("{typed}: {e}"));
            count += 1;
        }
    }
    assert!(count >= 30, "{count} examples");
}

#[test]
fn common_flags_go_before_or_after() {
    for line in ["gaung --server h:1 --name Lina send lobby hi", "gaung send lobby hi --server h:1 --name Lina"] {
        let cli = parse(line).unwrap();
        assert_eq!(cli.common.server.as_deref(), Some("h:1"), "{line}");
        assert_eq!(cli.common.name.unwrap().as_str(), "Lina");
    }
}

#[test]
fn the_last_of_a_repeated_flag_wins() {
    let cli = parse("gaung up --registry-port 1 --log memory --registry-port 2").unwrap();
    let Command::Up(up) = cli.command else { panic!("{cli:?}") };
    assert_eq!(up.ports.registry_port, 2);
    let cli = parse("gaung listen a b --count 1 --count 2").unwrap();
    let Command::Listen(listen) = cli.command else { panic!("{cli:?}") };
    assert_eq!((listen.groups.len(), listen.count), (2, Some(2)));
}

#[test]
fn servers_are_checked() {
    let code = "AAAA-AAAA-AAAA-AAAA";
    for good in [format!("h#{code}"), format!("[::1]:7400#{code}"), format!("#{code}")] {
        server_with_code(&good).unwrap();
    }
    for bad in ["h#", "h#K7QX", "", "#"] {
        server_with_code(bad).unwrap_err();
    }
    for good in ["h", "h:7400", "192.168.1.10", "192.168.1.10:1", "::1", "[::1]:7400", "[fd00::1]", "lab.local"] {
        server(good).unwrap();
    }
    for bad in ["", "h:", ":7400", "h:70000", "h:x", "http://h", "a b", "[fd00::1", "[fd00::1]x", "[h]:1"] {
        assert!(server(bad).unwrap_err().contains("lab.local:7400"), "{bad}");
    }
}

#[test]
fn shapes_of_the_commands() {
    for line in [
        "gaung lab up --members 3 --loss 5% --delay 20ms --querier off --lab a",
        "gaung lab shell m1 gaung listen lobby --json",
        "gaung up --data d --iface lo --listen 127.0.0.1 --log memory --headless",
        "gaung group create g --scope organization --address 239.192.1.1 --port 5000 --format text --private",
        "gaung group join g",
        "gaung group join --invite ABC",
        "gaung group join --invite -",
        "gaung group invite g --uses 3 --expires 24h",
        "gaung send g a b c",
        "gaung send g -",
        "gaung send --udp-only 239.255.0.1:20000 hi",
        "gaung broadcast a b",
        "gaung listen a b --lane multicast --from start --count 3 --json",
        "gaung listen a --from 12",
        "gaung listen --everyone --lane broadcast",
        "gaung listen --udp-only 239.255.0.1:20000",
        "gaung chat",
        "gaung chat a b --lane tcp",
        "gaung chat --udp-only 239.255.0.1:20000",
        "gaung group create g --keep-for 1h30m --keep-bytes 1GiB --keep-messages 1",
        "gaung group keep g --for 0 --bytes 0 --messages 0",
        "gaung text h",
        "gaung text h:8081",
        "gaung history g --from 3 --limit 4",
        "gaung history g --before 3 --limit 4",
        "gaung status --json",
        "gaung status lobby --json",
        "gaung send g hi --receipts --wait 500ms --json",
        "gaung send g - --receipts",
        "gaung completions zsh",
        "gaung site",
        "gaung site --json",
        "gaung site trust AAAA-AAAA-AAAA-AAAA --server h --json",
        "gaung site forget aaaaaaaaaaaaaaaa",
        "gaung device",
        "gaung device --json",
        "gaung device protect --data d",
        "gaung device unprotect",
        "gaung device export f",
        "gaung device import f --json",
        "gaung status --insecure",
        "gaung man d",
        "gaung doctor --quick --json --iface eth0",
        "gaung doctor --peer --quick",
        "gaung doctor --peer 192.168.1.10 --peer-port 7408",
    ] {
        parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for line in [
        "gaung nothing",
        "gaung send",
        "gaung listen",
        "gaung listen g --lane cable",
        "gaung listen g --from 0",
        "gaung listen g --from -1",
        "gaung listen g --count 0",
        "gaung listen g --udp-only 239.255.0.1:1",
        "gaung listen --udp-only 10.0.0.1:1",
        "gaung listen --udp-only 239.255.0.1:0",
        "gaung group create bad/name",
        "gaung group create g --address ::1",
        "gaung group create g --port 0",
        "gaung group join",
        "gaung group join g --invite ABC",
        "gaung group invite g --expires soon",
        "gaung group invite g --expires 0",
        "gaung group invite g --uses 0",
        "gaung group revoke a-b",
        "gaung group keep g",
        "gaung group keep g --for 59m",
        "gaung group keep g --for soon",
        "gaung group keep g --bytes many",
        "gaung group create g --keep-for 1",
        "gaung history g --limit 0",
        "gaung history g --before 0",
        "gaung history g --from 1 --before 3",
        "gaung up --registry-port 70000",
        "gaung up --log paper",
        "gaung status --server a/b",
        "gaung status a/b",
        "gaung site trust",
        "gaung device export",
        "gaung device import a b",
        "gaung site trust K7QX",
        "gaung status --server h#K7QX",
        "gaung send g hi --json",
        "gaung send g hi --wait 2s",
        "gaung send g hi --receipts --wait soon",
        "gaung send --udp-only 239.255.0.1:20000 hi --receipts",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let name = Cli::try_parse_from(["gaung", "group", "create", ""]).unwrap_err();
    assert_eq!(name.kind(), ErrorKind::ValueValidation);
    assert!(name.to_string().contains("empty"), "{name}");
    assert_eq!(parse("gaung --help").unwrap_err().exit_code(), 0);
}

#[test]
fn a_limit_that_is_not_named_stays_and_nought_lifts_one() {
    let before = GroupRetention { max_age_ms: Some(60_000), max_bytes: Some(7), max_messages: None };
    let typed = parse("gaung group keep g --messages 9 --bytes 0").unwrap().command;
    let Command::Group(group::GroupCommand::Keep(args)) = typed else { panic!("{typed:?}") };
    let kept = args.keep(before);
    assert_eq!(kept, GroupRetention { max_age_ms: Some(60_000), max_bytes: None, max_messages: Some(9) });
}
