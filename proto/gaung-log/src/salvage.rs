//! Copying what is whole of a damaged log into a new folder. The old one is read and never written.
//!
//! Each file is read through the store as far as it goes. What cannot be read so is sought by its shape in the bare bytes
//! of the file: a record says its length and has a CRC over all of it. A record is copied as it is, byte by byte, so that
//! its hash chain goes on in the copy. Where messages are missing a new file begins, for within one file a group's
//! messages are dense.

mod collect;
mod plan;
mod scan;
mod segments;
mod source;
mod write;

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq, SeqRange};

use crate::{
    fault::Fault,
    layout::{FORMAT, Name},
    volume::FolderError,
};

use self::{collect::survey, plan::Plan, source::Source, write::Writer};

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
    /// Why the store could not read all of it; `None` if it could.
    pub fault: Option<String>,
    /// Runs read through the store.
    pub read: u64,
    /// Runs found in the bare bytes besides.
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

/// Copies what is whole of the log in `from`, a folder or a single file, into the new folder `to`. Reads every file two or
/// three times; memory is some hundred bytes for each run of one file.
///
/// # Errors
/// [`SalvageError`]; damage is none.
pub fn salvage(from: &Path, to: &Path) -> Result<Salvaged, SalvageError> {
    let segments = segments::files_in(from);
    if !segments.is_empty() {
        refuse_mixture(from)?;
        return segments::salvage(from, to, &segments);
    }
    let source = Source::open(from)?;
    refuse_full(to)?;
    let surveys = survey(&source)?;
    let mut plan = Plan::new(&surveys);
    let mut writer = Writer::new(to);
    let mut files = Vec::new();
    let copied = (|| {
        for survey in &surveys {
            let found = collect::runs(&source, survey)?;
            files.push(found.report());
            for batch in plan.take(survey, &found) {
                writer.copy(&source, survey.number, &batch)?;
            }
        }
        plan.end();
        if plan.is_empty() {
            return Err(SalvageError::Nothing(from.to_owned()));
        }
        writer.finish(&plan)
    })();
    match copied {
        Ok(()) => Ok(Salvaged { groups: plan.into_report(), files }),
        Err(error) => {
            writer.give_up();
            Err(error)
        }
    }
}

/// A log of which only a part is in segments would be half a log.
fn refuse_mixture(from: &Path) -> Result<(), SalvageError> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    let is_old = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| Name::parse(&name.to_string_lossy()));
        matches!(name, Some(Name::Log(_)))
    };
    let Some(path) = entries.flatten().map(|entry| entry.path()).find(is_old) else { return Ok(()) };
    let why = "it was not converted into segments yet; start the relay once, or give this file itself";
    Err(SalvageError::Io { path, source: io::Error::other(why) })
}

fn refuse_full(to: &Path) -> Result<(), SalvageError> {
    match std::fs::read_dir(to).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SalvageError::NotEmpty(to.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(SalvageError::NotEmpty(to.to_owned())),
        Err(source) => Err(SalvageError::Io { path: to.to_owned(), source }),
    }
}

/// Damage is a text to be reported; what else went wrong ends the salvage.
fn damage(fault: Fault, path: &Path) -> Result<String, SalvageError> {
    match fault {
        Fault::Damaged(why) => Ok(why),
        Fault::Newer { found } => {
            Err(SalvageError::NewerFormat { file: path.display().to_string(), found, supported: FORMAT })
        }
        // A disk with bad sectors; the rest of it may be good.
        Fault::Io(error) if !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Ok(error.to_string())
        }
        Fault::Io(source) => Err(SalvageError::Io { path: path.to_owned(), source }),
    }
}
