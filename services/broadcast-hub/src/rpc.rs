//! `gaung.hub.v1.HubService`.

use std::sync::Arc;

use gaung_proto::pb::hub::{FollowedGroup, GetStatusRequest, GetStatusResponse, hub_service_server::HubService};
use tonic::{Request, Response, Status};

use crate::{followed_groups::FollowedGroups, metrics::Figures};

/// Serves calls about the hub's state.
pub(crate) struct HubRpc {
    pub(crate) groups: Arc<FollowedGroups>,
    pub(crate) figures: Figures,
}

#[tonic::async_trait]
impl HubService for HubRpc {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let Self { groups, figures } = self;
        let groups = groups.all();
        let describe = |group: &Arc<crate::group::Group>| FollowedGroup {
            group_id: group.id.into(),
            log_id: group.log().map_or(0, |log| log.0),
            head_seq: group.head().0,
            sessions: group.watcher_count(),
        };
        Ok(Response::new(GetStatusResponse {
            framed_sessions: u64::try_from(figures.framed_sessions.get()).unwrap_or(0),
            web_sessions: u64::try_from(figures.web_sessions.get()).unwrap_or(0),
            text_sessions: u64::try_from(figures.text_sessions.get()).unwrap_or(0),
            groups: groups.iter().filter(|group| !group.info().private).map(describe).collect(),
            private_groups: groups.iter().filter(|group| group.info().private).count() as u64,
        }))
    }
}
