#![allow(clippy::unwrap_used)]

use std::future::poll_fn;

use axum::{extract::Request, routing::any};
use gaung_net::tls::trust_error;
use gaung_proto::RelayId;
use gaung_site::{PeerIdentity, Role, SiteAuthority, TrustError};
use rustls::pki_types::UnixTime;
use tokio::time::timeout;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service as _, http},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::*;
use crate::{
    health_client::{self, Answerer},
    secure::{PlaintextPolicy, ServiceCredentials},
};

const LONG: Duration = Duration::from_secs(20);
const RELAY: Role = Role::Relay(RelayId([7; 16]));
const HUB: Role = Role::Hub(RelayId([8; 16]));

fn issue(site: &SiteAuthority, role: Role) -> ServiceCredentials {
    ServiceCredentials::issue(site, role, &[], UnixTime::now()).unwrap()
}

struct Running {
    addr: String,
    metrics: Metrics,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// Starts a server whose call `/test/Who` answers with the name of the caller's role.
async fn start(credentials: Option<&ServiceCredentials>, plaintext: PlaintextPolicy) -> Running {
    let who = |request: Request| async move {
        let who = match request.extensions().get::<PeerIdentity>() {
            Some(PeerIdentity::Service(role)) => role.to_string(),
            other => format!("{other:?}"),
        };
        Status::aborted(who).into_http::<Body>()
    };
    let routes = Routes::from(axum::Router::new().route("/test/Who", any(who)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (readiness, stop, metrics) = (Readiness::new(), CancellationToken::new(), Metrics::new());
    readiness.ready();
    let server = RpcServer::new(listener, routes, &["test.v1.Service"], &[], readiness).unwrap();
    let server = server.secured(SecurePort::new(credentials, plaintext, &[b"h2"])).count_in(&metrics);
    let server = tokio::spawn(server.serve(stop.clone()));
    Running { addr, metrics, stop, server }
}

impl Running {
    fn endpoint(&self, role: Role, credentials: Option<&ServiceCredentials>) -> ServiceEndpoint {
        ServiceEndpoint::new(&self.addr, role, credentials).unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        let text = self.metrics.encode().unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("gaung_rpc_{name}_total "))).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    async fn ends(self) {
        self.stop.cancel();
        timeout(LONG, self.server).await.unwrap().unwrap().unwrap();
    }
}

/// Returns the role that the server took the caller for.
async fn who(channel: &mut Channel) -> String {
    poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let request = http::Request::builder().uri("/test/Who").body(Body::empty()).unwrap();
    let answered = channel.call(request).await.unwrap();
    Status::from_header_map(answered.headers()).unwrap().message().to_owned()
}

#[tokio::test]
async fn services_of_a_site_know_each_other() {
    let site = SiteAuthority::create().unwrap();
    let (registry, relay) = (issue(&site, Role::Registry), issue(&site, RELAY));
    let running = start(Some(&registry), PlaintextPolicy::Never).await;
    let endpoint = running.endpoint(Role::Registry, Some(&relay));
    assert_eq!(who(&mut endpoint.connect_lazy()).await, RELAY.to_string());
    assert_eq!(who(&mut endpoint.connect().await.unwrap()).await, RELAY.to_string());
    assert_eq!((running.count("handshakes"), running.count("plaintext")), (2, 0));
    running.ends().await;
}

#[tokio::test]
async fn a_renewed_leaf_is_shown_at_the_next_connection() {
    let site = SiteAuthority::create().unwrap();
    let (registry, relay) = (issue(&site, Role::Registry), issue(&site, RELAY));
    let running = start(Some(&registry), PlaintextPolicy::Never).await;
    let endpoint = running.endpoint(Role::Registry, Some(&relay));
    assert_eq!(who(&mut endpoint.connect_lazy()).await, RELAY.to_string());
    relay.renew(site.leaf(HUB, &[], UnixTime::now()).unwrap());
    assert_eq!(who(&mut endpoint.connect_lazy()).await, HUB.to_string());
    running.ends().await;
}

#[tokio::test]
async fn a_server_of_another_site_or_role_is_never_called() {
    let (site, other) = (SiteAuthority::create().unwrap(), SiteAuthority::create().unwrap());
    let relay = issue(&site, RELAY);
    let strange = start(Some(&issue(&other, Role::Registry)), PlaintextPolicy::Any).await;
    let endpoint = strange.endpoint(Role::Registry, Some(&relay)).or_plaintext(PlaintextPolicy::Any);
    let error = endpoint.connect().await.unwrap_err();
    let expected = TrustError::OtherSite { shown: other.id(), pinned: None };
    assert_eq!(trust_error(&error), Some(&expected), "{error:?}");
    let mut client = HealthClient::new(endpoint.connect_lazy());
    let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), trust_error(&status)), (Code::Unavailable, Some(&expected)), "{status:?}");
    assert_eq!(strange.count("plaintext"), 0);

    let hub = start(Some(&issue(&site, HUB)), PlaintextPolicy::Any).await;
    let endpoint = hub.endpoint(RELAY, Some(&relay)).or_plaintext(PlaintextPolicy::Any);
    let error = endpoint.connect().await.unwrap_err();
    assert_eq!(trust_error(&error), Some(&TrustError::OtherRole(RELAY)), "{error:?}");
    strange.ends().await;
    hub.ends().await;
}

#[tokio::test]
async fn a_service_without_a_certificate_is_called_by_plaintext_where_that_is_allowed() {
    let site = SiteAuthority::create().unwrap();
    let (hub, running) = (issue(&site, HUB), start(None, PlaintextPolicy::Any).await);
    let endpoint = running.endpoint(RELAY, Some(&hub));
    assert!(endpoint.connect().await.is_err());
    for policy in [PlaintextPolicy::Any, PlaintextPolicy::Loopback] {
        let mut channel = endpoint.clone().or_plaintext(policy).connect_lazy();
        assert_eq!(who(&mut channel).await, "Some(Unproven)", "{policy}");
    }
    assert_eq!(running.count("plaintext"), 2);
    assert_eq!(who(&mut running.endpoint(RELAY, None).connect_lazy()).await, "Some(Unproven)");
    running.ends().await;
}

#[tokio::test]
async fn a_call_without_tls_is_told_what_to_do_where_that_is_forbidden() {
    let site = SiteAuthority::create().unwrap();
    let running = start(Some(&issue(&site, Role::Registry)), PlaintextPolicy::Never).await;
    let mut client = HealthClient::new(endpoint(&running.addr).unwrap().connect().await.unwrap());
    let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("--plaintext"), "{status:?}");
    assert_eq!((running.count("plaintext"), running.count("plaintext_refused")), (0, 1));
    running.ends().await;
}

#[tokio::test]
async fn health_is_told_to_anyone_by_tls() {
    let site = SiteAuthority::create().unwrap();
    let running = start(Some(&issue(&site, RELAY)), PlaintextPolicy::Never).await;
    let report = health_client::check(&running.addr, LONG).await;
    assert!(report.serving, "{}", report.line);
    let probe = async |role| {
        let endpoint = running.endpoint(role, Some(&issue(&site, Role::Registry)));
        health_client::ask(&endpoint, "test.v1.Service", LONG).await
    };
    assert_eq!(probe(RELAY).await, Answerer::Instance);
    assert_eq!(probe(HUB).await, Answerer::Nobody, "another role never answers for the service");
    running.ends().await;
}
