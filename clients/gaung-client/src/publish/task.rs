//! The task behind a publisher: one engine, one connection at a time.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{MessageOutcome, Publisher as Engine};
use gaung_net::backoff::Backoff;
use gaung_proto::{ClientSeq, Content, ContentType};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};
use tonic::Code;

use super::{
    PublishError, Queued, Reply,
    attestor::Attestor,
    connection::{Answer, Connection, RelayTarget},
    signer::MessageSigner,
};
use crate::{endpoint::server_backoff, error::ClientError};

/// Ends once all publishers are dropped and nothing waits for an acknowledgement.
#[derive(Debug)]
pub(super) struct PublishTask {
    target: RelayTarget,
    engine: Engine,
    signer: MessageSigner,
    /// In the order of the engine's messages.
    waiting: VecDeque<WaitingMessage>,
    /// The number of the first of them.
    next_outcome: ClientSeq,
    attestor: Attestor,
    /// Answered once everything is logged and attested.
    finishing: Vec<oneshot::Sender<()>>,
    backoff: Backoff,
    give_up_after: Duration,
    /// Why the next message fails, if it does.
    trouble: PublishError,
    closed: bool,
    /// The registry gave a ticket since the last acknowledgement, so that one that is refused now is refused for good.
    has_new_ticket: bool,
}

/// A message whose outcome is not known.
#[derive(Debug)]
struct WaitingMessage {
    /// `None` for an attestation, which nobody waits for.
    reply: Option<Reply>,
    /// What is attested once it is logged; `None` if it is signed itself.
    attested: Option<(ContentType, Bytes)>,
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
            signer: target.signer(),
            target,
            engine: Engine::new(give_up_after),
            waiting: VecDeque::new(),
            next_outcome: ClientSeq(1),
            attestor: Attestor::default(),
            finishing: Vec::new(),
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
        if self.signer.bind(self.target.stream()) {
            self.engine.rewrite(|entry| self.signer.sign_again(entry));
            self.attestor.clear();
        }
        loop {
            self.attest();
            while let Some(entries) = self.engine.poll_request() {
                let is_signed = entries.iter().any(|entry| self.signer.has_signed(&entry.payload));
                connection.send(self.target.request(entries, is_signed));
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
                    Ok(Answer::OtherLog(log)) => {
                        // All that is unacknowledged is signed for this log and sent anew, on a stream without earlier requests under way.
                        self.target.take_log(log);
                        return ConnectionEnd::Lost;
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
            self.finish();
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
            self.attest();
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
        while let Some(queued) = next {
            match queued {
                Queued::Message { content_type, payload, attests, reply } => {
                    let payload = self.take_message(content_type, payload);
                    let attested = payload.filter(|_| attests).map(|payload| (content_type, payload));
                    self.waiting.push_back(WaitingMessage { reply: Some(reply), attested });
                }
                Queued::Finish(done) => self.finishing.push(done),
            }
            next = if self.engine.has_room() { queue.try_recv().ok() } else { None };
        }
    }

    /// Hands a message to the engine, signed if it comes no faster than a person writes; returns its payload if it is not.
    fn take_message(&mut self, content_type: ContentType, payload: Bytes) -> Option<Bytes> {
        let now = Instant::now();
        let signed = self.signer.sign(now, self.engine.next_client_seq(), content_type, payload);
        let unsigned = (!self.signer.has_signed(&signed)).then(|| signed.clone());
        self.engine.handle_message(now, content_type, signed);
        unsigned
    }

    /// Publishes an attestation where one is due, or where nothing is left to wait for.
    fn attest(&mut self) {
        let is_last = self.engine.is_idle() && (self.closed || !self.finishing.is_empty());
        let attestation = if is_last { self.attestor.take() } else { self.attestor.poll_due(Instant::now()) };
        if let Some(attestation) = attestation {
            self.publish_attestation(&attestation);
        }
    }

    fn publish_attestation(&mut self, attestation: &Content) {
        let (content_type, payload) = attestation.encode();
        let payload = self.signer.sign_always(self.engine.next_client_seq(), content_type, &payload);
        self.engine.handle_message(Instant::now(), content_type, payload);
        self.waiting.push_back(WaitingMessage { reply: None, attested: None });
    }

    /// Tells those who wait for everything to be logged and attested.
    fn finish(&mut self) {
        if self.engine.is_idle() && self.attestor.is_empty() {
            for done in self.finishing.drain(..) {
                // They may not care any more.
                let _ = done.send(());
            }
        }
    }

    fn reply(&mut self) {
        while let Some(outcome) = self.engine.poll_outcome() {
            let message = self.waiting.pop_front().expect("one outcome for each message");
            self.note_outcome(outcome, message.attested);
            if let Some(reply) = message.reply {
                // The caller may not care.
                let _ = reply.send(match outcome {
                    MessageOutcome::Logged(seq) => Ok(seq),
                    MessageOutcome::Failed => Err(self.trouble.clone()),
                });
            }
        }
    }

    fn note_outcome(&mut self, outcome: MessageOutcome, attested: Option<(ContentType, Bytes)>) {
        let (now, client_seq) = (Instant::now(), self.next_outcome);
        self.next_outcome = ClientSeq(client_seq.0 + 1);
        let attestation = match (outcome, attested) {
            (MessageOutcome::Logged(_), Some((content_type, payload))) => {
                self.attestor.add(now, client_seq, content_type, &payload);
                self.attestor.poll_due(now)
            }
            // An attestation is for messages without a hole between them.
            (MessageOutcome::Logged(_), None) | (MessageOutcome::Failed, _) => self.attestor.take(),
        };
        if let Some(attestation) = attestation {
            self.publish_attestation(&attestation);
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
        self.closed && self.engine.is_idle() && self.attestor.is_empty()
    }

    fn due(&self) -> Instant {
        let given_up = self.engine.poll_timeout().unwrap_or_else(|| Instant::now() + IDLE);
        self.attestor.poll_timeout().map_or(given_up, |due| due.min(given_up))
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
            task.waiting.push_back(WaitingMessage { reply: Some(reply), attested: None });
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
