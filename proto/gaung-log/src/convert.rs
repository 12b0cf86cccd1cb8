//! Converting a log in B-trees into one in segments, file by file, so that it takes the room of one file more.
//!
//! Each `log-N.redb` becomes `log-N.seg`, the oldest first: the segment is made under its unfinished name and synced, the
//! old file is renamed to `log-N.redb.old`, the segment gets its name, and the old file is kept as `log-N.redb.converted`
//! while there is room. A conversion that was stopped goes on at the next opening: an old file without its segment gets its
//! name back. So no number ever has both, and while it lasts all segments come before all old files. Any other mixture was
//! left by an older program that has written here since, and is refused.
//!
//! An older program that is started here finds a newest file of a later format, and says that it needs a newer program.

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq};
use redb::{ReadTransaction, ReadableTable as _, TableError};

use crate::{
    disk::{DiskLog, DiskOptions, OpenLogError},
    fault::Fault,
    file::{Contents, Env, LogFile, load, load_configs, load_trims},
    journal::JOURNAL,
    layout::{
        FORMAT, GUARD, GroupState, META, META_FORMAT, Name, RUNS, SUPERSEDED, Trim, damaged_name, file_name, seq_of,
        word,
    },
    record::Record,
    segment::{
        Superseded, encode_group,
        file::{self as segment, Sealed, SegmentName},
        frame::{Commit, Kind, Place},
        push_sealed, push_snapshot, push_superseded,
        writer::Writer,
    },
    shared::Damage,
    volume::{Volume, Watch, Watched},
};

/// Bytes of records in memory at a time.
const PIECE: usize = 4 << 20;

/// Leaves no old file; gives those that were found damaged and set aside.
pub(crate) fn convert(env: &Env) -> Result<Vec<Damage>, OpenLogError> {
    take_back(env)?;
    let (old, segments) = find(env)?;
    let Some(first) = old.first() else { return Ok(Vec::new()) };
    if segments.last().is_some_and(|last| last >= first) {
        let why =
            "an older program has written here since the log was converted; move its files (log-*.redb, journal) away";
        return Err(OpenLogError::File { file: file_name(*first), source: io::Error::other(why) });
    }
    // What is in the journal alone goes into the newest file, and a crash is repaired.
    let options = DiskOptions { journal_bytes: 0, ..env.options.clone() };
    let log = DiskLog::on(Arc::clone(&env.volume), options)?;
    let mut damages = log.damages();
    drop(log);
    refuse_older_programs(env).map_err(OpenLogError::Io)?;
    let (old, _) = find(env)?;
    for number in &old {
        let is_newest = Some(number) == old.last();
        let mut converted = convert_file(env, *number, is_newest);
        if matches!(&converted, Err(Fault::Io(error)) if error.kind() == io::ErrorKind::StorageFull)
            && remove_copies(&*env.volume).map_err(OpenLogError::Io)? > 0
        {
            converted = convert_file(env, *number, is_newest);
        }
        match converted {
            Ok(()) => replace(env, *number, is_newest).map_err(OpenLogError::Io)?,
            Err(Fault::Damaged(why)) if !is_newest => {
                let aside = env.volume.rename(&file_name(*number), &damaged_name(*number));
                aside.and_then(|()| env.volume.sync_names()).map_err(OpenLogError::Io)?;
                damages.push(Damage { file: damaged_name(*number), why });
            }
            Err(fault) => {
                env.volume.remove(&segment::unfinished_name(*number)).ok();
                return Err(OpenLogError::File { file: file_name(*number), source: fault.into_io() });
            }
        }
    }
    tracing::info!(
        files = old.len(),
        "the log was converted into segments; what it was is kept as log-*.redb.converted"
    );
    Ok(damages)
}

fn old_name(number: u64) -> String {
    format!("{}.old", file_name(number))
}

const KEPT: &str = ".redb.converted";

fn kept_name(number: u64) -> String {
    format!("log-{number:010}{KEPT}")
}

