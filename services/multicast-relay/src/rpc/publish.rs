//! Publish and PublishStream.

use std::{pin::Pin, sync::Arc};

use gaung_engine::{AckRange, PublishBatch, PublishEntry, RefuseReason};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, LogId,
    limits::{MAX_PUBLISH_MESSAGES, MAX_TEXT_DATAGRAM},
    pb::relay::{
        self as pb, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse,
        publish_stream_response::Outcome,
    },
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{CallError, Relay, group_id};
use crate::{
    directory::Serving,
    group::GroupLane,
    worker::{Command, Publish, text_of},
};

/// Requests of one stream that wait for their answer; then no more are read from it.
const STREAM_WINDOW: usize = 256;

/// What PublishStream answers.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<PublishStreamResponse, Status>> + Send>>;

/// One request, from its arrival to its durability.
pub(super) async fn publish(relay: &Relay, request: PublishRequest) -> Result<PublishResponse, CallError> {
    hand_over(relay, request).await?.outcome().await
}

/// Requests go to the workers in the order they came, and answers back in the same order.
pub(super) fn publish_stream(relay: Relay, mut requests: Streaming<PublishStreamRequest>) -> Answers {
    let (pending, waiting) = mpsc::channel(STREAM_WINDOW);
    let tasks = relay.0.tasks.clone();
    tasks.spawn(async move {
        // A broken stream ends like one that the client finished: what was handed over is answered or dropped.
        while let Ok(Some(request)) = requests.message().await {
            let handed_over = match request.publish {
                Some(publish) => hand_over(&relay, publish).await,
                None => Err(CallError::BadField("a request of the stream has no publish")),
            };
            if pending.send((request.tag, handed_over)).await.is_err() {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(waiting).then(|(tag, handed_over)| answer(tag, handed_over)))
}

async fn answer(tag: u64, handed_over: Result<Pending, CallError>) -> Result<PublishStreamResponse, Status> {
    let outcome = match handed_over {
        Ok(pending) => pending.outcome().await,
        Err(error) => Err(error),
    };
    let outcome = match outcome {
        Ok(published) => Outcome::Published(published),
        Err(error) => Outcome::Refused(error.to_refused()),
    };
    Ok(PublishStreamResponse { tag, outcome: Some(outcome) })
}

/// A request that its worker has.
struct Pending {
    log: LogId,
    answer: oneshot::Receiver<Result<Vec<AckRange>, RefuseReason>>,
    /// Its share of the memory for requests.
    _share: OwnedSemaphorePermit,
}

impl Pending {
    async fn outcome(self) -> Result<PublishResponse, CallError> {
        let acks = self.answer.await.map_err(|_| CallError::Stopping)??;
        let acks = acks.into_iter().map(|ack| pb::AckRange {
            first_client_seq: ack.first_client_seq.0,
            first_seq: ack.first_seq.0,
            count: ack.count,
        });
        Ok(PublishResponse { log_id: self.log.0, acks: acks.collect() })
    }
}

async fn hand_over(relay: &Relay, request: PublishRequest) -> Result<Pending, CallError> {
    let outcome = check_and_send(relay, request).await;
    if outcome.is_err() {
        relay.0.figures.requests_refused.inc();
    }
    outcome
}

async fn check_and_send(relay: &Relay, request: PublishRequest) -> Result<Pending, CallError> {
    let group = group_id(&request.group_id)?;
    let serving = relay.serving(group).await?;
    let log = serving.identity.log;
    if request.log_id != 0 && request.log_id != log.0 {
        return Err(CallError::OtherLog { current: log });
    }
    let device = device_id(&request.device_id)?;
    relay.0.access.check(&serving.config, device, &request.ticket)?;
    let batch = batch(&serving, device, request)?;
    let share = share_of(relay, &batch).await?;
    let (reply, answer) = oneshot::channel();
    let command = Command::Publish(Publish { group, log, batch, reply });
    serving.worker.send_wait(command).await.map_err(|_| CallError::Stopping)?;
    Ok(Pending { log, answer, _share: share })
}

async fn share_of(relay: &Relay, batch: &PublishBatch) -> Result<OwnedSemaphorePermit, CallError> {
    let kib = 1 + batch.bytes().div_ceil(1024) + batch.entries.len() / 16;
    let budget = Arc::clone(&relay.0.publish_budget);
    budget.acquire_many_owned(kib as u32).await.map_err(|_| CallError::Stopping)
}

fn device_id(bytes: &[u8]) -> Result<DeviceId, CallError> {
    if bytes.is_empty() { Ok(DeviceId::NONE) } else { Ok(DeviceId::try_from(bytes)?) }
}

fn batch(serving: &Serving, device: DeviceId, request: PublishRequest) -> Result<PublishBatch, CallError> {
    let client = ClientId::try_from(&request.client_id[..])?;
    if request.entries.len() > MAX_PUBLISH_MESSAGES {
        return Err(gaung_engine::BatchError::Count(request.entries.len()).into());
    }
    let entries: Vec<_> = request.entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    if serving.config.lane == GroupLane::Text {
        entries.iter().try_for_each(check_text)?;
    }
    Ok(PublishBatch::new(device, client, entries)?)
}

fn entry(entry: pb::Entry) -> Result<PublishEntry, CallError> {
    let content_type =
        u8::try_from(entry.content_type).map_err(|_| CallError::BadField("content_type must be from 0 to 255"))?;
    Ok(PublishEntry {
        client_seq: ClientSeq(entry.client_seq),
        content_type: ContentType::from_byte(content_type),
        payload: entry.payload,
    })
}

/// A text group's message is one datagram.
fn check_text(entry: &PublishEntry) -> Result<(), CallError> {
    let text = text_of(Content::decode(entry.content_type, &entry.payload).kind);
    match text {
        Some(text) if text.len() > MAX_TEXT_DATAGRAM => Err(CallError::TextTooLong(text.len())),
        Some(_) | None => Ok(()),
    }
}
