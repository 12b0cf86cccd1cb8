//! Clients that read nothing of what they asked for, beside others who go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{
    Following, GroupKind, OneGroup, RegistryDouble, TestRelay, entry, eventually, publish, read, request,
};
use gaung_proto::pb::relay::{PublishStreamRequest, StreamedPublish, relay_service_client::RelayServiceClient};
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// A client of which the server's windows are all but closed.
async fn reads_nothing(relay: &TestRelay) -> RelayServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", relay.grpc)).unwrap();
    RelayServiceClient::new(endpoint.initial_stream_window_size(8).connect().await.unwrap())
}

#[tokio::test]
async fn unread_answers_stop_their_own_stream_alone() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::memory(&registry).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let mut honest = relay.client().await;
    let repeated = request(group, 9, (1..=1024).map(|n| entry(n, "x")).collect());
    publish(&mut honest, repeated.clone()).await;

    let (sender, queue) = mpsc::channel(1);
    let mut reads_nothing = reads_nothing(&relay).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let sending = tokio::spawn(async move {
        for tag in 0.. {
            let publishes = vec![StreamedPublish { tag, publish: Some(repeated.clone()) }];
            if sender.send(PublishStreamRequest { publishes }).await.is_err() {
                return;
            }
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let _unread = reads_nothing.publish_stream(ReceiverStream::new(queue)).await.unwrap();
    // It is stopped from sending more.
    let mut before = 0;
    eventually("no more is taken", async || {
        sleep(Duration::from_millis(200)).await;
        let now = taken.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(before < 1000, "{before}");
    for n in 1..=20 {
        publish(&mut honest, request(group, 1, vec![entry(n, "goes on")])).await;
    }
    sending.abort();
    relay.stop().await;
}

#[tokio::test]
async fn followers_that_read_nothing_hold_little() {
    // More, and their address would have its share, so that further calls of it wait.
    const FOLLOWERS: u64 = 40;
    let OneGroup { registry: _registry, relay, group, .. } = OneGroup::start().await;
    let mut honest = relay.client().await;
    let long = "z".repeat(250_000);
    for n in 1..=24 {
        publish(&mut honest, request(group, 1, vec![entry(n, &long)])).await;
    }
    let mut reads_nothing = reads_nothing(&relay).await;
    let mut unread = Vec::new();
    for _ in 0..FOLLOWERS {
        let follower = Following::open(&mut reads_nothing).await;
        follower.add(group, 0, 1).await;
        unread.push(follower);
    }
    let held = async || -> u64 {
        let page = relay.metrics_page().await;
        let line = page.lines().find(|line| line.starts_with("gaung_rpc_held_bytes ")).unwrap().to_owned();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let mut before = 0;
    eventually("no more is queued", async || {
        sleep(Duration::from_millis(1100)).await;
        let now = held().await;
        std::mem::replace(&mut before, now) == now && now > FOLLOWERS << 17
    })
    .await;
    assert!(before < FOLLOWERS * (3 << 19), "{before} bytes");
    drop(unread);
    eventually("it is given back", async || held().await < 1 << 20).await;
    let runs = read(&mut honest, group, 1, 0).await.unwrap();
    assert_eq!(runs.iter().map(|run| run.messages().count()).sum::<usize>(), 24);
    relay.stop().await;
}
