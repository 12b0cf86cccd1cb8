//! What can go wrong below the log, sorted by what is done about it.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A failure of one file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The disk refused; the file may be good.
    #[error("{0}")]
    Io(io::Error),
    /// What the file holds is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// A newer program wrote it.
    #[error("format {found} is newer")]
    Newer { found: u32 },
}

impl Fault {
    pub(crate) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged(why.into())
    }

    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) => error,
            Self::Damaged(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            Self::Newer { .. } => io::Error::new(io::ErrorKind::Unsupported, self.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // redb says so of what is no database; a backend says so of a file that was cut short.
        if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
            return Self::Damaged(error.to_string());
        }
        Self::Io(error)
    }
}

impl From<redb::Error> for Fault {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the tables have fixed names and types, and one program at a time \
        works on them: any other error means that the file is not what was written"
    )]
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            // redb's own format is 3. The next ones are a newer program's doing, and left in place; no other is.
            redb::Error::Corrupted(why) if ["found 4", "found 5", "found 6"].iter().any(|end| why.ends_with(end)) => {
                Self::Io(io::Error::new(io::ErrorKind::Unsupported, format!("a newer program wrote it: {why}")))
            }
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Io(io::Error::other(error.to_string())),
            error => Self::Damaged(error.to_string()),
        }
    }
}

macro_rules! from_redb {
    ($($name:ident),+) => {
        $(impl From<redb::$name> for Fault {
            fn from(error: redb::$name) -> Self {
                redb::Error::from(error).into()
            }
        })+
    };
}
from_redb!(StorageError, TableError, TransactionError, CommitError, DatabaseError);

/// Runs `work` on a file. redb does not verify pages as it reads them, and may panic on one that is damaged: that is
/// this file's damage, not the program's end.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(Fault::Damaged(format!("the store gave up on it: {text}")))
    })
}
