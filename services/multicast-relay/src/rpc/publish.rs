//! Publish and PublishStream.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use gaung_engine::{AckRange, PublishBatch, PublishEntry, RefuseReason};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, LogId,
    limits::{MAX_PUBLISH_MESSAGES, MAX_TEXT_DATAGRAM},
    pb::relay::{
        self as pb, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse, StreamedOutcome,
        StreamedPublish, streamed_outcome::Outcome,
    },
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::{CallError, Relay, group_id};
use crate::{
    directory::Serving,
    group::GroupLane,
    worker::{Command, Publish, text_of},
};

/// Requests of one stream that wait for their answer; then no more are read from it.
const STREAM_WINDOW: usize = 256;
/// Requests of one message of a stream.
const MAX_TOGETHER: usize = 256;
/// Answers of one message of a stream.
const ANSWERS_TOGETHER: usize = 256;

/// One request, from its arrival to its durability.
pub(super) async fn publish(relay: &Relay, request: PublishRequest) -> Result<PublishResponse, CallError> {
    let mut pending = hand_over(relay, request).await?;
    poll_fn(|cx| pending.poll_outcome(cx)).await
}

/// Requests go to the workers in the order they came, and answers back in the same order.
pub(super) fn publish_stream(relay: Relay, mut requests: Streaming<PublishStreamRequest>) -> Answers {
    let (pending, waiting) = mpsc::channel(STREAM_WINDOW);
    let tasks = relay.0.tasks.clone();
    tasks.spawn(async move {
        // A broken stream ends like one that the client finished: what was handed over is answered or dropped.
        while let Ok(Some(request)) = requests.message().await {
            for (index, StreamedPublish { tag, publish }) in request.publishes.into_iter().enumerate() {
                let handed_over = match publish {
                    _ if index >= MAX_TOGETHER => Err(CallError::BadField("at most 256 requests go together")),
                    Some(publish) => hand_over(&relay, publish).await,
                    None => Err(CallError::BadField("a request of the stream has no publish")),
                };
                if pending.send((tag, handed_over)).await.is_err() {
                    return;
                }
            }
        }
    });
    Answers { waiting, next: None }
}

/// What PublishStream answers: as much as is known at a time, in one message.
pub(crate) struct Answers {
    waiting: mpsc::Receiver<(u64, Result<Pending, CallError>)>,
    /// The one that is to be answered first.
    next: Option<(u64, Result<Pending, CallError>)>,
}

impl Answers {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<StreamedOutcome>> {
        if self.next.is_none() {
            self.next = ready!(self.waiting.poll_recv(cx));
        }
        let Some((tag, handed_over)) = &mut self.next else { return Poll::Ready(None) };
        let outcome = match handed_over {
            Ok(pending) => match ready!(pending.poll_outcome(cx)) {
                Ok(published) => Outcome::Published(published),
                Err(error) => Outcome::Refused(error.to_refused()),
            },
            Err(error) => Outcome::Refused(error.to_refused()),
        };
        let tag = *tag;
        self.next = None;
        Poll::Ready(Some(StreamedOutcome { tag, outcome: Some(outcome) }))
    }
}

impl Stream for Answers {
    type Item = Result<PublishStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut outcomes = Vec::new();
        while outcomes.len() < ANSWERS_TOGETHER
            && let Poll::Ready(outcome) = self.poll_outcome(cx)
        {
            match outcome {
                Some(outcome) => outcomes.push(outcome),
                None if outcomes.is_empty() => return Poll::Ready(None),
                None => break,
            }
        }
        if outcomes.is_empty() { Poll::Pending } else { Poll::Ready(Some(Ok(PublishStreamResponse { outcomes }))) }
    }
}

/// A request that its worker has.
pub(crate) struct Pending {
    log: LogId,
    answer: oneshot::Receiver<Result<Vec<AckRange>, RefuseReason>>,
    /// Its share of the memory for requests.
    _share: OwnedSemaphorePermit,
}

impl Pending {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<PublishResponse, CallError>> {
        let answer = match ready!(Pin::new(&mut self.answer).poll(cx)) {
            Ok(answer) => answer,
            Err(_) => return Poll::Ready(Err(CallError::Stopping)),
        };
        let acks = answer?.into_iter().map(|ack| pb::AckRange {
            first_client_seq: ack.first_client_seq.0,
            first_seq: ack.first_seq.0,
            count: ack.count,
        });
        Poll::Ready(Ok(PublishResponse { log_id: self.log.0, acks: acks.collect() }))
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
