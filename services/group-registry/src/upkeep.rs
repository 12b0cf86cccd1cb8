//! Periodic work: leases expire, and lapsed groups get addresses again.

use std::{sync::Arc, time::Duration};

use gaung_proto::Scope;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    async_registry::AsyncRegistry, clock::Now, create::RegainError, registry::Registry, rpc::Rpc, standby::Standby,
};

const EXPIRE_EVERY: Duration = Duration::from_secs(5);

/// Expires leases and updates the gauges until `stop`.
pub(crate) async fn keep(
    calls: AsyncRegistry,
    standby: Arc<Standby>,
    rpc: Rpc,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(EXPIRE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if let Ok(Err(error)) = calls.run(Registry::expire).await {
            warn!(%error, "upkeep failed; it is tried again");
        }
        rpc.figures.groups.set(i64::try_from(rpc.registry.group_count()).unwrap_or(i64::MAX));
        rpc.figures.groups_without_address.set(i64::try_from(rpc.registry.lapsed_count()).unwrap_or(i64::MAX));
        rpc.figures.pairs_ready.set(i64::try_from(standby.ready()).unwrap_or(i64::MAX));
        rpc.figures.watchers.set(i64::try_from(rpc.open_watchers()).unwrap_or(i64::MAX));
    }
}

/// Gives lapsed groups an address whenever a relay registers or renews, until `stop`.
pub(crate) async fn regain(
    registry: Arc<Registry>,
    calls: AsyncRegistry,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut registrations = registry.services.changes();
    let mut told = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = registrations.changed() => changed?,
        }
        let failed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            failed = regain_all(&registry, &calls) => failed,
        };
        match failed {
            None => told = false,
            Some(reason) if told => debug!(reason, "groups stay without an address"),
            Some(reason) => {
                warn!(reason, "groups stay without an address; TCP carries them, and it is tried again");
                told = true;
            }
        }
    }
}

/// Tries each lapsed group once. Returns why some still have no address.
async fn regain_all(registry: &Registry, calls: &AsyncRegistry) -> Option<String> {
    let mut failed = None;
    let mut exhausted: Vec<Scope> = Vec::new();
    for group in registry.lapsed_and_back(Now::read()) {
        match calls.regain(&group, !exhausted.contains(&group.scope)).await {
            Ok(Some(_)) => {}
            Ok(None) => failed = failed.or_else(|| Some(RegainError::EndpointTaken.to_string())),
            Err(error) => {
                if matches!(error, RegainError::Exhausted(_)) {
                    exhausted.push(group.scope);
                }
                failed = Some(error.to_string());
            }
        }
    }
    failed
}
