//! The calls to the registry.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gaung_proto::{
    GroupId, GroupRetention,
    pb::registry::{self as pb, registry_service_client::RegistryServiceClient},
    policy::SignedPolicy,
    signing::{self, Method},
};
use rand::Rng as _;
use tonic::{Code, Request, Response, Status, transport::Channel};
use tracing::debug;

use super::{GroupAccess, GroupKey};
use crate::{
    context::Context,
    endpoint::call,
    error::ClientError,
    group::{GroupInfo, Invite, Member, NewGroup, ServerStatus, ServiceInfo, bad},
    moderation::GroupPolicy,
    server,
};

type Registry = RegistryServiceClient<Channel>;

/// Groups asked for in one page of a listing.
const PAGE: u32 = 500;
/// Limits a listing, groups: no server gives out so many addresses.
const MAX_GROUPS: usize = 1 << 20;
/// How long the place of a public group's services may be used without asking again.
const PUBLIC_LEASE: Duration = Duration::from_secs(60);

impl Context {
    pub(crate) async fn create_group(&self, new: NewGroup) -> Result<GroupInfo, ClientError> {
        let request = pb::CreateGroupRequest {
            request_id: Bytes::copy_from_slice(&rand::rng().random::<[u8; 16]>()),
            name: new.name.as_str().to_owned(),
            scope: pb::Scope::from(new.scope).into(),
            format: pb::Format::from(new.format).into(),
            private: new.private,
            address: new.address.map(|address| address.to_string()),
            port: new.port.map(u32::from),
            owner_public_key: self.public_key(),
            owner_name: self.name(),
            keep: new.keep.to_pb(),
            signature: None,
        };
        group_of(self.unary(request, Registry::create_group).await?.group)
    }

    pub(crate) async fn get_group(&self, key: &GroupKey) -> Result<GroupInfo, ClientError> {
        self.describe(key).await?.try_into()
    }

    pub(crate) async fn get_policy(&self, key: &GroupKey) -> Result<GroupPolicy, ClientError> {
        self.describe(key).await?.try_into()
    }

    /// Sets the next version of a group's policy; `None` if another one was set meanwhile.
    pub(crate) async fn set_policy(&self, policy: &SignedPolicy) -> Result<Option<GroupPolicy>, ClientError> {
        let request = pb::SetPolicyRequest { policy: policy.encoded().clone() };
        match self.server.registry().set_policy(call(request)).await {
            Ok(answer) => described(answer.into_inner().group)?.try_into().map(Some),
            Err(status) if status.code() == Code::Aborted => Ok(None),
            Err(status) => Err(self.error(&status)),
        }
    }

    /// Reads the registry's clock, ms since 1970, by which a mute ends.
    pub(crate) async fn registry_time(&self) -> Result<i64, ClientError> {
        let challenge = self.unary(pb::GetChallengeRequest {}, Registry::get_challenge).await?;
        if challenge.unix_ms == 0 {
            return Err(ClientError::Failed("the server is older and knows no mutes; update it".to_owned()));
        }
        Ok(challenge.unix_ms)
    }

    async fn describe(&self, key: &GroupKey) -> Result<pb::Group, ClientError> {
        let by = match key {
            GroupKey::Name(name) => pb::get_group_request::By::Name(name.as_str().to_owned()),
            GroupKey::Id(id) => pb::get_group_request::By::Id((*id).into()),
        };
        let request = pb::GetGroupRequest { by: Some(by), viewer: self.viewer() };
        described(self.unary(request, Registry::get_group).await?.group)
    }

