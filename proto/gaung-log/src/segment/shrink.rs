//! Making room: the oldest messages of the groups that have most go, until the log fits its budget.
//!
//! A segment holds messages of many groups, and leaves the disk only when nobody needs it. So what stays of closed segments
//! is written into smaller ones, which take their places. All of that is done beside the committer; it only puts a finished
//! one in its place.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use gaung_proto::{GroupId, GroupRetention, Seq};

use super::{
    committer::push_sealed,
    contents::{Contents, encode_group},
    file::{Ended, PREAMBLE, Preamble, Sealed, SegmentFile, file_name, read_end, unfinished_name},
    frame::{Commit, Kind, Place},
    log::SegmentLog,
    recover::scan,
    scan::{Commits, Frame, Scanner},
    writer::Writer,
};
use crate::{
    change::{Change, Job, Upkeep},
    convert::kept::{bytes_of_copies, remove_copies},
    fault::Fault,
    index::Stretch,
    layout::GroupState,
    log::{Log as _, ReadError, Retention, StoreError, WriteError},
    record::Record,
};

/// Of the budget so much is left free, so that not every append makes room again.
const SPARE_PART: u64 = 8;
/// Bytes of runs may be so much of their files, in eighths: each takes some bytes besides, and the newest file is longer
/// than what it holds. The later ones where the first is not enough.
const RUNS_EIGHTHS: [u64; 4] = [7, 5, 3, 1];
/// Bytes of a segment in memory while it is made again.
const PIECE: usize = 4 << 20;

impl SegmentLog {
    /// Bytes of all files.
    pub(super) fn file_bytes(&self) -> u64 {
        let numbers: Vec<u64> = self.shared.files().keys().copied().collect();
        let len = |number: u64| self.shared.env.volume.len(&file_name(number)).unwrap_or(0);
        numbers.into_iter().map(len).sum::<u64>() + bytes_of_copies(&*self.shared.env.volume)
    }

