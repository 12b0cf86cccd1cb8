//! Bad input and bad settings: each with its own error, which says what to do.

use crate::support::{GroupKind, OneGroup, RegistryDouble, TestRelay, entry, eventually, publish, request};
use gaung_proto::{
    GroupId,
    limits::MAX_PAYLOAD,
    pb::relay::{Entry, PublishRequest},
};
use multicast_relay::{Config, bind};
use tonic::Code;

#[tokio::test]
async fn bad_requests_have_their_own_errors() {
    let OneGroup { registry: _registry, relay, group, mut client, .. } = OneGroup::start().await;
    publish(&mut client, request(group, 1, vec![entry(5000, "first")])).await;
    let sized = |len: usize| Entry { client_seq: 9000, content_type: 1, payload: vec![0; len].into() };
    let good = request(group, 2, vec![entry(1, "x")]);
    let many: Vec<Entry> = (1..=5).map(|n| Entry { client_seq: n, ..sized(MAX_PAYLOAD) }).collect();
    let cases: Vec<(PublishRequest, Code, &str)> = vec![
        (request(group, 1, vec![]), Code::InvalidArgument, "1 to 1024"),
        (request(group, 1, (1..=1025).map(|n| entry(n, "")).collect()), Code::InvalidArgument, "1025"),
        (request(group, 1, vec![sized(MAX_PAYLOAD + 1)]), Code::InvalidArgument, "256 KiB"),
        (request(group, 2, many), Code::InvalidArgument, "1 MiB"),
        (request(group, 1, vec![entry(0, "x")]), Code::InvalidArgument, "counts from 1"),
        (request(group, 1, vec![entry(6000, "x"), entry(6000, "x")]), Code::InvalidArgument, "rises"),
        (request(group, 1, vec![entry(1, "x")]), Code::OutOfRange, "older than the last 1024"),
        (request(group, 0, vec![entry(1, "x")]), Code::InvalidArgument, "client id"),
        (
            request(group, 1, vec![Entry { content_type: 256, ..entry(7000, "x") }]),
            Code::InvalidArgument,
            "content_type",
        ),
        (
            PublishRequest { group_id: vec![1; 3].into(), ..good.clone() },
            Code::InvalidArgument,
            "a group id must be 16 bytes",
        ),
        (
            PublishRequest { client_id: vec![1; 3].into(), ..good.clone() },
            Code::InvalidArgument,
            "a client id must be 16 bytes",
        ),
        (
            PublishRequest { device_id: vec![1; 3].into(), ..good.clone() },
            Code::InvalidArgument,
            "a device id must be 16 bytes",
        ),
        (PublishRequest { group_id: GroupId([8; 16]).into(), ..good.clone() }, Code::NotFound, "no such group"),
        (PublishRequest { log_id: 1, ..good.clone() }, Code::FailedPrecondition, "history before it is lost"),
    ];
    for (request, code, words) in cases {
        let status = client.publish(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{words}: {status:?}");
        assert!(status.message().contains(words), "{words}: {}", status.message());
    }
    assert_eq!(publish(&mut client, good).await.acks.len(), 1, "nothing was lost or stopped");
    let sized = request(group, 3, vec![sized(MAX_PAYLOAD)]);
    assert_eq!(publish(&mut client, sized).await.acks.len(), 1, "the limit itself is good");
    relay.stop().await;
}

#[tokio::test]
async fn bad_settings_say_what_to_do() {
    let registry = RegistryDouble::start().await;
    let good = crate::support::config(&registry);
    let running = TestRelay::start(good.clone()).await;
    let file = registry.data().join("file");
    std::fs::write(&file, "").unwrap();
    let other = tempfile::tempdir().unwrap();
    let elsewhere = Config { data: Some(other.path().to_owned()), ..good.clone() };
    let cases: Vec<(Config, &str)> = vec![
        (Config { grpc_listen: running.grpc, ..elsewhere.clone() }, "--grpc-listen"),
        (Config { udp_port: running.udp.port(), ..elsewhere.clone() }, "is in use"),
        (Config { data: Some(file.join("sub")), ..good.clone() }, "--data"),
        (Config { data: None, ..good.clone() }, "--data"),
        (good.clone(), "another process"),
    ];
    for (config, words) in cases {
        let error = format!("{:#}", bind(config).await.unwrap_err());
        assert!(error.contains(words), "{words}: {error}");
    }
    running.stop().await;
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_waited_for() {
    let registry = RegistryDouble::start().await;
    let config = Config { iface: vec!["nowhere0".into()], ..crate::support::config(&registry) };
    let relay = bind(config).await.unwrap();
    assert!(relay.interfaces().is_empty(), "TCP and this machine are served meanwhile");
    assert!(relay.udp_addrs().iter().all(|addr| addr.ip().is_loopback()) && !relay.udp_addrs().is_empty());
}

#[tokio::test]
async fn metrics_have_no_group_in_a_label() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, _) = registry.create("hidden-name", GroupKind::Proto).await;
    publish(&mut relay.client().await, request(group, 1, vec![entry(1, "x")])).await;
    let mut text = String::new();
    eventually("everything is counted", async || {
        text = relay.metrics_page().await;
        text.contains("gaung_relay_data_unsent_total{reason=\"unheard\"} 1")
    })
    .await;
    assert!(text.contains("gaung_relay_messages_total 1"), "{text}");
    assert!(!text.contains("hidden-name"));
    relay.stop().await;
}
