//! Who wrote a message: signatures, attestations and names, as readers are shown them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use gaung_proto::{GroupId, block::Message};
use gaung_tests::{
    deployment::{Person, Up},
    eve::Eve,
    process::PATIENCE,
};
use serde_json::Value;

fn create(person: &Person, name: &str) -> GroupId {
    let _ = person.out(&["group", "create", name]);
    let shown: Value = serde_json::from_str(&person.out(&["group", "show", name, "--json"])[0]).unwrap();
    shown["id"].as_str().unwrap().parse().unwrap()
}

/// Returns text and author state of each message.
fn states(lines: &[String]) -> Vec<(String, String)> {
    let field = |message: &Value, name: &str| message[name].as_str().unwrap_or("-").to_owned();
    let message = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    lines.iter().map(message).map(|message| (field(&message, "text"), field(&message, "author_state"))).collect()
}

fn history(person: &Person, group: &str) -> Vec<(String, String)> {
    states(&person.out(&["history", group, "--from", "1", "--json"]))
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(text, state)| ((*text).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn people_sign_and_a_signature_fits_only_where_it_was_made() {
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let (lobby, rapat) = (create(&ani, "lobby"), create(&ani, "rapat"));
    let _ = ani.out(&["send", "lobby", "setuju"]);
    let mut netcat = TcpStream::connect(up.address("text")).unwrap();
    netcat.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = BufReader::new(netcat.try_clone().unwrap()).lines().map(Result::unwrap);
    let _ = lines.next().unwrap();
    netcat.write_all(b"/join lobby\n").unwrap();
    let _ = lines.next().unwrap();
    let listener = budi.listen(&["lobby", "--json", "--count", "1"]);
    netcat.write_all(b"tanpa kunci\n").unwrap();
    let heard = listener.end().expect_code(0).stdout;
    assert_eq!(states(&heard), pairs(&[("tanpa kunci", "unsigned")]));
    assert_eq!(history(&budi, "lobby"), pairs(&[("setuju", "signed"), ("tanpa kunci", "unsigned")]));

    // The same message where it was not said, under other numbers, and with other words.
    let mut eve = Eve::at(&up);
    let said = eve.read(lobby).remove(0);
    eve.publish(rapat, &said);
    let mut changed = said.clone();
    changed.author.client.0 = [9; 16];
    eve.publish(lobby, &changed);
    let at = said.payload.windows(6).position(|words| words == b"setuju").unwrap();
    let mut payload = said.payload.to_vec();
    payload[at..at + 6].copy_from_slice(b"tolak!");
    changed.client_seq.0 += 1;
    eve.publish(lobby, &Message { payload: payload.into(), ..changed });
    assert_eq!(history(&budi, "rapat"), pairs(&[("setuju", "broken")]));
    assert_eq!(history(&budi, "lobby")[2..], pairs(&[("setuju", "broken"), ("tolak!", "broken")]));
}

#[test]
fn what_waits_while_the_log_is_replaced_is_signed_for_the_new_one() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = create(&ani, "lobby");
    let mut send = ani.start(&["send", "lobby", "-"]);
    send.write("satu\n");
    let _ = send.stdout_lines(1);
    let _ = ani.out(&["group", "reset", "lobby"]);
    send.write("dua\n");
    let _ = send.stdout_lines(2);
    assert_eq!(send.end().expect_code(0).stdout.len(), 2);
    assert_eq!(history(&ani, "lobby"), pairs(&[("dua", "signed")]));
}

#[test]
fn a_pipeline_is_attested_where_it_is_asked_for() {
    const LINES: usize = 3000;
    let up = Up::start(&[]);
    let (ani, budi) = (up.person("ani"), up.person("budi"));
    let _ = create(&ani, "lobby");
    let input: String = (1..=LINES).map(|n| format!("kata {n}\n")).collect();
    assert_eq!(ani.feed(&["send", "--attest", "lobby", "-"], input.as_bytes()).expect_code(0).stdout.len(), LINES);
    let count = history(&budi, "lobby").len();
    assert!((LINES + 3..LINES + 1000).contains(&count), "{count} messages, attestations among them");
    let listening =
        ["lobby", "--from", "start", "--json", "--verify", "--count", &count.to_string()].map(str::to_owned);
    let listening: Vec<&str> = listening.iter().map(String::as_str).collect();
    let verified = states(&budi.listen(&listening).end().expect_code(0).stdout);
    assert_eq!(verified.iter().filter(|(text, _)| text != "-").count(), LINES);
    let other: Vec<_> = verified.iter().filter(|(_, state)| state != "signed").collect();
    assert!(other.is_empty(), "{} are {:?}", other.len(), &other[..other.len().min(5)]);
}

#[test]
fn a_second_device_of_a_name_is_shown_apart() {
    let up = Up::start(&[]);
    let (budi, citra, other) = (up.person("budi"), up.person("citra"), up.person("budi"));
    let _ = create(&budi, "lobby");
    let listener = citra.listen(&["lobby", "--count", "3"]);
    for (person, words) in [(&budi, "saya budi"), (&other, "saya juga"), (&other, "lagi")] {
        let _ = person.out(&["send", "lobby", words]);
    }
    let ended = listener.end().expect_code(0);
    let apart = ended.stdout[1].strip_suffix(": saya juga").unwrap().to_owned();
    assert!(apart.starts_with("budi·") && apart.chars().count() == 9, "{apart}");
    assert_eq!(ended.stdout, ["budi: saya budi".to_owned(), format!("{apart}: saya juga"), format!("{apart}: lagi")]);
    let notices = ended.stderr.iter().filter(|line| line.contains(&format!("shown as {apart}"))).count();
    assert_eq!(notices, 1, "{:?}", ended.stderr);
    // Another program of the same device knows it too.
    let history = citra.out(&["history", "lobby", "--before", "3", "--limit", "1"]);
    assert!(history[0].contains(&format!("{apart}: saya juga")), "{history:?}");
    let _ = budi.out(&["group", "join", "lobby"]);
    let _ = other.out(&["group", "join", "lobby"]);
    let members = citra.out(&["group", "members", "lobby"]);
    assert!(members.iter().any(|line| line.starts_with(&apart)), "{members:?}");
}
