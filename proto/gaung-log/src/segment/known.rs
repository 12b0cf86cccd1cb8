//! What is durable: the groups, and where in which segment their runs lie.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use gaung_proto::{GroupId, LogId, Seq};

use super::frame::{Place, Spot};
use crate::{
    index::{Extent, Index, Update},
    log::ReadError,
};

/// How a segment's runs of one group are found.
#[derive(Debug, Clone)]
pub(crate) enum Where {
    /// In the index within the segment, from an offset on.
    Index { at: u64, runs: u64 },
    /// In order; of a segment that was not ended.
    Memory(Arc<[Place]>),
}

/// A part of a group's log in one segment.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) extent: Extent,
    pub(crate) place: Where,
}

/// Logs that a reset replaced and whose runs are still there: since when, 0 until a purge has seen it.
pub(crate) type Superseded = BTreeMap<(GroupId, LogId), u64>;

/// See the module. Changed by the committer alone.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) index: Index,
    pub(crate) superseded: Superseded,
    /// Number of the active segment.
    pub(crate) active: u64,
    /// The runs in it.
    pub(crate) places: HashMap<GroupId, Vec<Place>>,
    /// The latest snapshots, which all lie in it.
    pub(crate) snapshots: HashMap<GroupId, Spot>,
    /// The runs in the segments before it.
    pub(crate) earlier: HashMap<u64, HashMap<GroupId, Where>>,
}

/// What one commit has changed.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub(crate) updates: HashMap<GroupId, Update>,
    pub(crate) places: Vec<(GroupId, LogId, Place)>,
    /// `None`: there is none any more.
    pub(crate) snapshots: HashMap<GroupId, Option<Spot>>,
    /// `None`: as before.
    pub(crate) superseded: Option<Superseded>,
    /// Runs were dropped that lie in the active segment.
    pub(crate) dropped: bool,
}

impl Known {
    /// Takes over what has been synced.
    pub(crate) fn apply(&mut self, committed: Committed) {
        let Committed { updates, places, snapshots, superseded, dropped: _ } = committed;
        for (group, update) in &updates {
            let log = self.index.groups.get(group).map(|entry| entry.state.log);
            if update.state.as_ref().map(|state| state.log) != log {
                self.places.remove(group);
            }
        }
        self.index.apply(updates, self.active);
        for (group, log, place) in places {
            // A reset in the same commit has replaced it.
            if self.index.groups.get(&group).is_some_and(|entry| entry.state.log == log) {
                self.places.entry(group).or_default().push(place);
            }
        }
        for (group, spot) in snapshots {
            match spot {
                Some(spot) => drop(self.snapshots.insert(group, spot)),
                None => drop(self.snapshots.remove(&group)),
            }
        }
        if let Some(superseded) = superseded {
            self.superseded = superseded;
        }
    }

    /// Where to read on from `from`, with places in the active segment for about `max_bytes`.
    pub(crate) fn locate(
        &self,
        group: GroupId,
        log: LogId,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<Part>, ReadError> {
        let extents = self.index.locate(group, log, from)?;
        let part = |extent: Extent| {
            if extent.file == self.active {
                return self.active_part(group, extent, from, max_bytes);
            }
            let place = self.earlier.get(&extent.file).and_then(|places| places.get(&group)).cloned();
            Part { extent, place: place.unwrap_or_else(|| Where::Memory([].into())) }
        };
        Ok(extents.into_iter().map(part).collect())
    }

    fn active_part(&self, group: GroupId, extent: Extent, from: Seq, max_bytes: usize) -> Part {
        let places = self.places.get(&group).map_or(&[][..], Vec::as_slice);
        let start = places.partition_point(|place| place.first <= from).saturating_sub(1);
        let mut bytes = 0;
        let count = places[start..].iter().position(|place| {
            let is_enough = bytes > max_bytes;
            bytes += place.spot.len as usize;
            is_enough
        });
        let end = count.map_or(places.len(), |count| start + count);
        let last = places.get(end).map_or(extent.last, |place| Seq(place.first.0 - 1));
        Part { extent: Extent { last, ..extent }, place: Where::Memory(places[start..end].into()) }
    }

    /// A new segment is written from here on, which holds all groups as they stand. `ended`: how the runs of the one before
    /// it are found, if it was ended.
    pub(crate) fn carry(
        &mut self,
        number: u64,
        ended: Option<HashMap<GroupId, Where>>,
        snapshots: HashMap<GroupId, Spot>,
    ) {
        let in_memory = std::mem::take(&mut self.places);
        let places = ended.unwrap_or_else(|| {
            in_memory.into_iter().map(|(group, places)| (group, Where::Memory(places.into()))).collect()
        });
        self.earlier.insert(self.active, places);
        self.active = number;
        self.index.carry();
        for (group, entry) in &mut self.index.groups {
            if !snapshots.contains_key(group) {
                entry.state.snapshot_at = Seq::ZERO;
            }
        }
        self.snapshots = snapshots;
    }

    /// Forgets a segment.
    pub(crate) fn remove_file(&mut self, number: u64) {
        self.index.remove_file(number);
        self.earlier.remove(&number);
    }
}
