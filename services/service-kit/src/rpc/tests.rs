#![allow(clippy::unwrap_used)]

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Instant,
};

use axum::routing::any;
use http_body::Body as _;
use tokio::{task::yield_now, time::timeout};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Code, Status, body::Body, codegen::http::Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;
use crate::health_client;

const LONG: Duration = Duration::from_secs(20);

struct Running {
    addr: String,
    readiness: Readiness,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
}

async fn start(limits: RpcLimits) -> Running {
    start_locally(Routes::default(), limits).await.1
}

async fn start_locally(routes: Routes, limits: RpcLimits) -> (LocalChannel, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (channel, local_listener) = local();
    let (readiness, stop) = (Readiness::new(), CancellationToken::new());
    let server = RpcServer::new(listener, routes, &["test.v1.Service"], &[], readiness.clone()).unwrap();
    let server = tokio::spawn(server.limits(limits).also_locally(local_listener).serve(stop.clone()));
    (channel, Running { addr, readiness, stop, server })
}

impl Running {
    async fn channel(&self) -> Channel {
        endpoint(&self.addr).unwrap().connect().await.unwrap()
    }

    async fn ends(self) {
        timeout(LONG, self.server).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn health_follows_readiness_and_draining() {
    let running = start(RpcLimits::default()).await;
    let mut client = HealthClient::new(running.channel().await);
    let request = HealthCheckRequest { service: "test.v1.Service".to_owned() };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    let mut next = async || timeout(LONG, watch.next()).await.unwrap().unwrap().map(|s| s.status());

    assert_eq!(next().await.unwrap(), tonic_health::pb::health_check_response::ServingStatus::NotServing);
    assert!(!health_client::check(&running.addr, LONG).await.serving);
    running.readiness.ready();
    assert_eq!(next().await.unwrap(), tonic_health::pb::health_check_response::ServingStatus::Serving);
    assert!(health_client::check(&running.addr, LONG).await.serving);

    running.stop.cancel();
    assert_eq!(next().await.unwrap(), tonic_health::pb::health_check_response::ServingStatus::NotServing);
    assert_eq!(next().await.unwrap_err().code(), Code::Unavailable, "the open stream is ended, not left hanging");
    running.ends().await;
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let running = start(RpcLimits::default()).await;
    let mut client = ServerReflectionClient::new(running.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    assert!(names.iter().any(|n| n == "grpc.health.v1.Health"), "{names:?}");
    running.stop.cancel();
    running.ends().await;
}

#[tokio::test]
async fn a_request_stream_ends_for_the_handler_when_the_server_stops() {
    let running = start(RpcLimits::default()).await;
    let mut client = ServerReflectionClient::new(running.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::pending()).await.unwrap().into_inner();
    running.stop.cancel();
    // The handler saw its client finish, and so finished in its own way, with OK.
    assert!(timeout(LONG, answers.next()).await.unwrap().is_none());
    running.ends().await;
}

#[tokio::test]
async fn a_client_that_never_ends_is_cut_after_the_drain_time() {
    let running = start(RpcLimits { drain: Duration::from_millis(100), ..RpcLimits::default() }).await;
    // A peer that sent its HTTP/2 preface and then nothing keeps the connection open.
    let mut silent = tokio::net::TcpStream::connect(&running.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut silent, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut greeting = [0; 9];
    tokio::io::AsyncReadExt::read_exact(&mut silent, &mut greeting).await.unwrap();
    running.stop.cancel();
    running.ends().await;
}

#[test]
fn targets_are_host_and_port() {
    for good in ["127.0.0.1:7400", "registry:7400", "[::1]:7400"] {
        endpoint(good).unwrap();
    }
    for bad in ["", "registry", ":7400", "registry:port", "a b:1", "registry:70000"] {
        assert!(endpoint(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn calls_within_the_process_are_served_and_drained_like_others() {
    let (channel, running) = start_locally(Routes::default(), RpcLimits::default()).await;
    running.readiness.ready();
    let mut client = HealthClient::new(ServerTransport::Local(channel.clone()));
    client.check(HealthCheckRequest::default()).await.unwrap();
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1, "serving");

    running.stop.cancel();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2, "not serving any more");
    assert_eq!(watch.next().await.unwrap().unwrap_err().code(), Code::Unavailable, "the open stream is ended");
    running.ends().await;
    let refused = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "the server has ended");
}

#[tokio::test]
async fn a_call_within_the_process_waits_for_its_server_as_long_as_it_may() {
    let (channel, listener) = local();
    let call = |deadline| code_of(&channel, "/test/Any", deadline);
    assert!(timeout(Duration::from_millis(20), call(None)).await.is_err());
    assert_eq!(timeout(LONG, call(Some("20m"))).await.unwrap(), Code::DeadlineExceeded);
    let waiting = tokio::spawn(call(None));
    drop(listener);
    assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_within_the_process_has_a_deadline_and_is_cut_after_the_drain_time() {
    let (channel, running) = start_locally(misbehaving(), short_drain()).await;
    let call = |deadline| code_of(&channel, "/test/Never", deadline);
    for deadline in ["20m", "20000u", "0S", "0M", "0H", "20000000n"] {
        assert_eq!(timeout(LONG, call(Some(deadline))).await.unwrap(), Code::DeadlineExceeded, "{deadline}");
    }
    for none in [None, Some(""), Some("m"), Some("1x"), Some("-1S"), Some("99999999H")] {
        assert!(timeout(Duration::from_millis(20), call(none)).await.is_err(), "{none:?}");
    }
    let mut open = pin!(call(None));
    assert!(timeout(Duration::from_millis(20), &mut open).await.is_err());
    running.stop.cancel();
    assert_eq!(timeout(LONG, open).await.unwrap(), Code::Unavailable);
    running.ends().await;
}

#[tokio::test]
async fn answers_within_the_process_are_cut_after_the_drain_time_and_counted_until_nobody_wants_them() {
    for wanted in [true, false] {
        let (channel, running) = start_locally(misbehaving(), short_drain()).await;
        let mut answers = channel.clone().call(request("/test/Endless", None)).await.into_body();
        assert!(next_of(&mut answers).await.unwrap().is_ok());
        let asked = Instant::now();
        running.stop.cancel();
        if wanted {
            let last = loop {
                yield_now().await;
                if let Err(last) = next_of(&mut answers).await.unwrap() {
                    break last;
                }
            };
            assert_eq!(last.code(), Code::Unavailable);
            assert!(next_of(&mut answers).await.is_none());
            assert!(asked.elapsed() >= short_drain().drain);
        }
        drop(answers);
        running.ends().await;
    }
}

#[tokio::test]
async fn a_panic_within_the_process_ends_the_call_and_not_the_caller() {
    let (channel, running) = start_locally(misbehaving(), short_drain()).await;
    assert_eq!(code_of(&channel, "/test/Panic", None).await, Code::Internal);
    let mut answers = channel.clone().call(request("/test/PanicLater", None)).await.into_body();
    assert_eq!(next_of(&mut answers).await.unwrap().unwrap_err().code(), Code::Internal);
    assert!(next_of(&mut answers).await.is_none());
    running.stop.cancel();
    running.ends().await;
}

fn short_drain() -> RpcLimits {
    RpcLimits { connections: 8, streams_per_connection: 8, drain: Duration::from_millis(100), ..RpcLimits::default() }
}

/// Has always more, without a pause.
struct Endless;

impl Stream for Endless {
    type Item = Result<&'static str, Status>;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok("more")))
    }
}

fn misbehaving() -> Routes {
    let panics = || std::iter::from_fn(|| -> Option<Result<&str, Status>> { panic!("the test's own") });
    let router = axum::Router::new()
        .route("/test/Never", any(pending::<()>))
        .route("/test/Endless", any(async move || axum::body::Body::from_stream(Endless)))
        .route("/test/Panic", any(async || -> () { panic!("the test's own") }))
        .route("/test/PanicLater", any(async move || axum::body::Body::from_stream(tokio_stream::iter(panics()))));
    Routes::from(router)
}

fn request(path: &str, deadline: Option<&str>) -> Request<Body> {
    let request = Request::builder().uri(path);
    let request = deadline.into_iter().fold(request, |request, deadline| request.header("grpc-timeout", deadline));
    request.body(Body::empty()).unwrap()
}

/// How a call without an answer ends.
fn code_of(channel: &LocalChannel, path: &str, deadline: Option<&str>) -> impl Future<Output = Code> + Send + use<> {
    let answered = channel.clone().call(request(path, deadline));
    async { Status::from_header_map(answered.await.headers()).unwrap().code() }
}

async fn next_of(answers: &mut Body) -> Option<Result<(), Status>> {
    let frame = timeout(LONG, poll_fn(|cx| Pin::new(&mut *answers).poll_frame(cx))).await.unwrap();
    frame.map(|frame| frame.map(drop))
}
