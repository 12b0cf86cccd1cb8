//! What a salvage reports.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq, SeqRange};

use crate::{fault::Fault, segment::file::SEGMENT_FORMAT, volume::FolderError};

/// What was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// In order of their ids; also those without a message.
    pub groups: Vec<SalvagedGroup>,
    /// Every file that was read, in order.
    pub files: Vec<SalvagedFile>,
}

/// One group's log in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedGroup {
    /// Which group.
    pub group: GroupId,
    /// Which log of it: the latest.
    pub log: LogId,
    /// What the caller kept with it; empty if it could not be read.
    pub config: Bytes,
    /// Runs copied.
    pub runs: u64,
    /// Messages in them.
    pub messages: u64,
    /// First message copied; `None` if there is none.
    pub first: Option<Seq>,
    /// Last message copied; 0 if there is none.
    pub head: Seq,
    /// What the old log had and the copy has not, in order.
    pub missing: Vec<Missing>,
    /// The old log says itself that it ended at `head`. Otherwise messages after it may be lost, and the copy is read but
    /// not appended to until the group is reset.
    pub whole_to_end: bool,
    /// Messages of an earlier log of this group, which a reset had ended; they were not copied.
    pub of_earlier_logs: u64,
}

/// Messages that are nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub range: SeqRange,
    /// Why, for people.
    pub why: String,
}

/// One file of the old log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedFile {
    /// Its name.
    pub name: String,
    /// Why not all of it could be read in its place; `None` if it could.
    pub fault: Option<String>,
    /// Runs read in their place.
    pub read: u64,
    /// Runs found behind a damage besides.
    pub found: u64,
}

/// Nothing was salvaged; there is no new log.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// The old folder is in use, or the new one cannot be.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is nothing at the path.
    #[error("{0} does not exist; give a log folder or a file that was set aside (….seg.damaged)")]
    NotThere(PathBuf),
    /// No file in the folder is a log's.
    #[error("{path} holds no log file{hint}")]
    NoLog {
        /// The folder, or the file.
        path: PathBuf,
        /// Where there are some, or empty.
        hint: String,
    },
    /// The new folder holds something.
    #[error("{0} is not empty; give --to a folder that is empty or does not exist")]
    NotEmpty(PathBuf),
    /// A newer program wrote it.
    #[error("{file} has format {found}, and this program reads up to {supported}: use a newer program")]
    NewerFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that this program reads.
        supported: u32,
    },
    /// No group and no whole run was found.
    #[error("nothing in {0} can be salvaged: no group and no whole run was found")]
    Nothing(PathBuf),
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

pub(super) fn read_failed(path: &Path) -> impl Fn(io::Error) -> SalvageError + use<> {
    let path = path.to_owned();
    move |source| SalvageError::Io { path: path.clone(), source }
}

/// Damage is a text to be reported; what else went wrong ends the salvage.
pub(super) fn damage(fault: Fault, path: &Path) -> Result<String, SalvageError> {
    match fault {
        Fault::Damaged(why) => Ok(why),
        Fault::Newer { found } => {
            Err(SalvageError::NewerFormat { file: path.display().to_string(), found, supported: SEGMENT_FORMAT })
        }
        // A disk with bad sectors; the rest of it may be good.
        Fault::Io(error) if !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Ok(error.to_string())
        }
        Fault::Io(source) => Err(SalvageError::Io { path: path.to_owned(), source }),
    }
}
