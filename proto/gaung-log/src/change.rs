//! What the committer is asked to do, and how each request changes the active file within a transaction.

mod purge;
mod superseded;

use std::{collections::HashMap, fmt};

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, LogId, Seq};
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};

use crate::{
    fault::Fault,
    index::{Finished, Index, Update},
    journal::{Item, item_len},
    layout::{
        CONFIGS, FORMAT, FileMeta, GROUPS, GroupState, META, META_FILE, META_FORMAT, RUNS, Round, SNAPSHOTS, TRIMS,
        Trim, page_bytes, protect, seq_key, unprotect,
    },
    log::{Append, AppendError, Done, OpenError, Opened, Retention, Snapshot, StoreError, WriteError},
    pending::{Pending, Staged},
    record::RECORD_HEADER,
    retain::Kept,
};

/// One request to the committer.
#[derive(Debug)]
pub(crate) enum Job {
    /// Shares a transaction with its neighbours.
    Change(Change),
    /// Done between transactions.
    Upkeep(Upkeep),
}

/// A change of the active file.
pub(crate) enum Change {
    Append { appends: Vec<Append>, answer: Answer<Result<Seq, AppendError>> },
    Open { group: GroupId, log: LogId, make_new: bool, answer: Answer<Result<Opened, OpenError>> },
    Config { group: GroupId, config: Bytes, answer: Answer<Result<(), WriteError>> },
    Reset { group: GroupId, log: LogId, answer: Answer<Result<Opened, WriteError>> },
    Delete { group: GroupId, now_ms: u64, answer: Answer<Result<(), WriteError>> },
    Purge { now_ms: Option<u64>, answer: Answer<Result<Vec<GroupId>, WriteError>> },
    Trim { group: GroupId, log: LogId, kept: Kept, answer: Answer<Result<(), WriteError>> },
}

/// A change of the row of files.
pub(crate) enum Upkeep {
    Retain {
        keep: Retention,
        now_ms: u64,
        answer: Answer<Result<(), WriteError>>,
    },
    SetAside {
        file: u64,
        why: String,
    },
    /// What is in the journal alone goes into the active file.
    Checkpoint {
        answer: Answer<Result<(), WriteError>>,
    },
    /// The newest file ends if it holds what was dropped.
    EndOutdated {
        answer: Answer<Result<(), WriteError>>,
    },
    /// A closed file was made again without what nobody needs, under its unfinished name, and takes its own place.
    Replace {
        file: u64,
        answer: Answer<Result<(), WriteError>>,
    },
    /// A read of the file failed; if it is the active one, it must be opened again.
    Reopen {
        file: u64,
        error: StoreError,
    },
}

/// Where an outcome goes, and the outcome while the commit is pending.
pub(crate) struct Answer<T> {
    to: Box<dyn FnOnce(T) + Send>,
    outcome: Option<T>,
}

impl<T, E: From<StoreError>> Answer<Result<T, E>> {
    pub(crate) fn new(to: impl FnOnce(Result<T, E>) + Send + 'static) -> Self {
        Self { to: Box::new(to), outcome: None }
    }

    /// Keeps the outcome until the commit is done.
    pub(crate) fn keep(&mut self, outcome: Result<T, E>) {
        self.outcome = Some(outcome);
    }

    /// Tells the outcome. A refusal stands whether or not the commit succeeded.
    pub(crate) fn settle(self, failure: Option<&StoreError>) {
        let outcome = match (self.outcome, failure) {
            (Some(Err(refused)), _) => Err(refused),
            (_, Some(failure)) => Err(E::from(failure.clone())),
            (Some(Ok(done)), None) => Ok(done),
            (None, None) => Err(E::from(StoreError::closed())),
        };
        (self.to)(outcome);
    }

    pub(crate) fn settle_with(mut self, outcome: Result<T, E>) {
        self.outcome = Some(outcome);
        self.settle(None);
    }
}

impl Job {
    pub(crate) fn append(appends: Vec<Append>, done: Done) -> Self {
        Self::Change(Change::Append { appends, answer: Answer::new(done) })
    }

