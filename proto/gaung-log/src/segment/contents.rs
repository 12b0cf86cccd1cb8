//! What a segment holds, frame by frame.

use std::collections::HashMap;

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq};

use super::{
    file::Sealed,
    frame::{FRAME_HEADER, Kind, Place, Spot},
    known::Superseded,
    scan::Frame,
};
use crate::{
    layout::{GroupState, seq_word, word},
    record::{NO_HASH, Record},
};

/// Stands for "no longer there" in place of the time since when a log is replaced.
pub(crate) const SUPERSEDED_GONE: u64 = u64::MAX;

/// The groups of a segment as of some commit.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) groups: HashMap<GroupId, GroupState>,
    pub(crate) first_kept: HashMap<GroupId, Seq>,
    pub(crate) configs: HashMap<GroupId, Bytes>,
    pub(crate) superseded: Superseded,
    /// Of the log that the group has.
    pub(crate) places: HashMap<GroupId, Vec<Place>>,
    pub(crate) snapshots: HashMap<GroupId, (Seq, Spot)>,
    /// Of all logs, those that were replaced too.
    pub(crate) runs: usize,
    /// Records whose hashes are still to be computed: the latest of each group.
    last_records: HashMap<GroupId, Bytes>,
}

/// A group's state as a frame has it.
pub(crate) fn encode_group(group: GroupId, first_kept: Seq, state: &GroupState) -> Vec<u8> {
    [group.as_bytes().as_slice(), &first_kept.0.to_be_bytes(), &state.encode(group)].concat()
}

impl Contents {
    /// Takes in the next frame. An error says that it cannot follow what came before.
    pub(crate) fn apply(&mut self, frame: &Frame) -> Result<(), &'static str> {
        let Frame { offset, header, body } = frame;
        let spot = Spot { offset: *offset as u32, len: header.len };
        match header.kind {
            Kind::Run => return self.run(body, spot),
            Kind::Index | Kind::End | Kind::Checkpoint => return Ok(()),
            Kind::Group | Kind::Config | Kind::Snapshot | Kind::Superseded | Kind::Dropped => {}
        }
        let (group, rest) = body.split_first_chunk::<16>().ok_or("a frame is too short")?;
        let group = GroupId(*group);
        if matches!(header.kind, Kind::Snapshot | Kind::Superseded) && rest.len() < 16
            || header.kind == Kind::Group && rest.len() < 8
        {
            return Err("a frame is too short");
        }
        match header.kind {
            Kind::Group => {
                let state = GroupState::decode(group, &rest[8..]).ok_or("a group's CRC does not hold")?;
                self.state(group, state, seq_word(rest, 0));
            }
            Kind::Config => drop(self.configs.insert(group, body.slice(16..))),
            Kind::Snapshot => {
                let (log, at) = (LogId(word(rest, 0)), seq_word(rest, 8));
                if let Some(state) = self.groups.get_mut(&group).filter(|state| state.log == log) {
                    state.snapshot_at = at;
                    self.snapshots.insert(group, (at, spot));
                }
            }
            Kind::Superseded => {
                let key = (group, LogId(word(rest, 0)));
                match word(rest, 8) {
                    SUPERSEDED_GONE => drop(self.superseded.remove(&key)),
                    since => drop(self.superseded.insert(key, since)),
                }
            }
            Kind::Dropped => self.forget(group),
            Kind::Run | Kind::Index | Kind::End | Kind::Checkpoint => {}
        }
        Ok(())
    }

    /// Takes a config or a snapshot from a frame behind a damage; the states are known to be those at the end.
    pub(crate) fn find_again(&mut self, frame: &Frame) {
        let Some((group, rest)) = frame.body.split_first_chunk::<16>() else { return };
        let group = GroupId(*group);
        match frame.header.kind {
            Kind::Config => drop(self.configs.insert(group, frame.body.slice(16..))),
            Kind::Snapshot if rest.len() >= 16 => {
                let spot = Spot { offset: frame.offset as u32, len: frame.header.len };
                self.snapshots.insert(group, (seq_word(rest, 8), spot));
            }
            Kind::Snapshot
            | Kind::Group
            | Kind::Run
            | Kind::Superseded
            | Kind::Dropped
            | Kind::Index
            | Kind::End
            | Kind::Checkpoint => {}
        }
    }

    /// Goes on from the groups as a checkpoint or an end has them.
    pub(crate) fn take_checkpoint(&mut self, groups: Vec<Sealed>) {
        self.groups.clear();
        self.first_kept.clear();
        for Sealed { group, state, first_kept, .. } in groups {
            self.first_kept.insert(group, first_kept);
            self.groups.insert(group, state);
        }
    }

    /// Runs that are no group's any more.
    pub(crate) fn others(&self) -> u32 {
        (self.runs - self.places.values().map(Vec::len).sum::<usize>()) as u32
    }

    /// Computes what is still to be computed.
    pub(crate) fn finish(&mut self) {
        for (group, record) in self.last_records.drain() {
            if let Some(state) = self.groups.get_mut(&group) {
                state.last_hash = Record::hash_of(&record);
            }
        }
    }

    fn state(&mut self, group: GroupId, state: GroupState, first_kept: Seq) {
        if self.groups.get(&group).is_some_and(|known| known.log != state.log) {
            self.places.remove(&group);
            self.snapshots.remove(&group);
        }
        self.last_records.remove(&group);
        self.first_kept.insert(group, first_kept);
        self.groups.insert(group, state);
    }

    fn run(&mut self, body: &Bytes, spot: Spot) -> Result<(), &'static str> {
        let (run, _) = Record::run_of(body.clone())?;
        let header = run.header();
        let state = self.groups.get_mut(&header.group).filter(|state| state.log == header.log);
        let state = state.ok_or("a record is of a log that is not stored")?;
        if header.base_seq != state.head.next() {
            return Err("a record does not follow the one before it");
        }
        self.runs += 1;
        state.head = run.last_seq();
        state.epoch = state.epoch.max(header.epoch);
        state.last_hash = NO_HASH;
        self.last_records.insert(header.group, body.clone());
        self.places.entry(header.group).or_default().push(Place { first: header.base_seq, spot });
        Ok(())
    }

    fn forget(&mut self, group: GroupId) {
        self.groups.remove(&group);
        self.first_kept.remove(&group);
        self.configs.remove(&group);
        self.places.remove(&group);
        self.snapshots.remove(&group);
        self.last_records.remove(&group);
    }
}

/// About how many bytes a run takes besides its own.
pub(crate) const RUN_OVERHEAD: usize = FRAME_HEADER + crate::record::RECORD_HEADER + 8;
