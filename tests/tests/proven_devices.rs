//! Registry and relay of one site: what callers may do as which device, by what they have proven.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    ClientId, Content, DeviceId, GroupId, RelayId,
    pb::{
        registry::{
            self as pb, registry_service_client::RegistryServiceClient as Registry, watch_groups_response::Event,
        },
        relay::{
            Entry, FollowGroup, FollowRequest, GetLogRequest, PublishRequest, ReadRequest, SeqRange,
            WatchReceiptsRequest, follow_request, follow_response, relay_service_client::RelayServiceClient as Relay,
        },
    },
    run::Run,
    signing::{self, Method},
};
use gaung_site::{ExpectedSite, Role, SiteCode, device_proof, tls};
use gaung_tests::in_process;
use rustls::time_provider::DefaultTimeProvider;
use service_kit::{
    rpc::{ServiceEndpoint, endpoint},
    secure::{PlaintextPolicy, ServiceCredentials},
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};

const LONG: Duration = Duration::from_secs(30);

/// A registry and a relay that believe no plaintext, not even this machine's.
struct Site {
    code: SiteCode,
    registry: String,
    relay: String,
    relay_role: Role,
    hub: ServiceCredentials,
    relay_credentials: ServiceCredentials,
    stop: CancellationToken,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
    _data: TempDir,
}

