//! Sessions and the page by TLS, beside plaintext on the same ports.

use std::time::Duration;

use broadcast_hub::Limits;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, Seq,
    frame::encode_control,
    pb::hub::{ClientFrame, Ping, client_frame, server_frame::Frame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    client::{FramedClient, Received, connect_by_tls, take},
    page::{Browser, hello, opening, send_request_over, web_message},
    site::client_config,
    slow::flood,
    world::{LONG, World},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_framed_session_by_tls_publishes_and_hears_large_messages() {
    let world = World::start(Limits { ring_bytes: 1 << 20, ..Limits::default() }).await;
    let group = world.group("g", 2);
    let key = SigningKey::from_bytes(&[3; 32]);
    let stream = TcpStream::connect(world.hub.tcp).await.unwrap();
    let connector = TlsConnector::from(client_config(Some(gaung_site::device_proof(&key).unwrap())));
    let stream = connector.connect(world.hub.role.server_name(), stream).await.unwrap();
    let mut client = FramedClient::over(stream);
    client.device = DeviceId::of_public_key(key.verifying_key().as_bytes()).into();
    client.hello().await;
    client.subscribe("g", 1, 0).await;
    client.publish(group, 7, 1, 100).await;
    let mut next = Seq::FIRST;
    let published = loop {
        match client.next().await {
            Received::Run(run) => take(group, &mut next, &run),
            Received::Frame(Frame::Published(published)) => break published,
            Received::Frame(_) => {}
        }
    };
    assert_eq!((published.tag, published.acks[0].first_client_seq), (7, 1));

    for _ in 0..100 {
        // Ten in the ring at a time, so that none is read from the log.
        for _ in 0..10 {
            world.relay.append(group, 1, 40_000);
        }
        client.read_up_to(group, &mut next, world.relay.head(group)).await;
    }
    // From the log.
    client.subscribe("g", 1, 0).await;
    client.read_up_to(group, &mut Seq::FIRST.clone(), Seq(1100)).await;
    client.send(client_frame::Frame::Ping(Ping { nonce: 5 })).await;
    assert!(matches!(client.next_frame().await, Frame::Pong(pong) if pong.nonce == 5));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_by_tls_that_takes_nothing_is_unresponsive() {
    // So large a ring that the reader never falls behind it, and so long a linger that the test can read the rest.
    let limits = Limits {
        ring_bytes: 64 << 20,
        stall: Duration::from_secs(1),
        linger: Duration::from_secs(60),
        ..Limits::default()
    };
    let world = World::with(|config| {
        config.limits = limits;
        config.metrics_listen = Some(crate::world::any());
    })
    .await;
    let group = world.group("g", 2);
    let mut slow = FramedClient::open_by_tls(&world.hub).await;
    slow.subscribe("g", 1, 0).await;
    let mut fast = FramedClient::open_by_tls(&world.hub).await;
    fast.subscribe("g", 1, 0).await;
    flood(&world, &mut fast, &mut Seq::FIRST.clone()).await;
    world.hub.until_metric("gaung_hub_stalled_total 1").await;
    let mut next = Seq::FIRST;
    let bye = loop {
        match slow.next().await {
            Received::Run(run) => take(group, &mut next, &run),
            Received::Frame(Frame::Bye(bye)) => break bye,
            Received::Frame(frame) => assert!(matches!(frame, Frame::Subscribed(_)), "{frame:?}"),
        }
    };
    assert!(bye.reason.contains("nothing was read"), "{bye:?}");
    let resume = bye.resume.iter().find(|resume| resume.group_id == group.as_bytes()[..]).unwrap();
    assert_eq!(Seq(resume.from_seq), next, "what TLS had taken was sent as a whole");
    assert!(slow.try_next().await.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_hub_says_bye_and_closes_tls() {
    let world = World::start(Limits::default()).await;
    let mut stream = connect_by_tls(&world.hub, world.hub.tcp).await;
    stream.write_all(&encode_control(&ClientFrame { frame: Some(hello()) })).await.unwrap();
    world.hub.until_status("the session is there", |status| status.framed_sessions == 1).await;
    let stop = tokio::spawn(world.stop());
    let mut heard = Vec::new();
    // It would fail if the connection had ended without a close_notify, as it does when somebody cuts it.
    timeout(LONG, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&heard).contains("stopping"));
    drop(stream);
    stop.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_peer_closes_tls_ends() {
    let world = World::start(Limits::default()).await;
    let mut client = FramedClient::open_by_tls(&world.hub).await;
    client.publish(world.everyone, 1, 1, 1).await;
    // The socket stays open for what the hub would still send.
    client.stream.shutdown().await.unwrap();
    while client.try_next().await.is_some() {}
    world.hub.until_status("the session is gone", |status| status.framed_sessions == 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_records_end_the_session_with_an_alert() {
    let world = World::start(Limits::default()).await;
    for garbage in [&b"\x17\x03\x03\x00\x20 this was not encrypted by anybody"[..], &[0xff; 100_000]] {
        let mut stream = connect_by_tls(&world.hub, world.hub.tcp).await;
        stream.write_all(&encode_control(&ClientFrame { frame: Some(hello()) })).await.unwrap();
        world.hub.until_status("the session is there", |status| status.framed_sessions == 1).await;
        stream.get_mut().0.write_all(garbage).await.unwrap();
        let error = timeout(LONG, stream.read_to_end(&mut Vec::new())).await.unwrap().unwrap_err();
        println!("{error}");
        world.hub.until_status("the session is gone", |status| status.framed_sessions == 0).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_dies_in_the_middle_of_a_record_leaves_no_session() {
    let world = World::start(Limits::default()).await;
    for resets in [false, true] {
        let mut stream = connect_by_tls(&world.hub, world.hub.tcp).await;
        stream.write_all(&encode_control(&ClientFrame { frame: Some(hello()) })).await.unwrap();
        world.hub.until_status("the session is there", |status| status.framed_sessions == 1).await;
        let (mut socket, mut tls) = stream.into_inner();
        std::io::Write::write_all(&mut tls.writer(), &[0; 10_000]).unwrap();
        let mut record = Vec::new();
        tls.write_tls(&mut record).unwrap();
        socket.write_all(&record[..5000]).await.unwrap();
        if resets {
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(socket);
        world.hub.until_status("the session is gone", |status| status.framed_sessions == 0).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_sends_nothing_is_told_so() {
    let world = World::start(Limits { hello: Duration::from_millis(100), ..Limits::default() }).await;
    let mut silent = FramedClient::raw(world.hub.tcp).await;
    let Frame::Bye(bye) = silent.next_frame().await else { panic!("no goodbye") };
    assert!(bye.reason.contains("no hello") && bye.r#final, "{bye:?}");
    assert!(silent.try_next().await.is_none());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_by_https_and_http_on_one_port() {
    let world = World::start(Limits::default()).await;
    let page = world.hub.page;
    for path in ["/", "/js/main.js", "/api/about"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {page}");
        let secure = connect_by_tls(&world.hub, page).await;
        let (status, answer) = send_request_over(secure, &head).await;
        assert_eq!(status, 200, "{answer}");
        // The page is found by address, and the next owner of the address may have no certificate.
        assert!(!answer.to_ascii_lowercase().contains("strict-transport-security"), "{answer}");
        assert_eq!(answer.contains(&format!("https://{page}/")), path == "/api/about", "{answer}");
        let (status, plain) = send_request_over(TcpStream::connect(page).await.unwrap(), &head).await;
        assert_eq!(status, 200, "{plain}");
        assert!(!plain.contains("https://"), "{plain}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_came_by_http_does_nothing_by_https() {
    let world = World::start(Limits::default()).await;
    let page = world.hub.page;
    let (http, https) = (format!("http://{page}"), format!("https://{page}"));
    let post = |origin| format!("POST /api/groups HTTP/1.1\r\nhost: {page}\r\norigin: {origin}\r\ncontent-length: 0");
    for (origin, expected) in [(&http, 403), (&https, 415)] {
        let secure = connect_by_tls(&world.hub, page).await;

        assert_eq!(send_request_over(secure, &post(origin)).await.0, expected, "{origin}");
    }
    let mut secure = connect_by_tls(&world.hub, page).await;
    secure.write_all(format!("{}\r\n\r\n", opening(page, &http)).as_bytes()).await.unwrap();
    let mut status = [0; 12];
    timeout(LONG, secure.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 403");
    let plain = TcpStream::connect(page).await.unwrap();
    assert_eq!(send_request_over(plain, &opening(page, &https)).await.0, 403);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_by_https_hears_what_a_framed_client_hears() {
    let world = World::start(Limits { ring_bytes: 256 * 1024, ..Limits::default() }).await;
    let group = world.group("lobby", 2);
    let append = || (0..5).for_each(|_| world.relay.append(group, 100, 1000));
    append();
    let page = world.hub.page;
    // What follows the request in the same record, and in records that arrive with it, belongs to the session.
    let mut stream = connect_by_tls(&world.hub, page).await;
    stream.get_mut().0.set_nodelay(true).unwrap();
    let early = web_message(hello());
    let (first, rest) = early.split_at(10);
    let head = opening(page, &format!("https://{page}"));
    let mut browser = {
        let (socket, tls) = stream.get_mut();
        let mut records = Vec::new();
        for part in [&[format!("{head}\r\n\r\n").as_bytes(), first].concat()[..], rest] {
            std::io::Write::write_all(&mut tls.writer(), part).unwrap();
            tls.write_tls(&mut records).unwrap();
        }
        socket.write_all(&records).await.unwrap();
        Browser::opened(stream).await
    };
    assert!(matches!(browser.next().await, Some(Received::Frame(Frame::Welcome(_)))));
    browser.subscribe("lobby", 1).await;
    let mut next = Seq::FIRST;
    for upto in [500, 1000] {
        while next <= Seq(upto) {
            if let Received::Run(run) = browser.next().await.unwrap() {
                take(group, &mut next, &run);
            }
        }
        append();
    }
    let stop = tokio::spawn(world.stop());
    let reason = loop {
        if let Received::Frame(Frame::Bye(bye)) = browser.next().await.unwrap() {
            break bye.reason;
        }
    };
    assert!(reason.contains("stopping"), "{reason}");
    drop(browser);
    stop.await.unwrap();
}
