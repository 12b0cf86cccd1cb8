//! The registry over gRPC on a real port: many at once, watchers, bad input, restart, and a stop that ends.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    net::Ipv4Addr,
    path::Path,
    time::Duration,
};

use ed25519_dalek::SigningKey;
use gaung_proto::{
    GroupId,
    pb::registry::{self as pb, registry_service_client::RegistryServiceClient, watch_groups_response::Event},
    signing::{Method, sign_call},
};
use group_registry::{Config, address::Low23, bind};
use service_kit::{health_client, secure::PlaintextPolicy};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

type Client = RegistryServiceClient<Channel>;

struct Service {
    addr: String,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    async fn start(data: &Path) -> Self {
        let bound = bind(config(data)).await.unwrap();
        let addr = bound.grpc_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let running = tokio::spawn(bound.run(stop.clone()));
        Self { addr, stop, running }
    }

    async fn client(&self) -> Client {
        let endpoint = Channel::from_shared(format!("http://{}", self.addr)).unwrap();
        RegistryServiceClient::new(within(endpoint.connect()).await.unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        within(self.running).await.unwrap().unwrap();
    }
}

/// Settings of a registry on loopback that believes callers without proof.
fn config(data: &Path) -> Config {
    Config {
        data: Some(data.to_owned()),
        grpc_listen: "127.0.0.1:0".parse().unwrap(),
        plaintext: PlaintextPolicy::Any,
        metrics_listen: None,
        discovery_port: None,
        quiet_time: Duration::from_millis(30),
        iface: vec!["lo".to_owned()],
        ..Config::default()
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), what).await.expect("within a minute")
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn public_key() -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(key().verifying_key().as_bytes())
}

fn request(name: &str) -> pb::CreateGroupRequest {
    pb::CreateGroupRequest {
        request_id: bytes::Bytes::copy_from_slice(&rand::random::<[u8; 16]>()),
        name: name.to_owned(),
        owner_public_key: public_key(),
        owner_name: "Ann".to_owned(),
        ..Default::default()
    }
}

async fn register_relay(client: &mut Client) {
    let relay = pb::RegisterServiceRequest {
        kind: pb::ServiceKind::Relay.into(),
        service_id: bytes::Bytes::from_static(&[7; 16]),
        grpc_port: 7401,
        udp_port: 7402,
        durable: true,
        ..Default::default()
    };
    let answer = within(client.register_service(relay)).await.unwrap().into_inner();
    assert_eq!((answer.registry_public_key.len(), answer.renew_ms), (32, 5000));
}

async fn create(client: &mut Client, name: &str) -> Result<pb::Group, Status> {
    within(client.create_group(request(name))).await.map(|made| made.into_inner().group.unwrap())
}

async fn all_groups(client: &mut Client) -> Vec<pb::Group> {
    let (mut groups, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListGroupsRequest { page_size: 10, page_token, viewer: None };
        let page = within(client.list_groups(request)).await.unwrap().into_inner();
        groups.extend(page.groups);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return groups;
        }
    }
}

/// What a watcher knows, checked for gaps as it comes in.
struct Watched {
    stream: Streaming<pb::WatchGroupsResponse>,
    groups: HashMap<bytes::Bytes, pb::Group>,
    revision: u64,
    watch_id: bytes::Bytes,
    snapshots: usize,
    in_snapshot: bool,
}

impl Watched {
    async fn open(client: &mut Client, after_revision: u64, watch_id: bytes::Bytes) -> Self {
        let request = pb::WatchGroupsRequest { relay_id: bytes::Bytes::new(), after_revision, watch_id, viewer: None };
        let stream = within(client.watch_groups(request)).await.unwrap().into_inner();
        let (groups, watch_id) = (HashMap::new(), bytes::Bytes::new());
        Self { stream, groups, revision: after_revision, watch_id, snapshots: 0, in_snapshot: false }
    }

    async fn next(&mut self) {
        let change = within(self.stream.message()).await.unwrap().unwrap();
        self.watch_id = change.watch_id;
        match change.event.unwrap() {
            Event::SnapshotBegin(_) => {
                self.groups.clear();
                self.in_snapshot = true;
                self.revision = change.revision;
            }
            Event::SnapshotEnd(_) => {
                self.snapshots += 1;
                self.in_snapshot = false;
            }
            Event::Upsert(group) => {
                self.check(change.revision);
                self.groups.insert(group.id.clone(), group);
            }
            Event::Deleted(deleted) => {
                self.check(change.revision);
                assert!(self.groups.remove(&deleted.id).is_some());
            }
        }
    }