    pub(crate) async fn list_groups(&self) -> Result<Vec<GroupInfo>, ClientError> {
        let mut groups = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListGroupsRequest { page_size: PAGE, page_token, viewer: self.viewer() };
            let page = self.unary(request, Registry::list_groups).await?;
            for group in page.groups {
                groups.push(GroupInfo::try_from(group)?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() || groups.len() >= MAX_GROUPS {
                return Ok(groups);
            }
        }
    }

    pub(crate) async fn delete_group(&self, group: GroupId) -> Result<(), ClientError> {
        let signature = Some(self.sign(Method::Delete, group, "").await?);
        let request = pb::DeleteGroupRequest { group_id: group.into(), signature };
        self.unary(request, Registry::delete_group).await?;
        Ok(())
    }

    pub(crate) async fn reset_group(&self, group: GroupId) -> Result<GroupInfo, ClientError> {
        let signature = Some(self.sign(Method::Reset, group, "").await?);
        let request = pb::ResetGroupRequest { group_id: group.into(), signature };
        group_of(self.unary(request, Registry::reset_group).await?.group)
    }

    pub(crate) async fn set_retention(&self, group: GroupId, keep: GroupRetention) -> Result<GroupInfo, ClientError> {
        let signature = Some(self.sign(Method::Keep, group, &keep.subject()).await?);
        let request = pb::SetRetentionRequest { group_id: group.into(), signature, keep: keep.to_pb() };
        group_of(self.unary(request, Registry::set_retention).await?.group)
    }

    pub(crate) async fn list_members(&self, group: GroupId) -> Result<Vec<Member>, ClientError> {
        let request = pb::ListMembersRequest { group_id: group.into(), viewer: self.viewer() };
        let answer = self.unary(request, Registry::list_members).await?;
        answer.members.into_iter().map(Member::try_from).collect()
    }

    /// Joins a group. With `lane` this process is present, by that lane, until the lease ends; without it the device
    /// becomes a lasting member.
    pub(crate) async fn join(&self, key: &GroupKey, lane: Option<&str>) -> Result<GroupAccess, ClientError> {
        let by = match key {
            GroupKey::Name(name) => pb::join_group_request::By::Name(name.as_str().to_owned()),
            GroupKey::Id(id) => pb::join_group_request::By::Id((*id).into()),
        };
        let request = pb::JoinGroupRequest {
            by: Some(by),
            public_key: self.public_key(),
            member_name: self.name(),
            client_id: lane.map_or_else(Bytes::new, |_| self.client_id.into()),
            lane: lane.unwrap_or_default().to_owned(),
            signature: None,
        };
        let answer = self.unary(request, Registry::join_group).await?;
        let access = GroupAccess {
            group: group_of(answer.group)?,
            ticket: answer.ticket,
            services: self.checked_services(answer.relays.into_iter().chain(answer.hubs))?,
            lease: Duration::from_millis(answer.lease_ms.clamp(1_000, 3_600_000)),
        };
        if access.group.private && !access.ticket.is_empty() {
            self.tickets.keep(access.group.id, access.ticket.clone(), access.lease);
        }
        Ok(access)
    }

    /// Gets what reading or publishing needs without becoming present: where the services of the group are and, for a
    /// private group, a ticket.
    pub(crate) async fn access(&self, key: &GroupKey) -> Result<GroupAccess, ClientError> {
        let group = self.get_group(key).await?;
        if group.private {
            return self.join(&GroupKey::Id(group.id), None).await;
        }
        let services = self.server_status().await?.services;
        Ok(GroupAccess { group, ticket: Bytes::new(), services, lease: PUBLIC_LEASE })
    }

    /// Ends this process's presence in a group.
    pub(crate) async fn leave_presence(&self, group: GroupId) -> Result<(), ClientError> {
        self.leave(group, self.client_id.into()).await
    }

    /// Ends this device's lasting membership of a group.
    pub(crate) async fn leave_membership(&self, group: GroupId) -> Result<(), ClientError> {
        self.leave(group, Bytes::new()).await
    }

    async fn leave(&self, group: GroupId, client_id: Bytes) -> Result<(), ClientError> {
        let (group_id, public_key) = (group.into(), self.public_key());
        let request = pb::LeaveGroupRequest { group_id, public_key, client_id, signature: None };
        self.unary(request, Registry::leave_group).await?;
        Ok(())
    }

    pub(crate) async fn create_invite(
        &self,
        group: GroupId,
        uses: Option<u32>,
        expires: Option<Duration>,
    ) -> Result<Invite, ClientError> {
        let request = pb::CreateInviteRequest {
            group_id: group.into(),
            public_key: self.public_key(),
            uses: uses.unwrap_or(0),
            expires_ms: expires.map_or(0, |expires| u64::try_from(expires.as_millis()).unwrap_or(u64::MAX).max(1)),
            signature: None,
        };
        // Not repeated: a call whose answer was lost may have made an invite, and another call would make a second one.
        let answer = self.server.registry().create_invite(call(request)).await.map_err(|status| self.error(&status))?;
        let pb::CreateInviteResponse { code, expires_unix_ms } = answer.into_inner();
        Ok(Invite { code, expires_unix_ms })
    }

    pub(crate) async fn revoke_invite(&self, code: &str) -> Result<(), ClientError> {
        let signature = Some(self.sign(Method::Revoke, GroupId::NONE, code).await?);
        let request = pb::RevokeInviteRequest { code: code.to_owned(), signature };
        self.unary(request, Registry::revoke_invite).await?;
        Ok(())
    }

    pub(crate) async fn redeem_invite(&self, code: &str) -> Result<GroupInfo, ClientError> {
        let signature = Some(self.sign(Method::Redeem, GroupId::NONE, code).await?);
        let request = pb::RedeemInviteRequest { code: code.to_owned(), signature, member_name: self.name() };
        group_of(self.unary(request, Registry::redeem_invite).await?.group)
    }

    pub(crate) async fn server_status(&self) -> Result<ServerStatus, ClientError> {
        let answer = self.unary(pb::ListServicesRequest {}, Registry::list_services).await?;
        Ok(ServerStatus {
            server: self.server.to_string(),
            version: answer.registry_version,
            group_count: answer.group_count,
            twins: answer.twins,
            services: self.checked_services(answer.services)?,
        })
    }

    /// The newest ticket of the group, to be sent now. If it is no longer young, a newer one is fetched in the
    /// background, so that a connection in use never comes to send one that has expired.
    pub(crate) fn ticket(self: &Arc<Self>, group: GroupId) -> Bytes {
        if self.tickets.take_due(group) {
            let context = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = context.access(&GroupKey::Id(group)).await {
                    debug!(%group, %error, "ticket not renewed");
                    context.tickets.renewal_failed(group);
                }
            });
        }
        self.tickets.newest(group)
    }

    /// A ticket other than `refused`, which a service did not take: one that came meanwhile, else a new one.
    ///
    /// # Errors
    /// What the registry says: [`ClientError::NotAllowed`] means that this device is no longer a member.
    pub(crate) async fn other_ticket(&self, group: GroupId, refused: &Bytes) -> Result<Bytes, ClientError> {
        match self.tickets.newer_than(group, refused) {
            Some(newer) => Ok(newer),
            None => Ok(self.access(&GroupKey::Id(group)).await?.ticket),
        }
    }

    /// Calls a method of the registry. Repeats the call once if the connection was lost, and once more if the server
    /// has another address by now: each method given here may be repeated.
    async fn unary<Q: Clone, A>(
        &self,
        request: Q,
        method: impl AsyncFn(&mut Registry, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, ClientError> {
        let mut answer = method(&mut self.server.registry(), call(request.clone())).await;
        if answer.as_ref().is_err_and(|status| status.code() == Code::Unavailable) {
            answer = method(&mut self.server.registry(), call(request.clone())).await;
        }
        if answer.as_ref().is_err_and(server::is_silence) && self.server.search_again().await {
            answer = method(&mut self.server.registry(), call(request)).await;
        }
        answer.map(Response::into_inner).map_err(|status| self.error(&status))
    }

    async fn sign(&self, method: Method, group: GroupId, subject: &str) -> Result<pb::DeviceSignature, ClientError> {
        let challenge = self.unary(pb::GetChallengeRequest {}, Registry::get_challenge).await?;
        Ok(signing::sign_call(self.device.key(), method, group, &challenge.nonce, subject))
    }

    fn error(&self, status: &Status) -> ClientError {
        ClientError::of_status(status, &format!("the server {}", self.server))
    }

    /// Shows the registry which device asks, so that it lists this device's private groups.
    fn viewer(&self) -> Option<pb::Viewer> {
        Some(pb::Viewer { device_key: self.public_key(), ..pb::Viewer::default() })
    }

    fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(&self.device.public_key())
    }

    /// A service that advertises no host is at the registry's.
    fn checked_services(
        &self,
        services: impl IntoIterator<Item = pb::ServiceInfo>,
    ) -> Result<Vec<ServiceInfo>, ClientError> {
        let host = self.server.host();
        services.into_iter().map(|service| ServiceInfo::checked(service, &host)).collect()
    }
}

fn group_of(group: Option<pb::Group>) -> Result<GroupInfo, ClientError> {
    described(group)?.try_into()
}

fn described(group: Option<pb::Group>) -> Result<pb::Group, ClientError> {
    group.ok_or_else(|| bad("no group"))
}
