//! Which device a session has: the one that its connection proved.

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, GroupId,
    pb::hub::{Subscribe, client_frame, server_frame::Frame, subscribe},
    signing::issue_ticket,
};
use service_kit::secure::PlaintextPolicy;
use tonic::Code;

use crate::{
    client::{FramedClient, Received, connect_with_proof},
    world::World,
};

const FAR: i64 = i64::MAX / 2;

async fn world() -> World {
    World::with(|config| config.plaintext = PlaintextPolicy::Loopback).await
}

fn device(key: &SigningKey) -> DeviceId {
    DeviceId::of_public_key(key.verifying_key().as_bytes())
}

async fn connect(world: &World, key: &SigningKey, named: DeviceId) -> FramedClient {
    let proof = gaung_site::device_proof(key).unwrap();
    let mut client = FramedClient::over(connect_with_proof(&world.hub, world.hub.tcp, Some(proof)).await);
    client.device = named.into();
    client.hello().await;
    client
}

/// Publishes one message and waits until it is logged.
async fn say(client: &mut FramedClient, group: GroupId) {
    client.publish(group, 1, 1, 1).await;
    loop {
        match client.next().await {
            Received::Frame(Frame::Published(_)) => return,
            Received::Frame(Frame::Error(error)) => panic!("{error:?}"),
            Received::Frame(_) | Received::Run(_) => {}
        }
    }
}

/// Subscribes by a ticket; returns the code of the refusal.
async fn enter(client: &mut FramedClient, group: GroupId, ticket: Bytes) -> Result<(), (Code, String)> {
    let by = Some(subscribe::By::GroupId(group.into()));
    client.send(client_frame::Frame::Subscribe(Subscribe { by, log_id: 0, from_seq: 0, ticket })).await;
    loop {
        match client.next().await {
            Received::Frame(Frame::Subscribed(subscribed)) if subscribed.group_id == group.as_bytes()[..] => {
                return Ok(());
            }
            Received::Frame(Frame::Error(error)) => return Err((Code::from_i32(error.code), error.message)),
            Received::Frame(_) | Received::Run(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_publishes_carries_the_device_that_it_proved() {
    let world = world().await;
    let group = world.group("g", 2);
    let ani = SigningKey::from_bytes(&[3; 32]);
    say(&mut connect(&world, &ani, device(&ani)).await, group).await;
    say(&mut connect(&world, &ani, DeviceId::NONE).await, group).await;
    let (mut plain, _) = FramedClient::open(world.hub.tcp).await;
    say(&mut plain, group).await;
    assert_eq!(world.relay.devices(group), [device(&ani), device(&ani), DeviceId::NONE]);

    let mut eve = connect(&world, &SigningKey::from_bytes(&[4; 32]), device(&ani)).await;
    let Received::Frame(Frame::Bye(bye)) = eve.next().await else { panic!("no bye") };
    assert!(bye.r#final && bye.reason.contains("connect with its key"), "{bye:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_only_on_connections_of_its_own_device() {
    let world = world().await;
    let group = world.registry.add("secret", 3, true);
    world.relay.open(group);
    let ani = SigningKey::from_bytes(&[3; 32]);
    let ticket = issue_ticket(&world.registry.key, group, device(&ani), FAR, 0);
    let mut eve = connect(&world, &SigningKey::from_bytes(&[4; 32]), DeviceId::NONE).await;
    let (code, message) = enter(&mut eve, group, ticket.clone()).await.unwrap_err();
    assert!(code == Code::PermissionDenied && message.contains("join the group with this device"), "{message}");
    let mut plain = FramedClient::raw(world.hub.tcp).await;
    plain.device = device(&ani).into();
    plain.hello().await;
    let (code, message) = enter(&mut plain, group, ticket.clone()).await.unwrap_err();
    assert!(code == Code::PermissionDenied && message.contains("connect by TLS"), "{message}");
    let mut own = connect(&world, &ani, device(&ani)).await;
    enter(&mut own, group, ticket).await.unwrap();
    world.stop().await;
}
