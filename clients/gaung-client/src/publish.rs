//! Publishing to the relay of a group.

mod attestor;
mod connection;
mod signer;
mod task;

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self as poll, Poll},
    time::Duration,
};

use bytes::Bytes;
use gaung_proto::{Content, ContentType, GroupId, GroupName, Seq, limits::MAX_PAYLOAD};
use tokio::sync::{Mutex, mpsc, oneshot};

use self::connection::RelayTarget;
use crate::{
    calls::GroupKey,
    context::Context,
    error::{ClientError, ErrorKind},
};

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
pub struct Publisher {
    messages: mpsc::Sender<Queued>,
    author_name: Arc<str>,
    attests: bool,
}

/// A message on its way to the publisher's task.
#[derive(Debug)]
enum Queued {
    /// One to be published.
    Message { content_type: ContentType, payload: Bytes, attests: bool, reply: Reply },
    /// None, but an answer is wanted once all before are logged and attested.
    Finish(oneshot::Sender<()>),
}

type Reply = oneshot::Sender<Result<Seq, PublishError>>;

/// Messages between the callers and the task, beside the engine's window.
const QUEUE: usize = 256;

impl Publisher {
    /// Takes one message; waits only while the window (1024 messages, 4 MiB) is full. An empty author name is
    /// replaced by the client's.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] at once, or [`PublishError::Closed`] once the publisher has ended.
    pub async fn publish(&self, mut content: Content) -> Result<PendingAck, PublishError> {
        if content.author_name.is_empty() {
            self.author_name.as_ref().clone_into(&mut content.author_name);
        }
        let (content_type, payload) = content.encode();
        if payload.len() > MAX_PAYLOAD {
            return Err(PublishError::TooLarge { len: payload.len(), max: MAX_PAYLOAD });
        }
        let (reply, outcome) = oneshot::channel();
        let queued = Queued::Message { content_type, payload, attests: self.attests, reply };
        self.messages.send(queued).await.map_err(|_| PublishError::Closed)?;
        Ok(PendingAck { outcome })
    }
}

impl Publisher {
    /// Attests messages that come too fast to be signed one by one: a message of its own vouches for up to 1024 of them. End with
    /// [`finish`](Self::finish).
    #[must_use]
    pub fn attesting(self) -> Self {
        Self { attests: true, ..self }
    }

    /// Waits until everything that was published before has its outcome and is attested, if it has to be. A program that ends earlier
    /// leaves its last messages without an attestation.
    ///
    /// # Errors
    /// [`PublishError::Closed`] once the publisher has ended.
    pub async fn finish(&self) -> Result<(), PublishError> {
        let (done, finished) = oneshot::channel();
        self.messages.send(Queued::Finish(done)).await.map_err(|_| PublishError::Closed)?;
        finished.await.map_err(|_| PublishError::Closed)
    }
}

/// The seq of one message, once it is durable. Dropping it does not take the message back.
#[derive(Debug)]
pub struct PendingAck {
    outcome: oneshot::Receiver<Result<Seq, PublishError>>,
}

impl Future for PendingAck {
    type Output = Result<Seq, PublishError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut poll::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| outcome.unwrap_or(Err(PublishError::Closed)))
    }
}

/// The publishers of one client: one for each group, because client_seq counts within client and group.
#[derive(Debug, Default)]
pub(crate) struct Publishers(Mutex<HashMap<GroupId, Publisher>>);

impl Publishers {
    /// Returns the publisher to a group; starts it if there is none or if it has ended.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], [`ClientError::NotAllowed`], [`ClientError::Unreachable`].
    pub(crate) async fn publisher(&self, context: &Arc<Context>, name: &GroupName) -> Result<Publisher, ClientError> {
        let access = context.access(&GroupKey::Name(name.clone())).await?;
        let group = access.group.id;
        // Held while connecting: two publishers of one group would give the same client_seq to different messages, of
        // which the relay would drop one as a duplicate.
        let mut publishers = self.0.lock().await;
        if let Some(publisher) = publishers.get(&group).filter(|publisher| !publisher.messages.is_closed()) {
            return Ok(publisher.clone());
        }
        let target = RelayTarget::new(Arc::clone(context), &access)?;
        let connection = target.connect().await?;
        let (messages, queue) = mpsc::channel(QUEUE);
        tokio::spawn(task::PublishTask::new(target, context.settings.give_up_after).run(queue, connection));
        let publisher = Publisher { messages, author_name: context.name().into(), attests: false };
        publishers.insert(group, publisher.clone());
        Ok(publisher)
    }
}
