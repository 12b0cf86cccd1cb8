//! [`Kv`] on one redb file. All writers that wait share one transaction and one sync.

use std::{
    fmt, fs, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, Table, TableDefinition,
    TableError,
};

use crate::kv::{Change, Entry, Item, Kv, ReadError, Version, Write, WriteError, prefix_end};

#[cfg(test)]
mod tests;

const ENTRIES: TableDefinition<&[u8], (u64, &[u8])> = TableDefinition::new("entries");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const LAST_VERSION_KEY: &str = "last version";
/// Rises with every change that an older program could not read.
const FORMAT: u64 = 1;
/// Waiting writers beyond this block until there is room.
const QUEUE: usize = 256;
/// Changes of one transaction.
const BATCH: usize = 4096;
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Why a data folder's store cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KvOpenError {
    /// Another process has it open.
    #[error("{} is in use by another process; stop that one, or choose another folder with --data", .0.display())]
    Held(PathBuf),
    /// Written by a later version.
    #[error("{} has format {found}, and this program knows formats up to {known}; use the version that wrote it, or a newer one", .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Not a store, or damaged.
    #[error("{} is damaged or not a Gaung store ({reason}); move it away to start with an empty one, or restore a copy", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The folder cannot be made, read or written.
    #[error("{} cannot be used for data: {reason}; make it writable for this user, or choose another folder with --data", .path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

/// Opens the database anew; called at start, and again after the store has failed.
pub type Opener = Box<OpenFn<'static>>;
type OpenFn<'a> = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync + 'a;

/// A store in one redb file.
///
/// One thread commits: it takes all writes that wait, makes them in one transaction, syncs, and answers. When a commit
/// fails its writes are ambiguous, the file is closed and opened again, which settles what had been stored.
pub struct RedbKv {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Job>>,
    committer: Option<JoinHandle<()>>,
}

impl fmt::Debug for RedbKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbKv").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

struct Job {
    writes: Vec<Write>,
    answer: SyncSender<Vec<Result<Version, WriteError>>>,
}

impl RedbKv {
    /// Opens or makes the store `file` (a plain name) in the folder `dir`, which is made if absent.
    ///
    /// # Errors
    /// [`KvOpenError`], each case.
    pub fn open(dir: &Path, file: &str) -> Result<Self, KvOpenError> {
        let path = dir.join(file);
        let folder = |reason| KvOpenError::Folder { path: dir.to_owned(), reason };
        fs::create_dir_all(dir).map_err(folder)?;
        if !path.exists() {
            make(dir, &path)?;
        }
        let opened = path.clone();
        Self::open_with(path, Box::new(move || builder().open(&opened)))
    }

    /// Opens the store that `opener` gives; `path` stands in errors only. Lets tests put redb on a backend of theirs.
    ///
    /// # Errors
    /// [`KvOpenError`], each case.
    pub fn open_with(path: PathBuf, opener: Opener) -> Result<Self, KvOpenError> {
        let db = open_checked(&path, &*opener)?;
        let shared = Arc::new(Shared { path, opener, db: RwLock::new(Some(db)), reopening: Mutex::new(()) });
        let (queue, jobs) = sync_channel(QUEUE);
        let committer = std::thread::Builder::new().name("kv-commit".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.commit_all(&jobs)
        });
        let committer = committer.map_err(|reason| KvOpenError::Folder { path: shared.path.clone(), reason })?;
        Ok(Self { shared, queue: Some(queue), committer: Some(committer) })
    }
}

impl Drop for RedbKv {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(committer) = self.committer.take() {
            // It panicked before, and then its writers were told.
            let _ = committer.join();
        }
    }
}

impl Kv for RedbKv {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        self.shared.read(|db| read_entry(db, key))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Item>, ReadError> {
        self.shared.read(|db| read_range(db, prefix, after, limit))
    }

