//! A group's limits: applied when its owner sets them, without a new opening, and after every start.

use gaung_proto::{
    GroupId, GroupRetention, Seq,
    pb::relay::{GetLogRequest, GetLogResponse, follow_response::Event, relay_service_client::RelayServiceClient},
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{
    Following, GroupKind, OneGroup, RegistryDouble, TestRelay, entry, eventually, publish, read, request,
};

const NEWEST_5: GroupRetention = GroupRetention { max_age_ms: None, max_bytes: None, max_messages: Some(5) };

async fn log(client: &mut RelayServiceClient<Channel>, group: GroupId) -> GetLogResponse {
    client.get_log(GetLogRequest { group_id: group.into(), ..Default::default() }).await.unwrap().into_inner()
}

async fn say(client: &mut RelayServiceClient<Channel>, group: GroupId, client_seqs: std::ops::RangeInclusive<u64>) {
    for n in client_seqs {
        publish(client, request(group, 1, vec![entry(n, &n.to_string())])).await;
    }
}

async fn kept_from(client: &mut RelayServiceClient<Channel>, group: GroupId, oldest: u64) {
    eventually("the oldest messages go", async || log(client, group).await.oldest_seq == oldest).await;
}

#[tokio::test]
async fn limits_are_applied_at_once_and_the_opening_goes_on() {
    for kind in [GroupKind::Proto, GroupKind::Text] {
        for disk in [true, false] {
            let registry = RegistryDouble::start().await;
            let relay = match disk {
                true => TestRelay::disk(&registry).await,
                false => TestRelay::memory(&registry).await,
            };
            let (group, _) = registry.create("class", kind).await;
            let mut client = relay.client().await;
            say(&mut client, group, 1..=20).await;
            let before = log(&mut client, group).await;
            assert_eq!((before.oldest_seq, before.head_seq), (1, 20));

            registry.keep(group, NEWEST_5);
            kept_from(&mut client, group, 16).await;
            let status = read(&mut client, group, 15, 0).await.unwrap_err();
            assert_eq!(status.code(), Code::OutOfRange);
            assert_eq!(status.get_error_details().error_info().unwrap().metadata["oldest_seq"], "16");
            assert_eq!(read(&mut client, group, 0, 0).await.unwrap()[0].first_seq(), Seq(16));
            let mut following = Following::open(&mut client).await;
            following.add(group, 0, 1).await;
            let Event::Started(started) = following.next().await else { panic!("it starts") };
            assert_eq!((started.next_seq, started.oldest_seq), (16, 16), "who follows is told what is gone");
            say(&mut client, group, 21..=21).await;
            assert_eq!(log(&mut client, group).await.epoch, before.epoch, "{kind:?}, disk {disk}");
            relay.stop().await;
        }
    }
}

#[tokio::test]
async fn limits_hold_after_a_restart_without_the_registry_until_they_are_lifted() {
    let OneGroup { mut registry, relay, group, mut client, .. } = OneGroup::start().await;
    say(&mut client, group, 1..=10).await;
    registry.keep(group, NEWEST_5);
    kept_from(&mut client, group, 6).await;
    say(&mut client, group, 11..=20).await;
    relay.stop().await;

    registry.go_away();
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    kept_from(&mut client, group, 16).await;
    relay.stop().await;

    registry.come_back().await;
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    registry.registered().await;
    // What the relay does for the second group it does after it has lifted the limits of the first, and after the pass that
    // it began with.
    let (second, _) = registry.create("second", GroupKind::Proto).await;
    say(&mut client, second, 1..=10).await;
    registry.keep(group, GroupRetention::default());
    registry.keep(second, NEWEST_5);
    kept_from(&mut client, second, 6).await;
    say(&mut client, group, 21..=40).await;
    registry.keep(group, GroupRetention { max_messages: Some(24), ..NEWEST_5 });
    kept_from(&mut client, group, 17).await;
    relay.stop().await;
}
