//! The gRPC server of a service, with health, reflection, limits, and a shutdown within a time limit.

mod behalf;
mod body;
mod bytes;
mod call;
mod connections;
mod ending;
mod endpoint;
mod figures;
#[cfg(test)]
mod limit_tests;
mod local;
mod queue;
#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;
mod transport;

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tracing::info;

use crate::{metrics::Metrics, readiness::Readiness, secure::SecurePort};

pub use self::{
    behalf::{call_on_behalf, charged_address},
    bytes::{CallBytes, HeldBytes},
    endpoint::{ServiceEndpoint, TargetError, endpoint},
    local::{LocalChannel, LocalListener, local},
    queue::{AnswerSender, AnswerStream, CallEnded, answer_queue},
    transport::ServerTransport,
};
use self::{connections::Connections, figures::RpcFigures};

/// Largest gRPC message read or written: a publish request of 1 MiB or a run, with room. Set it on every generated
/// server and client with `max_decoding_message_size` and `max_encoding_message_size`.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Default of [`RpcLimits::connections_per_address`]: a class behind one router, each with a client or two.
pub const CONNECTIONS_PER_ADDRESS: u64 = 64;

/// Time between two HTTP/2 PINGs on a connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// Time that a peer has to answer a PING before its connection is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of a TCP connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 flow-control window of a stream, bytes: enough for a full run in flight on a fast LAN.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2 flow-control window of a connection, bytes.
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// Largest HTTP/2 frame, bytes.
const FRAME_BYTES: u32 = 128 * 1024;

/// Limits of one server. Connections, calls and bytes are shared by address (max-min fairness): the address with most is
/// evicted for one with less. Calls within the process are not limited.
#[derive(Debug, Clone)]
pub struct RpcLimits {
    /// Open connections; fewer where the process may open few files. Default 1024.
    pub connections: usize,
    /// Open connections of one address of another machine; further ones are closed. 0: no such limit. Default 64.
    pub connections_per_address: u64,
    /// Open calls of one connection. Default 1024.
    pub streams_per_connection: u32,
    /// Open calls of all together. Default 16 384.
    pub calls: u64,
    /// Open calls of one address; further ones are refused with RESOURCE_EXHAUSTED. Default 2048.
    pub calls_per_address: u64,
    /// Bytes of requests under way and of unread answers, of all calls together. Default 256 MiB.
    pub bytes: u64,
    /// Bytes of requests under way and of unread answers, of one address; its calls wait while it has more. Default 64 MiB.
    pub bytes_per_address: u64,
    /// Time that a new connection has to send its HTTP/2 preface and settings before it is closed. Default 10 s.
    pub preface: Duration,
    /// Time that a new connection has to make its first call before it is closed. Default 10 s.
    pub first_call: Duration,
    /// Time without a call after which a connection is closed. Default 5 min.
    pub idle: Duration,
    /// Time from the first byte of a message to its last, after which the call fails. Default 30 s.
    pub message: Duration,
    /// Time without any progress after which a call with unread answers is ended. Default 30 s.
    pub stall: Duration,
    /// Time that calls have to end once the server stops, before connections are cut. Default 5 s.
    pub drain: Duration,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            streams_per_connection: 1024,
            calls: 16 * 1024,
            calls_per_address: 2048,
            bytes: 256 << 20,
            bytes_per_address: 64 << 20,
            preface: Duration::from_secs(10),
            first_call: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            message: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

/// A gRPC server on a bound listener.
///
/// Health (grpc.health.v1) answers `NOT_SERVING` until the [`Readiness`] is ready and again from the moment of
/// stopping. When it stops, request streams end as if the client had finished, then response streams that stay silent
/// end with UNAVAILABLE, and what is open after the drain time is cut.
pub struct RpcServer {
    listener: TcpListener,
    local: Option<LocalListener>,
    routes: Routes,
    secure: SecurePort,
    limits: RpcLimits,
    readiness: Readiness,
    health: HealthReporter,
    services: Vec<String>,
    figures: RpcFigures,
}

impl RpcServer {
    /// Makes a server. `routes`: the service's own; `services`: their full names, for health; `descriptors`: encoded
    /// `FileDescriptorSet`s for reflection (v1, and v1alpha for older clients).
    ///
    /// # Errors
    /// If a descriptor set cannot be decoded.
    pub fn new(
        listener: TcpListener,
        routes: Routes,
        services: &[&str],
        descriptors: &[&[u8]],
        readiness: Readiness,
    ) -> anyhow::Result<Self> {
        let health = HealthReporter::new();
        let reflection = || {
            let own = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
            descriptors.iter().fold(own, |b, set| b.register_encoded_file_descriptor_set(set))
        };
        let routes = routes
            .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())))
            .add_service(reflection().build_v1().context("the descriptors for reflection are damaged")?)
            .add_service(reflection().build_v1alpha().context("the descriptors for reflection are damaged")?);
        let services = services.iter().map(|&s| s.to_owned()).chain([String::new()]).collect();
        let (limits, figures) = (RpcLimits::default(), RpcFigures::default());
        let secure = SecurePort::plaintext();
        Ok(Self { listener, local: None, routes, secure, limits, readiness, health, services, figures })
    }

    /// Replaces the default limits.
    #[must_use]
    pub fn limits(mut self, limits: RpcLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Takes connections as `secure` says, instead of any without TLS. Handlers find who has called as
    /// [`PeerIdentity`](gaung_site::PeerIdentity) in a request's extensions; calls within this process have none.
    #[must_use]
    pub fn secured(mut self, secure: SecurePort) -> Self {
        self.secure = secure;
        self
    }

    /// Registers the server's metrics.
    #[must_use]
    pub fn count_in(self, metrics: &Metrics) -> Self {
        self.figures.register(metrics);
        self
    }

    /// Serves calls from within this process too. They are drained and cut like others, and have no limit on connections.
    #[must_use]
    pub fn also_locally(mut self, listener: LocalListener) -> Self {
        self.local = Some(listener);
        self
    }

    /// Returns the address that the server listens on.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled and everything is drained or cut.
    ///
    /// # Errors
    /// None so far: one connection's failure never ends it.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { listener, local, routes, secure, limits, readiness, health, services, figures } = self;
        report(&health, &services, readiness.is_ready()).await;
        let reporting = follow_readiness(&health, &services, &readiness, &stop);

        let drain = limits.drain;
        let routes = ending::end_streams(routes, stop.clone(), grace(drain)).prepare();
        let local = async {
            if let Some(local) = local {
                local.serve(routes.clone(), stop.clone(), drain).await;
            }
        };
        let serving = Connections::new(routes.clone(), secure, limits, figures).serve(listener, stop.clone());
        let ((), (), ()) = tokio::join!(reporting, local, serving);
        Ok(())
    }
}

impl fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcServer")
            .field("listener", &self.listener)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Returns how long a response stream may continue after its requests were ended: a small part of the drain time.
fn grace(drain: Duration) -> Duration {
    (drain / 4).min(Duration::from_millis(250))
}

async fn follow_readiness(
    health: &HealthReporter,
    services: &[String],
    readiness: &Readiness,
    stop: &CancellationToken,
) {
    let mut changes = readiness.changes();
    loop {
        let ready = *changes.borrow_and_update();
        report(health, services, ready).await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { break },
        }
    }
    info!("draining");
    readiness.not_ready();
    report(health, services, false).await;
}

async fn report(health: &HealthReporter, services: &[String], serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in services {
        health.set_service_status(service, status).await;
    }
}
