//! Serves `gaung.registry.v1` over gRPC: validates requests, runs them, and converts outcomes to messages.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use bytes::Bytes;
use gaung_proto::{
    DeviceId, GroupId, RelayId,
    pb::registry::{self as pb, registry_service_server::RegistryService},
    signing::{self, Method},
};
use gaung_site::Role;
use rustls::pki_types::UnixTime;
use service_kit::{
    rpc::charged_address,
    secure::{ServiceCalls, TlsPeer},
    share::{Origin, RateLimit, SharePool, TooSoon},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tracing::info;

use crate::{
    async_registry::AsyncRegistry,
    caller::CallOrigin,
    challenge::SignedCall,
    clock::Now,
    device_limits::{self, DeviceLimits, DeviceRates},
    enrol::Enrolments,
    figures::Figures,
    group::Group,
    identity_conflicts::IdentityConflicts,
    lookup::GroupBy,
    registry::Registry,
    reports::ReportError,
    services::{RegisterError, SERVICE_RENEW},
    status::{ToStatus, invalid},
    validate, watch,
};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;
/// Most open watch streams; each takes a task and a small buffer.
const MAX_WATCHERS: u64 = 4096;
/// Most open watch streams of one address: a machine that runs a lab of relays and hubs has dozens.
const MAX_WATCHERS_OF_ONE: u64 = 256;

/// The gRPC service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) registry: Arc<Registry>,
    pub(crate) calls: AsyncRegistry,
    pub(crate) figures: Figures,
    pub(crate) watchers: SharePool<Origin>,
    pub(crate) conflicts: Arc<IdentityConflicts>,
    pub(crate) enrolments: Arc<Enrolments>,
    /// Decides who may register a service and report its groups, and what callers have proven.
    pub(crate) service_calls: ServiceCalls,
    device_limits: Arc<DeviceLimits>,
    /// Identifies this process's revisions, so that a client cannot resume with another's.
    pub(crate) watch_id: Bytes,
    pub(crate) stop: CancellationToken,
}

impl Rpc {
    pub(crate) fn new(
        registry: Arc<Registry>,
        calls: AsyncRegistry,
        enrolments: Arc<Enrolments>,
        figures: Figures,
        service_calls: ServiceCalls,
        device_rates: &DeviceRates,
        stop: CancellationToken,
    ) -> Self {
        let watch_id = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        let watchers = SharePool::new(MAX_WATCHERS, MAX_WATCHERS_OF_ONE);
        Self {
            registry,
            calls,
            figures,
            watchers,
            conflicts: Arc::default(),
            enrolments,
            service_calls,
            device_limits: Arc::new(DeviceLimits::new(device_rates)),
            watch_id,
            stop,
        }
    }

    /// Returns how many watch streams are open.
    pub(crate) fn open_watchers(&self) -> u64 {
        self.watchers.used()
    }

    fn charged(&self, outcome: Result<(), TooSoon>) -> Result<(), Status> {
        outcome.map_err(|error| {
            self.figures.refused(Code::ResourceExhausted);
            error.to_status()
        })
    }

    /// Counts a call against one of the limits of the device that made it.
    fn charge_device<T>(
        &self,
        request: &Request<T>,
        rate: impl FnOnce(&DeviceLimits) -> &RateLimit<DeviceId>,
    ) -> Result<(), Status> {
        self.charged(device_limits::take(rate(&self.device_limits), request, Now::read().mono))
    }

    /// Checks that `request` comes from the service that it speaks for.
    fn check_service<T>(&self, request: &Request<T>, speaks_for: Option<Role>) -> Result<(), Status> {
        self.service_calls.check(request, |role| Some(role) == speaks_for).inspect_err(|status| {
            self.figures.refused(status.code());
        })
    }

    fn caller<T>(&self, request: &Request<T>) -> CallOrigin {
        CallOrigin::of(request, self.service_calls)
    }

