//! Who may do what: private groups, invites, owners.
#![allow(clippy::unwrap_used, missing_docs)]

use gaung_tests::deployment::{Person, Up};

#[test]
fn a_private_group_is_for_those_who_redeemed_an_invite() {
    let up = Up::start(&[]);
    let (ani, budi, citra) = (up.person("ani"), up.person("budi"), up.person("citra"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    refused(&budi, &["send", "rapat", "halo"], 4, "invite");
    refused(&budi, &["listen", "rapat"], 4, "invite");

    let invite = ani.out(&["group", "invite", "rapat", "--uses", "1"]).remove(0);
    let _ = budi.out(&["group", "join", "--invite", &invite]);
    refused(&citra, &["group", "join", "--invite", &invite], 4, "used up");
    refused(&budi, &["listen", "rapat", "--lane", "multicast"], 2, "TCP");

    let listener = budi.listen(&["rapat", "--json", "--count", "2"]);
    assert_eq!(ani.out(&["send", "rapat", "satu"]), ["1"]);
    assert_eq!(budi.out(&["send", "rapat", "dua"]), ["2"]);
    let heard = listener.end().expect_code(0).stdout;
    assert!(heard.len() == 2 && heard.iter().all(|line| line.contains(r#""lane":"tcp""#)), "{heard:?}");
    refused(&citra, &["history", "rapat"], 4, "invite");
}

#[test]
fn a_private_group_is_shown_to_its_members_alone() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    let _ = ani.out(&["send", "rapat", "rahasia"]);
    let sees = |person: &Person, args: &[&str]| person.out(args).iter().any(|line| line.contains("rapat"));
    assert!(sees(&ani, &["group", "list"]) && sees(&ani, &["status"]) && sees(&ani, &["group", "show", "rapat"]));
    assert!(!sees(&budi, &["group", "list"]) && !sees(&budi, &["status"]));
    for args in [["group", "show", "rapat"], ["group", "members", "rapat"]] {
        refused(&budi, &args, 4, "invite");
    }
    refused(&budi, &["group", "create", "rapat"], 1, "taken");

    let invite = ani.out(&["group", "invite", "rapat"]).remove(0);
    let _ = budi.out(&["group", "join", "--invite", &invite]);
    assert!(sees(&budi, &["group", "list"]) && sees(&budi, &["status"]));
    assert_eq!(budi.out(&["group", "members", "rapat", "--json"]).len(), 2);
    let _ = budi.out(&["group", "leave", "rapat"]);
    assert!(!sees(&budi, &["group", "list"]));
}

#[test]
fn only_the_owner_revokes_resets_and_deletes() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = ani.out(&["group", "create", "rapat", "--private"]);
    let [first, second] = [(); 2].map(|()| ani.out(&["group", "invite", "rapat"]).remove(0));
    let _ = budi.out(&["group", "join", "--invite", &first]);
    refused(&budi, &["group", "revoke", &second], 4, "only the device");
    let _ = ani.out(&["group", "revoke", &second]);
    refused(&up.person("citra"), &["group", "join", "--invite", &second], 4, "revoked");
    for change in ["reset", "delete"] {
        refused(&budi, &["group", change, "rapat"], 4, "another device");
    }
    let _ = ani.out(&["group", "delete", "rapat"]);
    refused(&budi, &["send", "rapat", "halo"], 3, "no group");
}

#[test]
fn after_a_reset_listeners_say_that_history_is_lost_and_start_at_one() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    for lane in ["multicast", "tcp"] {
        let listener = ani.listen(&["lobby", "--lane", lane, "--json"]);
        let before = ani.out(&["send", "lobby", "lama"]);
        let _ = listener.stdout_lines(1);
        let _ = ani.out(&["group", "reset", "lobby"]);
        let _ = listener.stderr_line("word of the reset", |line| line.contains("history"));
        assert_eq!(ani.out(&["send", "lobby", "baru"]), ["1"], "after {before:?}");
        let heard = listener.stdout_lines(2);
        assert!(heard[1].contains(r#""seq":1,"#) && heard[1].contains("baru"), "{lane}: {heard:?}");
    }
}

fn refused(person: &Person, args: &[&str], code: i32, reason: &str) {
    let ended = person.run(args).expect_code(code);
    assert!(ended.stderr.iter().any(|line| line.contains(reason)), "{args:?}: {:?}", ended.stderr);
}
