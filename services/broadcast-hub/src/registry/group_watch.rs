//! Watches the registry's public groups.

use std::sync::Arc;

use bytes::Bytes;
use gaung_net::backoff::Backoff;
use gaung_proto::{
    pb::registry::Group,
    watch_groups::{GroupChange, GroupWatch},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::warn;

use crate::{directory::GroupInfo, followed_groups::FollowedGroups};

use super::{RegistryClient, backoff};

/// Applies every change of the registry's groups until `stop`. After a break it goes on from the last revision, with backoff.
pub(crate) async fn watch_groups(
    mut registry: RegistryClient,
    followed: Arc<FollowedGroups>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut backoff = backoff();
    let mut watch = GroupWatch::new();
    loop {
        let watched = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            watched = apply_changes(&mut registry, &followed, &mut watch, &mut backoff) => watched,
        };
        // The registry does not have this revision: begins again with a snapshot.
        if let Err(status) = watched
            && matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition)
        {
            watch = GroupWatch::new();
        }
        if !backoff.wait(&stop).await {
            return Ok(());
        }
    }
}

async fn apply_changes(
    registry: &mut RegistryClient,
    followed: &FollowedGroups,
    watch: &mut GroupWatch<GroupInfo>,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let mut responses = registry.watch_groups(watch.request(Bytes::new(), None)).await?.into_inner();
    while let Some(response) = responses.message().await? {
        backoff.reset();
        match watch.handle(response, checked) {
            Some(GroupChange::Snapshot(snapshot)) => followed.replace(snapshot.groups),
            Some(GroupChange::Upsert(info)) => followed.upsert(info),
            Some(GroupChange::Deleted(id)) => followed.delete(id),
            None => {}
        }
    }
    Ok(())
}

fn checked(group: Group) -> Option<GroupInfo> {
    let info = GroupInfo::from_pb(&group);
    if info.is_none() {
        warn!("the registry described a group without a valid id");
    }
    info
}
