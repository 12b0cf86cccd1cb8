//! A registry that was misled, or remembers what was lost: what a relay with a durable log makes of it.

use std::fs;

use gaung_proto::pb::relay::follow_response::Event;
use tonic::Code;

use crate::support::{Following, OneGroup, TestRelay, ack, entry, eventually, publish, request};

#[tokio::test]
async fn a_longer_log_that_others_claimed_closes_no_group_and_lapses() {
    let OneGroup { registry, relay, group, mut client, .. } = OneGroup::start().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    registry.remember_head(group, 1_000_000);
    let mut next = 2;
    eventually("the truth is on record again", async || {
        let answer = client.publish(request(group, 1, vec![entry(next, "more")])).await.unwrap().into_inner();
        assert_eq!(answer.acks, [ack(next, next, 1)]);
        next += 1;
        registry.head(group).is_some_and(|head| head < 1_000_000)
    })
    .await;
    registry.remember_head(group, 1_000_000);
    relay.stop().await;
    let relay = TestRelay::disk(&registry).await;
    let answer = publish(&mut relay.client().await, request(group, 1, vec![entry(next, "after a restart")])).await;
    assert_eq!(answer.acks, [ack(next, next, 1)]);
    relay.stop().await;
}

#[tokio::test]
async fn a_durable_log_begins_anew_only_by_its_owners_word() {
    let OneGroup { registry, relay, group, mut client, .. } = OneGroup::start().await;
    let first = publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    let false_log = registry.mislead(group);
    assert_ne!(false_log, first.log_id);
    eventually("the registry takes the relay's log over", async || registry.log_id(group) == first.log_id).await;
    let second = publish(&mut client, request(group, 1, vec![entry(2, "two")])).await;
    assert_eq!((second.log_id, second.acks), (first.log_id, vec![ack(2, 2, 1)]));

    let reset = registry.reset(group);
    let mut next = 3;
    eventually("the owner's reset is done", async || {
        let answer = publish(&mut client, request(group, 1, vec![entry(next, "anew")])).await;
        next += 1;
        answer.log_id == reset
    })
    .await;
    relay.stop().await;
}

#[tokio::test]
async fn a_log_that_this_relay_reported_and_lost_is_refused_until_a_reset() {
    let OneGroup { registry, relay, group, .. } = OneGroup::start().await;
    publish(&mut relay.client().await, request(group, 1, vec![entry(1, "one"), entry(2, "two")])).await;
    eventually("the head is reported", async || registry.head(group) == Some(2)).await;
    relay.stop().await;
    fs::remove_dir_all(registry.data().join("log")).unwrap();

    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    eventually("the loss is told", async || registry.is_lost(group)).await;
    let refused = client.publish(request(group, 1, vec![entry(3, "three")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("gaung group reset class"), "{}", refused.message());
    let mut following = Following::open(&mut client).await;
    following.add(group, 0, 1).await;
    let Event::Ended(ended) = following.next().await else { panic!("it ends") };
    assert_eq!(ended.code, i32::from(Code::FailedPrecondition));

    let reset = registry.reset(group);
    let mut anew = None;
    eventually("it is served again", async || {
        anew = client.publish(request(group, 1, vec![entry(4, "anew")])).await.ok();
        anew.is_some()
    })
    .await;
    assert_eq!(anew.unwrap().into_inner().log_id, reset);
    relay.stop().await;
}