    pub(super) fn make_room(&self, max_bytes: u64) -> Result<(), WriteError> {
        let goal = max_bytes - max_bytes / SPARE_PART;
        if self.file_bytes() <= max_bytes {
            return Ok(());
        }
        // The files that were converted are kept only where there is room.
        if remove_copies(&*self.shared.env.volume).map_err(StoreError::from)? > 0 && self.file_bytes() <= max_bytes {
            return Ok(());
        }
        // Deleted groups and replaced logs are kept for a day on the same condition.
        let _gone: Vec<GroupId> =
            self.shared.queue.ask(|answer| Job::Change(Change::Purge { now_ms: None, answer }))?;
        for eighths in RUNS_EIGHTHS {
            self.trim_largest(goal / 8 * eighths)?;
            self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::EndOutdated { answer }))?;
            self.rewrite_files(goal);
            if self.file_bytes() <= max_bytes {
                return Ok(());
            }
        }
        // There is no room even for what stays: whole files go, the oldest first.
        self.retain(Retention { max_bytes: Some(max_bytes), max_age_ms: None }, 0)
    }

    /// Drops deleted groups, and takes what they had in the newest segment off the disk.
    pub(super) fn purge_now(&self, now_ms: u64) -> Result<Vec<GroupId>, WriteError> {
        let (superseded, active) = {
            let known = self.shared.known();
            (known.superseded.len(), known.active)
        };
        let gone = self.shared.queue.ask(|answer| Job::Change(Change::Purge { now_ms: Some(now_ms), answer }))?;
        if !gone.is_empty() || self.shared.known().superseded.len() < superseded {
            self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::EndOutdated { answer }))?;
            let ended = self.shared.files().get(&active).filter(|_| self.shared.known().active != active).cloned();
            ended.into_iter().for_each(|file| self.make_smaller(&file));
        }
        Ok(gone)
    }

    /// Drops the oldest messages of those groups that have more than an equal share of `bytes`, what small ones leave being
    /// the large ones'.
    fn trim_largest(&self, bytes: u64) -> Result<(), WriteError> {
        let groups: Vec<GroupId> = self.shared.known().index.groups.keys().copied().collect();
        let mut sizes = Vec::new();
        for group in groups {
            match self.kept_bytes(group) {
                Ok(bytes) => sizes.push((bytes, group)),
                // Reset or deleted meanwhile.
                Err(ReadError::NoSuchLog) => {}
                Err(error) => return Err(error.into()),
            }
        }
        sizes.sort_unstable_by_key(|&(bytes, _)| bytes);
        let (mut left, mut most) = (bytes, u64::MAX);
        for (index, &(bytes, _)) in sizes.iter().enumerate() {
            let share = left / (sizes.len() - index) as u64;
            if bytes > share {
                most = share;
                break;
            }
            left -= bytes;
        }
        for (_, group) in sizes.into_iter().rev().take_while(|&(bytes, _)| bytes > most) {
            let keep = GroupRetention { max_bytes: Some(most), ..GroupRetention::default() };
            match self.retain_group(group, keep, 0) {
                Ok(()) | Err(WriteError::NoSuchLog) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes closed segments smaller, the oldest first, until all have at most `goal` bytes or nothing more can be gained.
    fn rewrite_files(&self, goal: u64) {
        let mut files: Vec<Arc<SegmentFile>> = self.shared.files().values().cloned().collect();
        // The newest is the committer's.
        files.pop();
        for file in files {
            if self.file_bytes() <= goal {
                return;
            }
            self.make_smaller(&file);
        }
    }

    fn make_smaller(&self, file: &SegmentFile) {
        if let Err(error) = self.rewrite(file)
            && !file.is_gone()
        {
            tracing::warn!(file = file.number, %error, "a log file cannot be made smaller");
        }
    }

    fn rewrite(&self, file: &SegmentFile) -> Result<(), StoreError> {
        let env = &self.shared.env;
        let number = file.number;
        let live = self.shared.known().index.stretches_in(number);
        let made = write_again(env, file, &live);
        if made.is_err() {
            env.volume.remove(&unfinished_name(number)).ok();
        }
        if !made.map_err(|fault| StoreError::from(fault.into_io()))? {
            return Ok(());
        }
        self.shared.queue.ask(|answer| Job::Upkeep(Upkeep::Replace { file: number, answer })).or_else(
            |error: WriteError| {
                env.volume.remove(&unfinished_name(number)).ok();
                match error {
                    WriteError::Io(error) => Err(error),
                    WriteError::NoSuchLog | WriteError::TooLarge { .. } => Ok(()),
                }
            },
        )
    }
}

/// Makes a segment again under its unfinished name, durable, with the runs of `live` alone; false if all of its messages are
/// live. What it says of itself and its groups stays, so that it takes its own place at the next opening.
fn write_again(env: &crate::options::Env, file: &SegmentFile, live: &[Stretch]) -> Result<bool, Fault> {
    let from = file.open(env)?;
    let preamble = Preamble::read(&*from, file.number)?;
    let ended = match read_end(&*from, &preamble)? {
        Some(ended) => ended,
        None => states_of(scan(&*from, &preamble)?.contents),
    };
    let stored: u64 = ended.groups.iter().map(|sealed| sealed.state.head.0.saturating_sub(sealed.state.base.0)).sum();
    let kept: u64 = live.iter().map(|stretch| (stretch.last.0 + 1).saturating_sub(stretch.from.0)).sum();
    if kept >= stored && ended.others == 0 {
        return Ok(false);
    }
    let mut writer = Writer::create(env, file.number, file.started_at_ms)?;
    let mut copy =
        Copy { live: live.iter().map(|stretch| (stretch.group, *stretch)).collect(), places: HashMap::new() };
    let mut commits = Commits::new(Scanner::new(&*from)?, preamble.stamp, PREAMBLE);
    let mut commit = writer.begin();
    while let Some(frames) = commits.next()? {
        for frame in frames {
            copy.frame(&mut commit, &frame).map_err(Fault::damaged)?;
        }
        if commit.len() > PIECE {
            writer.append_unsynced(commit)?;
            commit = writer.begin();
        }
    }
    copy.end(&mut commit, ended.groups);
    writer.append_unsynced(commit)?;
    writer.settle(env)?;
    Ok(true)
}

fn states_of(contents: Contents) -> Ended {
    let others = contents.others();
    let Contents { groups, first_kept, .. } = contents;
    let sealed = |(group, state): (GroupId, GroupState)| {
        let first_kept = first_kept.get(&group).copied().unwrap_or(Seq::FIRST);
        Sealed { group, state, first_kept, index_at: 0, runs: 0 }
    };
    Ended { groups: groups.into_iter().map(sealed).collect(), others }
}

/// Frames on their way into a smaller segment.
struct Copy {
    live: HashMap<GroupId, Stretch>,
    places: HashMap<GroupId, Vec<Place>>,
}

impl Copy {
    fn frame(&mut self, commit: &mut Commit, frame: &Frame) -> Result<(), &'static str> {
        match frame.header.kind {
            Kind::Run => self.run(commit, frame),
            Kind::Config | Kind::Snapshot => {
                commit.push_parts(frame.header.kind, &[&frame.body]);
                Ok(())
            }
            // The groups follow as they stand at the end.
            Kind::Group | Kind::Superseded | Kind::Dropped | Kind::Index | Kind::End | Kind::Checkpoint => Ok(()),
        }
    }

    fn run(&mut self, commit: &mut Commit, frame: &Frame) -> Result<(), &'static str> {
        let (run, previous) = Record::run_of(frame.body.clone())?;
        let header = run.header();
        let is_live = |stretch: &&Stretch| {
            stretch.log == header.log && run.last_seq() >= stretch.from && run.first_seq() <= stretch.last
        };
        if self.live.get(&header.group).filter(is_live).is_none() {
            return Ok(());
        }
        let places = match self.places.entry(header.group) {
            hash_map::Entry::Occupied(places) => places.into_mut(),
            hash_map::Entry::Vacant(first) => {
                let before = Seq(run.first_seq().0 - 1);
                let begin = GroupState {
                    head: before,
                    base: before,
                    last_hash: previous,
                    ..GroupState::new(header.log, header.epoch)
                };
                commit.push_parts(Kind::Group, &[&encode_group(header.group, Seq::FIRST, &begin)]);
                first.insert(Vec::new())
            }
        };
        let spot = commit.push_parts(Kind::Run, &[&frame.body]);
        places.push(Place { first: run.first_seq(), spot });
        Ok(())
    }

    fn end(self, commit: &mut Commit, mut ended: Vec<Sealed>) {
        let mut index = Vec::new();
        for sealed in &mut ended {
            let places = self.places.get(&sealed.group).map_or(&[][..], Vec::as_slice);
            sealed.index_at = index.len() as u64;
            sealed.runs = places.len() as u64;
            sealed.state.base = places.first().map_or(sealed.state.head, |place| Seq(place.first.0 - 1));
            commit.push_parts(Kind::Group, &[&encode_group(sealed.group, sealed.first_kept, &sealed.state)]);
            places.iter().for_each(|place| index.extend_from_slice(&place.encode()));
        }
        push_sealed(commit, &index, 0, &mut ended);
    }
}
