//! A bounded queue of events from a driver's thread, which must not wait, to a task.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::mpsc;

/// Limits the events in a queue.
const CAPACITY: usize = 256;

/// The sending end, on the driver's thread.
#[derive(Debug)]
pub(crate) struct EventSender<E> {
    events: mpsc::Sender<E>,
    /// Set while the sender has events that found no room.
    full: Arc<AtomicBool>,
}

/// The receiving end, in a task.
#[derive(Debug)]
pub(crate) struct EventReceiver<E> {
    events: mpsc::Receiver<E>,
    full: Arc<AtomicBool>,
}

/// Makes both ends.
pub(crate) fn channel<E>() -> (EventSender<E>, EventReceiver<E>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let full = Arc::new(AtomicBool::new(false));
    (EventSender { events: sender, full: Arc::clone(&full) }, EventReceiver { events: receiver, full })
}

impl<E> EventSender<E> {
    /// Queues an event, or drops it if there is no room.
    pub(crate) fn try_send(&self, event: E) {
        let _ = self.events.try_send(event);
    }

    /// Queues what `next` gives until it gives nothing. False if the queue is full first: the receiver then asks for
    /// the rest once there is room.
    pub(crate) fn send_all(&self, mut next: impl FnMut() -> Option<E>) -> bool {
        loop {
            let Ok(permit) = self.events.try_reserve() else {
                // Set before looking again, so that room made meanwhile is not missed.
                if self.full.swap(true, Ordering::AcqRel) || self.events.capacity() == 0 {
                    return false;
                }
                continue;
            };
            match next() {
                Some(event) => permit.send(event),
                None => return true,
            }
        }
    }
}

impl<E> EventReceiver<E> {
    /// The next event; `None` once the sender is gone. Calls `drain` when a queue that was full has room again, to make
    /// the driver's thread send on. Cancel safe.
    pub(crate) async fn next(&mut self, drain: impl FnOnce()) -> Option<E> {
        let event = self.events.recv().await;
        if self.events.len() < CAPACITY / 2 && self.full.swap(false, Ordering::AcqRel) {
            drain();
        }
        event
    }
}
