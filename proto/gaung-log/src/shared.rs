//! What the committer and the readers of a disk log share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    file::{Env, LogFile},
    index::Index,
    pending::Pending,
    queue::Queue,
};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) queue: Queue,
    pub(crate) stats: Stats,
    index: RwLock<Index>,
    pending: RwLock<Pending>,
    files: RwLock<BTreeMap<u64, Arc<LogFile>>>,
    pub(crate) damages: DamageReports,
}

/// A file that was found damaged and set aside; its messages are missing, all others are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its name now, in the data folder.
    pub file: String,
    /// What is wrong with it.
    pub why: String,
}

/// The damages that were found since the log was opened.
#[derive(Debug, Default)]
pub(crate) struct DamageReports(Mutex<Vec<Damage>>);

impl DamageReports {
    pub(crate) fn add(&self, damage: Damage) {
        tracing::error!(file = damage.file, why = damage.why, "log file is damaged and was set aside");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(damage);
    }

    pub(crate) fn all(&self) -> Vec<Damage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counted since the log was opened.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) transactions: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) commit_us: AtomicU64,
}

impl Stats {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, changes: usize, runs: usize, took: Duration) {
        Self::add(&self.transactions, 1);
        Self::add(&self.changes, changes as u64);
        Self::add(&self.runs, runs as u64);
        Self::add(&self.commit_us, took.as_micros() as u64);
    }
}

impl Shared {
    pub(crate) fn new(env: Env) -> Self {
        Self {
            queue: Queue::new(env.options.queue_bytes),
            env,
            stats: Stats::default(),
            index: RwLock::default(),
            pending: RwLock::default(),
            files: RwLock::default(),
            damages: DamageReports::default(),
        }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readers look here before they look into the index: what leaves is in the index already.
    pub(crate) fn pending(&self) -> RwLockReadGuard<'_, Pending> {
        self.pending.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pending_mut(&self) -> RwLockWriteGuard<'_, Pending> {
        self.pending.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn files(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<LogFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn files_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<LogFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a file was opened, closes those used longest ago while more than the limit are open; the newest stays open.
    pub(crate) fn close_surplus(&self) {
        if !self.env.opened.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut open: Vec<_> = self.files().values().filter(|file| file.is_open()).cloned().collect();
        open.pop();
        let surplus = open.len().saturating_sub(self.env.options.open_files);
        open.sort_by_key(|file| file.used_at());
        open.iter().take(surplus).for_each(|file| file.try_close());
    }
}
