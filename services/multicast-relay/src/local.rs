//! Publishing from within the relay's own process, without gRPC.

use std::sync::Arc;

use gaung_engine::{AckRange, PublishBatch, RefuseReason};
use gaung_net::driver::SendCommandError;
use gaung_proto::{GroupId, LogId};
use tokio::sync::oneshot;

use crate::{
    directory::{Directory, GroupPhase, OpenGroup},
    group::GroupLane,
    worker::{PublishReply, WorkerCommand, WorkerPublish},
};

/// Publishes to the groups of the relay that gave it ([`Bound::local_publisher`](crate::Bound::local_publisher)).
///
/// Whoever holds it is trusted as the relay is. Messages are handled like any other: sequenced by the group's worker,
/// appended, then sent.
#[derive(Debug, Clone)]
pub struct LocalPublisher {
    directory: Arc<Directory>,
}

impl LocalPublisher {
    pub(crate) const fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    /// Returns the group's present opening; `None` while it is not served, and for groups whose datagrams are not the
    /// protocol's (private ones and those of format `text`).
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<LocalGroup> {
        match self.directory.phase(group)? {
            GroupPhase::Serving(serving) if serving.config.lane == GroupLane::Proto => Some(LocalGroup { serving }),
            GroupPhase::Serving(_) | GroupPhase::Unavailable | GroupPhase::Refused { .. } | GroupPhase::Deleted => None,
        }
    }
}

/// One opening of a group's log. Get another from [`LocalPublisher::group`] once a request was refused as
/// [`RefuseReason::Unavailable`].
#[derive(Debug, Clone)]
pub struct LocalGroup {
    serving: Arc<OpenGroup>,
}

impl LocalGroup {
    /// Returns the id of the log that is open.
    #[must_use]
    pub fn log(&self) -> LogId {
        self.serving.identity.log
    }

    /// Hands a request to the group's worker without waiting; requests of one thread keep their order.
    ///
    /// # Errors
    /// [`LocalPublishError`]: nothing of it was taken.
    pub fn publish(&self, batch: PublishBatch) -> Result<LocalAck, LocalPublishError> {
        let (reply, answer) = PublishReply::new(None);
        let (group, log) = (self.serving.identity.group, self.log());
        match self.serving.worker.send(WorkerCommand::Publish(WorkerPublish { group, log, batch, reply })) {
            Ok(()) => Ok(LocalAck { answer }),
            Err(SendCommandError::Full(WorkerCommand::Publish(publish))) => Err(LocalPublishError::Full(publish.batch)),
            Err(SendCommandError::Full(_) | SendCommandError::Stopped(_)) => Err(LocalPublishError::Stopped),
        }
    }
}

/// A request that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LocalPublishError {
    /// The worker's queue is full; holds the request, to be tried again.
    #[error("the relay's worker has no room for another request")]
    Full(PublishBatch),
    /// The relay has stopped and takes no more requests.
    #[error("the relay has stopped")]
    Stopped,
}

/// The pending answer to a request.
#[derive(Debug)]
pub struct LocalAck {
    answer: oneshot::Receiver<Result<Vec<AckRange>, RefuseReason>>,
}

impl LocalAck {
    /// Returns the outcome if it is known. Acknowledged means durable, as far as the log is.
    pub fn try_outcome(&mut self) -> Option<Result<Vec<AckRange>, RefuseReason>> {
        match self.answer.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(RefuseReason::Unavailable)),
        }
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// Why nothing of it was logged; [`RefuseReason::Unavailable`] also if the relay stopped.
    pub async fn outcome(self) -> Result<Vec<AckRange>, RefuseReason> {
        self.answer.await.unwrap_or(Err(RefuseReason::Unavailable))
    }

    /// Waits for the outcome, on a thread without an async runtime.
    ///
    /// # Errors
    /// As [`Self::outcome`].
    ///
    /// # Panics
    /// Within an async runtime.
    pub fn wait(self) -> Result<Vec<AckRange>, RefuseReason> {
        self.answer.blocking_recv().unwrap_or(Err(RefuseReason::Unavailable))
    }
}
