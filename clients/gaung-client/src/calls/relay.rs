//! The relay of a group: where it is, and the calls to it.

use std::{
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
};

use gaung_engine::MemberLane;
use gaung_proto::{
    LogId, Seq,
    pb::relay::{self as pb, relay_service_client::RelayServiceClient},
};
use gaung_site::Role;
use tonic::transport::Channel;

use super::GroupAccess;
use crate::{
    channel,
    endpoint::{HostPort, call},
    error::ClientError,
    group::{LogStatus, MemberProgress, ServiceInfo, ServiceKind, bad},
    site_trust::SiteTrust,
};

/// Limits one answer of a read, bytes: a run of one message of the largest size with its framing.
pub(crate) const MAX_READ_RESPONSE: usize = 1024 * 1024;

impl GroupAccess {
    /// The gRPC endpoint of the group's relay.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if the registry does not list it.
    pub(crate) fn relay(&self) -> Result<HostPort, ClientError> {
        let relay = self.relay_service().map(|relay| HostPort::new(&relay.host, relay.grpc_port));
        relay.ok_or_else(|| {
            ClientError::Unreachable(format!(
                "the relay of {} is not running; start it with its own data folder",
                self.group.name
            ))
        })
    }

    /// Connects to the group's relay.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`].
    pub(crate) async fn connect_relay(
        &self,
        trust: &Arc<SiteTrust>,
    ) -> Result<RelayServiceClient<Channel>, ClientError> {
        let channel = channel::connect(trust, &self.relay()?, Role::Relay(self.group.relay)).await?;
        Ok(RelayServiceClient::new(channel))
    }

    /// The address to which NACK, STATUS and PROBE datagrams go; `None` if the relay is not listed or has no IPv4
    /// address.
    pub(crate) async fn relay_datagram_addr(&self) -> Option<SocketAddrV4> {
        let relay = self.relay_service().filter(|relay| relay.udp_port != 0)?;
        let mut found = tokio::net::lookup_host((relay.host.as_str(), relay.udp_port)).await.ok()?;
        found.find_map(|address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        })
    }

    /// Reads the state of the group's log.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if the relay does not answer, and what the relay refuses.
    pub(crate) async fn log_status(&self, trust: &Arc<SiteTrust>) -> Result<LogStatus, ClientError> {
        let request = pb::GetLogRequest { group_id: self.group.id.into(), ticket: self.ticket.clone() };
        let answer = self.connect_relay(trust).await?.get_log(call(request)).await;
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

    fn relay_service(&self) -> Option<&ServiceInfo> {
        self.services.iter().find(|service| service.kind == ServiceKind::Relay && service.id == self.group.relay)
    }
}

fn progress_of(status: pb::MemberStatus) -> Result<MemberProgress, ClientError> {
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

/// Reads a lane; `None` for one that this version does not know.
pub(crate) const fn lane_of(lane: pb::MemberLane) -> Option<MemberLane> {
    match lane {
        pb::MemberLane::Unspecified => None,
        pb::MemberLane::Multicast => Some(MemberLane::Multicast),
        pb::MemberLane::Tcp => Some(MemberLane::Tcp),
        pb::MemberLane::Text => Some(MemberLane::Text),
    }
}