/// Who calls.
#[derive(Clone, Copy)]
enum By<'a> {
    Plaintext,
    Device(&'a SigningKey),
    Service(&'a ServiceCredentials),
}

impl Site {
    async fn start() -> Self {
        let (data, plaintext) = (TempDir::new().unwrap(), PlaintextPolicy::Loopback);
        let mut registry = group_registry::bind(in_process::registry(plaintext)).await.unwrap();
        let target = registry.grpc_addr().unwrap().to_string();
        let relay = multicast_relay::bind(in_process::relay(&target, data.path(), plaintext)).await.unwrap();
        let (relay_role, relay_target) = (Role::Relay(relay.id()), relay.grpc_addr().unwrap().to_string());
        let hub = registry.issue(Role::Hub(RelayId([8; 16]))).unwrap();
        let relay_credentials = registry.issue(relay_role).unwrap();
        let relay = relay.with_credentials(relay_credentials.clone());
        let registered = relay.registered();
        let stop = CancellationToken::new();
        let running = [registry.run(stop.clone()), relay.run(stop.clone())].map(tokio::spawn).into();
        timeout(LONG, registered.until_ready()).await.expect("the relay registers");
        let code = hub.site().code();
        let (registry, relay) = (target, relay_target);
        Self { code, registry, relay, relay_role, hub, relay_credentials, stop, running, _data: data }
    }

    fn channel(&self, target: &str, role: Role, by: By<'_>) -> Channel {
        match by {
            By::Plaintext => endpoint(target).unwrap().connect_lazy(),
            By::Service(credentials) => ServiceEndpoint::new(target, role, Some(credentials)).unwrap().connect_lazy(),
            By::Device(key) => {
                let (expected, proof) = (ExpectedSite::Pinned(self.code), device_proof(key).unwrap());
                let config = tls::client_config(expected, Some(proof), &[b"h2"], Arc::new(DefaultTimeProvider));
                ServiceEndpoint::with_config(target, role, Arc::new(config.unwrap())).unwrap().connect_lazy()
            }
        }
    }

    fn registry(&self, by: By<'_>) -> Registry<Channel> {
        Registry::new(self.channel(&self.registry, Role::Registry, by))
    }

    fn relay(&self, by: By<'_>) -> Relay<Channel> {
        Relay::new(self.channel(&self.relay, self.relay_role, by))
    }

    /// Makes a group of `owner`, who proves itself by TLS.
    async fn group(&self, name: &str, private: bool, owner: &SigningKey) -> GroupId {
        let made = self.registry(By::Device(owner)).create_group(creation(name, private, owner)).await.unwrap();
        GroupId::try_from(&made.into_inner().group.unwrap().id[..]).unwrap()
    }

    async fn ticket(&self, group: GroupId, member: &SigningKey) -> Bytes {
        self.registry(By::Device(member)).join_group(joining(group, member)).await.unwrap().into_inner().ticket
    }

    async fn stop(self) {
        self.stop.cancel();
        for service in self.running {
            timeout(LONG, service).await.expect("it drains").unwrap().unwrap();
        }
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public_key(key: &SigningKey) -> Bytes {
    Bytes::copy_from_slice(key.verifying_key().as_bytes())
}

fn device(key: &SigningKey) -> DeviceId {
    DeviceId::of_public_key(key.verifying_key().as_bytes())
}

fn creation(name: &str, private: bool, owner: &SigningKey) -> pb::CreateGroupRequest {
    pb::CreateGroupRequest {
        request_id: Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
        name: name.to_owned(),
        private,
        owner_public_key: public_key(owner),
        ..Default::default()
    }
}

fn joining(group: GroupId, member: &SigningKey) -> pb::JoinGroupRequest {
    let by = Some(pb::join_group_request::By::Id(group.into()));
    pb::JoinGroupRequest { by, public_key: public_key(member), ..Default::default() }
}

fn leaving(group: GroupId, member: &SigningKey) -> pb::LeaveGroupRequest {
    pb::LeaveGroupRequest { group_id: group.into(), public_key: public_key(member), ..Default::default() }
}

fn inviting(group: GroupId, member: &SigningKey) -> pb::CreateInviteRequest {
    pb::CreateInviteRequest { group_id: group.into(), public_key: public_key(member), ..Default::default() }
}

fn viewer(member: &SigningKey) -> Option<pb::Viewer> {
    Some(pb::Viewer { device_key: public_key(member), ..Default::default() })
}

fn message(group: GroupId, client: u8, named: DeviceId) -> PublishRequest {
    let (content_type, payload) = Content::text("x", "halo").encode();
    let entry = Entry { client_seq: 1, content_type: content_type.to_byte().into(), payload };
    PublishRequest {
        group_id: group.into(),
        client_id: ClientId([client; 16]).into(),
        device_id: named.into(),
        entries: vec![entry],
        ..Default::default()
    }
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_carries_the_device_that_its_connection_proved() {
    let (site, ani, budi) = (Site::start().await, key(1), key(2));
    let group = site.group("open", false, &ani).await;
    let publish = async |by, request| code(site.relay(by).publish(request).await);
    assert_eq!(publish(By::Device(&ani), message(group, 1, device(&ani))).await, Code::Ok);
    assert_eq!(publish(By::Device(&ani), message(group, 2, DeviceId::NONE)).await, Code::Ok, "it need not name itself");
    assert_eq!(publish(By::Device(&budi), message(group, 3, device(&ani))).await, Code::PermissionDenied);
    assert_eq!(publish(By::Plaintext, message(group, 4, device(&ani))).await, Code::Ok);
    assert_eq!(publish(By::Service(&site.hub), message(group, 5, device(&budi))).await, Code::Ok, "of its session");

    let mut read = site.relay(By::Plaintext);
    let asked = ReadRequest { group_id: group.into(), ..Default::default() };
    let mut runs = read.read(asked).await.unwrap().into_inner();
    let mut devices = Vec::new();
    while let Some(part) = runs.message().await.unwrap() {
        devices.extend(Run::parse(part.run).unwrap().messages().map(|message| message.author.device));
    }
    assert_eq!(devices, [device(&ani), device(&ani), DeviceId::NONE, device(&budi)]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_used_from_another_device_is_refused() {
    let (site, ani, eve) = (Site::start().await, key(1), key(2));
    let group = site.group("secret", true, &ani).await;
    let ticket = site.ticket(group, &ani).await;
    let said = PublishRequest { ticket: ticket.clone(), ..message(group, 1, DeviceId::NONE) };
    assert_eq!(code(site.relay(By::Device(&ani)).publish(said).await), Code::Ok);
    let outcomes = async |by, named| {
        let mut relay = site.relay(by);
        let (group_id, ticket) = (Bytes::from(group), ticket.clone());
        let said = PublishRequest { ticket: ticket.clone(), ..message(group, 2, named) };
        let published = code(relay.publish(said).await);
        let asked = ReadRequest { group_id: group_id.clone(), ticket: ticket.clone(), ..Default::default() };
        let read = code(relay.read(asked).await);
        let asked = GetLogRequest { group_id: group_id.clone(), ticket: ticket.clone() };
        let log = code(relay.get_log(asked).await);
        let ranges = vec![SeqRange { first_seq: 1, last_seq: 1 }];
        let asked =
            WatchReceiptsRequest { group_id: group_id.clone(), ticket: ticket.clone(), ranges, ..Default::default() };
        let receipts = code(relay.watch_receipts(asked).await);
        let viewer = Some(pb::Viewer { ticket, ..Default::default() });
        let members = code(site.registry(by).list_members(pb::ListMembersRequest { group_id, viewer }).await);
        [published, read, log, receipts, members]
    };
    let denied = [Code::PermissionDenied; 5];
    assert_eq!(outcomes(By::Device(&eve), DeviceId::NONE).await, denied);
    assert_eq!(outcomes(By::Plaintext, device(&ani)).await, denied, "the ticket's device is named and not proven");
    assert_eq!(outcomes(By::Service(&site.hub), device(&ani)).await, [Code::Ok; 5], "for a session of the device");
    assert_eq!(outcomes(By::Device(&ani), DeviceId::NONE).await, [Code::Ok; 5]);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_public_key_opens_nothing() {
    let (site, ani, eve) = (Site::start().await, key(1), key(2));
    let group = site.group("secret", true, &ani).await;
    let denied = Code::PermissionDenied;
    for by in [By::Plaintext, By::Device(&eve), By::Service(&site.hub)] {
        let mut registry = site.registry(by);
        assert_eq!(code(registry.create_group(creation("hers", false, &ani)).await), denied);
        assert_eq!(code(registry.join_group(joining(group, &ani)).await), denied);
        assert_eq!(code(registry.leave_group(leaving(group, &ani)).await), denied);
        assert_eq!(code(registry.create_invite(inviting(group, &ani)).await), denied);
        let members = pb::ListMembersRequest { group_id: group.into(), viewer: viewer(&ani) };
        assert_eq!(code(registry.list_members(members).await), denied);
        let by_name = Some(pb::get_group_request::By::Name("secret".to_owned()));
        assert_eq!(code(registry.get_group(pb::GetGroupRequest { by: by_name, viewer: viewer(&ani) }).await), denied);
        let listed = registry.list_groups(pb::ListGroupsRequest { viewer: viewer(&ani), ..Default::default() }).await;
        let listed = listed.unwrap().into_inner().groups;
        assert!(listed.iter().all(|group| !group.private), "{listed:?}");
        let may_follow = matches!(by, By::Service(_));
        let followed = code(site.relay(by).follow(tokio_stream::empty()).await);
        assert_eq!(followed, if may_follow { Code::Ok } else { denied });
    }
    let mut own = site.registry(By::Device(&ani));
    let members = pb::ListMembersRequest { group_id: group.into(), viewer: viewer(&ani) };
    assert_eq!(own.list_members(members).await.unwrap().into_inner().members.len(), 1, "she is still a member");
    assert_eq!(code(own.create_invite(inviting(group, &ani)).await), Code::Ok);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_stands_in_for_a_connection_that_proves_nothing() {
    let (site, ani, eve) = (Site::start().await, key(1), key(2));
    let mut registry = site.registry(By::Plaintext);
    let nonce = async |registry: &mut Registry<Channel>| {
        registry.get_challenge(pb::GetChallengeRequest {}).await.unwrap().into_inner().nonce
    };
    let mut create = creation("secret", true, &ani);
    let subject = signing::create_subject(&create);
    let at = nonce(&mut registry).await;
    create.signature = Some(signing::sign_call(&ani, Method::Create, GroupId::NONE, &at, &subject));
    let made = registry.create_group(create.clone()).await.unwrap().into_inner().group.unwrap();
    let group = GroupId::try_from(&made.id[..]).unwrap();
    assert_eq!(code(registry.create_group(create).await), Code::Unauthenticated, "a nonce serves one call");

    let sign_join = |key: &SigningKey, at: &Bytes, join: &pb::JoinGroupRequest| {
        Some(signing::sign_call(key, Method::Join, group, at, &signing::join_subject(join)))
    };
    let mut join = joining(group, &ani);
    let at = nonce(&mut registry).await;
    join.signature = sign_join(&ani, &at, &join);
    assert!(!registry.join_group(join.clone()).await.unwrap().into_inner().ticket.is_empty());
    let at = nonce(&mut registry).await;
    join.signature = sign_join(&eve, &at, &join);
    assert_eq!(code(registry.join_group(join.clone()).await), Code::PermissionDenied, "signed by another device");
    let at = nonce(&mut registry).await;
    join.signature = sign_join(&ani, &at, &join);
    let renamed = pb::JoinGroupRequest { member_name: "Eve".to_owned(), ..join };
    assert_eq!(code(registry.join_group(renamed).await), Code::Unauthenticated, "something else was signed");

    let mut invite = inviting(group, &ani);
    let at = nonce(&mut registry).await;
    let subject = signing::invite_subject(&invite);
    invite.signature = Some(signing::sign_call(&ani, Method::Invite, group, &at, &subject));
    assert_eq!(code(registry.create_invite(invite.clone()).await), Code::Ok);
    assert_eq!(code(registry.create_invite(invite).await), Code::Unauthenticated, "no second invite");
    let mut leave = leaving(group, &ani);
    let at = nonce(&mut registry).await;
    leave.signature = Some(signing::sign_call(&ani, Method::Leave, group, &at, &signing::leave_subject(&leave)));
    assert_eq!(code(registry.leave_group(leave).await), Code::Ok);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reports_no_heads_and_the_group_goes_on() {
    let (site, ani) = (Site::start().await, key(1));
    let group = site.group("open", false, &ani).await;
    assert_eq!(code(site.relay(By::Device(&ani)).publish(message(group, 1, DeviceId::NONE)).await), Code::Ok);
    let log = site.relay(By::Plaintext).get_log(GetLogRequest { group_id: group.into(), ..Default::default() }).await;
    let Role::Relay(relay) = site.relay_role else { unreachable!("a relay's role") };
    let report = pb::GroupReport {
        group_id: group.into(),
        log_id: log.unwrap().into_inner().log_id,
        head_seq: (1 << 63) - 1,
        ..Default::default()
    };
    let report = pb::ReportGroupsRequest { relay_id: relay.into(), reports: vec![report], ..Default::default() };
    let other = site.hub.clone();
    for by in [By::Plaintext, By::Device(&ani), By::Service(&other)] {
        assert_eq!(code(site.registry(by).report_groups(report.clone()).await), Code::PermissionDenied);
    }
    assert_eq!(code(site.relay(By::Device(&ani)).publish(message(group, 2, DeviceId::NONE)).await), Code::Ok);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_known_by_its_certificate_alone() {
    let (site, ani) = (Site::start().await, key(1));
    let group = site.group("secret", true, &ani).await;
    let Role::Relay(relay) = site.relay_role else { unreachable!("a relay's role") };
    let watch = async |by, viewer| {
        let request = pb::WatchGroupsRequest { relay_id: relay.into(), viewer, ..Default::default() };
        let mut changes = site.registry(by).watch_groups(request).await.unwrap().into_inner();
        let mut groups = Vec::new();
        loop {
            match changes.message().await.unwrap().unwrap().event.unwrap() {
                Event::SnapshotBegin(_) | Event::Deleted(_) => {}
                Event::Upsert(group) => groups.push(group.id),
                Event::SnapshotEnd(_) => break groups.contains(&Bytes::from(group)),
            }
        }
    };
    assert!(watch(By::Service(&site.relay_credentials), None).await);
    let claim = pb::Viewer { service_id: relay.into(), service_secret: Bytes::from(vec![1; 32]), ..Default::default() };
    for by in [By::Plaintext, By::Device(&ani), By::Service(&site.hub)] {
        assert!(!watch(by, Some(claim.clone())).await);
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_follows_a_private_group_by_a_ticket_of_its_sessions() {
    let (site, ani) = (Site::start().await, key(1));
    let group = site.group("secret", true, &ani).await;
    let ticket = site.ticket(group, &ani).await;
    let add = |ticket| {
        let add = FollowGroup { group_id: group.into(), from_seq: 1, ticket, ..Default::default() };
        FollowRequest { change: Some(follow_request::Change::Add(add)) }
    };
    for (ticket, is_shown) in [(Bytes::new(), false), (ticket, true)] {
        let mut relay = site.relay(By::Service(&site.hub));
        let mut events = relay.follow(tokio_stream::once(add(ticket))).await.unwrap().into_inner();
        let event = timeout(LONG, events.message()).await.unwrap().unwrap().unwrap().event.unwrap();
        assert_eq!(matches!(event, follow_response::Event::Started(_)), is_shown, "{event:?}");
    }
    site.stop().await;
}
