//! One file of the log: opened when needed, read by many, written by the committer alone.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq, run::Run};
use redb::{
    Builder, Database, DatabaseError, Key, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _,
    ReadableTable as _, TableDefinition, TableError, Value, WriteTransaction,
};

use crate::{
    disk::DiskOptions,
    fault::{Fault, guarded},
    layout::{
        CONFIGS, FORMAT, FileMeta, GROUPS, GroupState, META, META_FILE, META_FORMAT, RUNS, SNAPSHOTS, TRIMS, Trim,
        file_name, seq_key, seq_of, unfinished_name, unprotect,
    },
    overlay::Overlay,
    record::Record,
    volume::{Volume, Watch, Watched},
};

/// What every file needs from outside.
#[derive(Debug)]
pub(crate) struct Env {
    pub(crate) volume: Arc<dyn Volume>,
    pub(crate) options: DiskOptions,
    pub(crate) syncs: Arc<AtomicU64>,
    /// Rises at each use of a file, to find the one that was used longest ago.
    pub(crate) uses: AtomicU64,
    /// Set when a file is opened for reading.
    pub(crate) opened: AtomicBool,
}

impl Env {
    fn builder(&self, cache_bytes: usize) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes);
        builder
    }
}

/// One file. Its lock is held for reading while it is read or written, for writing while it is opened or closed.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) number: u64,
    pub(crate) started_at_ms: u64,
    slot: RwLock<Option<Handle>>,
    used_at: AtomicU64,
    gone: AtomicBool,
}

enum Handle {
    Writer(Database, Arc<Watch>),
    Reader(ReadOnlyDatabase),
    /// Repaired in memory.
    Repaired(Database),
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writer(..) => "Writer",
            Self::Reader(_) => "Reader",
            Self::Repaired(_) => "Repaired",
        })
    }
}

/// What a file says of itself and its groups.
#[derive(Debug, Clone)]
pub(crate) struct Contents {
    pub(crate) meta: FileMeta,
    pub(crate) groups: HashMap<GroupId, GroupState>,
}

/// Which messages of which log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub(crate) group: GroupId,
    pub(crate) log: LogId,
    pub(crate) from: Seq,
    pub(crate) last: Seq,
}

impl LogFile {
    /// Makes a file that is whole and durable before it bears its name. `fill` writes the groups.
    pub(crate) fn create(
        env: &Env,
        meta: FileMeta,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        let unfinished = unfinished_name(meta.number);
        let made = guarded(|| {
            let watch = Watch::new(Arc::clone(&env.syncs));
            let backend = Watched::new(env.volume.create(&unfinished)?, Arc::clone(&watch));
            let db = env.builder(env.options.write_cache_bytes).create_with_backend(backend)?;
            let txn = db.begin_write()?;
            txn.open_table(META)?.insert(META_FORMAT, FORMAT.to_be_bytes().as_slice())?;
            txn.open_table(META)?.insert(META_FILE, meta.encode().as_slice())?;
            fill(&txn)?;
            txn.commit()?;
            env.volume.rename(&unfinished, &file_name(meta.number))?;
            env.volume.sync_names()?;
            Ok(Handle::Writer(db, watch))
        });
        if made.is_err() {
            // What is left of it bears no valid name, and is removed at the next opening at the latest.
            env.volume.remove(&unfinished).ok();
        }
        Ok(Self::new(meta.number, meta.started_at_ms, Some(made?)))
    }

    /// Opens the newest file for writing, repaired if it was not closed. `verify`: also compare every page with its
    /// checksum.
    pub(crate) fn open_writer(env: &Env, number: u64, verify: bool) -> Result<(Self, Contents), Fault> {
        let file = Self::closed(number);
        let contents = file.reopen_writer(env, verify)?;
        Ok((Self { started_at_ms: contents.meta.started_at_ms, ..file }, contents))
    }

    /// Opens a file that is no longer written, reads what it says, and closes it.
    pub(crate) fn open_sealed(env: &Env, number: u64) -> Result<(Self, Contents), Fault> {
        let file = Self::closed(number);
        let contents = file.read(env, |txn| load(txn, number))?;
        file.close();
        Ok((Self { started_at_ms: contents.meta.started_at_ms, ..file }, contents))
    }

