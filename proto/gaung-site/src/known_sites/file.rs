//! The file of known sites, shared by all processes of one device.

use std::{
    fs::OpenOptions,
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::KnownSites;
use crate::private_files;

/// The file of known sites cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownSitesError {
    /// It cannot be read or written.
    #[error("the known sites cannot be read or kept: {0}")]
    Io(#[from] io::Error),
    /// It has a line that does not fit. It is left as it is.
    #[error("{}, line {line}, does not name a known site; mend it, or remove the file to know no site", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The first line that does not fit, from 1.
        line: usize,
    },
}

/// The file `known-sites` in the data folder, readable by its owner alone.
#[derive(Debug, Clone)]
pub struct KnownSitesFile {
    path: PathBuf,
}

impl KnownSitesFile {
    /// Uses the file of this data folder, which is made when the first site is recorded.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { path: data.join("known-sites") }
    }

    /// Reads the sites; none if there is no file.
    ///
    /// # Errors
    /// [`KnownSitesError`].
    pub fn read(&self) -> Result<KnownSites, KnownSitesError> {
        let bytes = match private_files::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KnownSites::default()),
            Err(error) => return Err(error.into()),
        };
        KnownSites::parse(&String::from_utf8_lossy(&bytes))
            .map_err(|line| KnownSitesError::Malformed { path: self.path.clone(), line })
    }

    /// Reads the sites, lets `change` change them, and writes them if it did. Other processes wait meanwhile.
    ///
    /// # Errors
    /// [`KnownSitesError`]; nothing is written then.
    pub fn update<T>(&self, change: impl FnOnce(&mut KnownSites) -> T) -> Result<T, KnownSitesError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        private_files::make_folder(folder)?;
        // A file beside it, since the file itself is replaced. The lock ends with the handle.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.with_extension("lock"))?;
        lock.lock()?;
        let before = self.read()?;
        let mut sites = before.clone();
        let outcome = change(&mut sites);
        if sites != before {
            private_files::replace(&self.path, sites.to_string().as_bytes())?;
        }
        Ok(outcome)
    }
}
