//! Who opens something and then says nothing, or reads nothing.

use std::{
    collections::VecDeque,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use gaung_proto::{
    pb::relay::{
        FollowGroup, FollowRequest, PublishStreamRequest, ReadRequest, StreamedPublish, follow_request::Change,
    },
    ports,
};
use gaung_site::{ExpectedSite, tls};
use gaung_tests::hostile::{Attacker, publish};
use rustls::time_provider::DefaultTimeProvider;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt as _;
use tonic::Request;

use crate::suffer;

/// More than any listener has places, and less than the files that a process may usually open.
const CONNECTIONS: usize = 3000;
/// TLS handshakes at a time.
const HANDSHAKES: usize = 64;
/// Calls of one connection that are reset at once: a hundred times what the server lets wait.
const RESETS: usize = 2000;
/// Connections of all kinds together, and calls that are reset on one in three of them.
const ALL_KINDS: usize = 10_000;
const FEW_RESETS: usize = 40;
/// Streams that are opened and not read.
const STREAMS: usize = 200;

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    suffer("connections_that_say_nothing_keep_nobody_out", |attacker| stall(&attacker, b""));
}

#[test]
fn half_a_preface_keeps_nobody_out() {
    suffer("half_a_preface_keeps_nobody_out", |attacker| stall(&attacker, b"PRI * HTTP/2.0\r\n"));
}

