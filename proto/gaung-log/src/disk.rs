//! A log on disk: what callers see.

mod shrink;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gaung_proto::{GroupId, GroupRetention, LogId, Seq, SeqRange, run::Run};

use crate::{
    change::{Change, Job, Upkeep},
    committer::Committer,
    fault::Fault,
    file::{Env, Stretch},
    index::Extent,
    log::{
        Append, Done, Log, MAX_CONFIG, OpenError, Opened, Position, ReadError, Retention, StoreError, StoredGroup,
        WriteError,
    },
    recover::recover,
    retain,
    shared::{Damage, Shared},
    volume::{Folder, FolderError, Volume},
};

/// How a disk log behaves. The default suits a service.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// Most bytes of one file; 128 MiB, between 128 KiB and 1 GiB. The newest one is read at each opening.
    pub file_bytes: u64,
    /// Most bytes that wait for the committer; 64 MiB. Above it appends are refused with [`AppendError::Full`](crate::AppendError::Full).
    pub queue_bytes: usize,
    /// Most bytes of one transaction; 8 MiB. It bounds how long an append waits behind others.
    pub transaction_bytes: usize,
    /// Length of the journal, in which small appends are synced before they go into the newest file together; 1 MiB. 0:
    /// they go there at once.
    pub journal_bytes: usize,
    /// Memory for pages of the newest file; 32 MiB.
    pub write_cache_bytes: usize,
    /// Memory for pages of each other open file; 4 MiB.
    pub read_cache_bytes: usize,
    /// Most files open besides the newest; 16.
    pub open_files: usize,
    /// First wait after a failed transaction, doubled up to `retry_at_most`; 50 ms.
    pub retry_after: Duration,
    /// Longest wait between attempts to write again; 2 s.
    pub retry_at_most: Duration,
    /// At opening compare every page of the newest file with its checksum, as is always done after a crash; true. Costs
    /// reading that one file.
    pub verify_newest: bool,
    /// The time, ms since 1970; marks when a file was begun, for [`Retention::max_age_ms`].
    pub clock: fn() -> u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            file_bytes: 128 << 20,
            queue_bytes: 64 << 20,
            transaction_bytes: 8 << 20,
            journal_bytes: 1 << 20,
            write_cache_bytes: 32 << 20,
            read_cache_bytes: 4 << 20,
            open_files: 16,
            retry_after: Duration::from_millis(50),
            retry_at_most: Duration::from_secs(2),
            verify_newest: true,
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

/// A durable [`Log`]: an append is acknowledged after a sync. One thread writes; any number read beside it.
///
/// Dropping it finishes what waits, and closes the files.
#[derive(Debug)]
pub struct DiskLog {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

/// Figures since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFigures {
    /// Transactions committed and entries of the journal; several appends share one.
    pub transactions: u64,
    /// Requests in them.
    pub changes: u64,
    /// Runs in them.
    pub runs: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Transactions that failed.
    pub failures: u64,
    /// Time spent in transactions.
    pub committing: Duration,
    /// Bytes that wait now.
    pub queued_bytes: usize,
    /// Files in the row.
    pub files: usize,
}

impl DiskLog {
    /// Opens or makes the log in folder `path`, and holds the folder.
    ///
    /// # Errors
    /// [`OpenLogError`]; damaged files are no error, see [`Self::damages`].
    pub fn open(path: &Path, options: DiskOptions) -> Result<Self, OpenLogError> {
        Self::on(Arc::new(Folder::hold(path)?), options)
    }

    /// Opens or makes the log on any volume, which the caller holds.
    ///
    /// # Errors
    /// [`OpenLogError`].
    pub fn on(volume: Arc<dyn Volume>, options: DiskOptions) -> Result<Self, OpenLogError> {
        let options = DiskOptions { file_bytes: options.file_bytes.max(512 << 10), ..options };
        let env = Env {
            volume,
            options,
            syncs: Arc::new(AtomicU64::new(0)),
            uses: AtomicU64::new(0),
            opened: AtomicBool::new(false),
        };
        let shared = Arc::new(Shared::new(env));
        let active = recover(&shared)?;
        let committer = Committer::new(Arc::clone(&shared), active);
        let thread = std::thread::Builder::new().name("log-committer".into()).spawn(move || committer.run());
        Ok(Self { shared, committer: Some(thread.map_err(OpenLogError::Io)?) })
    }

    /// The files that were found damaged since the opening.
    #[must_use]
    pub fn damages(&self) -> Vec<Damage> {
        self.shared.damages.all()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn figures(&self) -> DiskFigures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stats = &self.shared.stats;
        DiskFigures {
            transactions: load(&stats.transactions),
            changes: load(&stats.changes),
            runs: load(&stats.runs),
            syncs: load(&self.shared.env.syncs),
            failures: load(&stats.failures),
            committing: Duration::from_micros(load(&stats.commit_us)),
            queued_bytes: self.shared.queue.bytes(),
            files: self.shared.files().len(),
        }
    }

    /// Bytes of all runs of a group that are kept; read to be counted, the first time.
    fn kept_bytes(&self, group: GroupId) -> Result<u64, ReadError> {
        let seen = self.shared.index().groups.get(&group).map(|entry| (entry.position(), entry.bytes()));
        let (position, (kept, appended)) = seen.ok_or(ReadError::NoSuchLog)?;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let counted = retain::kept_bytes(self, group, position)?;
        self.shared.index_mut().count(group, position.log, counted, appended);
        Ok(counted)
    }

