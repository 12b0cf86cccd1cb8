//! The page's connections: each has a place among the sessions, which a WebSocket keeps.

use std::{
    net::IpAddr,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{BoxError, Router};
use bytes::Bytes;
use hyper::{
    Request,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use service_kit::{
    share::EvictionNotice,
    watched::{Traffic, WatchedStream},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    admission::{Admitted, Refused},
    hub::Hub,
};

use super::router;

/// Until a request's head is whole; also how long a connection may be idle between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// From there until its body is whole: some hundred bytes.
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// Until a connection is closed whose peer takes nothing of an answer.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks for that.
const LOOK: Duration = Duration::from_secs(1);
/// A connection for requests is closed after this; browsers open another.
const LIFE_LIMIT: Duration = Duration::from_secs(600);
/// How long answers may take to end at a stop.
const DRAIN: Duration = Duration::from_secs(1);
/// Until accepting is tried again after the system refused, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections at a time that are told why they are refused; further ones are closed without a word.
const REFUSALS: usize = 64;
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A connection's place among the sessions; an upgrade takes it over.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    admitted: Arc<Mutex<Option<Admitted>>>,
    notice: EvictionNotice,
}

impl Place {
    fn new(address: IpAddr, admitted: Admitted) -> Self {
        Self { address, notice: admitted.notice(), admitted: Arc::new(Mutex::new(Some(admitted))) }
    }

    /// `None` if an upgrade has it already.
    pub(super) fn take(&self) -> Option<Admitted> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Serves the page until stopped.
pub(crate) async fn run(hub: Arc<Hub>, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let app = router(hub.clone());
    let connections = TaskTracker::new();
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match hub.admission.admit(peer.ip()) {
                Ok(admitted) => {
                    let place = Place::new(peer.ip(), admitted);
                    let (hub, app, stop) = (hub.clone(), app.clone(), stop.clone());
                    connections.spawn(async move {
                        tokio::select! {
                            () = hub.admission.wait(&stream, peer) => {}
                            () = stop.cancelled() => return,
                            () = place.notice.evicted() => return,
                        }
                        serve(stream, place, app, stop).await;
                    });
                }
                Err(refused) => {
                    hub.figures.sessions_refused.inc();
                    if let Ok(permit) = refusals.clone().try_acquire_owned() {
                        connections.spawn(refuse(stream, refused, permit));
                    }
                }
            },
            Err(error) => {
                warn!(%error, "a connection to the page cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    // Each has its own limit.
    connections.wait().await;
    Ok(())
}

/// Says why there is no place, and waits a moment for the peer to have read it: closed earlier, the words would be lost.
async fn refuse(mut stream: TcpStream, refused: Refused, _permit: OwnedSemaphorePermit) {
    let words = format!("{refused}\n");
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nretry-after: 5\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{words}",
        words.len()
    );
    let saying = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut scratch = [0; 1024];
        while stream.read(&mut scratch).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A peer that is gone, or does not close, has heard it or never will.
    let _ = timeout(DRAIN, saying).await;
}

async fn serve(stream: TcpStream, place: Place, app: Router, stop: CancellationToken) {
    // A socket that refuses it still works.
    let _ = stream.set_nodelay(true);
    let app = TowerToHyperService::new(app);
    let notice = place.notice.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(TimedBody::new);
        request.extensions_mut().insert(place.clone());
        app.call(request)
    });
    let stream = WatchedStream::new(stream);
    let traffic = stream.traffic();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let over = tokio::select! {
        ended = &mut connection => ended.err().inspect(|error| debug!(%error, "a connection to the page ended")).is_none(),
        () = sleep(LIFE_LIMIT) => false,
        () = stalled(&traffic) => return,
        () = stop.cancelled() => false,
        // The place went to an address that holds fewer; a session that has taken it over ends itself.
        () = notice.evicted() => false,
    };
    if !over {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(DRAIN, connection).await;
    }
}

async fn stalled(traffic: &Traffic) {
    while traffic.blocked() < STALL_LIMIT {
        sleep(LOOK).await;
    }
}

/// A request's body, which has to be whole within [`BODY_LIMIT`].
struct TimedBody {
    body: Incoming,
    late: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    fn new(body: Incoming) -> Self {
        let late = (!body.is_end_stream()).then(|| Box::pin(sleep(BODY_LIMIT)));
        Self { body, late }
    }
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(late) = &mut self.late
            && late.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err("the request took too long to arrive".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
