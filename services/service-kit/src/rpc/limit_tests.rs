#![allow(clippy::unwrap_used)]

use std::{future::poll_fn, pin::Pin};

use axum::routing::any;
use http_body::Body as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service as _,
        http::{Request, Response},
    },
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::health_client;

const LONG: Duration = Duration::from_secs(20);

struct Running {
    addr: SocketAddr,
    metrics: Metrics,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn start(routes: axum::Router, limits: RpcLimits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (readiness, stop, metrics) = (Readiness::new(), CancellationToken::new(), Metrics::new());
    readiness.ready();
    let server = RpcServer::new(listener, Routes::from(routes), &[], &[], readiness).unwrap().count_in(&metrics);
    let server = tokio::spawn(server.limits(limits).serve(stop.clone()));
    Running { addr, metrics, stop, server }
}

impl Running {
    async fn channel(&self) -> Channel {
        endpoint(&self.addr.to_string()).unwrap().initial_stream_window_size(1000).connect().await.unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("gaung_rpc_{name} "))).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    async fn ends(self) {
        self.stop.cancel();
        timeout(LONG, self.server).await.unwrap().unwrap().unwrap();
    }
}

async fn connect_from(host: u8, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// Completes once the peer has closed the connection.
async fn closed(stream: &mut TcpStream) {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await.is_ok_and(|count| count > 0) {}
}

async fn call(channel: &mut Channel, path: &str) -> Response<Body> {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    channel.call(request).await.unwrap()
}

async fn code_at_end(response: Response<Body>) -> Code {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status.code();
    }
    let mut body = response.into_body();
    loop {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return Code::Ok,
            Some(Err(error)) => return error.code(),
            Some(Ok(frame)) if frame.is_trailers() => {
                return Status::from_header_map(&frame.into_trailers().unwrap()).unwrap().code();
            }
            Some(Ok(_)) => {}
        }
    }
}

#[tokio::test]
async fn one_address_full_of_silent_connections_keeps_nobody_out() {
    let running = start(axum::Router::new(), RpcLimits { connections: 8, ..RpcLimits::default() }).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(connect_from(66, running.addr).await);
    }
    let mut others = Vec::new();
    for host in 2..6 {
        let stream = connect_from(host, running.addr).await;
        others.push(stream);
    }
    assert!(health_client::check(&running.addr.to_string(), LONG).await.serving);
    assert!(running.count("connections_refused_total") > 50);
    assert!(running.count("connections") < 64);
    for stream in &mut others {
        assert!(timeout(Duration::from_millis(5), closed(stream)).await.is_err(), "theirs stay open");
    }
    running.ends().await;
}

#[tokio::test]
async fn connections_that_do_not_begin_or_go_on_are_closed() {
    let (short, long) = (Duration::from_millis(50), LONG * 10);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let limits = RpcLimits { preface: short, first_call: long, ..RpcLimits::default() };
    let running = start(axum::Router::new(), limits).await;
    let mut silent = connect_from(2, running.addr).await;
    let mut half = connect_from(3, running.addr).await;
    half.write_all(&preface[..20]).await.unwrap();
    timeout(LONG, closed(&mut silent)).await.unwrap();
    timeout(LONG, closed(&mut half)).await.unwrap();
    running.ends().await;

    let limits = RpcLimits { preface: long, first_call: short, idle: short, ..RpcLimits::default() };
    let running = start(axum::Router::new(), limits).await;
    let mut begun = connect_from(2, running.addr).await;
    begun.write_all(preface).await.unwrap();
    timeout(LONG, closed(&mut begun)).await.unwrap();
    let mut client = HealthClient::new(running.channel().await);
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap();
    assert!(timeout(Duration::from_millis(1200), watch.message()).await.is_err(), "an open call is no idleness");
    drop(watch);
    while running.count("connections") > 0 {
        tokio::time::sleep(short).await;
    }
    client.check(HealthCheckRequest::default()).await.unwrap();
    running.ends().await;
}

fn chatty() -> axum::Router {
    let endless = || tokio_stream::iter(std::iter::repeat_with(|| Ok::<_, Status>(vec![7_u8; 64 * 1024])));
    axum::Router::new()
        .route("/test/Endless", any(async move || axum::body::Body::from_stream(endless())))
        .route("/test/Long", any(async || vec![7_u8; 100 * 1024]))
        .route("/test/Never", any(std::future::pending::<()>))
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_and_ended() {
    let limits = RpcLimits { stall: Duration::from_millis(50), ..RpcLimits::default() };
    let running = start(chatty(), limits).await;
    let mut channel = running.channel().await;
    let unread = call(&mut channel, "/test/Endless").await;
    while running.count("calls_stalled_total") == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let code = timeout(LONG, code_at_end(unread)).await.unwrap();
    assert!(matches!(code, Code::Cancelled | Code::ResourceExhausted), "{code:?}");
    // Other calls of the connection are not touched.
    assert_eq!(timeout(LONG, code_at_end(call(&mut channel, "/test/Long").await)).await.unwrap(), Code::Ok);
    running.ends().await;
}

#[tokio::test]
async fn unread_answers_of_one_address_are_bounded_together() {
    let limits = RpcLimits { bytes_per_address: 512 * 1024, ..RpcLimits::default() };
    let running = start(chatty(), limits).await;
    let channel = running.channel().await;
    let mut unread = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let mut channel = channel.clone();
        unread.spawn(async move {
            let _answer = call(&mut channel, "/test/Endless").await;
            std::future::pending::<()>().await;
        });
    }
    // The address's own calls wait once its share is used up.
    let mut health = HealthClient::new(channel);
    let blocked = async {
        while timeout(Duration::from_millis(200), health.check(HealthCheckRequest::default())).await.is_ok() {}
    };
    timeout(LONG, blocked).await.unwrap();
    assert_eq!(running.count("calls_refused_total"), 0);
    assert!(running.metrics.encode().unwrap().contains("gaung_rpc_held_bytes"));
    unread.shutdown().await;
    timeout(LONG, health.check(HealthCheckRequest::default())).await.unwrap().unwrap();
    running.ends().await;
}

#[tokio::test]
async fn one_address_has_its_share_of_calls() {
    let running = start(chatty(), RpcLimits { calls_per_address: 2, ..RpcLimits::default() }).await;
    let channel = running.channel().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut channel = channel.clone();
        calls.spawn(async move { code_at_end(call(&mut channel, "/test/Never").await).await });
    }
    let refused = timeout(LONG, calls.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!((refused, running.count("calls_refused_total")), (Code::ResourceExhausted, 1));
    calls.shutdown().await;
    // What ended makes room.
    let again = async { while code_at_end(call(&mut channel.clone(), "/test/Long").await).await != Code::Ok {} };
    timeout(LONG, again).await.unwrap();
    running.ends().await;
}

#[tokio::test]
async fn a_message_has_to_arrive_within_its_time() {
    let running =
        start(axum::Router::new(), RpcLimits { message: Duration::from_millis(50), ..RpcLimits::default() }).await;
    let mut channel = running.channel().await;
    let part = tokio_stream::StreamExt::chain(
        tokio_stream::once(Ok::<_, Status>(&b"\0\0\0\0\x09\x0a"[..])),
        tokio_stream::pending(),
    );
    let request = Request::builder()
        .method("POST")
        .uri("/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .body(Body::new(axum::body::Body::from_stream(part)))
        .unwrap();
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = timeout(LONG, channel.call(request)).await.unwrap().unwrap();
    assert_eq!(code_at_end(response).await, Code::DeadlineExceeded);
    running.ends().await;
}
