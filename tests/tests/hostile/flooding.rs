//! As many calls as the attacker can get rid of, none of them wrong.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    GroupId,
    pb::{
        registry::{CreateGroupRequest, Format, JoinGroupRequest, Scope, join_group_request::By},
        relay::GetLogRequest,
    },
    ports,
    signing::{Method, create_subject, sign_call},
};
use gaung_tests::hostile::publish;
use tokio::task::JoinSet;

use crate::suffer;

/// The first public key of RFC 8032, section 7.1: not every 32 bytes are one.
const OWNER: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
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
            let mut calls = JoinSet::new();
            for number in 0.. {
                let request = creation(number);
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

/// The most that the attacks here may make of groups: what a script of one host may make at once, and one a second.
const MADE_GROUPS: usize = 300;

#[test]
fn the_page_makes_no_more_groups_than_its_visitor_may() {
    let made = AtomicUsize::new(0);
    suffer("the_page_makes_no_more_groups_than_its_visitor_may", |attacker| {
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let key = SigningKey::from_bytes(&[0xee; 32]);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let api = format!("http://{}/api", attacker.at(ports::WEB));
        for number in 0.. {
            let challenge = agent.post(&format!("{api}/challenge")).send_empty();
            let challenge = challenge.and_then(|mut answer| answer.body_mut().read_to_string()).unwrap_or_default();
            let challenge = serde_json::from_str::<serde_json::Value>(&challenge).unwrap_or_default();
            let nonce = challenge["nonce"].as_str().unwrap_or_default();
            let creation = creation(number);
            let signed = sign_call(&key, Method::Create, GroupId::NONE, &unhex(nonce), &create_subject(&creation));
            let body = serde_json::json!({
                "request_id": hex(&creation.request_id),
                "name": creation.name,
                "member_name": creation.owner_name,
                "signature": {
                    "public_key": hex(&signed.public_key),
                    "nonce": nonce,
                    "signature": hex(&signed.signature),
                },
            })
            .to_string();
            let url = format!("{api}/groups");
            let answer = agent.post(&url).content_type("application/json").send(&body);
            made.fetch_add(usize::from(answer.is_ok_and(|answer| answer.status() == 201)), Ordering::Relaxed);
            if !attacker.goes_on() {
                return;
            }
        }
    });
    let made = made.into_inner();
    assert!(0 < made && made < MADE_GROUPS, "one host makes {made} groups by the page");
}

#[test]
fn unknown_groups_delay_no_new_one() {
    suffer("unknown_groups_delay_no_new_one", |attacker| {
        attacker.run(async || {
            let relays: Vec<_> = (0..4).map(|_| attacker.relay(65_535)).collect();
            let mut calls = JoinSet::new();
            for relay in relays.iter().cycle() {
                let (mut relay, id) = (relay.clone(), rand::random::<[u8; 16]>());
                let request = GetLogRequest { group_id: id.to_vec().into(), ..Default::default() };
                calls.spawn(async move { relay.get_log(request).await.is_ok() });
                if calls.len() == 16 * PARALLEL {
                    calls.join_next().await;
                }
                if !attacker.goes_on() {
                    return;
                }
            }
        });
    });
}

fn unhex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).filter_map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn creation(number: u64) -> CreateGroupRequest {
    CreateGroupRequest {
        request_id: rand::random::<[u8; 16]>().to_vec().into(),
        name: format!("made-up-{number}"),
        scope: Scope::Site.into(),
        format: Format::Proto.into(),
        owner_public_key: Bytes::from_static(&OWNER),
        owner_name: "eve".to_owned(),
        ..Default::default()
    }
}
