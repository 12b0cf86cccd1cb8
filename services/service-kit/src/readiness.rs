//! Whether a service is ready: one switch that health over gRPC and `/healthz` both read.

use std::sync::Arc;

use tokio::sync::watch;

/// A shared switch, off at first. Clones share it.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<watch::Sender<bool>>);

impl Readiness {
    /// Makes a switch that is not ready.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Sets the switch once everything is bound and recovered: health answers SERVING from now on.
    pub fn ready(&self) {
        self.0.send_replace(true);
    }

    /// Clears the switch while draining, or without a needed part: health answers `NOT_SERVING` from now on.
    pub fn not_ready(&self) {
        self.0.send_replace(false);
    }

    /// Whether the service is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the switch is on; returns at once if it is.
    pub async fn until_ready(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.changes().wait_for(|ready| *ready).await;
    }

    pub(crate) fn changes(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}
