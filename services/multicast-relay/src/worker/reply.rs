//! The reply to a publish request, and the memory budget that the request holds until then.

use gaung_engine::{AckRange, RefuseReason};
use service_kit::share::Loan;
use tokio::sync::oneshot;

/// Carries the outcome of a request from the worker to the caller.
#[derive(Debug)]
pub(crate) struct PublishReply {
    sender: oneshot::Sender<PublishOutcome>,
    /// The request's part of the memory budget. It is released when the request is logged or refused, not when the caller
    /// reads the answer.
    _memory: Option<Loan>,
}

/// The outcome of a request: the seqs of its messages, or why it was refused.
pub(crate) type PublishOutcome = Result<Vec<AckRange>, RefuseReason>;

impl PublishReply {
    /// Makes a reply and the receiver of its outcome.
    pub(crate) fn new(memory: Option<Loan>) -> (Self, oneshot::Receiver<PublishOutcome>) {
        let (sender, outcome) = oneshot::channel();
        (Self { sender, _memory: memory }, outcome)
    }

    /// Sends the outcome and releases the memory. The caller may have gone away.
    pub(crate) fn send(self, outcome: PublishOutcome) {
        drop(self.sender.send(outcome));
    }
}