    /// Checks that a call is made by the device that it is for, which its signature proves, or else its connection.
    async fn check_device(
        &self,
        caller: CallOrigin,
        device: DeviceId,
        signed: Option<SignedCall>,
    ) -> Result<(), Status> {
        match signed {
            Some(call) => self.run(move |registry, now| registry.verify_device(now, &call, device)).await,
            None => caller.check_device(device).map_err(|error| {
                let status = error.to_status();
                self.figures.refused(status.code());
                status
            }),
        }
    }

    async fn run<T, E>(&self, call: impl FnOnce(&Registry, Now) -> Result<T, E> + Send + 'static) -> Result<T, Status>
    where
        T: Send + 'static,
        E: ToStatus + Send + 'static,
    {
        self.calls.run(call).await?.map_err(|error| {
            let status = error.to_status();
            self.figures.refused(status.code());
            status
        })
    }
}

#[tonic::async_trait]
impl RegistryService for Rpc {
    async fn create_group(
        &self,
        request: Request<pb::CreateGroupRequest>,
    ) -> Result<Response<pb::CreateGroupResponse>, Status> {
        self.charge_device(&request, |limits| &limits.creates)?;
        let caller = self.caller(&request);
        let mut request = request.into_inner();
        let (signature, subject) = (request.signature.take(), signing::create_subject(&request));
        let spec = validate::create(request, caller.charged)?;
        self.charged(self.registry.charge_create(Now::read().mono, caller.charged))?;
        let signed = caller.signed(Method::Create, GroupId::NONE, subject, signature);
        self.check_device(caller, spec.owner, signed).await?;
        let made = self.calls.create(spec).await;
        match &made {
            Ok(_) => drop(self.figures.creates.inc()),
            Err(status) => self.figures.refused(status.code()),
        }
        Ok(Response::new(pb::CreateGroupResponse { group: Some(made?.to_pb()) }))
    }

    async fn get_group(&self, request: Request<pb::GetGroupRequest>) -> Result<Response<pb::GetGroupResponse>, Status> {
        let caller = self.caller(&request);
        let request = request.into_inner();
        let by = validate::group_by(request.by)?;
        let claim = validate::viewer(request.viewer)?.proven_by(&caller);
        let group = self.run(move |registry, now| registry.group_for(now, &by, claim)).await?;
        Ok(Response::new(pb::GetGroupResponse { group: Some(group.to_pb_with_policy()) }))
    }

    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let caller = self.caller(&request);
        let request = request.into_inner();
        let limit = match usize::try_from(request.page_size).unwrap_or(usize::MAX) {
            0 => DEFAULT_PAGE,
            size if size <= MAX_PAGE => size,
            _ => return Err(invalid("page_size", "page_size goes from 1 to 1000")),
        };
        let after = Some(request.page_token).filter(|token| !token.is_empty());
        let claim = validate::viewer(request.viewer)?.proven_by(&caller);
        let list = move |registry: &Registry, now| registry.groups_for(now, after.as_deref(), limit, claim);
        let (groups, more) = self.calls.run(list).await?;
        let last = groups.last().map(page_token);
        let next_page_token = last.filter(|_| more).unwrap_or_default();
        let groups = groups.iter().map(|group| group.to_pb()).collect();
        Ok(Response::new(pb::ListGroupsResponse { groups, next_page_token }))
    }

    type WatchGroupsStream = ReceiverStream<Result<pb::WatchGroupsResponse, Status>>;

