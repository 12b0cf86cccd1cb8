//! Converting a log in B-trees into one in segments, file by file, so that it takes the room of one file more.
//!
//! Each `log-N.redb` becomes `log-N.seg`, the oldest first: the segment is made under its unfinished name and synced, the
//! old file is renamed to `log-N.redb.old`, the segment gets its name, and the old file is kept as `log-N.redb.converted`
//! while there is room. A conversion that was stopped goes on at the next opening: an old file without its segment gets its
//! name back. So no number ever has both, and while it lasts all segments come before all old files. Any other mixture was
//! left by an older program that has written here since, and is refused.
//!
//! An older program that is started here finds a newest file of a later format, and says that it needs a newer program.

mod journal;
pub(crate) mod kept;
pub(crate) mod tree;

use std::{collections::HashMap, io};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq};
use redb::{ReadTransaction, ReadableTable as _};

use crate::{
    fault::Fault,
    layout::{GroupState, Trim, word},
    options::{Env, OpenLogError},
    record::Record,
    segment::{
        committer::push_sealed,
        contents::encode_group,
        file::{self as segment, Sealed, SegmentName},
        frame::{Commit, Kind, Place},
        stage::{push_snapshot, push_superseded},
        writer::Writer,
    },
    shared::Damage,
    volume::{Backend, Volume},
};

use self::{
    journal::{Entries, JOURNAL, Kept},
    kept::{KEPT_JOURNAL, kept_name, remove_copies},
    tree::{
        Contents, FORMAT, GUARD, META, META_FORMAT, Name, RUNS, Round, damaged_journal_name, damaged_name, file_name,
        load, load_configs, load_superseded, load_trims, seq_of, snapshot,
    },
};

/// Bytes of records in memory at a time.
const PIECE: usize = 4 << 20;

/// Leaves no old file; gives those that were found damaged and set aside.
pub(crate) fn convert(env: &Env) -> Result<Vec<Damage>, OpenLogError> {
    take_back(env)?;
    let (old, segments) = find(env)?;
    let Some(first) = old.first() else {
        keep_journal(&*env.volume).map_err(OpenLogError::Io)?;
        return Ok(Vec::new());
    };
    if segments.last().is_some_and(|last| last >= first) {
        let why =
            "an older program has written here since the log was converted; move its files (log-*.redb, journal) away";
        return Err(OpenLogError::File { file: file_name(*first), source: io::Error::other(why) });
    }
    refuse_older_programs(env).map_err(OpenLogError::Io)?;
    let mut damages = Vec::new();
    for number in &old {
        let is_newest = Some(number) == old.last();
        let mut converted = convert_file(env, *number, is_newest);
        if matches!(&converted, Err(Fault::Io(error)) if error.kind() == io::ErrorKind::StorageFull)
            && remove_copies(&*env.volume).map_err(OpenLogError::Io)? > 0
        {
            converted = convert_file(env, *number, is_newest);
        }
        let done = match converted {
            Ok(found) => end_file(env, *number, found, &mut damages),
            Err(Fault::Damaged(why)) => set_aside(env, *number, why, is_newest, &mut damages),
            Err(fault) => {
                env.volume.remove(&segment::unfinished_name(*number)).ok();
                let file = file_name(*number);
                return Err(match fault {
                    Fault::Newer { found } => OpenLogError::NewerFormat { file, found, supported: FORMAT },
                    fault @ (Fault::Io(_) | Fault::Damaged(_)) => OpenLogError::File { file, source: fault.into_io() },
                });
            }
        };
        done.map_err(OpenLogError::Io)?;
    }
    keep_journal(&*env.volume).map_err(OpenLogError::Io)?;
    tracing::info!(
        files = old.len(),
        "the log was converted into segments; what it was is kept as log-*.redb.converted"
    );
    Ok(damages)
}

fn old_name(number: u64) -> String {
    format!("{}.old", file_name(number))
}

/// The newest segment has all of it.
fn keep_journal(volume: &dyn Volume) -> io::Result<()> {
    if volume.names()?.iter().any(|name| name == JOURNAL) {
        volume.rename(JOURNAL, KEPT_JOURNAL)?;
        volume.sync_names()?;
    }
    Ok(())
}

