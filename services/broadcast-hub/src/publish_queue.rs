//! Publish requests on their way to one relay: kept until answered, so that a new stream sends them again.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use gaung_proto::{
    GroupId,
    pb::relay::{PublishRequest, PublishStreamRequest},
};
use tokio::sync::Notify;

/// Requests in the order in which they were handed in, which is the order of their answers.
#[derive(Debug)]
pub(crate) struct PublishQueue {
    queue: Mutex<Queue>,
    notify: Notify,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Queue {
    pending: VecDeque<Pending>,
    bytes: usize,
    last_tag: u64,
    sent_tag: u64,
}

/// One request and who asked.
#[derive(Debug)]
pub(crate) struct Pending {
    tag: u64,
    request: PublishRequest,
    pub(crate) route: Route,
    expires: Instant,
}

/// Where the answer goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) shard: usize,
    pub(crate) session: u64,
    /// The session's own tag.
    pub(crate) tag: u64,
    pub(crate) group: GroupId,
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay cannot be reached and {limit_bytes} bytes wait for it already; send again later")]
pub(crate) struct QueueFull {
    limit_bytes: usize,
}

/// Counted for each request besides its payload.
const REQUEST_BYTES: usize = 256;

impl PublishQueue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { queue: Mutex::default(), notify: Notify::new(), limit_bytes }
    }

    /// Takes a request; its answer, or its expiry, goes to `route`.
    pub(crate) fn submit(&self, request: PublishRequest, route: Route, expires: Instant) -> Result<(), QueueFull> {
        let mut queue = self.lock();
        let cost = route.bytes + REQUEST_BYTES;
        if queue.bytes + cost > self.limit_bytes {
            return Err(QueueFull { limit_bytes: self.limit_bytes });
        }
        queue.bytes += cost;
        queue.last_tag += 1;
        let tag = queue.last_tag;
        queue.pending.push_back(Pending { tag, request, route, expires });
        drop(queue);
        self.notify.notify_one();
        Ok(())
    }

    pub(crate) async fn filled(&self) {
        self.notify.notified().await;
    }

    /// A new stream: everything unanswered is to be sent again.
    pub(crate) fn rewind(&self) {
        self.lock().sent_tag = 0;
    }

    /// Whether a request waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        let queue = self.lock();
        queue.pending.back().is_some_and(|last| last.tag > queue.sent_tag)
    }

    /// The next request to send.
    pub(crate) fn next_unsent(&self) -> Option<PublishStreamRequest> {
        let mut queue = self.lock();
        let sent = queue.sent_tag;
        let index = queue.pending.partition_point(|pending| pending.tag <= sent);
        let (tag, publish) = queue.pending.get(index).map(|next| (next.tag, next.request.clone()))?;
        queue.sent_tag = tag;
        Some(PublishStreamRequest { tag, publish: Some(publish) })
    }

    /// The request with this tag is answered; `None` if it expired before.
    pub(crate) fn answered(&self, tag: u64) -> Option<Route> {
        let mut queue = self.lock();
        let index = queue.pending.binary_search_by_key(&tag, |pending| pending.tag).ok()?;
        queue.remove(index)
    }

    /// Takes out what waited too long; it is not sent (again).
    pub(crate) fn expire(&self, now: Instant) -> Vec<Route> {
        let mut queue = self.lock();
        let mut routes = Vec::new();
        while let Some(index) = queue.pending.iter().position(|pending| pending.expires <= now) {
            routes.extend(queue.remove(index));
        }
        routes
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn remove(&mut self, index: usize) -> Option<Route> {
        let pending = self.pending.remove(index)?;
        self.bytes -= pending.route.bytes + REQUEST_BYTES;
        Some(pending.route)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn route(tag: u64, bytes: usize) -> Route {
        Route { shard: 0, session: 1, tag, group: GroupId([1; 16]), bytes, messages: 1 }
    }

    #[test]
    fn unanswered_requests_are_sent_again_in_order() {
        let now = Instant::now();
        let queue = PublishQueue::new(10_000);
        for tag in 10..14 {
            queue.submit(PublishRequest::default(), route(tag, 1), now + Duration::from_secs(tag)).unwrap();
        }
        let sent = || std::iter::from_fn(|| queue.next_unsent()).map(|request| request.tag).collect::<Vec<_>>();
        assert_eq!(sent(), [1, 2, 3, 4]);
        assert!(!queue.has_unsent());
        assert_eq!(queue.answered(2).unwrap().tag, 11);
        assert!(queue.answered(2).is_none());
        queue.rewind();
        assert!(queue.has_unsent());
        assert_eq!(sent(), [1, 3, 4]);
        let expired: Vec<u64> = queue.expire(now + Duration::from_secs(12)).iter().map(|route| route.tag).collect();
        assert_eq!(expired, [10, 12]);
        queue.rewind();
        assert_eq!(sent(), [4]);
    }

    #[test]
    fn full_means_full_until_something_is_answered() {
        let now = Instant::now();
        let queue = PublishQueue::new(2 * (REQUEST_BYTES + 100));
        queue.submit(PublishRequest::default(), route(1, 100), now).unwrap();
        queue.submit(PublishRequest::default(), route(2, 100), now).unwrap();
        assert!(queue.submit(PublishRequest::default(), route(3, 100), now).is_err());
        queue.answered(1).unwrap();
        queue.submit(PublishRequest::default(), route(3, 100), now).unwrap();
    }
}
