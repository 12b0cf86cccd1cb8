//! Unfollows unused groups, and keeps the gauges of groups and memory current.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{followed_groups::FollowedGroups, metrics::Figures};

const INTERVAL: Duration = Duration::from_secs(2);

/// Runs until `stop`.
pub(crate) async fn run(groups: Arc<FollowedGroups>, figures: Figures, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tick = interval(INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        groups.sweep(Instant::now());
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        figures.groups.set(gauge(groups.all().len()));
        figures.ring_bytes.set(gauge(groups.rings().held_bytes()));
        figures.ring_limit_bytes.set(gauge(groups.rings().limit_bytes()));
    }
}
