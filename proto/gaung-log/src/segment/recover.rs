//! Opening: from the segments in the folder to what is known, and a newest one that can be written to.

use std::{collections::HashMap, io, sync::Arc};

use gaung_proto::{GroupId, Seq};
use redb::StorageBackend;

use super::{
    contents::Contents,
    file::{
        PREAMBLE, Preamble, SEGMENT_FORMAT, Sealed, SegmentFile, SegmentName, damaged_name, decode_end, file_name,
        unfinished_name,
    },
    frame::{ALIGNMENT, Kind, Spot},
    known::Where,
    scan::{Commits, Frame, Scanner, Tail},
    shared::SegmentShared,
    stage::{push_group, push_superseded, snapshot_bytes},
    writer::Writer,
};
use crate::{convert::tree::set_aside_before, fault::Fault, layout::GroupState, options::OpenLogError, shared::Damage};

/// The segment that is written on, as found or made at opening.
pub(crate) struct ActiveSegment {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) writer: Writer,
    pub(crate) is_sealed: bool,
    /// Runs in it.
    pub(crate) runs: usize,
    pub(crate) next_number: u64,
}

/// Fills what is known, and the row of files; sets damaged ones aside.
pub(crate) fn recover(shared: &SegmentShared) -> Result<ActiveSegment, OpenLogError> {
    let Found { files: mut rest, damaged } = find(shared)?;
    let next_number = rest.iter().chain(&damaged).max().map_or(1, |highest| highest + 1);
    let mut ends = HashMap::new();
    let mut lost_after = damaged.into_iter().max().unwrap_or(0);
    let newest = loop {
        let Some(number) = rest.pop() else { break None };
        match open_newest(shared, number, &mut ends)? {
            Some(newest) => break Some(newest),
            None => lost_after = lost_after.max(number),
        }
    };
    let newest_number = newest.as_ref().map_or(0, |newest| newest.file.number);
    let active = match newest {
        Some(Newest { file, writer: Some(writer), is_sealed, runs, .. }) if lost_after < newest_number => {
            shared.files_mut().insert(newest_number, Arc::clone(&file));
            ActiveSegment { file, writer, is_sealed, runs, next_number }
        }
        newest => replace(shared, newest, lost_after > newest_number, next_number)?,
    };
    insert_earlier(shared, rest, ends)?;
    Ok(active)
}

struct Found {
    /// In order.
    files: Vec<u64>,
    damaged: Vec<u64>,
}

fn find(shared: &SegmentShared) -> Result<Found, OpenLogError> {
    let mut found = Found { files: Vec::new(), damaged: Vec::new() };
    for name in shared.env.volume.names().map_err(OpenLogError::Io)? {
        match SegmentName::parse(&name) {
            Some(SegmentName::Segment(number)) => found.files.push(number),
            Some(SegmentName::Damaged(number)) => found.damaged.push(number),
            // It was being made when the power went, and nothing was ever acknowledged from it.
            Some(SegmentName::Unfinished) => shared.env.volume.remove(&name).map_err(OpenLogError::Io)?,
            None => found.damaged.extend(set_aside_before(&name)),
        }
    }
    found.files.sort_unstable();
    Ok(found)
}

struct Newest {
    file: Arc<SegmentFile>,
    /// `None`: it is damaged, and only what it says of its groups counts.
    writer: Option<Writer>,
    is_sealed: bool,
    runs: usize,
    /// Acknowledged messages may be lost with the damage.
    tail_lost: bool,
}

/// What was found in a segment that was read from its beginning.
pub(crate) struct Scanned {
    pub(crate) contents: Contents,
    /// Where the last commit that counts ends, and its number.
    pub(crate) end: u64,
    last: u32,
    tail: Tail,
    /// The last frame that counts ends the segment.
    is_sealed: bool,
    /// What is wrong with it.
    pub(crate) damage: Option<String>,
}

