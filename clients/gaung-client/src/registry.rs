//! The registry's calls, checked on both sides.

use std::time::Duration;

use bytes::Bytes;
use gaung_engine::MemberLane;
use gaung_proto::{
    GroupId, GroupName, GroupRetention, LogId, Seq,
    pb::{hub as pb_hub, registry as pb, relay as pb_relay},
    pb::{hub::hub_service_client::HubServiceClient, relay::relay_service_client::RelayServiceClient},
    signing::{self, Method},
};
use rand::Rng as _;

use crate::{
    client::{Client, Inner},
    endpoint::{HostPort, call},
    error::ClientError,
    group::{
        FollowedGroup, GroupInfo, HubStatus, Invite, LogStatus, Member, MemberProgress, NewGroup, ServerStatus,
        ServiceInfo, ServiceKind, bad,
    },
    server,
};

const PAGE: u32 = 500;
/// What was told to a visitor may have changed after this.
const VISIT: Duration = Duration::from_secs(60);
/// Beyond this many groups a listing ends; no server gives out so many addresses.
const MAX_GROUPS: usize = 1 << 20;

/// What a member gets at the door.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    pub(crate) group: GroupInfo,
    pub(crate) ticket: Bytes,
    pub(crate) services: Vec<ServiceInfo>,
    pub(crate) lease: Duration,
}

/// Which group is meant.
#[derive(Debug, Clone)]
pub(crate) enum By {
    Name(GroupName),
    Id(GroupId),
}

