//! Passes over the log that drop what is not to be kept: deleted groups' logs, and messages beyond a limit.

use std::{future::pending, sync::Arc};

use gaung_log::{Log, Retention, WriteError};
use gaung_proto::{GroupId, GroupRetention};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{budget::tell_oldest, directory::Directory};

/// The pass that runs beside the keeper, if any.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    running: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Upkeep {
    /// Begins a pass; the one before has ended.
    pub(super) fn begin(&mut self, pass: RetentionPass) {
        let stop = self.stop.clone();
        self.running = Some(spawn_blocking(move || pass.run(&stop)));
    }

    /// Waits until the running pass has ended; for ever if none runs.
    pub(super) async fn ended(&mut self) {
        let Some(running) = &mut self.running else { return pending().await };
        running.await.expect("a pass of retention does not panic");
        self.running = None;
    }

    /// Lets the running pass drop nothing more, and waits until it no longer uses the log.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        if self.running.is_some() {
            self.ended().await;
        }
    }
}

/// One pass over the whole log. It waits for the disk.
pub(super) struct RetentionPass {
    pub(super) log: Arc<dyn Log>,
    pub(super) directory: Arc<Directory>,
    /// Limits of all groups' messages together.
    pub(super) keep: Retention,
    /// Limits of single groups, set by their owners.
    pub(super) limits: Vec<(GroupId, GroupRetention)>,
    /// The wall clock, ms since 1970.
    pub(super) now_ms: u64,
}

impl RetentionPass {
    fn run(self, stop: &CancellationToken) {
        let purged = self.log.purge(self.now_ms);
        let outcome = purged.and_then(|_| self.log.retain(self.keep, self.now_ms));
        if let Err(error) = outcome {
            warn!(%error, "old messages could not be dropped");
        }
        for (group, keep) in self.limits.iter().take_while(|_| !stop.is_cancelled()) {
            match self.log.retain_group(*group, *keep, self.now_ms) {
                // The group may have been deleted meanwhile.
                Ok(()) | Err(WriteError::NoSuchLog) => {}
                Err(error @ (WriteError::TooLarge { .. } | WriteError::Io(_))) => {
                    warn!(%group, %error, "old messages of a group could not be dropped");
                }
            }
        }
        tell_oldest(&*self.log, &self.directory);
    }
}
