#![allow(clippy::unwrap_used)]

use std::time::Duration;

use gaung_site::SiteId;
use tokio::{net::UdpSocket, sync::oneshot, time::timeout};

use crate::interface::{Link, LinkWatch};

use super::{
    datagram::{DiscoveryAnswer, DiscoveryRequest, DiscoveryVersion, LENGTH},
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
        site: Some(SiteId::from_bytes(std::array::from_fn(|at| id + at as u8))),
        name: "kelas-5".to_owned(),
    }
}

fn request(version: DiscoveryVersion) -> DiscoveryRequest {
    DiscoveryRequest { version, nonce: 7, wanted: None, instance: true, multicast: true }
}

/// What a service answers to [`request`]; version 1 leaves the site out.
fn answer(version: DiscoveryVersion) -> DiscoveryAnswer {
    let service = announcement(ServiceKind::Registry, 9);
    let site = service.site.filter(|_| version == DiscoveryVersion::Two);
    DiscoveryAnswer { version, nonce: 7, announcement: Announcement { site, ..service }, with_instance: true }
}

const VERSIONS: [DiscoveryVersion; 2] = [DiscoveryVersion::One, DiscoveryVersion::Two];

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
    assert_eq!(found[1].site, announcement(ServiceKind::Hub, 2).site);

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
    let request = DiscoveryRequest { multicast: false, ..request(DiscoveryVersion::Two) }.encode();
    for _ in 0..400 {
        flood.send(&request).await.unwrap();
    }
    let seen = || counters.answered() + counters.refused() + counters.malformed();
    timeout(LONG, async {
        while seen() < 402 {
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
    for version in VERSIONS {
        let (answer, request) = (answer(version), request(version));
        assert_eq!(answer.encode().len(), request.encode().len());
        assert_eq!(DiscoveryAnswer::decode(&answer.encode()), Some(answer));
        let request = DiscoveryRequest { nonce: u64::MAX, wanted: Some(ServiceKind::Hub), ..request };
        assert_eq!(DiscoveryRequest::decode(&request.encode()), Some(request));
    }
}

/// Bytes as WIRE.md draws them, written by hand.
#[test]
fn the_bytes_are_those_of_the_wire_format() {
    let zeros = |count: usize| "00".repeat(count);
    let head = |version, kind| format!("4744{version}{kind}0000000000000007");
    let of_request = |version| head(version, "01") + "00" + "03" + &zeros(114);
    let to_the_name =
        |version| head(version, "02") + "01071ce8" + "00000000" + &"09".repeat(16) + "6b656c61732d35" + &zeros(57);
    let (site, instance) = ("090a0b0c0d0e0f101112131415161718", "0000000000000009");
    let golden = [
        (of_request("01"), request(DiscoveryVersion::One).encode()),
        (of_request("02"), request(DiscoveryVersion::Two).encode()),
        (to_the_name("01") + instance + &zeros(20), answer(DiscoveryVersion::One).encode()),
        (to_the_name("02") + site + instance + &zeros(4), answer(DiscoveryVersion::Two).encode()),
    ];
    for (expected, bytes) in golden {
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }
}

#[test]
fn a_service_of_no_site_tells_none_in_either_version() {
    for version in VERSIONS {
        let service = Announcement { site: None, ..announcement(ServiceKind::Relay, 1) };
        let answer = DiscoveryAnswer { version, nonce: 1, announcement: service, with_instance: true };
        assert_eq!(DiscoveryAnswer::decode(&answer.encode()), Some(answer));
    }
}

#[test]
fn names_lose_control_characters_and_are_cut_at_a_character() {
    let long = "\u{1b}[2J".to_owned() + &"é".repeat(60);
    let service = Announcement { name: long, ..announcement(ServiceKind::Hub, 1) };
    let answer = DiscoveryAnswer { announcement: service, with_instance: false, ..answer(DiscoveryVersion::Two) };
    let name = DiscoveryAnswer::decode(&answer.encode()).unwrap().announcement.name;
    assert_eq!(name, "[2J".to_owned() + &"é".repeat(30));
}

#[test]
fn every_damaged_byte_is_refused_or_harmless() {
    for good in VERSIONS.map(|version| answer(version).encode()) {
        for at in 0..LENGTH {
            for value in [0, 1, 2, 3, 0x1b, 65, 0x80, 0xff] {
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
}

#[tokio::test]
async fn a_client_of_version_1_is_answered_in_version_1() {
    let service = announcement(ServiceKind::Registry, 5);
    let responder = Responder::open(0, LinkWatch::fixed(Vec::new()), service.clone()).unwrap();
    let port = responder.port().unwrap();
    let _running = run(responder);
    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for version in VERSIONS {
        client
            .send_to(&DiscoveryRequest { multicast: false, ..request(version) }.encode(), ("127.0.0.1", port))
            .await
            .unwrap();
        let mut buffer = [0; LENGTH];
        let (length, _) = timeout(LONG, client.recv_from(&mut buffer)).await.unwrap().unwrap();
        let answer = DiscoveryAnswer::decode(&buffer[..length]).unwrap();
        let told = service.site.filter(|_| version == DiscoveryVersion::Two);
        assert_eq!((answer.version, answer.announcement.site), (version, told));
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
    requester.send_to(&request(DiscoveryVersion::Two).encode(), ("127.0.0.1", port)).await.unwrap();
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; LENGTH];
    let received = timeout(LONG, group.receive(&deaf, &mut buffer)).await.unwrap().unwrap();
    let answer = DiscoveryAnswer::decode(&buffer[..received.0]).unwrap();
    assert_eq!((answer.nonce, answer.announcement.instance), (7, 5));
}
