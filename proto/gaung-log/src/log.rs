//! What a log of groups does, whether it lies on disk or in memory.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, GroupRetention, LogId, Seq, SeqRange, run::Run};

/// How long the log of a deleted group is kept, ms.
pub const DELETED_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// The logs of any number of groups: append-only rows of runs.
///
/// Calls that return a `Result` wait for the disk, up to some hundred ms on a bad day; call them from a thread that may
/// wait. [`Log::append`], [`Log::position`] and [`Log::groups`] never wait for it.
pub trait Log: fmt::Debug + Send + Sync {
    /// Whether what is acknowledged survives the process and a power cut.
    fn durable(&self) -> bool;

    /// Opens a group's log for appending: its epoch rises by one, and runs of an earlier epoch are refused from then on.
    ///
    /// `log`: the log that the registry names; `make_new`: begin it if the group is not stored.
    /// # Errors
    /// [`OpenError`]; nothing has changed.
    fn open_group(&self, group: GroupId, log: LogId, make_new: bool) -> Result<Opened, OpenError>;

    /// Opens many groups at the price of one sync. Answers in the order asked.
    fn open_groups(&self, groups: &[(GroupId, LogId, bool)]) -> Vec<Result<Opened, OpenError>>;

    /// Hands over runs of one group, in order, all or none of which will be appended; returns at once.
    ///
    /// `done` is called once, in the order of the calls for one group, with the group's new head when all of them are
    /// durable, or with the error and nothing appended. It runs on the committer's thread, or on the caller's before
    /// this returns (memory log; [`AppendError::Full`]), so it must be short and take no lock that the caller holds.
    /// After an error, runs already handed over that build on the refused ones are refused too.
    fn append(&self, appends: Vec<Append>, done: Done);

    /// Reads runs from the one that holds `from`, in order and without a hole, as many as `max_bytes` holds but at least
    /// one; empty above the head. Every one has been checked. A run's bytes are a slice of the record that was read.
    ///
    /// # Errors
    /// [`ReadError`].
    fn read(&self, group: GroupId, log: LogId, from: Seq, max_bytes: usize) -> Result<Vec<Run>, ReadError>;

    /// How far a group's log goes; `None` if the group is not stored.
    fn position(&self, group: GroupId) -> Option<Position>;

    /// Every stored group, in no order.
    fn groups(&self) -> Vec<StoredGroup>;

    /// Keeps `config`, whatever it means to the caller, with the group. At most 64 KiB.
    ///
    /// # Errors
    /// [`WriteError`].
    fn put_config(&self, group: GroupId, config: Bytes) -> Result<(), WriteError>;

    /// Sets a group's log aside and begins another one, open for appending; the epoch goes on rising. Snapshots go, the
    /// config stays. What was set aside stays on disk, for `gaung log` and a backup, until a [`Log::purge`] more than
    /// [`DELETED_KEPT_MS`] later, or until retention drops its file.
    ///
    /// # Errors
    /// [`WriteError`].
    fn reset(&self, group: GroupId, log: LogId) -> Result<Opened, WriteError>;

    /// Marks a group as deleted at `now_ms` (since 1970): it cannot be opened or appended to, and [`Log::purge`] drops
    /// its log after [`DELETED_KEPT_MS`]. Marking again changes nothing.
    ///
    /// # Errors
    /// [`WriteError`].
    fn delete_group(&self, group: GroupId, now_ms: u64) -> Result<(), WriteError>;

    /// Drops the logs of groups that were deleted long enough before `now_ms`; returns which.
    ///
    /// # Errors
    /// [`WriteError`].
    fn purge(&self, now_ms: u64) -> Result<Vec<GroupId>, WriteError>;

    /// Drops what is older or more than `keep` allows, in large pieces; the oldest message of groups moves up.
    ///
    /// # Errors
    /// [`WriteError`].
    fn retain(&self, keep: Retention, now_ms: u64) -> Result<(), WriteError>;

    /// Drops what one group has more than `keep` allows: its oldest message moves up, and what lies before is not read any
    /// more. It leaves the disk with the last file that holds any of it, which other groups may share. What is dropped is
    /// read once, on the caller's thread; so is all that is kept, once an opening, where bytes are limited. Snapshots survive,
    /// as with [`Retention`].
    ///
    /// # Errors
    /// [`WriteError`].
    fn retain_group(&self, group: GroupId, keep: GroupRetention, now_ms: u64) -> Result<(), WriteError>;

    /// Bytes that the log takes of the disk; 0 where it takes none.
    fn stored_bytes(&self) -> u64 {
        0
    }

    /// Makes the log take at most `max_bytes` of the disk: what deleted groups left goes, then the oldest messages of the
    /// groups that have most bytes, to the level of those that have less. Groups below it keep everything. A log that is
    /// small enough is not changed. Reads all that is kept, once an opening.
    ///
    /// # Errors
    /// [`WriteError`].
    fn shrink(&self, max_bytes: u64) -> Result<(), WriteError> {
        let _ = max_bytes;
        Ok(())
    }
}

/// Called once with the outcome of an append.
pub type Done = Box<dyn FnOnce(Result<Seq, AppendError>) + Send>;

/// One run to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// Its header says group, log, epoch and first seq.
    pub run: Run,
    /// What the caller wants to find again when it opens the group, as of this run's last message; replaces the
    /// earlier one in the same commit.
    pub snapshot: Option<Bytes>,
}

