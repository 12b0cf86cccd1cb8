//! Probes services with a health check at the address that they registered.

use std::{sync::Arc, time::Duration};

use gaung_proto::pb::{hub::hub_service_server, registry as pb, relay::relay_service_server};
use gaung_site::Role;
use service_kit::{
    health_client::{Answerer, ask, instance_name},
    rpc::ServiceEndpoint,
    secure::{PlaintextPolicy, ServiceCredentials},
};
use tokio::{task::JoinSet, time::interval};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Now,
    registry::Registry,
    services::{ProbeResult, ProbeTarget},
};

/// Time between two looks for services whose probe is due.
const LOOK: Duration = Duration::from_millis(250);
/// How long a probe waits for an answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// Most probes at a time.
const AT_ONCE: usize = 64;

/// Probes services until `stop`: by TLS, as the registry that `credentials` prove, and those that speak none by plaintext where
/// `plaintext` takes it from.
pub(crate) async fn keep(
    registry: Arc<Registry>,
    credentials: ServiceCredentials,
    plaintext: PlaintextPolicy,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut looks = interval(LOOK);
    let mut asked = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = registry.services.to_probe.notified() => {}
            _ = looks.tick() => {}
        }
        for probe in registry.services.due_probes(Now::read()) {
            while asked.len() >= AT_ONCE {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    _ = asked.join_next() => {}
                }
            }
            let (registry, credentials) = (Arc::clone(&registry), credentials.clone());
            asked.spawn(async move {
                let found = found(&probe, &credentials, plaintext).await;
                registry.services.probed(probe.id, found, Now::read());
            });
        }
        while asked.try_join_next().is_some() {}
    }
}

async fn found(probe: &ProbeTarget, credentials: &ServiceCredentials, plaintext: PlaintextPolicy) -> ProbeResult {
    let (service, role) = match probe.kind {
        pb::ServiceKind::Relay => (relay_service_server::SERVICE_NAME, Role::Relay(probe.id)),
        pb::ServiceKind::Hub | pb::ServiceKind::Unspecified => (hub_service_server::SERVICE_NAME, Role::Hub(probe.id)),
    };
    let name = instance_name(service, probe.id);
    let mut best = ProbeResult::None;
    for target in &probe.targets {
        let Ok(endpoint) = ServiceEndpoint::new(target, role, Some(credentials)) else { continue };
        let proof = match ask(&endpoint.or_plaintext(plaintext), &name, DEADLINE).await {
            Answerer::Instance => return ProbeResult::Itself,
            Answerer::Another => ProbeResult::Answers,
            Answerer::Nobody => ProbeResult::None,
        };
        best = best.max(proof);
    }
    best
}
