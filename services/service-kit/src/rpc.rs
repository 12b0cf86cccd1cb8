//! The gRPC server of a service: health, reflection, limits, and a shutdown that ends.

mod connections;
mod ending;
mod local;
#[cfg(test)]
mod tests;
mod way;

use std::{fmt, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Endpoint, Server},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};
use tracing::{info, warn};

use crate::readiness::Readiness;

use self::connections::Connections;
pub use self::{
    local::{LocalChannel, LocalListener, local},
    way::Way,
};

/// Largest gRPC message read or written: a publish request of 1 MiB or a run, with room. Set it on every generated
/// server and client with `max_decoding_message_size` and `max_encoding_message_size`.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Enough for one full run in flight on each stream of a fast LAN.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// HTTP/2 cuts messages in frames of at most this.
const FRAME_BYTES: u32 = 128 * 1024;

/// Limits of one server.
#[derive(Debug, Clone)]
pub struct RpcLimits {
    /// Open connections; more wait in the listen queue. Default 1024.
    pub connections: usize,
    /// Open calls of one connection. Default 1024.
    pub streams_per_connection: u32,
    /// How long calls may take to end once the server stops, then connections are cut. Default 5 s.
    pub drain: Duration,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { connections: 1024, streams_per_connection: 1024, drain: Duration::from_secs(5) }
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
    limits: RpcLimits,
    readiness: Readiness,
    health: HealthReporter,
    services: Vec<String>,
}

impl RpcServer {
    /// `routes`: the service's own; `services`: their full names, for health; `descriptors`: encoded
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
        Ok(Self { listener, local: None, routes, limits: RpcLimits::default(), readiness, health, services })
    }

    /// Replaces the limits.
    #[must_use]
    pub fn limits(mut self, limits: RpcLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves calls of this process too. They are drained and cut like others; limits on connections are not for them.
    #[must_use]
    pub fn also_locally(mut self, listener: LocalListener) -> Self {
        self.local = Some(listener);
        self
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled and everything is drained or cut.
    ///
    /// # Errors
    /// If the listener becomes unusable; one connection's failure never ends it.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { listener, local, routes, limits, readiness, health, services } = self;
        report(&health, &services, readiness.is_ready()).await;
        let reporting = follow_readiness(&health, &services, &readiness, &stop);

        let cut = CancellationToken::new();
        let connections = Connections::new(listener, limits.connections, cut.clone());
        let routes = ending::end_streams(routes, stop.clone(), grace(limits.drain));
        let local = async {
            if let Some(local) = local {
                local.serve(routes.clone(), stop.clone(), limits.drain).await;
            }
        };
        let serving = builder(&limits)
            .add_routes(routes.clone())
            .serve_with_incoming_shutdown(connections.into_stream(), stop.clone().cancelled_owned());
        let serving = async {
            tokio::pin!(serving);
            tokio::select! {
                end = &mut serving => return end,
                () = stop.cancelled() => {}
            }
            match timeout(limits.drain, &mut serving).await {
                Ok(end) => end,
                Err(_) => {
                    warn!(limit_ms = limits.drain.as_millis(), "cutting the connections that did not drain");
                    cut.cancel();
                    serving.await
                }
            }
        };
        let ((), (), served) = tokio::join!(reporting, local, serving);
        served.context("gRPC server")
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

/// A target that is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a server; write it as HOST:PORT, such as 192.168.1.10:7400")]
pub struct TargetError(String);

/// How services reach each other: `HOST:PORT` as an endpoint with connect timeout and keepalive. Connect it, or
/// `connect_lazy` to let every call try anew.
///
/// # Errors
/// [`TargetError`] if `target` is not `HOST:PORT`.
pub fn endpoint(target: &str) -> Result<Endpoint, TargetError> {
    let error = || TargetError(target.to_owned());
    let has_port = target.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        return Err(error());
    }
    let endpoint = Endpoint::from_shared(format!("http://{target}")).map_err(|_| error())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES))
}

fn builder(limits: &RpcLimits) -> Server {
    Server::builder()
        .max_concurrent_streams(limits.streams_per_connection)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

/// How long a response stream may go on after its requests were ended: a small part of the drain time.
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
