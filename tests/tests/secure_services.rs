//! Registry, relay and hub of one site, on ports that take no plaintext: they work together by TLS alone.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use gaung_proto::{
    RelayId,
    pb::registry::{
        ListServicesRequest, RegisterServiceRequest, ReportGroupsRequest, ServiceKind,
        registry_service_client::RegistryServiceClient,
    },
};
use gaung_site::Role;
use gaung_tests::in_process::{self, ANY_PORT};
use service_kit::{
    rpc::{ServiceEndpoint, endpoint},
    secure::{PlaintextPolicy, ServiceCredentials},
};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn services_of_a_site_work_together_without_plaintext() {
    let (data, plaintext) = (TempDir::new().unwrap(), PlaintextPolicy::Never);
    let mut registry = group_registry::bind(in_process::registry(plaintext)).await.unwrap();
    let target = registry.grpc_addr().unwrap().to_string();
    let relay = multicast_relay::bind(in_process::relay(&target, data.path(), plaintext)).await.unwrap();
    let relay_role = Role::Relay(relay.id());
    let relay = relay.with_credentials(registry.issue(relay_role).unwrap());
    let hub = broadcast_hub::Config {
        registry: target.clone(),
        grpc_listen: ANY_PORT,
        plaintext,
        tcp_listen: ANY_PORT,
        text_listen: None,
        page_listen: None,
        metrics_listen: None,
        broadcast: None,
        ..broadcast_hub::Config::default()
    };
    let hub = broadcast_hub::bind(hub).await.unwrap();
    let hub_credentials = registry.issue(Role::Hub(hub.id())).unwrap();
    let hub = hub.with_credentials(hub_credentials.clone());
    let hub_ready = hub.ready();

    let stop = CancellationToken::new();
    let services = [registry.run(stop.clone()), relay.run(stop.clone()), hub.run(stop.clone())].map(tokio::spawn);
    // A hub is ready once it follows `everyone`, which the registry binds to a relay that has registered.
    timeout(LONG, hub_ready.until_ready()).await.expect("the hub follows `everyone`");

    let registry = ServiceEndpoint::new(&target, Role::Registry, Some(&hub_credentials)).unwrap();
    let mut registry = RegistryServiceClient::new(registry.connect().await.unwrap());
    let listed = registry.list_services(ListServicesRequest {}).await.unwrap().into_inner().services;
    assert_eq!(listed.len(), 2, "{listed:?}");
    let plain = endpoint(&target).unwrap().connect_lazy();
    let refused = RegistryServiceClient::new(plain).list_services(ListServicesRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    drop(registry);

    stop.cancel();
    for service in services {
        timeout(LONG, service).await.expect("it drains").unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_service_registers_and_reports_only_for_itself() {
    let mut bound = group_registry::bind(in_process::registry(PlaintextPolicy::Loopback)).await.unwrap();
    let target = bound.grpc_addr().unwrap().to_string();
    let [own, other] = [1, 2].map(|id| RelayId([id; 16]));
    let credentials = [Role::Relay(own), Role::Hub(own)].map(|role| bound.issue(role).unwrap());
    let stop = CancellationToken::new();
    let run = tokio::spawn(bound.run(stop.clone()));
    let call = async |credentials: Option<&ServiceCredentials>, relay: RelayId| {
        let endpoint = ServiceEndpoint::new(&target, Role::Registry, credentials).unwrap();
        let mut client = RegistryServiceClient::new(endpoint.connect_lazy());
        let register = RegisterServiceRequest {
            kind: ServiceKind::Relay.into(),
            service_id: relay.into(),
            advertise: "127.0.0.1".to_owned(),
            grpc_port: 7401,
            udp_port: 7402,
            ..Default::default()
        };
        let registered = client.register_service(register).await.map(drop).map_err(|status| status.code());
        let report = ReportGroupsRequest { relay_id: relay.into(), ..Default::default() };
        let reported = client.report_groups(report).await.map(drop).map_err(|status| status.code());
        (registered, reported)
    };
    let [relay, hub] = &credentials;
    let denied = (Err(Code::PermissionDenied), Err(Code::PermissionDenied));
    assert_eq!(call(Some(relay), own).await, (Ok(()), Ok(())));
    assert_eq!(call(Some(relay), other).await, denied, "another's id");
    assert_eq!(call(Some(hub), own).await, denied, "another role");
    assert_eq!(call(None, own).await, denied, "no proof, although this machine may speak plaintext");
    stop.cancel();
    timeout(LONG, run).await.expect("it drains").unwrap().unwrap();
}
