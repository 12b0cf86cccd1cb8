//! As many calls as the attacker can get rid of, none of them wrong.

use gaung_proto::pb::registry::{CreateGroupRequest, Format, JoinGroupRequest, Scope, join_group_request::By};
use gaung_tests::hostile::publish;
use tokio::task::JoinSet;

use crate::suffer;

/// Calls under way at a time.
const PARALLEL: usize = 32;

#[test]
fn a_talker_without_pause_delays_nobody_elsewhere() {
    suffer("a_talker_without_pause_delays_nobody_elsewhere", |attacker| {
        attacker.run(async || {
            let (group, client) = (attacker.group("everyone").await, rand::random());
            let mut relay = attacker.relay(65_535);
            for first in (1..).step_by(256) {
                let seqs: Vec<u64> = (first..first + 256).collect();
                let _ = relay.publish(publish(&group, client, &seqs)).await;
                if !attacker.goes_on() {
                    return;
                }
                // Some 64 000 messages a second.
                tokio::time::sleep(std::time::Duration::from_millis(4)).await;
            }
        });
    });
}

#[test]
fn groups_without_end_keep_nobody_from_making_one() {
    suffer("groups_without_end_keep_nobody_from_making_one", |attacker| {
        attacker.run(async || {
            let registry = attacker.registry();
            let key: [u8; 32] = rand::random();
            let mut calls = JoinSet::new();
            for number in 0.. {
                let request = CreateGroupRequest {
                    request_id: rand::random::<[u8; 16]>().to_vec().into(),
                    name: format!("made-up-{number}"),
                    scope: Scope::Site.into(),
                    format: Format::Proto.into(),
                    owner_public_key: key.to_vec().into(),
                    owner_name: "eve".to_owned(),
                    ..Default::default()
                };
                let mut registry = registry.clone();
                calls.spawn(async move { registry.create_group(request).await.is_ok() });
                if calls.len() == PARALLEL {
                    calls.join_next().await;
                }
                if !attacker.goes_on() {
                    return;
                }
            }
        });
    });
}

#[test]
fn members_without_end_keep_nobody_from_joining() {
    suffer("members_without_end_keep_nobody_from_joining", |attacker| {
        attacker.run(async || {
            let (registry, group) = (attacker.registry(), attacker.group(gaung_tests::hostile::GROUP).await);
            let mut calls = JoinSet::new();
            loop {
                let request = JoinGroupRequest {
                    by: Some(By::Id(group.id.clone())),
                    public_key: rand::random::<[u8; 32]>().to_vec().into(),
                    member_name: "eve".to_owned(),
                    ..Default::default()
                };
                let mut registry = registry.clone();
                calls.spawn(async move { registry.join_group(request).await.is_ok() });
                if calls.len() == PARALLEL {
                    calls.join_next().await;
                }
                if !attacker.goes_on() {
                    return;
                }
            }
        });
    });
}