    async fn watch_groups(
        &self,
        request: Request<pb::WatchGroupsRequest>,
    ) -> Result<Response<Self::WatchGroupsStream>, Status> {
        let from = Origin::from(caller(&request).unwrap_or(Ipv4Addr::LOCALHOST.into()));
        let slot = self.watchers.take(from, 1).map_err(|full| {
            self.figures.refused(Code::ResourceExhausted);
            Status::new(Code::ResourceExhausted, format!("too many watchers: {full}"))
        })?;
        let caller = self.caller(&request);
        let request = request.into_inner();
        let relay =
            if request.relay_id.is_empty() { None } else { Some(validate::service_id("relay_id", &request.relay_id)?) };
        let claim = validate::viewer(request.viewer)?.proven_by(&caller);
        let viewer = self.registry.viewer(claim);
        let resumes = request.watch_id == self.watch_id && request.after_revision > 0;
        let watcher = watch::Watcher {
            registry: Arc::clone(&self.registry),
            watch_id: self.watch_id.clone(),
            relay,
            proven: viewer.relay,
            after: resumes.then_some(request.after_revision),
        };
        Ok(Response::new(watcher.start(slot, self.stop.clone())))
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let from = charged_address(&request);
        let request = request.into_inner();
        let group = validate::group_id("group_id", &request.group_id)?;
        let call = validate::signed(Method::Delete, group, String::new(), request.signature, from)?;
        self.run(move |registry, now| registry.delete_group(now, &call)).await?;
        Ok(Response::new(pb::DeleteGroupResponse {}))
    }

    async fn reset_group(
        &self,
        request: Request<pb::ResetGroupRequest>,
    ) -> Result<Response<pb::ResetGroupResponse>, Status> {
        let from = charged_address(&request);
        let request = request.into_inner();
        let group = validate::group_id("group_id", &request.group_id)?;
        let call = validate::signed(Method::Reset, group, String::new(), request.signature, from)?;
        let group = self.run(move |registry, now| registry.reset_group(now, &call)).await?;
        Ok(Response::new(pb::ResetGroupResponse { group: Some(group.to_pb()) }))
    }

    async fn set_retention(
        &self,
        request: Request<pb::SetRetentionRequest>,
    ) -> Result<Response<pb::SetRetentionResponse>, Status> {
        let from = charged_address(&request);
        let request = request.into_inner();
        let keep = validate::retention(request.keep)?;
        let group = validate::group_id("group_id", &request.group_id)?;
        let call = validate::signed(Method::Keep, group, keep.subject(), request.signature, from)?;
        let group = self.run(move |registry, now| registry.set_retention(now, &call, keep)).await?;
        Ok(Response::new(pb::SetRetentionResponse { group: Some(group.to_pb()) }))
    }

    async fn set_policy(
        &self,
        request: Request<pb::SetPolicyRequest>,
    ) -> Result<Response<pb::SetPolicyResponse>, Status> {
        let from = charged_address(&request);
        let policy = request.into_inner().policy;
        let group = self.run(move |registry, now| registry.set_policy(now, &policy, from)).await?;
        Ok(Response::new(pb::SetPolicyResponse { group: Some(group.to_pb_with_policy()) }))
    }

    async fn join_group(
        &self,
        request: Request<pb::JoinGroupRequest>,
    ) -> Result<Response<pb::JoinGroupResponse>, Status> {
        // A presence is renewed as often as the device has groups and processes; its address pays for new ones.
        if request.get_ref().client_id.is_empty() {
            self.charge_device(&request, |limits| &limits.joins)?;
        }
        let caller = self.caller(&request);
        let mut request = request.into_inner();
        let (signature, subject) = (request.signature.take(), signing::join_subject(&request));
        let join = validate::join(request, caller.charged)?;
        let group = match &join.by {
            GroupBy::Id(id) => *id,
            GroupBy::Name(_) => GroupId::NONE,
        };
        self.check_device(caller, join.device, caller.signed(Method::Join, group, subject, signature)).await?;
        let joined = self.run(move |registry, now| registry.join(now, &join)).await?;
        Ok(Response::new(pb::JoinGroupResponse {
            group: Some(joined.group.to_pb()),
            ticket: joined.ticket,
            relays: joined.relays,
            hubs: joined.hubs,
            lease_ms: millis(crate::presence::PRESENCE_LEASE),
        }))
    }

