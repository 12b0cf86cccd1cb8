//! The page's connections. Each counts as a session; an upgrade to a WebSocket hands its place on.

use std::{
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{BoxError, Router};
use bytes::Bytes;
use gaung_site::PeerIdentity;
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
    secure::{AcceptError, Accepted, PlaintextPolicy, SecurePort, SecureStream},
    share::EvictionNotice,
    watched::{Traffic, WatchedStream},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Sleep, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{admission::Admitted, goodbye::say_goodbye, session_entry::SessionEntry};

use super::{context::ApiContext, router};

/// Limit from the start of a request to the end of its head; also for a connection that is idle between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// Limit for receiving the body of a request, which is some hundred bytes.
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// How long a peer may read nothing of a pending answer before its connection is closed.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How often connections are checked for that.
const STALL_CHECK: Duration = Duration::from_secs(1);
/// Age at which a connection for requests is closed; browsers open another.
const LIFE_LIMIT: Duration = Duration::from_secs(600);
/// How long answers may take to end at a stop.
const DRAIN: Duration = Duration::from_secs(1);
/// Delay before accepting again after the system refused, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most connections at a time that are answered why they are refused; further ones are closed without an answer.
const REFUSALS: usize = 64;
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A connection of a browser, which counts as a session. Clones, one in each request, share it.
#[derive(Debug, Clone)]
pub(super) struct PageConnection {
    pub(super) address: IpAddr,
    /// Who the browser has proven to be.
    pub(super) peer: PeerIdentity,
    /// True if it came by TLS.
    pub(super) is_secure: bool,
    /// True if others on the network can read it, which `--plaintext` forbids but for the page's open groups.
    pub(super) is_exposed: bool,
    admitted: Arc<Mutex<Option<Admitted>>>,
    notice: EvictionNotice,
}

impl PageConnection {
    /// `plaintext`: from where the hub takes plaintext.
    fn new(address: IpAddr, accepted: &Accepted, admitted: Admitted, plaintext: PlaintextPolicy) -> Self {
        let is_secure = matches!(accepted.stream, SecureStream::Tls(_));
        let local = accepted.stream.socket().local_addr().ok().map(|local| local.ip());
        Self {
            address,
            peer: accepted.peer,
            is_secure,
            is_exposed: !is_secure && !plaintext.allows(address, local),
            notice: admitted.notice(),
            admitted: Arc::new(Mutex::new(Some(admitted))),
        }
    }

    /// Takes the admission for the session that the connection becomes; `None` if an upgrade has taken it already.
    pub(super) fn take_admission(&self) -> Option<Admitted> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The page's listener.
pub(crate) struct PagePort {
    pub(crate) listener: TcpListener,
    /// Which of HTTPS and HTTP it speaks.
    pub(crate) secure: SecurePort,
    /// From where the hub takes plaintext; further HTTP is for open groups alone.
    pub(crate) plaintext: PlaintextPolicy,
}

/// Serves the page until `stop`.
pub(crate) async fn run(
    context: ApiContext,
    entry: SessionEntry,
    PagePort { listener, secure, plaintext }: PagePort,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let app = router(context, entry.clone());
    let connections = TaskTracker::new();
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match entry.admit(peer.ip()) {
                Ok(admitted) => {
                    let (entry, secure, app, stop) = (entry.clone(), secure.clone(), app.clone(), stop.clone());
                    connections.spawn(async move {
                        let accepted = tokio::select! {
                            accepted = begin(&entry, &secure, stream, peer) => accepted,
                            () = stop.cancelled() => return,
                            () = admitted.evicted() => return,
                        };
                        if let Some(accepted) = accepted {
                            let connection = PageConnection::new(peer.ip(), &accepted, admitted, plaintext);
                            serve(accepted.stream, connection, app, stop).await;
                        }
                    });
                }
                Err(refused) => {
                    if let Ok(permit) = refusals.clone().try_acquire_owned() {
                        connections.spawn(async move {
                            let answer = answer("503 Service Unavailable\r\nretry-after: 5", &refused.to_string());
                            say_goodbye(stream, answer.as_bytes()).await;
                            drop(permit);
                        });
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
    // Each connection drains within its own limit.
    connections.wait().await;
    Ok(())
}

/// Waits for the connection's turn and its first bytes, which say whether it speaks HTTPS; `None` if it may not be used.
async fn begin(entry: &SessionEntry, secure: &SecurePort, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
    entry.wait_turn(&stream, peer).await;
    // Browsers open connections before they have a request.
    timeout(HEAD_LIMIT, stream.peek(&mut [0])).await.ok()?.ok()?;
    match secure.accept(stream, peer).await {
        Ok(accepted) => Some(accepted),
        Err(AcceptError::Plaintext(stream)) => {
            entry.count_plaintext_refused();
            let words = "this page is only served by HTTPS: put https:// before its address";
            say_goodbye(stream, answer("403 Forbidden", words).as_bytes()).await;
            None
        }
        Err(error) => {
            entry.count_handshake_failed();
            debug!(%peer, %error, "a connection to the page did not begin");
            None
        }
    }
}

/// Makes the answer to a connection that is refused. `status`: with what follows it in the head.
fn answer(status: &str, words: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{words}\n",
        words.len() + 1
    )
}

async fn serve(stream: SecureStream, connection: PageConnection, app: Router, stop: CancellationToken) {
    // A socket that refuses the option still works.
    let _ = stream.socket().set_nodelay(true);
    let app = TowerToHyperService::new(app);
    let notice = connection.notice.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(TimedBody::new);
        request.extensions_mut().insert(connection.clone());
        app.call(request)
    });
    let stream = WatchedStream::new(stream);
    let traffic = stream.traffic();
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let is_over = tokio::select! {
        ended = &mut serving => ended.err().inspect(|error| debug!(%error, "a connection to the page ended")).is_none(),
        () = sleep(LIFE_LIMIT) => false,
        () = stalled(&traffic) => return,
        () = stop.cancelled() => false,
        // Evicted for an address with fewer connections; a session that took the admission over ends itself.
        () = notice.evicted() => false,
    };
    if !is_over {
        serving.as_mut().graceful_shutdown();
        let _ = timeout(DRAIN, serving).await;
    }
}

/// Waits until the peer has read nothing of a pending answer for [`STALL_LIMIT`].
async fn stalled(traffic: &Traffic) {
    while traffic.blocked() < STALL_LIMIT {
        sleep(STALL_CHECK).await;
    }
}

/// A request's body, which fails if it is not complete within [`BODY_LIMIT`].
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
