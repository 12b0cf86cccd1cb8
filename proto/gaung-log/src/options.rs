//! How a log on disk is opened, what it counts, and what every part of it needs from outside.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::volume::{FolderError, Volume};

/// How a disk log behaves. The default suits a service.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Most bytes of one file; 128 MiB, between 128 KiB and 1 GiB. The newest one is read at each opening.
    pub file_bytes: u64,
    /// Most bytes that wait for the committer; 64 MiB. Above it appends are refused with [`AppendError::Full`](crate::AppendError::Full).
    pub queue_bytes: usize,
    /// Most bytes of one commit; 8 MiB. It bounds how long an append waits behind others.
    pub transaction_bytes: usize,
    /// Most files open besides the newest; 16.
    pub open_files: usize,
    /// First wait after a failed commit, doubled up to `retry_at_most`; 50 ms.
    pub retry_after: Duration,
    /// Longest wait between attempts to write again; 2 s.
    pub retry_at_most: Duration,
    /// The time, ms since 1970; marks when a file was begun, for [`Retention::max_age_ms`](crate::Retention::max_age_ms).
    pub clock: fn() -> u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            file_bytes: 128 << 20,
            queue_bytes: 64 << 20,
            transaction_bytes: 8 << 20,
            open_files: 16,
            retry_after: Duration::from_millis(50),
            retry_at_most: Duration::from_secs(2),
            clock: system_ms,
        }
    }
}

fn system_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A newer program has worked here; nothing was changed.
    #[error(
        "{file} has format {found}, and this program reads up to {supported}: use a newer program, or another data folder"
    )]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that this program reads.
        supported: u32,
    },
    /// A file cannot be read or made; it may be good.
    #[error("log file {file}: {source}")]
    File {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The folder's names cannot be read or changed.
    #[error("data folder: {0}")]
    Io(#[source] io::Error),
}

/// Figures since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFigures {
    /// Commits; several appends share one.
    pub commits: u64,
    /// Requests in them.
    pub changes: u64,
    /// Runs in them.
    pub runs: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Commits that failed.
    pub failures: u64,
    /// Time spent in commits.
    pub committing: Duration,
    /// Bytes that wait now.
    pub queued_bytes: usize,
    /// Files in the row.
    pub files: usize,
}

/// What every file needs from outside.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) volume: Arc<dyn Volume>,
    pub(crate) options: DiskOptions,
    pub(crate) syncs: AtomicU64,
    /// Rises at each use of a file, to find the one that was used longest ago.
    pub(crate) uses: AtomicU64,
    /// Set when a file is opened for reading.
    pub(crate) opened: AtomicBool,
}

impl Env {
    pub(crate) fn new(volume: Arc<dyn Volume>, options: DiskOptions) -> Self {
        let (syncs, uses, opened) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        Self { volume, options, syncs, uses, opened }
    }
}
