//! The body of an answer that holds a share of something scarce for as long as it lasts.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use service_kit::share::EvictionNotice;
use tokio_stream::Stream;
use tonic::Status;

/// A body whose parts come from `parts`, which holds the share; it stops when the share goes to another address.
pub(super) struct SharedBody<S> {
    parts: S,
    evicted: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// What the body breaks off with after an eviction; `None`: it ends as if nothing more had come.
    break_off: Option<Status>,
}

impl<S> SharedBody<S> {
    pub(super) fn new(parts: S, notice: EvictionNotice, break_off: Option<Status>) -> Self {
        Self { parts, evicted: Box::pin(async move { notice.evicted().await }), break_off }
    }
}

impl<T, S: Stream<Item = Result<T, Status>> + Unpin> Stream for SharedBody<S> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.evicted.as_mut().poll(cx).is_ready() {
            return Poll::Ready(self.break_off.clone().map(Err));
        }
        Pin::new(&mut self.parts).poll_next(cx)
    }
}
