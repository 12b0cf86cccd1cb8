//! Where the messages of each group lie: in which file, from where to where. Only what is durable is in it.

use std::collections::HashMap;

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq, SeqRange};

use crate::{
    layout::GroupState,
    log::{Position, ReadError, StoredGroup},
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
}

/// Messages `first` to `last`, of which there is at least one, in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) file: u64,
    pub(crate) first: Seq,
    pub(crate) last: Seq,
}

/// What a transaction changed about one group; `state: None` means that it is gone.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) state: Option<GroupState>,
    pub(crate) config: Option<Bytes>,
}

impl Index {
    /// Takes over what the file `active` has made durable.
    pub(crate) fn apply(&mut self, updates: HashMap<GroupId, Update>, active: u64) {
        for (group, Update { state, config }) in updates {
            let Some(state) = state else {
                self.groups.remove(&group);
                continue;
            };
            let fresh = || Entry { state: state.clone(), config: Bytes::new(), extents: Vec::new() };
            let entry = self.groups.entry(group).or_insert_with(fresh);
            if entry.state.log != state.log {
                entry.extents.clear();
            }
            entry.state = state;
            if let Some(config) = config {
                entry.config = config;
            }
            entry.grow(active);
        }
    }

    /// Adds a group of the newest file, at opening.
    pub(crate) fn insert(&mut self, group: GroupId, state: GroupState, config: Bytes, active: u64) {
        let mut entry = Entry { state, config, extents: Vec::new() };
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

    /// Every group as it stands at the beginning of the next file.
    pub(crate) fn carry(&mut self) {
        for entry in self.groups.values_mut() {
            entry.state = entry.state.carried();
        }
    }

    /// Forgets a file.
    pub(crate) fn remove_file(&mut self, file: u64) {
        for entry in self.groups.values_mut() {
            entry.extents.retain(|extent| extent.file != file);
        }
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
    pub(crate) fn oldest(&self) -> Seq {
        self.extents.first().map_or(self.state.head.next(), |extent| extent.first)
    }

    fn position(&self) -> Position {
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
