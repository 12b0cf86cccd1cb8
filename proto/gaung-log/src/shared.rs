//! What is counted and reported since the log was opened.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

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
    pub(crate) commits: AtomicU64,
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
        Self::add(&self.commits, 1);
        Self::add(&self.changes, changes as u64);
        Self::add(&self.runs, runs as u64);
        Self::add(&self.commit_us, took.as_micros() as u64);
    }
}
