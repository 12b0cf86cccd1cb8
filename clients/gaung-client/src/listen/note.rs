//! What the tasks of a group report to its main task.

use gaung_proto::LogId;

use crate::{calls::GroupAccess, error::ClientError};

/// A report of one of a group's tasks.
#[derive(Debug)]
pub(super) enum TaskNote {
    Hub(HubNote),
    Read(ReadNote),
    /// The registry's answer to a renewal of presence.
    Joined(Result<Box<GroupAccess>, ClientError>),
}

/// How the session with a hub is doing.
#[derive(Debug)]
pub(super) enum HubNote {
    /// The subscription stands, to this log.
    Up { log: LogId },
    /// The session was lost, and the task reconnects.
    Down { why: String },
    /// The hub says that this group is gone, or closed to this device: the registry knows which.
    Refused { why: String },
}

/// How a read of the log ended; the engine has been told already.
#[derive(Debug)]
pub(super) enum ReadNote {
    Done,
    Failed {
        why: String,
    },
    /// The log is another one or the group is gone: the registry knows which.
    Stale,
}
