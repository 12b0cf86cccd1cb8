//! gRPC calls within one process: a call is handed to the server's services directly. Without HTTP/2 in between, a message
//! passes neither the kernel nor the tasks that split it into frames and reassemble it.

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::{sync::watch, time::timeout};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service,
        http::{HeaderMap, Request, Response},
    },
    service::Routes,
};
use tracing::warn;

/// Accepts a server's calls from its own process; see [`super::RpcServer::also_locally`].
#[derive(Debug)]
pub struct LocalListener {
    serving: watch::Sender<Option<LocalServing>>,
}

/// Calls a server of its own process. A call waits until the server serves, and fails with UNAVAILABLE once it has
/// ended.
#[derive(Debug, Clone)]
pub struct LocalChannel {
    serving: watch::Receiver<Option<LocalServing>>,
}

/// Makes the two ends of a connection to a server in this process.
#[must_use]
pub fn local() -> (LocalChannel, LocalListener) {
    let (sender, receiver) = watch::channel(None);
    (LocalChannel { serving: receiver }, LocalListener { serving: sender })
}

impl LocalListener {
    /// Serves calls until `stop`, lets open ones end within `drain`, and cuts the rest.
    pub(super) async fn serve(self, routes: Routes, stop: CancellationToken, drain: Duration) {
        let (open, cut) = (TaskTracker::new(), CancellationToken::new());
        self.serving.send_replace(Some(LocalServing { routes, open: open.clone(), cut: cut.clone() }));
        stop.cancelled().await;
        self.serving.send_replace(None);
        // Further calls fail at once.
        drop(self.serving);
        open.close();
        if timeout(drain, open.wait()).await.is_err() {
            warn!(calls = open.len(), "cutting the calls within the process that did not drain");
            cut.cancel();
        }
    }
}

impl LocalChannel {
    pub(super) async fn call(mut self, request: Request<Body>) -> Response<Body> {
        let deadline = deadline(request.headers()).unwrap_or(Duration::MAX);
        let answered = async {
            let (serving, counted) = match self.serving.wait_for(Option::is_some).await.as_deref() {
                // Counted before the server could end.
                Ok(Some(serving)) => (serving.clone(), serving.open.token()),
                Ok(None) | Err(_) => return ended().into_http(),
            };
            serving.call(request, counted).await
        };
        let too_late = |_| Status::deadline_exceeded("the call took too long").into_http();
        timeout(deadline, answered).await.unwrap_or_else(too_late)
    }
}

/// The parts of a running server that a call needs.
#[derive(Clone)]
struct LocalServing {
    routes: Routes,
    /// Tracks the open calls.
    open: TaskTracker,
    cut: CancellationToken,
}

impl LocalServing {
    async fn call(mut self, request: Request<Body>, counted: TaskTrackerToken) -> Response<Body> {
        let mut handling = pin!(self.routes.call(request));
        let response = tokio::select! {
            biased;
            () = self.cut.cancelled() => return ended().into_http(),
            response = poll_fn(|cx| caught(|| handling.as_mut().poll(cx).map(Ok))) => response,
        };
        match response {
            Ok(Ok(response)) => response.map(|body| {
                let cut = Box::pin(self.cut.cancelled_owned());
                Body::new(LocalAnswers { body, cut, counted: Some(counted) })
            }),
            Err(failed) => failed.into_http(),
        }
    }
}

impl fmt::Debug for LocalServing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

/// The answers of a call, which is open until the last of them or until it is cut.
struct LocalAnswers {
    body: Body,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None` once it has ended.
    counted: Option<TaskTrackerToken>,
}

impl HttpBody for LocalAnswers {
    type Data = <Body as HttpBody>::Data;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        if self.counted.is_none() {
            return Poll::Ready(None);
        }
        let frame = match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Some(Err(ended())),
            Poll::Pending => match ready!(caught(|| Pin::new(&mut self.body).poll_frame(cx).map(Ok))) {
                Ok(frame) => frame,
                Err(failed) => Some(Err(failed)),
            },
        };
        let goes_on = matches!(&frame, Some(Ok(frame)) if frame.is_data());
        if !goes_on {
            self.counted = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Turns a panic of the server into a failed call, as over the network, so that the calling task goes on.
fn caught<T>(poll: impl FnOnce() -> Poll<Result<T, Status>>) -> Poll<Result<T, Status>> {
    let panicked = |_| Poll::Ready(Err(Status::internal("the server failed; its log says how")));
    catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(panicked)
}

fn ended() -> Status {
    Status::unavailable("the server has ended")
}

/// Returns the deadline of a call from its `grpc-timeout`, a number and its unit (gRPC over HTTP/2, Requests).
pub(super) fn deadline(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (number, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let number: u32 = number.parse().ok()?;
    let unit = match unit {
        "H" => Duration::from_secs(60 * 60),
        "M" => Duration::from_secs(60),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    Some(unit.saturating_mul(number))
}
