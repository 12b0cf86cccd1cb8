//! What can go wrong, in the cases that a caller treats differently.

use tonic::{Code, Status};

use crate::server::FoundServer;

/// A call that failed; the text says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The request makes no sense as it was given.
    #[error("{0}")]
    Usage(String),
    /// No such group, member or invite.
    #[error("{0}")]
    NotFound(String),
    /// The device may not do that.
    #[error("{0}")]
    NotAllowed(String),
    /// A server does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// Discovery found more than one server; name one of them.
    #[error("found several servers, choose one with --server: {}", list(.0))]
    SeveralServers(Vec<FoundServer>),
    /// Everything else.
    #[error("{0}")]
    Failed(String),
}

/// The cases of [`ClientError`] and [`crate::PublishError`]; `gaung` ends with 2, 3, 4, 5 and 1 for them, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Exit code 2.
    Usage,
    /// Exit code 3.
    NotFound,
    /// Exit code 4.
    NotAllowed,
    /// Exit code 5.
    Unreachable,
    /// Exit code 1.
    Failed,
}

impl ClientError {
    /// Which case it is. Several servers are a matter of usage: the caller has to say which one.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Usage(_) | Self::SeveralServers(_) => ErrorKind::Usage,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotAllowed(_) => ErrorKind::NotAllowed,
            Self::Unreachable(_) => ErrorKind::Unreachable,
            Self::Failed(_) => ErrorKind::Failed,
        }
    }

    /// The error of a gRPC answer; `whom` names the service asked, for those that give no reason themselves.
    pub(crate) fn of_status(status: &Status, whom: &str) -> Self {
        let text = status.message().to_owned();
        match kind_of_code(status.code()) {
            ErrorKind::Usage => Self::Usage(text),
            ErrorKind::NotFound => Self::NotFound(text),
            ErrorKind::NotAllowed => Self::NotAllowed(text),
            ErrorKind::Unreachable => Self::Unreachable(format!("{whom} does not answer: {text}")),
            ErrorKind::Failed => Self::Failed(text),
        }
    }
}

/// Maps a gRPC code onto the cases of the command.
pub(crate) const fn kind_of_code(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument => ErrorKind::Usage,
        Code::NotFound => ErrorKind::NotFound,
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::NotAllowed,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorKind::Unreachable,
        Code::Ok
        | Code::Unknown
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => ErrorKind::Failed,
    }
}

fn list(servers: &[FoundServer]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
