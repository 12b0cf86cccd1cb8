//! Edits, deletions and reactions of the window, by the message that they change.

use std::collections::BTreeMap;

use gaung_proto::{DeviceId, Kind, Seq};

use super::entry::Incoming;

/// Most changes that are kept of one message; further ones are not heeded.
const MAX_OF_ONE: usize = 512;
/// Most bytes of all changes of one group; beyond, those of the oldest messages go.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A message that changes another one.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Which message it changes.
    pub(super) target: Seq,
    /// Who says so.
    pub(super) device: DeviceId,
    /// As they call themselves.
    pub(super) name: String,
    /// What changes; [`Kind::Edit`], [`Kind::Delete`] or [`Kind::React`].
    pub(super) kind: Kind,
}

impl Change {
    pub(super) fn of(incoming: &Incoming) -> Option<(Seq, Self)> {
        let target = match &incoming.kind {
            Kind::Edit { seq, .. } | Kind::Delete { seq } | Kind::React { seq, .. } => *seq,
            Kind::Text(_) | Kind::Reply { .. } | Kind::Join | Kind::Leave { .. } | Kind::Unknown { .. } => return None,
        };
        let (device, name, kind) = (incoming.device, incoming.name.clone(), incoming.kind.clone());
        Some((incoming.seq, Self { target, device, name, kind }))
    }
}

impl Change {
    /// What it takes of the memory, about.
    fn bytes(&self) -> usize {
        let words = match &self.kind {
            Kind::Edit { body, .. } => body.len(),
            Kind::React { emoji, .. } => emoji.len(),
            Kind::Delete { .. } => 0,
            Kind::Text(_) | Kind::Reply { .. } | Kind::Join | Kind::Leave { .. } | Kind::Unknown { .. } => 0,
        };
        words + self.name.len() + 200
    }
}

/// All changes of a window, each once, in order of their seq.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_target: BTreeMap<Seq, BTreeMap<Seq, Change>>,
    bytes: usize,
}

impl Changes {
    pub(super) fn add(&mut self, seq: Seq, change: Change) {
        let changes = self.by_target.entry(change.target).or_default();
        if changes.len() >= MAX_OF_ONE || changes.contains_key(&seq) {
            return;
        }
        self.bytes += change.bytes();
        changes.insert(seq, change);
        while self.bytes > MAX_BYTES
            && let Some((_, gone)) = self.by_target.pop_first()
        {
            self.bytes -= gone.values().map(Change::bytes).sum::<usize>();
        }
    }

    pub(super) fn of(&self, target: Seq) -> impl Iterator<Item = &Change> {
        self.by_target.get(&target).into_iter().flat_map(BTreeMap::values)
    }

    /// Changes that were said before `seq` are read again with their page.
    pub(super) fn forget_before(&mut self, seq: Seq) {
        if self.by_target.first_key_value().is_some_and(|(target, _)| *target < seq) {
            self.by_target.retain(|target, changes| {
                if *target < seq {
                    changes.retain(|said, _| *said >= seq);
                }
                !changes.is_empty()
            });
            self.bytes = self.by_target.values().flat_map(BTreeMap::values).map(Change::bytes).sum();
        }
    }
}
