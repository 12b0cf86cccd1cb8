//! As much of a registry as a relay speaks to, with the real one's rules for reported logs.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    DeviceId, GroupId, GroupRetention,
    pb::registry::{
        self as pb,
        registry_service_server::{RegistryService, RegistryServiceServer},
        watch_groups_response::Event,
    },
    policy::{Policy, PolicyChange, SignedPolicy},
    signing::{self, Method},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::broadcast,
    task::JoinHandle,
};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{BroadcastStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, transport::Server};

/// What kind of group to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Proto,
    Text,
    Private,
}

/// A registry double; it can go away and come back.
pub(crate) struct RegistryDouble {
    state: Arc<State>,
    addr: SocketAddr,
    server: Option<JoinHandle<()>>,
    /// Keeps the port while the server is away.
    _port: TcpSocket,
    /// The folder of its relay.
    data: TempDir,
}

struct State {
    key: SigningKey,
    inner: Mutex<Inner>,
    changes: broadcast::Sender<pb::WatchGroupsResponse>,
}

#[derive(Default)]
struct Inner {
    relay: Option<(Bytes, bool)>,
    groups: HashMap<GroupId, pb::Group>,
    heads: HashMap<GroupId, (u64, u64, Bytes)>,
    /// Signed by the owner.
    resets: HashMap<GroupId, pb::DeviceSignature>,
    /// Groups that the relay says it lost.
    lost: HashSet<GroupId>,
    revision: u64,
    /// Watchers are shown no group, as a relay that is not proven is shown no private one.
    shows_nothing: bool,
}

impl RegistryDouble {
    pub(crate) async fn start() -> Self {
        let port = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let addr = port.local_addr().unwrap();
        let state = Arc::new(State {
            key: SigningKey::from_bytes(&[9; 32]),
            inner: Mutex::default(),
            changes: broadcast::channel(1024).0,
        });
        let server = Some(serve(Arc::clone(&state), bind(addr).listen(128).unwrap()));
        Self { state, addr, server, _port: port, data: tempfile::tempdir().unwrap() }
    }

    /// The folder in which its relay keeps everything.
    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn target(&self) -> String {
        self.addr.to_string()
    }

