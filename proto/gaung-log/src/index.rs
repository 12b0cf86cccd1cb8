//! Where the messages of each group lie: in which file, from where to where. Only what is durable is in it.

use std::collections::HashMap;

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq, SeqRange};

use crate::{
    layout::{GroupState, Trim},
    log::{Position, ReadError, StoredGroup},
    retain::Kept,
};

/// Most files that one read looks into.
const MAX_EXTENTS: usize = 16;

/// All groups; one extent for each file that holds messages of a group, so a few words per group and 256 MiB.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) groups: HashMap<GroupId, Entry>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) state: GroupState,
    pub(crate) config: Bytes,
    /// In order; a hole between two lay in a file that was set aside.
    extents: Vec<Extent>,
    /// Messages before it are no longer kept.
    first_kept: Seq,
    /// Bytes of runs since the opening.
    appended_bytes: u64,
    /// Bytes of all runs that are kept, once they were counted.
    kept_bytes: Option<u64>,
}

/// Messages `first` to `last`, of which there is at least one, in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) file: u64,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

/// Which messages of which log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) group: GroupId,
    pub(crate) log: LogId,
    pub(crate) from: Seq,
    pub(crate) last: Seq,
}

/// What a commit changed about one group; `state: None` means that it is gone.
#[derive(Debug, Default)]
pub(crate) struct Update {
    pub(crate) state: Option<GroupState>,
    pub(crate) config: Option<Bytes>,
    pub(crate) appended_bytes: u64,
    pub(crate) kept: Option<Kept>,
}

impl Index {
    /// Takes over what the file `active` has made durable.
    pub(crate) fn apply(&mut self, updates: HashMap<GroupId, Update>, active: u64) {
        for (group, Update { state, config, appended_bytes, kept }) in updates {
            let Some(state) = state else {
                self.groups.remove(&group);
                continue;
            };
            let entry = self.groups.entry(group).or_insert_with(|| Entry::new(state.clone(), Bytes::new()));
            if entry.state.log != state.log {
                *entry = Entry::new(state.clone(), std::mem::take(&mut entry.config));
            }
            entry.state = state;
            entry.appended_bytes += appended_bytes;
            entry.kept_bytes = entry.kept_bytes.map(|bytes| bytes + appended_bytes);
            if let Some(config) = config {
                entry.config = config;
            }
            entry.grow(active);
            if let Some(kept) = kept {
                entry.trim(kept);
            }
        }
    }

    /// Adds a group of the newest file, at opening.
    pub(crate) fn insert(&mut self, group: GroupId, state: GroupState, config: Bytes, active: u64) {
        let mut entry = Entry::new(state, config);
        entry.grow(active);
        self.groups.insert(group, entry);
    }

    /// Says that the messages that `earlier` counts lie in `file`, which comes before all files given so far. `ends` has
    /// the group's base in the file after it.
    pub(crate) fn insert_before(
        &mut self,
        group: GroupId,
        earlier: &GroupState,
        file: u64,
        ends: &mut HashMap<GroupId, Seq>,
    ) {
        let Some(entry) = self.groups.get_mut(&group).filter(|entry| entry.state.log == earlier.log) else { return };
        // What the file holds above the base of a later one was never acknowledged.
        let Some(&end) = ends.get(&group) else { return };
        let (first, last) = (earlier.base.next(), earlier.head.min(end));
        if first <= last {
            entry.extents.insert(0, Extent { file, first, last });
        }
        ends.insert(group, earlier.base.min(end));
    }

    /// Says from where on a group's log is kept, once all files are in.
    pub(crate) fn trim(&mut self, group: GroupId, trim: Trim) {
        if let Some(entry) = self.groups.get_mut(&group).filter(|entry| entry.state.log == trim.log) {
            entry.trim(Kept { first: trim.first, dropped_bytes: None });
        }
    }

    /// Takes over that the kept runs of a group have `bytes` bytes, as counted when it had appended `appended_bytes`.
    pub(crate) fn count(&mut self, group: GroupId, log: LogId, bytes: u64, appended_bytes: u64) {
        if let Some(entry) = self.groups.get_mut(&group).filter(|entry| entry.state.log == log) {
            entry.kept_bytes = Some(bytes + entry.appended_bytes - appended_bytes);
        }
    }

    /// Whether dropped messages lie in the active file.
    pub(crate) fn drops_within_active(&self) -> bool {
        self.groups.values().any(|entry| entry.first_kept > entry.state.base.next())
    }

