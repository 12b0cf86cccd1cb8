//! A hub with doubles of registry and relay.

use std::{net::SocketAddr, time::Duration};

use broadcast_hub::{Config, Limits};
use gaung_proto::GroupId;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{registry::Registry, relay::Relay, server::KillableServer};

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
        let ready = bound.ready();
        let run = tokio::spawn(bound.run(stop.clone()));
        Self { tcp, text, grpc, page, ready, stop, run }
    }

    pub async fn until_ready(&self) {
        eventually("the hub is ready", || self.ready.is_ready()).await;
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