    async fn leave_group(
        &self,
        request: Request<pb::LeaveGroupRequest>,
    ) -> Result<Response<pb::LeaveGroupResponse>, Status> {
        let caller = self.caller(&request);
        let mut request = request.into_inner();
        let group = validate::group_id("group_id", &request.group_id)?;
        let device = validate::device("public_key", &request.public_key)?;
        let client = validate::client_id(&request.client_id)?;
        let (signature, subject) = (request.signature.take(), signing::leave_subject(&request));
        self.check_device(caller, device, caller.signed(Method::Leave, group, subject, signature)).await?;
        self.run(move |registry, now| registry.leave(now, group, device, client)).await?;
        Ok(Response::new(pb::LeaveGroupResponse {}))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let caller = self.caller(&request);
        let request = request.into_inner();
        let group = validate::group_id("group_id", &request.group_id)?;
        let claim = validate::viewer(request.viewer)?.proven_by(&caller);
        let members = self.run(move |registry, now| registry.members_for(now, group, claim)).await?;
        Ok(Response::new(pb::ListMembersResponse { members }))
    }

    async fn create_invite(
        &self,
        request: Request<pb::CreateInviteRequest>,
    ) -> Result<Response<pb::CreateInviteResponse>, Status> {
        self.charge_device(&request, |limits| &limits.invites)?;
        let caller = self.caller(&request);
        self.charged(self.registry.charge_invite(Now::read().mono, caller.charged))?;
        let mut request = request.into_inner();
        let group = validate::group_id("group_id", &request.group_id)?;
        let inviter = validate::device("public_key", &request.public_key)?;
        let (signature, subject) = (request.signature.take(), signing::invite_subject(&request));
        let (uses, expires_ms) = validate::invite(request.uses, request.expires_ms)?;
        self.check_device(caller, inviter, caller.signed(Method::Invite, group, subject, signature)).await?;
        let made = self.run(move |registry, now| registry.create_invite(now, group, inviter, uses, expires_ms)).await?;
        let (code, expires_unix_ms) = made;
        Ok(Response::new(pb::CreateInviteResponse { code, expires_unix_ms }))
    }

    async fn revoke_invite(
        &self,
        request: Request<pb::RevokeInviteRequest>,
    ) -> Result<Response<pb::RevokeInviteResponse>, Status> {
        let from = charged_address(&request);
        let request = request.into_inner();
        let call = validate::signed(Method::Revoke, GroupId::NONE, request.code, request.signature, from)?;
        self.run(move |registry, now| registry.revoke_invite(now, &call)).await?;
        Ok(Response::new(pb::RevokeInviteResponse {}))
    }

    async fn redeem_invite(
        &self,
        request: Request<pb::RedeemInviteRequest>,
    ) -> Result<Response<pb::RedeemInviteResponse>, Status> {
        self.charge_device(&request, |limits| &limits.redeems)?;
        let from = charged_address(&request);
        let request = request.into_inner();
        let name = validate::display_name("member_name", &request.member_name)?;
        let call = validate::signed(Method::Redeem, GroupId::NONE, request.code, request.signature, from)?;
        let figures = self.figures.clone();
        let redeem = move |registry: &Registry, now| {
            registry.redeem_invite(now, &call, name.as_ref()).inspect_err(|error| {
                if error.is_bad_code() {
                    figures.redeem_failures.inc();
                }
            })
        };
        let group = self.run(redeem).await?;
        Ok(Response::new(pb::RedeemInviteResponse { group: Some(group.to_pb()) }))
    }

    async fn get_challenge(
        &self,
        request: Request<pb::GetChallengeRequest>,
    ) -> Result<Response<pb::GetChallengeResponse>, Status> {
        self.charge_device(&request, |limits| &limits.challenges)?;
        let now = Now::read();
        let nonce = self.registry.challenge(now.mono);
        Ok(Response::new(pb::GetChallengeResponse { nonce, unix_ms: now.unix_ms }))
    }

