//! The edits, deletions and reactions of a window, by their target.

use std::collections::BTreeMap;

use gaung_proto::{DeviceId, Kind, Seq};

use crate::{authorship::MessageSignature, incoming::IncomingMessage};

/// The most changes of one message that anybody may make, and, counted apart, the most of its author alone while the
/// author is unknown.
const MAX_OF_ONE: usize = 512;
/// The most bytes of all changes of one window; above it, those of the oldest messages are removed.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A message that changes another one.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// The message that it changes.
    pub(super) target: Seq,
    /// The device of its author.
    pub(super) device: DeviceId,
    /// The name of its author.
    pub(super) name: String,
    /// The change, a kind that has a target.
    pub(super) kind: Kind,
    /// The signature of its author.
    pub(super) signature: MessageSignature,
}

impl Change {
    pub(super) fn of(incoming: &IncomingMessage) -> Option<(Seq, Self)> {
        let target = incoming.kind.target()?;
        let IncomingMessage { device, name, kind, signature, .. } = incoming.clone();
        Some((incoming.seq, Self { target, device, name, kind, signature }))
    }
}

impl Change {
    const fn is_for_the_author_alone(&self) -> bool {
        self.kind.is_for_the_author_alone()
    }

    /// Returns about how much memory it takes.
    fn bytes(&self) -> usize {
        self.kind.bytes() + self.name.len() + self.signature.bytes() + 200
    }
}

/// All changes of a window, each one once, in order of seq.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_target: BTreeMap<Seq, BTreeMap<Seq, Change>>,
    bytes: usize,
}

impl Changes {
    /// Adds a change. `author` is the author of its target, if known; edits and deletions by other devices are ignored. If
    /// there are too many, the oldest change of the device that has most gives way, so that none can crowd out the others.
    pub(super) fn add(&mut self, seq: Seq, change: Change, author: Option<DeviceId>) {
        if change.is_for_the_author_alone() && author.is_some_and(|author| author != change.device) {
            return;
        }
        let changes = self.by_target.entry(change.target).or_default();
        if changes.contains_key(&seq) {
            return;
        }
        let alone = change.is_for_the_author_alone();
        let same_kind = |other: &&Change| other.is_for_the_author_alone() == alone;
        if changes.values().filter(same_kind).count() >= MAX_OF_ONE {
            let mut counts: BTreeMap<DeviceId, usize> = BTreeMap::new();
            changes.values().filter(same_kind).for_each(|other| *counts.entry(other.device).or_default() += 1);
            let own = counts.get(&change.device).copied().unwrap_or(0);
            let Some((&largest, _)) = counts.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > own)
            else {
                return;
            };
            let oldest =
                changes.iter().find(|(_, other)| same_kind(other) && other.device == largest).map(|(seq, _)| *seq);
            if let Some(gone) = oldest.and_then(|oldest| changes.remove(&oldest)) {
                self.bytes -= gone.bytes();
            }
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

    /// Removes the changes before `seq`, which are read again with their page.
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