impl Client {
    /// Makes a group, owned by this device.
    ///
    /// # Errors
    /// [`ClientError`]; taken names and addresses, and an exhausted pool, are [`ClientError::Failed`].
    pub async fn create_group(&self, new: NewGroup) -> Result<GroupInfo, ClientError> {
        let request = pb::CreateGroupRequest {
            request_id: Bytes::copy_from_slice(&rand::rng().random::<[u8; 16]>()),
            name: new.name.as_str().to_owned(),
            scope: pb::Scope::from(new.scope).into(),
            format: pb::Format::from(new.format).into(),
            private: new.private,
            address: new.address.map(|address| address.to_string()),
            port: new.port.map(u32::from),
            owner_public_key: self.inner.public_key(),
            owner_name: self.name(),
            keep: new.keep.to_pb(),
        };
        let answer = self
            .inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.create_group(request).await }
            })
            .await?;
        group_of(answer.group)
    }

    /// One group.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn group(&self, name: &GroupName) -> Result<GroupInfo, ClientError> {
        self.inner.get_group(&By::Name(name.clone())).await
    }

    /// All groups in order of name: public ones, and the private ones that this device is a member of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn groups(&self) -> Result<Vec<GroupInfo>, ClientError> {
        let mut groups = Vec::new();
        let viewer = self.inner.viewer();
        let mut page_token = String::new();
        loop {
            let request = pb::ListGroupsRequest { page_size: PAGE, page_token, viewer: viewer.clone() };
            let page = self
                .inner
                .retried(|mut registry| {
                    let request = call(request.clone());
                    async move { registry.list_groups(request).await }
                })
                .await?;
            for group in page.groups {
                groups.push(GroupInfo::try_from(group)?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() || groups.len() >= MAX_GROUPS {
                return Ok(groups);
            }
        }
    }

    /// Deletes a group that this device owns.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn delete_group(&self, name: &GroupName) -> Result<(), ClientError> {
        let group = self.group(name).await?;
        let signature = Some(self.inner.sign(Method::Delete, group.id, "").await?);
        let request = pb::DeleteGroupRequest { group_id: group.id.into(), signature };
        self.inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.delete_group(request).await }
            })
            .await?;
        Ok(())
    }

    /// Starts a new log for a group that this device owns; what was said before is lost.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn reset_group(&self, name: &GroupName) -> Result<GroupInfo, ClientError> {
        let group = self.group(name).await?;
        let signature = Some(self.inner.sign(Method::Reset, group.id, "").await?);
        let request = pb::ResetGroupRequest { group_id: group.id.into(), signature };
        let answer = self
            .inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.reset_group(request).await }
            })
            .await?;
        group_of(answer.group)
    }

    /// Sets how much of the log is kept of a group that this device owns, all limits at once. What goes beyond them is
    /// dropped within a minute, and does not come back.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn set_retention(&self, name: &GroupName, keep: GroupRetention) -> Result<GroupInfo, ClientError> {
        let group = self.group(name).await?;
        let signature = Some(self.inner.sign(Method::Keep, group.id, &keep.subject()).await?);
        let request = pb::SetRetentionRequest { group_id: group.id.into(), signature, keep: keep.to_pb() };
        let answer = self
            .inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.set_retention(request).await }
            })
            .await?;
        group_of(answer.group)
    }

    /// The devices in a group.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] and others.
    pub async fn members(&self, name: &GroupName) -> Result<Vec<Member>, ClientError> {
        let group = self.group(name).await?;
        let request = pb::ListMembersRequest { group_id: group.id.into(), viewer: self.inner.viewer() };
        let answer = self
            .inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.list_members(request).await }
            })
            .await?;
        answer.members.into_iter().map(Member::try_from).collect()
    }

    /// Makes this device a lasting member.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] for a private group to which it was not invited, and others.
    pub async fn join(&self, name: &GroupName) -> Result<GroupInfo, ClientError> {
        Ok(self.inner.join(&By::Name(name.clone()), None).await?.group)
    }

    /// Ends this device's lasting membership.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] if there is no such group, and others.
    pub async fn leave(&self, name: &GroupName) -> Result<(), ClientError> {
        let group = self.group(name).await?;
        self.inner.leave(group.id, false).await
    }

    /// Makes an invite. `uses`: `None` for any number. `expires`: `None` for 24 h.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] if this device is not a member, and others.
    pub async fn invite(
        &self,
        name: &GroupName,
        uses: Option<u32>,
        expires: Option<Duration>,
    ) -> Result<Invite, ClientError> {
        let group = self.group(name).await?;
        let request = pb::CreateInviteRequest {
            group_id: group.id.into(),
            public_key: self.inner.public_key(),
            uses: uses.unwrap_or(0),
            expires_ms: expires.map_or(0, |expires| u64::try_from(expires.as_millis()).unwrap_or(u64::MAX).max(1)),
        };
        let mut registry = self.inner.server.registry();
        let answer = registry.create_invite(call(request)).await.map_err(|status| self.inner.error(&status))?;
        let pb::CreateInviteResponse { code, expires_unix_ms } = answer.into_inner();
        Ok(Invite { code, expires_unix_ms })
    }

    /// Ends an invite.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`] and others.
    pub async fn revoke(&self, code: &str) -> Result<(), ClientError> {
        let signature = Some(self.inner.sign(Method::Revoke, GroupId::NONE, code).await?);
        let request = pb::RevokeInviteRequest { code: code.to_owned(), signature };
        self.inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.revoke_invite(request).await }
            })
            .await?;
        Ok(())
    }

    /// Enters the group that an invite is for.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] if the code is unknown, used up or expired, and others.
    pub async fn redeem(&self, code: &str) -> Result<GroupInfo, ClientError> {
        let signature = Some(self.inner.sign(Method::Redeem, GroupId::NONE, code).await?);
        let member_name = self.name();
        let request = pb::RedeemInviteRequest { code: code.to_owned(), signature, member_name };
        let answer = self
            .inner
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.redeem_invite(request).await }
            })
            .await?;
        group_of(answer.group)
    }

    /// What the server consists of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<ServerStatus, ClientError> {
        self.inner.status().await
    }

    /// A group's log as its relay has it, with the members who are here.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`] for a private group to which this device was not invited,
    /// [`ClientError::Unreachable`] if the relay does not answer, and others.
    pub async fn group_status(&self, name: &GroupName) -> Result<LogStatus, ClientError> {
        let joined = self.inner.visit(&By::Name(name.clone())).await?;
        let channel = relay_of(&joined.group, &joined.services)?.connect("relay").await?;
        get_log(RelayServiceClient::new(channel), joined.group.id, joined.ticket).await
    }

    /// What a hub is doing.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if it does not answer, [`ClientError::Usage`] if `service` is not a hub.
    pub async fn hub_status(&self, service: &ServiceInfo) -> Result<HubStatus, ClientError> {
        if service.kind != ServiceKind::Hub {
            return Err(ClientError::Usage("only hubs tell this status".to_owned()));
        }
        let channel = HostPort::new(&service.host, service.grpc_port).connect("hub").await?;
        let answer = HubServiceClient::new(channel).get_status(call(pb_hub::GetStatusRequest {})).await;
        let status = answer.map_err(|status| ClientError::of_status(&status, "the hub"))?.into_inner();
        let groups = status.groups.into_iter().map(followed_of).collect::<Result<_, _>>()?;
        Ok(HubStatus {
            framed_sessions: status.framed_sessions,
            web_sessions: status.web_sessions,
            text_sessions: status.text_sessions,
            groups,
        })
    }
}

