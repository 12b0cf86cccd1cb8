//! The queue of publish requests to one relay, which are kept until answered so that a new stream sends them again.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use gaung_proto::{
    GroupId, LogId,
    pb::relay::{AckRange, PublishRequest, PublishStreamRequest, StreamedPublish},
};
use service_kit::share::{Origin, Share, SharePool};
use tokio_stream::Stream;

use crate::{
    failure::Failure,
    inbox::{AnswerBody, SessionAnswer},
    session_core::PublishOutcome,
};

/// Publish requests in the order in which they were submitted, which is the order of their answers. Their bytes are limited;
/// an address has no more than its share of them while others wait.
#[derive(Debug)]
pub(crate) struct PublishQueue {
    state: Mutex<QueueState>,
    shares: SharePool<Origin>,
    limit_bytes: usize,
}

/// The stream of requests for one gRPC call; it ends once another one has begun.
#[derive(Debug)]
pub(crate) struct UnsentRequests {
    queue: Arc<PublishQueue>,
    stream: u64,
}

#[derive(Debug, Default)]
struct QueueState {
    pending: VecDeque<PendingPublish>,
    last_tag: u64,
    sent_tag: u64,
    /// Counts the streams that were begun.
    stream: u64,
    /// Wakes the current stream, which has sent all there was.
    waker: Option<Waker>,
}

/// A request that is not answered yet, and the session that it is from.
#[derive(Debug)]
struct PendingPublish {
    tag: u64,
    request: PublishRequest,
    route: AnswerRoute,
    expires: Instant,
    share: Share<Origin>,
}

/// The session that gets the answer to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerRoute {
    pub(crate) shard: usize,
    pub(crate) session: u64,
    /// The session's own tag.
    pub(crate) tag: u64,
    pub(crate) group: GroupId,
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
}

impl AnswerRoute {
    /// Makes the session's answer of an outcome.
    pub(crate) fn answer(&self, outcome: Result<(LogId, Vec<AckRange>), Failure>) -> SessionAnswer {
        let published = PublishOutcome { tag: self.tag, group: self.group, bytes: self.bytes, outcome };
        SessionAnswer { session: self.session, body: AnswerBody::Published(published) }
    }
}

/// A request that was removed unanswered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DroppedPublish {
    pub(crate) route: AnswerRoute,
    pub(crate) reason: DropReason,
}

/// Why a request was removed unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DropReason {
    #[error("the relay did not answer in time; the message may not have been sent")]
    Expired,
    #[error("too much from your address waits for the relay; send again later")]
    Evicted,
}

/// The queue has no room for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay cannot be reached and {limit_bytes} bytes wait for it already; send again later")]
pub(crate) struct QueueFull {
    limit_bytes: usize,
}

/// Bytes that a request counts for besides its payload.
const REQUEST_BYTES: usize = 256;
/// Most requests that go to the relay in one message.
const MAX_TOGETHER: usize = 1024;
/// Most bytes of the requests in one message, unless the first alone has more.
const MAX_TOGETHER_BYTES: usize = 1024 * 1024;

