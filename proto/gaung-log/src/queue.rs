//! What waits for the committer, bounded in bytes.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::change::Job;

/// Jobs in the order they came.
#[derive(Debug)]
pub(crate) struct Queue {
    limit_bytes: usize,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

/// Why a job was not taken; it is given back.
pub(crate) enum Refused {
    Full(Job),
    Closed(Job),
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a job that may be refused when too much waits; one alone is never too much.
    pub(crate) fn offer(&self, job: Job) -> Result<(), Refused> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Refused::Closed(job));
        }
        if waiting.bytes > 0 && waiting.bytes + job.bytes() > self.limit_bytes {
            return Err(Refused::Full(job));
        }
        waiting.bytes += job.bytes();
        waiting.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds a small job that somebody waits for; gives it back if the queue is closed.
    pub(crate) fn push(&self, job: Job) -> Result<(), Job> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(job);
        }
        waiting.bytes += job.bytes();
        waiting.jobs.push_back(job);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for jobs and takes as many as `max_bytes` holds, at least one; `None` once the queue is closed and empty.
    pub(crate) fn take(&self, max_bytes: usize) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(job) = waiting.jobs.front() {
            if !taken.is_empty() && bytes + job.bytes() > max_bytes {
                break;
            }
            bytes += job.bytes();
            taken.extend(waiting.jobs.pop_front());
        }
        waiting.bytes -= bytes;
        Some(taken)
    }

    /// Takes nothing more; what waits is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
