//! Registry and relay within the publisher's process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use gaung_engine::Rate;
use gaung_proto::ports;
use multicast_relay::{LocalPublisher, LogKind, Segmentation};
use service_kit::secure::PlaintextPolicy;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;

/// Runs until the process ends.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) publisher: LocalPublisher,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Services {
    pub(super) async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let registry = group_registry::bind(registry(arguments)).await.context("registry")?;
        let relay = multicast_relay::bind(relay(arguments)).await.context("relay")?;
        let publisher = relay.local_publisher();
        let mut tasks = JoinSet::new();
        tasks.spawn(registry.run(CancellationToken::new()));
        tasks.spawn(relay.run(CancellationToken::new()));
        Ok(Self { publisher, tasks })
    }

    /// Ready when one of them has failed.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(_) | None => anyhow::anyhow!("a service ended"),
        }
    }
}

fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)
}

fn registry(arguments: &Arguments) -> group_registry::Config {
    group_registry::Config {
        data: None,
        grpc_listen: everywhere(ports::REGISTRY),
        plaintext: PlaintextPolicy::Any,
        metrics_listen: None,
        discovery_port: None,
        quiet_time: Duration::ZERO,
        iface: vec![arguments.ip.to_string()],
        ..group_registry::Config::default()
    }
}

fn relay(arguments: &Arguments) -> multicast_relay::Config {
    multicast_relay::Config {
        registry: format!("127.0.0.1:{}", ports::REGISTRY),
        data: None,
        log: LogKind::Memory,
        grpc_listen: everywhere(ports::RELAY),
        plaintext: PlaintextPolicy::Any,
        udp_port: ports::RELAY_UDP,
        iface: vec![arguments.ip.to_string()],
        metrics_listen: None,
        workers: 1,
        rate: Rate::from_mbit(arguments.mbit),
        segmentation: if arguments.segmentation { Segmentation::On } else { Segmentation::Off },
        memory_bytes: arguments.log_bytes,
        ..multicast_relay::Config::default()
    }
}
