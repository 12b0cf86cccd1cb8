//! Opening: from the files found in the folder to the index, and a newest file that can be written.

use std::{collections::HashMap, sync::Arc};

use gaung_proto::{GroupId, Seq};

use crate::{
    committer::{begin_file, set_aside_journal},
    disk::OpenLogError,
    fault::Fault,
    file::{Contents, LogFile, load_configs, load_trims},
    journal::{Entries, JOURNAL, Journal, Kept, Left},
    layout::{FORMAT, FileMeta, Name, Round, damaged_journal_name, damaged_name, file_name},
    pending::Staged,
    shared::{Damage, Shared},
};

/// The newest file, opened for writing.
pub(crate) struct Active {
    pub(crate) file: Arc<LogFile>,
    pub(crate) meta: FileMeta,
    /// Number of the next one; no file, damaged ones included, has it or a higher one.
    pub(crate) next_number: u64,
    /// The one that the last process left, if it can be written on.
    pub(crate) journal: Option<Journal>,
}

/// Fills the index, the row of files, and what the journal alone has; sets damaged files aside.
pub(crate) fn recover(shared: &Shared) -> Result<Active, OpenLogError> {
    let found = find(shared)?;
    let left = Left::read(&shared.env);
    let left = left.map_err(|source| OpenLogError::File { file: JOURNAL.into(), source })?;
    let highest = found.files.iter().chain(&found.damaged).max().copied().unwrap_or(0);
    let mut rest = found.files;
    let mut ends = HashMap::new();
    let mut lost_after = found.damaged.iter().max().copied().unwrap_or(0);
    let newest = loop {
        let Some(number) = rest.pop() else { break None };
        match open_newest(shared, number, &mut ends)? {
            Some(newest) => break Some(newest),
            None => lost_after = lost_after.max(number),
        }
    };
    let newest_number = newest.as_ref().map_or(0, |newest| newest.meta.number);
    let tail_lost = lost_after > newest_number;
    let mut active = match newest {
        Some(newest) if newest.sound && lost_after < newest_number => {
            let Newest { file, meta, .. } = newest;
            shared.files_mut().insert(meta.number, Arc::clone(&file));
            Active { file, meta, next_number: highest + 1, journal: None }
        }
        newest => {
            let in_journal = left.as_ref().and_then(|left| left.content.highest_round()).unwrap_or(0);
            replace(shared, newest, tail_lost, in_journal.max(found.last_set_aside), highest + 1)?
        }
    };
    insert_earlier(shared, rest, ends)?;
    active.journal = replay(shared, left, active.meta.round, tail_lost)?;
    Ok(active)
}

/// Takes from the journal what the active file has not. After a loss it is not known what that would follow.
fn replay(shared: &Shared, left: Option<Left>, round: Round, tail_lost: bool) -> Result<Option<Journal>, OpenLogError> {
    let Some(left) = left else {
        if round.journal_bytes > 0 {
            shared.pending_mut().tail_lost = true;
            shared.damages.add(Damage { file: JOURNAL.into(), why: "it is gone".into() });
        }
        return Ok(None);
    };
    if tail_lost {
        if let Some(last) = left.content.highest_round() {
            let why = "the file that it belongs to is lost";
            set_aside_journal(shared, last);
            shared.damages.add(Damage { file: damaged_journal_name(last), why: why.into() });
            return Ok(None);
        }
        return Ok(reused(shared, left));
    }
    let Entries { items, mut fault } = left.content.entries(round.number, round.journal_bytes as usize);
    let mut staged = Staged::default();
    {
        let index = shared.index();
        for Kept { record, snapshot, .. } in items {
            if let Err(why) = staged.replay(&index, record, snapshot) {
                fault.get_or_insert(why);
            }
        }
    }
    let mut pending = shared.pending_mut();
    pending.add(staged);
    let Some(why) = fault else { return Ok(reused(shared, left)) };
    pending.tail_lost = true;
    drop(pending);
    shared.damages.add(Damage { file: damaged_journal_name(round.number), why });
    Ok(None)
}

/// The journal, if it is as long as one that would be made.
fn reused(shared: &Shared, left: Left) -> Option<Journal> {
    let bytes = shared.env.options.journal_bytes;
    Some(left.into_journal()).filter(|journal| bytes > 0 && journal.bytes() >= bytes)
}

struct Found {
    files: Vec<u64>,
    damaged: Vec<u64>,
    /// Highest round of a journal that was set aside.
    last_set_aside: u64,
}

fn find(shared: &Shared) -> Result<Found, OpenLogError> {
    let mut found = Found { files: Vec::new(), damaged: Vec::new(), last_set_aside: 0 };
    for name in shared.env.volume.names().map_err(OpenLogError::Io)? {
        match Name::parse(&name) {
            Some(Name::Log(number)) => found.files.push(number),
            Some(Name::Damaged(number)) => found.damaged.push(number),
            // It was being made when the power went, and nothing was ever acknowledged from it.
            Some(Name::Unfinished) => shared.env.volume.remove(&name).map_err(OpenLogError::Io)?,
            Some(Name::JournalDamaged(round)) => found.last_set_aside = found.last_set_aside.max(round),
            Some(Name::Journal) | None => {}
        }
    }
    found.files.sort_unstable();
    Ok(found)
}

