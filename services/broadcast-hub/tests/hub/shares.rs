//! An address that takes all it can get excludes no other.

use std::time::Duration;

use broadcast_hub::Limits;
use gaung_proto::{
    Seq,
    pb::hub::{Subscribe, client_frame, server_frame::Frame, subscribe},
};

use tonic::Code;

use crate::{
    client::{FramedClient, TextClient},
    world::World,
};

const EVE: [u8; 4] = [127, 0, 0, 66];
const RUNS: u64 = 400;
const RUN_BYTES: usize = 32 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn silent_sessions_of_one_address_are_evicted_for_another() {
    let world = World::start(Limits { sessions: 4, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TextClient::open_from(EVE, world.hub.text).await.0);
    }
    let (mut speaks, _) = TextClient::open_from(EVE, world.hub.text).await;
    speaks.say(b"masih di sini\n").await;
    for who in &mut silent {
        assert!(who.line().await.ends_with("masih di sini"));
    }
    assert!(
        TextClient::open_from(EVE, world.hub.text).await.1.contains("full"),
        "the next session of the same address is refused"
    );

    let (mut ann, welcome) = TextClient::open(world.hub.text).await;
    assert!(welcome.contains("Welcome"), "{welcome}");
    let told = silent[0].line().await;
    assert!(told.starts_with("* ") && told.contains("your address has the most"), "{told}");
    assert!(silent[0].has_ended().await);
    let (budi, _) = FramedClient::open(world.hub.tcp).await;
    assert!(silent[1].has_ended().await);
    speaks.say(b"halo ann\n").await;
    assert!(ann.line().await.ends_with("halo ann"), "a session that spoke is not evicted");
    drop(budi);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_of_one_address_are_evicted_for_another() {
    let world = World::start(Limits { handshakes: 3, hello: Duration::from_secs(600), ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(FramedClient::raw_from(EVE, world.hub.tcp).await);
    }
    let mut refused = FramedClient::raw_from(EVE, world.hub.tcp).await;
    assert!(matches!(refused.next().await, crate::client::Received::Frame(Frame::Bye(_))));
    let (_ann, _) = FramedClient::open(world.hub.tcp).await;
    let Frame::Bye(bye) = silent[0].next_frame().await else { panic!("no goodbye") };
    assert!(bye.reason.contains("starting") && !bye.r#final, "{bye:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_many_lookups_has_one_share_of_them() {
    let limits = Limits { lookups: 8, lookups_per_address: 4, ..Limits::default() };
    let world = World::start(limits).await;
    world.registry.hold_back(true);
    let mut requesters = Vec::new();
    for number in 0..3 {
        let mut eve = FramedClient::raw_from(EVE, world.hub.tcp).await;
        eve.hello().await;
        for name in 0..2 {
            eve.subscribe_frame(&format!("unknown-{number}-{name}"), 1, 0).await;
        }
        requesters.push(eve);
        world.registry.until_requested((number + 1).min(2) * 2).await;
    }
    let refused = error_for(&mut requesters[2]).await;
    assert_eq!(refused.code, 8, "{refused:?}");
    let mut ann = FramedClient::open(world.hub.tcp).await.0;
    ann.subscribe_frame("unknown-too", 1, 0).await;
    world.registry.until_requested(5).await;
    world.registry.hold_back(false);
    for who in [&mut ann, &mut requesters[0]] {
        let unknown = error_for(who).await;
        assert_eq!(unknown.code, 5, "{unknown:?}");
    }
    world.stop().await;
}

/// Receives frames up to the first error.
async fn error_for(session: &mut FramedClient) -> gaung_proto::pb::hub::Error {
    loop {
        if let Frame::Error(error) = session.next_frame().await {
            return error;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_readers_keep_no_late_joiner_from_its_history() {
    let limits =
        Limits { ring_bytes: 64 * 1024, history_reads: 2, stall: Duration::from_secs(600), ..Limits::default() };
    let world = World::start(limits).await;
    let group = world.group("g", 2);
    for _ in 0..RUNS {
        world.relay.append(group, 1, RUN_BYTES);
    }
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut eve = FramedClient::raw_from(EVE, world.hub.tcp).await;
        eve.hello().await;
        let by = Some(subscribe::By::Name("g".to_owned()));
        eve.send(client_frame::Frame::Subscribe(Subscribe { by, from_seq: 1, ..Subscribe::default() })).await;
        readers.push(eve);
    }
    let (mut ann, _) = FramedClient::open(world.hub.tcp).await;
    ann.subscribe("g", 1, 0).await;
    ann.read_up_to(group, &mut Seq::FIRST.clone(), Seq(RUNS)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_the_address_with_most_are_evicted_for_another() {
    let world = World::start(Limits { groups: 3, ..Limits::default() }).await;
    let groups: Vec<_> = (1..=4).map(|number| world.group(&format!("g{number}"), number + 1)).collect();
    let mut eve = FramedClient::raw_from(EVE, world.hub.tcp).await;
    eve.hello().await;
    for number in 1..=3 {
        eve.subscribe(&format!("g{number}"), 1, 0).await;
    }
    let (mut ann, _) = FramedClient::open(world.hub.tcp).await;
    ann.subscribe("g4", 1, 0).await;
    let ended = loop {
        if let Frame::Unsubscribed(ended) = eve.next_frame().await {
            break ended;
        }
    };
    assert_eq!((&ended.group_id[..], ended.code), (&groups[0].as_bytes()[..], Code::ResourceExhausted.into()));
    world.relay.append(groups[3], 1, 100);
    ann.read_up_to(groups[3], &mut Seq::FIRST.clone(), Seq(1)).await;
    world.stop().await;
}
