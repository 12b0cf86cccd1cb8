//! Tickets in a browser's HTTP requests: each is good with the secret of a session that has proven its device.

use broadcast_hub::Limits;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId,
    pb::hub::{Ping, Prove, client_frame::Frame as ClientFrame, server_frame::Frame},
    signing::{issue_ticket, sign_hello},
};
use tokio::time::timeout;

use crate::{
    client::FramedClient,
    page::send_request,
    world::{LONG, World},
};

const FAR: i64 = i64::MAX / 2;

fn device(key: &SigningKey) -> DeviceId {
    DeviceId::of_public_key(key.verifying_key().as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Opens a session and proves a device; returns its secret, which the hub knows by now.
async fn proven(world: &World, key: &SigningKey) -> (FramedClient, String) {
    let mut client = FramedClient::raw(world.hub.tcp).await;
    client.device = device(key).into();
    let welcome = client.greet().await;
    let public_key = key.verifying_key().to_bytes().to_vec().into();
    let signature = sign_hello(key, &welcome.challenge, client.id);
    client.send(ClientFrame::Prove(Prove { public_key, signature })).await;
    client.send(ClientFrame::Ping(Ping { nonce: 7 })).await;
    while !matches!(client.next_frame().await, Frame::Pong(_)) {}
    (client, hex(&welcome.challenge))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_nothing_without_a_session_that_has_proven_its_device() {
    let world = World::start(Limits::default()).await;
    let group = world.registry.add("secret", 3, true);
    world.relay.open(group);
    let (ani, eve) = (SigningKey::from_bytes(&[3; 32]), SigningKey::from_bytes(&[4; 32]));
    let ticket = hex(&issue_ticket(&world.registry.key, group, device(&ani), FAR, 0));
    let page = world.hub.page;
    let ask = async |what: &str, secret: &str| {
        let path = format!("/api/groups/{group}/{what}ticket={ticket}");
        send_request(page, &format!("GET {path} HTTP/1.1\r\nhost: {page}\r\ngaung-session: {secret}")).await
    };

    let (own, secret) = proven(&world, &ani).await;
    let (_other, others) = proven(&world, &eve).await;
    for what in ["history?before=10&limit=5&", "members?", "receipts?first=1&last=1&"] {
        for wrong in ["", "zz", "00", &"ab".repeat(32)] {
            let (status, answer) = ask(what, wrong).await;
            assert!(status == 403 && answer.contains("open session"), "{what} {wrong}: {answer}");
        }
        let (status, answer) = ask(what, &others).await;
        assert!(status == 403 && answer.contains("join the group with this device"), "{what}: {answer}");
    }
    let (status, answer) = ask("members?", &secret).await;
    assert_eq!(status, 200, "{answer}");

    drop(own);
    let ended = async { while ask("members?", &secret).await.0 != 403 {} };
    timeout(LONG, ended).await.expect("the secret ends with its session");
    world.stop().await;
}
