//! The one thread that writes: everything that waits goes into one transaction with one sync; or, if it is little, into
//! one entry of the journal.
//!
//! A failed transaction leaves the index as it was, and the active file is closed. Before the next transaction it is
//! opened again and must hold exactly what the index says. It is left behind, and a new file begun from the index, if it
//! does not, or if it was a sync that failed: the system may then have dropped pages that it goes on showing as
//! written, so nothing may be built upon them.

mod journaling;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_proto::GroupId;

use crate::{
    change::{Change, Job, Upkeep, Work},
    fault::Fault,
    file::{Contents, LogFile},
    index::{Finished, Index},
    journal::Journal,
    layout::{FileMeta, GroupState, damaged_name, file_name, unfinished_name},
    log::{Retention, StoreError, WriteError},
    recover::Active,
    shared::{Damage, Shared, Stats},
};

pub(crate) use journaling::set_aside_journal;

/// Owns the active file.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    active: Arc<LogFile>,
    meta: FileMeta,
    /// About how many bytes of the active file are in use.
    used_bytes: u64,
    /// Bytes that it had when it was begun: what is known of all groups.
    begun_bytes: u64,
    /// Runs were dropped for which the active file still has room.
    dropped: bool,
    /// Number of the next file.
    next_number: u64,
    /// `None` until it is needed, and after a failure.
    journal: Option<Journal>,
    /// When one may be made again.
    journal_at: Instant,
    health: Health,
}

enum Health {
    Good,
    Failed { cause: Cause, error: StoreError, retry_at: Instant, wait: Duration },
}

