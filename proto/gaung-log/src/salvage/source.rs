//! The old log: its files by number, opened for reading alone.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use redb::StorageBackend;

use super::SalvageError;
use crate::{
    disk::DiskOptions,
    file::Env,
    journal::JOURNAL,
    layout::Name,
    volume::{FolderError, Volume, holder},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) env: Env,
    pub(super) files: BTreeMap<u64, PathBuf>,
    /// Those that were set aside, and the journal, there or not; numbered as if they came after the files.
    pub(super) journals: BTreeMap<u64, PathBuf>,
    /// Kept while the folder is read, so that no service begins to write in it.
    _lock: Option<File>,
}

impl Source {
    /// `path`: a folder that no process holds, or one file. A file that was set aside is nobody's.
    pub(super) fn open(path: &Path) -> Result<Self, SalvageError> {
        let failed = |source| SalvageError::Io { path: path.to_owned(), source };
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SalvageError::NotThere(path.to_owned()));
            }
            Err(error) => return Err(failed(error)),
        };
        let (Named { files, journals }, lock) = if meta.is_dir() {
            let lock = lock(path)?;
            (Named::read(path).map_err(failed)?, lock)
        } else {
            let name = path.file_name().and_then(|name| Name::parse(&name.to_string_lossy()));
            let parent = path.parent().unwrap_or(Path::new("."));
            match name {
                Some(Name::Log(number)) => (Named::one(number, path), lock(parent)?),
                Some(Name::Damaged(number)) => (Named::one(number, path), None),
                Some(Name::Unfinished | Name::Journal | Name::JournalDamaged(_)) | None => (Named::default(), None),
            }
        };
        if files.is_empty() {
            return Err(SalvageError::NoLog { path: path.to_owned(), hint: hint(path) });
        }
        let env = Env {
            volume: Arc::new(Files(files.clone())),
            options: DiskOptions::default(),
            syncs: Arc::new(AtomicU64::new(0)),
            uses: AtomicU64::new(0),
            opened: AtomicBool::new(false),
        };
        let after = files.keys().max().map_or(1, |highest| highest + 1);
        // A file alone says nothing of a journal.
        let journal = meta.is_dir().then(|| path.join(JOURNAL));
        let journals = (after..).zip(journals.into_values().chain(journal)).collect();
        Ok(Self { env, files, journals, _lock: lock })
    }

    /// Where a file lies, or a journal.
    pub(super) fn path(&self, number: u64) -> &Path {
        self.files.get(&number).unwrap_or_else(|| &self.journals[&number])
    }
}

/// Nobody works in a folder without a lock file.
pub(super) fn lock(folder: &Path) -> Result<Option<File>, SalvageError> {
    let path = folder.join("lock");
    let failed = |source| SalvageError::Io { path: path.clone(), source };
    let mut lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => {
            Err(FolderError::Held { path: folder.to_owned(), holder: holder(&mut lock) }.into())
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// What lies in a folder.
#[derive(Debug, Default)]
struct Named {
    files: BTreeMap<u64, PathBuf>,
    /// Set aside, by their last round.
    journals: BTreeMap<u64, PathBuf>,
}

impl Named {
    fn one(number: u64, path: &Path) -> Self {
        Self { files: [(number, path.to_owned())].into(), journals: BTreeMap::new() }
    }

    fn read(folder: &Path) -> io::Result<Self> {
        let mut named = Self::default();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match Name::parse(&entry.file_name().to_string_lossy()) {
                Some(Name::Log(number)) => drop(named.files.insert(number, entry.path())),
                // Numbers are not given twice; should somebody have copied a file, the one in use counts.
                Some(Name::Damaged(number)) => drop(named.files.entry(number).or_insert_with(|| entry.path())),
                Some(Name::JournalDamaged(round)) => drop(named.journals.insert(round, entry.path())),
                Some(Name::Unfinished | Name::Journal) | None => {}
            }
        }
        Ok(named)
    }
}

/// The log of a relay, or of `gaung up`, lies below the data folder that people know.
fn hint(path: &Path) -> String {
    let below = ["log", "relay/log"].map(|below| path.join(below));
    let found = below.iter().find(|below| holds_log(below));
    found.map_or_else(String::new, |found| format!("; there are some in {}", found.display()))
}

fn holds_log(folder: &Path) -> bool {
    Named::read(folder).is_ok_and(|named| !named.files.is_empty()) || !super::segments::files_in(folder).is_empty()
}

/// The files by the names that they would have if nothing were the matter with them.
#[derive(Debug)]
struct Files(BTreeMap<u64, PathBuf>);

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::other("what is salvaged is not written"))
}

impl Volume for Files {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().map(|number| crate::layout::file_name(*number)).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(ReadOnly(File::open(self.path(name)?)?)))
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name)?)?.len())
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn StorageBackend>> {
        read_only()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        read_only()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        read_only()
    }

    fn sync_names(&self) -> io::Result<()> {
        read_only()
    }
}

impl Files {
    fn path(&self, name: &str) -> io::Result<&Path> {
        let number = match Name::parse(name) {
            Some(Name::Log(number)) => Some(number),
            Some(Name::Damaged(_) | Name::Unfinished | Name::Journal | Name::JournalDamaged(_)) | None => None,
        };
        let path = number.and_then(|number| self.0.get(&number));
        path.map(PathBuf::as_path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
pub(super) struct ReadOnly(pub(super) File);

impl StorageBackend for ReadOnly {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        read_only()
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
        read_only()
    }
}