    /// What it counts for in the queue.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Change(Change::Append { appends, .. }) => 64 + appends.iter().map(append_bytes).sum::<usize>(),
            Self::Change(Change::Config { config, .. }) => 64 + config.len(),
            Self::Change(_) | Self::Upkeep(_) => 64,
        }
    }

    /// Tells whoever asked that it was not done.
    pub(crate) fn fail(self, failure: &StoreError) {
        match self {
            Self::Change(change) => change.settle(Some(failure)),
            Self::Upkeep(
                Upkeep::Retain { answer, .. }
                | Upkeep::Checkpoint { answer }
                | Upkeep::EndOutdated { answer }
                | Upkeep::Replace { answer, .. },
            ) => answer.settle(Some(failure)),
            Self::Upkeep(Upkeep::SetAside { .. } | Upkeep::Reopen { .. }) => {}
        }
    }

    /// Tells an append that too much is waiting.
    pub(crate) fn refuse_full(self) {
        if let Self::Change(Change::Append { answer, .. }) = self {
            answer.settle_with(Err(AppendError::Full));
        }
    }
}

fn append_bytes(append: &Append) -> usize {
    256 + append.run.as_bytes().len() + append.snapshot.as_ref().map_or(0, Bytes::len)
}

impl Change {
    /// About how many bytes it adds to the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        match self {
            Self::Append { appends, .. } => appends.iter().map(|append| page_bytes(append_bytes(append))).sum(),
            Self::Open { .. } | Self::Reset { .. } | Self::Delete { .. } | Self::Purge { .. } | Self::Trim { .. } => 0,
            Self::Config { config, .. } => page_bytes(config.len()),
        }
    }

    /// Bytes in the journal; `None` if it does not go there.
    pub(crate) fn journal_bytes(&self) -> Option<usize> {
        let Self::Append { appends, .. } = self else { return None };
        let bytes = |append: &Append| item_len(RECORD_HEADER + append.run.as_bytes().len(), append.snapshot.as_ref());
        Some(appends.iter().map(bytes).sum())
    }

    /// Takes part in an entry of the journal, and keeps the outcome until [`Self::settle`].
    pub(crate) fn stage(&mut self, staged: &mut Staged, index: &Index, pending: &Pending) {
        if let Self::Append { appends, answer } = self {
            answer.outcome = Some(staged.append(index, pending, appends));
        }
    }

    pub(crate) fn runs(&self) -> usize {
        match self {
            Self::Append { appends, .. } => appends.len(),
            Self::Open { .. }
            | Self::Reset { .. }
            | Self::Delete { .. }
            | Self::Purge { .. }
            | Self::Trim { .. }
            | Self::Config { .. } => 0,
        }
    }

    /// Changes the tables, and keeps the outcome until [`Self::settle`]. After a fault nothing of the transaction holds.
    pub(crate) fn apply(&mut self, work: &mut Work<'_>) -> Result<(), Fault> {
        match self {
            Self::Append { appends, answer } => answer.outcome = Some(work.append(appends)?),
            Self::Open { group, log, make_new, answer } => answer.outcome = Some(work.open(*group, *log, *make_new)?),
            Self::Config { group, config, answer } => answer.outcome = Some(work.config(*group, config)?),
            Self::Reset { group, log, answer } => answer.outcome = Some(work.reset(*group, *log)?),
            Self::Delete { group, now_ms, answer } => answer.outcome = Some(work.delete(*group, *now_ms)?),
            Self::Trim { group, log, kept, answer } => answer.outcome = Some(work.trim(*group, *log, *kept)?),
            Self::Purge { now_ms, answer } => answer.outcome = Some(Ok(work.purge(*now_ms)?)),
        }
        Ok(())
    }

    /// Tells the outcome: as kept, or `failure` if the commit failed.
    pub(crate) fn settle(self, failure: Option<&StoreError>) {
        match self {
            Self::Append { answer, .. } => answer.settle(failure),
            Self::Open { answer, .. } => answer.settle(failure),
            Self::Reset { answer, .. } => answer.settle(failure),
            Self::Config { answer, .. } | Self::Delete { answer, .. } | Self::Trim { answer, .. } => {
                answer.settle(failure);
            }
            Self::Purge { answer, .. } => answer.settle(failure),
        }
    }
}

