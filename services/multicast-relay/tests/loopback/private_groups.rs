//! What a private group's relay tells, and to whom.

use bytes::Bytes;
use gaung_proto::{
    DeviceId, GroupId,
    pb::relay::{GetLogRequest, SessionReport, follow_response::Event},
};
use tonic::Code;

use crate::support::{Following, GroupKind, RegistryDouble, TestRelay, entry, eventually, publish, request, words};

const DEVICE: DeviceId = DeviceId([1; 16]);

async fn ended(stream: &mut Following) -> Code {
    match stream.next().await {
        Event::Ended(ended) => Code::from_i32(ended.code),
        other @ (Event::Run(_) | Event::Started(_) | Event::Policy(_)) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_private_group_is_followed_by_ticket_alone() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (open, _) = registry.create("open", GroupKind::Proto).await;
    let (group, _) = registry.create("secret", GroupKind::Private).await;
    let mut client = relay.client().await;
    let ticket = registry.ticket(group, DEVICE, i64::MAX / 2);
    let said = gaung_proto::pb::relay::PublishRequest {
        ticket: ticket.clone(),
        ..request(group, 1, vec![entry(1, "rahasia")])
    };
    publish(&mut client, said).await;

    let mut stranger = Following::open(&mut client).await;
    stranger.add(group, 0, 1).await;
    assert_eq!(ended(&mut stranger).await, Code::Unauthenticated);
    let useless = [
        registry.ticket(open, DEVICE, i64::MAX / 2),
        registry.ticket(group, DEVICE, 1),
        Bytes::from_static(b"nonsense"),
    ];
    for ticket in useless {
        stranger.add_by(group, 0, 1, ticket).await;
        assert_eq!(ended(&mut stranger).await, Code::PermissionDenied);
    }
    stranger.add(open, 0, 0).await;
    assert!(matches!(stranger.next().await, Event::Started(_)), "the stream goes on");

    let mut hub = Following::open(&mut client).await;
    hub.add_by(group, 0, 1, ticket).await;
    assert_eq!(words(&hub.next_run().await), ["rahasia"]);
    relay.stop().await;
}

#[tokio::test]
async fn a_strangers_sessions_are_no_members_of_a_private_group() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (group, _) = registry.create("secret", GroupKind::Private).await;
    let mut client = relay.client().await;
    let ticket = registry.ticket(group, DEVICE, i64::MAX / 2);
    let said =
        gaung_proto::pb::relay::PublishRequest { ticket: ticket.clone(), ..request(group, 1, vec![entry(1, "x")]) };
    publish(&mut client, said).await;
    let session = |client: u8| {
        let client_id = Bytes::copy_from_slice(&[client; 16]);
        vec![SessionReport { client_id, delivered_seq: 1, ..SessionReport::default() }]
    };

    let mut stranger = Following::open(&mut client).await;
    stranger.add(group, 0, 0).await;
    stranger.report(group, registry.log_id(group), session(6)).await;
    assert_eq!(ended(&mut stranger).await, Code::Unauthenticated);
    stranger.report(group, registry.log_id(group), session(7)).await;
    let mut hub = Following::open(&mut client).await;
    hub.add_by(group, 0, 0, ticket.clone()).await;
    assert!(matches!(hub.next().await, Event::Started(_)));
    hub.report(group, registry.log_id(group), session(8)).await;
    let asked = GetLogRequest { group_id: group.into(), ticket };
    eventually("the member's session is known", async || {
        let log = client.get_log(asked.clone()).await.unwrap().into_inner();
        log.members.iter().any(|member| member.client_id == [8; 16][..])
    })
    .await;
    let log = client.get_log(asked).await.unwrap().into_inner();
    assert_eq!(log.members.len(), 1, "{:?}", log.members);
    relay.stop().await;
}

#[tokio::test]
async fn a_registry_that_does_not_show_a_private_group_has_not_deleted_it() {
    let registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (gone, _) = registry.create("gone", GroupKind::Proto).await;
    let (secret, _) = registry.create("secret", GroupKind::Private).await;
    let mut client = relay.client().await;
    let code = async |client: &mut _, group: GroupId| publish_code(client, group).await;
    eventually("both are known", async || {
        code(&mut client, gone).await == Code::Ok && code(&mut client, secret).await == Code::Unauthenticated
    })
    .await;
    relay.stop().await;
    registry.show_nothing();
    let relay = TestRelay::disk(&registry).await;
    let mut client = relay.client().await;
    eventually("the public one is gone", async || code(&mut client, gone).await == Code::NotFound).await;
    assert_eq!(code(&mut client, secret).await, Code::Unauthenticated, "served on, and asks for a ticket");
    relay.stop().await;
}

async fn publish_code(
    client: &mut gaung_proto::pb::relay::relay_service_client::RelayServiceClient<tonic::transport::Channel>,
    group: GroupId,
) -> Code {
    match client.publish(request(group, 1, vec![entry(1, "x")])).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}
