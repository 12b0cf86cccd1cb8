//! A log in memory, with one byte budget for all groups; nothing survives the process.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, GroupRetention, LogId, Seq, run::Run};

use crate::log::{
    Append, AppendError, DELETED_KEPT_MS, Done, Log, MAX_CONFIG, OpenError, Opened, Position, ReadError, Retention,
    Snapshot, StoredGroup, WriteError,
};
use crate::retain;

/// Keeps the newest runs of all groups; at the budget the oldest runs of the group that has most go.
#[derive(Debug)]
pub struct MemoryLog {
    budget_bytes: usize,
    state: Mutex<State>,
}

impl MemoryLog {
    /// `budget_bytes`: most bytes of runs, at least one run; snapshots and configs come on top.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, state: Mutex::default() }
    }

    /// Bytes of the runs that are kept.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.lock().used_bytes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for MemoryLog {
    fn durable(&self) -> bool {
        false
    }

    fn open_group(&self, group: GroupId, log: LogId, make_new: bool) -> Result<Opened, OpenError> {
        let mut state = self.lock();
        if make_new {
            state.groups.entry(group).or_insert_with(|| Stored::new(log));
        }
        let stored = state.groups.get_mut(&group).ok_or(OpenError::NoSuchLog)?;
        if stored.deleted_at_ms.is_some() {
            return Err(OpenError::Deleted);
        }
        if stored.log != log {
            return Err(OpenError::OtherLog { stored: stored.log });
        }
        stored.epoch = Epoch(stored.epoch.0 + 1);
        Ok(stored.opened())
    }

    fn open_groups(&self, groups: &[(GroupId, LogId, bool)]) -> Vec<Result<Opened, OpenError>> {
        groups.iter().map(|&(group, log, make_new)| self.open_group(group, log, make_new)).collect()
    }

    fn append(&self, appends: Vec<Append>, done: Done) {
        let outcome = self.lock().append(appends, self.budget_bytes);
        done(outcome);
    }

    fn read(&self, group: GroupId, log: LogId, from: Seq, max_bytes: usize) -> Result<Vec<Run>, ReadError> {
        let state = self.lock();
        let stored = state.groups.get(&group).filter(|stored| stored.log == log).ok_or(ReadError::NoSuchLog)?;
        let from = from.max(Seq::FIRST);
        if from > stored.head {
            return Ok(Vec::new());
        }
        if from < stored.oldest() {
            return Err(ReadError::Trimmed { oldest: stored.oldest() });
        }
        let start = stored.runs.partition_point(|run| run.last_seq() < from);
        let mut left = max_bytes;
        let mut runs = Vec::new();
        for run in stored.runs.range(start..) {
            if !runs.is_empty() && run.as_bytes().len() > left {
                break;
            }
            left = left.saturating_sub(run.as_bytes().len());
            runs.push(run.clone());
        }
        Ok(runs)
    }

    fn position(&self, group: GroupId) -> Option<Position> {
        self.lock().groups.get(&group).map(Stored::position)
    }

    fn groups(&self) -> Vec<StoredGroup> {
        let state = self.lock();
        let stored = |(group, stored): (&GroupId, &Stored)| StoredGroup {
            group: *group,
            position: stored.position(),
            config: stored.config.clone(),
            deleted_at_ms: stored.deleted_at_ms,
        };
        state.groups.iter().map(stored).collect()
    }

    fn put_config(&self, group: GroupId, config: Bytes) -> Result<(), WriteError> {
        if config.len() > MAX_CONFIG {
            return Err(WriteError::TooLarge { len: config.len() });
        }
        self.lock().live(group)?.config = config;
        Ok(())
    }

    fn reset(&self, group: GroupId, log: LogId) -> Result<Opened, WriteError> {
        let mut state = self.lock();
        let old = state.live(group)?;
        let epoch = Epoch(old.epoch.0 + 1);
        let fresh = Stored { epoch, config: old.config.clone(), ..Stored::new(log) };
        let opened = fresh.opened();
        state.drop_runs(group);
        state.groups.insert(group, fresh);
        Ok(opened)
    }

    fn delete_group(&self, group: GroupId, now_ms: u64) -> Result<(), WriteError> {
        let mut state = self.lock();
        let stored = state.groups.get_mut(&group).ok_or(WriteError::NoSuchLog)?;
        stored.deleted_at_ms.get_or_insert(now_ms);
        Ok(())
    }

    fn purge(&self, now_ms: u64) -> Result<Vec<GroupId>, WriteError> {
        let mut state = self.lock();
        // Deleted when the clock was ahead: kept from now on.
        for stored in state.groups.values_mut() {
            stored.deleted_at_ms = stored.deleted_at_ms.map(|at| at.min(now_ms));
        }
        let due = |stored: &Stored| stored.deleted_at_ms.is_some_and(|at| now_ms.saturating_sub(at) >= DELETED_KEPT_MS);
        let gone: Vec<_> = state.groups.iter().filter(|(_, stored)| due(stored)).map(|(group, _)| *group).collect();
        for group in &gone {
            state.drop_runs(*group);
            state.groups.remove(group);
        }
        Ok(gone)
    }

    /// The age of runs is not kept, so that only `max_bytes` counts.
    fn retain(&self, keep: Retention, _now_ms: u64) -> Result<(), WriteError> {
        if let Some(max_bytes) = keep.max_bytes {
            self.lock().trim(usize::try_from(max_bytes).unwrap_or(usize::MAX), None);
        }
        Ok(())
    }

    fn retain_group(&self, group: GroupId, keep: GroupRetention, now_ms: u64) -> Result<(), WriteError> {
        let position = self.position(group).ok_or(WriteError::NoSuchLog)?;
        let bytes = keep.max_bytes.map_or(Ok(0), |_| retain::kept_bytes(self, group, position))?;
        let kept = retain::first_kept(self, group, position, keep, bytes, now_ms)?;
        self.lock().trim_group(group, position.log, kept.first);
        Ok(())
    }
}

