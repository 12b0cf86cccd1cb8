//! What the committer and the readers of a log in segments share.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering},
};

use super::{file::SegmentFile, known::Known};
use crate::{
    options::Env,
    queue::Queue,
    shared::{DamageReports, Stats},
};

#[derive(Debug)]
pub(crate) struct SegmentShared {
    pub(crate) env: Env,
    pub(crate) queue: Queue,
    pub(crate) stats: Stats,
    known: RwLock<Known>,
    files: RwLock<BTreeMap<u64, Arc<SegmentFile>>>,
    pub(crate) damages: DamageReports,
}

impl SegmentShared {
    pub(crate) fn new(env: Env) -> Self {
        Self {
            queue: Queue::new(env.options.queue_bytes),
            env,
            stats: Stats::default(),
            known: RwLock::default(),
            files: RwLock::default(),
            damages: DamageReports::default(),
        }
    }

    pub(crate) fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn files(&self) -> RwLockReadGuard<'_, BTreeMap<u64, Arc<SegmentFile>>> {
        self.files.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn files_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<u64, Arc<SegmentFile>>> {
        self.files.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a file was opened, closes those used longest ago while more than the limit are open; the newest stays open.
    pub(crate) fn close_surplus(&self) {
        if !self.env.opened.swap(false, Ordering::Relaxed) {
            return;
        }
        let active = self.known().active;
        let mut open: Vec<_> =
            self.files().values().filter(|file| file.number != active && file.is_open()).cloned().collect();
        let surplus = open.len().saturating_sub(self.env.options.open_files);
        open.sort_by_key(|file| file.used_at());
        open.iter().take(surplus).for_each(|file| file.close());
    }
}