    /// A file that opens when it is read.
    pub(crate) fn closed(number: u64) -> Self {
        Self::new(number, 0, None)
    }

    /// The same, begun at `started_at_ms`.
    pub(crate) fn closed_at(number: u64, started_at_ms: u64) -> Self {
        Self::new(number, started_at_ms, None)
    }

    fn new(number: u64, started_at_ms: u64, handle: Option<Handle>) -> Self {
        let slot = RwLock::new(handle);
        Self { number, started_at_ms, slot, used_at: AtomicU64::new(0), gone: AtomicBool::new(false) }
    }

    /// Closes the file if it is open, and opens it for writing.
    pub(crate) fn reopen_writer(&self, env: &Env, verify: bool) -> Result<Contents, Fault> {
        let mut slot = self.exclusive();
        drop_handle(slot.take());
        guarded(|| {
            let watch = Watch::new(Arc::clone(&env.syncs));
            let backend = Watched::new(env.volume.open(&file_name(self.number))?, Arc::clone(&watch));
            let mut builder = env.builder(env.options.write_cache_bytes);
            let db = builder.set_check_integrity_on_open(verify).create_with_backend(backend)?;
            let contents = load(&db.begin_read()?, self.number)?;
            *slot = Some(Handle::Writer(db, watch));
            Ok(contents)
        })
    }

