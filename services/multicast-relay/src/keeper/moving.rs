//! Groups whose address changes while they are served.

use tracing::info;

use super::{Keeper, Known, State};
use crate::{group::GroupConfig, ingress::RouteChange, worker::WorkerCommand};

/// Tags of one opening that lead to it: its own, and those of addresses that it left.
const MAX_ROUTES: usize = 9;

impl Keeper {
    /// The group goes on at another address, or without one. Its opening does too.
    pub(super) async fn move_to(&mut self, config: GroupConfig) {
        let group = config.id;
        let Some(Known { config: known, state: State::Serving(serving), routes }) = self.known.get_mut(&group) else {
            return;
        };
        let tag = config.tag();
        if !routes.contains(&tag) {
            routes.push(tag);
            let forgotten = routes.drain(..routes.len().saturating_sub(MAX_ROUTES)).collect();
            let changes = [
                RouteChange::Add { tags: vec![tag], group, worker: serving.worker.clone() },
                RouteChange::Remove { tags: forgotten, group },
            ];
            for change in changes {
                // Fails only while stopping.
                let _ = self.parts.ingress.send_wait(change).await;
            }
        }
        let to = (!config.lapsed).then_some((config.addr, config.ttl, config.generation));
        let _ = serving.worker.send_wait(WorkerCommand::Move { group, to }).await;
        match to {
            Some((addr, ..)) => info!(%group, %addr, "the group is at this address now"),
            None => info!(%group, "the group has no address now"),
        }
        *known = config.clone();
        self.keep_config(config).await;
    }
}
