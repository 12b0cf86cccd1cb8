//! Follows `everyone` for the hub itself.

use std::sync::Arc;

use anyhow::Context as _;
use service_kit::readiness::Readiness;
use tokio_util::sync::CancellationToken;

use crate::{directory::Directory, followed_groups::FollowedGroups, inbox::Inboxes};

/// Follows `everyone` as soon as the registry has named it, tells the shards, and becomes ready once the relay sends it.
pub(crate) async fn follow_everyone(
    directory: Arc<Directory>,
    groups: Arc<FollowedGroups>,
    inboxes: Inboxes,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut changes = directory.changes();
    let mut followed = None;
    loop {
        if let Some(everyone) = directory.everyone()
            && followed != Some(everyone.id)
        {
            let group = groups.pin(&everyone).context("`everyone` cannot be followed")?;
            followed = Some(everyone.id);
            inboxes.everyone_known();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = group.until_started_or_ended() => {}
            }
            readiness.ready();
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}
