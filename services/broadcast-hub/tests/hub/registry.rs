//! A double of the registry, with the groups that a test gives it.

use std::{
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use gaung_proto::{
    GroupId, RelayId,
    pb::registry::{
        registry_service_server::{RegistryService, RegistryServiceServer},
        watch_groups_response::Event,
        *,
    },
};
use gaung_site::Role;
use service_kit::rpc::charged_address;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, service::Routes};

use crate::server::KillableServer;

pub const RELAY: RelayId = RelayId([0x52; 16]);

#[derive(Clone)]
pub struct Registry {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    /// Number of GetGroup calls.
    requested: watch::Sender<usize>,
    answers: watch::Sender<bool>,
    pub key: Arc<SigningKey>,
}

#[derive(Default)]
struct State {
    groups: Vec<Group>,
    relay: Option<SocketAddr>,
    hidden_from_watch: Vec<String>,
    hubs: Vec<RegisterServiceRequest>,
    charged: Vec<Option<IpAddr>>,
}

impl Registry {
    pub fn new() -> Self {
        let key = Arc::new(SigningKey::from_bytes(&[7; 32]));
        let (changes, answers, requested) = (watch::Sender::new(1), watch::Sender::new(true), watch::Sender::new(0));
        let registry = Self { state: Arc::default(), changes, answers, requested, key };
        registry.add("everyone", 1, false);
        registry
    }

    pub fn serve(&self, addr: SocketAddr) -> KillableServer {
        KillableServer::start(addr, Role::Registry, Routes::new(RegistryServiceServer::new(self.clone())))
    }

    pub fn set_relay(&self, addr: SocketAddr) {
        self.state.lock().unwrap().relay = Some(addr);
    }

    /// Adds a group whose id is 16 times `number` and whose log id is `number`.
    pub fn add(&self, name: &str, number: u8, private: bool) -> GroupId {
        let group = Group {
            id: GroupId([number; 16]).into(),
            name: name.to_owned(),
            private,
            relay_id: RELAY.into(),
            generation: 1,
            log_id: number.into(),
            reserved: name == "everyone",
            ..Group::default()
        };
        self.state.lock().unwrap().groups.push(group);
        self.changes.send_modify(|n| *n += 1);
        GroupId([number; 16])
    }

    /// Adds a group that `WatchGroups` does not report.
    pub fn add_unwatched(&self, name: &str, number: u8) -> GroupId {
        self.state.lock().unwrap().hidden_from_watch.push(name.to_owned());
        self.add(name, number, false)
    }

    pub fn delete(&self, id: GroupId) {
        self.state.lock().unwrap().groups.retain(|group| group.id != id.as_bytes()[..]);
        self.changes.send_modify(|n| *n += 1);
    }

    pub fn hubs(&self) -> Vec<RegisterServiceRequest> {
        self.state.lock().unwrap().hubs.clone()
    }

    /// Returns the addresses that calls about creating groups, joining and invites were charged to.
    pub fn charged(&self) -> Vec<Option<IpAddr>> {
        self.state.lock().unwrap().charged.clone()
    }

    /// Leaves GetGroup calls unanswered while `holds` is true.
    pub fn hold_back(&self, holds: bool) {
        self.answers.send_replace(!holds);
    }

    /// Waits until GetGroup was called so often.
    pub async fn until_requested(&self, times: usize) {
        self.requested.subscribe().wait_for(|requested| *requested >= times).await.unwrap();
    }

    fn charge<T>(&self, request: &Request<T>) -> Status {
        self.state.lock().unwrap().charged.push(charged_address(request));
        Status::unimplemented("not in this double")
    }

    fn snapshot(&self) -> Vec<WatchGroupsResponse> {
        let state = self.state.lock().unwrap();
        let shown = state.groups.iter().filter(|group| !state.hidden_from_watch.contains(&group.name));
        let events = [Event::SnapshotBegin(SnapshotBegin { with_private: true })]
            .into_iter()
            .chain(shown.cloned().map(Event::Upsert))
            .chain([Event::SnapshotEnd(SnapshotEnd {})]);
        let response =
            |event| WatchGroupsResponse { revision: 1, watch_id: Bytes::from_static(b"w"), event: Some(event) };
        events.map(response).collect()
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// Defines calls that the hub never makes, in the form that `async_trait` gives them.
macro_rules! unimplemented_calls {
    ($($name:ident: $request:ty => $response:ty,)*) => {
        $(fn $name<'a, 'b>(
            &'a self,
            _: Request<$request>,
        ) -> Pin<Box<dyn Future<Output = Answer<$response>> + Send + 'b>>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("not in this double")) })
        })*
    };
}

#[tonic::async_trait]
impl RegistryService for Registry {
    type WatchGroupsStream = ReceiverStream<Result<WatchGroupsResponse, Status>>;

