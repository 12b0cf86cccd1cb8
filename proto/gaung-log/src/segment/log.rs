//! A log in segments: what callers see.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use gaung_proto::{GroupId, GroupRetention, LogId, Seq, SeqRange, run::Run};

use super::{committer::SegmentCommitter, file::SegmentFile, known::Part, recover::recover, shared::SegmentShared};
use crate::{
    change::{Change, Job, Upkeep},
    convert::convert,
    fault::Fault,
    index::Stretch,
    log::{
        Append, Done, Log, MAX_CONFIG, OpenError, Opened, Position, ReadError, Retention, StoreError, StoredGroup,
        WriteError,
    },
    options::{DiskFigures, DiskOptions, Env, OpenLogError},
    retain,
    shared::Damage,
    volume::{Folder, Volume},
};

/// Two short ones would be one, and an offset has 32 bits.
const LEAST_FILE_BYTES: u64 = 128 << 10;
const MOST_FILE_BYTES: u64 = 1 << 30;

/// A durable [`Log`] in segments: an append is acknowledged after a sync. One thread writes; any number read beside it.
///
/// Dropping it finishes what waits, and ends the newest segment with an index.
#[derive(Debug)]
pub struct SegmentLog {
    pub(super) shared: Arc<SegmentShared>,
    committer: Option<JoinHandle<()>>,
}

impl SegmentLog {
    /// Opens or makes the log in folder `path`, and holds the folder.
    ///
    /// # Errors
    /// [`OpenLogError`]; damaged files are no error, see [`Self::damages`].
    pub fn open(path: &Path, options: DiskOptions) -> Result<Self, OpenLogError> {
        Self::on(Arc::new(Folder::hold(path)?), options)
    }

    /// Opens or makes the log on any volume, which the caller holds. A log in B-trees is converted first.
    ///
    /// # Errors
    /// [`OpenLogError`].
    pub fn on(volume: Arc<dyn Volume>, options: DiskOptions) -> Result<Self, OpenLogError> {
        let options =
            DiskOptions { file_bytes: options.file_bytes.clamp(LEAST_FILE_BYTES, MOST_FILE_BYTES), ..options };
        let env = Env::new(volume, options);
        let damages = convert(&env)?;
        let shared = Arc::new(SegmentShared::new(env));
        damages.into_iter().for_each(|damage| shared.damages.add(damage));
        let active = recover(&shared)?;
        let committer = SegmentCommitter::new(Arc::clone(&shared), active);
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
            commits: load(&stats.commits),
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
    pub(super) fn kept_bytes(&self, group: GroupId) -> Result<u64, ReadError> {
        let seen = self.shared.known().index.groups.get(&group).map(|entry| (entry.position(), entry.bytes()));
        let (position, (kept, appended)) = seen.ok_or(ReadError::NoSuchLog)?;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let counted = retain::kept_bytes(self, group, position)?;
        self.shared.known_mut().index.count(group, position.log, counted, appended);
        Ok(counted)
    }

    fn locate(&self, group: GroupId, log: LogId, from: Seq, max_bytes: usize) -> Result<Vec<FoundPart>, ReadError> {
        let known = self.shared.known();
        let parts = known.locate(group, log, from, max_bytes)?;
        let files = self.shared.files();
        Ok(parts.into_iter().map(|part| (files.get(&part.extent.file).cloned(), part)).collect())
    }

    /// Reads from the parts in turn; stops without an error once something was read.
    fn read_parts(
        &self,
        stretch: impl Fn(Seq, Seq) -> Stretch,
        parts: Vec<FoundPart>,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Run>, Stopped> {
        let mut runs = Vec::new();
        let mut left = max_bytes;
        let mut next = from;
        for (file, Part { extent, place }) in parts {
            let Some(file) = file else { return Err(Stopped::Moved) };
            let result = file.read_runs(&self.shared.env, stretch(next, extent.last), &place, &mut left, &mut runs);
            let stopped = match result {
                Ok(()) => None,
                Err(_) if file.is_gone() => Some(Stopped::Moved),
                Err(Fault::Damaged(why)) => {
                    self.shared.queue.post(Job::Upkeep(Upkeep::SetAside { file: extent.file, why }));
                    let missing = SeqRange::new(next, extent.last).expect("a part from next on is not empty");
                    Some(Stopped::Error(ReadError::Damaged { missing }))
                }
                Err(fault) => Some(Stopped::Error(StoreError::from(fault.into_io()).into())),
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

type FoundPart = (Option<Arc<SegmentFile>>, Part);

enum Stopped {
    /// Files were moved meanwhile; look again.
    Moved,
    Error(ReadError),
}

impl Log for SegmentLog {
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
            let parts = self.locate(group, log, from, max_bytes)?;
            let outcome = self.read_parts(stretch, parts, from, max_bytes);
            self.shared.close_surplus();
            match outcome {
                Ok(runs) => return Ok(runs),
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Moved) => {}
            }
        }
    }

    fn position(&self, group: GroupId) -> Option<Position> {
        self.shared.known().index.position(group)
    }

    fn groups(&self) -> Vec<StoredGroup> {
        self.shared.known().index.stored()
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
        self.purge_now(now_ms)
    }

    fn retain(&self, keep: Retention, now_ms: u64) -> Result<(), WriteError> {
        self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::Retain { keep, now_ms, answer }))
    }

    fn retain_group(&self, group: GroupId, keep: GroupRetention, now_ms: u64) -> Result<(), WriteError> {
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

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(committer) = self.committer.take() {
            // A panic of the committer has been printed, and everyone who waited was told.
            committer.join().ok();
        }
    }
}
