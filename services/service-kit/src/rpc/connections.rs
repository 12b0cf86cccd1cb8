//! Network connections: each has a place among all, is closed when it is idle, stalled or evicted, and is cut when the drain
//! time is over.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_site::PeerIdentity;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Status,
    body::Body,
    codegen::{
        Service as _,
        http::{Request, Response},
    },
    service::Routes,
    transport::server::{Connected as _, TcpConnectInfo},
};
use tracing::{debug, warn};

use super::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, RpcLimits, STREAM_WINDOW_BYTES,
    body::{AnswerBody, RequestBody},
    call::{Call, CallExecutor, Calls, ConnectionVerdict},
    figures::RpcFigures,
    local::deadline,
};
use crate::{
    pace::ConnectionPace,
    places::ConnectionPlaces,
    secure::{AcceptError, Accepted, SecurePort, SecureStream, TlsPeer},
    share::{Caller, Origin, Share, SharePool},
    watched::WatchedStream,
};

/// Bytes of one call's answers that HTTP/2 buffers before it polls for more; a message that it began is always taken whole.
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Largest head of a call, decoded, bytes (RFC 9113, section 6.5.2): names, addresses and signatures have some hundred.
const HEADER_BYTES: u32 = 16 * 1024;
/// Streams that a peer has opened and reset before the server saw them; with more the connection ends (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Bytes that a client sends before anything else: 24 of preface and the head of a SETTINGS frame (RFC 9113, section 3.4).
const PREFACE_BYTES: u64 = 24 + 9;
/// Time between two checks of a connection's limits.
const SWEEP: Duration = Duration::from_secs(1);
/// Time before accept is retried. Without file descriptors it fails at once, and no event says when there are some again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Time that an idle connection has to close after GOAWAY before it is cut.
const GOODBYE: Duration = Duration::from_secs(5);

/// Serves the connections of one listener; clones share its limits.
#[derive(Clone)]
pub(super) struct Connections {
    routes: Routes,
    secure: SecurePort,
    limits: Arc<RpcLimits>,
    places: ConnectionPlaces,
    pace: ConnectionPace,
    calls: SharePool<Caller>,
    bytes: SharePool<Caller>,
    figures: RpcFigures,
    cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(routes: Routes, secure: SecurePort, limits: RpcLimits, figures: RpcFigures) -> Self {
        Self {
            routes,
            secure,
            places: ConnectionPlaces::new(limits.connections).per_address(limits.connections_per_address),
            pace: ConnectionPace::new(figures.connections_delayed.clone()),
            calls: SharePool::new(limits.calls, limits.calls_per_address),
            bytes: SharePool::new(limits.bytes, limits.bytes_per_address),
            limits: Arc::new(limits),
            figures,
            cut: CancellationToken::new(),
        }
    }