    /// Every group as it stands at the beginning of the next file.
    pub(crate) fn carry(&mut self) {
        for entry in self.groups.values_mut() {
            entry.state = entry.state.carried();
        }
    }

    /// Forgets a file.
    pub(crate) fn remove_file(&mut self, file: u64) {
        for entry in self.groups.values_mut() {
            let before = entry.extents.len();
            entry.extents.retain(|extent| extent.file != file);
            if entry.extents.len() < before {
                entry.kept_bytes = None;
            }
        }
    }

    /// What groups have in the file and keep.
    pub(crate) fn stretches_in(&self, file: u64) -> Vec<Stretch> {
        let of_group = |(group, entry): (&GroupId, &Entry)| {
            let extent = entry.extents.iter().find(|extent| extent.file == file)?;
            let from = extent.first.max(entry.first_kept);
            Some(Stretch { group: *group, log: entry.state.log, from, last: extent.last })
        };
        self.groups.iter().filter_map(of_group).collect()
    }

    /// Whether a group has messages in the file.
    pub(crate) fn needs_file(&self, file: u64) -> bool {
        self.groups.values().any(|entry| entry.extents.iter().any(|extent| extent.file == file))
    }

    /// Where to read on from `from`: the extents from there to the first hole; none above the head.
    pub(crate) fn locate(&self, group: GroupId, log: LogId, from: Seq) -> Result<Vec<Extent>, ReadError> {
        let entry = self.groups.get(&group).filter(|entry| entry.state.log == log).ok_or(ReadError::NoSuchLog)?;
        if from > entry.state.head {
            return Ok(Vec::new());
        }
        let oldest = entry.oldest();
        if from < oldest {
            return Err(ReadError::Trimmed { oldest });
        }
        let start = entry.extents.partition_point(|extent| extent.last < from);
        let mut next = from;
        let mut found = Vec::new();
        for extent in entry.extents[start..].iter().take(MAX_EXTENTS) {
            if extent.first > next {
                break;
            }
            next = extent.last.next();
            found.push(*extent);
        }
        if found.is_empty() {
            let end = entry.extents.get(start).map_or(entry.state.head, |extent| Seq(extent.first.0 - 1));
            let missing = SeqRange::new(from, end).expect("from is not above the head, nor within an extent");
            return Err(ReadError::Damaged { missing });
        }
        Ok(found)
    }

    pub(crate) fn position(&self, group: GroupId) -> Option<Position> {
        self.groups.get(&group).map(Entry::position)
    }

    pub(crate) fn stored(&self) -> Vec<StoredGroup> {
        let stored = |(group, entry): (&GroupId, &Entry)| StoredGroup {
            group: *group,
            position: entry.position(),
            config: entry.config.clone(),
            deleted_at_ms: entry.state.deleted_at_ms,
        };
        self.groups.iter().map(stored).collect()
    }
}

impl Entry {
    fn new(state: GroupState, config: Bytes) -> Self {
        let (extents, first_kept) = (Vec::new(), Seq::FIRST);
        Self { state, config, extents, first_kept, appended_bytes: 0, kept_bytes: None }
    }

    pub(crate) fn oldest(&self) -> Seq {
        self.extents.first().map_or(self.state.head.next(), |extent| extent.first.max(self.first_kept))
    }

    /// From where on it is kept, if that is not simply what the files have.
    pub(crate) fn trimmed(&self) -> Option<Trim> {
        (self.first_kept > Seq::FIRST).then_some(Trim { log: self.state.log, first: self.first_kept })
    }

    /// Bytes of the runs that are kept, if they were counted, and of those that were appended since the opening.
    pub(crate) const fn bytes(&self) -> (Option<u64>, u64) {
        (self.kept_bytes, self.appended_bytes)
    }

    fn trim(&mut self, kept: Kept) {
        self.first_kept = kept.first.max(self.first_kept);
        self.extents.retain(|extent| extent.last >= self.first_kept);
        let dropped = kept.dropped_bytes;
        self.kept_bytes = self.kept_bytes.and_then(|bytes| Some(bytes.saturating_sub(dropped?)));
    }

    pub(crate) fn position(&self) -> Position {
        Position { log: self.state.log, epoch: self.state.epoch, head: self.state.head, oldest: self.oldest() }
    }

    /// Lets the extent of the active file end at the head.
    fn grow(&mut self, active: u64) {
        let (first, last) = (self.state.base.next(), self.state.head);
        if first > last {
            return;
        }
        match self.extents.last_mut() {
            Some(extent) if extent.file == active => extent.last = last,
            _ => self.extents.push(Extent { file: active, first, last }),
        }
    }
}
