//! Completed appends, on their way from the log's committer back to a worker.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use gaung_proto::{Epoch, GroupId};

use super::{WorkerCommand, WorkerHandle};

/// One append that has completed.
#[derive(Debug)]
pub(crate) struct AppendCompletion {
    pub(crate) group: GroupId,
    pub(crate) epoch: Epoch,
    /// Number of runs in the append.
    pub(crate) runs: usize,
    pub(crate) durable: bool,
}

/// Completed appends, at most as many as were handed to the log. They have a queue apart from the worker's commands, which may
/// be full, because none of these may be lost.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    ended: Mutex<VecDeque<AppendCompletion>>,
    worker: OnceLock<WorkerHandle>,
    /// The worker will take completions without being woken.
    will_look: AtomicBool,
}

impl Completions {
    /// Sets the worker to wake; call it once, before the first append.
    pub(crate) fn wake(&self, worker: WorkerHandle) {
        let _ = self.worker.set(worker);
    }

    /// Adds a completed append and wakes the worker.
    pub(crate) fn add(&self, completion: AppendCompletion) {
        let will_look = {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push_back(completion);
            // Within the lock: whoever finds it set has pushed before the worker looks.
            self.will_look.load(Ordering::Relaxed)
        };
        if let Some(worker) = self.worker.get().filter(|_| !will_look) {
            // A full queue wakes the worker too, and a stopped worker has nothing to be told.
            let _ = worker.send(WorkerCommand::Completed);
        }
    }

    /// Runs the worker's own `work`, after which the worker takes completions. A memory log completes an append at once, and
    /// need not wake the worker that has just made it.
    pub(crate) fn before_looking<T>(&self, work: impl FnOnce() -> T) -> T {
        self.will_look.store(true, Ordering::Relaxed);
        let value = work();
        self.will_look.store(false, Ordering::Relaxed);
        value
    }

    /// Takes all completed appends.
    pub(crate) fn take(&self) -> VecDeque<AppendCompletion> {
        std::mem::take(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