/// Makes a file that programs before segments take for the newest, of a format that they refuse.
fn refuse_older_programs(env: &Env) -> io::Result<()> {
    let names = env.volume.names()?;
    if names.iter().any(|name| name == GUARD) {
        return Ok(());
    }
    let unfinished = format!("{GUARD}.new");
    let made = || -> Result<(), redb::Error> {
        let db = redb::Builder::new().create_with_backend(Backend(env.volume.create(&unfinished)?))?;
        let txn = db.begin_write()?;
        txn.open_table(META)?.insert(META_FORMAT, (FORMAT + 1).to_be_bytes().as_slice())?;
        Ok(txn.commit()?)
    };
    made().map_err(|error| Fault::from(error).into_io())?;
    env.volume.rename(&unfinished, GUARD)?;
    env.volume.sync_names()
}

/// Numbers of the old files and of the segments, those that were set aside too, in order.
fn find(env: &Env) -> Result<(Vec<u64>, Vec<u64>), OpenLogError> {
    let (mut old, mut segments) = (Vec::new(), Vec::new());
    for name in env.volume.names().map_err(OpenLogError::Io)? {
        if Name::parse(&name) == Some(Name::Unfinished) {
            env.volume.remove(&name).map_err(OpenLogError::Io)?;
        }
        if let Some(Name::Log(number)) = Name::parse(&name) {
            old.push(number);
        }
        if let Some(SegmentName::Segment(number) | SegmentName::Damaged(number)) = SegmentName::parse(&name) {
            segments.push(number);
        }
    }
    old.sort_unstable();
    segments.sort_unstable();
    Ok((old, segments))
}

/// Ends the last step of a conversion that was stopped, or takes it back.
fn take_back(env: &Env) -> Result<(), OpenLogError> {
    let names = env.volume.names().map_err(OpenLogError::Io)?;
    let number = |name: &String| match Name::parse(name.strip_suffix(".old")?) {
        Some(Name::Log(number)) => Some(number),
        Some(Name::Damaged(_) | Name::Unfinished | Name::Journal | Name::JournalDamaged) | None => None,
    };
    for number in names.iter().filter_map(number) {
        let done = match names.contains(&segment::file_name(number)) {
            true => env.volume.rename(&old_name(number), &kept_name(number)),
            false => env.volume.rename(&old_name(number), &file_name(number)),
        };
        done.and_then(|()| env.volume.sync_names()).map_err(OpenLogError::Io)?;
    }
    Ok(())
}

/// Puts a finished segment in the place of an old file.
fn end_file(env: &Env, number: u64, found: Converted, damages: &mut Vec<Damage>) -> io::Result<()> {
    let volume = &env.volume;
    volume.rename(&file_name(number), &old_name(number))?;
    volume.sync_names()?;
    volume.rename(&segment::unfinished_name(number), &segment::file_name(number))?;
    volume.sync_names()?;
    let kept = if found.fault.is_some() { damaged_name(number) } else { kept_name(number) };
    damages.extend(found.fault.map(|why| Damage { file: kept.clone(), why }));
    volume.rename(&old_name(number), &kept)?;
    if let Some((round, why)) = found.journal_fault {
        damages.push(set_journal_aside(&**volume, round, why)?);
    }
    volume.sync_names()
}

/// Of a damaged newest file it is not known what it held: recovery sees its name, and stops appends until a reset.
fn set_aside(env: &Env, number: u64, why: String, is_newest: bool, damages: &mut Vec<Damage>) -> io::Result<()> {
    env.volume.remove(&segment::unfinished_name(number)).ok();
    if is_newest && env.volume.names()?.iter().any(|name| name == JOURNAL) {
        damages.push(set_journal_aside(&*env.volume, 0, "the file that it belongs to is lost".to_owned())?);
    }
    env.volume.rename(&file_name(number), &damaged_name(number))?;
    env.volume.sync_names()?;
    damages.push(Damage { file: damaged_name(number), why });
    Ok(())
}

/// Returns how it is to be reported; it may be gone.
fn set_journal_aside(volume: &dyn Volume, round: u64, why: String) -> io::Result<Damage> {
    match volume.rename(JOURNAL, &damaged_journal_name(round)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Damage { file: JOURNAL.to_owned(), why }),
        renamed => renamed.map(|()| Damage { file: damaged_journal_name(round), why }),
    }
}

