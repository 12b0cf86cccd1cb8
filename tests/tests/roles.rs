//! Owner, admins and moderators: what each may do, and that it holds at once.
#![allow(clippy::unwrap_used, missing_docs)]

use gaung_tests::deployment::{Person, Up};

#[test]
fn a_banned_device_cannot_publish_read_a_private_group_or_come_back() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    let invite = ani.out(&["group", "invite", "rapat"]).remove(0);
    let _ = budi.out(&["group", "join", "--invite", &invite]);
    let listener = budi.listen(&["rapat", "--json"]);
    assert_eq!(budi.out(&["send", "rapat", "halo"]), ["1"]);
    let _ = listener.stdout_lines(1);

    let _ = ani.out(&["group", "ban", "rapat", "budi"]);
    let _ = listener.stderr_line("word of the ban", |line| line.contains("banned"));
    assert_eq!(ani.out(&["send", "rapat", "rahasia"]), ["2"]);
    assert_eq!(listener.end().stdout.len(), 1, "what was said after the ban");
    refused(&budi, &["send", "rapat", "lagi"], "invite");
    refused(&budi, &["history", "rapat"], "invite");
    refused(&budi, &["group", "join", "--invite", &invite], "banned");
    assert!(ani.out(&["group", "members", "rapat", "--json"]).len() == 1);

    let shown = ani.out(&["group", "role", "rapat", "--json"]);
    let banned = shown.iter().find(|line| line.contains(r#""banned":true"#)).unwrap();
    let device = serde_json::from_str::<serde_json::Value>(banned).unwrap()["device"].as_str().unwrap().to_owned();
    let _ = ani.out(&["group", "unban", "rapat", &device]);
    let _ = budi.out(&["group", "join", "--invite", &invite]);
    assert_eq!(budi.out(&["history", "rapat"]).len(), 2);
}

#[test]
fn a_muted_device_reads_on_and_writes_again_when_the_time_is_over() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let listener = budi.listen(&["lobby", "--json"]);
    let _ = ani.out(&["group", "mute", "lobby", "budi", "--for", "1h"]);
    refused(&budi, &["send", "lobby", "halo"], "muted in the group for");
    assert_eq!(ani.out(&["send", "lobby", "satu"]), ["1"]);
    let _ = listener.stdout_lines(1);
    let _ = ani.out(&["group", "mute", "lobby", "budi", "--for", "1ms"]);
    assert_eq!(budi.out(&["send", "lobby", "dua"]), ["2"]);
    let _ = ani.out(&["group", "mute", "lobby", "budi", "--for", "1h"]);
    let _ = ani.out(&["group", "unmute", "lobby", "budi"]);
    assert_eq!(budi.out(&["send", "lobby", "tiga"]), ["3"]);
}

