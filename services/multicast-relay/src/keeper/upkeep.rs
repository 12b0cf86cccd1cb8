//! What is dropped: the logs of groups that were deleted, and what is older or more than is to be kept.

use std::{future::pending, sync::Arc};

use gaung_log::{Log, Retention, WriteError};
use gaung_proto::{GroupId, GroupRetention};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Keeper, State};
use crate::{budget::tell_oldest, clock, directory::Directory, group::GroupConfig};

/// Passes over the log beside the keeper, one at a time.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    running: Option<JoinHandle<()>>,
    /// Limits have changed since the pass began.
    again: bool,
    stop: CancellationToken,
}

impl Upkeep {
    /// Returns when the pass that runs has ended; never, if none runs.
    pub(super) async fn ended(&mut self) {
        let Some(running) = &mut self.running else { return pending().await };
        running.await.expect("upkeep does not panic");
        self.running = None;
    }

    /// Lets no more be dropped, and waits until the log is no longer in use.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if self.running.is_some() {
            self.ended().await;
        }
    }
}

impl Keeper {
    /// Begins a pass, now or when the one that runs has ended.
    pub(super) fn begin_upkeep(&mut self) {
        if self.upkeep.running.is_some() {
            self.upkeep.again = true;
            return;
        }
        self.upkeep.again = false;
        let pass = Pass {
            log: Arc::clone(&self.parts.log),
            directory: Arc::clone(&self.parts.directory),
            keep: self.parts.retention,
            limited: self.limited(),
            now_ms: clock::unix_ms() as u64,
            stop: self.upkeep.stop.clone(),
        };
        self.upkeep.running = Some(spawn_blocking(move || pass.run()));
    }

    /// A pass has ended.
    pub(super) fn upkeep_ended(&mut self) {
        if self.upkeep.again {
            self.begin_upkeep();
        }
    }

    /// The group's owner set other limits: they are kept with the group and applied now. Its opening goes on.
    pub(super) async fn limit(&mut self, group: GroupId, keep: GroupRetention) {
        let Some(known) = self.known.get_mut(&group) else { return };
        known.config = known.config.with_keep(keep);
        info!(%group, ?keep, "other limits of the log");
        let config = known.config.clone();
        self.keep_config(config).await;
        self.begin_upkeep();
    }

    /// Keeps what the registry says of a group beside its log.
    pub(super) async fn keep_config(&self, config: GroupConfig) {
        let (log, group) = (Arc::clone(&self.parts.log), config.id);
        let kept = spawn_blocking(move || log.put_config(group, config.to_stored())).await;
        if let Err(error) = kept.expect("keeping a config does not panic") {
            warn!(%group, %error, "what the registry says of a group could not be kept; it will tell again");
        }
    }

    fn limited(&self) -> Vec<(GroupId, GroupRetention)> {
        let serving = self.known.iter().filter(|(_, known)| matches!(known.state, State::Serving(_)));
        let limits = serving.map(|(group, known)| (*group, known.config.keep));
        limits.filter(|(_, keep)| keep.is_limited()).collect()
    }
}

/// One pass. It waits for the disk.
struct Pass {
    log: Arc<dyn Log>,
    directory: Arc<Directory>,
    keep: Retention,
    limited: Vec<(GroupId, GroupRetention)>,
    /// The wall clock, ms since 1970.
    now_ms: u64,
    stop: CancellationToken,
}

impl Pass {
    fn run(self) {
        let purged = self.log.purge(self.now_ms);
        let outcome = purged.and_then(|_| self.log.retain(self.keep, self.now_ms));
        if let Err(error) = outcome {
            warn!(%error, "old messages could not be dropped");
        }
        for (group, keep) in self.limited.iter().take_while(|_| !self.stop.is_cancelled()) {
            match self.log.retain_group(*group, *keep, self.now_ms) {
                // Deleted meanwhile.
                Ok(()) | Err(WriteError::NoSuchLog) => {}
                Err(error @ (WriteError::TooLarge { .. } | WriteError::Io(_))) => {
                    warn!(%group, %error, "old messages of a group could not be dropped");
                }
            }
        }
        tell_oldest(&*self.log, &self.directory);
    }
}
