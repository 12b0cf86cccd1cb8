//! [`RecordStore`] in one redb file.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition,
    TableError,
};
use tracing::warn;

use crate::store::{KeyChange, RecordStore, StoreError};

#[cfg(test)]
mod tests;

/// The records. The number before each value rises with every change; nothing reads it any more, and it is kept so that
/// older programs can open the file.
const ENTRIES: TableDefinition<&[u8], (u64, &[u8])> = TableDefinition::new("entries");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const LAST_CHANGE_KEY: &str = "last version";
/// The format of the file; it rises with every change that an older program could not read.
const FORMAT: u64 = 1;
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Why a data folder's store cannot be used, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Another process has it open.
    #[error("{} is in use by another process; stop that one, or choose another folder with --data", .0.display())]
    Held(PathBuf),
    /// A later version wrote it.
    #[error("{} has format {found}, and this program knows formats up to {known}; use the version that wrote it, or a newer one", .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u64,
        /// The highest format that this program knows.
        known: u64,
    },
    /// The file is damaged or no store.
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
        /// The system's error.
        reason: io::Error,
    },
}

/// Opens the database; called at start, and again after the store has failed.
pub type Opener = Box<OpenFn<'static>>;
type OpenFn<'a> = dyn Fn() -> Result<Database, DatabaseError> + Send + Sync + 'a;

/// A store in one redb file, which it keeps locked.
///
/// When a commit fails nobody can tell whether its changes are on the disk. The values before it are known, and they
/// are written back before anything else: at once if the disk allows it, otherwise with the next commit.
pub struct DiskStore {
    path: PathBuf,
    opener: Opener,
    file: Mutex<StoreFile>,
}

#[derive(Default)]
struct StoreFile {
    /// `None` after a failure: redb accepts no transaction after an I/O error, so the file has to be opened again.
    db: Option<Database>,
    /// The values to be written back after a failed commit.
    undo: BTreeMap<Vec<u8>, Option<Bytes>>,
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl DiskStore {
    /// Opens or makes the store `file` (a plain name) in the folder `dir`, which is made if absent.
    ///
    /// # Errors
    /// [`OpenStoreError`], each case.
    pub fn open(dir: &Path, file: &str) -> Result<Self, OpenStoreError> {
        let path = dir.join(file);
        let folder = |reason| OpenStoreError::Folder { path: dir.to_owned(), reason };
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
    /// [`OpenStoreError`], each case.
    pub fn open_with(path: PathBuf, opener: Opener) -> Result<Self, OpenStoreError> {
        let db = Some(open_checked(&path, &*opener)?);
        Ok(Self { path, opener, file: Mutex::new(StoreFile { db, undo: BTreeMap::new() }) })
    }

    fn write(&self, file: &mut StoreFile, changes: &[KeyChange]) -> Result<(), String> {
        if file.db.is_none() {
            file.db = Some(open_checked(&self.path, &*self.opener).map_err(|e| e.to_string())?);
        }
        let written = file.write(changes).map_err(|e| e.to_string());
        if written.is_err() {
            file.db = None;
        }
        written
    }

    fn file(&self) -> MutexGuard<'_, StoreFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordStore for DiskStore {
    fn load(&self) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        let mut file = self.file();
        if file.db.is_none() || !file.undo.is_empty() {
            self.write(&mut file, &[]).map_err(StoreError::Unavailable)?;
        }
        file.db.as_ref().map_or(Ok(Vec::new()), read_all).map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    fn commit(&self, changes: &[KeyChange]) -> Result<(), StoreError> {
        let mut file = self.file();
        self.write(&mut file, changes).map_err(|reason| {
            warn!(path = %self.path.display(), reason, "a commit failed; it is undone and the file opened again");
            if let Err(reason) = self.write(&mut file, &[]) {
                warn!(path = %self.path.display(), reason, "the store cannot be written; tried again at the next change");
            }
            StoreError::Unavailable(reason)
        })
    }
}

impl StoreFile {
    /// Writes back what has to be undone, then makes the changes, in one transaction.
    fn write(&mut self, changes: &[KeyChange]) -> Result<(), redb::Error> {
        let Some(db) = &self.db else { return Ok(()) };
        let transaction = db.begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut meta = transaction.open_table(META)?;
            let mut last = meta.get(LAST_CHANGE_KEY)?.map_or(0, |last| last.value());
            let mut put = |key: &[u8], value: Option<&Bytes>| {
                last += 1;
                let before = match value {
                    Some(value) => entries.insert(key, (last, &value[..]))?,
                    None => entries.remove(key)?,
                };
                Ok::<_, StorageError>(before.map(|before| Bytes::copy_from_slice(before.value().1)))
            };
            for (key, value) in &self.undo {
                put(key, value.as_ref())?;
            }
            for (key, value) in changes {
                let before = put(key, value.as_ref())?;
                // What an earlier failed commit changed has to become what it was before that one.
                self.undo.entry(key.clone()).or_insert(before);
            }
            meta.insert(LAST_CHANGE_KEY, last)?;
        }
        transaction.commit()?;
        self.undo.clear();
        Ok(())
    }
}

fn read_all(db: &Database) -> Result<Vec<(Vec<u8>, Bytes)>, redb::Error> {
    let entries = db.begin_read()?.open_table(ENTRIES)?;
    let mut records = Vec::new();
    for entry in entries.iter()? {
        let (key, value) = entry?;
        records.push((key.value().to_vec(), Bytes::copy_from_slice(value.value().1)));
    }
    Ok(records)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes an empty store under another name first: redb cannot open a file whose making was cut short.
fn make(dir: &Path, path: &Path) -> Result<(), OpenStoreError> {
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let folder = |reason| OpenStoreError::Folder { path: dir.to_owned(), reason };
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

fn open_checked(path: &Path, opener: &OpenFn<'_>) -> Result<Database, OpenStoreError> {
    let db = opener().map_err(|e| open_error(path, e))?;
    match format_of(&db).map_err(|e| damaged(path, &e))? {
        Some(FORMAT) => Ok(db),
        Some(found) => Err(OpenStoreError::NewerFormat { path: path.to_owned(), found, known: FORMAT }),
        None => match initialise(&db) {
            Ok(()) => Ok(db),
            Err(e) => Err(OpenStoreError::Folder { path: path.to_owned(), reason: io::Error::other(e.to_string()) }),
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
fn open_error(path: &Path, error: DatabaseError) -> OpenStoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenStoreError::Held(path.to_owned())
        }
        DatabaseError::Storage(StorageError::Io(e)) if e.kind() != io::ErrorKind::InvalidData => {
            OpenStoreError::Folder { path: path.to_owned(), reason: e }
        }
        error => damaged(path, &error),
    }
}

fn damaged(path: &Path, reason: &dyn fmt::Display) -> OpenStoreError {
    OpenStoreError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}
