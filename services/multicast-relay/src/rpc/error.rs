//! Every way in which a call can fail, and the gRPC status of each.

use std::collections::HashMap;

use gaung_engine::{BatchError, RefuseReason, TicketError};
use gaung_log::ReadError;
use gaung_proto::{
    LogId, Seq, SeqRange, id::IdError, limits::MAX_TEXT_DATAGRAM, pb::relay::PublishRefused, policy::PolicyRefusal,
};
use service_kit::secure::OtherDevice;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Why a call failed. The text is shown to people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("there is no such group here; it was deleted, or belongs to another relay")]
    NoSuchGroup,
    #[error("the group is not known here and the registry cannot be reached; try again")]
    RegistryAway,
    #[error("the group's log is being opened, or cannot be at the moment; try again")]
    NotReady,
    #[error("the relay is stopping; try again")]
    Stopping,
    #[error(
        "messages of this group that were acknowledged are lost: this relay had reported another or a longer log of it; \
         `gaung group reset {name}` starts a new log"
    )]
    Refused { name: String },
    #[error("the group's log is {current} now; history before it is lost, start at 1")]
    OtherLog { current: LogId },
    #[error("messages before {oldest} are no longer kept; read from {oldest}")]
    Trimmed { oldest: Seq },
    #[error("message {0} is not logged yet; watch it once it is acknowledged")]
    NotLoggedYet(Seq),
    #[error("who was present when message {0} was logged is not known any more: the relay opened its log after it")]
    BeforeOpening(Seq),
    #[error("too many receipts are watched at the moment; try again")]
    TooManyWatches,
    #[error("messages {missing} lie in a damaged file; read on from {next}", next = missing.last.next())]
    Damaged { missing: SeqRange },
    #[error("the log cannot be read at the moment; try again")]
    Unreadable,
    #[error(transparent)]
    BadId(#[from] IdError),
    #[error("{0}")]
    BadField(&'static str),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(
        "a text of {0} bytes is over the limit of {MAX_TEXT_DATAGRAM} bytes of this group, whose messages are single datagrams"
    )]
    TextTooLong(usize),
    #[error(transparent)]
    OtherDevice(#[from] OtherDevice),
    #[error(transparent)]
    Access(#[from] TicketError),
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
    #[error(transparent)]
    NotLogged(#[from] RefuseReason),
}

impl CallError {
    fn code(&self) -> Code {
        match self {
            Self::NoSuchGroup => Code::NotFound,
            Self::RegistryAway | Self::NotReady | Self::Stopping | Self::Unreadable => Code::Unavailable,
            Self::Refused { .. } | Self::OtherLog { .. } => Code::FailedPrecondition,
            Self::Trimmed { .. } | Self::NotLoggedYet(_) | Self::BeforeOpening(_) => Code::OutOfRange,
            Self::TooManyWatches => Code::ResourceExhausted,
            Self::Damaged { .. } => Code::DataLoss,
            Self::BadId(_) | Self::BadField(_) | Self::Batch(_) | Self::TextTooLong(_) => Code::InvalidArgument,
            Self::Access(TicketError::NoKey) => Code::Unavailable,
            Self::Access(TicketError::NoTicket) => Code::Unauthenticated,
            Self::OtherDevice(_) | Self::Policy(_) | Self::Access(TicketError::NoDevice | TicketError::Ticket(_)) => {
                Code::PermissionDenied
            }
            Self::NotLogged(RefuseReason::OutOfWindow(_)) => Code::OutOfRange,
            Self::NotLogged(RefuseReason::OtherPublisher) => Code::AlreadyExists,
            Self::NotLogged(RefuseReason::Busy | RefuseReason::Unavailable) => Code::Unavailable,
        }
    }

    /// Returns the error as an answer within a stream of publish requests.
    pub(super) fn to_refused(&self) -> PublishRefused {
        let current_log_id = if let Self::OtherLog { current } = self { current.0 } else { 0 };
        PublishRefused { code: self.code().into(), message: self.to_string(), current_log_id }
    }

    /// Returns the reason as a code for programs, with a figure that they may use.
    fn details(&self) -> Option<ErrorDetails> {
        let info = |reason: &str, key: &str, value: String| {
            ErrorDetails::with_error_info(reason, "gaung", HashMap::from([(key.to_owned(), value)]))
        };
        match self {
            Self::Trimmed { oldest } => Some(info("TRIMMED", "oldest_seq", oldest.to_string())),
            Self::Damaged { missing } => Some(info("DAMAGED", "next_seq", missing.last.next().to_string())),
            Self::OtherLog { current } => Some(info("OTHER_LOG", "log_id", current.0.to_string())),
            Self::Policy(refusal) => {
                let (reason, ms) = match refusal {
                    PolicyRefusal::Banned => ("BANNED", 0),
                    PolicyRefusal::Muted(time) => ("MUTED", time.as_millis()),
                    PolicyRefusal::Kicked => ("KICKED", 0),
                    PolicyRefusal::NoRole => ("NO_ROLE", 0),
                };
                Some(info(reason, "remaining_ms", ms.to_string()))
            }
            Self::Refused { name } => Some(info("REFUSED_UNTIL_RESET", "group", name.clone())),
            Self::Batch(error) => Some(ErrorDetails::with_bad_request_violation("entries", error.to_string())),
            Self::NoSuchGroup
            | Self::NotLoggedYet(_)
            | Self::BeforeOpening(_)
            | Self::TooManyWatches
            | Self::RegistryAway
            | Self::NotReady
            | Self::Stopping
            | Self::Unreadable
            | Self::BadId(_)
            | Self::BadField(_)
            | Self::TextTooLong(_)
            | Self::OtherDevice(_)
            | Self::Access(_)
            | Self::NotLogged(_) => None,
        }
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        match error.details() {
            Some(details) => Self::with_error_details(error.code(), error.to_string(), details),
            None => Self::new(error.code(), error.to_string()),
        }
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Trimmed { oldest } => Self::Trimmed { oldest },
            ReadError::Damaged { missing } => Self::Damaged { missing },
            ReadError::NoSuchLog => Self::NotReady,
            ReadError::Io(_) => Self::Unreadable,
        }
    }
}