/// The tables of one transaction, and what it has changed so far.
pub(crate) struct Work<'t> {
    txn: &'t WriteTransaction,
    groups: Table<'t, &'static [u8; 16], &'static [u8]>,
    configs: Table<'t, &'static [u8; 16], &'static [u8]>,
    snapshots: Table<'t, &'static [u8; 32], &'static [u8]>,
    runs: Table<'t, &'static [u8; 32], &'static [u8]>,
    /// As of the last commit.
    index: &'t Index,
    updates: HashMap<GroupId, Update>,
    /// The table of replaced logs has changed, of which no update tells.
    redated: bool,
    dropped: bool,
}

impl<'t> Work<'t> {
    pub(crate) fn new(txn: &'t WriteTransaction, index: &'t Index) -> Result<Self, Fault> {
        Ok(Self {
            txn,
            groups: txn.open_table(GROUPS)?,
            configs: txn.open_table(CONFIGS)?,
            snapshots: txn.open_table(SNAPSHOTS)?,
            runs: txn.open_table(RUNS)?,
            index,
            updates: HashMap::new(),
            redated: false,
            dropped: false,
        })
    }

    /// Writes a file's first content: all groups as they stand.
    pub(crate) fn begin(
        &mut self,
        mut snapshot_of: impl FnMut(GroupId, &GroupState) -> Result<Option<(Seq, Bytes)>, Fault>,
    ) -> Result<(), Fault> {
        for (group, entry) in &self.index.groups {
            let mut state = entry.state.carried();
            let snapshot = if state.snapshot_at == Seq::ZERO { None } else { snapshot_of(*group, &state)? };
            state.snapshot_at = snapshot.as_ref().map_or(Seq::ZERO, |(at, _)| *at);
            if let Some((at, bytes)) = snapshot {
                let key = seq_key(*group, state.log, at);
                self.snapshots.insert(&key, protect(&key, &bytes).as_slice())?;
            }
            if !entry.config.is_empty() {
                self.configs.insert(&group.0, protect(&group.0, &entry.config).as_slice())?;
            }
            if let Some(trim) = entry.trimmed() {
                self.txn.open_table(TRIMS)?.insert(&group.0, trim.encode(*group).as_slice())?;
            }
            self.groups.insert(&group.0, state.encode(*group).as_slice())?;
        }
        Ok(())
    }

    /// Ends the work, with what the file says of itself. `round`: that begins with it.
    pub(crate) fn finish(self, meta: FileMeta, round: Round) -> Result<Finished, Fault> {
        // Each table that is written costs a commit a page.
        let new = FileMeta { groups: self.groups.len()?, round, ..meta };
        if new != meta {
            let mut table = self.txn.open_table(META)?;
            table.insert(META_FILE, new.encode().as_slice())?;
            if new.round != meta.round {
                // A program that knows nothing of the journal must not go on from here.
                table.insert(META_FORMAT, FORMAT.to_be_bytes().as_slice())?;
            }
        }
        let is_dirty = !self.updates.is_empty() || self.redated || self.dropped || new != meta;
        Ok(Finished { updates: self.updates, meta: new, is_dirty, dropped: self.dropped })
    }