/// What was found while a file was converted.
#[derive(Default)]
struct Converted {
    /// Its groups are known, but its records could not be read.
    fault: Option<String>,
    /// Entries of the journal are lost, by its round.
    journal_fault: Option<(u64, String)>,
}

fn convert_file(env: &Env, number: u64, is_newest: bool) -> Result<Converted, Fault> {
    let all = convert_with(env, number, is_newest, true);
    match all {
        // The groups have CRCs of their own: the log goes on from them, and misses what lies in this file.
        Err(Fault::Damaged(why)) if is_newest => {
            let found = convert_with(env, number, is_newest, false)?;
            Ok(Converted { fault: Some(why), ..found })
        }
        all => all,
    }
}

fn convert_with(env: &Env, number: u64, is_newest: bool, with_records: bool) -> Result<Converted, Fault> {
    tree::read(&*env.volume, number, |txn| {
        let Contents { started_at_ms, round, groups } = load(txn, number)?;
        let mut copy = Conversion {
            writer: Writer::create(env, number, started_at_ms)?,
            groups,
            trims: load_trims(txn)?,
            snapshots: HashMap::new(),
            places: HashMap::new(),
            next: HashMap::new(),
            others: 0,
        };
        for (group, state) in &copy.groups {
            copy.snapshots.extend(snapshot_of(txn, *group, state)?.map(|bytes| (*group, (state.snapshot_at, bytes))));
        }
        let mut commit = copy.writer.begin();
        // Replaced logs first: a group's state drops the log before it.
        for of_current in [false, true].into_iter().filter(|_| with_records) {
            commit = copy.records(txn, commit, of_current)?;
        }
        let mut found = Converted::default();
        if is_newest {
            found.journal_fault = copy.journal(&*env.volume, &mut commit, round)?.map(|why| (round.number, why));
        }
        copy.end(env, txn, commit)?;
        Ok(found)
    })
}

/// One file on its way into a segment.
struct Conversion {
    writer: Writer,
    groups: HashMap<GroupId, GroupState>,
    trims: HashMap<GroupId, Trim>,
    snapshots: HashMap<GroupId, (Seq, Bytes)>,
    places: HashMap<GroupId, Vec<Place>>,
    /// The log of each group that the segment goes on with, and from which message.
    next: HashMap<GroupId, (LogId, Seq)>,
    /// Runs of logs that were replaced.
    others: u32,
}

impl Conversion {
    /// Copies the records of the groups' logs, or of the ones that were replaced, as they are. What is damaged is left out, and
    /// is missed when it is read.
    fn records(&mut self, txn: &ReadTransaction, mut commit: Commit, of_current: bool) -> Result<Commit, Fault> {
        for entry in txn.open_table(RUNS)?.iter()? {
            let (key, value) = entry?;
            let (group, log, first) = place_of(key.value());
            let state = self.groups.get(&group).filter(|state| (state.log == log) == of_current);
            let Some(state) = state else { continue };
            let bytes = Bytes::copy_from_slice(value.value());
            let Ok((run, previous)) = Record::run_of(bytes.clone()) else { continue };
            if (run.header().group, run.header().log, run.first_seq()) != (group, log, first)
                || of_current && (first <= state.base || run.last_seq() > state.head)
            {
                continue;
            }
            let base = if of_current { state.base } else { Seq(first.0 - 1) };
            let begin = GroupState { base, last_hash: previous, ..GroupState::new(log, run.header().epoch) };
            self.push(&mut commit, group, begin, first, run.last_seq(), &bytes);
            if !of_current {
                self.places.remove(&group);
                self.others += 1;
            }
            if commit.len() > PIECE {
                self.writer.append_unsynced(commit)?;
                commit = self.writer.begin();
            }
        }
        Ok(commit)
    }

    /// Adds a record of messages `first` to `last`; `begin`: its group, should it not follow the one before.
    fn push(&mut self, commit: &mut Commit, group: GroupId, begin: GroupState, first: Seq, last: Seq, bytes: &[u8]) {
        let next = self.next.insert(group, (begin.log, last.next()));
        if next != Some((begin.log, first)) {
            let begin = GroupState { head: Seq(first.0 - 1), ..begin };
            commit.push_parts(Kind::Group, &[&encode_group(group, Seq::FIRST, &begin)]);
        }
        let spot = commit.push_parts(Kind::Run, &[bytes]);
        self.places.entry(group).or_default().push(Place { first, spot });
    }