/// Reads all commits of a segment.
pub(crate) fn scan(file: &dyn StorageBackend, preamble: &Preamble) -> Result<Scanned, Fault> {
    let mut commits = Commits::new(Scanner::new(file)?, preamble.stamp, PREAMBLE);
    let (mut contents, mut is_sealed, mut damage) = (Contents::default(), false, None);
    while let Some(frames) = commits.next()? {
        for frame in &frames {
            if let Err(why) = contents.apply(frame) {
                damage = Some(why.to_owned());
            }
        }
        is_sealed = frames.last().is_some_and(|frame| frame.header.kind == Kind::End);
    }
    let (end, last, len) = (commits.at, commits.last, commits.scanner.len());
    let tail = commits.tail()?;
    if tail.is_damaged {
        damage = Some(format!("what lies at {end} is damaged, and more follows it"));
    } else if len < preamble.length && !(is_sealed && end == len) {
        damage = Some(format!("it was cut from {} to {len} bytes", preamble.length));
    } else if last == 0 {
        damage = Some("its beginning is damaged".to_owned());
    }
    contents.finish();
    Ok(Scanned { contents, end, last, tail, is_sealed, damage })
}

/// Opens what should be the newest segment and takes in its groups; `None` if it is damaged beyond use.
fn open_newest(
    shared: &SegmentShared,
    number: u64,
    ends: &mut HashMap<GroupId, Seq>,
) -> Result<Option<Newest>, OpenLogError> {
    let env = &shared.env;
    let name = file_name(number);
    let opened = env.volume.open(&name).map_err(Fault::from).and_then(|file| {
        let file: Arc<dyn StorageBackend> = file.into();
        let preamble = Preamble::read(&*file, number)?;
        let scanned = scan(&*file, &preamble)?;
        // What the last process wrote may be in memory alone.
        if !scanned.is_sealed && scanned.damage.is_none() {
            file.sync_data()?;
        }
        Ok((file, preamble, scanned))
    });
    let (file, preamble, mut scanned) = match opened {
        Ok(opened) => opened,
        Err(fault) => return set_aside_or_fail(shared, number, fault).map(|()| None),
    };
    let mut newest = Newest {
        file: Arc::new(SegmentFile::new(&preamble, Some(Arc::clone(&file)))),
        writer: None,
        is_sealed: scanned.is_sealed,
        runs: scanned.contents.runs,
        tail_lost: false,
    };
    match &scanned.damage {
        None => {
            let length = file.len().map_err(|source| OpenLogError::File { file: name.clone(), source })?;
            let commits = (scanned.last, scanned.tail.highest);
            newest.writer = Some(Writer::on(env, file, preamble, scanned.end, length, commits));
        }
        Some(why) => {
            let why = why.clone();
            let known = skip_damage(&*file, &preamble, scanned.end, &mut scanned.contents);
            newest.tail_lost = !known.map_err(|source| OpenLogError::File { file: name, source })?;
            if scanned.last == 0 && newest.tail_lost {
                return set_aside_or_fail(shared, number, Fault::Damaged(why)).map(|()| None);
            }
            shared.damages.add(Damage { file: damaged_name(number), why });
        }
    }
    let mut known = shared.known_mut();
    known.active = number;
    let Contents { groups, first_kept, mut configs, superseded, places, snapshots, .. } = scanned.contents;
    for (group, state) in groups {
        ends.insert(group, state.base);
        let trim = crate::layout::Trim { log: state.log, first: first_kept.get(&group).copied().unwrap_or(Seq::FIRST) };
        known.index.insert(group, state, configs.remove(&group).unwrap_or_default(), number);
        if trim.first > Seq::FIRST {
            known.index.trim(group, trim);
        }
    }
    known.places = places;
    known.snapshots = snapshots.into_iter().map(|(group, (_, spot))| (group, spot)).collect();
    known.superseded = superseded;
    Ok(Some(newest))
}

/// Brings what was found before a damage to the end of the segment, if it is sure where every group stood there: by the last
/// checkpoint or end, and all commits behind it. Whether it is; if not, they may have stood further on.
pub(crate) fn skip_damage(
    file: &dyn StorageBackend,
    preamble: &Preamble,
    from: u64,
    contents: &mut Contents,
) -> io::Result<bool> {
    let Some(checkpoint) = find_checkpoint(file, preamble.stamp, from, contents)? else { return Ok(false) };
    let Some(ended) = decode_end(&checkpoint.body) else { return Ok(false) };
    contents.take_checkpoint(ended.groups);
    let mut commits = Commits::new(Scanner::new(file)?, preamble.stamp, checkpoint.offset);
    commits.last = checkpoint.header.after;
    let mut is_sealed = false;
    while let Some(frames) = commits.next()? {
        if frames.iter().any(|frame| contents.apply(frame).is_err()) {
            return Ok(false);
        }
        is_sealed = frames.last().is_some_and(|frame| frame.header.kind == Kind::End);
    }
    contents.finish();
    let len = commits.scanner.len();
    let is_cut = len < preamble.length && !(is_sealed && commits.at == len);
    Ok(!is_cut && !commits.tail()?.is_damaged)
}

