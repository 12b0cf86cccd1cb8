//! The folder that the files lie in, behind a trait so that tests can put a failing disk under the log.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use redb::{StorageBackend, backends::FileBackend};

/// A flat folder of files; names have no separator. One process at a time holds it.
pub trait Volume: fmt::Debug + Send + Sync {
    /// The names in the folder, in any order.
    ///
    /// # Errors
    /// Those of the folder.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file, cutting an existing one, and opens it.
    ///
    /// # Errors
    /// Those of the folder.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Opens an existing file for reading and writing, as it is on the disk: what a failed sync has left behind in
    /// memory should not be shown as written.
    ///
    /// # Errors
    /// `NotFound`, or those of the folder.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;

    /// Bytes of a file.
    ///
    /// # Errors
    /// `NotFound`, or those of the folder.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or those of the folder.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what had it; an open file stays open.
    ///
    /// # Errors
    /// `NotFound`, or those of the folder.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names as they are now survive a power cut.
    ///
    /// # Errors
    /// Those of the folder.
    fn sync_names(&self) -> io::Result<()>;
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process works on it.
    #[error("data folder {path} is held by another process{holder}; stop it, or choose another folder")]
    Held {
        /// The folder.
        path: PathBuf,
        /// `" (pid N)"`, or empty.
        holder: String,
    },
    /// It cannot be written.
    #[error("data folder {path} is not writable ({source}); mend its permissions, or choose another folder")]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else failed.
    #[error("data folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder of the file system, held by a lock on its file `lock` for as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if need be, checks that it can be written, and locks it.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn hold(path: &Path) -> Result<Self, FolderError> {
        let failed = |source: io::Error| {
            let path = path.to_owned();
            match matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
                true => FolderError::NotWritable { path, source },
                false => FolderError::Io { path, source },
            }
        };
        fs::create_dir_all(path).map_err(failed)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path.join("lock"));
        let mut lock = options.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FolderError::Held { path: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let folder = Self { path: path.to_owned(), _lock: lock };
        folder.sign().map_err(failed)?;
        Ok(folder)
    }

    fn sign(&self) -> io::Result<()> {
        let mut lock = &self._lock;
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())?;
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The folder itself must survive a power cut too; a parent that may not be read is the owner's choice.
            File::open(parent).and_then(|parent| parent.sync_all()).ok();
        }
        self.sync_names()
    }
}

/// Who says in the lock file that it holds the folder.
pub(crate) fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.take(32).read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (pid {pid})")),
        Err(_) => String::new(),
    }
}

impl Volume for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path.join(name))?;
        backend(file)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        forget_clean_pages(&file);
        backend(file)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// After a failed sync Linux marks the pages as clean, although they never reached the disk, and goes on showing them,
/// to a later process too. Dropped, they are read from the disk again.
fn forget_clean_pages(file: &File) {
    #[cfg(target_os = "linux")]
    nix::fcntl::posix_fadvise(file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).ok();
    #[cfg(not(target_os = "linux"))]
    let _ = file;
}

fn backend(file: File) -> io::Result<Box<dyn StorageBackend>> {
    FileBackend::new(file).map(|backend| Box::new(backend) as Box<dyn StorageBackend>).map_err(io::Error::other)
}

/// A file that redb can be put on. The folder's lock covers all files, so that locks by file are not passed on.
#[derive(Debug)]
pub(crate) struct Backend(pub(crate) Box<dyn StorageBackend>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
