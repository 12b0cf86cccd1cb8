//! What waits for the committer, bounded in bytes.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
};

use gaung_proto::{GroupId, LogId};

use crate::{
    change::{Answer, Change, Job},
    log::{Append, Done, OpenError, Opened, StoreError},
};

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

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, waiting: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds an append, which is refused when too much waits; one alone is never too much.
    pub(crate) fn append(&self, appends: Vec<Append>, done: Done) {
        let job = Job::append(appends, done);
        let waiting = self.lock();
        let is_full = waiting.bytes > 0 && waiting.bytes + job.bytes() > self.limit_bytes;
        if waiting.closed {
            drop(waiting);
            job.fail(&StoreError::closed());
        } else if is_full {
            drop(waiting);
            job.refuse_full();
        } else {
            self.add(waiting, job);
        }
    }

    /// Opens groups, all by as few commits as they fit in, and waits. The outcomes are in the order of `groups`.
    pub(crate) fn open_groups(&self, groups: &[(GroupId, LogId, bool)]) -> Vec<Result<Opened, OpenError>> {
        let ask = |&(group, log, make_new): &(GroupId, LogId, bool)| {
            let (to, from) = sync_channel(1);
            self.post(Job::Change(Change::Open { group, log, make_new, answer: answer_to(to) }));
            from
        };
        let answers: Vec<_> = groups.iter().map(ask).collect();
        answers.into_iter().map(|from| from.recv().unwrap_or_else(|_| Err(StoreError::closed().into()))).collect()
    }

    /// Hands a small request to the committer and waits for its outcome.
    pub(crate) fn ask<T, E>(&self, job: impl FnOnce(Answer<Result<T, E>>) -> Job) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (to, from) = sync_channel(1);
        self.post(job(answer_to(to)));
        from.recv().unwrap_or_else(|_| Err(StoreError::closed().into()))
    }

    /// Adds a small job, or fails it if the queue is closed.
    pub(crate) fn post(&self, job: Job) {
        let waiting = self.lock();
        if waiting.closed {
            drop(waiting);
            job.fail(&StoreError::closed());
        } else {
            self.add(waiting, job);
        }
    }

    fn add(&self, mut waiting: MutexGuard<'_, Waiting>, job: Job) {
        waiting.bytes += job.bytes();
        waiting.jobs.push_back(job);
        self.changed.notify_one();
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

fn answer_to<T, E>(to: SyncSender<Result<T, E>>) -> Answer<Result<T, E>>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    // Whoever asked may be gone.
    Answer::new(move |outcome| drop(to.send(outcome)))
}