struct Newest {
    file: Arc<LogFile>,
    meta: FileMeta,
    /// Every page agrees with its checksum; otherwise only what it says of its groups could be read.
    sound: bool,
}

/// Opens what should be the newest file and puts its groups into the index; `None` if it is damaged beyond use.
fn open_newest(shared: &Shared, number: u64, ends: &mut HashMap<GroupId, Seq>) -> Result<Option<Newest>, OpenLogError> {
    let env = &shared.env;
    let (opened, sound) = match LogFile::open_writer(env, number, env.options.verify_newest) {
        Ok(opened) => (Ok(opened), true),
        Err(Fault::Damaged(why)) => {
            // The groups have CRCs of their own: if they hold, the log goes on from them, and misses only what lies in
            // this file.
            let opened = LogFile::open_sealed(env, number);
            shared.damages.add(Damage { file: damaged_name(number), why });
            (opened, false)
        }
        Err(fault) => (Err(fault), false),
    };
    let opened = opened.and_then(|(file, contents)| {
        let (configs, trims) = file.read(env, |txn| Ok((load_configs(txn)?, load_trims(txn)?)))?;
        Ok((file, contents, configs, trims))
    });
    let (file, contents, mut configs, trims) = match opened {
        Ok(opened) => opened,
        Err(Fault::Damaged(why)) => {
            if sound {
                shared.damages.add(Damage { file: damaged_name(number), why });
            }
            set_aside(shared, number)?;
            return Ok(None);
        }
        Err(Fault::Newer { found }) => {
            return Err(OpenLogError::NewerFormat { file: file_name(number), found, supported: FORMAT });
        }
        Err(Fault::Io(source)) => return Err(OpenLogError::File { file: file_name(number), source }),
    };
    let mut index = shared.index_mut();
    for (group, state) in contents.groups {
        let config = configs.remove(&group).unwrap_or_default();
        ends.insert(group, state.base);
        index.insert(group, state, config, number);
    }
    for (group, trim) in trims {
        index.trim(group, trim);
    }
    Ok(Some(Newest { file: Arc::new(file), meta: contents.meta, sound }))
}

fn set_aside(shared: &Shared, number: u64) -> Result<(), OpenLogError> {
    let volume = &shared.env.volume;
    let renamed = volume.rename(&file_name(number), &damaged_name(number));
    renamed.and_then(|()| volume.sync_names()).map_err(OpenLogError::Io)
}

/// Begins a new file from the index, because there is no file, or the newest one cannot be built upon.
///
/// `last_round`: the highest that any journal has entries of.
fn replace(
    shared: &Shared,
    newest: Option<Newest>,
    tail_lost: bool,
    last_round: u64,
    number: u64,
) -> Result<Active, OpenLogError> {
    if tail_lost {
        for entry in shared.index_mut().groups.values_mut() {
            entry.state.tail_lost = true;
        }
    }
    let groups = shared.index().groups.len() as u64;
    let round = match &newest {
        Some(newest) if !tail_lost => newest.meta.round,
        newest => {
            let named = newest.as_ref().map_or(0, |newest| newest.meta.round.number);
            Round { number: last_round.max(named) + 1, journal_bytes: 0 }
        }
    };
    let meta = FileMeta { number, started_at_ms: (shared.env.options.clock)(), groups, round };
    let before = newest.as_ref().map(|newest| &*newest.file);
    let begun = begin_file(shared, meta, before);
    let (file, dropped) =
        begun.map_err(|fault| OpenLogError::File { file: file_name(number), source: fault.into_io() })?;
    let mut index = shared.index_mut();
    index.carry();
    for group in dropped {
        index.groups.entry(group).and_modify(|entry| entry.state.snapshot_at = Seq::ZERO);
    }
    let file = Arc::new(file);
    shared.files_mut().insert(number, Arc::clone(&file));
    if let Some(newest) = newest {
        newest.file.close();
        if newest.sound {
            shared.files_mut().insert(newest.meta.number, newest.file);
        } else {
            index.remove_file(newest.meta.number);
            set_aside(shared, newest.meta.number)?;
        }
    }
    Ok(Active { file, meta, next_number: number + 1, journal: None })
}

/// Adds the files before the newest, from new to old. `ends`: the last message of each group that they may hold.
fn insert_earlier(shared: &Shared, files: Vec<u64>, mut ends: HashMap<GroupId, Seq>) -> Result<(), OpenLogError> {
    for number in files.into_iter().rev() {
        let (file, Contents { groups, .. }) = match LogFile::open_sealed(&shared.env, number) {
            Ok(opened) => opened,
            Err(Fault::Damaged(why)) => {
                set_aside(shared, number)?;
                shared.damages.add(Damage { file: damaged_name(number), why });
                continue;
            }
            Err(fault) => {
                return Err(OpenLogError::File { file: file_name(number), source: fault.into_io() });
            }
        };
        let mut index = shared.index_mut();
        for (group, state) in &groups {
            index.insert_before(*group, state, number, &mut ends);
        }
        shared.files_mut().insert(number, Arc::new(file));
    }
    Ok(())
}
