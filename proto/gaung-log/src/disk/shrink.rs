//! Making room: the oldest messages of the groups that have most go, until the log fits its budget.
//!
//! A file holds messages of many groups, and leaves the disk only when nobody needs it. So what stays of closed files is
//! written into smaller ones, which take their places. All of that is done beside the committer; it only puts a finished
//! file in its place.

use std::sync::Arc;

use gaung_proto::{GroupId, GroupRetention};

use super::DiskLog;
use crate::{
    change::{Change, Job, Upkeep},
    file::LogFile,
    layout::{file_name, unfinished_name},
    log::{Log as _, ReadError, Retention, StoreError, WriteError},
};

/// Of the budget so much is left free, so that not every append makes room again.
const SPARE_PART: u64 = 8;
/// Bytes of runs may be so much of their files, in eighths: pages are not full, and files grow in steps. The later
/// ones where the first is not enough.
const RUNS_EIGHTHS: [u64; 3] = [5, 3, 1];

impl DiskLog {
    /// Bytes of all files.
    pub(super) fn file_bytes(&self) -> u64 {
        let numbers: Vec<u64> = self.shared.files().keys().copied().collect();
        let len = |number: u64| self.shared.env.volume.len(&file_name(number)).unwrap_or(0);
        numbers.into_iter().map(len).sum()
    }

    pub(super) fn make_room(&self, max_bytes: u64) -> Result<(), WriteError> {
        let goal = max_bytes - max_bytes / SPARE_PART;
        if self.file_bytes() <= max_bytes {
            return Ok(());
        }
        // Deleted groups and replaced logs are kept for a day only where there is room.
        let _gone: Vec<GroupId> =
            self.shared.queue.ask(|answer| Job::Change(Change::Purge { now_ms: None, answer }))?;
        self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::Checkpoint { answer }))?;
        for eighths in RUNS_EIGHTHS {
            self.trim_largest(goal / 8 * eighths)?;
            self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::EndOutdated { answer }))?;
            self.rewrite_files(goal);
            if self.file_bytes() <= max_bytes {
                return Ok(());
            }
        }
        // There is no room even for what stays: whole files go, the oldest first.
        self.retain(Retention { max_bytes: Some(max_bytes), max_age_ms: None }, 0)
    }

    /// Drops the oldest messages of those groups that have more than an equal share of `bytes`, what small ones leave being
    /// the large ones'.
    fn trim_largest(&self, bytes: u64) -> Result<(), WriteError> {
        let groups: Vec<GroupId> = self.shared.index().groups.keys().copied().collect();
        let mut sizes = Vec::new();
        for group in groups {
            match self.kept_bytes(group) {
                Ok(bytes) => sizes.push((bytes, group)),
                // Reset or deleted meanwhile.
                Err(ReadError::NoSuchLog) => {}
                Err(error) => return Err(error.into()),
            }
        }
        sizes.sort_unstable_by_key(|&(bytes, _)| bytes);
        let (mut left, mut most) = (bytes, u64::MAX);
        for (index, &(bytes, _)) in sizes.iter().enumerate() {
            let share = left / (sizes.len() - index) as u64;
            if bytes > share {
                most = share;
                break;
            }
            left -= bytes;
        }
        for (_, group) in sizes.into_iter().rev().take_while(|&(bytes, _)| bytes > most) {
            let keep = GroupRetention { max_bytes: Some(most), ..GroupRetention::default() };
            match self.retain_group(group, keep, 0) {
                Ok(()) | Err(WriteError::NoSuchLog) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes closed files smaller, the oldest first, until all have at most `goal` bytes or nothing more can be gained.
    fn rewrite_files(&self, goal: u64) {
        let mut files: Vec<Arc<LogFile>> = self.shared.files().values().cloned().collect();
        // The newest is the committer's.
        files.pop();
        for file in files {
            if self.file_bytes() <= goal {
                return;
            }
            if let Err(error) = self.rewrite(&file)
                && !file.is_gone()
            {
                tracing::warn!(file = file.number, %error, "a log file cannot be made smaller");
            }
        }
    }

    fn rewrite(&self, file: &LogFile) -> Result<(), StoreError> {
        let env = &self.shared.env;
        let live = self.shared.index().stretches_in(file.number);
        let is_made = file.rewrite(env, &live).map_err(|fault| StoreError::from(fault.into_io()))?;
        if !is_made {
            return Ok(());
        }
        let number = file.number;
        self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::Replace { file: number, answer })).or_else(
            |error: WriteError| {
                env.volume.remove(&unfinished_name(number)).ok();
                match error {
                    WriteError::Io(error) => Err(error),
                    WriteError::NoSuchLog | WriteError::TooLarge { .. } => Ok(()),
                }
            },
        )
    }
}