    /// Runs `work` in a read transaction, opening the file if it is not open.
    pub(crate) fn read<T>(
        &self,
        env: &Env,
        work: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.used_at.store(env.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        loop {
            let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(handle) = &*slot {
                let result = guarded(|| {
                    let txn = match handle {
                        Handle::Writer(db, _) => db.begin_read()?,
                        Handle::Reader(db) => db.begin_read()?,
                        Handle::Repaired(db) => db.begin_read()?,
                    };
                    work(&txn)
                });
                let is_writer = matches!(handle, Handle::Writer(..));
                drop(slot);
                if matches!(result, Err(Fault::Io(_))) && !is_writer {
                    // After one failed read the store refuses all others until it is opened again.
                    self.try_close();
                }
                return result;
            }
            drop(slot);
            let mut slot = self.exclusive();
            if slot.is_none() {
                *slot = Some(guarded(|| self.open_reader(env))?);
                env.opened.store(true, Ordering::Relaxed);
            }
        }
    }

    fn open_reader(&self, env: &Env) -> Result<Handle, Fault> {
        let name = file_name(self.number);
        let watched = || -> Result<Watched, Fault> {
            Ok(Watched::new(env.volume.open(&name)?, Watch::new(Arc::clone(&env.syncs))))
        };
        let builder = env.builder(env.options.read_cache_bytes);
        match builder.open_read_only_with_backend(watched()?) {
            Ok(db) => Ok(Handle::Reader(db)),
            // It was not closed in order, and has to be repaired, which a read-only opening does not do.
            Err(DatabaseError::RepairAborted) => {
                Ok(Handle::Repaired(builder.create_with_backend(Overlay::new(watched()?)?)?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs `work` in a write transaction, and commits what it wrote with one sync; `work` says whether there is
    /// anything.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(T, bool), Fault>,
    ) -> Result<T, Fault> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Handle::Writer(db, _)) = &*slot else {
            return Err(Fault::Io(std::io::Error::other("the file is not open for writing")));
        };
        guarded(|| {
            let txn = db.begin_write()?;
            let (result, dirty) = work(&txn)?;
            if dirty {
                txn.commit()?
            } else {
                txn.abort()?
            }
            Ok(result)
        })
    }

    /// Makes the file again under its unfinished name, durable, with the runs of `live` alone; false if all of its messages
    /// are live. What it says of itself and its groups stays, so that it takes its own place at the next opening.
    pub(crate) fn rewrite(&self, env: &Env, live: &[Stretch]) -> Result<bool, Fault> {
        let unfinished = unfinished_name(self.number);
        let made = self.read(env, |from| {
            let groups = load(from, self.number)?.groups;
            let stored: u64 = groups.values().map(|state| state.head.0.saturating_sub(state.base.0)).sum();
            let kept: u64 =
                live.iter().map(|stretch| stretch.last.0 + 1 - stretch.from.0.min(stretch.last.0 + 1)).sum();
            if kept >= stored {
                return Ok(false);
            }
            let backend = Watched::new(env.volume.create(&unfinished)?, Watch::new(Arc::clone(&env.syncs)));
            let mut db = env.builder(env.options.write_cache_bytes).create_with_backend(backend)?;
            let txn = db.begin_write()?;
            copy_table(from, &txn, META)?;
            copy_table(from, &txn, GROUPS)?;
            copy_table(from, &txn, CONFIGS)?;
            copy_table(from, &txn, SNAPSHOTS)?;
            copy_runs(from, &txn, live)?;
            txn.commit()?;
            // It has grown in steps that double.
            db.compact().map_err(|error| Fault::Io(std::io::Error::other(error)))?;
            db.close()?;
            Ok(true)
        });
        if made.is_err() {
            env.volume.remove(&unfinished).ok();
        }
        made
    }

    /// Closes the file when its readers are done; it opens again by itself. Returns whether a sync had failed on it.
    pub(crate) fn close(&self) -> bool {
        let handle = self.exclusive().take();
        let sync_failed = matches!(&handle, Some(Handle::Writer(_, watch)) if watch.sync_failed());
        drop_handle(handle);
        sync_failed
    }

    /// Closes the file unless somebody reads it now.
    pub(crate) fn try_close(&self) {
        if let Ok(mut slot) = self.slot.try_write() {
            drop_handle(slot.take());
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.slot.try_read().map_or(true, |slot| slot.is_some())
    }

    pub(crate) fn used_at(&self) -> u64 {
        self.used_at.load(Ordering::Relaxed)
    }

    /// Says that the file is about to be removed or renamed, so that a reader who finds it missing looks again.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Appends to `out` the checked runs of `stretch`, the first being the one that holds its `from`, while `left` bytes
    /// last but at least one if `out` is empty.
    pub(crate) fn read_runs(
        &self,
        env: &Env,
        stretch: Stretch,
        left: &mut usize,
        out: &mut Vec<Run>,
    ) -> Result<(), Fault> {
        self.read(env, |txn| read_runs(txn, stretch, left, out))
    }

    /// The latest of a group's snapshots at or before `at`, with the message it stands at.
    pub(crate) fn snapshot(
        txn: &ReadTransaction,
        group: GroupId,
        log: LogId,
        at: Seq,
    ) -> Result<Option<(Seq, Bytes)>, Fault> {
        let table = txn.open_table(SNAPSHOTS)?;
        let mut range = table.range::<&[u8; 32]>(&seq_key(group, log, Seq::ZERO)..=&seq_key(group, log, at))?;
        let Some(entry) = range.next_back() else { return Ok(None) };
        let (key, value) = entry?;
        let bytes =
            unprotect(key.value(), value.value()).ok_or_else(|| Fault::damaged("a snapshot's CRC does not hold"))?;
        Ok(Some((seq_of(key.value()), Bytes::copy_from_slice(bytes))))
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Option<Handle>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closing writes, and may find damage; the next opening repairs or reports it.
fn drop_handle(handle: Option<Handle>) {
    let closed = guarded(|| {
        match handle {
            Some(Handle::Writer(db, _) | Handle::Repaired(db)) => db.close()?,
            Some(Handle::Reader(db)) => db.close()?,
            None => {}
        }
        Ok(())
    });
    if let Err(fault) = closed {
        tracing::debug!(%fault, "a log file was not closed in order");
    }
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    definition: TableDefinition<'static, K, V>,
) -> Result<(), Fault> {
    let mut copy = to.open_table(definition)?;
    for entry in from.open_table(definition)?.iter()? {
        let (key, value) = entry?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}

/// Copies the runs that hold messages of `live`.
fn copy_runs(from: &ReadTransaction, to: &WriteTransaction, live: &[Stretch]) -> Result<(), Fault> {
    let table = from.open_table(RUNS)?;
    let mut copy = to.open_table(RUNS)?;
    for &Stretch { group, log, from, last } in live.iter().filter(|stretch| stretch.from <= stretch.last) {
        let before =
            table.range::<&[u8; 32]>(&seq_key(group, log, Seq::FIRST)..=&seq_key(group, log, from))?.next_back();
        let first = before.transpose()?.map_or(seq_key(group, log, from), |(key, _)| *key.value());
        for entry in table.range::<&[u8; 32]>(&first..=&seq_key(group, log, last))? {
            let (key, value) = entry?;
            copy.insert(key.value(), value.value())?;
        }
    }
    Ok(())
}

/// Reads what the file `number` says of itself and its groups.
pub(crate) fn load(txn: &ReadTransaction, number: u64) -> Result<Contents, Fault> {
    let meta = txn.open_table(META)?;
    let format = meta.get(META_FORMAT)?.ok_or_else(|| Fault::damaged("it names no format"))?;
    let format: [u8; 4] = format.value().try_into().map_err(|_| Fault::damaged("its format cannot be read"))?;
    match u32::from_be_bytes(format) {
        1..=FORMAT => {}
        found if found > FORMAT => return Err(Fault::Newer { found }),
        _ => return Err(Fault::damaged("it names no known format")),
    }
    let stored = meta.get(META_FILE)?;
    let meta = stored.and_then(|stored| FileMeta::decode(stored.value()));
    let meta = meta.ok_or_else(|| Fault::damaged("what it says of itself cannot be read"))?;
    if meta.number != number {
        return Err(Fault::damaged("it bears another file's name"));
    }
    let mut groups = HashMap::new();
    for entry in txn.open_table(GROUPS)?.iter()? {
        let (key, value) = entry?;
        let group = GroupId(*key.value());
        let state = GroupState::decode(group, value.value());
        groups.insert(group, state.ok_or_else(|| Fault::damaged("a group's CRC does not hold"))?);
    }
    if groups.len() as u64 != meta.groups {
        return Err(Fault::damaged("groups are missing"));
    }
    Ok(Contents { meta, groups })
}

/// Reads from where on the logs of groups are kept.
pub(crate) fn load_trims(txn: &ReadTransaction) -> Result<Vec<(GroupId, Trim)>, Fault> {
    let table = match txn.open_table(TRIMS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut trims = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let group = GroupId(*key.value());
        let trim = Trim::decode(group, value.value()).ok_or_else(|| Fault::damaged("a trim's CRC does not hold"))?;
        trims.push((group, trim));
    }
    Ok(trims)
}

/// Reads the configs of all groups.
pub(crate) fn load_configs(txn: &ReadTransaction) -> Result<HashMap<GroupId, Bytes>, Fault> {
    let table = txn.open_table(CONFIGS)?;
    let mut configs = HashMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let config =
            unprotect(key.value(), value.value()).ok_or_else(|| Fault::damaged("a config's CRC does not hold"))?;
        configs.insert(GroupId(*key.value()), Bytes::copy_from_slice(config));
    }
    Ok(configs)
}

fn read_runs(txn: &ReadTransaction, stretch: Stretch, left: &mut usize, out: &mut Vec<Run>) -> Result<(), Fault> {
    let Stretch { group, log, from, last } = stretch;
    let missing = || Fault::damaged("a record is missing");
    let table = txn.open_table(RUNS)?;
    let first_key = {
        let mut before = table.range::<&[u8; 32]>(&seq_key(group, log, Seq::FIRST)..=&seq_key(group, log, from))?;
        *before.next_back().ok_or_else(missing)??.0.value()
    };
    let mut next = None;
    let mut previous = None;
    for entry in table.range::<&[u8; 32]>(&first_key..=&seq_key(group, log, last))? {
        let (key, value) = entry?;
        let value = value.value();
        if !out.is_empty() && value.len() > *left {
            return Ok(());
        }
        let record =
            Record::check(Bytes::copy_from_slice(value), group, log, seq_of(key.value())).map_err(Fault::damaged)?;
        let run = record.run;
        let in_place = match next {
            Some(next) => run.first_seq() == next,
            None => (run.first_seq()..=run.last_seq()).contains(&from),
        };
        if !in_place || run.last_seq() > last {
            return Err(missing());
        }
        if previous.is_some_and(|previous| previous != record.previous) {
            return Err(Fault::damaged("a record does not follow the one before it"));
        }
        *left = left.saturating_sub(value.len());
        next = Some(run.last_seq().next());
        previous = Some(record.hash);
        out.push(run);
    }
    if next == Some(last.next()) { Ok(()) } else { Err(missing()) }
}
