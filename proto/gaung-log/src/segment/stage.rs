//! How each request becomes frames of the next commit.

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, LogId, Seq};

use super::{
    contents::{RUN_OVERHEAD, SUPERSEDED_GONE, encode_group},
    file::SegmentFile,
    frame::{Commit, Kind, Place, Spot},
    known::{Committed, Known, Superseded},
};
use crate::{
    change::{Change, admit},
    fault::Fault,
    index::Update,
    layout::GroupState,
    log::{Append, AppendError, DELETED_KEPT_MS, OpenError, Opened, Snapshot, WriteError},
    options::Env,
    retain::Kept,
};

/// A commit that is being built, and what will be known once it is durable.
pub(crate) struct Stage<'a> {
    env: &'a Env,
    active: &'a SegmentFile,
    known: &'a Known,
    pub(crate) commit: Commit,
    done: Committed,
}

/// About how many bytes a request adds to the segment.
pub(crate) fn bytes_of(change: &Change) -> u64 {
    let of_append = |append: &Append| {
        RUN_OVERHEAD + append.run.as_bytes().len() + append.snapshot.as_ref().map_or(0, |bytes| 72 + bytes.len())
    };
    match change {
        Change::Append { appends, .. } => appends.iter().map(of_append).sum::<usize>() as u64,
        Change::Config { config, .. } => 256 + config.len() as u64,
        Change::Open { .. }
        | Change::Reset { .. }
        | Change::Delete { .. }
        | Change::Purge { .. }
        | Change::Trim { .. } => 256,
    }
}

impl<'a> Stage<'a> {
    pub(crate) fn new(env: &'a Env, active: &'a SegmentFile, known: &'a Known, commit: Commit) -> Self {
        Self { env, active, known, commit, done: Committed::default() }
    }

    pub(crate) fn finish(self) -> (Commit, Committed) {
        (self.commit, self.done)
    }

    /// Adds what a request changes, and keeps its outcome with it. After a fault nothing of the commit may be used.
    pub(crate) fn apply(&mut self, change: &mut Change) -> Result<(), Fault> {
        match change {
            Change::Append { appends, answer } => answer.keep(self.append(appends)),
            Change::Open { group, log, make_new, answer } => answer.keep(self.open(*group, *log, *make_new)?),
            Change::Config { group, config, answer } => answer.keep(self.config(*group, config)),
            Change::Reset { group, log, answer } => answer.keep(self.reset(*group, *log)?),
            Change::Delete { group, now_ms, answer } => answer.keep(self.delete(*group, *now_ms)),
            Change::Trim { group, log, kept, answer } => answer.keep(self.trim(*group, *log, *kept)),
            Change::Purge { now_ms, answer } => answer.keep(Ok(self.purge(*now_ms))),
        }
        Ok(())
    }

    fn append(&mut self, appends: &[Append]) -> Result<Seq, AppendError> {
        let first = appends.first().ok_or(AppendError::NoSuchLog)?;
        let group = first.run.header().group;
        let state = self.state(group).filter(|state| state.deleted_at_ms.is_none());
        let mut state = state.ok_or(AppendError::NoSuchLog)?;
        admit(group, &state, appends)?;
        for Append { run, snapshot } in appends {
            let first = run.first_seq();
            let record = state.follow(run.clone());
            let spot = self.commit.push(Kind::Run, record.len(), |out| record.write(out));
            self.done.places.push((group, state.log, Place { first, spot }));
            if let Some(bytes) = snapshot {
                state.snapshot_at = state.head;
                let spot = push_snapshot(&mut self.commit, group, &state, bytes);
                self.done.snapshots.insert(group, Some(spot));
            }
        }
        let (head, bytes) = (state.head, appends.iter().map(|append| append.run.as_bytes().len() as u64).sum::<u64>());
        let update = self.done.updates.entry(group).or_default();
        update.state = Some(state);
        update.appended_bytes += bytes;
        Ok(head)
    }

    fn open(&mut self, group: GroupId, log: LogId, make_new: bool) -> Result<Result<Opened, OpenError>, Fault> {
        let state = match self.state(group) {
            Some(state) if state.deleted_at_ms.is_some() => return Ok(Err(OpenError::Deleted)),
            Some(state) if state.log != log => return Ok(Err(OpenError::OtherLog { stored: state.log })),
            Some(state) => GroupState { epoch: Epoch(state.epoch.0 + 1), ..state },
            None if make_new => GroupState::new(log, Epoch(1)),
            None => return Ok(Err(OpenError::NoSuchLog)),
        };
        let opened = self.opened(group, &state)?;
        self.put(group, state);
        Ok(Ok(opened))
    }

