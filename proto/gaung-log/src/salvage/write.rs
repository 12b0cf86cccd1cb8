//! The new log: a file for each batch, and one more to go on from.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use bytes::Bytes;
use gaung_proto::{GroupId, Seq};
use redb::WriteTransaction;

use super::{
    SalvageError,
    collect::{Found, Place},
    plan::{Batch, Plan},
    scan,
    source::Source,
};
use crate::{
    disk::DiskOptions,
    fault::Fault,
    file::{Env, LogFile},
    layout::{CONFIGS, FileMeta, GROUPS, GroupState, RUNS, Round, SNAPSHOTS, file_name, protect},
    record::{Hash, Record},
    volume::Folder,
};

/// Records in memory at a time; each is at most 257 KiB.
const AT_ONCE: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    to: PathBuf,
    existed: bool,
    env: Option<Env>,
    made: u64,
    /// Every group as it stands in the files made so far.
    states: BTreeMap<GroupId, GroupState>,
}

/// Why a file was not made: whichever of the two logs is to blame.
enum Failed {
    Reading(io::Error),
    Writing(Fault),
}

impl Writer {
    pub(super) fn new(to: &Path) -> Self {
        Self { to: to.to_owned(), existed: to.exists(), env: None, made: 0, states: BTreeMap::new() }
    }

    /// Copies a batch of records of the old file `number` into a new file.
    pub(super) fn copy(&mut self, source: &Source, number: u64, batch: &Batch) -> Result<(), SalvageError> {
        for state in self.states.values_mut() {
            *state = state.carried();
        }
        for stretch in batch {
            let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
            let state = GroupState {
                head: last.last,
                base: Seq(first.first.0 - 1),
                last_hash: last.hash,
                ..GroupState::new(last.log, last.epoch)
            };
            self.states.insert(first.group, state);
        }
        let states: Vec<_> = self.states.iter().map(|(group, state)| (*group, state.clone())).collect();
        let path = source.path(number).to_owned();
        let mut failed = None;
        let made = self.make(states, |txn| {
            let copied = copy(source, number, batch, txn);
            copied.map_err(|error| match error {
                Failed::Writing(fault) => fault,
                Failed::Reading(error) => {
                    failed = Some(error);
                    Fault::damaged("the old log cannot be read again")
                }
            })
        });
        match failed {
            Some(source) => Err(SalvageError::Io { path, source }),
            None => made,
        }
    }

    /// Makes the file that the new log goes on from.
    pub(super) fn finish(&mut self, plan: &Plan) -> Result<(), SalvageError> {
        self.make(plan.states().collect(), |txn| {
            let mut configs = txn.open_table(CONFIGS)?;
            for (group, config) in plan.configs() {
                configs.insert(&group.0, protect(&group.0, config).as_slice())?;
            }
            Ok(())
        })
    }

    /// Removes what was made, for it is not the whole.
    pub(super) fn give_up(self) {
        let Self { to, existed, env, made, states: _ } = self;
        if env.is_none() {
            return;
        }
        drop(env);
        let names = (1..=made).map(file_name).chain(["lock".to_owned()]);
        for name in names {
            fs::remove_file(to.join(name)).ok();
        }
        if !existed {
            fs::remove_dir(to).ok();
        }
    }

