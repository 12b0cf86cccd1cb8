//! Session reports to the relay: which clients are present, how far each has delivered, which have left.

use broadcast_hub::Limits;
use gaung_proto::{
    GroupId, LogId,
    pb::{
        hub::{Ack, client_frame},
        relay::SessionReport,
    },
};

use crate::{
    client::{FramedClient, TextClient},
    world::{World, eventually},
};

#[tokio::test]
async fn sessions_are_reported_with_what_they_acknowledge() {
    let world = World::start(Limits::default()).await;
    let group = world.group("lobby", 2);
    world.relay.append(group, 3, 5);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("lobby", 2, 0).await;
    until(&world, group, |reports| {
        reports.iter().any(|s| s.client_id == client.id.as_bytes()[..] && s.delivered_seq == 1)
    })
    .await;
    let first = latest(&world, group, client.id.as_bytes()).unwrap();
    assert_eq!((&first.device_id[..], first.silent, first.gone), (&[9; 16][..], false, false));
    ack(&mut client, group, 3).await;
    ack(&mut client, group, 2).await;
    client
        .send(client_frame::Frame::Ack(Ack { group_id: group.into(), log_id: 77, delivered_seq: 99, cookie: 0 }))
        .await;
    until(&world, group, |reports| reports.iter().any(|s| s.delivered_seq == 3)).await;
    assert!(latest(&world, world.everyone, client.id.as_bytes()).is_none(), "it has not subscribed to everyone");
    ack(&mut client, world.everyone, 0).await;
    until(&world, world.everyone, |reports| reports.iter().any(|s| s.client_id == client.id.as_bytes()[..])).await;

    let own = *client.id.as_bytes();
    drop(client);
    until(&world, group, |reports| reports.iter().any(|s| s.client_id == own[..] && s.gone)).await;
    let of_it: Vec<u64> = reported(&world, group).iter().filter(|s| !s.gone).map(|s| s.delivered_seq).collect();
    assert!(of_it.is_sorted() && of_it.len() <= 3, "only changes, in order: {of_it:?}");
    until(&world, world.everyone, |reports| reports.iter().any(|s| s.client_id == own[..] && s.gone)).await;
    world.stop().await;
}

#[tokio::test]
async fn text_sessions_are_members_with_a_name_that_cannot_acknowledge() {
    let world = World::start(Limits::default()).await;
    let (mut bare, _) = TextClient::open(world.hub.text).await;
    until(&world, world.everyone, |reports| reports.iter().any(|s| s.silent && s.name == "client-1")).await;
    bare.say(b"/name Rini\n").await;
    until(&world, world.everyone, |reports| reports.iter().any(|s| s.silent && s.name == "Rini")).await;
    let group = world.group("lobby", 2);
    bare.say(b"/join lobby\n").await;
    until(&world, group, |reports| reports.iter().any(|s| s.silent && s.name == "Rini" && !s.gone)).await;
    drop(bare);
    until(&world, group, |reports| reports.iter().any(|s| s.gone)).await;
    world.stop().await;
}

#[tokio::test]
async fn many_acknowledgements_make_few_reports_and_presence_is_renewed() {
    let world = World::start(Limits::default()).await;
    let group = world.group("lobby", 2);
    world.relay.append(group, 500, 5);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("lobby", 1, 0).await;
    until(&world, group, |reports| !reports.is_empty()).await;
    let began = std::time::Instant::now();
    for seq in 1..=500 {
        ack(&mut client, group, seq).await;
    }
    until(&world, group, |reports| reports.iter().any(|s| s.delivered_seq == 500)).await;
    let with_news = world.relay.reports(group).iter().filter(|report| !report.sessions.is_empty()).count();
    let allowed = 2 + (began.elapsed().as_millis() / 250) as usize;
    assert!(with_news <= 1 + allowed, "{with_news} reports, {allowed} allowed");
    let before = world.relay.reports(group).len();
    until_reports(&world, group, before + 2).await;
    assert!(world.relay.reports(group)[before..].iter().all(|report| report.sessions.is_empty()), "nothing changed");
    world.stop().await;
}

#[tokio::test]
async fn a_restarted_relay_gets_all_reports_anew() {
    let mut world = World::start(Limits::default()).await;
    let group = world.group("lobby", 2);
    world.relay.append(group, 2, 5);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    let (mut other, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("lobby", 1, 0).await;
    other.subscribe("lobby", 1, 0).await;
    ack(&mut client, group, 2).await;
    until(&world, group, |reports| reports.iter().any(|s| s.delivered_seq == 2)).await;
    let addr = world.kill_relay();
    let gone = *other.id.as_bytes();
    drop(other);
    let before = world.relay.reports(group).len();
    world.restart_relay(addr);
    eventually("the session is reported again", || {
        let reports = world.relay.reports(group);
        let sessions: Vec<_> = reports[before..].iter().flat_map(|report| &report.sessions).collect();
        sessions.iter().any(|s| s.client_id == client.id.as_bytes()[..] && s.delivered_seq == 2)
    })
    .await;
    until_reports(&world, group, before + 2).await;
    let reports = world.relay.reports(group);
    let reported_gone = reports[before..].iter().flat_map(|r| &r.sessions).any(|s| s.client_id == gone[..] && s.gone);
    let reported_present =
        reports[before..].iter().flat_map(|r| &r.sessions).any(|s| s.client_id == gone[..] && !s.gone);
    assert!(
        !reported_gone || reported_present,
        "a client is reported as gone only after it was reported as present on the same stream"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_new_log_is_reported_from_its_beginning() {
    let world = World::start(Limits::default()).await;
    let group = world.group("lobby", 2);
    world.relay.append(group, 2, 5);
    let (mut client, _) = FramedClient::open(world.hub.tcp).await;
    client.subscribe("lobby", 1, 0).await;
    ack(&mut client, group, 2).await;
    until(&world, group, |reports| reports.iter().any(|s| s.delivered_seq == 2)).await;
    world.relay.reset(group, LogId(55));
    eventually("the session is reported in the new log", || {
        let reports = world.relay.reports(group);
        let of_new: Vec<_> = reports.iter().filter(|report| report.log_id == 55).flat_map(|r| &r.sessions).collect();
        of_new.last().is_some_and(|s| s.client_id == client.id.as_bytes()[..] && s.delivered_seq == 0 && !s.gone)
    })
    .await;
    world.stop().await;
}

async fn ack(client: &mut FramedClient, group: GroupId, delivered_seq: u64) {
    let log_id = group.as_bytes()[0].into();
    client.send(client_frame::Frame::Ack(Ack { group_id: group.into(), log_id, delivered_seq, cookie: 0 })).await;
}

fn reported(world: &World, group: GroupId) -> Vec<SessionReport> {
    world.relay.reports(group).into_iter().flat_map(|report| report.sessions).collect()
}

pub fn latest(world: &World, group: GroupId, client: &[u8]) -> Option<SessionReport> {
    reported(world, group).into_iter().rfind(|session| session.client_id == client)
}

pub async fn until(world: &World, group: GroupId, mut met: impl FnMut(&[SessionReport]) -> bool) {
    eventually("the relay gets the report", || met(&reported(world, group))).await;
}

async fn until_reports(world: &World, group: GroupId, count: usize) {
    eventually("more reports", || world.relay.reports(group).len() >= count).await;
}