    fn opened(&self, group: GroupId, state: &GroupState) -> Result<Opened, Fault> {
        let known = self.known.index.groups.get(&group).filter(|entry| entry.state.log == state.log);
        let oldest = known.filter(|entry| entry.state.head > Seq::ZERO).map(|entry| entry.oldest());
        let snapshot = if state.snapshot_at == Seq::ZERO { None } else { Some(self.snapshot(group, state)?) };
        Ok(Opened {
            log: state.log,
            epoch: state.epoch,
            head: state.head,
            oldest: oldest.unwrap_or_else(|| state.base.next()),
            snapshot,
            tail_lost: state.tail_lost,
        })
    }

    fn snapshot(&self, group: GroupId, state: &GroupState) -> Result<Snapshot, Fault> {
        let bytes = match self.done.snapshots.get(&group).copied().flatten() {
            Some(spot) => self.commit.body(spot).map(Bytes::copy_from_slice),
            None => {
                let spot = self.known.snapshots.get(&group).copied();
                spot.map(|spot| self.active.body(self.env, spot, Kind::Snapshot)).transpose()?
            }
        };
        let bytes = bytes.and_then(|body| snapshot_bytes(&body, group, state));
        let bytes = bytes.ok_or_else(|| Fault::damaged("a snapshot is missing"))?;
        Ok(Snapshot { at: state.snapshot_at, bytes })
    }

    fn config(&mut self, group: GroupId, config: &Bytes) -> Result<(), WriteError> {
        let state = self.live(group)?;
        self.commit.push_parts(Kind::Config, &[group.as_bytes(), config]);
        self.update(group, state).config = Some(config.clone());
        Ok(())
    }

    fn trim(&mut self, group: GroupId, log: LogId, kept: Kept) -> Result<(), WriteError> {
        let state = self.live(group)?;
        if state.log != log {
            return Err(WriteError::NoSuchLog);
        }
        self.update(group, state.clone()).kept = Some(kept);
        self.put(group, state);
        Ok(())
    }

    fn reset(&mut self, group: GroupId, log: LogId) -> Result<Result<Opened, WriteError>, Fault> {
        let old = match self.live(group) {
            Ok(old) => old,
            Err(refused) => return Ok(Err(refused)),
        };
        // A reset may be a mistake: the runs stay where they are until a purge, and nothing leads to them any more.
        if old.head > Seq::ZERO {
            self.supersede(group, old.log, 0);
        }
        if self.superseded().contains_key(&(group, log)) {
            self.supersede(group, log, SUPERSEDED_GONE);
        }
        let state = GroupState::new(log, Epoch(old.epoch.0 + 1));
        self.done.snapshots.insert(group, None);
        let opened = self.opened(group, &state)?;
        self.update(group, state.clone()).kept = None;
        self.put(group, state);
        Ok(Ok(opened))
    }

    fn delete(&mut self, group: GroupId, now_ms: u64) -> Result<(), WriteError> {
        let mut state = self.state(group).ok_or(WriteError::NoSuchLog)?;
        if state.deleted_at_ms.is_none() {
            state.deleted_at_ms = Some(now_ms);
            self.put(group, state);
        }
        Ok(())
    }

    /// Drops the groups that were deleted long enough ago, and logs that were replaced as long ago; gives the groups.
    /// `now_ms`: `None` drops them all.
    fn purge(&mut self, now_ms: Option<u64>) -> Vec<GroupId> {
        let deleted = self.known.index.groups.iter().filter_map(|(group, entry)| {
            let at_ms = entry.state.deleted_at_ms?;
            Some((*group, at_ms, entry.state.clone()))
        });
        let mut gone = Vec::new();
        for (group, at_ms, state) in deleted.collect::<Vec<_>>() {
            if is_due(at_ms, now_ms) {
                self.commit.push_parts(Kind::Dropped, &[group.as_bytes()]);
                self.done.updates.insert(group, Update::default());
                self.done.snapshots.insert(group, None);
                gone.push(group);
            } else if let Some(now_ms) = now_ms.filter(|now_ms| at_ms > *now_ms) {
                // It was deleted when the clock was ahead, and is kept from now on as long as others.
                self.put(group, GroupState { deleted_at_ms: Some(now_ms), ..state });
            }
        }
        self.done.dropped |= !gone.is_empty();
        self.purge_superseded(now_ms);
        gone
    }