#[derive(Debug, Default)]
struct State {
    groups: HashMap<GroupId, Stored>,
    /// Groups that have runs, by the bytes of these.
    sizes: BTreeSet<(usize, GroupId)>,
    used_bytes: usize,
}

impl State {
    fn live(&mut self, group: GroupId) -> Result<&mut Stored, WriteError> {
        self.groups.get_mut(&group).filter(|stored| stored.deleted_at_ms.is_none()).ok_or(WriteError::NoSuchLog)
    }

    fn append(&mut self, appends: Vec<Append>, budget_bytes: usize) -> Result<Seq, AppendError> {
        let group = appends.first().ok_or(AppendError::NoSuchLog)?.run.header().group;
        let stored = self.groups.get_mut(&group).filter(|stored| stored.deleted_at_ms.is_none());
        let stored = stored.ok_or(AppendError::NoSuchLog)?;
        let mut head = stored.head;
        for append in &appends {
            let header = append.run.header();
            if header.group != group || header.log != stored.log || header.epoch != stored.epoch {
                return Err(AppendError::Fenced { log: stored.log, epoch: stored.epoch });
            }
            if header.base_seq != head.next() {
                return Err(AppendError::NotNext { head });
            }
            head = append.run.last_seq();
        }
        let mut added = 0;
        for Append { run, snapshot } in appends {
            if let Some(bytes) = snapshot {
                stored.snapshot = Some(Snapshot { at: run.last_seq(), bytes });
            }
            added += run.as_bytes().len();
            stored.runs.push_back(run);
        }
        stored.head = head;
        let bytes = stored.bytes + added;
        self.resize(group, bytes);
        self.trim(budget_bytes, Some(group));
        Ok(head)
    }

    /// The group's runs have `bytes` bytes now.
    fn resize(&mut self, group: GroupId, bytes: usize) {
        let Some(stored) = self.groups.get_mut(&group) else { return };
        let before = std::mem::replace(&mut stored.bytes, bytes);
        self.sizes.remove(&(before, group));
        if bytes > 0 {
            self.sizes.insert((bytes, group));
        }
        self.used_bytes = self.used_bytes + bytes - before;
    }

    /// Drops the oldest runs of whoever has most, but not the newest of `newest`.
    fn trim(&mut self, budget_bytes: usize, newest: Option<GroupId>) {
        while self.used_bytes > budget_bytes {
            let may_give = |group: &GroupId| newest != Some(*group) || self.groups[group].runs.len() > 1;
            let Some(&(bytes, group)) = self.sizes.iter().rev().find(|(_, group)| may_give(group)) else { return };
            let run = self.groups.get_mut(&group).and_then(|stored| stored.runs.pop_front());
            self.resize(group, bytes - run.map_or(bytes, |run| run.as_bytes().len()));
        }
    }

    fn trim_group(&mut self, group: GroupId, log: LogId, first: Seq) {
        let Some(stored) = self.groups.get_mut(&group).filter(|stored| stored.log == log) else { return };
        stored.first_kept = stored.first_kept.max(first);
        let mut bytes = stored.bytes;
        while let Some(run) = stored.runs.front().filter(|run| run.last_seq() < first) {
            bytes -= run.as_bytes().len();
            stored.runs.pop_front();
        }
        self.resize(group, bytes);
    }

    fn drop_runs(&mut self, group: GroupId) {
        let Some(stored) = self.groups.get_mut(&group) else { return };
        stored.runs.clear();
        self.resize(group, 0);
    }
}

#[derive(Debug)]
struct Stored {
    log: LogId,
    epoch: Epoch,
    head: Seq,
    runs: VecDeque<Run>,
    /// Of the runs.
    bytes: usize,
    /// Messages before it are no longer kept.
    first_kept: Seq,
    snapshot: Option<Snapshot>,
    config: Bytes,
    deleted_at_ms: Option<u64>,
}

impl Stored {
    fn new(log: LogId) -> Self {
        Self {
            log,
            epoch: Epoch(0),
            head: Seq::ZERO,
            runs: VecDeque::new(),
            bytes: 0,
            first_kept: Seq::FIRST,
            snapshot: None,
            config: Bytes::new(),
            deleted_at_ms: None,
        }
    }

    fn oldest(&self) -> Seq {
        self.runs.front().map_or(self.head.next(), |run| run.first_seq().max(self.first_kept))
    }

    fn position(&self) -> Position {
        Position { log: self.log, epoch: self.epoch, head: self.head, oldest: self.oldest() }
    }

    fn opened(&self) -> Opened {
        Opened {
            log: self.log,
            epoch: self.epoch,
            head: self.head,
            oldest: self.oldest(),
            snapshot: self.snapshot.clone(),
            tail_lost: false,
        }
    }
}
