//! The old log: its files by number, opened for reading alone.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use redb::StorageBackend;

use super::report::{SalvageError, read_failed};
use crate::{
    convert::tree::{is_unconverted, set_aside_before},
    segment::file::SegmentName,
    volume::{FolderError, holder},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) files: BTreeMap<u64, PathBuf>,
    /// Kept while the folder is read, so that no service begins to write in it.
    _lock: Option<File>,
}

impl Source {
    /// `path`: a folder that no process holds, or one file. A file that was set aside is nobody's.
    pub(super) fn open(path: &Path) -> Result<Self, SalvageError> {
        let is_folder = match fs::metadata(path) {
            Ok(meta) => meta.is_dir(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SalvageError::NotThere(path.to_owned()));
            }
            Err(error) => return Err(read_failed(path)(error)),
        };
        let is_aside = !is_folder && path.to_string_lossy().ends_with(".damaged");
        let folder = if is_folder { path } else { path.parent().unwrap_or(Path::new(".")) };
        let _lock = if is_aside { None } else { lock(folder)? };
        refuse_unconverted(path)?;
        let files = files_in(path);
        if files.is_empty() {
            return Err(SalvageError::NoLog { path: path.to_owned(), hint: hint(path) });
        }
        Ok(Self { files, _lock })
    }
}

/// A log of which only a part is in segments would be half a log.
fn refuse_unconverted(from: &Path) -> Result<(), SalvageError> {
    let named = |path: &Path, is: fn(&str) -> bool| path.file_name().is_some_and(|name| is(&name.to_string_lossy()));
    let is_old = |path: &Path| {
        named(path, is_unconverted) || path == from && named(path, |name| set_aside_before(name).is_some())
    };
    let paths: Vec<PathBuf> = match fs::read_dir(from) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => vec![from.to_owned()],
    };
    let Some(path) = paths.into_iter().find(|path| is_old(path)) else { return Ok(()) };
    let why = "it has the format before segments, which the relay converts when it is started";
    Err(SalvageError::Io { path, source: io::Error::other(why) })
}

/// The segments in `path`, a folder or one file; none if there is no segment.
fn files_in(path: &Path) -> BTreeMap<u64, PathBuf> {
    let mut files = BTreeMap::new();
    let mut note = |path: PathBuf| {
        let name = path.file_name().and_then(|name| SegmentName::parse(&name.to_string_lossy()));
        match name {
            Some(SegmentName::Segment(number)) => drop(files.insert(number, path)),
            // Numbers are not given twice; should somebody have copied a file, the one in use counts.
            Some(SegmentName::Damaged(number)) => drop(files.entry(number).or_insert(path)),
            Some(SegmentName::Unfinished) | None => {}
        }
    };
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| note(entry.path())),
        Err(_) => note(path.to_owned()),
    }
    files
}

/// Nobody works in a folder without a lock file.
fn lock(folder: &Path) -> Result<Option<File>, SalvageError> {
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

/// The log of a relay, or of `gaung up`, lies below the data folder that people know.
fn hint(path: &Path) -> String {
    let below = ["log", "relay/log"].map(|below| path.join(below));
    let found = below.iter().find(|below| !files_in(below).is_empty());
    found.map_or_else(String::new, |found| format!("; there are some in {}", found.display()))
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::other("what is salvaged is not written"))
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