    pub(crate) fn go_away(&mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
        }
    }

    /// Tells of no group from now on.
    pub(crate) fn show_nothing(&self) {
        self.state.lock().shows_nothing = true;
    }

    pub(crate) async fn come_back(&mut self) {
        self.go_away();
        let listening = async {
            loop {
                // The listener before it is gone once its task is.
                match bind(self.addr).listen(128) {
                    Ok(listener) => break listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let listener = tokio::time::timeout(super::LONG, listening).await.expect("the registry's port is free again");
        self.server = Some(serve(Arc::clone(&self.state), listener));
    }

    pub(crate) async fn registered(&self) {
        super::eventually("the relay registers", async || self.state.lock().relay.is_some()).await;
    }

    /// Makes a group for the relay that registered, and tells it.
    pub(crate) async fn create(&self, name: &str, kind: GroupKind) -> (GroupId, SocketAddrV4) {
        self.registered().await;
        let id = GroupId(rand::random());
        let addr = free_group_addr();
        let mut inner = self.state.lock();
        let relay_id = inner.relay.as_ref().unwrap().0.clone();
        let group = pb::Group {
            id: id.into(),
            name: name.to_owned(),
            scope: pb::Scope::Site.into(),
            format: if kind == GroupKind::Text { pb::Format::Text } else { pb::Format::Proto }.into(),
            private: kind == GroupKind::Private,
            address: addr.ip().to_string(),
            port: addr.port().into(),
            generation: 1,
            log_id: rand::random(),
            owner_device_id: DeviceId::of_public_key(owner().verifying_key().as_bytes()).into(),
            relay_id,
            ttl: 1,
            ..pb::Group::default()
        };
        inner.groups.insert(id, group.clone());
        self.state.tell(&mut inner, Event::Upsert(group));
        (id, addr)
    }

    /// The owner resets the group.
    pub(crate) fn reset(&self, group: GroupId) -> u64 {
        let reset = signing::sign_call(&owner(), Method::Reset, group, &Bytes::from_static(b"nonce"), "");
        self.state.lock().resets.insert(group, reset);
        self.mislead(group)
    }

    /// As if somebody who is not the owner had begun a new log.
    pub(crate) fn mislead(&self, group: GroupId) -> u64 {
        let mut inner = self.state.lock();
        let changed = inner.groups.get_mut(&group).unwrap();
        changed.log_id = rand::random();
        let changed = changed.clone();
        inner.heads.remove(&group);
        let log_id = changed.log_id;
        self.state.tell(&mut inner, Event::Upsert(changed));
        log_id
    }

    /// The lease of the group's address lapsed.
    pub(crate) fn lapse(&self, group: GroupId) {
        self.change(group, |group| group.address_lapsed = true);
    }

    /// The group has an address again, this one or another.
    pub(crate) fn regain(&self, group: GroupId, addr: Option<SocketAddrV4>) -> SocketAddrV4 {
        let at = addr.unwrap_or_else(free_group_addr);
        self.change(group, |group| {
            (group.address, group.port) = (at.ip().to_string(), at.port().into());
            (group.generation, group.address_lapsed) = (group.generation + 1, false);
        });
        at
    }

    /// The group's owner says how much of its log is kept.
    pub(crate) fn keep(&self, group: GroupId, keep: GroupRetention) {
        self.change(group, |group| group.keep = keep.to_pb());
    }

    /// The group's owner bans, mutes or kicks a device, or lifts that.
    pub(crate) fn moderate(&self, group: GroupId, change: PolicyChange) {
        self.change(group, |group| {
            let current = SignedPolicy::decode(&group.policy).map(|signed| signed.policy().clone());
            let unset = || Policy::unset(GroupId::try_from(&group.id[..]).unwrap());
            let next = current.unwrap_or_else(|_| unset()).with(change);
            group.policy_version = next.version;
            group.policy = SignedPolicy::sign(&owner(), next).encoded().clone();
        });
    }

    fn change(&self, group: GroupId, change: impl FnOnce(&mut pb::Group)) {
        let mut inner = self.state.lock();
        let changed = inner.groups.get_mut(&group).unwrap();
        change(changed);
        let changed = changed.clone();
        self.state.tell(&mut inner, Event::Upsert(changed));
    }

    pub(crate) fn delete(&self, group: GroupId) {
        let mut inner = self.state.lock();
        inner.groups.remove(&group);
        self.state.tell(&mut inner, Event::Deleted(pb::GroupDeleted { id: group.into(), name: String::new() }));
    }

    /// As if another relay's log had been further.
    pub(crate) fn remember_head(&self, group: GroupId, head: u64) {
        let mut inner = self.state.lock();
        let log_id = inner.groups[&group].log_id;
        inner.heads.insert(group, (log_id, head, Bytes::new()));
    }

    pub(crate) fn head(&self, group: GroupId) -> Option<u64> {
        self.state.lock().heads.get(&group).map(|(_, head, _)| *head)
    }

    pub(crate) fn is_lost(&self, group: GroupId) -> bool {
        self.state.lock().lost.contains(&group)
    }

    pub(crate) fn log_id(&self, group: GroupId) -> u64 {
        self.state.lock().groups[&group].log_id
    }

    pub(crate) fn ticket(&self, group: GroupId, device: DeviceId, expires_unix_ms: i64) -> Bytes {
        signing::issue_ticket(&self.state.key, group, device, expires_unix_ms, 0)
    }
}

impl Drop for RegistryDouble {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl State {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn tell(&self, inner: &mut Inner, event: Event) {
        inner.revision += 1;
        let _ = self.changes.send(change(inner.revision, event));
    }
}

fn change(revision: u64, event: Event) -> pb::WatchGroupsResponse {
    pb::WatchGroupsResponse { revision, watch_id: Bytes::from_static(b"double"), event: Some(event) }
}

fn bind(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    socket
}

fn serve(state: Arc<State>, listener: TcpListener) -> JoinHandle<()> {
    let service = RegistryServiceServer::new(Calls(state));
    tokio::spawn(async move {
        let _ = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await;
    })
}

/// Who makes all groups.
fn owner() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// A site-local address and a port that nobody has.
fn free_group_addr() -> SocketAddrV4 {
    let [a, b] = rand::random::<[u8; 2]>();
    let ip = Ipv4Addr::new(239, 255, a.clamp(1, 254), b);
    let probe = UdpSocket::bind((ip, 0)).unwrap();
    SocketAddrV4::new(ip, probe.local_addr().unwrap().port())
}

struct Calls(Arc<State>);

/// Defines calls that a relay never makes, in the form that `async_trait` gives them.
macro_rules! absent {
    ($($name:ident: $request:ident => $response:ident,)*) => {
        $(fn $name<'a, 'b>(
            &'a self,
            _: Request<pb::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<pb::$response>, Status>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("a double has no such call")) })
        })*
    };
}

#[tonic::async_trait]
impl RegistryService for Calls {
    type WatchGroupsStream = Pin<Box<dyn Stream<Item = Result<pb::WatchGroupsResponse, Status>> + Send>>;

