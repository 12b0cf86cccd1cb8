//! Two doctors over loopback, and what they make of a peer that lies.

#![allow(clippy::unwrap_used)]

use std::{io::Write as _, net::UdpSocket, thread, time::Duration};

use gaung_net::probe::exchange::Cast;

use super::{
    super::facts::Passage,
    burst::{COUNT, Sent, Tally, WHOLE},
    talk::Talk,
    *,
};

fn free_port() -> u16 {
    UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

fn sockets(group_port: u16, broadcast_port: u16) -> Sockets {
    Sockets { link: Link::loopback(), unicast_port: 0, group_port, broadcast_port }
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (caller, listener.accept().unwrap().0)
}

#[test]
fn both_learn_the_same_of_both_ways() {
    let (calling, called) = connected();
    let (group, broadcast) = (free_port(), free_port());
    let other =
        thread::spawn(move || session::run(called, Side::Called, &sockets(group, broadcast), Ipv4Addr::LOCALHOST));
    let here = session::run(calling, Side::Caller, &sockets(group, broadcast), Ipv4Addr::LOCALHOST).unwrap();
    let there = other.join().unwrap().unwrap();
    assert_eq!((&here.to_peer, &here.from_peer), (&there.from_peer, &there.to_peer));
    assert_eq!((here.to_peer.len(), here.same_network), (3, true));
    for passage in here.to_peer.iter().chain(&here.from_peer) {
        let whole = Passage {
            sent: COUNT,
            received: COUNT,
            largest_sent_bytes: 1472,
            largest_bytes: 1472,
            ..Passage::none(passage.cast)
        };
        assert_eq!(*passage, whole);
    }
}

#[test]
fn a_peer_that_talks_nonsense_or_goes_away_is_an_error() {
    for nonsense in ["", "GET / HTTP/1.1\r\n", "{\"say\":\"listening\"}\n", &"x".repeat(100_000)] {
        let (mut stranger, called) = connected();
        stranger.write_all(nonsense.as_bytes()).unwrap();
        stranger.shutdown(std::net::Shutdown::Write).unwrap();
        let outcome = session::run(called, Side::Called, &sockets(free_port(), free_port()), Ipv4Addr::LOCALHOST);
        assert!(outcome.is_err(), "{nonsense:.20}");
    }
    let other_group = r#"{"say":"hello","version":1,"session":1,"group":"224.0.0.1:5353","unicast_port":1}"#;
    let (mut stranger, called) = connected();
    stranger.write_all(format!("{other_group}\n").as_bytes()).unwrap();
    let outcome = session::run(called, Side::Called, &sockets(free_port(), free_port()), Ipv4Addr::LOCALHOST);
    assert!(outcome.unwrap_err().to_string().contains("no group of a local network"));
}

#[test]
fn a_peer_that_drips_its_line_is_given_up() {
    let (mut stranger, called) = connected();
    let mut talk = Talk::with_patience(called, Duration::from_millis(300)).unwrap();
    let dripping = thread::spawn(move || {
        // Until the other side has gone, or for far longer than it may wait.
        for _ in 0..1000 {
            if stranger.write_all(b" ").is_err() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    assert!(talk.hear().is_err());
    drop(talk);
    assert!(dripping.join().unwrap(), "it was listened to until its end");
}

#[test]
fn nobody_there_is_told_as_such() {
    // Bound, but nobody listens.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = nobody.local_addr().unwrap().port();
    let facts = call("127.0.0.1", port);
    assert!(facts.failed.unwrap().contains("no doctor waits at 127.0.0.1"));
    assert!(call("127.0.0.1.invalid", port).failed.is_some());
    assert_eq!(wait(0, &|| true).unwrap(), None);
}

#[test]
fn a_tally_tells_loss_reordering_and_repetition() {
    let mut burst = Vec::new();
    let sent = burst::send(7, Cast::Multicast, |datagram| {
        burst.push(datagram.to_vec());
        Ok(())
    });
    assert_eq!((burst.len(), sent), (WHOLE as usize, Sent { sent: COUNT, largest_bytes: 1472 }));
    burst.truncate(COUNT as usize);
    burst.remove(50);
    burst.swap(10, 11);
    burst.insert(0, burst[0].clone());
    let mut tally = Tally::new(7, Cast::Multicast);
    for datagram in &burst {
        tally.note(datagram);
        tally.note(b"a stranger's");
        tally.note(&datagram[..30]);
    }
    assert!(!tally.is_whole());
    let passage = tally.finish(sent);
    assert_eq!((passage.received, passage.reordered, passage.duplicated), (COUNT - 1, 1, 1));
    assert_eq!((passage.lost_permille(), passage.largest_bytes), (5, 200));
    let mut others = Tally::new(8, Cast::Multicast);
    let mut another_way = Tally::new(7, Cast::Unicast);
    for datagram in &burst {
        others.note(datagram);
        another_way.note(datagram);
    }
    assert_eq!((others.finish(sent).received, another_way.finish(sent).received), (0, 0));
}