/// The last checkpoint or end behind `from`. Configs and snapshots on the way are taken; the state of a group says which
/// snapshot counts.
fn find_checkpoint(
    file: &dyn StorageBackend,
    stamp: u32,
    from: u64,
    contents: &mut Contents,
) -> io::Result<Option<Frame>> {
    let mut scanner = Scanner::new(file)?;
    let (mut at, mut last) = (from, None);
    while let Some((offset, header)) = scanner.find(at)? {
        let frame = scanner.frame(offset)?.filter(|_| header.stamp == stamp);
        at = frame.as_ref().map_or(offset + ALIGNMENT, Frame::next);
        if let Some(frame) = frame {
            contents.find_again(&frame);
            if matches!(header.kind, Kind::Checkpoint | Kind::End) {
                last = Some(frame);
            }
        }
    }
    Ok(last)
}

/// Damage is set aside; what else went wrong ends the opening.
fn set_aside_or_fail(shared: &SegmentShared, number: u64, fault: Fault) -> Result<(), OpenLogError> {
    match fault {
        Fault::Damaged(why) => {
            set_aside(shared, number)?;
            shared.damages.add(Damage { file: damaged_name(number), why });
            Ok(())
        }
        Fault::Newer { found } => {
            Err(OpenLogError::NewerFormat { file: file_name(number), found, supported: SEGMENT_FORMAT })
        }
        Fault::Io(source) => Err(OpenLogError::File { file: file_name(number), source }),
    }
}

fn set_aside(shared: &SegmentShared, number: u64) -> Result<(), OpenLogError> {
    let volume = &shared.env.volume;
    let renamed = volume.rename(&file_name(number), &damaged_name(number));
    renamed.and_then(|()| volume.sync_names()).map_err(OpenLogError::Io)
}

/// Begins a new segment, because there is none, or the newest one cannot be built upon.
fn replace(
    shared: &SegmentShared,
    newest: Option<Newest>,
    tail_lost: bool,
    number: u64,
) -> Result<ActiveSegment, OpenLogError> {
    if tail_lost || newest.as_ref().is_some_and(|newest| newest.tail_lost) {
        for entry in shared.known_mut().index.groups.values_mut() {
            entry.state.tail_lost = true;
        }
    }
    let begun = begin_segment(shared, number, newest.as_ref().map(|newest| &*newest.file));
    let begun = begun.map_err(|fault| OpenLogError::File { file: file_name(number), source: fault.into_io() })?;
    let mut known = shared.known_mut();
    known.carry(number, None, begun.snapshots);
    shared.files_mut().insert(number, Arc::clone(&begun.file));
    match newest {
        Some(Newest { file, writer: Some(_), .. }) => {
            file.close();
            drop(shared.files_mut().insert(file.number, file));
        }
        Some(Newest { file, .. }) => {
            known.remove_file(file.number);
            set_aside(shared, file.number)?;
        }
        None => known.remove_file(0),
    }
    Ok(ActiveSegment { file: begun.file, writer: begun.writer, is_sealed: false, runs: 0, next_number: number + 1 })
}

/// Adds the segments before the newest, from new to old. `ends`: the last message of each group that they may hold.
fn insert_earlier(
    shared: &SegmentShared,
    files: Vec<u64>,
    mut ends: HashMap<GroupId, Seq>,
) -> Result<(), OpenLogError> {
    for number in files.into_iter().rev() {
        let earlier = match open_earlier(shared, number, &ends) {
            Ok(earlier) => earlier,
            Err(fault) => {
                set_aside_or_fail(shared, number, fault)?;
                continue;
            }
        };
        let mut known = shared.known_mut();
        let mut places = HashMap::new();
        for (group, state, place) in earlier.groups {
            if known.index.groups.get(&group).is_some_and(|entry| entry.state.log == state.log) {
                known.index.insert_before(group, &state, number, &mut ends);
                place.map(|place| places.insert(group, place));
            }
        }
        known.earlier.insert(number, places);
        shared.files_mut().insert(number, Arc::new(earlier.file));
    }
    Ok(())
}

