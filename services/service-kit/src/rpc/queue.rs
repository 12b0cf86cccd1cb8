//! The queue of one call's answers that wait for the network, with a limit in bytes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::Stream;
use tonic::Status;

use super::bytes::{CallBytes, HeldBytes};
use crate::share::Caller;

/// Least bytes that an answer counts for: what its queue entry takes.
const LEAST_BYTES: usize = 128;

/// Queues the answers of a call; clones share the queue.
#[derive(Debug)]
pub struct AnswerSender<T> {
    sender: mpsc::UnboundedSender<QueuedAnswer<T>>,
    room: Arc<Semaphore>,
    limit: usize,
    bytes: Arc<CallBytes>,
}

/// The stream of answers that a call returns to the server.
#[derive(Debug)]
pub struct AnswerStream<T> {
    receiver: mpsc::UnboundedReceiver<QueuedAnswer<T>>,
    room: Arc<Semaphore>,
}

/// The call has ended, so that no answers are sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call has ended")]
pub struct CallEnded;

#[derive(Debug)]
struct QueuedAnswer<T> {
    answer: Result<T, Status>,
    _room: OwnedSemaphorePermit,
    _held: HeldBytes,
}

/// Makes a queue that holds answers of at most `limit` bytes, or a single larger one; they are charged to the caller.
#[must_use]
pub fn answer_queue<T>(bytes: Arc<CallBytes>, limit: usize) -> (AnswerSender<T>, AnswerStream<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(limit));
    (AnswerSender { sender, room: Arc::clone(&room), limit, bytes }, AnswerStream { receiver, room })
}

impl<T> AnswerSender<T> {
    /// Waits for room and queues an answer of `size` bytes.
    ///
    /// # Errors
    /// [`CallEnded`].
    pub async fn send(&self, answer: Result<T, Status>, size: usize) -> Result<(), CallEnded> {
        let size = size.max(LEAST_BYTES);
        let wanted = size.min(self.limit) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(wanted).await.map_err(|_| CallEnded)?;
        let held = self.reserve(size as u64).await?;
        self.sender.send(QueuedAnswer { answer, _room: room, _held: held }).map_err(|_| CallEnded)
    }

    /// Completes once the call has ended.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Reserves bytes for answers that are made before they are queued.
    ///
    /// # Errors
    /// [`CallEnded`].
    pub async fn reserve(&self, amount: u64) -> Result<HeldBytes, CallEnded> {
        tokio::select! {
            biased;
            () = self.sender.closed() => Err(CallEnded),
            held = self.bytes.reserve(amount) => Ok(held),
        }
    }

    /// Returns the caller of this call.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.bytes.caller()
    }
}

impl<T> Clone for AnswerSender<T> {
    fn clone(&self) -> Self {
        let (sender, room) = (self.sender.clone(), Arc::clone(&self.room));
        Self { sender, room, limit: self.limit, bytes: Arc::clone(&self.bytes) }
    }
}

impl<T> Stream for AnswerStream<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|queued| queued.map(|queued| queued.answer))
    }
}

impl<T> Drop for AnswerStream<T> {
    fn drop(&mut self) {
        // Wakes those who wait for room.
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use tokio::time::timeout;
    use tokio_stream::StreamExt as _;
    use tonic::Request;

    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn answers_wait_by_their_bytes() {
        let (sender, mut stream) = answer_queue(CallBytes::of(&Request::new(())), 1000);
        for n in 0..2 {
            sender.send(Ok(n), 500).await.unwrap();
        }
        assert!(timeout(SOON, sender.send(Ok(2), 1)).await.is_err());
        assert_eq!(stream.next().await.unwrap().unwrap(), 0);
        sender.send(Ok(2), 1).await.unwrap();
        assert!(timeout(SOON, sender.send(Ok(3), 5000)).await.is_err());
        assert_eq!((stream.next().await.unwrap().unwrap(), stream.next().await.unwrap().unwrap()), (1, 2));
        sender.send(Ok(3), 5000).await.unwrap();
        let waiting = sender.send(Ok(4), 1);
        drop(stream);
        assert_eq!(waiting.await, Err(CallEnded));
        timeout(Duration::from_secs(20), sender.closed()).await.unwrap();
    }
}
