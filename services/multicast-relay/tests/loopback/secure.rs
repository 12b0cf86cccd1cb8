//! What callers of a relay have to prove.

use gaung_proto::{RelayId, pb::relay::relay_service_client::RelayServiceClient};
use gaung_site::{Role, SiteAuthority};
use multicast_relay::{Config, LogKind, bind};
use rustls::pki_types::UnixTime;
use service_kit::{
    rpc::ServiceEndpoint,
    secure::{PlaintextPolicy, ServiceCredentials},
};
use tonic::Code;

use crate::support::{RegistryDouble, TestRelay, config};

const HUB: Role = Role::Hub(RelayId([8; 16]));

fn issue(site: &SiteAuthority, role: Role) -> ServiceCredentials {
    ServiceCredentials::issue(site, role, &[], UnixTime::now()).unwrap()
}

async fn start(site: &SiteAuthority, plaintext: PlaintextPolicy, registry: &RegistryDouble) -> (Role, TestRelay) {
    let config = Config { plaintext, log: LogKind::Memory, ..config(registry) };
    let bound = bind(config).await.unwrap();
    let role = Role::Relay(bound.id());
    (role, TestRelay::run(bound.with_credentials(issue(site, role))).await)
}

#[tokio::test]
async fn only_hubs_of_the_site_follow_a_relay() {
    let (site, registry) = (SiteAuthority::create().unwrap(), RegistryDouble::start().await);
    let (role, relay) = start(&site, PlaintextPolicy::Never, &registry).await;
    let follow = async |caller: ServiceCredentials| {
        let endpoint = ServiceEndpoint::new(&relay.grpc.to_string(), role, Some(&caller)).unwrap();
        let mut client = RelayServiceClient::new(endpoint.connect_lazy());
        client.follow(tokio_stream::empty()).await.map(drop).map_err(|status| status.code())
    };
    assert_eq!(follow(issue(&site, HUB)).await, Ok(()));
    for other in [Role::Registry, role] {
        assert_eq!(follow(issue(&site, other)).await, Err(Code::PermissionDenied), "{other}");
    }
    let stranger = issue(&SiteAuthority::create().unwrap(), HUB);
    assert_eq!(follow(stranger).await, Err(Code::Unavailable), "a hub of another site does not even call");
    let by_plaintext = relay.client().await.follow(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(by_plaintext.code(), Code::Unauthenticated);
    relay.stop().await;
}

#[tokio::test]
async fn who_proves_nothing_follows_only_where_anyone_may_speak_plaintext() {
    let site = SiteAuthority::create().unwrap();
    for (policy, expected) in [(PlaintextPolicy::Loopback, Some(Code::PermissionDenied)), (PlaintextPolicy::Any, None)]
    {
        let registry = RegistryDouble::start().await;
        let (_, relay) = start(&site, policy, &registry).await;
        let followed = relay.client().await.follow(tokio_stream::empty()).await;
        assert_eq!(followed.map_err(|status| status.code()).err(), expected, "{policy}");
        relay.stop().await;
    }
}
