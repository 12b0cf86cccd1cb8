//! How commands reach the worker threads.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use gaung_net::driver::CommandSender;
use gaung_proto::GroupId;

use super::WorkerCommand;

/// Sends commands to one worker thread; clones share its queue.
pub(crate) type WorkerHandle = CommandSender<WorkerCommand>;

/// The handles of all workers, each of which owns the groups whose ids hash to its number.
#[derive(Debug, Clone)]
pub(crate) struct WorkerHandles(Vec<WorkerHandle>);

impl WorkerHandles {
    /// `workers`: at least one.
    pub(crate) const fn new(workers: Vec<WorkerHandle>) -> Self {
        Self(workers)
    }

    /// Returns the handle of the worker that owns `group`.
    pub(crate) fn of(&self, group: GroupId) -> &WorkerHandle {
        let mut hasher = DefaultHasher::new();
        group.hash(&mut hasher);
        &self.0[(hasher.finish() % self.0.len() as u64) as usize]
    }

    /// Returns every worker's handle.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.0.iter()
    }
}
