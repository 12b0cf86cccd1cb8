//! The text port, used as by netcat and the clients of the course handout.

use std::time::Duration;

use broadcast_hub::Limits;

use crate::{
    client::TextClient,
    world::{World, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn lines_reach_the_others_and_are_not_echoed() {
    let world = World::start(Limits::default()).await;
    let (mut ann, welcome) = TextClient::open(world.hub.text).await;
    assert!(welcome.starts_with("Selamat datang di Gaung, client-1!") && welcome.contains("Welcome"), "{welcome}");
    let (mut budi, welcome) = TextClient::open(world.hub.text).await;
    assert!(welcome.contains("client-2"), "{welcome}");
    ann.say(b"halo semua\r\n").await;
    assert_eq!(budi.line().await, "client-1: halo semua");
    budi.say(b"/name Budi\n").await;
    assert!(budi.line().await.contains("Budi"));
    budi.say("kabar baik, é 🙂\n".as_bytes()).await;
    assert_eq!(ann.line().await, "Budi: kabar baik, é 🙂", "and not the own line before it");
    ann.say(b"\xff\xe9 raw\n").await;
    assert_eq!(budi.line_bytes().await, b"client-1: \xff\xe9 raw");
    world.relay.append_text(world.everyone, "evil\x1b", b"a\x1b[2J\nb");
    assert_eq!(ann.line().await, "evil\u{fffd}: a\u{fffd}[2J b");
    ann.say(b"/what\n").await;
    assert!(ann.line().await.contains("/join"), "help");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_client_id_was_taken_goes_on_under_another_without_loss() {
    let world = World::start(Limits::default()).await;
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    let (mut budi, _) = TextClient::open(world.hub.text).await;
    ann.say(b"satu\n").await;
    assert_eq!(budi.line().await, "client-1: satu");
    let owners = world.relay.owners(world.everyone);
    let (key, origin) = owners.values().next().unwrap();
    assert_eq!((key.len(), &origin[..]), (16, &[127, 0, 0, 1][..]), "the session's stream key, and its address");
    world.relay.give_clients_away(world.everyone);
    ann.say(b"dua\ntiga\n").await;
    for word in ["dua", "tiga"] {
        assert_eq!(budi.line().await, format!("client-1: {word}"));
    }
    ann.say(b"empat\n").await;
    assert_eq!(budi.line().await, "client-1: empat");
    assert_eq!(world.relay.head(world.everyone).0, 4);
    assert_eq!(world.relay.owners(world.everyone).len(), 2);
    world.relay.append_text(world.everyone, "guru", b"lima");
    assert_eq!(ann.line().await, "guru: lima", "its own messages are not echoed under the new id either");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_no_newline_are_understood() {
    let world = World::start(Limits::default()).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(TextClient::open(world.hub.text).await.0);
    }
    for (i, word) in ["satu", "dua", "tiga", "empat"].iter().enumerate() {
        clients[i].say(word.as_bytes()).await;
        for (j, other) in clients.iter_mut().enumerate() {
            if i != j {
                assert_eq!(other.line().await, format!("client-{}: {word}", i + 1));
            }
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_ten_megabytes_gives_one_error_and_the_session_goes_on() {
    let world = World::start(Limits::default()).await;
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    let (mut budi, _) = TextClient::open(world.hub.text).await;
    let mut line = vec![b'x'; 10_000_000];
    line.push(b'\n');
    ann.say(&line).await;
    ann.say(b"after\n").await;
    assert!(ann.line().await.contains("64 KiB"));
    assert_eq!(budi.line().await, "client-1: after");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn join_moves_the_session_and_everyone_is_still_received() {
    let world = World::start(Limits::default()).await;
    let group = world.group("kelas", 2);
    world.registry.add("rahasia", 3, true);
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    ann.say(b"/join nowhere\n").await;
    assert!(ann.line().await.contains("no group"));
    ann.say(b"/join \n").await;
    assert!(ann.line().await.contains("empty"));
    ann.say(b"/join rahasia\n").await;
    assert!(ann.line().await.contains("private"));
    ann.say(b"/join kelas\n").await;
    assert!(ann.line().await.contains("kelas"));
    ann.say(b"di kelas\n").await;
    eventually("logged", || world.relay.head(group).0 == 1).await;
    assert_eq!(world.relay.texts(group), [("client-1".to_owned(), b"di kelas".to_vec())]);
    world.relay.append_text(group, "guru", b"selamat pagi");
    assert_eq!(ann.line().await, "guru: selamat pagi");
    world.relay.append_text(world.everyone, "kepala", b"pulang");
    assert_eq!(ann.line().await, "[everyone] kepala: pulang");
    ann.say(b"/join everyone\n").await;
    assert!(ann.line().await.contains("everyone"));
    world.relay.append_text(world.everyone, "kepala", b"lagi");
    assert_eq!(ann.line().await, "kepala: lagi");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_sent_is_reported() {
    let limits = Limits { text_publish: Duration::from_millis(200), ..Limits::default() };
    let mut world = World::start(limits).await;
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    let addr = world.kill_relay();
    ann.say(b"hilang\nlagi\n").await;
    for word in ["hilang", "lagi"] {
        let told = ann.line().await;
        assert!(told.contains("Not sent") && told.ends_with(word), "{told}");
    }
    world.restart_relay(addr);
    let (mut budi, _) = TextClient::open(world.hub.text).await;
    let mut heard = false;
    for i in 0..100 {
        ann.say(format!("kembali {i}\n").as_bytes()).await;
        if let Ok(line) = tokio::time::timeout(Duration::from_millis(300), budi.line()).await {
            assert!(line.starts_with("client-1: "), "{line}");
            heard = true;
            break;
        }
    }
    assert!(heard, "lines are sent again once the relay is back");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_line_before_the_end_is_sent() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::start(Limits::default()).await;
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    ann.say(b"tanpa akhir").await;
    ann.stream.shutdown().await.unwrap();
    eventually("logged", || world.relay.head(world.everyone).0 == 1).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_in_other_protocols_are_ended_and_nothing_of_them_is_logged() {
    let world = World::start(Limits::default()).await;
    let body = "/name Pak Guru\nUjian dibatalkan!\n";
    let post = format!(
        "POST / HTTP/1.1\r\nHost: x:8080\r\ncontent-type: text/plain\r\nOrigin: http://situs.example\r\n\r\n{body}"
    );
    let tls = [&b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03"[..], &[0xb0; 160], b"\nhalo\n"].concat();
    let pieces: [&[u8]; 4] = [post.as_bytes(), &tls, b"SSH-2.0-OpenSSH_9.6\r\nhalo\r\n", b"EHLO pc\r\nhalo\r\n"];
    for bytes in pieces {
        let (mut session, _) = TextClient::open(world.hub.text).await;
        session.say(bytes).await;
        let told = session.line().await;
        assert!(told.starts_with("* ") && told.contains(&format!(":{}/", world.hub.page.port())), "{told}");
        assert!(session.has_ended().await);
    }
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    ann.say(b"/name Siti\nhalo dari nc\n").await;
    eventually("logged", || world.relay.head(world.everyone).0 == 1).await;
    assert_eq!(world.relay.texts(world.everyone), [("Siti".to_owned(), b"halo dari nc".to_vec())]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_gathered_into_lines() {
    let world = World::start(Limits::default()).await;
    let (mut ann, _) = TextClient::open(world.hub.text).await;
    for byte in b"halu\x7fo semua\r\0" {
        ann.say(&[*byte]).await;
        // The pause between two keys is what is tested.
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    eventually("logged", || world.relay.head(world.everyone).0 == 1).await;
    assert_eq!(world.relay.texts(world.everyone), [("client-1".to_owned(), b"halo semua".to_vec())]);
    world.stop().await;
}
