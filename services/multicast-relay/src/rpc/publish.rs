//! The Publish and PublishStream calls: check requests, hand them to the groups' workers, and return the outcomes.

use std::{
    future::{poll_fn, ready},
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Context, Poll},
};

use gaung_engine::{AckRange, Claimant, PublishBatch, PublishEntry, RequestOrigin, StreamKey};
use gaung_proto::{
    ClientId, ClientSeq, Content, ContentType, DeviceId, LogId,
    limits::{MAX_PUBLISH_MESSAGES, MAX_TEXT_DATAGRAM},
    pb::relay::{
        self as pb, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse, StreamedOutcome,
        StreamedPublish, streamed_outcome::Outcome,
    },
};
use service_kit::{
    rpc::{CallBytes, HeldBytes},
    secure::PeerDevice,
    share::Caller,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Request, Status, Streaming};

use super::{CallError, RelayCalls, group_id};
use crate::{
    directory::OpenGroup,
    group::GroupLane,
    worker::{PublishOutcome, PublishReply, WorkerCommand, WorkerHandle, WorkerPublish},
};

/// Requests of one stream that wait for their answer or whose answer is unread; at this limit no more are read from it.
const STREAM_WINDOW: usize = 4096;
/// Messages of such requests, each of which may become a range of the answer.
const STREAM_MESSAGES: usize = 64 * 1024;
/// Most memory of an answer without its ranges, bytes.
const ANSWER_BYTES: u64 = 256;
/// Memory of one range of an answer, bytes.
const RANGE_BYTES: u64 = size_of::<AckRange>() as u64;
/// Most requests in one message of a stream.
const MAX_TOGETHER: usize = 1024;
/// Most answers in one message of a stream.
const ANSWERS_TOGETHER: usize = 1024;

/// Who publishes by one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publisher {
    /// Whom requests are charged to.
    caller: Caller,
    peer: PeerDevice,
}

impl Publisher {
    pub(super) fn of<T>(relay: &RelayCalls, request: &Request<T>) -> Self {
        Self { caller: Caller::of(request), peer: relay.0.service_calls.peer_device(request) }
    }
}

/// Publishes one request, and waits until it is durable.
pub(super) async fn publish(
    relay: &RelayCalls,
    publisher: Publisher,
    request: PublishRequest,
) -> Result<PublishResponse, CallError> {
    let CheckedPublish { worker, publish, mut pending } = check(relay, publisher, request).await?;
    worker.send_wait(WorkerCommand::Publish(publish)).await.map_err(|_| CallError::Stopping)?;
    poll_fn(|cx| pending.poll_outcome(cx)).await
}

/// Publishes the requests of a stream in order, and answers them in the same order.
pub(super) fn publish_stream(relay: RelayCalls, requests: Request<Streaming<PublishStreamRequest>>) -> PublishAnswers {
    let (bytes, publisher) = (CallBytes::of(&requests), Publisher::of(&relay, &requests));
    let mut requests = requests.into_inner();
    let (pending, waiting) = mpsc::channel(STREAM_WINDOW);
    let room = Arc::new(Semaphore::new(STREAM_MESSAGES));
    let tasks = relay.0.tasks.clone();
    tasks.spawn(async move {
        let mut batch =
            StreamBatch { relay, publisher, bytes, room, pending, by_worker: Vec::new(), checked: Vec::new() };
        // A broken stream ends like one that the client finished: what was handed over is answered or dropped.
        while let Ok(Some(request)) = requests.message().await {
            for (index, one) in request.publishes.into_iter().enumerate() {
                if batch.add(one, index).await.is_err() {
                    return;
                }
            }
            if batch.hand_over().await.is_err() {
                return;
            }
        }
    });
    PublishAnswers { waiting, next: None }
}