    fn make(
        &mut self,
        states: Vec<(GroupId, GroupState)>,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<(), SalvageError> {
        let env = match &mut self.env {
            Some(env) => env,
            none => none.insert(env(&self.to)?),
        };
        self.made += 1;
        let (groups, round) = (states.len() as u64, Round::default());
        let meta = FileMeta { number: self.made, started_at_ms: (env.options.clock)(), groups, round };
        let file = LogFile::create(env, meta, |txn| {
            txn.open_table(SNAPSHOTS)?;
            txn.open_table(CONFIGS)?;
            txn.open_table(RUNS)?;
            {
                let mut groups = txn.open_table(GROUPS)?;
                for (group, state) in &states {
                    groups.insert(&group.0, state.encode(*group).as_slice())?;
                }
            }
            fill(txn)
        });
        let failed = |fault: Fault| SalvageError::Io { path: self.to.clone(), source: fault.into_io() };
        file.map_err(failed)?.close();
        Ok(())
    }
}

fn env(to: &Path) -> Result<Env, SalvageError> {
    Ok(Env {
        volume: Arc::new(Folder::hold(to)?),
        options: DiskOptions::default(),
        syncs: Arc::new(AtomicU64::new(0)),
        uses: AtomicU64::new(0),
        opened: AtomicBool::new(false),
    })
}

/// Copies records a few at a time, as they are.
fn copy(source: &Source, number: u64, batch: &Batch, txn: &WriteTransaction) -> Result<(), Failed> {
    let mut old = Old::open(source, number).map_err(Failed::Reading)?;
    let mut runs = txn.open_table(RUNS).map_err(|error| Failed::Writing(error.into()))?;
    let all: Vec<&Found> = batch.iter().flatten().collect();
    for some in all.chunks(AT_ONCE) {
        let bytes = old.read(some).map_err(|fault| Failed::Reading(fault.into_io()))?;
        for (found, bytes) in some.iter().zip(bytes) {
            runs.insert(&found.key(), bytes.as_ref()).map_err(|error| Failed::Writing(error.into()))?;
        }
    }
    old.file.close();
    Ok(())
}

/// A file of the old log whose records are known, to be read once more.
struct Old<'a> {
    source: &'a Source,
    file: LogFile,
    path: &'a Path,
    bare: File,
    /// Where records lie, once the store did not give one under its key: that takes other pages than going through all.
    places: Option<HashMap<Hash, u64>>,
}

impl<'a> Old<'a> {
    fn open(source: &'a Source, number: u64) -> io::Result<Self> {
        let path = source.path(number);
        Ok(Self { source, file: LogFile::closed(number), path, bare: File::open(path)?, places: None })
    }

    fn read(&mut self, wanted: &[&Found]) -> Result<Vec<Bytes>, Fault> {
        let mut by_key: Vec<Option<Bytes>> = vec![None; wanted.len()];
        if wanted.iter().any(|found| found.place == Place::Table) {
            // Whatever is not read so is read from where it lies.
            let _damage = self.file.read(&self.source.env, |txn| {
                let table = txn.open_table(RUNS)?;
                for (found, bytes) in wanted.iter().zip(&mut by_key) {
                    if found.place == Place::Table {
                        *bytes = table.get(&found.key())?.map(|value| Bytes::copy_from_slice(value.value()));
                    }
                }
                Ok(())
            });
        }
        let is_the_same =
            |found: &Found, bytes: &Bytes| Record::parse(bytes.clone()).is_ok_and(|record| record.hash == found.hash);
        let mut all = Vec::with_capacity(wanted.len());
        for (found, bytes) in wanted.iter().zip(by_key) {
            let by_key = bytes.filter(|bytes| is_the_same(found, bytes));
            let bytes = match by_key {
                Some(bytes) => Some(bytes),
                None => self.read_bare(found)?.filter(|bytes| is_the_same(found, bytes)),
            };
            all.push(bytes.ok_or_else(changed)?);
        }
        Ok(all)
    }

    fn read_bare(&mut self, found: &Found) -> io::Result<Option<Bytes>> {
        let offset = match found.place {
            Place::At(offset) | Place::Read(offset) => Some(offset),
            Place::Table => self.places()?.get(&found.hash).copied(),
        };
        offset.map_or(Ok(None), |offset| scan::bytes_at(&self.bare, offset))
    }

    fn places(&mut self) -> io::Result<&HashMap<Hash, u64>> {
        if self.places.is_none() {
            let mut places = HashMap::new();
            scan::records(self.path, |offset, record| {
                places.insert(record.hash, offset);
            })?;
            self.places = Some(places);
        }
        Ok(self.places.get_or_insert_default())
    }
}

fn changed() -> Fault {
    Fault::damaged("a record that was whole is not any more: the disk, or somebody, changes the file while it is read")
}
