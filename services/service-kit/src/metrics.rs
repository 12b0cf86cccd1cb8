//! The metrics page for Prometheus, and `/healthz` for checks without gRPC.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::{encoding::text::encode, metrics::counter::Counter, registry::Registry};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    pace::ConnectionPace,
    places::ConnectionPlaces,
    readiness::Readiness,
    share::{Origin, Share},
};

/// Most connections at a time, shared by address; scrapers are few.
const CONNECTIONS: usize = 64;
/// Time limit of a connection, from accept to the last byte of its one answer; a scrape takes milliseconds.
const LIFE_LIMIT: Duration = Duration::from_secs(5);
/// Largest request head, bytes: the least that hyper allows.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Time before accept is retried after the system refused, for example without free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The process's metrics. Clones share one registry; register at start, count on the handles.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Makes an empty registry. All names get the prefix `gaung_` and a part of their own by [`Registry::sub_registry_with_prefix`].
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix("gaung"))))
    }

    /// Registers metrics. Holds a lock meanwhile, so do not call it on a hot path.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Encodes all metrics in the `OpenMetrics` text format.
    ///
    /// # Errors
    /// If one of the registered collectors fails.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

/// Declares the metrics of one part of a program, each once: `name: type = "help";`, or `name: type = "help", value;` where
/// the type has no default. The struct's clones share their metrics; `register` names them `gaung_PART_name`.
#[macro_export]
macro_rules! figures {
    ($(#[$attr:meta])* $vis:vis struct $Figures:ident of $part:literal {
        $( $name:ident: $kind:ty = $help:literal $(, $new:expr)?; )+
    }) => {
        $(#[$attr])*
        #[derive(Debug, Clone)]
        $vis struct $Figures { $( #[doc = $help] $vis $name: $kind, )+ }

        impl Default for $Figures {
            fn default() -> Self {
                Self { $( $name: $crate::figures!(@new $kind $(, $new)?), )+ }
            }
        }

        impl $Figures {
            /// Registers the metrics, which are scraped from now on.
            $vis fn register(&self, metrics: &$crate::metrics::Metrics) {
                metrics.register(|registry| {
                    let part = registry.sub_registry_with_prefix($part);
                    $( part.register(stringify!($name), $help, self.$name.clone()); )+
                });
            }
        }
    };
    (@new $kind:ty) => { <$kind>::default() };
    (@new $kind:ty, $new:expr) => { $new };
}

/// Serves `/metrics` and `/healthz` (200 when ready, else 503) on a bound listener until `stop`: one request a
/// connection, within 5 s.
///
/// # Errors
/// None so far: one connection's failure never ends it.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (refused, delayed) = (Counter::<u64>::default(), Counter::<u64>::default());
    metrics.register(|registry| {
        let help = "Connections to the metrics port that waited because their address opened many at once";
        registry.register("metrics_connections_delayed", help, delayed.clone());
        let help = "Connections to the metrics port refused because the limit was reached";
        registry.register("metrics_connections_refused", help, refused.clone());
    });
    let app = Router::new()
        .route("/metrics", get(metrics_page))
        .with_state(metrics)
        .merge(Router::new().route("/healthz", get(health_page)).with_state(readiness));
    let (places, pace, open) = (ConnectionPlaces::new(CONNECTIONS), ConnectionPace::new(delayed), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match places.of(&stream, peer) {
                Ok(place) => {
                    let (pace, app) = (pace.clone(), app.clone());
                    open.spawn(async move {
                        tokio::select! {
                            () = pace.wait(&stream, peer) => {}
                            () = place.evicted() => return,
                        }
                        serve_one(stream, place, app).await;
                    });
                }
                Err(_) => drop(refused.inc()),
            },
            Err(error) => {
                warn!(%error, "a connection to the metrics cannot be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop(listener);
    open.close();
    // Each has its own limit.
    open.wait().await;
    Ok(())
}

async fn serve_one(stream: TcpStream, place: Share<Origin>, app: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIFE_LIMIT)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let connection = pin!(connection);
    tokio::select! {
        ended = connection => if let Err(error) = ended { debug!(%error, "a connection to the metrics ended") },
        () = place.evicted() => {}
        () = sleep(LIFE_LIMIT) => {}
    }
}

async fn metrics_page(State(metrics): State<Metrics>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric could not be encoded\n").into_response(),
    }
}

async fn health_page(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    if readiness.is_ready() {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{net::SocketAddr, time::Duration};

    use prometheus_client::metrics::counter::Counter;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn fetch(addr: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_counts_and_health() {
        let metrics = Metrics::new();
        let appended = metrics.register(|r| {
            let counter = Counter::<u64>::default();
            r.register("appended_messages", "Messages appended", counter.clone());
            counter
        });
        appended.inc_by(3);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (readiness, stop) = (Readiness::new(), CancellationToken::new());
        let server = tokio::spawn(serve(listener, metrics, readiness.clone(), stop.clone()));

        assert!(fetch(addr, "/metrics").await.contains("gaung_appended_messages_total 3"));
        assert!(fetch(addr, "/healthz").await.starts_with("HTTP/1.1 503"));
        readiness.ready();
        assert!(fetch(addr, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(fetch(addr, "/elsewhere").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed_and_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, Metrics::new(), Readiness::new(), stop.clone()));
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            silent.push(TcpStream::connect(addr).await.unwrap());
        }
        let closed = async {
            let mut closed = 0;
            for stream in &mut silent {
                closed += usize::from(stream.read(&mut [0]).await.is_ok_and(|count| count == 0));
            }
            closed
        };
        let closed = tokio::time::timeout(4 * LIFE_LIMIT, closed).await.unwrap();
        assert_eq!(closed, 2 * CONNECTIONS);
        assert!(fetch(addr, "/metrics").await.contains("gaung_metrics_connections_refused_total"));
        stop.cancel();
        tokio::time::timeout(4 * LIFE_LIMIT, server).await.unwrap().unwrap().unwrap();
    }
}
