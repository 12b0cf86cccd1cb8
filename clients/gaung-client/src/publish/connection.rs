//! Where a group's relay is, and a stream of publish requests to it.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use gaung_engine::{AckRange, MAX_REQUESTS, PublishEntry};
use gaung_proto::{
    ClientId, ClientSeq, GroupId, LogId, RelayId, Seq,
    pb::relay::{
        Entry, PublishRequest, PublishStreamRequest, PublishStreamResponse, StreamedOutcome, StreamedPublish,
        relay_service_client::RelayServiceClient, streamed_outcome::Outcome,
    },
};
use gaung_site::Role;
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::signer::{MessageSigner, SignedStream};
use crate::{
    calls::{GroupAccess, GroupKey},
    channel,
    context::Context,
    endpoint::HostPort,
    error::ClientError,
};

/// The relay of one group as it was known last, and what requests to it show.
#[derive(Debug)]
pub(super) struct RelayTarget {
    context: Arc<Context>,
    group: GroupId,
    /// The context's client id until a relay says that it belongs to another publisher.
    client: ClientId,
    /// The log that messages are signed for: as the registry had it, until the relay says that another one is current.
    log: LogId,
    relay: HostPort,
    relay_id: RelayId,
    private: bool,
}

/// The relay's answer to one request.
#[derive(Debug)]
pub(super) enum Answer {
    Acked(Vec<AckRange>),
    /// The messages are signed for another log than this one, which is current.
    OtherLog(LogId),
    /// Refused for this reason, with a message for people.
    Refused(Code, String),
}

impl RelayTarget {
    pub(super) fn new(context: Arc<Context>, access: &GroupAccess) -> Result<Self, ClientError> {
        Ok(Self {
            group: access.group.id,
            client: context.client_id,
            log: access.group.log,
            relay: access.relay()?,
            relay_id: access.group.relay,
            private: access.group.private,
            context,
        })
    }

    /// Asks the registry where the relay is now. Without an answer the last known endpoint stays in use.
    ///
    /// # Errors
    /// What the registry says for good: the group is gone, or this device may not use it.
    pub(super) async fn refresh(&mut self) -> Result<(), ClientError> {
        match self.context.access(&GroupKey::Id(self.group)).await {
            Ok(access) => {
                if let Ok(relay) = access.relay() {
                    (self.relay, self.relay_id) = (relay, access.group.relay);
                }
                Ok(())
            }
            Err(error @ (ClientError::NotFound(_) | ClientError::NotAllowed(_))) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Publishes under another client id from now on: another publisher owns this one, which anybody can read in the
    /// log.
    pub(super) fn take_new_client(&mut self) {
        self.client = ClientId(rand::rng().random());
    }

    /// Publishes to this log from now on.
    pub(super) const fn take_log(&mut self, log: LogId) {
        self.log = log;
    }

    /// Returns what signatures are bound to.
    pub(super) const fn stream(&self) -> SignedStream {
        SignedStream { group: self.group, log: self.log, client: self.client }
    }

    /// Makes the signer of this device's messages.
    pub(super) fn signer(&self) -> MessageSigner {
        MessageSigner::new(self.context.device.key().clone(), self.stream())
    }

    /// Opens a stream of publish requests.
    pub(super) async fn connect(&self) -> Result<Connection, ClientError> {
        let channel = channel::connect(&self.context.trust, &self.relay, Role::Relay(self.relay_id)).await?;
        let mut relay = RelayServiceClient::new(channel).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (requests, stream) = mpsc::channel(MAX_REQUESTS);
        let answers = relay.publish_stream(ReceiverStream::new(stream)).await;
        let answers = answers.map_err(|status| ClientError::of_status(&status, "the relay"))?.into_inner();
        Ok(Connection { requests, answers, known: VecDeque::new() })
    }

    /// Whether a new ticket may help if the relay refuses this one.
    pub(super) const fn needs_ticket(&self) -> bool {
        self.private
    }

    /// Builds the request that publishes `entries`. `is_signed`: some are signed, so that no other log may take them.
    pub(super) fn request(&self, entries: Vec<PublishEntry>, is_signed: bool) -> PublishStreamRequest {
        let entries = entries.into_iter().map(|entry| Entry {
            client_seq: entry.client_seq.0,
            content_type: entry.content_type.to_byte().into(),
            payload: entry.payload,
        });
        let publish = PublishRequest {
            group_id: self.group.into(),
            client_id: self.client.into(),
            device_id: self.context.device.id().into(),
            entries: entries.collect(),
            ticket: if self.private { self.context.ticket(self.group) } else { Bytes::new() },
            log_id: if is_signed { self.log.0 } else { 0 },
            stream_key: Bytes::copy_from_slice(&self.context.stream_key),
            origin: Bytes::new(),
        };
        PublishStreamRequest { publishes: vec![StreamedPublish { tag: 0, publish: Some(publish) }] }
    }
}

/// Limits one request, bytes: 1 MiB of payloads with its framing.
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// One stream of publish requests. Answers come in the order of the requests.
#[derive(Debug)]
pub(super) struct Connection {
    requests: mpsc::Sender<PublishStreamRequest>,
    answers: Streaming<PublishStreamResponse>,
    /// Outcomes that came in one response with others and were not taken yet.
    known: VecDeque<StreamedOutcome>,
}

impl Connection {
    /// Sends a request. The queue has room for every request that the engine allows in flight.
    pub(super) fn send(&self, request: PublishStreamRequest) {
        // A closed stream ends the answers too, which is where it is handled.
        let _ = self.requests.try_send(request);
    }

    /// The next answer. Cancel safe.
    ///
    /// # Errors
    /// The stream has ended.
    pub(super) async fn answer(&mut self) -> Result<Answer, Status> {
        let outcome = loop {
            if let Some(outcome) = self.known.pop_front() {
                break outcome;
            }
            let response: Option<PublishStreamResponse> = self.answers.message().await?;
            self.known.extend(response.ok_or_else(|| Status::unavailable("the relay ended the stream"))?.outcomes);
        };
        match outcome.outcome {
            Some(Outcome::Published(published)) => Ok(Answer::Acked(published.acks.into_iter().map(ack_of).collect())),
            Some(Outcome::Refused(refused)) if refused.current_log_id != 0 => {
                Ok(Answer::OtherLog(LogId(refused.current_log_id)))
            }
            Some(Outcome::Refused(refused)) => Ok(Answer::Refused(Code::from(refused.code), refused.message)),
            None => Err(Status::unavailable("the relay sent an answer without an outcome")),
        }
    }
}

fn ack_of(ack: gaung_proto::pb::relay::AckRange) -> AckRange {
    AckRange { first_client_seq: ClientSeq(ack.first_client_seq), first_seq: Seq(ack.first_seq), count: ack.count }
}
