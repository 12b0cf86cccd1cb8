//! A response body that holds a share of a limited resource until it ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use service_kit::share::EvictionNotice;
use tokio_stream::Stream;
use tonic::Status;

/// A body whose parts come from `parts`, which holds the share; it ends when the share is evicted.
pub(super) struct SharedBody<S> {
    parts: S,
    evicted: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The error with which the body fails after an eviction; `None` to end it normally.
    eviction_error: Option<Status>,
}

impl<S> SharedBody<S> {
    pub(super) fn new(parts: S, notice: EvictionNotice, eviction_error: Option<Status>) -> Self {
        Self { parts, evicted: Box::pin(async move { notice.evicted().await }), eviction_error }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for SharedBody<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.evicted.as_mut().poll(cx).is_ready() {
            return Poll::Ready(self.eviction_error.clone().map(Err));
        }
        Pin::new(&mut self.parts).poll_next(cx)
    }
}
