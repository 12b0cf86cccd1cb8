//! Ended appends on their way from the log's committer back to a worker.

use std::{
    collections::VecDeque,
    sync::{Mutex, OnceLock, PoisonError},
};

use gaung_net::driver::CommandSender;
use gaung_proto::{Epoch, GroupId};

use super::Command;

/// One append that has ended.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) group: GroupId,
    pub(crate) epoch: Epoch,
    /// How many runs it had.
    pub(crate) runs: usize,
    pub(crate) durable: bool,
}

/// Ended appends, at most as many as were handed to the log. Apart from the worker's commands, whose queue may be full:
/// none of these may be lost.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    ended: Mutex<VecDeque<Completion>>,
    worker: OnceLock<CommandSender<Command>>,
}

impl Completions {
    /// Whom to wake; once, before the first append.
    pub(crate) fn wake(&self, worker: CommandSender<Command>) {
        let _ = self.worker.set(worker);
    }

    pub(crate) fn add(&self, completion: Completion) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push_back(completion);
        if let Some(worker) = self.worker.get() {
            // A full queue wakes the worker too, and a stopped worker has nothing to be told.
            let _ = worker.send(Command::Completed);
        }
    }

    pub(crate) fn take(&self) -> VecDeque<Completion> {
        std::mem::take(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