    /// The first purge after a reset dates what that replaced; so does each one that finds it dated in the future, for then
    /// the clock was ahead.
    fn purge_superseded(&mut self, now_ms: Option<u64>) {
        for ((group, log), since) in self.superseded().clone() {
            match now_ms {
                Some(now_ms) if since == 0 || since > now_ms => self.supersede(group, log, now_ms.max(1)),
                Some(_) | None if is_due(since, now_ms) => self.supersede(group, log, SUPERSEDED_GONE),
                Some(_) | None => {}
            }
        }
    }

    fn superseded(&self) -> &Superseded {
        self.done.superseded.as_ref().unwrap_or(&self.known.superseded)
    }

    fn supersede(&mut self, group: GroupId, log: LogId, since: u64) {
        push_superseded(&mut self.commit, group, log, since);
        let superseded = self.done.superseded.get_or_insert_with(|| self.known.superseded.clone());
        if since == SUPERSEDED_GONE {
            superseded.remove(&(group, log));
            self.done.dropped = true;
        } else {
            superseded.insert((group, log), since);
        }
    }

    fn state(&self, group: GroupId) -> Option<GroupState> {
        match self.done.updates.get(&group) {
            Some(update) => update.state.clone(),
            None => self.known.index.groups.get(&group).map(|entry| entry.state.clone()),
        }
    }

    fn live(&self, group: GroupId) -> Result<GroupState, WriteError> {
        self.state(group).filter(|state| state.deleted_at_ms.is_none()).ok_or(WriteError::NoSuchLog)
    }

    fn update(&mut self, group: GroupId, state: GroupState) -> &mut Update {
        let update = self.done.updates.entry(group).or_default();
        update.state = Some(state);
        update
    }

    /// Notes a state that does not follow from a run alone.
    fn put(&mut self, group: GroupId, state: GroupState) {
        let known = self.known.index.groups.get(&group).filter(|entry| entry.state.log == state.log);
        let before = known.and_then(|entry| entry.trimmed()).map_or(Seq::FIRST, |trim| trim.first);
        let update = self.done.updates.get(&group).and_then(|update| update.kept);
        let first_kept = update.map_or(before, |kept| kept.first.max(before));
        self.commit.push_parts(Kind::Group, &[&encode_group(group, first_kept, &state)]);
        self.update(group, state);
    }
}

/// Whether what was deleted or replaced at `at_ms` is dropped at `now_ms`; always if that is `None`.
fn is_due(at_ms: u64, now_ms: Option<u64>) -> bool {
    now_ms.is_none_or(|now_ms| now_ms.saturating_sub(at_ms) >= DELETED_KEPT_MS)
}

pub(crate) fn push_snapshot(commit: &mut Commit, group: GroupId, state: &GroupState, bytes: &[u8]) -> Spot {
    let (log, at) = (state.log.0.to_be_bytes(), state.snapshot_at.0.to_be_bytes());
    commit.push_parts(Kind::Snapshot, &[group.as_bytes(), &log, &at, bytes])
}

pub(crate) fn push_superseded(commit: &mut Commit, group: GroupId, log: LogId, since: u64) {
    commit.push_parts(Kind::Superseded, &[group.as_bytes(), &log.0.to_be_bytes(), &since.to_be_bytes()]);
}

/// The caller's bytes in a snapshot's frame, if it is that of `state`.
pub(crate) fn snapshot_bytes(body: &Bytes, group: GroupId, state: &GroupState) -> Option<Bytes> {
    let head = [group.as_bytes().as_slice(), &state.log.0.to_be_bytes(), &state.snapshot_at.0.to_be_bytes()].concat();
    body.starts_with(&head).then(|| body.slice(head.len()..))
}

/// The frames that a new segment begins with for one group.
pub(crate) fn push_group(
    commit: &mut Commit,
    group: GroupId,
    state: &GroupState,
    first_kept: Seq,
    config: &[u8],
    snapshot: Option<&Bytes>,
) -> Option<Spot> {
    commit.push_parts(Kind::Group, &[&encode_group(group, first_kept, state)]);
    if !config.is_empty() {
        commit.push_parts(Kind::Config, &[group.as_bytes(), config]);
    }
    snapshot.map(|bytes| push_snapshot(commit, group, state, bytes))
}