    async fn register_service(
        &self,
        request: Request<pb::RegisterServiceRequest>,
    ) -> Result<Response<pb::RegisterServiceResponse>, Status> {
        let request = request.into_inner();
        self.0.lock().relay = Some((request.service_id, request.durable));
        let registry_public_key = Bytes::copy_from_slice(self.0.key.verifying_key().as_bytes());
        Ok(Response::new(pb::RegisterServiceResponse { registry_public_key, renew_ms: 500, unix_ms: 0 }))
    }

    async fn watch_groups(
        &self,
        request: Request<pb::WatchGroupsRequest>,
    ) -> Result<Response<Self::WatchGroupsStream>, Status> {
        let changes = BroadcastStream::new(self.0.changes.subscribe());
        let inner = self.0.lock();
        let mut first = vec![change(
            inner.revision,
            Event::SnapshotBegin(pb::SnapshotBegin { with_private: !inner.shows_nothing }),
        )];
        let shown = inner.groups.values().filter(|_| !inner.shows_nothing);
        let of_relay = shown.filter(|group| group.relay_id == request.get_ref().relay_id);
        first.extend(of_relay.map(|group| change(inner.revision, Event::Upsert(group.clone()))));
        first.push(change(inner.revision, Event::SnapshotEnd(pb::SnapshotEnd {})));
        let seen = inner.revision;
        let later = changes.filter_map(move |change| change.ok().filter(|change| change.revision > seen));
        Ok(Response::new(Box::pin(tokio_stream::iter(first).chain(later).map(Ok))))
    }

    async fn get_group(&self, request: Request<pb::GetGroupRequest>) -> Result<Response<pb::GetGroupResponse>, Status> {
        let Some(pb::get_group_request::By::Id(id)) = request.into_inner().by else {
            return Err(Status::invalid_argument("by id only"));
        };
        let id = GroupId::try_from(&id[..]).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let inner = self.0.lock();
        match inner.groups.get(&id).filter(|_| !inner.shows_nothing) {
            Some(group) => Ok(Response::new(pb::GetGroupResponse { group: Some(group.clone()) })),
            None => Err(Status::not_found("no such group")),
        }
    }

    async fn report_groups(
        &self,
        request: Request<pb::ReportGroupsRequest>,
    ) -> Result<Response<pb::ReportGroupsResponse>, Status> {
        let mut inner = self.0.lock();
        let durable = inner.relay.as_ref().is_none_or(|(_, durable)| *durable);
        let mut refusals = Vec::new();
        for report in request.into_inner().reports {
            let id = GroupId::try_from(&report.group_id[..]).unwrap();
            let Some(mut group) = inner.groups.get(&id).cloned() else { continue };
            let known = inner.heads.get(&id).filter(|(log, ..)| *log == group.log_id).cloned().unwrap_or_default();
            let is_other = report.log_id != group.log_id;
            if report.lost {
                inner.lost.insert(id);
            } else {
                inner.lost.remove(&id);
            }
            if is_other && !report.lost && (!durable || (report.insists && !inner.resets.contains_key(&id))) {
                group.log_id = report.log_id;
                inner.groups.insert(id, group.clone());
                self.0.tell(&mut inner, Event::Upsert(group));
            } else if is_other || report.lost || (report.head_seq < known.1 && durable && !report.insists) {
                refusals.push(pb::GroupRefusal {
                    group_id: id.into(),
                    expected_log_id: group.log_id,
                    expected_head_seq: known.1,
                    proof: known.2,
                    reset: inner.resets.get(&id).cloned(),
                });
                continue;
            }
            inner.heads.insert(id, (report.log_id, report.head_seq, report.proof));
        }
        Ok(Response::new(pb::ReportGroupsResponse { refusals }))
    }

    absent! {
        create_group: CreateGroupRequest => CreateGroupResponse,
        list_groups: ListGroupsRequest => ListGroupsResponse,
        delete_group: DeleteGroupRequest => DeleteGroupResponse,
        reset_group: ResetGroupRequest => ResetGroupResponse,
        set_retention: SetRetentionRequest => SetRetentionResponse,
        set_policy: SetPolicyRequest => SetPolicyResponse,
        join_group: JoinGroupRequest => JoinGroupResponse,
        leave_group: LeaveGroupRequest => LeaveGroupResponse,
        list_members: ListMembersRequest => ListMembersResponse,
        create_invite: CreateInviteRequest => CreateInviteResponse,
        revoke_invite: RevokeInviteRequest => RevokeInviteResponse,
        redeem_invite: RedeemInviteRequest => RedeemInviteResponse,
        get_challenge: GetChallengeRequest => GetChallengeResponse,
        list_services: ListServicesRequest => ListServicesResponse,
        enrol: EnrolRequest => EnrolResponse,
    }
}