fn copies(volume: &dyn Volume) -> io::Result<Vec<String>> {
    Ok(volume.names()?.into_iter().filter(|name| name.starts_with("log-") && name.ends_with(KEPT)).collect())
}

/// Bytes of the files that were converted and are kept.
pub(crate) fn bytes_of_copies(volume: &dyn Volume) -> u64 {
    let names = copies(volume).unwrap_or_default();
    names.iter().map(|name| volume.len(name).unwrap_or(0)).sum()
}

/// Removes the files that were converted and are kept; gives how many.
pub(crate) fn remove_copies(volume: &dyn Volume) -> io::Result<usize> {
    let names = copies(volume)?;
    names.iter().try_for_each(|name| volume.remove(name))?;
    if !names.is_empty() {
        volume.sync_names()?;
    }
    Ok(names.len())
}

/// Makes a file that programs before segments take for the newest, of a format that they refuse.
fn refuse_older_programs(env: &Env) -> io::Result<()> {
    let names = env.volume.names()?;
    if names.iter().any(|name| name == GUARD) {
        return Ok(());
    }
    let unfinished = format!("{GUARD}.new");
    let made = || -> Result<(), redb::Error> {
        let file = Watched::new(env.volume.create(&unfinished)?, Watch::new(Arc::clone(&env.syncs)));
        let db = redb::Builder::new().create_with_backend(file)?;
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
        Some(Name::Damaged(_) | Name::Unfinished | Name::Journal | Name::JournalDamaged(_)) | None => None,
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
fn replace(env: &Env, number: u64, is_newest: bool) -> io::Result<()> {
    let volume = &env.volume;
    if is_newest && volume.names()?.iter().any(|name| name == JOURNAL) {
        // The newest file has all of it, and says so.
        volume.remove(JOURNAL)?;
    }
    volume.rename(&file_name(number), &old_name(number))?;
    volume.sync_names()?;
    volume.rename(&segment::unfinished_name(number), &segment::file_name(number))?;
    volume.sync_names()?;
    volume.rename(&old_name(number), &kept_name(number))?;
    volume.sync_names()
}

fn convert_file(env: &Env, number: u64, is_newest: bool) -> Result<(), Fault> {
    let file = LogFile::closed(number);
    let converted = file.read(env, |txn| {
        let Contents { meta, groups } = load(txn, number)?;
        if is_newest && meta.round.journal_bytes > 0 {
            return Err(Fault::Io(io::Error::other("the end of the log is still in the journal")));
        }
        let writer = Writer::create(env, number, meta.started_at_ms)?;
        let trims = load_trims(txn)?.into_iter().collect();
        let mut copy = Conversion { writer, groups, trims, index: Vec::new(), places: HashMap::new(), others: 0 };
        copy.run(env, txn)
    });
    file.close();
    converted
}

/// One file on its way into a segment.
struct Conversion {
    writer: Writer,
    groups: HashMap<GroupId, GroupState>,
    trims: HashMap<GroupId, Trim>,
    index: Vec<u8>,
    /// Where a group's runs begin in the index, and how many there are.
    places: HashMap<GroupId, (u64, u64)>,
    /// Runs of logs that were replaced.
    others: u32,
}

impl Conversion {
    fn run(&mut self, env: &Env, txn: &ReadTransaction) -> Result<(), Fault> {
        let mut commit = self.writer.begin();
        // Replaced logs first: a group's state drops the log before it.
        for of_current in [false, true] {
            commit = self.records(txn, commit, of_current)?;
        }
        for (group, config) in load_configs(txn)? {
            commit.push_parts(Kind::Config, &[group.as_bytes(), &config]);
        }
        for ((group, log), since) in load_superseded(txn)? {
            push_superseded(&mut commit, group, log, since);
        }
        let mut ended = Vec::with_capacity(self.groups.len());
        for (group, state) in &self.groups {
            let mut state = state.clone();
            let snapshot = snapshot_of(txn, *group, &state)?;
            if snapshot.is_none() {
                state.snapshot_at = Seq::ZERO;
            }
            let first_kept = self.first_kept(*group, state.log);
            commit.push_parts(Kind::Group, &[&encode_group(*group, first_kept, &state)]);
            if let Some(bytes) = snapshot {
                push_snapshot(&mut commit, *group, &state, &bytes);
            }
            let (index_at, runs) = self.places.get(group).copied().unwrap_or_default();
            ended.push(Sealed { group: *group, state, first_kept, index_at, runs });
        }
        push_sealed(&mut commit, &self.index, self.others, &mut ended);
        self.writer.append_unsynced(commit)?;
        Ok(self.writer.settle(env)?)
    }

    fn first_kept(&self, group: GroupId, log: LogId) -> Seq {
        self.trims.get(&group).filter(|trim| trim.log == log).map_or(Seq::FIRST, |trim| trim.first)
    }

    /// Copies the records of the groups' logs, or of the ones that were replaced, as they are. What is damaged is left out, and
    /// is missed when it is read.
    fn records(&mut self, txn: &ReadTransaction, mut commit: Commit, of_current: bool) -> Result<Commit, Fault> {
        let mut next = None;
        for entry in txn.open_table(RUNS)?.iter()? {
            let (key, value) = entry?;
            let (group, log, first) = place_of(key.value());
            let Some(state) = self.groups.get(&group).filter(|state| (state.log == log) == of_current) else {
                continue;
            };
            let bytes = Bytes::copy_from_slice(value.value());
            let Ok((run, previous)) = Record::run_of(bytes.clone()) else { continue };
            if (run.header().group, run.header().log, run.first_seq()) != (group, log, first)
                || of_current && (first <= state.base || run.last_seq() > state.head)
            {
                continue;
            }
            if next != Some((group, log, first)) {
                let before = Seq(first.0 - 1);
                let base = if of_current { state.base } else { before };
                let epoch = run.header().epoch;
                let begin = GroupState { base, head: before, last_hash: previous, ..GroupState::new(log, epoch) };
                commit.push_parts(Kind::Group, &[&encode_group(group, Seq::FIRST, &begin)]);
            }
            next = Some((group, log, run.last_seq().next()));
            let spot = commit.push_parts(Kind::Run, &[&bytes]);
            if of_current {
                let (_, runs) = self.places.entry(group).or_insert((self.index.len() as u64, 0));
                *runs += 1;
                self.index.extend_from_slice(&Place { first, spot }.encode());
            } else {
                self.others += 1;
            }
            if commit.len() > PIECE {
                self.writer.append_unsynced(commit)?;
                commit = self.writer.begin();
            }
        }
        Ok(commit)
    }
}

fn place_of(key: &[u8; 32]) -> (GroupId, LogId, Seq) {
    (GroupId(*key.first_chunk().expect("a key has 32 bytes")), LogId(word(key, 16)), seq_of(key))
}

fn snapshot_of(txn: &ReadTransaction, group: GroupId, state: &GroupState) -> Result<Option<Bytes>, Fault> {
    if state.snapshot_at == Seq::ZERO {
        return Ok(None);
    }
    match LogFile::snapshot(txn, group, state.log, state.snapshot_at) {
        Ok(found) => Ok(found.filter(|(at, _)| *at == state.snapshot_at).map(|(_, bytes)| bytes)),
        // Its group begins from the runs.
        Err(Fault::Damaged(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn load_superseded(txn: &ReadTransaction) -> Result<Superseded, Fault> {
    let table = match txn.open_table(SUPERSEDED) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Superseded::new()),
        Err(error) => return Err(error.into()),
    };
    let mut superseded = Superseded::new();
    for entry in table.iter()? {
        let (key, since) = entry?;
        let key = key.value();
        let group = GroupId(*key.first_chunk().expect("a key has 24 bytes"));
        superseded.insert((group, LogId(word(key, 16))), since.value());
    }
    Ok(superseded)
}
