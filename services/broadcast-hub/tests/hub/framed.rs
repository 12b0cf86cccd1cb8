//! Framed sessions: history, live messages, publishing, resuming, and restarts of the other services.

use std::time::Duration;

use broadcast_hub::Limits;
use gaung_proto::{
    DeviceId, GroupId, LogId, Seq,
    frame::encode_control,
    pb::hub::{ClientFrame, Hello, Ping, Renew, Subscribe, client_frame, server_frame::Frame, subscribe},
    signing::issue_ticket,
};
use tonic::Code;

use crate::{
    client::{FramedClient, Received, client_seq_text, take},
    registry::Registry,
    relay::Relay,
    world::{TestHub, World, any, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn history_and_live_come_once_in_order_and_can_be_resumed() {
    let world = World::start(Limits { ring_bytes: 64 * 1024, ..Limits::default() }).await;
    let group = world.group("g", 2);
    for _ in 0..100 {
        world.relay.append(group, 5, 1000);
    }
    let (mut client, welcome) = FramedClient::open(world.hub.tcp).await;
    assert_eq!(welcome.everyone_group_id, world.everyone.as_bytes()[..]);
    let subscribed = client.subscribe("g", 1, 0).await;
    assert_eq!((subscribed.log_id, subscribed.next_seq, subscribed.history_lost), (2, 1, false));
    let relay = world.relay.clone();
    let appending = tokio::spawn(async move {
        for _ in 0..100 {
            relay.append(group, 5, 1000);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(600)).await;
    drop(client);
    appending.await.unwrap();

    let (mut again, _) = FramedClient::open(world.hub.tcp).await;
    let subscribed = again.subscribe("g", next.0, 2).await;
    assert_eq!(subscribed.next_seq, next.0);
    again.read_up_to(group, &mut next, Seq(1000)).await;
    world.relay.append(group, 1, 10);
    again.read_up_to(group, &mut next, Seq(1001)).await;

    let subscribed = again.subscribe("g", 999, 2).await;
    assert_eq!(subscribed.next_seq, 999, "subscribing again moves the cursor");
    let mut next = Seq(999);
    again.read_up_to(group, &mut next, Seq(1001)).await;
    let foreign = again.subscribe("g", 7, 77).await;
    assert!(foreign.history_lost && foreign.log_id == 2 && foreign.next_seq == 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_everyone_reach_each_session_from_its_start() {
    let world = World::start(Limits::default()).await;
    world.relay.append(world.everyone, 3, 10);
    // The hub receives a message a moment after its append.
    let mut client = loop {
        let (mut client, _) = FramedClient::open(world.hub.tcp).await;
        let Frame::Subscribed(subscribed) = client.next_frame().await else { panic!() };
        assert!(subscribed.name == "everyone" && subscribed.next_seq <= 4, "{subscribed:?}");
        if subscribed.next_seq == 4 {
            break client;
        }
    };
    world.relay.append(world.everyone, 1, 10);
    let mut next = Seq(4);
    client.read_up_to(world.everyone, &mut next, Seq(4)).await;
    client.send(client_frame::Frame::Ping(Ping { nonce: 5 })).await;
    assert!(matches!(client.next_frame().await, Frame::Pong(pong) if pong.nonce == 5));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_that_subscribes_to_everyone_makes_no_second_subscription() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::start(Limits::default()).await;
    world.relay.append(world.everyone, 3, 10);
    let mut client = FramedClient::raw(world.hub.tcp).await;
    let hello = Hello { version: 1, client_id: client.id.into(), ..Hello::default() };
    let subscribe = Subscribe { by: Some(subscribe::By::Name("everyone".into())), from_seq: 2, ..Subscribe::default() };
    let frames = [client_frame::Frame::Hello(hello), client_frame::Frame::Subscribe(subscribe)];
    let bytes = frames.map(|frame| encode_control(&ClientFrame { frame: Some(frame) })).concat();
    client.stream.write_all(&bytes).await.unwrap();
    assert!(matches!(client.next_frame().await, Frame::Welcome(_)));
    let Frame::Subscribed(subscribed) = client.next_frame().await else { panic!() };
    assert_eq!((&subscribed.group_id[..], subscribed.next_seq), (&world.everyone.0[..], 2));
    let mut next = Seq(2);
    client.read_up_to(world.everyone, &mut next, Seq(3)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_are_acknowledged_once_across_a_relay_that_is_killed() {
    let mut world = World::start(Limits::default()).await;
    let group = world.group("g", 2);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("g", 1, 0).await;
    let mut next = Seq::FIRST;
    let mut acknowledged = 0;
    for round in 0..3 {
        for i in 0..20 {
            let tag = round * 20 + i;
            client.publish(group, tag, tag * 10 + 1, 10).await;
            if i == 10 {
                let addr = world.kill_relay();
                world.restart_relay(addr);
            }
        }
        while acknowledged < (round + 1) * 20 || next.0 <= (round + 1) * 200 {
            match client.next().await {
                Received::Run(run) => take(group, &mut next, &run),
                Received::Frame(Frame::Published(published)) => {
                    acknowledged += 1;
                    assert_eq!(published.log_id, 2);
                    assert_eq!(published.acks.iter().map(|ack| ack.count).sum::<u32>(), 10);
                }
                Received::Frame(frame) => panic!("{frame:?}"),
            }
        }
    }
    let texts: Vec<Vec<u8>> = world.relay.texts(group).into_iter().map(|(_, text)| text).collect();
    let expected: Vec<Vec<u8>> = (1..=600).map(|n| client_seq_text(n).into_bytes()).collect();
    assert_eq!(texts.len(), expected.len(), "each message once");
    let mut sorted = texts;
    sorted.sort();
    let mut expected = expected;
    expected.sort();
    assert_eq!(sorted, expected);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_fails_while_the_relay_is_away_and_the_session_goes_on() {
    let limits = Limits { publish: Duration::from_millis(300), publish_bytes: 4096, ..Limits::default() };
    let mut world = World::start(limits).await;
    let group = world.group("g", 2);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("g", 0, 0).await;
    let addr = world.kill_relay();
    for tag in 1..=100 {
        client.publish(group, tag, tag, 1).await;
    }
    let mut failed = 0;
    while failed < 100 {
        match client.next_frame().await {
            Frame::Error(error) => {
                assert_eq!(Code::from_i32(error.code), Code::Unavailable, "{error:?}");
                assert!((1..=100).contains(&error.tag));
                failed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    world.restart_relay(addr);
    client.publish(group, 200, 1, 1).await;
    loop {
        match client.next_frame().await {
            Frame::Published(published) => break assert_eq!(published.tag, 200),
            // Requests sent before the relay died may still be answered as expired.
            Frame::Error(error) => {
                assert_eq!(error.tag, 200);
                client.publish(group, 200, 1, 1).await;
            }
            other => panic!("{other:?}"),
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_told_of_a_new_log_and_of_a_deletion() {
    let world = World::start(Limits::default()).await;
    let group = world.group("g", 2);
    world.relay.append(group, 3, 10);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("g", 1, 0).await;
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(3)).await;
    world.relay.reset(group, LogId(99));
    world.relay.append(group, 2, 10);
    let Frame::Subscribed(subscribed) = client.next_frame().await else { panic!() };
    assert!(subscribed.history_lost && subscribed.log_id == 99 && subscribed.next_seq == 1);
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(2)).await;

    world.registry.delete(group);
    let Frame::Unsubscribed(unsubscribed) = client.next_frame().await else { panic!() };
    assert_eq!((Code::from_i32(unsubscribed.code), &unsubscribed.group_id[..]), (Code::NotFound, &group.0[..]));
    client.subscribe_frame("g", 0, 0).await;
    let Frame::Error(error) = client.next_frame().await else { panic!() };
    assert_eq!(Code::from_i32(error.code), Code::NotFound);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_the_log_dropped_are_reported_as_a_gap() {
    let world = World::start(Limits::default()).await;
    let group = world.group("g", 2);
    for _ in 0..10 {
        world.relay.append(group, 1, 10);
    }
    world.relay.drop_before(group, Seq(5));
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("g", 1, 0).await;
    let Frame::Gap(gap) = client.next_frame().await else { panic!() };
    assert_eq!((gap.first_seq, gap.last_seq), (1, 4));
    let mut next = Seq(5);
    client.read_up_to(group, &mut next, Seq(10)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_group_needs_a_ticket_for_this_device() {
    let world = World::start(Limits::default()).await;
    let group = world.registry.add("secret", 3, true);
    world.relay.open(group);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    let Frame::Subscribed(_) = client.next_frame().await else { panic!("everyone") };
    let far = i64::MAX / 2;
    let good = issue_ticket(&world.registry.key, group, DeviceId([9; 16]), far, 0);
    let others = issue_ticket(&world.registry.key, group, DeviceId([8; 16]), far, 0);
    let expired = issue_ticket(&world.registry.key, group, DeviceId([9; 16]), 1, 0);
    for ticket in [bytes::Bytes::new(), others, expired, bytes::Bytes::from_static(b"nonsense")] {
        client.send(client_frame::Frame::Subscribe(by_id(group, ticket))).await;
        let Frame::Error(error) = client.next_frame().await else { panic!() };
        assert_eq!(Code::from_i32(error.code), Code::PermissionDenied);
    }
    client.send(client_frame::Frame::Subscribe(by_id(group, good))).await;
    assert!(matches!(client.next_frame().await, Frame::Subscribed(_)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_group_is_followed_by_its_sessions_newest_ticket() {
    let world = World::start(Limits::default()).await;
    let group = world.registry.add("secret", 3, true);
    world.relay.open(group);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    let Frame::Subscribed(_) = client.next_frame().await else { panic!("everyone") };
    let ticket = |expires| issue_ticket(&world.registry.key, group, DeviceId([9; 16]), expires, 0);
    let [first, soon_after, second] = [1 << 50, (1 << 50) + 1000, 1 << 51].map(ticket);
    client.send(client_frame::Frame::Subscribe(by_id(group, first.clone()))).await;
    assert!(matches!(client.next_frame().await, Frame::Subscribed(_)));
    let renew = |ticket| client_frame::Frame::Renew(Renew { group_id: group.into(), ticket });
    client.send(renew(soon_after)).await;
    client.send(renew(second.clone())).await;
    eventually("the relay is shown the newer ticket", || world.relay.tickets() == [first.clone(), second.clone()])
        .await;
    world.relay.append_text(group, "ani", b"halo");
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(1)).await;
    client.send(renew(issue_ticket(&world.registry.key, group, DeviceId([8; 16]), 1 << 52, 0))).await;
    let Frame::Error(error) = client.next_frame().await else { panic!() };
    assert_eq!(Code::from_i32(error.code), Code::PermissionDenied, "the ticket is another device's");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_watch_has_not_reported_is_looked_up() {
    let world = World::start(Limits::default()).await;
    let group = world.registry.add_unwatched("fresh", 4);
    world.relay.open(group);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("fresh", 0, 0).await;
    client.publish(group, 1, 1, 1).await;
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(1)).await;
    client.subscribe_frame("nowhere", 0, 0).await;
    loop {
        if let Frame::Error(error) = client.next_frame().await {
            break assert!(error.message.contains("nowhere") && error.code == Code::NotFound as i32);
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_starts_before_the_other_services_and_outlives_them() {
    let (registry, relay) = (Registry::new(), Relay::new());
    let everyone = GroupId([1; 16]);
    relay.open(everyone);
    let placeholder = registry.serve(any());
    let registry_addr = placeholder.addr;
    drop(placeholder);
    let hub = TestHub::start(registry_addr, |_| {}).await;
    let mut early = FramedClient::raw(hub.tcp).await;
    early.hello().await;
    assert!(!hub.ready.is_ready());

    let registry_server = registry.serve(registry_addr);
    let Received::Frame(Frame::Welcome(_)) = early.next().await else { panic!("welcome once the registry is there") };
    assert!(!hub.ready.is_ready(), "no relay yet");
    let relay_server = relay.serve(any());
    registry.set_relay(relay_server.addr);
    hub.until_ready().await;
    assert_eq!(registry.hubs()[0].tcp_port, u32::from(hub.tcp.port()));
    let Received::Frame(Frame::Subscribed(_)) = early.next().await else { panic!("everyone") };

    drop(registry_server);
    relay.append(everyone, 1, 10);
    let mut next = Seq::FIRST;
    early.read_up_to(everyone, &mut next, Seq(1)).await;
    let addr = relay_server.addr;
    drop(relay_server);
    relay.append(everyone, 5, 10);
    let _relay_server = relay.serve(addr);
    early.read_up_to(everyone, &mut next, Seq(6)).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_hub_tells_sessions_where_to_resume() {
    let world = World::start(Limits::default()).await;
    let group = world.group("g", 2);
    world.relay.append(group, 3, 10);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("g", 1, 0).await;
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(3)).await;
    let stopping = tokio::spawn(world.stop());
    let Frame::Bye(bye) = client.next_frame().await else { panic!() };
    assert!(!bye.r#final);
    let resume = bye.resume.iter().find(|resume| resume.group_id == group.as_bytes()[..]).unwrap();
    assert_eq!((resume.log_id, resume.from_seq), (2, 4));
    assert!(client.try_next().await.is_none());
    drop(client);
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_sessions_hold() {
    let limits = Limits { hello: Duration::from_millis(100), sessions_per_address: 2, ..Limits::default() };
    let world = World::start(limits).await;
    let mut silent = FramedClient::raw(world.hub.tcp).await;
    assert!(matches!(silent.next_frame().await, Frame::Bye(bye) if bye.reason.contains("hello")));
    assert!(silent.try_next().await.is_none());
    drop(silent);
    let first = FramedClient::open(world.hub.tcp).await;
    let second = eventually_open(&world).await;
    let mut third = FramedClient::raw(world.hub.tcp).await;
    assert!(matches!(third.next_frame().await, Frame::Bye(bye) if bye.reason.contains("too many")));
    drop(first);
    drop(eventually_open(&world).await);
    drop(second);
    world.stop().await;
}

/// Retries, because the place of a session that has just ended may not be free yet.
async fn eventually_open(world: &World) -> FramedClient {
    loop {
        let mut client = FramedClient::raw(world.hub.tcp).await;
        client.hello().await;
        match client.next_frame().await {
            Frame::Welcome(_) => return client,
            Frame::Bye(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_health_answer_over_grpc() {
    use gaung_proto::pb::hub::{GetStatusRequest, hub_service_client::HubServiceClient};
    let world = World::start(Limits::default()).await;
    let (_client, _) = FramedClient::open(world.hub.tcp).await;
    let mut rpc = HubServiceClient::connect(format!("http://{}", world.hub.grpc)).await.unwrap();
    let status = rpc.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.framed_sessions, status.groups.len()), (1, 1));
    let report = service_kit::health_client::check(&world.hub.grpc.to_string(), Duration::from_secs(10)).await;
    assert!(report.serving, "{}", report.line);
    eventually("registered", || !world.registry.hubs().is_empty()).await;
    world.stop().await;
}

fn by_id(group: GroupId, ticket: bytes::Bytes) -> Subscribe {
    Subscribe { by: Some(subscribe::By::GroupId(group.into())), log_id: 0, from_seq: 0, ticket }
}
