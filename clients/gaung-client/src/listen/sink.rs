//! The one bounded way from all groups' tasks to the listener: in events and in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Event;

const EVENTS: usize = 256;
/// Payload bytes on their way; a single message always passes.
const BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Sink {
    events: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
    stop: CancellationToken,
}

/// An event with its share of the bytes.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) event: Event,
    _bytes: OwnedSemaphorePermit,
}

pub(super) fn channel(stop: CancellationToken) -> (Sink, mpsc::Receiver<Queued>) {
    let (events, receiver) = mpsc::channel(EVENTS);
    (Sink { events, bytes: Arc::new(Semaphore::new(BYTES)), stop }, receiver)
}

impl Sink {
    /// Waits for room. False once nobody listens any more.
    pub(super) async fn send(&self, event: Event) -> bool {
        let len = match &event {
            Event::Message { message, .. } => message.payload.len(),
            Event::Ready { .. }
            | Event::Gap { .. }
            | Event::GapFilled { .. }
            | Event::Lost { .. }
            | Event::Forged { .. }
            | Event::LaneChanged { .. }
            | Event::HistoryLost { .. }
            | Event::Reconnecting { .. }
            | Event::Reconnected { .. }
            | Event::GroupGone { .. } => 0,
        };
        let share = u32::try_from(len.min(BYTES)).expect("the limit fits");
        let sending = async {
            let Ok(bytes) = Arc::clone(&self.bytes).acquire_many_owned(share).await else { return false };
            self.events.send(Queued { event, _bytes: bytes }).await.is_ok()
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
    use crate::listen::test_doubles::{group, message};

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
    async fn whoever_waits_is_let_go_when_the_listener_stops() {
        let stop = CancellationToken::new();
        let (sink, _events) = channel(stop.clone());
        assert!(sink.send(event(BYTES)).await);
        let waiting = sink.send(event(1));
        stop.cancel();
        assert!(!timeout(Duration::from_secs(5), waiting).await.unwrap());
    }
}