    fn check(&mut self, revision: u64) {
        if !self.in_snapshot {
            assert_eq!(revision, self.revision + 1, "a gap");
            self.revision = revision;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_creates_at_once_and_every_watcher_sees_each() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let mut client = service.client().await;
    register_relay(&mut client).await;
    let mut watched = Watched::open(&mut client, 0, bytes::Bytes::new()).await;

    let mut creates = Vec::new();
    for connection in 0..8 {
        let client = service.client().await;
        for n in 0..8 {
            let mut client = client.clone();
            creates
                .push(tokio::spawn(async move { create(&mut client, &format!("g{connection}-{n}")).await.unwrap() }));
        }
    }
    let mut made = Vec::new();
    for create in creates {
        made.push(create.await.unwrap());
    }
    while watched.groups.len() < 65 {
        watched.next().await;
    }
    let listed = all_groups(&mut client).await;
    assert_eq!(listed.len(), 65, "64 and everyone");
    assert!(listed.is_sorted_by(|a, b| a.name < b.name));
    assert!(made.iter().all(|group| listed.contains(group)));
    assert!(listed.iter().all(|group| watched.groups.get(&group.id) == Some(group)));
    let ips: Vec<Ipv4Addr> = listed.iter().map(|group| group.address.parse().unwrap()).collect();
    assert_eq!(ips.iter().map(|ip| Low23::of(*ip)).collect::<HashSet<_>>().len(), 65);
    assert_eq!(listed.iter().map(|group| group.port).collect::<HashSet<_>>().len(), 65);
    assert!(listed.iter().all(|group| group.port >= 20000 && group.ttl == 1));

    // Another watcher comes back after a while and misses nothing.
    let (seen, watch_id) = (watched.revision, watched.watch_id.clone());
    create(&mut client, "later").await.unwrap();
    delete(&mut client, &made[0]).await.unwrap();
    let mut resumed = Watched::open(&mut client, seen, watch_id).await;
    resumed.groups.clone_from(&watched.groups);
    resumed.next().await;
    resumed.next().await;
    assert_eq!((resumed.snapshots, resumed.groups.len(), resumed.revision), (0, 65, seen + 2));
    let mut foreign = Watched::open(&mut client, seen, bytes::Bytes::from_static(&[1; 16])).await;
    while foreign.snapshots == 0 {
        foreign.next().await;
    }
    assert_eq!(foreign.groups, resumed.groups);
    service.end().await;
}

async fn delete(client: &mut Client, group: &pb::Group) -> Result<(), Status> {
    let nonce = within(client.get_challenge(pb::GetChallengeRequest {})).await.unwrap().into_inner().nonce;
    let id = GroupId::try_from(&group.id[..]).unwrap();
    let signature = Some(sign_call(&key(), Method::Delete, id, &nonce, ""));
    within(client.delete_group(pb::DeleteGroupRequest { group_id: group.id.clone(), signature })).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_input_has_its_own_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let mut client = service.client().await;
    let no_relay = create(&mut client, "room").await.unwrap_err();
    assert!(no_relay.code() == Code::Unavailable && no_relay.message().contains("multicast-relay"), "{no_relay}");
    register_relay(&mut client).await;
    create(&mut client, "room").await.unwrap();

    let with = |change: fn(&mut pb::CreateGroupRequest)| {
        let mut request = request("fresh");
        change(&mut request);
        request
    };
    let own = |ip: &str| pb::CreateGroupRequest { address: Some(ip.to_owned()), ..request("own") };
    let long = pb::CreateGroupRequest { name: "x".repeat(65), ..request("") };
    let cases = [
        (request(""), Code::InvalidArgument, "the name is empty"),
        (long, Code::InvalidArgument, "65 characters"),
        (request("a b"), Code::InvalidArgument, "use letters"),
        (request("room"), Code::AlreadyExists, "the name room is taken"),
        (request("everyone"), Code::AlreadyExists, "reserved"),
        (with(|r| r.request_id = bytes::Bytes::new()), Code::InvalidArgument, "16 random bytes"),
        (with(|r| r.owner_public_key = bytes::Bytes::new()), Code::InvalidArgument, "Ed25519"),
        (with(|r| r.scope = 99), Code::InvalidArgument, "scope 99"),
        (with(|r| r.port = Some(0)), Code::InvalidArgument, "1 to 65535"),
        (with(|r| r.port = Some(70_000)), Code::InvalidArgument, "1 to 65535"),
        (with(|r| (r.private, r.format) = (true, pb::Format::Text.into())), Code::InvalidArgument, "--private"),
        (
            with(|r| r.keep = Some(pb::Retention { max_age_ms: 3_599_999, ..Default::default() })),
            Code::InvalidArgument,
            "an hour",
        ),
        (with(|r| r.owner_name = "a\nb".to_owned()), Code::InvalidArgument, "control character"),
        (own("hello"), Code::InvalidArgument, "not an IPv4 address"),
        (own("192.168.1.1"), Code::InvalidArgument, "not a multicast address"),
        (own("224.0.0.5"), Code::InvalidArgument, "link-local"),
        (own("224.0.1.5"), Code::InvalidArgument, "internetwork"),
        (own("232.0.1.5"), Code::InvalidArgument, "source-specific"),
        (own("239.255.64.75"), Code::InvalidArgument, "BeeBEEP"),
        (own("239.128.0.5"), Code::InvalidArgument, "224.0.0.5"),
    ];
    for (request, code, words) in cases {
        let status = within(client.create_group(request)).await.unwrap_err();
        assert_eq!(status.code(), code, "{words}: {status}");
        assert!(status.message().contains(words), "{words}: {status}");
        assert!(status.get_details_error_info().is_some_and(|info| info.domain == "gaung"), "{words}");
    }

    let unknown = pb::get_group_request::By::Name("nowhere".to_owned());
    let unknown = within(client.get_group(pb::GetGroupRequest { by: Some(unknown), viewer: None })).await.unwrap_err();
    assert!(unknown.code() == Code::NotFound && unknown.message().contains("nowhere"), "{unknown}");
    let neither = within(client.get_group(pb::GetGroupRequest { by: None, viewer: None })).await.unwrap_err();
    assert_eq!(neither.code(), Code::InvalidArgument);
    let unsigned = pb::DeleteGroupRequest { group_id: bytes::Bytes::from_static(&[1; 16]), signature: None };
    assert_eq!(within(client.delete_group(unsigned)).await.unwrap_err().code(), Code::InvalidArgument);
    let forged = pb::DeviceSignature { public_key: public_key(), ..Default::default() };
    let forged = pb::DeleteGroupRequest { group_id: bytes::Bytes::from_static(&[1; 16]), signature: Some(forged) };
    assert_eq!(within(client.delete_group(forged)).await.unwrap_err().code(), Code::Unauthenticated);
    let unregistered = pb::ReportGroupsRequest {
        relay_id: bytes::Bytes::from_static(&[3; 16]),
        reports: Vec::new(),
        service_secret: bytes::Bytes::new(),
    };
    assert_eq!(within(client.report_groups(unregistered)).await.unwrap_err().code(), Code::FailedPrecondition);
    create(&mut client, "still-works").await.unwrap();
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_groups_and_the_folder_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let mut client = service.client().await;
    register_relay(&mut client).await;
    let made = create(&mut client, "room").await.unwrap();
    let error = format!("{:#}", bind(config(dir.path())).await.unwrap_err());
    assert!(error.contains("in use by another process") && error.contains("--data"), "{error}");
    assert!(within(health_client::check(&service.addr, Duration::from_secs(30))).await.serving);
    // An open watch does not keep it from ending.
    let mut watched = Watched::open(&mut client, 0, bytes::Bytes::new()).await;
    watched.next().await;
    service.end().await;

    let service = Service::start(dir.path()).await;
    let mut client = service.client().await;
    let by = pb::get_group_request::By::Id(made.id.clone());
    let found =
        within(client.get_group(pb::GetGroupRequest { by: Some(by), viewer: None })).await.unwrap().into_inner().group;
    assert_eq!(found.as_ref(), Some(&made));
    assert!(all_groups(&mut client).await.iter().any(|group| group.reserved && group.name == "everyone"));
    let services = within(client.list_services(pb::ListServicesRequest {})).await.unwrap().into_inner();
    assert_eq!((services.group_count, services.services.len()), (2, 1));
    assert_eq!(services.services[0].advertise, "", "left to the client");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_gives_what_is_needed_to_talk() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path()).await;
    let mut client = service.client().await;
    register_relay(&mut client).await;
    let group = create(&mut client, "room").await.unwrap();
    let join = |lane: &str| pb::JoinGroupRequest {
        by: Some(pb::join_group_request::By::Name("room".to_owned())),
        public_key: public_key(),
        member_name: "Ann".to_owned(),
        client_id: bytes::Bytes::from_static(&[5; 16]),
        lane: lane.to_owned(),
        signature: None,
    };
    let joined = within(client.join_group(join("multicast"))).await.unwrap().into_inner();
    assert_eq!(joined.group.as_ref(), Some(&group));
    assert_eq!((joined.relays.len(), joined.hubs.len(), joined.lease_ms), (1, 0, 30_000));
    let bad = within(client.join_group(join("pigeon"))).await.unwrap_err();
    assert_eq!(bad.code(), Code::InvalidArgument);
    let members = pb::ListMembersRequest { group_id: group.id.clone(), viewer: None };
    let members = within(client.list_members(members)).await.unwrap().into_inner().members;
    assert_eq!(members.len(), 1);
    assert!(members[0].present && members[0].lane == "multicast");
    service.end().await;
}
