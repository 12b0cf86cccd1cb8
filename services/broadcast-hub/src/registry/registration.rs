//! Keeps the hub registered, and the directory's list of relays current.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use gaung_proto::{
    RelayId,
    pb::registry::{ListServicesRequest, RegisterServiceRequest, ServiceKind},
};
use service_kit::readiness::Readiness;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{info, warn};

use crate::directory::Directory;

use super::{RegistryClient, backoff, within_limit};

/// How often the list of services is read; a relay that moved is found again within it.
const SERVICES_INTERVAL: Duration = Duration::from_secs(1);

/// The hub's entry among the registry's services.
pub(crate) struct Registration {
    registry: RegistryClient,
    directory: Arc<Directory>,
    /// Where the registry is, as `HOST:PORT`.
    target: String,
    request: RegisterServiceRequest,
}

/// The ports that the hub advertises; 0 for one that it does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AdvertisedPorts {
    pub(crate) grpc: u16,
    pub(crate) tcp: u16,
    pub(crate) text: u16,
    pub(crate) broadcast: u16,
    pub(crate) page: u16,
}

impl Registration {
    /// Prepares the entry of hub `id`, at host `advertise` and `ports`. `target` is the registry as `HOST:PORT`.
    pub(crate) fn new(
        registry: RegistryClient,
        directory: Arc<Directory>,
        target: String,
        id: RelayId,
        advertise: String,
        ports: AdvertisedPorts,
    ) -> Self {
        let request = RegisterServiceRequest {
            kind: ServiceKind::Hub.into(),
            service_id: id.into(),
            advertise,
            grpc_port: ports.grpc.into(),
            udp_port: ports.broadcast.into(),
            tcp_port: ports.tcp.into(),
            text_port: ports.text.into(),
            web_port: ports.page.into(),
            durable: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            service_secret: Bytes::new(),
        };
        Self { registry, directory, target, request }
    }

    /// Registers the hub again and again and reads the list of services in between, until `stop`. The first registration turns
    /// `registered` on.
    pub(crate) async fn run(mut self, registered: Readiness, stop: CancellationToken) -> anyhow::Result<()> {
        let mut backoff = backoff();
        let mut is_reached = None;
        loop {
            let outcome = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                outcome = self.register() => outcome,
            };
            let lost = match outcome {
                Ok(due) => {
                    if is_reached != Some(true) {
                        info!(registry = self.target, "registered");
                    }
                    is_reached = Some(true);
                    registered.ready();
                    backoff.reset();
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        listed = self.list_services(due) => listed.err(),
                    }
                }
                Err(status) => Some(status),
            };
            if let Some(status) = lost {
                if is_reached != Some(false) {
                    let why = status.message();
                    warn!(registry = self.target, why, "the registry does not answer; retrying");
                }
                is_reached = Some(false);
                if !backoff.wait(&stop).await {
                    return Ok(());
                }
            }
        }
    }

    /// Registers; returns when that is due again.
    async fn register(&mut self) -> Result<Instant, Status> {
        let answer = within_limit(self.registry.register_service(self.request.clone())).await?;
        match <[u8; 32]>::try_from(&answer.registry_public_key[..]) {
            Ok(key) => {
                // 0 is from a registry that does not send its clock.
                let unix_ms = if answer.unix_ms == 0 { unix_ms() } else { answer.unix_ms };
                self.directory.handle_registry(std::time::Instant::now(), key, unix_ms);
            }
            Err(_) => warn!("the registry gave no usable public key"),
        }
        Ok(Instant::now() + Duration::from_millis(answer.renew_ms.clamp(200, 60_000)))
    }

    /// Keeps the directory's list of relays current until `until`.
    async fn list_services(&mut self, until: Instant) -> Result<(), Status> {
        while Instant::now() < until {
            let listed = within_limit(self.registry.list_services(ListServicesRequest {})).await?;
            let host = self.target.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
            self.directory.set_services(&listed.services, host);
            sleep(SERVICES_INTERVAL).await;
        }
        Ok(())
    }
}

/// Reads the wall clock, in ms since 1970.
fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
