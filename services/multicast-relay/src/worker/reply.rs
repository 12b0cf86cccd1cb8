//! The answer to a publish request, and the memory that the request has until then.

use gaung_engine::{AckRange, RefuseReason};
use service_kit::share::Loan;
use tokio::sync::oneshot;

/// Where a worker puts the outcome of a request.
#[derive(Debug)]
pub(crate) struct PublishReply {
    sender: oneshot::Sender<PublishOutcome>,
    /// The request's part of the memory for requests: its caller's until it is logged or refused, not until somebody
    /// reads the answer.
    _memory: Option<Loan>,
}

/// What became of a request.
pub(crate) type PublishOutcome = Result<Vec<AckRange>, RefuseReason>;

impl PublishReply {
    /// A reply and where its outcome comes from.
    pub(crate) fn new(memory: Option<Loan>) -> (Self, oneshot::Receiver<PublishOutcome>) {
        let (sender, outcome) = oneshot::channel();
        (Self { sender, _memory: memory }, outcome)
    }

    /// Answers and gives the memory back; the caller may have gone away.
    pub(crate) fn send(self, outcome: PublishOutcome) {
        drop(self.sender.send(outcome));
    }
}