    /// Reads from the extents in turn; stops without an error once something was read.
    fn read_extents(
        &self,
        stretch: impl Fn(Seq, Seq) -> Stretch,
        extents: &[Extent],
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Run>, Stopped> {
        let mut runs = Vec::new();
        let mut left = max_bytes;
        let mut next = from;
        for extent in extents {
            let file = self.shared.files().get(&extent.file).cloned();
            let Some(file) = file else { return Err(Stopped::Moved) };
            let result = file.read_runs(&self.shared.env, stretch(next, extent.last), &mut left, &mut runs);
            let stopped = match result {
                Ok(()) => None,
                Err(_) if file.is_gone() => Some(Stopped::Moved),
                Err(Fault::Damaged(why)) => {
                    self.shared.queue.post(Job::Upkeep(Upkeep::SetAside { file: extent.file, why }));
                    let missing = SeqRange::new(next, extent.last).expect("an extent from next on is not empty");
                    Some(Stopped::Error(ReadError::Damaged { missing }))
                }
                Err(fault) => {
                    let error = StoreError::from(fault.into_io());
                    self.shared.queue.post(Job::Upkeep(Upkeep::Reopen { file: extent.file, error: error.clone() }));
                    Some(Stopped::Error(error.into()))
                }
            };
            next = runs.last().map_or(next, |run| run.last_seq().next());
            match stopped {
                Some(stopped) if runs.is_empty() => return Err(stopped),
                None if next > extent.last && left > 0 => {}
                Some(_) | None => break,
            }
        }
        Ok(runs)
    }
}

enum Stopped {
    /// Files were moved meanwhile; look again.
    Moved,
    Error(ReadError),
}

impl Log for DiskLog {
    fn durable(&self) -> bool {
        true
    }

    fn open_group(&self, group: GroupId, log: LogId, make_new: bool) -> Result<Opened, OpenError> {
        self.shared.queue.ask(|answer| Job::Change(Change::Open { group, log, make_new, answer }))
    }

    fn open_groups(&self, groups: &[(GroupId, LogId, bool)]) -> Vec<Result<Opened, OpenError>> {
        self.shared.queue.open_groups(groups)
    }

    fn append(&self, appends: Vec<Append>, done: Done) {
        self.shared.queue.append(appends, done);
    }

    fn read(&self, group: GroupId, log: LogId, from: Seq, max_bytes: usize) -> Result<Vec<Run>, ReadError> {
        let from = from.max(Seq::FIRST);
        let stretch = |from, last| Stretch { group, log, from, last };
        loop {
            if let Some(runs) = self.shared.pending().read(group, log, from, max_bytes) {
                return Ok(runs);
            }
            let extents = self.shared.index().locate(group, log, from)?;
            let outcome = self.read_extents(stretch, &extents, from, max_bytes);
            self.shared.close_surplus();
            match outcome {
                Ok(runs) => return Ok(runs),
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Moved) => {}
            }
        }
    }

    fn position(&self, group: GroupId) -> Option<Position> {
        let pending = self.shared.pending().head(group);
        let position = self.shared.index().position(group)?;
        Some(position.reaching(pending))
    }

    fn groups(&self) -> Vec<StoredGroup> {
        let pending = self.shared.pending();
        let mut groups = self.shared.index().stored();
        for group in &mut groups {
            group.position = group.position.reaching(pending.head(group.group));
        }
        groups
    }

    fn put_config(&self, group: GroupId, config: Bytes) -> Result<(), WriteError> {
        if config.len() > MAX_CONFIG {
            return Err(WriteError::TooLarge { len: config.len() });
        }
        self.shared.queue.ask(|answer| Job::Change(Change::Config { group, config, answer }))
    }

    fn reset(&self, group: GroupId, log: LogId) -> Result<Opened, WriteError> {
        self.shared.queue.ask(|answer| Job::Change(Change::Reset { group, log, answer }))
    }

    fn delete_group(&self, group: GroupId, now_ms: u64) -> Result<(), WriteError> {
        self.shared.queue.ask(|answer| Job::Change(Change::Delete { group, now_ms, answer }))
    }

    fn purge(&self, now_ms: u64) -> Result<Vec<GroupId>, WriteError> {
        self.shared.queue.ask(|answer| Job::Change(Change::Purge { now_ms: Some(now_ms), answer }))
    }

    fn retain(&self, keep: Retention, now_ms: u64) -> Result<(), WriteError> {
        self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::Retain { keep, now_ms, answer }))
    }

    fn retain_group(&self, group: GroupId, keep: GroupRetention, now_ms: u64) -> Result<(), WriteError> {
        let in_journal = self.shared.pending().head(group).is_some();
        if in_journal {
            self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::Checkpoint { answer }))?;
        }
        let position = self.position(group).ok_or(WriteError::NoSuchLog)?;
        let bytes = keep.max_bytes.map_or(Ok(0), |_| self.kept_bytes(group))?;
        let kept = retain::first_kept(self, group, position, keep, bytes, now_ms)?;
        if kept.first <= position.oldest {
            return Ok(());
        }
        self.shared.queue.ask(|answer| Job::Change(Change::Trim { group, log: position.log, kept, answer }))
    }

    fn stored_bytes(&self) -> u64 {
        self.file_bytes()
    }

    fn shrink(&self, max_bytes: u64) -> Result<(), WriteError> {
        self.make_room(max_bytes)
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(committer) = self.committer.take() {
            // A panic of the committer has been printed, and everyone who waited was told.
            committer.join().ok();
        }
    }
}
