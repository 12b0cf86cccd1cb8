//! Publishing straight to the relay.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use gaung_proto::{Content, Seq};

use crate::error::ErrorKind;

/// A message that was not logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Over the limit of one message.
    #[error("the message has {len} bytes; at most {max} can be sent at once")]
    TooLarge {
        /// Its encoded length, bytes.
        len: usize,
        /// The limit, bytes.
        max: usize,
    },
    /// The group is no more.
    #[error("{0}")]
    NotFound(String),
    /// The device may not publish there.
    #[error("{0}")]
    NotAllowed(String),
    /// The relay did not take it in the time allowed. It may or may not be logged.
    #[error("gave up after {} s: {reason}", .after.as_secs())]
    GaveUp {
        /// The time allowed.
        after: Duration,
        /// The last reason.
        reason: String,
    },
    /// The relay refused it.
    #[error("{0}")]
    Refused(String),
    /// The publisher was dropped before an answer came. It may or may not be logged.
    #[error("the publisher was closed before the relay acknowledged the message")]
    Closed,
}

impl PublishError {
    /// Which case it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Usage,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotAllowed(_) => ErrorKind::NotAllowed,
            Self::GaveUp { .. } => ErrorKind::Unreachable,
            Self::Refused(_) | Self::Closed => ErrorKind::Failed,
        }
    }
}

/// Publishes to one group, pipelined and in order. Clones share one order and one window.
///
/// When the relay is lost, what was not acknowledged is sent again with the same number, so that it is logged once.
#[derive(Debug, Clone)]
pub struct Publisher {}

impl Publisher {
    /// Takes one message; waits only while the window (1024 messages, 4 MiB) is full. An empty author name is
    /// replaced by the client's.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] at once, or why the publisher as a whole has ended.
    pub async fn publish(&self, content: Content) -> Result<PendingAck, PublishError> {
        let _ = content;
        Err(PublishError::Closed)
    }
}

/// The seq of one message, once it is durable. Dropping it does not take the message back.
#[derive(Debug)]
pub struct PendingAck {
    outcome: tokio::sync::oneshot::Receiver<Result<Seq, PublishError>>,
}

impl Future for PendingAck {
    type Output = Result<Seq, PublishError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Err(PublishError::Closed)))
    }
}
pub(crate) async fn start(
    client: &crate::Client,
    group: &gaung_proto::GroupName,
) -> Result<Publisher, crate::ClientError> {
    let _ = (client, group);
    Err(crate::ClientError::Failed(String::new()))
}