/// A group's log, open for appending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The log.
    pub log: LogId,
    /// The epoch of this opening; at least 1.
    pub epoch: Epoch,
    /// Last message; [`Seq::ZERO`] if there is none.
    pub head: Seq,
    /// First message that can be read; `head` + 1 if there is none.
    pub oldest: Seq,
    /// The latest snapshot. The runs since are read from `at` + 1, see [`Runs`]; without one, from `oldest`.
    pub snapshot: Option<Snapshot>,
    /// Acknowledged messages after `head` were lost with a damaged file. Reading works; appends are refused until
    /// [`Log::reset`], for otherwise two messages would bear one seq.
    pub tail_lost: bool,
}

/// What a caller stored beside a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Last message of that run.
    pub at: Seq,
    /// The caller's bytes.
    pub bytes: Bytes,
}

/// How far a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The log.
    pub log: LogId,
    /// The epoch of its last opening.
    pub epoch: Epoch,
    /// Last durable message.
    pub head: Seq,
    /// First message that can be read; `head` + 1 if there is none.
    pub oldest: Seq,
}

/// A group that the store knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGroup {
    /// The group.
    pub group: GroupId,
    /// How far its log goes.
    pub position: Position,
    /// What [`Log::put_config`] kept; empty if nothing.
    pub config: Bytes,
    /// When it was deleted, ms since 1970.
    pub deleted_at_ms: Option<u64>,
}

/// How much is kept. Snapshots survive; below 24 hours a late duplicate may pass for new in a group that has not
/// stored a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Drop what is older; messages stay up to an eighth longer.
    pub max_age_ms: Option<u64>,
    /// Drop the oldest above this many bytes in all.
    pub max_bytes: Option<u64>,
}

/// Storing failed: EIO, a full disk, a log that is closing. What was asked for has not happened; it may succeed later.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log cannot be written or read now: {0}")]
pub struct StoreError(Arc<io::Error>);

impl StoreError {
    pub(crate) fn closed() -> Self {
        io::Error::other("the log is closing").into()
    }

    /// The kind that the system named, as [`io::ErrorKind::StorageFull`].
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.0.kind()
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// An append was refused; nothing of it is stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Another opening, or another log, has taken over.
    #[error("fenced: the group was opened again, with epoch {epoch} of log {log}")]
    Fenced {
        /// The stored log.
        log: LogId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The run does not follow the last one.
    #[error("the run does not follow message {head}")]
    NotNext {
        /// The stored head.
        head: Seq,
    },
    /// The group is not stored, or deleted.
    #[error("no such log")]
    NoSuchLog,
    /// Acknowledged messages were lost with a damaged file; the group must be reset.
    #[error("messages after {head} were lost with a damaged file; the group must be reset")]
    TailLost {
        /// The last message left.
        head: Seq,
    },
    /// As many bytes are waiting as may; try again when some are done.
    #[error("too much is waiting to be stored")]
    Full,
    /// The store failed.
    #[error(transparent)]
    Io(#[from] StoreError),
}

/// A group could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    /// It is not stored, and was not to be made.
    #[error("no such log")]
    NoSuchLog,
    /// It is stored with another log.
    #[error("the group is stored with log {stored}")]
    OtherLog {
        /// The stored one.
        stored: LogId,
    },
    /// It was deleted.
    #[error("the group was deleted")]
    Deleted,
    /// The store failed.
    #[error(transparent)]
    Io(#[from] StoreError),
}

/// A change was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The group is not stored, or deleted.
    #[error("no such log")]
    NoSuchLog,
    /// The config is over 64 KiB.
    #[error("config of {len} bytes is over the limit of {MAX_CONFIG}")]
    TooLarge {
        /// Its length.
        len: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Io(#[from] StoreError),
}

impl From<ReadError> for WriteError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoSuchLog => Self::NoSuchLog,
            ReadError::Io(error) => Self::Io(error),
            // Whoever reads for the sake of a change passes over both.
            ReadError::Trimmed { .. } | ReadError::Damaged { .. } => {
                Self::Io(io::Error::other(error.to_string()).into())
            }
        }
    }
}

/// Most bytes of a config.
pub const MAX_CONFIG: usize = 64 * 1024;

/// Messages could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// They are no longer kept.
    #[error("messages before {oldest} are no longer kept")]
    Trimmed {
        /// The first one that is.
        oldest: Seq,
    },
    /// The group is not stored, or has another log now.
    #[error("no such log")]
    NoSuchLog,
    /// They lay in a file that is damaged and has been set aside. Reading goes on after them.
    #[error("messages {missing} lie in a damaged file")]
    Damaged {
        /// Which, from the one asked for.
        missing: SeqRange,
    },
    /// The store failed.
    #[error(transparent)]
    Io(#[from] StoreError),
}

/// The runs of a log from one message to the head, read piece by piece; ends after an error.
#[derive(Debug)]
pub struct Runs<'a> {
    log: &'a dyn Log,
    group: GroupId,
    id: LogId,
    next: Seq,
    piece_bytes: usize,
    read: std::vec::IntoIter<Run>,
    ended: bool,
}

impl<'a> Runs<'a> {
    /// From the run that holds `from`, at most about `piece_bytes` of them in memory.
    #[must_use]
    pub fn new(log: &'a dyn Log, group: GroupId, id: LogId, from: Seq, piece_bytes: usize) -> Self {
        Self { log, group, id, next: from, piece_bytes, read: Vec::new().into_iter(), ended: false }
    }
}

impl Iterator for Runs<'_> {
    type Item = Result<Run, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read.len() == 0 && !self.ended {
            match self.log.read(self.group, self.id, self.next, self.piece_bytes) {
                Ok(runs) => self.read = runs.into_iter(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let run = self.read.next();
        match &run {
            Some(run) => self.next = run.last_seq().next(),
            None => self.ended = true,
        }
        run.map(Ok)
    }
}