#[test]
fn a_moderator_acts_on_those_below_and_on_nobody_else() {
    let up = Up::start(&[]);
    let (ani, budi, citra, dewi) = (up.person("ani"), up.person("budi"), up.person("citra"), up.person("dewi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    for person in [&budi, &citra, &dewi] {
        let _ = person.out(&["group", "join", "lobby"]);
    }
    refused(&budi, &["group", "role", "lobby", "budi", "admin"], "only the owner");
    let _ = ani.out(&["group", "role", "lobby", "budi", "admin"]);
    let _ = budi.out(&["group", "role", "lobby", "citra", "moderator"]);
    refused(&citra, &["group", "mute", "lobby", "budi"], "below");
    refused(&citra, &["group", "ban", "lobby", "budi"], "only the owner");
    refused(&citra, &["group", "role", "lobby", "dewi", "moderator"], "moderators");
    refused(&dewi, &["group", "kick", "lobby", "citra"], "only the owner, admins and moderators");
    let _ = citra.out(&["group", "ban", "lobby", "dewi"]);
    refused(&dewi, &["group", "join", "lobby"], "banned");
    refused(&dewi, &["send", "lobby", "halo"], "banned");
    let _ = budi.out(&["group", "role", "lobby", "citra", "member"]);
    refused(&citra, &["group", "mute", "lobby", "budi"], "only the owner, admins and moderators");
    let shown = ani.out(&["group", "role", "lobby"]);
    assert!(shown.iter().any(|line| line.contains("budi") && line.contains("admin")), "{shown:?}");
    assert!(!shown.iter().any(|line| line.contains("citra")), "{shown:?}");
}

#[test]
fn a_kicked_device_needs_another_invite() {
    let up = Up::start(&[]);
    let (ani, budi, citra) = (up.person("ani"), up.person("budi"), up.person("citra"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    let first = ani.out(&["group", "invite", "rapat"]).remove(0);
    let _ = budi.out(&["group", "join", "--invite", &first]);
    let own = budi.out(&["group", "invite", "rapat"]).remove(0);
    let listener = budi.listen(&["rapat", "--json"]);
    let _ = ani.out(&["group", "mute", "rapat", "budi", "--for", "1h"]);
    refused(&budi, &["send", "rapat", "halo"], "muted");
    let _ = ani.out(&["group", "unmute", "rapat", "budi"]);
    let _ = ani.out(&["group", "kick", "rapat", "budi"]);
    let _ = listener.stderr_line("word of the kick", |line| line.contains("removed"));
    refused(&budi, &["send", "rapat", "halo"], "invite");
    refused(&citra, &["group", "join", "--invite", &own], "revoked");
    let second = ani.out(&["group", "invite", "rapat"]).remove(0);
    let _ = budi.out(&["group", "join", "--invite", &second]);
    assert_eq!(budi.out(&["send", "rapat", "halo"]), ["1"]);
}

#[test]
fn only_who_has_a_role_hides_a_message_and_everybody_is_told() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    assert_eq!(ani.out(&["send", "lobby", "satu"]), ["1"]);
    refused(&budi, &["group", "redact", "lobby", "1"], "may hide messages");
    let _ = budi.out(&["group", "join", "lobby"]);
    let _ = ani.out(&["group", "role", "lobby", "budi", "moderator"]);
    let _ = budi.out(&["group", "redact", "lobby", "1"]);
    let log = ani.out(&["history", "lobby", "--json"]);
    assert!(log.len() == 2 && log[1].contains(r#""kind":"moderate","to":1"#), "{log:?}");
}

#[test]
fn history_shows_that_a_message_is_hidden_and_none_of_its_words() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    assert_eq!(budi.out(&["send", "lobby", "rahasia"]), ["1"]);
    assert_eq!(budi.out(&["send", "lobby", "biasa"]), ["2"]);
    let _ = ani.out(&["group", "redact", "lobby", "1"]);

    let log = ani.out(&["history", "lobby"]);
    assert!(log[0].ends_with("* budi (hidden by a moderator)") && log[1].ends_with("budi: biasa"), "{log:?}");
    let log = ani.out(&["history", "lobby", "--json"]);
    assert!(log[0].contains(r#""text":null"#) && log[0].contains(r#""hidden":true"#), "{log:?}");
    assert!(log[1].contains(r#""text":"biasa""#) && !log[1].contains("hidden"), "{log:?}");
    for lane in ["multicast", "tcp"] {
        let heard = budi.run(&["listen", "lobby", "--lane", lane, "--from", "start", "--count", "3"]).expect_code(0);
        assert_eq!(heard.stdout, ["* budi (hidden by a moderator)", "budi: biasa", "* ani hid #1"], "{lane}");
    }
    // What hides it lies outside this page.
    assert!(ani.out(&["history", "lobby", "--from", "1", "--limit", "1"])[0].ends_with("rahasia"));
}

#[test]
fn the_line_chat_moderates_by_commands() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "lobby"]);
    let _ = budi.out(&["group", "join", "lobby"]);
    let mut chat = ani.start(&["chat", "lobby"]);
    chat.write("/mute budi 1h\n");
    let _ = chat.stderr_line("the mute", |line| line.contains("budi may not write in lobby for 1h"));
    refused(&budi, &["send", "lobby", "halo"], "muted");
    chat.write("/unmute budi\n/kick nobody\n");
    let _ = chat.stderr_line("who is unknown", |line| line.contains("nobody in the group is called nobody"));
    let _ = budi.out(&["send", "lobby", "halo"]);
    chat.write("/quit\n");
    let _ = chat.end().expect_code(0);
}

fn refused(person: &Person, args: &[&str], reason: &str) {
    let ended = person.run(args).expect_code(4);
    assert!(ended.stderr.iter().any(|line| line.contains(reason)), "{args:?}: {:?}", ended.stderr);
}
