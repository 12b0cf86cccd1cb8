//! Sessions of devices that a group's policy bans or has kicked.

use broadcast_hub::Limits;
use bytes::Bytes;
use gaung_proto::{
    DeviceId, GroupId, Seq,
    pb::hub::{Renew, Subscribe, client_frame, server_frame::Frame, subscribe},
    policy::PolicyChange,
    signing::issue_ticket,
};
use tonic::Code;

use crate::{client::FramedClient, world::World};

/// The device of every framed client of these tests.
const DEVICE: DeviceId = DeviceId([9; 16]);
const FAR: i64 = i64::MAX / 2;

fn subscribe(group: GroupId, ticket: Bytes) -> client_frame::Frame {
    let by = Some(subscribe::By::GroupId(group.into()));
    client_frame::Frame::Subscribe(Subscribe { by, ticket, ..Subscribe::default() })
}

async fn open(world: &World) -> FramedClient {
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    let Frame::Subscribed(_) = client.next_frame().await else { panic!("everyone") };
    client
}

async fn ended(client: &mut FramedClient) -> (Code, String) {
    match client.next_frame().await {
        Frame::Unsubscribed(ended) => (Code::from_i32(ended.code), ended.message),
        Frame::Error(error) => (Code::from_i32(error.code), error.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_banned_device_loses_its_session_in_the_group_and_gets_no_other() {
    for private in [false, true] {
        let world = World::start(Limits::default()).await;
        let group = world.registry.add("g", 3, private);
        world.relay.open(group);
        let ticket = |device| match private {
            true => issue_ticket(&world.registry.key, group, device, FAR, 0),
            false => Bytes::new(),
        };
        let mut client = open(&world).await;
        client.send(subscribe(group, ticket(DEVICE))).await;
        assert!(matches!(client.next_frame().await, Frame::Subscribed(_)));
        world.relay.moderate(group, PolicyChange::Ban(DeviceId([8; 16])));
        world.relay.append_text(group, "ani", b"halo");
        let mut next = Seq::FIRST;
        client.read_up_to(group, &mut next, Seq(1)).await;

        world.relay.moderate(group, PolicyChange::Ban(DEVICE));
        let (code, why) = ended(&mut client).await;
        assert!(code == Code::PermissionDenied && why.contains("banned"), "{why}");
        client.send(subscribe(group, ticket(DEVICE))).await;
        let (code, why) = ended(&mut client).await;
        assert!(code == Code::PermissionDenied && why.contains("banned"), "{why}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kicked_device_comes_back_to_a_private_group_by_a_newer_ticket_alone() {
    let world = World::start(Limits::default()).await;
    let group = world.registry.add("secret", 3, true);
    world.relay.open(group);
    let ticket = |version| issue_ticket(&world.registry.key, group, DEVICE, FAR, version);
    let mut client = open(&world).await;
    client.send(subscribe(group, ticket(0))).await;
    assert!(matches!(client.next_frame().await, Frame::Subscribed(_)));
    world.relay.moderate(group, PolicyChange::Kick(DEVICE));
    assert_eq!(ended(&mut client).await.0, Code::PermissionDenied);
    client.send(client_frame::Frame::Renew(Renew { group_id: group.into(), ticket: ticket(0) })).await;
    client.send(subscribe(group, ticket(0))).await;
    assert_eq!(ended(&mut client).await.0, Code::PermissionDenied, "the ticket of before");
    client.send(subscribe(group, ticket(1))).await;
    assert!(matches!(client.next_frame().await, Frame::Subscribed(_)));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_from_a_public_group_concerns_the_sessions_of_before() {
    let world = World::start(Limits::default()).await;
    let group = world.group("g", 2);
    world.relay.moderate(group, PolicyChange::Ban(DeviceId([8; 16])));
    let mut client = open(&world).await;
    client.subscribe("g", 0, 0).await;
    world.relay.moderate(group, PolicyChange::Kick(DEVICE));
    let (code, why) = ended(&mut client).await;
    assert!(code == Code::PermissionDenied && why.contains("removed"), "{why}");
    client.subscribe("g", 0, 0).await;
    world.relay.append_text(group, "ani", b"halo");
    let mut next = Seq::FIRST;
    client.read_up_to(group, &mut next, Seq(1)).await;
    world.stop().await;
}