    async fn get_group(&self, request: Request<GetGroupRequest>) -> Answer<GetGroupResponse> {
        let by = request.into_inner().by;
        self.requested.send_modify(|requested| *requested += 1);
        let _ = self.answers.subscribe().wait_for(|answers| *answers).await;
        let state = self.state.lock().unwrap();
        let wanted = |group: &&Group| match &by {
            Some(get_group_request::By::Name(name)) => group.name == *name,
            Some(get_group_request::By::Id(id)) => group.id == *id,
            None => false,
        };
        let group = state.groups.iter().find(wanted).cloned();
        group
            .map(|group| Response::new(GetGroupResponse { group: Some(group) }))
            .ok_or(Status::not_found("no such group"))
    }

    async fn watch_groups(&self, _: Request<WatchGroupsRequest>) -> Answer<Self::WatchGroupsStream> {
        let (sender, receiver) = tokio::sync::mpsc::channel(64);
        let registry = self.clone();
        tokio::spawn(async move {
            let mut changes = registry.changes.subscribe();
            loop {
                for event in registry.snapshot() {
                    if sender.send(Ok(event)).await.is_err() {
                        return;
                    }
                }
                if changes.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn register_service(&self, request: Request<RegisterServiceRequest>) -> Answer<RegisterServiceResponse> {
        self.state.lock().unwrap().hubs.push(request.into_inner());
        let registry_public_key = Bytes::copy_from_slice(self.key.verifying_key().as_bytes());
        Ok(Response::new(RegisterServiceResponse { registry_public_key, renew_ms: 500, unix_ms: 0 }))
    }

    async fn list_services(&self, _: Request<ListServicesRequest>) -> Answer<ListServicesResponse> {
        let relay = self.state.lock().unwrap().relay;
        let service = |addr: SocketAddr| ServiceInfo {
            kind: ServiceKind::Relay.into(),
            service_id: RELAY.into(),
            advertise: addr.ip().to_string(),
            grpc_port: addr.port().into(),
            alive: true,
            ..ServiceInfo::default()
        };
        let services = relay.map(service).into_iter().collect();
        Ok(Response::new(ListServicesResponse { services, ..ListServicesResponse::default() }))
    }

    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Answer<CreateGroupResponse> {
        Err(self.charge(&request))
    }

    async fn join_group(&self, request: Request<JoinGroupRequest>) -> Answer<JoinGroupResponse> {
        Err(self.charge(&request))
    }

    async fn create_invite(&self, request: Request<CreateInviteRequest>) -> Answer<CreateInviteResponse> {
        Err(self.charge(&request))
    }

    async fn redeem_invite(&self, request: Request<RedeemInviteRequest>) -> Answer<RedeemInviteResponse> {
        Err(self.charge(&request))
    }

    async fn get_challenge(&self, _: Request<GetChallengeRequest>) -> Answer<GetChallengeResponse> {
        Ok(Response::new(GetChallengeResponse { nonce: vec![7; 32].into(), unix_ms: 0 }))
    }

    unimplemented_calls! {
        list_groups: ListGroupsRequest => ListGroupsResponse,
        delete_group: DeleteGroupRequest => DeleteGroupResponse,
        reset_group: ResetGroupRequest => ResetGroupResponse,
        set_retention: SetRetentionRequest => SetRetentionResponse,
        set_policy: SetPolicyRequest => SetPolicyResponse,
        leave_group: LeaveGroupRequest => LeaveGroupResponse,
        list_members: ListMembersRequest => ListMembersResponse,
        revoke_invite: RevokeInviteRequest => RevokeInviteResponse,
        report_groups: ReportGroupsRequest => ReportGroupsResponse,
        enrol: EnrolRequest => EnrolResponse,
    }
}