impl Inner {
    pub(crate) async fn get_group(&self, by: &By) -> Result<GroupInfo, ClientError> {
        let by = match by {
            By::Name(name) => pb::get_group_request::By::Name(name.as_str().to_owned()),
            By::Id(id) => pb::get_group_request::By::Id((*id).into()),
        };
        let request = pb::GetGroupRequest { by: Some(by), viewer: self.viewer() };
        let answer = self
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.get_group(request).await }
            })
            .await?;
        group_of(answer.group)
    }

    /// With a lane: this process is present until the lease ends. Without: a lasting membership.
    pub(crate) async fn join(&self, by: &By, lane: Option<&str>) -> Result<Joined, ClientError> {
        let by = match by {
            By::Name(name) => pb::join_group_request::By::Name(name.as_str().to_owned()),
            By::Id(id) => pb::join_group_request::By::Id((*id).into()),
        };
        let request = pb::JoinGroupRequest {
            by: Some(by),
            public_key: self.public_key(),
            member_name: self.name(),
            client_id: lane.map_or_else(Bytes::new, |_| self.client_id.into()),
            lane: lane.unwrap_or_default().to_owned(),
        };
        let answer = self
            .retried(|mut registry| {
                let request = call(request.clone());
                async move { registry.join_group(request).await }
            })
            .await?;
        let (services, host) = (answer.relays.into_iter().chain(answer.hubs), self.server.host());
        let joined = Joined {
            group: group_of(answer.group)?,
            ticket: answer.ticket,
            services: services.map(|service| ServiceInfo::checked(service, &host)).collect::<Result<_, _>>()?,
            lease: Duration::from_millis(answer.lease_ms.clamp(1_000, 3_600_000)),
        };
        self.tickets.keep(&joined);
        Ok(joined)
    }

    /// What reading or publishing needs, without being shown as present: a private group's ticket, and where its
    /// services are.
    pub(crate) async fn visit(&self, by: &By) -> Result<Joined, ClientError> {
        let group = self.get_group(by).await?;
        if group.private {
            return self.join(&By::Id(group.id), None).await;
        }
        let services = self.status().await?.services;
        Ok(Joined { group, ticket: Bytes::new(), services, lease: VISIT })
    }

    /// `process`: only this process's presence ends.
    pub(crate) async fn leave(&self, group: GroupId, process: bool) -> Result<(), ClientError> {
        let request = pb::LeaveGroupRequest {
            group_id: group.into(),
            public_key: self.public_key(),
            client_id: if process { self.client_id.into() } else { Bytes::new() },
        };
        self.retried(|mut registry| {
            let request = call(request.clone());
            async move { registry.leave_group(request).await }
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn status(&self) -> Result<ServerStatus, ClientError> {
        let answer = self
            .retried(|mut registry| {
                let request = call(pb::ListServicesRequest {});
                async move { registry.list_services(request).await }
            })
            .await?;
        let host = self.server.host();
        let services = answer.services.into_iter().map(|service| ServiceInfo::checked(service, &host));
        Ok(ServerStatus {
            server: self.server.to_string(),
            version: answer.registry_version,
            group_count: answer.group_count,
            twins: answer.twins,
            services: services.collect::<Result<_, _>>()?,
        })
    }

    /// Shows the registry who asks, so that it tells of this device's private groups.
    fn viewer(&self) -> Option<pb::Viewer> {
        Some(pb::Viewer { device_key: self.public_key(), ..pb::Viewer::default() })
    }

    fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(&self.device.public_key())
    }

    async fn sign(&self, method: Method, group: GroupId, subject: &str) -> Result<pb::DeviceSignature, ClientError> {
        let answer = self
            .retried(|mut registry| {
                let request = call(pb::GetChallengeRequest {});
                async move { registry.get_challenge(request).await }
            })
            .await?;
        Ok(signing::sign_call(self.device.key(), method, group, &answer.nonce, subject))
    }

    pub(crate) fn error(&self, status: &tonic::Status) -> ClientError {
        ClientError::of_status(status, &format!("the server {}", self.server))
    }

    /// Calls, and calls once more if the connection was lost meanwhile, or the server has another address: every call may
    /// be repeated.
    async fn retried<T, F>(&self, attempt: impl Fn(Registry) -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut answer = attempt(self.server.registry()).await;
        if answer.as_ref().is_err_and(|status| status.code() == tonic::Code::Unavailable) {
            answer = attempt(self.server.registry()).await;
        }
        if answer.as_ref().is_err_and(server::is_silence) && self.server.search_again().await {
            answer = attempt(self.server.registry()).await;
        }
        answer.map(tonic::Response::into_inner).map_err(|status| self.error(&status))
    }
}

type Registry = pb::registry_service_client::RegistryServiceClient<tonic::transport::Channel>;

/// Where the relay of a group is.
pub(crate) fn relay_of(group: &GroupInfo, services: &[ServiceInfo]) -> Result<HostPort, ClientError> {
    let relay = services.iter().find(|service| service.kind == ServiceKind::Relay && service.id == group.relay);
    relay.map(|relay| HostPort::new(&relay.host, relay.grpc_port)).ok_or_else(|| {
        ClientError::Unreachable(format!(
            "the relay of {} is not running; start it with its own data folder",
            group.name
        ))
    })
}

pub(crate) async fn get_log(
    mut relay: RelayServiceClient<tonic::transport::Channel>,
    group: GroupId,
    ticket: Bytes,
) -> Result<LogStatus, ClientError> {
    let answer = relay.get_log(call(pb_relay::GetLogRequest { group_id: group.into(), ticket })).await;
    let log = answer.map_err(|status| ClientError::of_status(&status, "the relay"))?.into_inner();
    Ok(LogStatus {
        log: LogId(log.log_id),
        epoch: log.epoch,
        oldest: Seq(log.oldest_seq),
        head: Seq(log.head_seq),
        durable: log.durable,
        members: log.members.into_iter().map(progress_of).collect::<Result<_, _>>()?,
    })
}

fn group_of(group: Option<pb::Group>) -> Result<GroupInfo, ClientError> {
    group.ok_or_else(|| bad("no group"))?.try_into()
}

fn progress_of(status: pb_relay::MemberStatus) -> Result<MemberProgress, ClientError> {
    Ok(MemberProgress {
        device: status.device_id[..].try_into().map_err(bad)?,
        client: status.client_id[..].try_into().map_err(bad)?,
        delivered: Seq(status.delivered_seq),
        received_datagrams: status.received_datagrams,
        lost_datagrams: status.lost_datagrams,
        repaired_datagrams: status.repaired_datagrams,
        round_trip_us: status.round_trip_us,
        lane: lane_of(status.lane()),
        name: status.name,
    })
}

pub(crate) const fn lane_of(lane: pb_relay::MemberLane) -> Option<MemberLane> {
    match lane {
        pb_relay::MemberLane::Unspecified => None,
        pb_relay::MemberLane::Multicast => Some(MemberLane::Multicast),
        pb_relay::MemberLane::Tcp => Some(MemberLane::Tcp),
        pb_relay::MemberLane::Text => Some(MemberLane::Text),
    }
}

fn followed_of(group: pb_hub::FollowedGroup) -> Result<FollowedGroup, ClientError> {
    Ok(FollowedGroup {
        group: group.group_id[..].try_into().map_err(bad)?,
        log: LogId(group.log_id),
        head: Seq(group.head_seq),
        sessions: group.sessions,
    })
}
