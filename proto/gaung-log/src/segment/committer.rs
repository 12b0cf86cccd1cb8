//! The one thread that writes: everything that waits becomes one commit with one sync.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_proto::GroupId;

use super::{
    file::{SEALED_LEN, Sealed, SegmentFile, encode_end},
    frame::{Commit, FRAME_HEADER, Kind, PLACE_LEN},
    known::{Committed, Known, Where},
    recover::{ActiveSegment, begin_segment},
    shared::SegmentShared,
    stage::{Stage, bytes_of},
    writer::{Unwritten, Writer},
};
use crate::{
    change::{Change, Job},
    fault::Fault,
    index::Entry,
    log::StoreError,
    shared::Stats,
};

/// Owns the active segment.
pub(crate) struct SegmentCommitter {
    pub(super) shared: Arc<SegmentShared>,
    pub(super) active: Arc<SegmentFile>,
    pub(super) writer: Writer,
    /// Runs in it, those of replaced logs too.
    runs: usize,
    /// Bytes that the segment had when it was begun: what is known of all groups.
    begun_bytes: u64,
    /// Where the last checkpoint lies, or the beginning.
    checkpoint_at: u64,
    /// It ends with an index.
    is_sealed: bool,
    /// Runs were dropped that lie in it.
    pub(super) dropped: bool,
    /// Number of the next one; no segment, damaged ones included, has it or a higher one.
    pub(super) next_number: u64,
    pub(super) health: Health,
    /// Where a write failed that is tried once more.
    failed_at: u64,
}

pub(crate) enum Health {
    Good,
    Failed { cause: Cause, error: StoreError, retry_at: Instant, wait: Duration },
}

#[derive(Clone)]
pub(crate) enum Cause {
    /// The last attempt failed, and may be written over.
    Write,
    /// Nothing more may be written to the segment: the system may show pages that never reach the disk, and report the next
    /// sync as good.
    Sync,
    Damage(String),
}

impl SegmentCommitter {
    pub(crate) fn new(shared: Arc<SegmentShared>, active: ActiveSegment) -> Self {
        let ActiveSegment { file: active, writer, is_sealed, runs, next_number } = active;
        Self {
            shared,
            active,
            writer,
            runs,
            begun_bytes: 0,
            checkpoint_at: 0,
            is_sealed,
            dropped: false,
            next_number,
            health: Health::Good,
            failed_at: 0,
        }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _unwind = CloseOnExit(Arc::clone(&self.shared));
        let shared = Arc::clone(&self.shared);
        let options = &shared.env.options;
        // A commit lies in one segment, so it has to be short beside one.
        let most = options.transaction_bytes.min(usize::try_from(options.file_bytes / 4).unwrap_or(usize::MAX));
        while let Some(jobs) = shared.queue.take(most) {
            let mut changes = Vec::with_capacity(jobs.len());
            for job in jobs {
                match job {
                    Job::Change(change) => changes.push(change),
                    Job::Upkeep(upkeep) => {
                        self.commit(std::mem::take(&mut changes));
                        self.upkeep(upkeep);
                    }
                }
            }
            self.commit(changes);
        }
        // After a failed sync the segment is left as it is: the next opening reads what is really on the disk.
        if matches!(self.health, Health::Good | Health::Failed { cause: Cause::Write, .. })
            && let Err(unwritten) = self.seal()
        {
            let error = unwritten.into_io();
            tracing::warn!(%error, "the newest log file is read through at the next opening");
        }
    }

