//! The queue from the tasks of all groups to the listener, bounded in events and in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::event::Event;

/// Limits the events in the queue.
const EVENTS: usize = 256;
/// Limits the payload bytes in the queue; a message that is larger passes alone.
const BYTES: usize = 4 * 1024 * 1024;

/// The sending end of the queue. Clones share its limits.
#[derive(Debug, Clone)]
pub(super) struct EventSink {
    events: mpsc::Sender<QueuedEvent>,
    bytes: Arc<Semaphore>,
    stop: CancellationToken,
}

/// An event in the queue, holding its share of the bytes until it is dropped.
#[derive(Debug)]
pub(super) struct QueuedEvent {
    pub(super) event: Event,
    _bytes: OwnedSemaphorePermit,
}

/// Makes a queue whose senders return once `stop` is cancelled.
pub(super) fn channel(stop: CancellationToken) -> (EventSink, mpsc::Receiver<QueuedEvent>) {
    let (events, receiver) = mpsc::channel(EVENTS);
    (EventSink { events, bytes: Arc::new(Semaphore::new(BYTES)), stop }, receiver)
}

impl EventSink {
    /// Queues an event; waits for room. False once the listener has stopped.
    pub(super) async fn send(&self, event: Event) -> bool {
        let len = if let Event::Message { message, .. } = &event { message.payload.len() } else { 0 };
        let share = u32::try_from(len.min(BYTES)).expect("the limit fits");
        let sending = async {
            let Ok(bytes) = Arc::clone(&self.bytes).acquire_many_owned(share).await else { return false };
            self.events.send(QueuedEvent { event, _bytes: bytes }).await.is_ok()
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            sent = sending => sent,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::timeout;

    use super::*;
    use crate::test_doubles::{group, message};

    fn event(len: usize) -> Event {
        let (message, content) = message(1, Bytes::from(vec![0; len]));
        Event::Message { group: group(), message, content, lane: gaung_proto::net::Lane::Tcp }
    }

    #[tokio::test]
    async fn unread_bytes_are_bounded_and_a_single_message_always_passes() {
        let (sink, mut events) = channel(CancellationToken::new());
        assert!(sink.send(event(BYTES + 1)).await);
        let mut waiting = Box::pin(sink.send(event(1)));
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err());
        drop(events.recv().await.unwrap());
        assert!(timeout(Duration::from_secs(5), waiting).await.unwrap());
    }

    #[tokio::test]
    async fn a_waiting_sender_returns_when_the_listener_stops() {
        let stop = CancellationToken::new();
        let (sink, _events) = channel(stop.clone());
        assert!(sink.send(event(BYTES)).await);
        let waiting = sink.send(event(1));
        stop.cancel();
        assert!(!timeout(Duration::from_secs(5), waiting).await.unwrap());
    }
}