    /// Adds what the journal has and the file has not. After a loss it is not known what any group had last; gives why.
    fn journal(&mut self, volume: &dyn Volume, commit: &mut Commit, round: Round) -> Result<Option<String>, Fault> {
        let mut fault = match journal::read(volume)? {
            None => (round.journal_bytes > 0).then(|| "it is gone".to_owned()),
            Some(content) => {
                let Entries { items, fault } = content.entries(round.number, round.journal_bytes as usize);
                let refused = items.into_iter().find_map(|item| self.item(commit, item).err());
                fault.or_else(|| refused.map(str::to_owned))
            }
        };
        if let Some(why) = &mut fault {
            self.groups.values_mut().for_each(|state| state.tail_lost = true);
            tracing::warn!(why, "the journal of the log is damaged");
        }
        Ok(fault)
    }

    fn item(&mut self, commit: &mut Commit, item: Kept) -> Result<(), &'static str> {
        let Kept { record: bytes, snapshot } = item;
        let record = Record::parse(bytes.clone())?;
        let (header, first, last) = (record.run.header(), record.run.first_seq(), record.run.last_seq());
        let state = self.groups.get_mut(&header.group).filter(|state| state.log == header.log);
        let state = state.filter(|state| state.deleted_at_ms.is_none()).ok_or("it has a group that is not stored")?;
        if (header.epoch, first, record.previous) != (state.epoch, state.head.next(), state.last_hash) {
            return Err("a record does not follow the one before it");
        }
        let begin = GroupState { last_hash: record.previous, ..state.clone() };
        (state.head, state.last_hash) = (last, record.hash);
        if let Some(snapshot) = snapshot {
            state.snapshot_at = last;
            self.snapshots.insert(header.group, (last, snapshot));
        }
        self.push(commit, header.group, begin, first, last, &bytes);
        Ok(())
    }

    /// Ends the segment with the groups as they stand.
    fn end(&mut self, env: &Env, txn: &ReadTransaction, mut commit: Commit) -> Result<(), Fault> {
        for (group, config) in load_configs(txn)? {
            commit.push_parts(Kind::Config, &[group.as_bytes(), &config]);
        }
        for ((group, log), since) in load_superseded(txn)? {
            push_superseded(&mut commit, group, log, since);
        }
        let (mut index, mut ended) = (Vec::new(), Vec::with_capacity(self.groups.len()));
        for (group, state) in &self.groups {
            let snapshot = self.snapshots.get(group).filter(|(at, _)| *at == state.snapshot_at);
            let snapshot_at = snapshot.map_or(Seq::ZERO, |(at, _)| *at);
            let state = GroupState { snapshot_at, ..state.clone() };
            let trim = self.trims.get(group).filter(|trim| trim.log == state.log);
            let first_kept = trim.map_or(Seq::FIRST, |trim| trim.first);
            commit.push_parts(Kind::Group, &[&encode_group(*group, first_kept, &state)]);
            if let Some((_, bytes)) = snapshot {
                push_snapshot(&mut commit, *group, &state, bytes);
            }
            let places = self.places.get(group).map_or(&[][..], Vec::as_slice);
            let (index_at, runs) = (index.len() as u64, places.len() as u64);
            places.iter().for_each(|place| index.extend_from_slice(&place.encode()));
            ended.push(Sealed { group: *group, state, first_kept, index_at, runs });
        }
        push_sealed(&mut commit, &index, self.others, &mut ended);
        self.writer.append_unsynced(commit)?;
        Ok(self.writer.settle(env)?)
    }
}

fn place_of(key: &[u8; 32]) -> (GroupId, LogId, Seq) {
    (GroupId(*key.first_chunk().expect("a key has 32 bytes")), LogId(word(key, 16)), seq_of(key))
}

fn snapshot_of(txn: &ReadTransaction, group: GroupId, state: &GroupState) -> Result<Option<Bytes>, Fault> {
    if state.snapshot_at == Seq::ZERO {
        return Ok(None);
    }
    match snapshot(txn, group, state.log, state.snapshot_at) {
        // Its group begins from the runs.
        Err(Fault::Damaged(_)) => Ok(None),
        found => found,
    }
}
