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
    /// Makes the set of handles from those of all workers, of which there is at least one.
    pub(crate) const fn new(workers: Vec<WorkerHandle>) -> Self {
        Self(workers)
    }

    /// Returns the handle of the worker that owns `group`.
    pub(crate) fn of(&self, group: GroupId) -> &WorkerHandle {
        let mut hasher = DefaultHasher::new();
        group.hash(&mut hasher);
        &self.0[(hasher.finish() % self.0.len() as u64) as usize]
    }

    /// Returns the handles of all workers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.0.iter()
    }
}