    /// Puts what the journal has into the file.
    pub(crate) fn checkpoint(&mut self, pending: &Pending) -> Result<(), Fault> {
        for (group, held) in pending.groups() {
            let state = self.state(group)?.filter(|state| state.log == held.state.log);
            let mut state = state.ok_or_else(|| Fault::damaged("a group of the journal is not stored"))?;
            let mut bytes = 0;
            for Item { record, snapshot } in &held.items {
                let key = seq_key(group, state.log, record.run().first_seq());
                record.write(self.runs.insert_reserve(&key, record.len())?.as_mut());
                state.head = record.run().last_seq();
                bytes += record.run().as_bytes().len() as u64;
                if let Some(snapshot) = snapshot {
                    self.put_snapshot(group, &mut state, snapshot)?;
                }
            }
            state.last_hash = held.state.last_hash;
            self.put(group, state)?.appended_bytes += bytes;
        }
        if pending.tail_lost {
            for group in self.index.groups.keys() {
                if let Some(state) = self.state(*group)? {
                    self.put(*group, GroupState { tail_lost: true, ..state })?;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, appends: &[Append]) -> Result<Result<Seq, AppendError>, Fault> {
        let Some(first) = appends.first() else { return Ok(Err(AppendError::NoSuchLog)) };
        let group = first.run.header().group;
        let Some(mut state) = self.state(group)?.filter(|state| state.deleted_at_ms.is_none()) else {
            return Ok(Err(AppendError::NoSuchLog));
        };
        if let Err(refused) = admit(group, &state, appends) {
            return Ok(Err(refused));
        }
        for Append { run, snapshot } in appends {
            let record = state.follow(run.clone());
            let key = seq_key(group, state.log, run.first_seq());
            record.write(self.runs.insert_reserve(&key, record.len())?.as_mut());
            if let Some(bytes) = snapshot {
                self.put_snapshot(group, &mut state, bytes)?;
            }
        }
        let head = state.head;
        let bytes: usize = appends.iter().map(|append| append.run.as_bytes().len()).sum();
        self.put(group, state)?.appended_bytes += bytes as u64;
        Ok(Ok(head))
    }

    /// The one before stays, for if the commit fails it is still the latest.
    fn put_snapshot(&mut self, group: GroupId, state: &mut GroupState, bytes: &[u8]) -> Result<(), Fault> {
        let durable = self.index.groups.get(&group).filter(|entry| entry.state.log == state.log);
        let durable = durable.map_or(Seq::ZERO, |entry| entry.state.snapshot_at);
        let old = seq_key(group, state.log, Seq::ZERO)..seq_key(group, state.log, durable);
        self.snapshots.retain_in::<&[u8; 32], _>(&old.start..&old.end, |_, _| false)?;
        let key = seq_key(group, state.log, state.head);
        self.snapshots.insert(&key, protect(&key, bytes).as_slice())?;
        state.snapshot_at = state.head;
        Ok(())
    }

    fn open(&mut self, group: GroupId, log: LogId, make_new: bool) -> Result<Result<Opened, OpenError>, Fault> {
        let state = match self.state(group)? {
            Some(state) if state.deleted_at_ms.is_some() => return Ok(Err(OpenError::Deleted)),
            Some(state) if state.log != log => return Ok(Err(OpenError::OtherLog { stored: state.log })),
            Some(state) => GroupState { epoch: Epoch(state.epoch.0 + 1), ..state },
            None if make_new => GroupState::new(log, Epoch(1)),
            None => return Ok(Err(OpenError::NoSuchLog)),
        };
        let opened = self.opened(group, &state)?;
        self.put(group, state)?;
        Ok(Ok(opened))
    }

    fn opened(&self, group: GroupId, state: &GroupState) -> Result<Opened, Fault> {
        let known = self.index.groups.get(&group).filter(|entry| entry.state.log == state.log);
        let oldest = known.filter(|entry| entry.state.head > Seq::ZERO).map(|entry| entry.oldest());
        let snapshot = if state.snapshot_at == Seq::ZERO { None } else { self.snapshot(group, state)? };
        Ok(Opened {
            log: state.log,
            epoch: state.epoch,
            head: state.head,
            oldest: oldest.unwrap_or_else(|| state.base.next()),
            snapshot,
            tail_lost: state.tail_lost,
        })
    }

    fn snapshot(&self, group: GroupId, state: &GroupState) -> Result<Option<Snapshot>, Fault> {
        let key = seq_key(group, state.log, state.snapshot_at);
        let stored = self.snapshots.get(&key)?.ok_or_else(|| Fault::damaged("a snapshot is missing"))?;
        let bytes = unprotect(&key, stored.value()).ok_or_else(|| Fault::damaged("a snapshot's CRC does not hold"))?;
        Ok(Some(Snapshot { at: state.snapshot_at, bytes: Bytes::copy_from_slice(bytes) }))
    }

    fn config(&mut self, group: GroupId, config: &Bytes) -> Result<Result<(), WriteError>, Fault> {
        let Some(state) = self.state(group)?.filter(|state| state.deleted_at_ms.is_none()) else {
            return Ok(Err(WriteError::NoSuchLog));
        };
        self.configs.insert(&group.0, protect(&group.0, config).as_slice())?;
        self.put(group, state)?.config = Some(config.clone());
        Ok(Ok(()))
    }

    fn trim(&mut self, group: GroupId, log: LogId, kept: Kept) -> Result<Result<(), WriteError>, Fault> {
        let state = self.state(group)?.filter(|state| state.log == log && state.deleted_at_ms.is_none());
        let Some(state) = state else { return Ok(Err(WriteError::NoSuchLog)) };
        let trim = Trim { log, first: kept.first };
        self.txn.open_table(TRIMS)?.insert(&group.0, trim.encode(group).as_slice())?;
        self.put(group, state)?.kept = Some(kept);
        Ok(Ok(()))
    }

    fn reset(&mut self, group: GroupId, log: LogId) -> Result<Result<Opened, WriteError>, Fault> {
        let Some(old) = self.state(group)?.filter(|state| state.deleted_at_ms.is_none()) else {
            return Ok(Err(WriteError::NoSuchLog));
        };
        // A reset may be a mistake: the runs stay where they are until a purge, and nothing leads to them any more.
        self.supersede(group, &old)?;
        self.drop_snapshots(group)?;
        self.drop_superseded(superseded::key(group, log))?;
        let state = GroupState::new(log, Epoch(old.epoch.0 + 1));
        let opened = self.opened(group, &state)?;
        self.put(group, state)?;
        Ok(Ok(opened))
    }

    fn delete(&mut self, group: GroupId, now_ms: u64) -> Result<Result<(), WriteError>, Fault> {
        let Some(mut state) = self.state(group)? else { return Ok(Err(WriteError::NoSuchLog)) };
        if state.deleted_at_ms.is_none() {
            state.deleted_at_ms = Some(now_ms);
            self.put(group, state)?;
        }
        Ok(Ok(()))
    }

    /// Removes a group's runs and snapshots from the active file.
    fn drop_messages(&mut self, group: GroupId) -> Result<(), Fault> {
        let all = seq_key(group, LogId(0), Seq::ZERO)..=seq_key(group, LogId(u64::MAX), Seq(u64::MAX));
        self.runs.retain_in::<&[u8; 32], _>(all.start()..=all.end(), |_, _| false)?;
        self.drop_snapshots(group)
    }

    fn drop_snapshots(&mut self, group: GroupId) -> Result<(), Fault> {
        let all = seq_key(group, LogId(0), Seq::ZERO)..=seq_key(group, LogId(u64::MAX), Seq(u64::MAX));
        self.snapshots.retain_in::<&[u8; 32], _>(all.start()..=all.end(), |_, _| false)?;
        Ok(())
    }

    fn state(&self, group: GroupId) -> Result<Option<GroupState>, Fault> {
        let Some(stored) = self.groups.get(&group.0)? else { return Ok(None) };
        let state = GroupState::decode(group, stored.value());
        state.map(Some).ok_or_else(|| Fault::damaged("a group's CRC does not hold"))
    }

    fn put(&mut self, group: GroupId, state: GroupState) -> Result<&mut Update, Fault> {
        self.groups.insert(&group.0, state.encode(group).as_slice())?;
        let update = self.updates.entry(group).or_default();
        update.state = Some(state);
        Ok(update)
    }
}

/// Fencing and order: whether all of `appends` follow `state`.
pub(crate) fn admit(group: GroupId, state: &GroupState, appends: &[Append]) -> Result<(), AppendError> {
    if state.tail_lost {
        return Err(AppendError::TailLost { head: state.head });
    }
    let mut head = state.head;
    for append in appends {
        let header = append.run.header();
        if header.group != group || header.log != state.log || header.epoch != state.epoch {
            return Err(AppendError::Fenced { log: state.log, epoch: state.epoch });
        }
        if header.base_seq != head.next() {
            return Err(AppendError::NotNext { head });
        }
        head = append.run.last_seq();
    }
    Ok(())
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append { .. } => "Append",
            Self::Open { .. } => "Open",
            Self::Config { .. } => "Config",
            Self::Reset { .. } => "Reset",
            Self::Delete { .. } => "Delete",
            Self::Purge { .. } => "Purge",
            Self::Trim { .. } => "Trim",
        })
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retain { .. } => "Retain",
            Self::Checkpoint { .. } => "Checkpoint",
            Self::EndOutdated { .. } => "EndOutdated",
            Self::Replace { .. } => "Replace",
            Self::SetAside { .. } => "SetAside",
            Self::Reopen { .. } => "Reopen",
        })
    }
}
