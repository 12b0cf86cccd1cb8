//! Ends open streams when the server stops, so that a drain does not wait for clients that follow something for ever.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderValue},
    middleware::{Next, from_fn},
};
use http_body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// Request bodies end when `stop` is cancelled, so handlers see their clients finish; response bodies that stay silent
/// for `grace` after that end with UNAVAILABLE.
pub(super) fn end_streams(routes: Routes, stop: CancellationToken, grace: Duration) -> Routes {
    let layer = from_fn(move |request: Request, next: Next| {
        let stop = stop.clone();
        async move {
            let request = request
                .map(|body| Body::new(EndingBody::new(body, stopped(stop.clone(), Duration::ZERO), LastFrame::End)));
            let response = next.run(request).await;
            response.map(|body| Body::new(EndingBody::new(body, stopped(stop, grace), LastFrame::Unavailable)))
        }
    });
    Routes::from(routes.prepare().into_axum_router().layer(layer))
}

async fn stopped(stop: CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// A body that ends early once `stopped` is ready and the body itself has nothing to give.
struct EndingBody {
    body: Body,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    last: LastFrame,
    ended: bool,
}

/// How a body that is ended early ends.
enum LastFrame {
    /// It just ends, as if the client had finished.
    End,
    /// It ends with the status UNAVAILABLE.
    Unavailable,
}

impl EndingBody {
    fn new(body: Body, stopped: impl Future<Output = ()> + Send + 'static, last: LastFrame) -> Self {
        Self { body, stopped: Box::pin(stopped), last, ended: false }
    }
}

impl HttpBody for EndingBody {
    type Data = <Body as HttpBody>::Data;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match self.stopped.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.ended = true;
                Poll::Ready(match self.last {
                    LastFrame::End => None,
                    LastFrame::Unavailable => Some(Ok(Frame::trailers(unavailable()))),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn unavailable() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("14"));
    trailers.insert("grpc-message", HeaderValue::from_static("server%20is%20stopping"));
    trailers
}
