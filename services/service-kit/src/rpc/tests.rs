#![allow(clippy::unwrap_used)]

use tokio_stream::StreamExt as _;
use tonic::{Code, transport::Channel};
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (readiness, stop) = (Readiness::new(), CancellationToken::new());
    let server = RpcServer::new(listener, Routes::default(), &["test.v1.Service"], &[], readiness.clone()).unwrap();
    let server = tokio::spawn(server.limits(limits).serve(stop.clone()));
    Running { addr, readiness, stop, server }
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

#[tokio::test]
async fn connections_above_the_limit_wait_for_a_place() {
    let running = start(RpcLimits { connections: 1, ..RpcLimits::default() }).await;
    running.readiness.ready();
    let first = running.channel().await;
    HealthClient::new(first.clone()).check(HealthCheckRequest::default()).await.unwrap();
    assert!(health_client::check(&running.addr, Duration::from_millis(100)).await.line.contains("no answer"));
    drop(first);
    assert!(health_client::check(&running.addr, LONG).await.serving);
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
async fn a_connection_within_the_process_is_served_limited_and_drained_like_any_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dialer, local_listener) = local();
    let (readiness, stop) = (Readiness::new(), CancellationToken::new());
    let server = RpcServer::new(listener, Routes::default(), &[], &[], readiness.clone()).unwrap();
    let limits = RpcLimits { connections: 1, ..RpcLimits::default() };
    let server = tokio::spawn(server.limits(limits).also_locally(local_listener).serve(stop.clone()));
    readiness.ready();

    // Nobody listens there: the address is of no account.
    let anywhere = endpoint("127.0.0.1:1").unwrap();
    let mut client = HealthClient::new(dialer.connect(&anywhere).await.unwrap());
    client.check(HealthCheckRequest::default()).await.unwrap();
    let mut second = HealthClient::new(dialer.connect_lazy(&anywhere));
    let waits = timeout(Duration::from_millis(100), second.check(HealthCheckRequest::default())).await;
    assert!(waits.is_err(), "there is no place for a second one");
    drop(client);
    timeout(LONG, second.check(HealthCheckRequest::default())).await.unwrap().unwrap();

    stop.cancel();
    timeout(LONG, server).await.unwrap().unwrap().unwrap();
    assert!(dialer.connect(&anywhere).await.is_err(), "the server has ended");
}