/// The requests of one message of a stream: each worker gets its part of them in one command, and logs it in one run.
struct StreamBatch {
    relay: RelayCalls,
    publisher: Publisher,
    bytes: Arc<CallBytes>,
    /// Permits for [`STREAM_MESSAGES`] messages.
    room: Arc<Semaphore>,
    pending: mpsc::Sender<StreamedAnswer>,
    by_worker: Vec<(WorkerHandle, Vec<WorkerPublish>)>,
    checked: Vec<StreamedAnswer>,
}

/// A request of a stream, which is answered in its turn.
struct StreamedAnswer {
    tag: u64,
    handed_over: Result<PendingPublish, CallError>,
    /// The memory that the answer may take until it is read.
    _held: Option<(OwnedSemaphorePermit, HeldBytes)>,
}

/// The caller no longer reads the answers.
struct CallerGone;

impl StreamBatch {
    async fn add(&mut self, one: StreamedPublish, index: usize) -> Result<(), CallerGone> {
        let mut held = None;
        let checked = match one.publish {
            _ if index >= MAX_TOGETHER => Err(CallError::BadField("at most 1024 requests go together")),
            Some(request) => {
                let (relay, bytes, room) = (self.relay.clone(), Arc::clone(&self.bytes), Arc::clone(&self.room));
                let (publisher, unread) = (self.publisher, self.pending.clone());
                let mut checking = pin!(async move {
                    let messages = request.entries.len();
                    let room = room.acquire_many_owned(messages.min(STREAM_MESSAGES) as u32).await.ok()?;
                    let held = bytes.reserve_work(ANSWER_BYTES + messages as u64 * RANGE_BYTES).await;
                    Some((check(&relay, publisher, request).await, (room, held)))
                });
                let checked = tokio::select! {
                    biased;
                    checked = &mut checking => checked,
                    // This request has to wait; those before it need not.
                    () = ready(()) => {
                        self.hand_over().await?;
                        tokio::select! {
                            checked = &mut checking => checked,
                            () = unread.closed() => return Err(CallerGone),
                        }
                    }
                };
                let (checked, holds) = checked.ok_or(CallerGone)?;
                held = Some(holds);
                checked
            }
            None => Err(CallError::BadField("a request of the stream has no publish")),
        };
        let pending = checked.map(|CheckedPublish { worker, publish, pending }| {
            match self.by_worker.iter_mut().find(|(known, _)| known.same_driver(&worker)) {
                Some((_, publishes)) => publishes.push(publish),
                None => self.by_worker.push((worker, vec![publish])),
            }
            pending
        });
        self.checked.push(StreamedAnswer { tag: one.tag, handed_over: pending, _held: held });
        Ok(())
    }

    async fn hand_over(&mut self) -> Result<(), CallerGone> {
        for (worker, publishes) in self.by_worker.drain(..) {
            // A stopped worker drops them, which their callers see as STOPPING.
            let _ = worker.send_wait(WorkerCommand::PublishAll(publishes)).await;
        }
        for checked in self.checked.drain(..) {
            self.pending.send(checked).await.map_err(|_| CallerGone)?;
        }
        Ok(())
    }
}

/// The answers of PublishStream; one message holds as many as are known at the time.
pub(crate) struct PublishAnswers {
    waiting: mpsc::Receiver<StreamedAnswer>,
    /// The request that must be answered first.
    next: Option<StreamedAnswer>,
}

