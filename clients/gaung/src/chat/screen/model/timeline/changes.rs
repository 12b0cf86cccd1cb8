//! Edits, deletions and reactions of the window, by the message that they change.

use std::collections::BTreeMap;

use gaung_proto::{DeviceId, Kind, Seq};

use super::entry::Incoming;

/// Most changes that are kept of one message; further ones are not heeded.
const MAX_OF_ONE: usize = 512;
/// Most messages whose changes are kept.
const MAX_TARGETS: usize = 4_096;

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

/// All changes of a window, each once, in order of their seq.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_target: BTreeMap<Seq, BTreeMap<Seq, Change>>,
}

impl Changes {
    pub(super) fn add(&mut self, seq: Seq, change: Change) {
        let changes = self.by_target.entry(change.target).or_default();
        if changes.len() < MAX_OF_ONE {
            changes.insert(seq, change);
        }
        if self.by_target.len() > MAX_TARGETS {
            self.by_target.pop_first();
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
        }
    }
}
