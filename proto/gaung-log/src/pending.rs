//! What is durable in the journal alone, until a checkpoint puts it into the active file: served from memory meanwhile.

use std::collections::HashMap;

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq, run::Run};

use crate::{
    change::admit,
    index::Index,
    journal::Item,
    layout::{GroupState, page_bytes},
    log::{Append, AppendError},
    record::Record,
};

/// All of it; at most what the journal holds.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    groups: HashMap<GroupId, Held>,
    /// Entries of the journal were lost: what any group had last may be missing.
    pub(crate) tail_lost: bool,
}

/// Of one group: dense, from the head of the active file on.
#[derive(Debug)]
pub(crate) struct Held {
    /// As of the last item.
    pub(crate) state: GroupState,
    pub(crate) items: Vec<Item>,
}

/// Appends that are about to be written, in the order of their groups' messages.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// The groups as of their last staged item.
    states: HashMap<GroupId, GroupState>,
    pub(crate) items: Vec<Item>,
}

impl Staged {
    /// Takes in appends of one group if all of them follow what there is.
    pub(crate) fn append(&mut self, index: &Index, pending: &Pending, appends: &[Append]) -> Result<Seq, AppendError> {
        let group = appends.first().ok_or(AppendError::NoSuchLog)?.run.header().group;
        let known = self.states.get(&group).or_else(|| Some(&pending.groups.get(&group)?.state));
        let known = known.or_else(|| Some(&index.groups.get(&group)?.state));
        let state = known.filter(|state| state.deleted_at_ms.is_none()).ok_or(AppendError::NoSuchLog)?;
        admit(group, state, appends)?;
        let mut state = state.clone();
        for Append { run, snapshot } in appends {
            self.items.push(Item { record: state.follow(run.clone()), snapshot: snapshot.clone() });
        }
        let head = state.head;
        self.states.insert(group, state);
        Ok(head)
    }

    /// The same for a record that the journal has kept, and its snapshot.
    pub(crate) fn replay(&mut self, index: &Index, record: Bytes, snapshot: Option<Bytes>) -> Result<(), String> {
        let record = Record::parse(record).map_err(str::to_owned)?;
        let group = record.run.header().group;
        let known = self.states.get(&group).or_else(|| Some(&index.groups.get(&group)?.state));
        if known.is_some_and(|state| state.last_hash != record.previous) {
            return Err("a record does not follow the one before it".into());
        }
        let append = Append { run: record.run, snapshot };
        self.append(index, &Pending::default(), &[append]).map(drop).map_err(|error| error.to_string())
    }
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && !self.tail_lost
    }

    /// Takes over what has been synced.
    pub(crate) fn add(&mut self, staged: Staged) {
        for item in staged.items {
            let group = item.record.run().header().group;
            let state = || staged.states[&group].clone();
            self.groups.entry(group).or_insert_with(|| Held { state: state(), items: Vec::new() }).items.push(item);
        }
        for (group, state) in staged.states {
            if let Some(held) = self.groups.get_mut(&group) {
                held.state = state;
            }
        }
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupId, &Held)> {
        self.groups.iter().map(|(group, held)| (*group, held))
    }

    /// A group's log and its last message, if it is here.
    pub(crate) fn head(&self, group: GroupId) -> Option<(LogId, Seq)> {
        self.groups.get(&group).map(|held| (held.state.log, held.state.head))
    }

    /// Runs from the one that holds `from`, as [`Log::read`](crate::Log::read); `None` if it is not here.
    pub(crate) fn read(&self, group: GroupId, log: LogId, from: Seq, max_bytes: usize) -> Option<Vec<Run>> {
        let held = self.groups.get(&group).filter(|held| held.state.log == log)?;
        held.items.first().filter(|first| first.record.run().first_seq() <= from)?;
        let start = held.items.partition_point(|item| item.record.run().last_seq() < from);
        let mut left = max_bytes;
        let mut runs = Vec::new();
        for item in &held.items[start..] {
            if !runs.is_empty() && item.record.len() > left {
                break;
            }
            left = left.saturating_sub(item.record.len());
            runs.push(item.record.run().clone());
        }
        Some(runs)
    }

    /// About how many bytes a checkpoint adds to the active file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.groups.values().flat_map(|held| &held.items).map(|item| page_bytes(item.len())).sum()
    }
}