#[derive(Clone)]
enum Cause {
    Write,
    Sync,
    Damage(String),
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, active: Active) -> Self {
        let Active { file, meta, next_number, journal } = active;
        let used_bytes = shared.env.volume.len(&file_name(meta.number)).unwrap_or(0);
        let (journal_at, health) = (Instant::now(), Health::Good);
        let (begun_bytes, dropped) = (0, false);
        Self { shared, active: file, meta, used_bytes, begun_bytes, dropped, next_number, journal, journal_at, health }
    }

    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _unwind = CloseOnExit(Arc::clone(&self.shared));
        let shared = Arc::clone(&self.shared);
        let options = &shared.env.options;
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
        self.leave_journal();
        self.active.close();
    }

    fn commit(&mut self, mut changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        if self.append_to_journal(&mut changes) {
            changes.into_iter().for_each(|change| change.settle(None));
            return;
        }
        if let Err(error) = self.store(&mut changes) {
            changes.into_iter().for_each(|change| change.settle(Some(&error)));
            return;
        }
        let drops =
            |change: &Change| matches!(change, Change::Purge { .. } | Change::Reset { .. } | Change::Trim { .. });
        let (dropping, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(drops);
        rest.into_iter().for_each(|change| change.settle(None));
        if !dropping.is_empty() {
            self.end_outdated();
            self.drop_unused();
        }
        dropping.into_iter().for_each(|change| change.settle(None));
    }

    /// Puts what the journal has, and `changes`, into the active file.
    fn store(&mut self, changes: &mut [Change]) -> Result<(), StoreError> {
        self.recover()?;
        self.make_room(changes)?;
        self.make_journal(changes);
        self.transact(changes)
    }

    fn transact(&mut self, changes: &mut [Change]) -> Result<(), StoreError> {
        let started = Instant::now();
        let result = self.write(changes);
        match result {
            Ok(Finished { updates, meta, dropped, .. }) => {
                self.dropped |= dropped;
                self.used_bytes += changes.iter().map(Change::file_bytes).sum::<u64>();
                self.used_bytes += self.shared.pending().file_bytes();
                self.shared.index_mut().apply(updates, self.meta.number);
                let lost = std::mem::take(&mut *self.shared.pending_mut()).tail_lost;
                self.begin(meta, lost);
                let runs = changes.iter().map(Change::runs).sum();
                self.shared.stats.committed(changes.len(), runs, started.elapsed());
                Ok(())
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }

    fn write(&self, changes: &mut [Change]) -> Result<Finished, Fault> {
        let round = self.next_round();
        let (index, pending) = (self.shared.index(), self.shared.pending());
        self.active.write(|txn| {
            let mut work = Work::new(txn, &index)?;
            work.checkpoint(&pending)?;
            for change in changes {
                change.apply(&mut work)?;
            }
            let finished = work.finish(self.meta, round)?;
            let is_dirty = finished.is_dirty;
            Ok((finished, is_dirty))
        })
    }

    /// Takes note of a failed transaction; what was asked for has not happened.
    fn failed(&mut self, fault: Fault) -> StoreError {
        Stats::add(&self.shared.stats.failures, 1);
        let sync_failed = self.active.close();
        let cause = match &fault {
            Fault::Damaged(why) => Cause::Damage(why.clone()),
            Fault::Io(_) | Fault::Newer { .. } if sync_failed => Cause::Sync,
            Fault::Io(_) | Fault::Newer { .. } => Cause::Write,
        };
        let error = StoreError::from(fault.into_io());
        tracing::warn!(file = self.meta.number, %error, "log cannot be written; publishers are refused until it can");
        let wait = self.shared.env.options.retry_after;
        self.health = Health::Failed { cause, error: error.clone(), retry_at: Instant::now(), wait };
        error
    }

    /// Makes the active file writable again after a failure, not more often than the back-off allows.
    fn recover(&mut self) -> Result<(), StoreError> {
        let Health::Failed { cause, error, retry_at, wait } = &mut self.health else { return Ok(()) };
        if Instant::now() < *retry_at {
            return Err(error.clone());
        }
        *retry_at = Instant::now() + *wait;
        *wait = (*wait * 2).min(self.shared.env.options.retry_at_most);
        let cause = cause.clone();
        let outcome = match &cause {
            Cause::Write => self.reopen().or_else(|_| self.roll()),
            Cause::Sync | Cause::Damage(_) => self.roll(),
        };
        if let Err(fault) = outcome {
            let renewed = StoreError::from(fault.into_io());
            if let Health::Failed { error, .. } = &mut self.health {
                *error = renewed.clone();
            }
            return Err(renewed);
        }
        self.health = Health::Good;
        tracing::info!(file = self.meta.number, "log is written again");
        Ok(())
    }

    /// Opens the active file again; fails unless it holds what was acknowledged and nothing else.
    fn reopen(&mut self) -> Result<(), Fault> {
        let contents = self.active.reopen_writer(&self.shared.env, false)?;
        let same = agrees(&self.shared.index(), &contents);
        if !same {
            self.active.close();
            return Err(Fault::Io(io::Error::other("the file holds what was not acknowledged")));
        }
        Ok(())
    }

    /// Begins the next file if what comes would let this one grow over the limit. redb doubles a file that is full.
    fn make_room(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let limit = self.shared.env.options.file_bytes;
        let file_bytes = self.shared.env.volume.len(&file_name(self.meta.number)).unwrap_or(0);
        let coming: u64 = changes.iter().map(Change::file_bytes).sum::<u64>() + self.shared.pending().file_bytes();
        let fills = self.used_bytes + coming > file_bytes / 10 * 8;
        let full = file_bytes > limit || (2 * file_bytes > limit && fills);
        // A file that begins with much shall hold as much again, or all writing would be beginnings.
        let full = full && self.used_bytes + coming >= 2 * self.begun_bytes;
        if coming > 0 && full && self.shared.index().needs_file(self.meta.number) {
            return self.roll().map_err(|fault| self.failed(fault));
        }
        Ok(())
    }

    /// Begins the next file with all groups as the index has them, and closes the one before.
    fn roll(&mut self) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let meta = FileMeta {
            number: self.next_number,
            started_at_ms: (shared.env.options.clock)(),
            groups: shared.index().groups.len() as u64,
            round: self.meta.round,
        };
        let (file, dropped) = begin_file(&shared, meta, Some(&self.active))?;
        let before = std::mem::replace(&mut self.active, Arc::new(file));
        shared.files_mut().insert(meta.number, Arc::clone(&self.active));
        let mut index = shared.index_mut();
        index.carry();
        for group in dropped {
            index.groups.entry(group).and_modify(|entry| entry.state.snapshot_at = gaung_proto::Seq::ZERO);
        }
        drop(index);
        before.close();
        self.meta = meta;
        self.next_number = meta.number + 1;
        self.used_bytes = shared.env.volume.len(&file_name(meta.number)).unwrap_or(0);
        (self.begun_bytes, self.dropped) = (self.used_bytes, false);
        if let Health::Failed { cause: Cause::Damage(why), .. } = &self.health {
            let why = why.clone();
            self.rename_damaged(&before, why);
        }
        self.drop_unused();
        Ok(())
    }

    fn upkeep(&mut self, upkeep: Upkeep) {
        match upkeep {
            Upkeep::Retain { keep, now_ms, answer } => answer.settle_with(self.retain(keep, now_ms)),
            Upkeep::Checkpoint { answer } => answer.settle_with(self.checkpoint().map_err(WriteError::from)),
            Upkeep::EndOutdated { answer } => answer.settle_with(self.end_now().map_err(WriteError::from)),
            Upkeep::Replace { file, answer } => answer.settle_with(self.replace(file)),
            Upkeep::SetAside { file, why } => self.set_aside(file, why),
            Upkeep::Reopen { file, error } => self.reopen_after_read(file, &error),
        }
    }

    fn retain(&mut self, keep: Retention, now_ms: u64) -> Result<(), WriteError> {
        self.checkpoint()?;
        if let Some(max_age_ms) = keep.max_age_ms {
            // One that was begun when the clock was ahead tells no time, and is ended.
            let clock_ms = (self.shared.env.options.clock)();
            let aged = clock_ms.abs_diff(self.meta.started_at_ms) > max_age_ms / 8;
            if aged && self.shared.index().needs_file(self.meta.number) {
                self.recover()?;
                self.roll().map_err(|fault| self.failed(fault))?;
            }
        }
        let files: Vec<_> = self.shared.files().values().cloned().collect();
        let lens: Vec<_> =
            files.iter().map(|f| self.shared.env.volume.len(&file_name(f.number)).unwrap_or(0)).collect();
        let mut total: u64 = lens.iter().sum();
        for (index, (pair, len)) in files.windows(2).zip(lens).enumerate() {
            // All that it has was logged before the next file was begun; one begun in the future says nothing.
            let ended = files[index + 1..].iter().map(|file| file.started_at_ms).find(|&at| at <= now_ms);
            let old = keep.max_age_ms.zip(ended).is_some_and(|(age, ended)| now_ms - ended > age);
            if !old && keep.max_bytes.is_none_or(|most| total <= most) {
                break;
            }
            self.remove(&pair[0]).map_err(StoreError::from)?;
            total -= len;
        }
        Ok(())
    }

    /// Ends the active file if it is a day old and holds what is no longer kept, so that this leaves the disk some day.
    fn end_outdated(&mut self) {
        let age_ms = (self.shared.env.options.clock)().abs_diff(self.meta.started_at_ms);
        let drops = self.dropped || self.shared.index().drops_within_active();
        if age_ms >= ACTIVE_KEPT_MS
            && drops
            && let Err(fault) = self.roll()
        {
            self.failed(fault);
        }
    }

    /// Ends the active file if it holds what is no longer kept.
    fn end_now(&mut self) -> Result<(), StoreError> {
        let index = self.shared.index();
        let outdated = self.dropped || (index.drops_within_active() && index.needs_file(self.meta.number));
        drop(index);
        if outdated {
            self.recover()?;
            self.roll().map_err(|fault| self.failed(fault))?;
        }
        Ok(())
    }

    /// Puts a closed file that was made again in its place. Who reads the former one looks again.
    fn replace(&self, number: u64) -> Result<(), WriteError> {
        let volume = &self.shared.env.volume;
        let before = self.shared.files().get(&number).filter(|_| number != self.meta.number).cloned();
        // It was removed, or set aside, meanwhile.
        let Some(before) = before else { return Err(WriteError::NoSuchLog) };
        volume.rename(&unfinished_name(number), &file_name(number)).map_err(StoreError::from)?;
        volume.sync_names().map_err(StoreError::from)?;
        let after = Arc::new(LogFile::closed_at(number, before.started_at_ms));
        self.shared.files_mut().insert(number, after);
        before.set_gone();
        before.close();
        Ok(())
    }

    /// Removes every closed file in which no group has a message any more.
    fn drop_unused(&self) {
        let unused: Vec<_> = {
            let index = self.shared.index();
            let files = self.shared.files();
            files.values().filter(|f| f.number != self.meta.number && !index.needs_file(f.number)).cloned().collect()
        };
        for file in unused {
            if let Err(error) = self.remove(&file) {
                tracing::warn!(file = file.number, %error, "a log file that nobody needs cannot be removed");
            }
        }
    }

    fn remove(&self, file: &LogFile) -> io::Result<()> {
        self.forget(file);
        self.shared.env.volume.remove(&file_name(file.number))?;
        self.shared.env.volume.sync_names()
    }

    fn forget(&self, file: &LogFile) {
        file.set_gone();
        self.shared.index_mut().remove_file(file.number);
        self.shared.files_mut().remove(&file.number);
        file.close();
    }

    fn set_aside(&mut self, number: u64, why: String) {
        let Some(file) = self.shared.files().get(&number).cloned() else { return };
        if number != self.meta.number {
            self.rename_damaged(&file, why);
            return;
        }
        self.failed(Fault::Damaged(why));
        self.recover_now();
    }

    /// After one failed read the store reads and writes nothing more of a file until it is opened again.
    fn reopen_after_read(&mut self, number: u64, error: &StoreError) {
        if number == self.meta.number && matches!(self.health, Health::Good) {
            self.failed(Fault::Io(io::Error::new(error.kind(), error.to_string())));
            self.recover_now();
        }
    }

    /// The groups go on at once; if that cannot be, the next transaction tries again.
    fn recover_now(&mut self) {
        if let Err(error) = self.recover() {
            tracing::warn!(%error, "the log cannot go on yet");
        }
    }

    fn rename_damaged(&self, file: &LogFile, why: String) {
        self.forget(file);
        let volume = &self.shared.env.volume;
        let renamed =
            volume.rename(&file_name(file.number), &damaged_name(file.number)).and_then(|()| volume.sync_names());
        if let Err(error) = renamed {
            tracing::warn!(file = file.number, %error, "a damaged log file cannot be renamed");
        }
        self.shared.damages.add(Damage { file: damaged_name(file.number), why });
    }
}

/// A file with dropped messages is written for so long: shorter, and many small files would pile up that other groups
/// share.
const ACTIVE_KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Snapshots found damaged before the rest is given up.
const MOST_TRIES: usize = 32;

/// Makes a file that holds all groups of the index, with the snapshots found in `before`; also returns the groups whose
/// snapshot was found damaged and left out.
pub(crate) fn begin_file(
    shared: &Shared,
    meta: FileMeta,
    before: Option<&LogFile>,
) -> Result<(LogFile, Vec<GroupId>), Fault> {
    let index = shared.index();
    let mut dropped = Vec::new();
    let snapshot_of = |group: GroupId, state: &GroupState| {
        // Of a file that cannot be read at all, not every group need find out for itself.
        let Some(before) = before.filter(|_| dropped.len() < MOST_TRIES) else {
            dropped.push(group);
            return Ok(None);
        };
        match before.read(&shared.env, |txn| LogFile::snapshot(txn, group, state.log, state.snapshot_at)) {
            Ok(Some(found)) if found.0 == state.snapshot_at => Ok(Some(found)),
            Ok(_) | Err(Fault::Damaged(_)) => {
                dropped.push(group);
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    };
    let file = LogFile::create(&shared.env, meta, |txn| Work::new(txn, &index)?.begin(snapshot_of))?;
    Ok((file, dropped))
}

fn agrees(index: &Index, contents: &Contents) -> bool {
    let same = |(group, state): (&GroupId, &GroupState)| index.groups.get(group).is_some_and(|e| e.state == *state);
    index.groups.len() == contents.groups.len() && contents.groups.iter().all(same)
}

/// Lets nobody wait for a committer that is gone, for whatever reason.
struct CloseOnExit(Arc<Shared>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.queue.close();
        let closed = StoreError::closed();
        while let Some(jobs) = self.0.queue.take(usize::MAX) {
            jobs.into_iter().for_each(|job| job.fail(&closed));
        }
    }
}