    /// Accepts until `stop`, then lets what is open end within the drain time, and cuts the rest.
    pub(super) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let open = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match self.places.of(&stream, peer) {
                    Ok(place) => drop(open.spawn(self.clone().serve_one(stream, place, peer, stop.clone()))),
                    Err(full) => {
                        self.figures.connections_refused.inc();
                        debug!(%peer, %full, "connection refused");
                    }
                },
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
        // Closed at once, so that clients do not wait for a server that is stopping.
        drop(listener);
        open.close();
        if timeout(self.limits.drain, open.wait()).await.is_err() {
            warn!(limit_ms = self.limits.drain.as_millis(), "cutting the connections that did not drain");
            self.cut.cancel();
            open.wait().await;
        }
    }

    /// Serves one connection, once it is its address's turn and its first bytes have said what it speaks.
    async fn serve_one(self, stream: TcpStream, place: Share<Origin>, peer: SocketAddr, stop: CancellationToken) {
        self.figures.connections.inc();
        let begin = async {
            self.pace.wait(&stream, peer).await;
            self.secure.accept(stream, peer).await
        };
        let accepted = tokio::select! {
            accepted = begin => Some(accepted),
            () = stop.cancelled() => None,
            () = place.evicted() => {
                self.figures.connections_evicted.inc();
                None
            }
        };
        match accepted {
            Some(Ok(accepted)) => {
                match &accepted.stream {
                    SecureStream::Tls(_) => self.figures.handshakes.inc(),
                    SecureStream::Plain(_) => self.figures.plaintext.inc(),
                };
                self.serve_http2(accepted, self.routes.clone(), place, peer.into(), stop).await;
            }
            Some(Err(AcceptError::Plaintext(stream))) => {
                self.figures.plaintext_refused.inc();
                let accepted = Accepted { stream: SecureStream::Plain(stream), peer: PeerIdentity::Unproven };
                self.serve_http2(accepted, plaintext_refused(), place, peer.into(), stop).await;
            }
            Some(Err(error)) => {
                self.figures.handshakes_failed.inc();
                debug!(%peer, %error, "a connection did not begin");
            }
            None => {}
        }
        self.figures.connections.dec();
        self.figures.held_bytes.set(self.bytes.used() as i64);
    }

    async fn serve_http2(
        &self,
        accepted: Accepted,
        routes: Routes,
        place: Share<Origin>,
        origin: Origin,
        stop: CancellationToken,
    ) {
        let Accepted { stream, peer } = accepted;
        // Fails only if the peer is gone already, which the first read will show.
        let _ = stream.socket().set_nodelay(true);
        let over_tls = matches!(stream, SecureStream::Tls(_));
        let caller = ConnectionInfo { tcp: stream.socket().connect_info(), peer, over_tls };
        let stream = WatchedStream::new(stream);
        let traffic = stream.traffic();
        let calls = Arc::new(Calls::new(Caller::Remote(origin), self.bytes.clone(), self.figures.clone()));
        let answering = (routes, self.calls.clone(), self.figures.clone(), self.limits.message);
        let service = service_fn(move |request: Request<Incoming>| {
            let (routes, calls, figures, limit) = answering.clone();
            answer(routes, calls, figures, limit, caller.clone(), request)
        });
        let mut builder = http2::Builder::new(CallExecutor(Arc::clone(&calls)));
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams_per_connection)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_header_list_size(HEADER_BYTES)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (begun, mut stopping) = (Instant::now(), false);
        let idle = loop {
            self.figures.held_bytes.set(self.bytes.used() as i64);
            tokio::select! {
                ended = &mut connection => {
                    if let Err(error) = ended {
                        debug!(%error, "connection ended");
                    }
                    break false;
                }
                () = self.cut.cancelled() => break false,
                () = place.evicted() => {
                    self.figures.connections_evicted.inc();
                    break false;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = sweeps.tick() => match calls.sweep(Instant::now(), self.limits.stall) {
                    // The peer does not even read small answers, or the answers to its PINGs.
                    _ if traffic.blocked() > self.limits.stall => {
                        self.figures.connections_stalled.inc();
                        break false;
                    }
                    ConnectionVerdict::Unresponsive => {
                        self.figures.connections_stalled.inc();
                        break false;
                    }
                    ConnectionVerdict::Idle(_) if traffic.came() < PREFACE_BYTES => {
                        if begun.elapsed() > self.limits.preface {
                            self.figures.connections_idle.inc();
                            break false;
                        }
                    }
                    ConnectionVerdict::Idle(since) => {
                        let limit = if calls.any() { self.limits.idle } else { self.limits.first_call };
                        if since > limit {
                            self.figures.connections_idle.inc();
                            break true;
                        }
                    }
                    ConnectionVerdict::Keep => {}
                }
            }
        };
        if idle {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(GOODBYE, connection).await;
        }
    }
}

/// What calls learn of the connection that they came by.
#[derive(Clone)]
struct ConnectionInfo {
    tcp: TcpConnectInfo,
    peer: PeerIdentity,
    over_tls: bool,
}

/// Answers every call with UNAUTHENTICATED and what to do.
fn plaintext_refused() -> Routes {
    let refuse = || async {
        Status::unauthenticated("this server speaks only TLS; use a newer client, or start it with --plaintext any")
            .into_http::<Body>()
    };
    axum::Router::new().fallback(refuse).into()
}

/// Answers one call within its deadline and its caller's shares.
async fn answer(
    mut routes: Routes,
    places: SharePool<Caller>,
    figures: RpcFigures,
    limit: Duration,
    caller: ConnectionInfo,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    let call = Call::current().expect("the executor runs every call as one");
    if let Err(full) = call.begin(&places) {
        figures.calls_refused.inc();
        let refused = Status::resource_exhausted(full.to_string()).into_http();
        return Ok(refused.map(|body| AnswerBody::new(body, call)));
    }
    let deadline = deadline(request.headers()).unwrap_or(Duration::MAX);
    let mut request = request.map(|body| Body::new(RequestBody::new(Body::new(body), Arc::clone(call.bytes()), limit)));
    request.extensions_mut().insert(caller.tcp);
    request.extensions_mut().insert(caller.peer);
    if caller.over_tls {
        request.extensions_mut().insert(TlsPeer(caller.peer));
    }
    request.extensions_mut().insert(Arc::clone(call.bytes()));
    let handled = async {
        call.bytes().until_room().await;
        routes.call(request).await
    };
    let answered = tokio::select! {
        biased;
        () = call.end().cancelled() => call.why_ended().into_http(),
        answered = timeout(deadline, handled) => match answered {
            Ok(Ok(answered)) => answered,
            Err(_) => Status::deadline_exceeded("the call took too long").into_http(),
        },
    };
    Ok(answered.map(|body| AnswerBody::new(body, call)))
}