    fn write(&self, writes: Vec<Write>) -> Vec<Result<Version, WriteError>> {
        let count = writes.len();
        let stopped = || vec![Err(WriteError::Ambiguous("the store has stopped".to_owned())); count];
        let (answer, answered) = sync_channel(1);
        let Some(queue) = &self.queue else { return stopped() };
        if queue.send(Job { writes, answer }).is_err() {
            return vec![Err(WriteError::Failed("the store has stopped".to_owned())); count];
        }
        answered.recv().unwrap_or_else(|_| stopped())
    }
}

struct Shared {
    path: PathBuf,
    opener: Opener,
    /// `None` after a failure, until it has been opened again.
    db: RwLock<Option<Database>>,
    reopening: Mutex<()>,
}

impl Shared {
    fn read<T>(&self, read: impl Fn(&Database) -> Result<T, redb::Error>) -> Result<T, ReadError> {
        self.with_db(|db| read(db).map_err(|e| ReadError(e.to_string()))).map_err(ReadError)?
    }

    /// Runs `use_db` on the open database, opening it first if it had failed.
    fn with_db<T>(&self, use_db: impl Fn(&Database) -> T) -> Result<T, String> {
        if let Some(db) = &*self.db.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(use_db(db));
        }
        let _one_at_a_time = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self.db.write().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(open_checked(&self.path, &*self.opener).map_err(|e| e.to_string())?);
        }
        slot.as_ref().map(use_db).ok_or_else(|| "the store is closed".to_owned())
    }

    fn close_failed(&self) {
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn commit_all(&self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            let mut changes = batch[0].writes.len();
            while changes < BATCH
                && let Ok(next) = jobs.try_recv()
            {
                changes += next.writes.len();
                batch.push(next);
            }
            self.commit(batch);
        }
    }

    fn commit(&self, batch: Vec<Job>) {
        let outcome = self.with_db(|db| transact(db, &batch)).unwrap_or_else(|reason| Err(Unstored::Failed(reason)));
        match outcome {
            Ok(results) => {
                for (job, results) in batch.into_iter().zip(results) {
                    // A writer that no longer waits has stopped; its change stands.
                    let _ = job.answer.send(results);
                }
            }
            Err(unstored) => {
                self.close_failed();
                tracing::warn!(path = %self.path.display(), error = %unstored, "store failed and is opened again");
                for job in batch {
                    let _ = job.answer.send(vec![Err(unstored.to_error()); job.writes.len()]);
                }
            }
        }
    }
}

/// A transaction that failed, before or in its commit.
#[derive(Debug, thiserror::Error)]
enum Unstored {
    #[error("{0}")]
    Failed(String),
    #[error("{0}")]
    Unknown(String),
}

impl Unstored {
    fn to_error(&self) -> WriteError {
        match self {
            Self::Failed(reason) => WriteError::Failed(reason.clone()),
            Self::Unknown(reason) => WriteError::Ambiguous(reason.clone()),
        }
    }
}

type Results = Vec<Vec<Result<Version, WriteError>>>;

fn transact(db: &Database, batch: &[Job]) -> Result<Results, Unstored> {
    let failed = |e: redb::Error| Unstored::Failed(e.to_string());
    let transaction = db.begin_write().map_err(|e| failed(e.into()))?;
    let (results, changed) = {
        let mut entries = transaction.open_table(ENTRIES).map_err(|e| failed(e.into()))?;
        let mut meta = transaction.open_table(META).map_err(|e| failed(e.into()))?;
        let before = meta.get(LAST_VERSION_KEY).map_err(|e| failed(e.into()))?.map_or(0, |v| v.value());
        let mut last = before;
        let mut results = Vec::with_capacity(batch.len());
        for job in batch {
            let applied: Result<Vec<_>, _> =
                job.writes.iter().map(|write| apply(&mut entries, &mut last, write)).collect();
            results.push(applied.map_err(|e| failed(e.into()))?);
        }
        if last != before {
            meta.insert(LAST_VERSION_KEY, last).map_err(|e| failed(e.into()))?;
        }
        (results, last != before)
    };
    if changed {
        transaction.commit().map_err(|e| Unstored::Unknown(e.to_string()))?;
    } else {
        transaction.abort().map_err(|e| failed(e.into()))?;
    }
    Ok(results)
}

