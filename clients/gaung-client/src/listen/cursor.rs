//! How far a listener has been given a group's messages, for the task that acknowledges them to the hub.

use std::sync::atomic::{AtomicU64, Ordering};

use gaung_proto::Seq;
use tokio::sync::Notify;

/// The next seq that the listener has not been given. One task waits until it moves.
#[derive(Debug)]
pub(super) struct DeliveryCursor {
    next: AtomicU64,
    moved: Notify,
}

impl DeliveryCursor {
    pub(super) fn new(next: Seq) -> Self {
        Self { next: AtomicU64::new(next.0), moved: Notify::new() }
    }

    pub(super) fn next(&self) -> Seq {
        Seq(self.next.load(Ordering::Relaxed))
    }

    /// Moves to `next`, forward or back.
    pub(super) fn set(&self, next: Seq) {
        self.next.store(next.0, Ordering::Relaxed);
        self.moved.notify_one();
    }

    /// Moves forward to `next`, never back.
    pub(super) fn advance(&self, next: Seq) {
        self.next.fetch_max(next.0, Ordering::Relaxed);
        self.moved.notify_one();
    }

    /// Waits until it has moved since the last wait. Cancel safe.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }
}
