//! The task behind a publisher: one engine, one connection at a time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use gaung_engine::{MessageOutcome, Publisher as Engine};
use gaung_net::backoff::Backoff;
use tokio::{sync::mpsc, time::sleep_until};
use tonic::Code;

use super::{
    PublishError, Queued, Reply,
    connection::{Answer, Connection, RelayTarget},
};
use crate::{endpoint::server_backoff, error::ClientError};

/// Ends once all publishers are dropped and nothing waits for an acknowledgement.
#[derive(Debug)]
pub(super) struct PublishTask {
    target: RelayTarget,
    engine: Engine,
    /// In the order of the engine's messages.
    replies: VecDeque<Reply>,
    backoff: Backoff,
    give_up_after: Duration,
    /// Why the next message fails, if it does.
    trouble: PublishError,
    closed: bool,
    /// The registry gave a ticket since the last acknowledgement, so that one that is refused now is refused for good.
    has_new_ticket: bool,
}

/// How a turn with a connection ended.
enum ConnectionEnd {
    /// All publishers are gone and all is acknowledged.
    Done,
    /// Connect again.
    Lost,
}

impl PublishTask {
    pub(super) fn new(target: RelayTarget, give_up_after: Duration) -> Self {
        Self {
            target,
            engine: Engine::new(give_up_after),
            replies: VecDeque::new(),
            backoff: server_backoff(),
            give_up_after,
            trouble: PublishError::Closed,
            closed: false,
            has_new_ticket: false,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Queued>, first: Connection) {
        let mut connection = Some(first);
        loop {
            let Some(open) = connection.take() else {
                connection = self.reconnect(&mut queue).await;
                if connection.is_none() && self.is_done() {
                    return;
                }
                continue;
            };
            match self.talk(&mut queue, open).await {
                ConnectionEnd::Done => return,
                ConnectionEnd::Lost => self.engine.handle_disconnected(),
            }
        }
    }

    /// Sends and reads until the connection is lost or nothing is left to do.
    async fn talk(&mut self, queue: &mut mpsc::Receiver<Queued>, mut connection: Connection) -> ConnectionEnd {
        loop {
            while let Some(entries) = self.engine.poll_request() {
                connection.send(self.target.request(entries));
            }
            if self.is_done() {
                return ConnectionEnd::Done;
            }
            let due = self.due();
            tokio::select! {
                answer = connection.answer() => match answer {
                    Ok(Answer::Acked(acks)) => {
                        self.backoff.reset();
                        self.has_new_ticket = false;
                        self.engine.handle_acks(&acks);
                    }
                    Ok(Answer::Refused(code, message)) => {
                        if self.handle_refused(code, message).is_err() {
                            return ConnectionEnd::Lost;
                        }
                    }
                    Err(status) => {
                        self.note(status.message());
                        return ConnectionEnd::Lost;
                    }
                },
                queued = queue.recv(), if self.takes() => self.take(queued, queue),
                () = sleep_until(due.into()) => self.engine.handle_timeout(Instant::now()),
            }
            self.reply();
        }
    }

    /// Waits, asks where the relay is, and connects; takes messages meanwhile. `None`: not yet.
    async fn reconnect(&mut self, queue: &mut mpsc::Receiver<Queued>) -> Option<Connection> {
        let until = Instant::now() + self.backoff.next_delay();
        while Instant::now() < until {
            let due = self.due().min(until);
            tokio::select! {
                queued = queue.recv(), if self.takes() => self.take(queued, queue),
                () = sleep_until(due.into()) => {}
            }
            self.engine.handle_timeout(Instant::now());
            self.reply();
            if self.is_done() {
                return None;
            }
        }
        if let Err(error) = self.target.refresh().await {
            self.fail_all(publish_error(error));
            return None;
        }
        self.has_new_ticket = true;
        match self.target.connect().await {
            Ok(connection) => Some(connection),
            Err(error) => {
                self.note(&error.to_string());
                None
            }
        }
    }

    /// What cannot be helped fails the request; what may pass, or needs a new ticket, is tried on a new connection.
    fn handle_refused(&mut self, code: Code, message: String) -> Result<(), ()> {
        if code == Code::PermissionDenied && self.target.needs_ticket() && !self.has_new_ticket {
            // An expired ticket, or one by another clock: coming back asks the registry, which says if it is for good. A muted
            // device gets a ticket, and is refused again.
            self.note(&message);
            return Err(());
        }
        self.trouble = match code {
            Code::NotFound => PublishError::NotFound(message),
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => PublishError::Refused(message),
            // The client id belongs to another publisher: all that is not acknowledged goes under a new one.
            Code::AlreadyExists => {
                self.target.take_new_client();
                self.note(&message);
                return Err(());
            }
            Code::PermissionDenied => PublishError::NotAllowed(message),
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => {
                self.note(&message);
                return Err(());
            }
        };
        self.engine.handle_refused();
        Ok(())
    }

    fn take(&mut self, first: Option<Queued>, queue: &mut mpsc::Receiver<Queued>) {
        let Some(first) = first else {
            self.closed = true;
            return;
        };
        let mut next = Some(first);
        while let Some(Queued { content_type, payload, reply }) = next {
            self.engine.handle_message(Instant::now(), content_type, payload);
            self.replies.push_back(reply);
            next = if self.engine.has_room() { queue.try_recv().ok() } else { None };
        }
    }

    fn reply(&mut self) {
        while let Some(outcome) = self.engine.poll_outcome() {
            let reply = self.replies.pop_front().expect("one outcome for each message");
            // The caller may not care.
            let _ = reply.send(match outcome {
                MessageOutcome::Logged(seq) => Ok(seq),
                MessageOutcome::Failed => Err(self.trouble.clone()),
            });
        }
    }

    fn fail_all(&mut self, why: PublishError) {
        self.trouble = why;
        self.engine.handle_closed();
        self.reply();
    }

    fn note(&mut self, reason: &str) {
        self.trouble = PublishError::GaveUp { after: self.give_up_after, reason: reason.to_owned() };
    }

    fn takes(&self) -> bool {
        !self.closed && self.engine.has_room()
    }

    fn is_done(&self) -> bool {
        self.closed && self.engine.is_idle()
    }

    fn due(&self) -> Instant {
        self.engine.poll_timeout().unwrap_or_else(|| Instant::now() + IDLE)
    }
}

/// Without messages there is nothing to give up; looked at again after this.
const IDLE: Duration = Duration::from_secs(3600);

fn publish_error(error: ClientError) -> PublishError {
    match error {
        ClientError::NotFound(text) => PublishError::NotFound(text),
        ClientError::NotAllowed(text) => PublishError::NotAllowed(text),
        ClientError::Usage(text) | ClientError::Unreachable(text) | ClientError::Failed(text) => {
            PublishError::Refused(text)
        }
        other @ (ClientError::SeveralServers(_)
        | ClientError::NoMulticastAddress(_)
        | ClientError::PrivateByTcpOnly(_)
        | ClientError::NoHub
        | ClientError::NoTls(_)
        | ClientError::OtherSite { .. }) => PublishError::Refused(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        group::ServiceKind,
        test_doubles::{access, context},
    };

    #[tokio::test]
    async fn a_ticket_that_the_relay_does_not_take_fails_nothing_before_the_registry_was_asked() {
        for (private, is_final) in [(true, false), (false, true)] {
            let mut access = access(1);
            (access.group.private, access.services[0].kind) = (private, ServiceKind::Relay);
            access.services[0].id = access.group.relay;
            let target = RelayTarget::new(context(), &access).expect("the relay is listed");
            let mut task = PublishTask::new(target, Duration::from_secs(30));
            task.engine.handle_message(Instant::now(), gaung_proto::ContentType::Text, bytes::Bytes::new());
            let (reply, mut outcome) = tokio::sync::oneshot::channel();
            task.replies.push_back(reply);
            assert!(task.engine.poll_request().is_some());
            let handled = task.handle_refused(Code::PermissionDenied, "the ticket has expired".to_owned());
            task.reply();
            assert_eq!(handled.is_ok(), is_final, "private {private}");
            assert_eq!(outcome.try_recv().is_ok(), is_final, "private {private}");
            task.engine.handle_disconnected();
            assert_eq!(task.engine.poll_request().is_some(), !is_final, "it is sent again");
            task.has_new_ticket = true;
            let again = task.handle_refused(Code::PermissionDenied, "this device is muted".to_owned());
            assert!(again.is_ok(), "private {private}: the registry was asked");
        }
    }
}