#[test]
fn http2_connections_without_a_call_keep_nobody_out() {
    suffer("http2_connections_without_a_call_keep_nobody_out", |attacker| {
        stall(&attacker, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    });
}

/// The head of a record with a ClientHello of 508 bytes, and the version that it offers.
const HALF_TLS: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: x";

#[test]
fn half_a_tls_handshake_keeps_nobody_out() {
    suffer("half_a_tls_handshake_keeps_nobody_out", |attacker| stall(&attacker, HALF_TLS));
}

#[test]
fn ten_thousand_slow_connections_of_all_kinds_delay_nobody_much() {
    let made = AtomicUsize::new(0);
    let harm = suffer("ten_thousand_slow_connections_of_all_kinds_delay_nobody_much", |attacker| {
        let grpc = [ports::REGISTRY, ports::RELAY, ports::HUB];
        let resets = resets(FEW_RESETS);
        let kinds = grpc.into_iter().flat_map(|port| {
            [
                (port, HALF_TLS),
                (port, &resets[..]),
                (ports::WEB, HALF_HEAD),
                (ports::HUB_TCP, HALF_TLS),
                (port, HALF_HEAD),
            ]
        });
        let kinds: Vec<_> = kinds.collect();
        let mut held = Vec::new();
        for (port, beginning) in kinds.into_iter().cycle().take_while(|_| attacker.goes_on()) {
            if let Some(stream) = open(attacker.at(port), beginning) {
                made.fetch_add(1, Ordering::Relaxed);
                held.push(stream);
            }
            if made.load(Ordering::Relaxed) == ALL_KINDS {
                break;
            }
            // At most two thousand new ones a second: they are many and slow, not fast.
            thread::sleep(Duration::from_micros(500));
        }
        attacker.run(async || attacker.hold().await);
    });
    let Some(harm) = harm else { return };
    let made = made.into_inner();
    println!("{made} connections");
    assert!(made >= ALL_KINDS, "{made} connections were made");
    harm.assert_few_late();
}

#[test]
fn tls_handshakes_without_a_call_keep_nobody_out() {
    let made = AtomicUsize::new(0);
    let harm = suffer("tls_handshakes_without_a_call_keep_nobody_out", |attacker| {
        attacker.run(async || {
            let mut held = VecDeque::new();
            each_handshake(&attacker, async |stream| {
                made.fetch_add(1, Ordering::Relaxed);
                held.push_back(stream);
                if held.len() > CONNECTIONS {
                    held.pop_front();
                }
            })
            .await;
        });
    });
    assert!(harm.is_none() || made.into_inner() > HANDSHAKES, "handshakes are made");
}

#[test]
fn calls_that_are_reset_at_once_delay_nobody() {
    let ended = AtomicUsize::new(0);
    let harm = suffer("calls_that_are_reset_at_once_delay_nobody", |attacker| {
        let ended = &ended;
        attacker.run(async || {
            each_handshake(&attacker, async |mut stream| {
                // The server ends the connection before the last of these is written, or nobody stops it.
                let written = stream.write_all(&resets(RESETS)).await;
                ended.fetch_add(usize::from(written.is_err() || is_ended(&mut stream).await), Ordering::Relaxed);
            })
            .await;
        });
    });
    assert!(harm.is_none() || ended.into_inner() > 0, "the server ends such connections");
}

/// The beginning of an HTTP/2 connection, and calls each of which is reset as soon as it is made (CVE-2023-44487).
fn resets(count: usize) -> Vec<u8> {
    /// `:method: POST`, `:scheme: http` and `:path: /` of HPACK's static table (RFC 7541, appendix A).
    const HEADERS: [u8; 3] = [0x83, 0x86, 0x84];
    const END_OF_STREAM_AND_HEADERS: u8 = 0x01 | 0x04;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for stream in (1_u32..).step_by(2).take(count) {
        let stream = stream.to_be_bytes();
        bytes.extend([&[0, 0, 3, 1, END_OF_STREAM_AND_HEADERS], &stream[..], &HEADERS].concat());
        bytes.extend([&[0, 0, 4, 3, 0], &stream[..], &CANCEL].concat());
    }
    bytes
}

/// Whether the server ends the connection once everything was written.
async fn is_ended(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let until_end = async {
        let mut answer = [0; 4096];
        while stream.read(&mut answer).await.is_ok_and(|count| count > 0) {}
    };
    tokio::time::timeout(Duration::from_secs(1), until_end).await.is_ok()
}

/// Makes TLS connections to all services, [`HANDSHAKES`] at a time, and hands each to `attack` until the attack's time is over.
async fn each_handshake(attacker: &Attacker, mut attack: impl AsyncFnMut(TlsStream<tokio::net::TcpStream>)) {
    let services = attacker.services().await;
    let clock = Arc::new(DefaultTimeProvider);
    let config = tls::client_config(ExpectedSite::Any, None, &[b"h2"], clock).expect("TLS 1.3 is there");
    let config = Arc::new(config);
    let mut begun = JoinSet::new();
    for (port, role) in services.into_iter().cycle() {
        let (host, config) = (attacker.server().to_string(), Arc::clone(&config));
        begun.spawn(async move { gaung_net::tls::connect(&host, port, role, config).await });
        if begun.len() == HANDSHAKES
            && let Some(Ok(Ok(stream))) = begun.join_next().await
        {
            attack(stream).await;
        }
        if !attacker.goes_on() {
            return;
        }
    }
}

#[test]
fn half_a_head_keeps_nobody_out() {
    suffer("half_a_head_keeps_nobody_out", |attacker| stall(&attacker, HALF_HEAD));
}

#[test]
fn answers_that_nobody_reads_stop_no_publisher() {
    suffer("answers_that_nobody_reads_stop_no_publisher", |attacker| {
        attacker.run(async || {
            let group = attacker.group("everyone").await;
            let client = rand::random();
            let (sender, requests) = tokio::sync::mpsc::channel(16);
            let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
            let answers = attacker.relay(1).publish_stream(Request::new(stream)).await;
            let one = StreamedPublish { tag: 1, publish: Some(publish(&group, client, &[1])) };
            let request = PublishStreamRequest { publishes: vec![one; 64] };
            for _ in 0..2000 {
                let sent = tokio::time::timeout(Duration::from_secs(1), sender.send(request.clone())).await;
                if !attacker.goes_on() || !matches!(sent, Ok(Ok(()))) {
                    break;
                }
            }
            attacker.hold().await;
            drop(answers);
        });
    });
}

#[test]
fn followed_and_read_by_nobody_costs_little_memory() {
    suffer("followed_and_read_by_nobody_costs_little_memory", |attacker| {
        attacker.run(async || {
            let group = attacker.group("everyone").await;
            let mut relay = attacker.relay(1);
            let large = [publish(&group, rand::random(), &[1])].map(|mut request| {
                let payload = vec![b'x'; 200 * 1024].into();
                request.entries[0].payload = payload;
                request.entries = (1..=4)
                    .map(|seq| {
                        let mut e = request.entries[0].clone();
                        e.client_seq = seq;
                        e
                    })
                    .collect();
                request
            });
            for request in large {
                let _ = relay.publish(request).await;
            }
            let mut held = Vec::new();
            for _ in 0..STREAMS {
                let add = FollowGroup { group_id: group.id.clone(), from_seq: 1, ..Default::default() };
                let request = FollowRequest { change: Some(Change::Add(add)) };
                let requests = tokio_stream::iter([request]).chain(tokio_stream::pending());
                held.extend(relay.follow(requests).await.ok());
                let read = ReadRequest { group_id: group.id.clone(), from_seq: 1, ..Default::default() };
                let _ = relay.read(read).await.map(std::mem::forget);
                if !attacker.goes_on() {
                    return;
                }
            }
            attacker.hold().await;
        });
    });
}

/// Keeps [`CONNECTIONS`] spread over all ports, each of which has said `beginning`, and opens a new one for the oldest.
fn stall(attacker: &Attacker, beginning: &[u8]) {
    let ports = [
        ports::REGISTRY,
        ports::RELAY,
        ports::HUB,
        ports::HUB_TCP,
        ports::TEXT,
        ports::WEB,
        ports::REGISTRY_METRICS,
        ports::RELAY_METRICS,
        ports::HUB_METRICS,
    ];
    let mut held = VecDeque::new();
    for port in ports.into_iter().cycle() {
        if !attacker.goes_on() {
            return;
        }
        if held.len() == CONNECTIONS {
            held.pop_front();
            // At most a thousand new ones a second: it is the places that are attacked.
            thread::sleep(Duration::from_millis(1));
        }
        held.extend(open(attacker.at(port), beginning));
    }
}

/// A connection that has said `beginning`; none if the server lets none in.
fn open(at: SocketAddr, beginning: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_millis(100)).ok()?;
    stream.write_all(beginning).ok()?;
    Some(stream)
}