struct Earlier {
    file: SegmentFile,
    groups: Vec<(GroupId, GroupState, Option<Where>)>,
}

/// Reads what a segment says of its groups at its end, or all of it if it has none or not the whole.
fn open_earlier(shared: &SegmentShared, number: u64, ends: &HashMap<GroupId, Seq>) -> Result<Earlier, Fault> {
    let file = shared.env.volume.open(&file_name(number))?;
    let preamble = Preamble::read(&*file, number)?;
    let ended = super::file::read_end(&*file, &preamble)?;
    let is_short = |sealed: &Sealed| {
        let known = shared.known();
        let entry = known.index.groups.get(&sealed.group).filter(|entry| entry.state.log == sealed.state.log);
        entry.is_some() && ends.get(&sealed.group).is_some_and(|end| sealed.state.head < *end)
    };
    let groups = match ended.filter(|ended| !ended.groups.iter().any(is_short)) {
        Some(ended) => {
            let group = |sealed: Sealed| {
                let place = (sealed.runs > 0).then(|| sealed.place());
                (sealed.group, sealed.state, place)
            };
            ended.groups.into_iter().map(group).collect()
        }
        None => {
            let Scanned { contents: Contents { groups, mut places, .. }, damage, .. } = scan(&*file, &preamble)?;
            if let Some(why) = damage {
                return Err(Fault::Damaged(why));
            }
            let mut place = |group: &GroupId| Some(Where::Memory(places.remove(group)?.into()));
            groups.into_iter().map(|(group, state)| (group, state, place(&group))).collect()
        }
    };
    Ok(Earlier { file: SegmentFile::new(&preamble, None), groups })
}

/// A segment that was just made.
pub(crate) struct Begun {
    pub(crate) file: Arc<SegmentFile>,
    pub(crate) writer: Writer,
    /// Where it has the snapshots that could be read.
    pub(crate) snapshots: HashMap<GroupId, Spot>,
}

/// Snapshots found damaged before the rest is given up.
const MOST_TRIES: usize = 32;

/// Makes a segment that begins with all groups as they are known, with the snapshots found in `before`.
pub(crate) fn begin_segment(shared: &SegmentShared, number: u64, before: Option<&SegmentFile>) -> Result<Begun, Fault> {
    let made = write_beginning(shared, number, before);
    if made.is_err() {
        // What is left of it bears no valid name, and is removed at the next opening at the latest.
        shared.env.volume.remove(&unfinished_name(number)).ok();
    }
    made
}

fn write_beginning(shared: &SegmentShared, number: u64, before: Option<&SegmentFile>) -> Result<Begun, Fault> {
    let env = &shared.env;
    let mut writer = Writer::create(env, number, (env.options.clock)())?;
    let mut commit = writer.begin();
    let mut snapshots = HashMap::new();
    {
        let known = shared.known();
        let mut tries = 0;
        for (group, entry) in &known.index.groups {
            let mut state = entry.state.carried();
            let spot = known.snapshots.get(group).filter(|_| state.snapshot_at > Seq::ZERO && tries < MOST_TRIES);
            let body = match (before, spot) {
                (Some(before), Some(spot)) => match before.body(env, *spot, Kind::Snapshot) {
                    Ok(body) => snapshot_bytes(&body, *group, &state),
                    Err(Fault::Damaged(_)) => None,
                    Err(fault) => return Err(fault),
                },
                _ => None,
            };
            if body.is_none() && state.snapshot_at > Seq::ZERO {
                state.snapshot_at = Seq::ZERO;
                tries += 1;
            }
            let first_kept = entry.trimmed().map_or(Seq::FIRST, |trim| trim.first);
            if let Some(spot) = push_group(&mut commit, *group, &state, first_kept, &entry.config, body.as_ref()) {
                snapshots.insert(*group, spot);
            }
        }
        for (&(group, log), since) in &known.superseded {
            push_superseded(&mut commit, group, log, *since);
        }
    }
    if commit.is_empty() {
        commit.push_parts(Kind::Index, &[]);
    }
    writer.append_unsynced(commit)?;
    writer.name(env)?;
    let file = Arc::new(SegmentFile::new(&writer.preamble, Some(Arc::clone(&writer.file))));
    Ok(Begun { file, writer, snapshots })
}