    fn commit(&mut self, mut changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.store(&mut changes) {
            changes.into_iter().for_each(|change| change.settle(Some(&error)));
            return;
        }
        let drops =
            |change: &Change| matches!(change, Change::Purge { .. } | Change::Reset { .. } | Change::Trim { .. });
        let (dropping, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(drops);
        // Appends do not wait for files to be removed; whoever drops messages does, for it measures next what they take.
        rest.into_iter().for_each(|change| change.settle(None));
        if !dropping.is_empty() {
            self.end_outdated();
            self.drop_unused();
        }
        dropping.into_iter().for_each(|change| change.settle(None));
    }

    fn store(&mut self, changes: &mut [Change]) -> Result<(), StoreError> {
        self.recover()?;
        self.make_room(changes)?;
        let started = Instant::now();
        let (start, with_checkpoint) = (self.writer.end, self.is_checkpoint_due());
        let stored = self.stage(changes, with_checkpoint).and_then(|(commit, committed)| {
            let is_empty = commit.is_empty();
            self.writer.append(&self.shared.env, commit).map_err(Failure::Unwritten)?;
            // An index counts only as the last thing in a segment.
            self.is_sealed &= is_empty;
            Ok(committed)
        });
        let committed = stored.map_err(|failure| self.failed(failure))?;
        if with_checkpoint {
            self.checkpoint_at = start;
        }
        self.dropped |= committed.dropped;
        let runs = committed.places.len();
        self.runs += runs;
        self.shared.known_mut().apply(committed);
        self.shared.stats.committed(changes.len(), runs, started.elapsed());
        Ok(())
    }

    /// Whether so much was written since the last checkpoint that another one adds little.
    fn is_checkpoint_due(&self) -> bool {
        let groups = self.shared.known().index.groups.len() * SEALED_LEN;
        self.writer.end - self.checkpoint_at >= LEAST_BETWEEN_CHECKPOINTS.max(CHECKPOINT_PART * groups as u64)
    }

    fn stage(&mut self, changes: &mut [Change], with_checkpoint: bool) -> Result<(Commit, Committed), Failure> {
        let mut commit = self.writer.begin();
        let known = self.shared.known();
        if with_checkpoint {
            push_checkpoint(&mut commit, &known);
        }
        let mut stage = Stage::new(&self.shared.env, &self.active, &known, commit);
        for change in changes {
            stage.apply(change).map_err(Failure::Fault)?;
        }
        Ok(stage.finish())
    }

    /// Takes note of a failure; what was asked for has not happened.
    pub(super) fn failed(&mut self, failure: Failure) -> StoreError {
        Stats::add(&self.shared.stats.failures, 1);
        let (cause, error) = match failure {
            Failure::Fault(Fault::Damaged(why)) => (Cause::Damage(why.clone()), Fault::Damaged(why).into_io()),
            Failure::Fault(fault) => (Cause::Write, fault.into_io()),
            Failure::Unwritten(Unwritten::Write(error)) => (Cause::Write, error),
            Failure::Unwritten(Unwritten::Sync(error)) => (Cause::Sync, error),
        };
        let error = StoreError::from(error);
        let number = self.active.number;
        tracing::warn!(file = number, %error, "log cannot be written; publishers are refused until it can");
        let wait = self.shared.env.options.retry_after;
        self.health = Health::Failed { cause, error: error.clone(), retry_at: Instant::now(), wait };
        error
    }

    /// Makes the log writable again after a failure, not more often than the back-off allows.
    pub(super) fn recover(&mut self) -> Result<(), StoreError> {
        let Health::Failed { cause, error, retry_at, wait } = &mut self.health else { return Ok(()) };
        if Instant::now() < *retry_at {
            return Err(error.clone());
        }
        *retry_at = Instant::now() + *wait;
        *wait = (*wait * 2).min(self.shared.env.options.retry_at_most);
        let cause = cause.clone();
        let rolled = match cause {
            Cause::Write if self.failed_at != self.writer.end => Ok(()),
            // The place may be bad. On a full disk there is no room for a new segment either.
            Cause::Write => self.roll(false).or(Ok(())),
            Cause::Sync | Cause::Damage(_) => self.roll(false),
        };
        if let Err(failure) = rolled {
            let renewed = StoreError::from(failure.into_io());
            if let Health::Failed { error, .. } = &mut self.health {
                *error = renewed.clone();
            }
            return Err(renewed);
        }
        if matches!(self.health, Health::Failed { cause: Cause::Write, .. }) {
            self.failed_at = self.writer.end;
        }
        self.health = Health::Good;
        tracing::info!(file = self.active.number, "log is written again");
        Ok(())
    }

    /// Begins the next segment if what comes would let this one grow over the limit.
    fn make_room(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let coming: u64 = changes.iter().map(bytes_of).sum();
        let after = self.writer.end + coming + self.index_bytes();
        // A segment that begins with much shall hold as much again, or all writing would be beginnings.
        if after > self.shared.env.options.file_bytes && after >= 2 * self.begun_bytes && self.has_content() {
            return self.roll(true).map_err(|failure| self.failed(failure));
        }
        Ok(())
    }

    fn has_content(&self) -> bool {
        self.writer.end > self.begun_bytes
    }

    /// About how many bytes the index will take.
    fn index_bytes(&self) -> u64 {
        let groups = self.shared.known().index.groups.len();
        (self.runs * PLACE_LEN + groups * SEALED_LEN + 2 * FRAME_HEADER) as u64
    }

    /// Ends the active segment with an index, if it is not ended; gives where its runs are found.
    fn seal(&mut self) -> Result<Option<Places>, Unwritten> {
        if self.is_sealed {
            return Ok(None);
        }
        let mut commit = self.writer.begin();
        let places = push_end(&mut commit, &self.shared.known(), self.runs);
        self.writer.seal(&self.shared.env, commit)?;
        self.is_sealed = true;
        Ok(Some(places))
    }

    /// Begins the next segment with all groups as they are known, and leaves the one before. `seal`: that one is good.
    pub(super) fn roll(&mut self, seal: bool) -> Result<(), Failure> {
        let ended = if seal { self.seal().map_err(Failure::Unwritten)? } else { None };
        let shared = Arc::clone(&self.shared);
        let begun = begin_segment(&shared, self.next_number, Some(&self.active)).map_err(Failure::Fault)?;
        let before = std::mem::replace(&mut self.active, Arc::clone(&begun.file));
        shared.files_mut().insert(begun.file.number, begun.file);
        shared.known_mut().carry(self.next_number, ended, begun.snapshots);
        (self.begun_bytes, self.checkpoint_at) = (begun.writer.end, begun.writer.end);
        self.writer = begun.writer;
        self.next_number += 1;
        (self.runs, self.dropped, self.is_sealed) = (0, false, false);
        if let Health::Failed { cause: Cause::Damage(why), .. } = &self.health {
            let why = why.clone();
            self.rename_damaged(&before, why);
        }
        // The ended segment opens again when it is read; until then it holds no descriptor.
        before.close();
        self.drop_unused();
        Ok(())
    }
}

/// A checkpoint bounds how much of the newest segment can stop the groups when it is damaged; it takes at most a 32nd of
/// the segment, for it has some 130 bytes of each group.
const LEAST_BETWEEN_CHECKPOINTS: u64 = 64 * 1024;
const CHECKPOINT_PART: u64 = 32;

/// What went wrong with a commit.
pub(crate) enum Failure {
    Fault(Fault),
    Unwritten(Unwritten),
}

impl Failure {
    fn into_io(self) -> io::Error {
        match self {
            Self::Fault(fault) => fault.into_io(),
            Self::Unwritten(unwritten) => unwritten.into_io(),
        }
    }
}

/// Where the runs of each group are found in a segment.
type Places = HashMap<GroupId, Where>;

/// Adds the groups as they are known.
fn push_checkpoint(commit: &mut Commit, known: &Known) {
    let sealed = |(group, entry): (&GroupId, &Entry)| Sealed::of(*group, entry, 0, 0);
    let groups: Vec<Sealed> = known.index.groups.iter().map(sealed).collect();
    let offset = commit.next_offset();
    commit.push_parts(Kind::Checkpoint, &[&encode_end(&groups, 0, offset)]);
}

/// Adds the frames that end a segment of `runs` runs.
fn push_end(commit: &mut Commit, known: &Known, runs: usize) -> Places {
    let groups: Vec<_> = known.index.groups.iter().collect();
    let mut index = Vec::new();
    let mut sealed: Vec<Sealed> = Vec::with_capacity(groups.len());
    for (group, entry) in groups {
        let places = known.places.get(group).map_or(&[][..], Vec::as_slice);
        let index_at = index.len() as u64;
        places.iter().for_each(|place| index.extend_from_slice(&place.encode()));
        sealed.push(Sealed::of(*group, entry, index_at, places.len() as u64));
    }
    let others = runs.saturating_sub(index.len() / PLACE_LEN);
    push_sealed(commit, &index, others as u32, &mut sealed)
}

/// The same from an index and groups that count from its beginning.
pub(crate) fn push_sealed(commit: &mut Commit, index: &[u8], others: u32, sealed: &mut [Sealed]) -> Places {
    let spot = commit.push_parts(Kind::Index, &[index]);
    for sealed in &mut *sealed {
        sealed.index_at += u64::from(spot.offset) + FRAME_HEADER as u64;
    }
    let offset = commit.next_offset();
    commit.push_parts(Kind::End, &[&encode_end(sealed, others, offset)]);
    sealed.iter().filter(|sealed| sealed.runs > 0).map(|sealed| (sealed.group, sealed.place())).collect()
}

/// Lets nobody wait for a committer that is gone, for whatever reason.
struct CloseOnExit(Arc<SegmentShared>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.queue.close();
        let closed = StoreError::closed();
        while let Some(jobs) = self.0.queue.take(usize::MAX) {
            jobs.into_iter().for_each(|job| job.fail(&closed));
        }
    }
}
