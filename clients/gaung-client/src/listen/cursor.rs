//! Where a listener stands in a group, and a bell for whoever tells the hub.

use std::sync::atomic::{AtomicU64, Ordering};

use gaung_proto::Seq;
use tokio::sync::Notify;

/// The next seq that the listener has not been given. One task waits for it to move.
#[derive(Debug)]
pub(super) struct Cursor {
    next: AtomicU64,
    moved: Notify,
}

impl Cursor {
    pub(super) fn new(next: Seq) -> Self {
        Self { next: AtomicU64::new(next.0), moved: Notify::new() }
    }

    pub(super) fn next(&self) -> Seq {
        Seq(self.next.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, next: Seq) {
        self.next.store(next.0, Ordering::Relaxed);
        self.moved.notify_one();
    }

    /// The same, but never back.
    pub(super) fn advance(&self, next: Seq) {
        self.next.fetch_max(next.0, Ordering::Relaxed);
        self.moved.notify_one();
    }

    /// Waits until it has moved since the last wait. Cancel safe.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }
}
