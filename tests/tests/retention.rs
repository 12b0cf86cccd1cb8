//! How much of a group is kept: said by who made it, seen by everyone.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use gaung_tests::{
    deployment::{Person, Up},
    process::PATIENCE,
};

fn shown(person: &Person, group: &str) -> String {
    let lines = person.out(&["group", "show", group]);
    lines.into_iter().find(|line| line.starts_with("keeps")).unwrap()
}

/// What was dropped is dropped soon, and not at the moment of the command.
fn history_becomes(person: &Person, group: &str, expected: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let history = person.out(&["history", group, "--json"]);
        if history.len() == expected {
            return history;
        }
        assert!(begun.elapsed() < PATIENCE, "{} messages are still there", history.len());
    }
}

#[test]
fn the_owner_says_how_much_is_kept_and_readers_are_told_what_is_gone() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby", "--keep-for", "30d"]);
    assert_eq!(shown(&budi, "lobby"), "keeps    30d");
    for n in 1..=20 {
        assert_eq!(ani.out(&["send", "lobby", "halo"]), [n.to_string()]);
    }

    let refused = budi.run(&["group", "keep", "lobby", "--messages", "1"]).expect_code(4);
    assert!(refused.stderr.iter().any(|line| line.contains("another device")), "{:?}", refused.stderr);
    let _ = ani.out(&["group", "keep", "lobby", "--messages", "3", "--bytes", "1GiB"]);
    assert_eq!(shown(&budi, "lobby"), "keeps    30d, 1GiB, 3 messages");
    let kept = history_becomes(&budi, "lobby", 3);
    assert!(kept[0].contains(r#""seq":18,"#), "{kept:?}");
    for lane in ["multicast", "tcp"] {
        let late = budi.run(&["listen", "lobby", "--lane", lane, "--from", "start", "--count", "3"]).expect_code(0);
        assert_eq!(late.stdout.len(), 3, "{lane}: {late:?}");
        let from_first = budi.run(&["listen", "lobby", "--lane", lane, "--from", "1", "--count", "3"]).expect_code(0);
        assert_eq!(from_first.stdout, late.stdout, "{lane}");
        assert!(from_first.stderr.iter().any(|line| line.contains("lost 1–17")), "{lane}: {from_first:?}");
    }

    let _ = ani.out(&["group", "keep", "lobby", "--for", "0", "--bytes", "0", "--messages", "0"]);
    assert!(shown(&budi, "lobby").contains("no limit of its own"));
}
