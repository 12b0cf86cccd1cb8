//! A hub with doubles of registry and relay.

use std::{net::SocketAddr, time::Duration};

use broadcast_hub::{Config, Limits};
use gaung_proto::{
    GroupId,
    pb::hub::{GetStatusRequest, GetStatusResponse, hub_service_client::HubServiceClient},
};
use gaung_site::Role;
use service_kit::secure::PlaintextPolicy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{registry::Registry, relay::Relay, server::KillableServer, site::credentials};

pub const LONG: Duration = Duration::from_secs(60);

pub struct World {
    pub registry: Registry,
    pub relay: Relay,
    registry_server: Option<KillableServer>,
    pub relay_server: Option<KillableServer>,
    pub everyone: GroupId,
    pub hub: TestHub,
}

pub struct TestHub {
    pub tcp: SocketAddr,
    pub text: SocketAddr,
    pub grpc: SocketAddr,
    pub page: SocketAddr,
    pub metrics: Option<SocketAddr>,
    /// What the hub proves to be.
    pub role: Role,
    pub ready: service_kit::readiness::Readiness,
    pub stop: CancellationToken,
    run: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub async fn start(limits: Limits) -> Self {
        Self::with(|config| config.limits = limits).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (registry, relay) = (Registry::new(), Relay::new());
        let everyone = GroupId([1; 16]);
        relay.open(everyone);
        let relay_server = relay.serve(any());
        registry.set_relay(relay_server.addr);
        let registry_server = registry.serve(any());
        let hub = TestHub::start(registry_server.addr, change).await;
        let world = Self {
            registry,
            relay,
            registry_server: Some(registry_server),
            relay_server: Some(relay_server),
            everyone,
            hub,
        };
        world.hub.until_ready().await;
        world
    }

    pub fn group(&self, name: &str, number: u8) -> GroupId {
        let id = self.registry.add(name, number, false);
        self.relay.open(id);
        id
    }

    /// Ends the relay as a kill would, keeping its logs.
    pub fn kill_relay(&mut self) -> SocketAddr {
        let server = self.relay_server.take().unwrap();
        server.addr
    }

    /// Ends the registry as a kill would.
    pub fn kill_registry(&mut self) {
        self.registry_server = None;
    }

    pub fn restart_relay(&mut self, addr: SocketAddr) {
        self.relay_server = Some(self.relay.serve(addr));
    }

    pub async fn stop(self) {
        self.hub.stop().await;
    }
}

impl TestHub {
    pub async fn start(registry: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            registry: registry.to_string(),
            grpc_listen: any(),
            plaintext: PlaintextPolicy::Any,
            tcp_listen: any(),
            text_listen: Some(any()),
            page_listen: Some(any()),
            metrics_listen: None,
            broadcast: None,
            shards: 2,
            ..Config::default()
        };
        change(&mut config);
        let bound = broadcast_hub::bind(config).await.unwrap();
        let stop = CancellationToken::new();
        let (tcp, text, grpc) = (bound.tcp_addr(), bound.text_addr().unwrap(), bound.grpc_addr());
        let page = bound.page_addr().unwrap();
        let (ready, metrics, role) = (bound.ready(), bound.metrics_addr(), Role::Hub(bound.id()));
        let run = tokio::spawn(bound.with_credentials(credentials(role)).run(stop.clone()));
        Self { tcp, text, grpc, page, metrics, role, ready, stop, run }
    }

    pub async fn until_ready(&self) {
        eventually("the hub is ready", || self.ready.is_ready()).await;
    }

    /// Waits until the metrics have this line.
    pub async fn until_metric(&self, line: &str) {
        let addr = self.metrics.expect("the hub was started with metrics");
        let waiting = async {
            loop {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                if answer.lines().any(|found| found == line) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("never: {line}"));
    }

    /// Waits until the hub's status is as wanted.
    pub async fn until_status(&self, what: &str, is: impl Fn(&GetStatusResponse) -> bool) {
        let mut client = HubServiceClient::connect(format!("http://{}", self.grpc)).await.unwrap();
        let waiting = async {
            while !is(client.get_status(GetStatusRequest {}).await.unwrap().get_ref()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(LONG, self.run).await.expect("the hub drains").unwrap().unwrap();
    }
}

pub fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
