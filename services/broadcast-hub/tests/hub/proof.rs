//! Sessions that prove their device by signing the hub's challenge.

use broadcast_hub::Limits;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, DeviceId,
    pb::hub::{Bye, Prove, Welcome, client_frame, server_frame::Frame},
    signing::sign_hello,
};

use crate::{
    client::{FramedClient, Received},
    receipts::{latest, until},
    world::World,
};

const KEY: [u8; 32] = [5; 32];

fn device() -> DeviceId {
    DeviceId::of_public_key(SigningKey::from_bytes(&KEY).verifying_key().as_bytes())
}

async fn open(world: &World, device: DeviceId) -> (FramedClient, Welcome) {
    let mut client = FramedClient::raw(world.hub.tcp).await;
    client.device = device.into();
    let welcome = client.greet().await;
    (client, welcome)
}

async fn prove(client: &mut FramedClient, challenge: &[u8], signed_for: ClientId) {
    let key = SigningKey::from_bytes(&KEY);
    let public_key = key.verifying_key().to_bytes().to_vec().into();
    let signature = sign_hello(&key, challenge, signed_for);
    client.send(client_frame::Frame::Prove(Prove { public_key, signature })).await;
}

async fn bye(client: &mut FramedClient) -> Bye {
    loop {
        if let Frame::Bye(bye) = client.next_frame().await {
            return bye;
        }
    }
}

#[tokio::test]
async fn what_a_session_says_after_its_proof_is_of_the_keys_device() {
    let world = World::start(Limits::default()).await;
    let group = world.group("lobby", 2);
    let (mut client, welcome) = open(&world, DeviceId::NONE).await;
    let (_, other) = open(&world, DeviceId::NONE).await;
    assert_eq!(welcome.challenge.len(), 32);
    assert_ne!(welcome.challenge, other.challenge);

    client.subscribe("lobby", 1, 0).await;
    let id = *client.id.as_bytes();
    until(&world, group, |_| latest(&world, group, &id).is_some_and(|report| report.device_id[..] == [0; 16])).await;
    prove(&mut client, &welcome.challenge, ClientId(id)).await;
    until(&world, group, |_| {
        latest(&world, group, &id).is_some_and(|report| report.device_id == device().as_bytes()[..])
    })
    .await;
    client.publish(group, 1, 1, 1).await;
    let run = loop {
        if let Received::Run(run) = client.next().await {
            break run;
        }
    };
    assert_eq!(run.messages().next().unwrap().author.device, device());
    world.stop().await;
}

#[tokio::test]
async fn a_proof_that_does_not_fit_ends_the_session() {
    let world = World::start(Limits::default()).await;
    let (mut replaying, welcome) = open(&world, DeviceId::NONE).await;
    let (mut posing, other) = open(&world, DeviceId([9; 16])).await;
    let (mut repeating, third) = open(&world, device()).await;
    let id = replaying.id;
    prove(&mut replaying, &other.challenge, id).await;
    assert!(bye(&mut replaying).await.reason.contains("does not verify"), "another session's challenge");
    let (mut stolen, fourth) = open(&world, DeviceId::NONE).await;
    prove(&mut stolen, &fourth.challenge, id).await;
    assert!(bye(&mut stolen).await.reason.contains("does not verify"), "another client's signature");
    assert_ne!(welcome.challenge, fourth.challenge);

    let id = posing.id;
    prove(&mut posing, &other.challenge, id).await;
    let bye_of_posing = bye(&mut posing).await;
    assert!(bye_of_posing.reason.contains("not that of this connection") && bye_of_posing.r#final, "{bye_of_posing:?}");

    let id = repeating.id;
    prove(&mut repeating, &third.challenge, id).await;
    prove(&mut repeating, &third.challenge, id).await;
    assert!(bye(&mut repeating).await.reason.contains("already"));
    world.stop().await;
}