    async fn register_service(
        &self,
        request: Request<pb::RegisterServiceRequest>,
    ) -> Result<Response<pb::RegisterServiceResponse>, Status> {
        let from = caller(&request);
        let registered = role(request.get_ref().kind(), &request.get_ref().service_id);
        self.check_service(&request, registered)?;
        let is_proven = self.caller(&request).service.is_some();
        let request = request.into_inner();
        let secret = validate::secret(&request.service_secret)?;
        let (id, info) = validate::service(request)?;
        self.run(move |registry, now| {
            if is_proven {
                registry.register_proven_service(now, id, info, from)?;
            } else {
                registry.register_service(now, id, info, from)?;
            }
            Ok::<_, RegisterError>(registry.remember_secret(now, id, &secret)?)
        })
        .await?;
        let registry_public_key = Bytes::copy_from_slice(&self.registry.public_key());
        let (renew_ms, unix_ms) = (millis(SERVICE_RENEW), Now::read().unix_ms);
        Ok(Response::new(pb::RegisterServiceResponse { registry_public_key, renew_ms, unix_ms }))
    }

    async fn list_services(
        &self,
        _: Request<pb::ListServicesRequest>,
    ) -> Result<Response<pb::ListServicesResponse>, Status> {
        Ok(Response::new(pb::ListServicesResponse {
            services: self.registry.services(Now::read()),
            registry_version: env!("CARGO_PKG_VERSION").to_owned(),
            group_count: self.registry.group_count().try_into().unwrap_or(u64::MAX),
            twins: self.conflicts.list().iter().map(ToString::to_string).collect(),
        }))
    }

    async fn report_groups(
        &self,
        request: Request<pb::ReportGroupsRequest>,
    ) -> Result<Response<pb::ReportGroupsResponse>, Status> {
        let is_proven = self.caller(&request).service.is_some();
        let from = caller(&request).filter(|_| !is_proven);
        self.check_service(&request, role(pb::ServiceKind::Relay, &request.get_ref().relay_id))?;
        let request = request.into_inner();
        let secret = validate::secret(&request.service_secret)?;
        let (relay, reports) = validate::reports(request)?;
        let told = self.run(move |registry, now| {
            let mut refusals = registry.report(now, relay, &reports, from)?;
            let is_proven = is_proven || registry.is_proven(relay, &secret);
            refusals.retain(|refusal| is_proven || !is_private(registry, &refusal.group_id));
            Ok::<_, ReportError>(refusals)
        });
        let refusals = told.await?;
        Ok(Response::new(pb::ReportGroupsResponse { refusals }))
    }

    async fn enrol(&self, request: Request<pb::EnrolRequest>) -> Result<Response<pb::EnrolResponse>, Status> {
        let (from, peer) = (caller(&request), request.extensions().get().map(|TlsPeer(peer)| *peer));
        let call = validate::enrol(request.into_inner())?;
        let role = call.role;
        let enrolled = self.enrolments.enrol(call, peer, from, (Now::read().mono, UnixTime::now()));
        let (chain, mac) = enrolled.map_err(|refusal| {
            let status = refusal.to_status();
            self.figures.refused(status.code());
            status
        })?;
        info!(%role, by = if mac.is_some() { "token" } else { "certificate" }, "certified a service");
        let chain = chain.certificates().iter().map(|der| Bytes::copy_from_slice(der)).collect();
        let mac = mac.map(|mac| Bytes::copy_from_slice(&mac)).unwrap_or_default();
        Ok(Response::new(pb::EnrolResponse { chain, mac }))
    }
}

/// Returns the role of a service as it names itself; `None` if it names none.
fn role(kind: pb::ServiceKind, id: &[u8]) -> Option<Role> {
    let id = RelayId::try_from(id).ok()?;
    match kind {
        pb::ServiceKind::Relay => Some(Role::Relay(id)),
        pb::ServiceKind::Hub => Some(Role::Hub(id)),
        pb::ServiceKind::Unspecified => None,
    }
}

/// Returns the address that a call came from; `None` for this process.
fn caller<T>(request: &Request<T>) -> Option<IpAddr> {
    request.remote_addr().map(|addr| addr.ip().to_canonical())
}

fn is_private(registry: &Registry, group: &[u8]) -> bool {
    GroupId::try_from(group).is_ok_and(|group| registry.is_private(group))
}

/// Returns the token of the page after this group: `everyone` comes before all names.
fn page_token(group: &Group) -> String {
    if group.reserved { "\u{1}".to_owned() } else { group.name.to_string() }
}

fn millis(duration: std::time::Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