fn apply(
    entries: &mut Table<'_, &'static [u8], (u64, &'static [u8])>,
    last: &mut u64,
    write: &Write,
) -> Result<Result<Version, WriteError>, StorageError> {
    let key = write.key.as_slice();
    let found = entries.get(key)?.map(|entry| Version(entry.value().0));
    let (expected, value) = match &write.change {
        Change::Create(value) => (None, Some(value)),
        Change::Set(version, value) => (Some(*version), Some(value)),
        Change::Delete(version) => (Some(*version), None),
    };
    if found != expected {
        return Ok(Err(WriteError::Conflict));
    }
    *last += 1;
    match value {
        Some(value) => entries.insert(key, (*last, &value[..]))?,
        None => entries.remove(key)?,
    };
    Ok(Ok(Version(*last)))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes an empty store under another name first: redb cannot open a file whose making was cut short.
fn make(dir: &Path, path: &Path) -> Result<(), KvOpenError> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let folder = |reason| KvOpenError::Folder { path: dir.to_owned(), reason };
    // Left by a process of the same number that did not get further; most often there is none.
    let _ = fs::remove_file(&draft);
    let db = open_checked(&draft, &|| builder().create(&draft))?;
    drop(db);
    match fs::hard_link(&draft, path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(folder(e)),
        Ok(()) | Err(_) => {}
    }
    fs::remove_file(&draft).map_err(folder)?;
    // A file's own sync does not make its name durable.
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(folder)
}

fn read_entry(db: &Database, key: &[u8]) -> Result<Option<Entry>, redb::Error> {
    let entries = db.begin_read()?.open_table(ENTRIES)?;
    Ok(entries.get(key)?.map(|found| entry(found.value())))
}

fn read_range(db: &Database, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Item>, redb::Error> {
    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        Some(_) | None => Bound::Included(prefix),
    };
    let end = prefix_end(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    if let (Bound::Excluded(from), Bound::Excluded(to)) = (from, to)
        && from >= to
    {
        return Ok(Vec::new());
    }
    let entries = db.begin_read()?.open_table(ENTRIES)?;
    let mut items = Vec::new();
    for found in entries.range::<&[u8]>((from, to))?.take(limit) {
        let (key, value) = found?;
        items.push(Item { key: key.value().to_vec(), entry: entry(value.value()) });
    }
    Ok(items)
}

fn entry((version, value): (u64, &[u8])) -> Entry {
    Entry { version: Version(version), value: Bytes::copy_from_slice(value) }
}

fn open_checked(path: &Path, opener: &OpenFn<'_>) -> Result<Database, KvOpenError> {
    let db = opener().map_err(|e| open_error(path, e))?;
    match format_of(&db).map_err(|e| damaged(path, &e))? {
        Some(FORMAT) => Ok(db),
        Some(found) => Err(KvOpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
        None => match initialise(&db) {
            Ok(()) => Ok(db),
            Err(e) => Err(KvOpenError::Folder { path: path.to_owned(), reason: io::Error::other(e.to_string()) }),
        },
    }
}

fn format_of(db: &Database) -> Result<Option<u64>, redb::Error> {
    match db.begin_read()?.open_table(META) {
        Ok(meta) => Ok(meta.get(FORMAT_KEY)?.map(|format| format.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn initialise(db: &Database) -> Result<(), redb::Error> {
    let transaction = db.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else redb says or will say, the file cannot be used")]
fn open_error(path: &Path, error: DatabaseError) -> KvOpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => KvOpenError::Held(path.to_owned()),
        DatabaseError::Storage(StorageError::Io(e)) if e.kind() != io::ErrorKind::InvalidData => {
            KvOpenError::Folder { path: path.to_owned(), reason: e }
        }
        error => damaged(path, &error),
    }
}

fn damaged(path: &Path, reason: &dyn fmt::Display) -> KvOpenError {
    KvOpenError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}
