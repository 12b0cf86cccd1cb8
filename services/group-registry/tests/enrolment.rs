//! Services of other machines enrol over the network, keep what they got, and renew it.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use gaung_proto::{
    RelayId,
    pb::registry::{self as pb, registry_service_client::RegistryServiceClient},
};
use gaung_site::{EnrolToken, Role, ServiceKey};
use group_registry::{Config, bind, request_token};
use service_kit::{
    rpc::ServiceEndpoint,
    secure::{EnrolledService, PlaintextPolicy, ServiceEnrolment},
};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;

const RELAY: RelayId = RelayId([7; 16]);

struct Service {
    addr: String,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    async fn start(data: &Path, addr: &str, enrol_secret: Option<EnrolToken>) -> Self {
        let config = Config {
            data: Some(data.to_owned()),
            grpc_listen: addr.parse().unwrap(),
            plaintext: PlaintextPolicy::Loopback,
            metrics_listen: None,
            discovery_port: None,
            enrol_secret,
            iface: vec!["lo".to_owned()],
            ..Config::default()
        };
        let bound = bind(config).await.unwrap();
        let (addr, stop) = (bound.grpc_addr().unwrap().to_string(), CancellationToken::new());
        Self { addr, running: tokio::spawn(bound.run(stop.clone())), stop }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

async fn enrolled(
    addr: &str,
    data: Option<&Path>,
    token: Option<EnrolToken>,
) -> anyhow::Result<Option<EnrolledService>> {
    let enrolment = ServiceEnrolment::new(addr, Role::Relay(RELAY), data, token);
    timeout(Duration::from_secs(60), enrolment.credentials(&CancellationToken::new())).await.expect("within a minute")
}

fn request() -> pb::EnrolRequest {
    pb::EnrolRequest {
        kind: pb::ServiceKind::Relay.into(),
        service_id: RELAY.into(),
        public_key: ServiceKey::generate().unwrap().public().to_spki().into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_token_of_the_running_registry_enrols_once_and_for_later_starts() {
    let (registry_data, relay_data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = Service::start(registry_data.path(), "127.0.0.1:0", None).await;
    let token = request_token(registry_data.path()).await.unwrap();
    assert!(enrolled(&registry.addr, Some(relay_data.path()), None).await.unwrap().is_none(), "nothing to enrol by");
    let first = enrolled(&registry.addr, Some(relay_data.path()), Some(token.clone())).await.unwrap().unwrap();
    assert_eq!(Some(first.credentials().site()), token.site());

    let endpoint = ServiceEndpoint::new(&registry.addr, Role::Registry, Some(&first.credentials())).unwrap();
    let mut client = RegistryServiceClient::new(endpoint.connect().await.unwrap());
    let renewed = client.enrol(request()).await.unwrap().into_inner();
    assert_eq!((renewed.chain.len(), renewed.mac.len()), (3, 0));
    let other = pb::EnrolRequest { service_id: RelayId([8; 16]).into(), ..request() };
    assert_eq!(client.enrol(other).await.unwrap_err().code(), Code::Unauthenticated);

    let plaintext = ServiceEndpoint::new(&registry.addr, Role::Registry, None).unwrap();
    let mut client = RegistryServiceClient::new(plaintext.connect().await.unwrap());
    let refused = client.enrol(request()).await.unwrap_err();
    assert!(refused.code() == Code::Unauthenticated && refused.message().contains("TLS"), "{refused}");

    let addr = registry.addr.clone();
    registry.end().await;
    let later = enrolled(&addr, Some(relay_data.path()), None).await.unwrap().unwrap();
    assert_eq!(later.credentials().site(), first.credentials().site(), "while the registry is away");
}

#[tokio::test]
async fn a_secret_enrols_as_soon_as_there_is_a_registry_that_has_it() {
    let data = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let secret: EnrolToken = "5e".repeat(16).parse().unwrap();
    let enrolling = tokio::spawn({
        let (free, secret) = (free.clone(), secret.clone());
        async move { enrolled(&free, None, Some(secret)).await.unwrap().unwrap().credentials().site() }
    });
    // The first attempt fails, since nobody listens.
    tokio::task::yield_now().await;
    let registry = Service::start(data.path(), &free, Some(secret)).await;
    let site = enrolling.await.unwrap();
    assert_eq!(request_token(data.path()).await.unwrap().site(), Some(site));
    let guessed = enrolled(&free, None, Some("00".repeat(16).parse().unwrap())).await.err().unwrap();
    assert!(guessed.to_string().contains("token"), "{guessed:#}");
    registry.end().await;
}

#[tokio::test]
async fn a_token_of_another_site_reaches_no_registry() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let registry = Service::start(here.path(), "127.0.0.1:0", None).await;
    let other = Service::start(there.path(), "127.0.0.1:0", None).await;
    let token = request_token(there.path()).await.unwrap();
    let refused = enrolled(&registry.addr, None, Some(token)).await.err().unwrap();
    assert!(refused.to_string().contains("belongs to the site"), "{refused:#}");
    registry.end().await;
    other.end().await;
}
