//! The errors of calls, in the cases that a caller treats differently.

use std::{error::Error, fmt};

use gaung_proto::GroupName;
use gaung_site::SiteCode;
use tonic::{Code, Status};

use crate::found_server::FoundServer;

/// A call that failed. The text is for people and names no option of any program.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The request is malformed or cannot be carried out as it was given.
    #[error("{0}")]
    Usage(String),
    /// There is no such group, member or invite.
    #[error("{0}")]
    NotFound(String),
    /// The device has no permission.
    #[error("{0}")]
    NotAllowed(String),
    /// A server does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The server belongs to another site than the one that is pinned, in use, or known at its address. It was told nothing
    /// about this device.
    #[error("the server at {address} belongs to the site {shown}, not to {}", CodeList(.expected))]
    OtherSite {
        /// The server as `HOST:PORT`.
        address: String,
        /// The site that it has proven to belong to.
        shown: SiteCode,
        /// The sites that it should belong to, at least one.
        expected: Vec<SiteCode>,
    },
    /// The server at this address, where no site is known, does not speak TLS; [`crate::Settings::insecure`] would do without.
    #[error("the server at {0} speaks no TLS; it is an older Gaung or not Gaung: update it")]
    NoTls(String),
    /// Discovery found more than one server; [`crate::Settings::server`] has to name one of them.
    #[error("found several servers, choose one: {}", list(.0))]
    SeveralServers(Vec<FoundServer>),
    /// The group is to be heard by multicast alone and has no address at present.
    #[error("{0} has no multicast address: its relay was away for a day, and gets one when it is back")]
    NoMulticastAddress(GroupName),
    /// The group is to be heard by multicast alone and is private.
    #[error("{0} is private and carried by TCP alone")]
    PrivateByTcpOnly(GroupName),
    /// The group is to be heard over TCP and the registry lists no hub.
    #[error("no hub is running; start broadcast-hub")]
    NoHub,
    /// Everything else.
    #[error("{0}")]
    Failed(String),
}

/// The case of a [`ClientError`] or [`crate::PublishError`], each with the exit code of the command `gaung`.
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
    /// Exit code 8.
    OtherSite,
    /// Exit code 1.
    Failed,
}

impl ClientError {
    /// Returns the case. That there are several servers is one of usage: the caller has to choose.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Usage(_) | Self::SeveralServers(_) | Self::PrivateByTcpOnly(_) => ErrorKind::Usage,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotAllowed(_) => ErrorKind::NotAllowed,
            Self::Unreachable(_) | Self::NoTls(_) | Self::NoMulticastAddress(_) | Self::NoHub => ErrorKind::Unreachable,
            Self::OtherSite { .. } => ErrorKind::OtherSite,
            Self::Failed(_) => ErrorKind::Failed,
        }
    }

    /// Converts the status of a failed gRPC call to the service `whom`.
    pub(crate) fn of_status(status: &Status, whom: &str) -> Self {
        // The call was not made, because no connection came about.
        if let Some(error) = client_error(status) {
            return error.clone();
        }
        let text = status.message().to_owned();
        match kind_of_code(status.code()) {
            ErrorKind::Usage => Self::Usage(text),
            ErrorKind::NotFound => Self::NotFound(text),
            ErrorKind::NotAllowed => Self::NotAllowed(text),
            ErrorKind::Unreachable => Self::Unreachable(format!("{whom} does not answer: {text}")),
            ErrorKind::Failed | ErrorKind::OtherSite => Self::Failed(text),
        }
    }
}

/// Maps a gRPC code to its case.
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

/// Finds the error of a connection among the causes of a transport's error.
pub(crate) fn client_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ClientError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Shows codes between which people have no choice to make.
pub(crate) struct CodeList<'a>(pub(crate) &'a [SiteCode]);

impl fmt::Display for CodeList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&codes.join(" or "))
    }
}

fn list(servers: &[FoundServer]) -> String {
    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