impl PublishAnswers {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Option<StreamedOutcome>> {
        if self.next.is_none() {
            self.next = task::ready!(self.waiting.poll_recv(cx));
        }
        let Some(StreamedAnswer { tag, handed_over, .. }) = &mut self.next else { return Poll::Ready(None) };
        let outcome = match handed_over {
            Ok(pending) => match task::ready!(pending.poll_outcome(cx)) {
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

impl Stream for PublishAnswers {
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

/// A request that was handed to its worker.
pub(crate) struct PendingPublish {
    log: LogId,
    answer: oneshot::Receiver<PublishOutcome>,
}

impl PendingPublish {
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<PublishResponse, CallError>> {
        let answer = match task::ready!(Pin::new(&mut self.answer).poll(cx)) {
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

/// A valid request, ready to be handed to its worker.
struct CheckedPublish {
    worker: WorkerHandle,
    publish: WorkerPublish,
    pending: PendingPublish,
}

async fn check(relay: &RelayCalls, publisher: Publisher, request: PublishRequest) -> Result<CheckedPublish, CallError> {
    let outcome = check_fields(relay, publisher, request).await;
    if outcome.is_err() {
        relay.0.figures.publish_refused.inc();
    }
    outcome
}

async fn check_fields(
    relay: &RelayCalls,
    Publisher { caller, peer }: Publisher,
    request: PublishRequest,
) -> Result<CheckedPublish, CallError> {
    let group = group_id(&request.group_id)?;
    let serving = relay.serving(group).await?;
    let log = serving.identity.log;
    if request.log_id != 0 && request.log_id != log.0 {
        return Err(CallError::OtherLog { current: log });
    }
    let device = peer.device(device_id(&request.device_id)?)?;
    relay.0.access.check_writer(&serving.config, device, &request.ticket)?;
    relay.0.policies.check_publisher(group, device, relay.0.access.ticket_time())?;
    relay.0.policies.check_reader(&serving.config, &request.ticket)?;
    if request.entries.iter().any(|entry| entry.content_type == u32::from(ContentType::Moderate.to_byte())) {
        relay.0.policies.check_moderator(&serving.config, device)?;
    }
    let claimant = claimant(relay, caller, &request)?;
    let batch = batch(&serving, device, request)?.claimed_by(claimant);
    let memory = relay.0.publish_budget.acquire(caller, memory_of(&batch)).await;
    let (reply, answer) = PublishReply::new(Some(memory));
    let publish = WorkerPublish { group, log, batch, reply };
    Ok(CheckedPublish { worker: serving.worker.clone(), publish, pending: PendingPublish { log, answer } })
}

/// Returns what a request takes of the memory budget for requests, bytes.
fn memory_of(batch: &PublishBatch) -> u64 {
    const REQUEST_BYTES: usize = 1024;
    const MESSAGE_BYTES: usize = 64;
    (REQUEST_BYTES + batch.bytes() + batch.entries.len() * MESSAGE_BYTES) as u64
}

fn claimant(relay: &RelayCalls, caller: Caller, request: &PublishRequest) -> Result<Claimant, CallError> {
    let peer = match caller {
        Caller::Local => None,
        Caller::Remote(origin) => Some(origin.address()),
    };
    let key = match request.stream_key.len() {
        0 => None,
        _ => Some(StreamKey(<[u8; 16]>::try_from(&request.stream_key[..]).map_err(|_| BAD_KEY)?)),
    };
    let session = match request.origin.len() {
        0 => None,
        4 => <[u8; 4]>::try_from(&request.origin[..]).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(&request.origin[..]).ok().map(IpAddr::from),
        _ => return Err(BAD_ORIGIN),
    };
    Ok(relay.0.claims.claimant(key, RequestOrigin { peer, session }))
}

const BAD_KEY: CallError = CallError::BadField("stream_key must be empty or 16 random bytes");
const BAD_ORIGIN: CallError = CallError::BadField("origin must be empty or an address of 4 or 16 bytes");

fn device_id(bytes: &[u8]) -> Result<DeviceId, CallError> {
    if bytes.is_empty() { Ok(DeviceId::NONE) } else { Ok(DeviceId::try_from(bytes)?) }
}

fn batch(serving: &OpenGroup, device: DeviceId, request: PublishRequest) -> Result<PublishBatch, CallError> {
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

/// Checks that a message fits the single datagram that a text group sends it in.
fn check_text(entry: &PublishEntry) -> Result<(), CallError> {
    match Content::decode(entry.content_type, &entry.payload).kind.text_body() {
        Some(text) if text.len() > MAX_TEXT_DATAGRAM => Err(CallError::TextTooLong(text.len())),
        Some(_) | None => Ok(()),
    }
}
