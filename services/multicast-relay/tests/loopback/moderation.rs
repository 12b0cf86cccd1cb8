//! Bans, mutes and kicks, which hold as soon as the registry tells of them, and when it is away.

use gaung_proto::{
    DeviceId, GroupId,
    pb::relay::{
        GetLogRequest, PublishRequest, ReadRequest, follow_response::Event, relay_service_client::RelayServiceClient,
    },
    policy::{PolicyChange, Role, SignedPolicy},
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{Following, GroupKind, RegistryDouble, TestRelay, entry, eventually, publish, request};

/// The device of [`request`] for this client.
const DEVICE: DeviceId = DeviceId([1; 16]);
const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Publishes until the relay refuses for this reason; each attempt says something else.
async fn refused(client: &mut RelayServiceClient<Channel>, group: GroupId, why: &str) -> Status {
    let (mut n, mut refusal) = (100, None);
    eventually(why, async || {
        n += 1;
        let outcome = client.publish(request(group, 1, vec![entry(n, "x")])).await;
        refusal = outcome.err().filter(|status| reason(status) == why);
        refusal.is_some()
    })
    .await;
    refusal.unwrap()
}

#[tokio::test]
async fn a_banned_or_muted_device_publishes_nothing_while_others_do() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(1, "before")])).await;
    let epoch = async |client: &mut RelayServiceClient<Channel>| {
        let asked = GetLogRequest { group_id: group.into(), ..GetLogRequest::default() };
        client.get_log(asked).await.unwrap().into_inner().epoch
    };
    let before = epoch(&mut client).await;

    registry.moderate(group, PolicyChange::Mute(DEVICE, now_ms() + HOUR_MS));
    let status = refused(&mut client, group, "MUTED").await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("60 min") || status.message().contains("3600 s"), "{}", status.message());
    publish(&mut client, request(group, 2, vec![entry(1, "another device")])).await;
    registry.moderate(group, PolicyChange::Mute(DEVICE, now_ms() - 1));
    eventually("the mute has ended", async || client.publish(request(group, 1, vec![entry(2, "y")])).await.is_ok())
        .await;

    registry.moderate(group, PolicyChange::Ban(DEVICE));
    assert_eq!(refused(&mut client, group, "BANNED").await.code(), Code::PermissionDenied);
    assert_eq!(epoch(&mut client).await, before, "the opening goes on");
    registry.moderate(group, PolicyChange::Unban(DEVICE));
    eventually("the ban is lifted", async || client.publish(request(group, 1, vec![entry(3, "z")])).await.is_ok())
        .await;
    relay.stop().await;
}

#[tokio::test]
async fn a_ban_holds_after_a_start_without_the_registry() {
    let mut registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(1, "before")])).await;
    registry.moderate(group, PolicyChange::Ban(DEVICE));
    refused(&mut client, group, "BANNED").await;
    relay.stop().await;
    registry.go_away();
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 2, vec![entry(1, "another device")])).await;
    let status = client.publish(request(group, 1, vec![entry(900, "x")])).await.unwrap_err();
    assert_eq!(reason(&status), "BANNED");
    relay.stop().await;
}

#[tokio::test]
async fn whom_a_policy_removes_reads_nothing_by_the_ticket_of_before() {
    for change in [PolicyChange::Ban(DEVICE), PolicyChange::Kick(DEVICE)] {
        let registry = RegistryDouble::start().await;
        let relay = TestRelay::disk(&registry).await;
        let (group, _) = registry.create("secret", GroupKind::Private).await;
        let mut client = relay.client().await;
        let ticket = registry.ticket(group, DEVICE, i64::MAX / 2);
        let said = PublishRequest { ticket: ticket.clone(), ..request(group, 1, vec![entry(1, "rahasia")]) };
        publish(&mut client, said.clone()).await;
        let mut hub = Following::open(&mut client).await;
        hub.add_by(group, 0, 1, ticket.clone()).await;
        hub.next_run().await;

        registry.moderate(group, change);
        let Event::Policy(told) = hub.next().await else { panic!("the hub is told") };
        assert_eq!(SignedPolicy::decode(&told.policy).unwrap().policy().version, 1);
        let read = ReadRequest { group_id: group.into(), ticket: ticket.clone(), ..ReadRequest::default() };
        assert_eq!(client.read(read).await.unwrap_err().code(), Code::PermissionDenied);
        let asked = GetLogRequest { group_id: group.into(), ticket: ticket.clone() };
        assert_eq!(client.get_log(asked).await.unwrap_err().code(), Code::PermissionDenied);
        assert_eq!(client.publish(said).await.unwrap_err().code(), Code::PermissionDenied);
        let mut again = Following::open(&mut client).await;
        again.add_by(group, 0, 1, ticket).await;
        let Event::Ended(ended) = again.next().await else { panic!("it is refused") };
        assert_eq!(Code::from_i32(ended.code), Code::PermissionDenied);
        let others = registry.ticket(group, DeviceId([2; 16]), i64::MAX / 2);
        again.add_by(group, 0, 1, others).await;
        assert!(matches!(again.next().await, Event::Policy(_)), "before the group's first run");
        again.next_run().await;
        relay.stop().await;
    }
}

#[tokio::test]
async fn only_who_has_a_role_hides_messages() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, _) = registry.create("class", GroupKind::Proto).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(1, "before")])).await;
    let hide = |n| gaung_proto::pb::relay::Entry { content_type: 9, ..entry(n, "x") };
    let status = client.publish(request(group, 1, vec![entry(2, "y"), hide(3)])).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "NO_ROLE"));
    registry.moderate(group, PolicyChange::SetRole(DEVICE, Role::Moderator));
    let mut n = 10;
    eventually("a moderator may", async || {
        n += 1;
        client.publish(request(group, 1, vec![hide(n)])).await.is_ok()
    })
    .await;
    relay.stop().await;
}
