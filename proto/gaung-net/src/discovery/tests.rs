#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::{net::UdpSocket, sync::oneshot, time::timeout};

use crate::interface::{Link, LinkWatch};

use super::{
    datagram::{DiscoveryAnswer, DiscoveryRequest, LENGTH},
    *,
};

const LONG: Duration = Duration::from_secs(20);

fn announcement(kind: ServiceKind, id: u8) -> Announcement {
    Announcement {
        kind,
        port: 7400,
        id: RelayId([id; 16]),
        instance: u64::from(id),
        advertised: None,
        name: "kelas-5".to_owned(),
    }
}

fn looking_for(port: u16, wanted: Option<ServiceKind>) -> Discovery {
    Discovery { port, links: Vec::new(), wanted, timeout: LONG, settle: Duration::from_millis(300) }
}

fn run(responder: Responder) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(responder.run(async move {
        let _ = stopped.await;
    }));
    stop
}

#[tokio::test]
async fn services_on_this_machine_are_found_each_once() {
    let first = Responder::open(0, LinkWatch::fixed(Vec::new()), announcement(ServiceKind::Registry, 1)).unwrap();
    let port = first.port().unwrap();
    let second = Responder::open(port, LinkWatch::fixed(Vec::new()), announcement(ServiceKind::Hub, 2)).unwrap();
    let _running = (run(first), run(second));

    // One request goes out by multicast and again by broadcast, and is repeated.
    let mut found = discover(&looking_for(port, None)).await.unwrap();
    found.sort_by_key(|f| f.kind);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].addresses, ["127.0.0.1:7400".parse().unwrap()]);
    assert_eq!((found[0].name.as_str(), found[1].kind), ("kelas-5", ServiceKind::Hub));

    let found = discover(&looking_for(port, Some(ServiceKind::Registry))).await.unwrap();
    assert_eq!(found.iter().map(|f| f.id).collect::<Vec<_>>(), [RelayId([1; 16])]);
}

#[tokio::test]
async fn an_advertised_address_wins_over_the_source() {
    let advertised = Some(Ipv4Addr::new(10, 1, 2, 3));
    let service = Announcement { advertised, ..announcement(ServiceKind::Relay, 3) };
    let responder = Responder::open(0, LinkWatch::fixed(Vec::new()), service).unwrap();
    let port = responder.port().unwrap();
    let _running = run(responder);
    let found = discover(&looking_for(port, None)).await.unwrap();
    assert_eq!(found[0].addresses, ["10.1.2.3:7400".parse().unwrap()]);
}

#[tokio::test]
async fn nobody_there_is_an_empty_list() {
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let discovery = Discovery { timeout: Duration::from_millis(50), ..looking_for(free, None) };
    assert_eq!(timeout(LONG, discover(&discovery)).await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_flood_gets_few_answers_and_rubbish_none() {
    let responder = Responder::open(0, LinkWatch::fixed(Vec::new()), announcement(ServiceKind::Registry, 4)).unwrap();
    let (port, counters) = (responder.port().unwrap(), responder.counters());
    let stop = run(responder);
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    flood.connect(("127.0.0.1", port)).await.unwrap();
    flood.send(b"rubbish").await.unwrap();
    flood.send(&[0; 4000]).await.unwrap();
    let request = DiscoveryRequest { nonce: 1, wanted: None, instance: false, multicast: false }.encode();
    for _ in 0..200 {
        flood.send(&request).await.unwrap();
    }
    let seen = || counters.answered() + counters.refused() + counters.malformed();
    timeout(LONG, async {
        while seen() < 202 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(counters.malformed(), 2);
    assert!(counters.answered() >= 50 && counters.refused() >= 1, "{} answered", counters.answered());
    drop(stop);
}

#[test]
fn an_answer_is_no_longer_than_a_request() {
    let answer =
        DiscoveryAnswer { nonce: 7, announcement: announcement(ServiceKind::Registry, 9), with_instance: true };
    assert_eq!(
        answer.encode().len(),
        DiscoveryRequest { nonce: 7, wanted: None, instance: true, multicast: true }.encode().len()
    );
    assert_eq!(DiscoveryAnswer::decode(&answer.encode()), Some(answer));
    let request = DiscoveryRequest { nonce: u64::MAX, wanted: Some(ServiceKind::Hub), instance: true, multicast: true };
    assert_eq!(DiscoveryRequest::decode(&request.encode()), Some(request));
}

#[test]
fn names_lose_control_characters_and_are_cut_at_a_character() {
    let long = "\u{1b}[2J".to_owned() + &"é".repeat(60);
    let service = Announcement { name: long, ..announcement(ServiceKind::Hub, 1) };
    let answer = DiscoveryAnswer { nonce: 0, announcement: service, with_instance: false };
    let name = DiscoveryAnswer::decode(&answer.encode()).unwrap().announcement.name;
    assert_eq!(name, "[2J".to_owned() + &"é".repeat(30));
}

#[test]
fn every_damaged_byte_is_refused_or_harmless() {
    let good = DiscoveryAnswer { nonce: 7, announcement: announcement(ServiceKind::Registry, 9), with_instance: true }
        .encode();
    for at in 0..LENGTH {
        for value in [0, 1, 0x1b, 65, 0x80, 0xff] {
            let mut bytes = good;
            bytes[at] = value;
            if let Some(answer) = DiscoveryAnswer::decode(&bytes) {
                assert_eq!(answer.encode(), bytes, "byte {at} = {value}");
            }
            assert_eq!(DiscoveryRequest::decode(&bytes), None);
        }
    }
    for length in 0..LENGTH {
        assert_eq!(DiscoveryAnswer::decode(&good[..length]), None);
    }
}

#[tokio::test]
async fn a_copy_of_a_data_folder_is_not_taken_for_the_same_server() {
    let first = Responder::open(0, LinkWatch::fixed(Vec::new()), announcement(ServiceKind::Registry, 1)).unwrap();
    let port = first.port().unwrap();
    let copy = Announcement { instance: 99, port: 7500, ..announcement(ServiceKind::Registry, 1) };
    let second = Responder::open(port, LinkWatch::fixed(Vec::new()), copy).unwrap();
    let _running = (run(first), run(second));
    let mut found = discover(&looking_for(port, None)).await.unwrap();
    found.sort_by_key(|f| f.instance);
    assert_eq!(found.iter().map(|f| f.instance).collect::<Vec<_>>(), [Some(1), Some(99)], "{found:?}");
}

#[tokio::test]
async fn an_answer_comes_by_multicast_too_where_it_is_asked_for() {
    let watch = LinkWatch::fixed(vec![Link::loopback()]);
    let responder = Responder::open(0, watch, announcement(ServiceKind::Registry, 5)).unwrap();
    let port = responder.port().unwrap();
    let _running = run(responder);
    let requester = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut group = group_sockets::GroupSockets::new(port);
    group.relink(&[], true);
    let request = DiscoveryRequest { nonce: 3, wanted: None, instance: true, multicast: true };
    requester.send_to(&request.encode(), ("127.0.0.1", port)).await.unwrap();
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; LENGTH];
    let received = timeout(LONG, group.receive(&deaf, &mut buffer)).await.unwrap().unwrap();
    let answer = DiscoveryAnswer::decode(&buffer[..received.0]).unwrap();
    assert_eq!((answer.nonce, answer.announcement.instance), (3, 5));
}
