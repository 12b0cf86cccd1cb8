//! Where a group's relay is, and a stream of publish requests to it.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use gaung_engine::{AckRange, MAX_REQUESTS, PublishEntry};
use gaung_proto::{
    ClientId, ClientSeq, DeviceId, GroupId, Seq,
    pb::relay::{
        Entry, PublishRequest, PublishStreamRequest, PublishStreamResponse, StreamedOutcome, StreamedPublish,
        relay_service_client::RelayServiceClient, streamed_outcome::Outcome,
    },
};
use rand::Rng as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::{
    client::{Client, Inner},
    endpoint::HostPort,
    error::ClientError,
    registry::{By, Joined, relay_of},
    tickets::Tickets,
};

/// The relay of one group as it was known last.
#[derive(Debug)]
pub(super) struct Place {
    inner: Weak<Inner>,
    group: GroupId,
    client: ClientId,
    stream_key: Bytes,
    device: DeviceId,
    relay: HostPort,
    private: bool,
    /// Outlives the client, for what still waits then.
    tickets: Arc<Tickets>,
}

/// A request's answer.
#[derive(Debug)]
pub(super) enum Answer {
    Acked(Vec<AckRange>),
    /// With a `google.rpc.Code`.
    Refused(Code, String),
}

impl Place {
    pub(super) fn of(client: &Client, joined: Joined) -> Result<Self, ClientError> {
        Ok(Self {
            inner: Arc::downgrade(&client.inner),
            group: joined.group.id,
            client: client.client_id(),
            stream_key: Bytes::copy_from_slice(&client.inner.stream_key),
            device: client.device_id(),
            relay: relay_of(&joined.group, &joined.services)?,
            private: joined.group.private,
            tickets: Arc::clone(&client.inner.tickets),
        })
    }

    /// Asks the registry where the relay is now. Without an answer the last place known stands.
    ///
    /// # Errors
    /// What the registry says for good: the group is gone, or this device may not use it.
    pub(super) async fn refresh(&mut self) -> Result<(), ClientError> {
        let Some(inner) = self.inner.upgrade() else { return Ok(()) };
        match inner.visit(&By::Id(self.group)).await {
            Ok(joined) => {
                if let Ok(relay) = relay_of(&joined.group, &joined.services) {
                    self.relay = relay;
                }
                Ok(())
            }
            Err(error @ (ClientError::NotFound(_) | ClientError::NotAllowed(_))) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Publishes under another client id from now on: somebody else has published under this one, which stands in the log.
    pub(super) fn take_new_client(&mut self) {
        self.client = ClientId(rand::rng().random());
    }

    pub(super) async fn connect(&self) -> Result<Connection, ClientError> {
        let channel = self.relay.connect("relay").await?;
        let mut relay = RelayServiceClient::new(channel).max_encoding_message_size(MAX_MESSAGE_BYTES);
        let (requests, stream) = mpsc::channel(MAX_REQUESTS);
        let answers = relay.publish_stream(ReceiverStream::new(stream)).await;
        let answers = answers.map_err(|status| ClientError::of_status(&status, "the relay"))?.into_inner();
        Ok(Connection { requests, answers, known: VecDeque::new() })
    }

    /// A relay that nobody talks to.
    #[cfg(test)]
    pub(super) fn nowhere(private: bool) -> Self {
        let (group, relay) = (GroupId([1; 16]), HostPort::new("127.0.0.1", 1));
        let (client, device) = (ClientId([2; 16]), DeviceId::NONE);
        let (stream_key, tickets) = (Bytes::new(), Arc::default());
        Self { inner: Weak::new(), group, client, device, stream_key, relay, private, tickets }
    }

    /// True if a new ticket may help where the relay refuses this one.
    pub(super) const fn needs_ticket(&self) -> bool {
        self.private
    }

    pub(super) fn request(&self, entries: Vec<PublishEntry>) -> PublishStreamRequest {
        let entries = entries.into_iter().map(|entry| Entry {
            client_seq: entry.client_seq.0,
            content_type: entry.content_type.to_byte().into(),
            payload: entry.payload,
        });
        let publish = PublishRequest {
            group_id: self.group.into(),
            client_id: self.client.into(),
            device_id: self.device.into(),
            entries: entries.collect(),
            ticket: self.ticket(),
            log_id: 0,
            stream_key: self.stream_key.clone(),
            origin: Bytes::new(),
        };
        PublishStreamRequest { publishes: vec![StreamedPublish { tag: 0, publish: Some(publish) }] }
    }

    fn ticket(&self) -> Bytes {
        match self.inner.upgrade().filter(|_| self.private) {
            Some(inner) => inner.ticket(self.group),
            None => self.tickets.newest(self.group),
        }
    }
}

/// A request of 1 MiB of payloads with its framing.
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// One stream of requests; answers come in their order.
#[derive(Debug)]
pub(super) struct Connection {
    requests: mpsc::Sender<PublishStreamRequest>,
    answers: Streaming<PublishStreamResponse>,
    /// Came with others, and were not taken yet.
    known: VecDeque<StreamedOutcome>,
}

impl Connection {
    /// Has room for every request that the engine allows in flight.
    pub(super) fn send(&self, request: PublishStreamRequest) {
        // A closed stream shows as the end of the answers.
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
            Some(Outcome::Refused(refused)) => Ok(Answer::Refused(Code::from(refused.code), refused.message)),
            None => Err(Status::unavailable("the relay sent an answer without an outcome")),
        }
    }
}

fn ack_of(ack: gaung_proto::pb::relay::AckRange) -> AckRange {
    AckRange { first_client_seq: ClientSeq(ack.first_client_seq), first_seq: Seq(ack.first_seq), count: ack.count }
}