impl PublishQueue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let limit = limit_bytes as u64;
        // One address may use all of it while no other needs some.
        Self { state: Mutex::default(), shares: SharePool::new(limit, limit), limit_bytes }
    }

    /// Queues a request of `origin`, which is sent after the next [`Self::wake`]. Its answer, or its expiry, goes to `route`.
    /// When the queue is full, the oldest requests of the address with most bytes are evicted.
    ///
    /// # Errors
    /// [`QueueFull`] if `origin` is that address.
    pub(crate) fn submit(
        &self,
        request: PublishRequest,
        route: AnswerRoute,
        origin: Origin,
        expires: Instant,
    ) -> Result<(), QueueFull> {
        let cost = (route.bytes + REQUEST_BYTES) as u64;
        let share = self.shares.take(origin, cost).map_err(|_| QueueFull { limit_bytes: self.limit_bytes })?;
        let mut state = self.lock();
        state.last_tag += 1;
        let tag = state.last_tag;
        state.pending.push_back(PendingPublish { tag, request, route, expires, share });
        Ok(())
    }

    /// Has the current stream send what was submitted. Apart from submitting, so that requests go together.
    pub(crate) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Begins a stream, on which everything unanswered is sent again, and ends the one before. Returns its number.
    fn begin_stream(&self) -> u64 {
        let mut state = self.lock();
        state.sent_tag = 0;
        state.stream += 1;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        state.stream
    }

    /// Removes the answered request with this tag; `None` if it expired before.
    pub(crate) fn answered(&self, tag: u64) -> Option<AnswerRoute> {
        let mut state = self.lock();
        let index = state.pending.binary_search_by_key(&tag, |pending| pending.tag).ok()?;
        state.pending.remove(index).map(|pending| pending.route)
    }

    /// Removes requests that waited too long or were evicted; they are not sent (again).
    pub(crate) fn expire(&self, now: Instant) -> Vec<DroppedPublish> {
        let mut dropped = Vec::new();
        self.lock().pending.retain(|pending| {
            let reason = match () {
                () if pending.share.is_evicted() => DropReason::Evicted,
                () if pending.expires <= now => DropReason::Expired,
                () => return true,
            };
            dropped.push(DroppedPublish { route: pending.route, reason });
            false
        });
        dropped
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnsentRequests {
    /// Begins a new stream of the queue, with everything unanswered.
    pub(crate) fn of(queue: Arc<PublishQueue>) -> Self {
        let stream = queue.begin_stream();
        Self { queue, stream }
    }
}

impl Stream for UnsentRequests {
    type Item = PublishStreamRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PublishStreamRequest>> {
        self.queue.lock().poll_unsent(self.stream, cx)
    }
}

impl QueueState {
    fn poll_unsent(&mut self, stream: u64, cx: &mut Context<'_>) -> Poll<Option<PublishStreamRequest>> {
        if stream != self.stream {
            return Poll::Ready(None);
        }
        let sent = self.sent_tag;
        let from = self.pending.partition_point(|pending| pending.tag <= sent);
        let (mut publishes, mut bytes) = (Vec::new(), 0);
        for next in self.pending.range(from..).take(MAX_TOGETHER) {
            bytes += next.route.bytes + REQUEST_BYTES;
            if bytes > MAX_TOGETHER_BYTES && !publishes.is_empty() {
                break;
            }
            publishes.push(StreamedPublish { tag: next.tag, publish: Some(next.request.clone()) });
        }
        let Some(last) = publishes.last() else {
            self.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        self.sent_tag = last.tag;
        Poll::Ready(Some(PublishStreamRequest { publishes }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn origin(last: u8) -> Origin {
        std::net::IpAddr::from([10, 0, 0, last]).into()
    }

    fn route(tag: u64, bytes: usize) -> AnswerRoute {
        AnswerRoute { shard: 0, session: 1, tag, group: GroupId([1; 16]), bytes, messages: 1 }
    }

    /// Takes the tags that a stream has to send now, message by message.
    fn messages(queue: &PublishQueue, stream: u64) -> Vec<Vec<u64>> {
        let mut cx = Context::from_waker(Waker::noop());
        let next = || match queue.lock().poll_unsent(stream, &mut cx) {
            Poll::Ready(request) => request.map(|request| request.publishes.iter().map(|one| one.tag).collect()),
            Poll::Pending => None,
        };
        std::iter::from_fn(next).collect()
    }

    fn sent(queue: &PublishQueue, stream: u64) -> Vec<u64> {
        messages(queue, stream).concat()
    }

    #[test]
    fn unanswered_requests_are_sent_again_in_order() {
        let now = Instant::now();
        let queue = PublishQueue::new(10_000);
        for tag in 10..14 {
            queue.submit(PublishRequest::default(), route(tag, 1), origin(1), now + Duration::from_secs(tag)).unwrap();
        }
        let first = queue.begin_stream();
        assert_eq!(sent(&queue, first), [1, 2, 3, 4]);
        assert!(sent(&queue, first).is_empty());
        assert_eq!(queue.answered(2).unwrap().tag, 11);
        assert!(queue.answered(2).is_none());
        let second = queue.begin_stream();
        assert_eq!(queue.lock().poll_unsent(first, &mut Context::from_waker(Waker::noop())), Poll::Ready(None));
        assert_eq!(sent(&queue, second), [1, 3, 4]);
        let expired = queue.expire(now + Duration::from_secs(12));
        let expired: Vec<u64> = expired.iter().map(|dropped| dropped.route.tag).collect();
        assert_eq!(expired, [10, 12]);
        let third = queue.begin_stream();
        assert_eq!(sent(&queue, third), [4]);
    }

    #[test]
    fn a_full_queue_refuses_requests_until_one_is_answered() {
        let now = Instant::now();
        let queue = PublishQueue::new(2 * (REQUEST_BYTES + 100));
        let submit = |tag, from| queue.submit(PublishRequest::default(), route(tag, 100), origin(from), now);
        submit(1, 1).unwrap();
        submit(2, 1).unwrap();
        assert!(submit(3, 1).is_err());
        queue.answered(1).unwrap();
        submit(3, 1).unwrap();
    }

    #[test]
    fn a_full_queue_evicts_the_address_with_most_bytes_for_another() {
        let now = Instant::now();
        let queue = PublishQueue::new(3 * (REQUEST_BYTES + 100));
        let submit = |tag, from| queue.submit(PublishRequest::default(), route(tag, 100), origin(from), now);
        (1..=3).for_each(|tag| submit(tag, 66).unwrap());
        submit(4, 1).unwrap();
        let dropped = queue.expire(now - Duration::from_secs(1));
        assert_eq!(dropped.len(), 1);
        assert_eq!((dropped[0].route.tag, dropped[0].reason), (1, DropReason::Evicted));
        assert!(submit(5, 66).is_err(), "the address with most bytes evicts nobody");
    }

    #[test]
    fn waiting_requests_are_sent_together_up_to_a_limit() {
        let now = Instant::now();
        let queue = PublishQueue::new(10 * MAX_TOGETHER_BYTES);
        let submit = |bytes| queue.submit(PublishRequest::default(), route(0, bytes), origin(1), now).unwrap();
        let stream = queue.begin_stream();
        (0..MAX_TOGETHER + 1).for_each(|_| submit(1));
        let lengths: Vec<usize> = messages(&queue, stream).iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_TOGETHER, 1]);
        [MAX_TOGETHER_BYTES, 1, MAX_TOGETHER_BYTES / 2, MAX_TOGETHER_BYTES / 2].into_iter().for_each(submit);
        let lengths: Vec<usize> = messages(&queue, stream).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1, 2, 1], "a large request is sent alone");
    }
}
