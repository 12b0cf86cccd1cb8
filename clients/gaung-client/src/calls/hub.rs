//! The calls to a hub.

use std::sync::Arc;

use gaung_proto::{
    LogId, Seq,
    pb::hub::{self as pb, hub_service_client::HubServiceClient},
};
use gaung_site::Role;

use crate::{
    channel,
    endpoint::{HostPort, call},
    error::ClientError,
    group::{FollowedGroup, HubStatus, ServiceInfo, ServiceKind, bad},
    site_trust::SiteTrust,
};

/// Reads the status of a hub.
///
/// # Errors
/// [`ClientError::Usage`] if `service` is not a hub, [`ClientError::Unreachable`] if it does not answer.
pub(crate) async fn status(trust: &Arc<SiteTrust>, service: &ServiceInfo) -> Result<HubStatus, ClientError> {
    if service.kind != ServiceKind::Hub {
        return Err(ClientError::Usage("only hubs have this status".to_owned()));
    }
    let address = HostPort::new(&service.host, service.grpc_port);
    let channel = channel::connect(trust, &address, Role::Hub(service.id)).await?;
    let answer = HubServiceClient::new(channel).get_status(call(pb::GetStatusRequest {})).await;
    let status = answer.map_err(|status| ClientError::of_status(&status, "the hub"))?.into_inner();
    Ok(HubStatus {
        framed_sessions: status.framed_sessions,
        web_sessions: status.web_sessions,
        text_sessions: status.text_sessions,
        groups: status.groups.into_iter().map(followed_of).collect::<Result<_, _>>()?,
    })
}

fn followed_of(group: pb::FollowedGroup) -> Result<FollowedGroup, ClientError> {
    Ok(FollowedGroup {
        group: group.group_id[..].try_into().map_err(bad)?,
        log: LogId(group.log_id),
        head: Seq(group.head_seq),
        sessions: group.sessions,
    })
}
