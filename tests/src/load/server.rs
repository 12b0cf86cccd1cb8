//! A server under load: Gaung in one process or in three, or whatever else speaks a [`Dialect`].

use std::{fmt::Debug, net::SocketAddr, path::Path, sync::Arc};

use anyhow::Context as _;
use gaung_client::{Client, NewGroup, ServiceKind, Settings};
use gaung_proto::GroupId;
use gaung_site::tls::unverified_client_config;
use nix::unistd::Pid;
use rustls::{ClientConfig, time_provider::DefaultTimeProvider};
use tempfile::TempDir;

use super::dialect::{Dialect, Gaung};
use crate::{
    deployment::Up,
    services::{Service, Services},
};

/// A running server, on ports of its own and over a temporary folder; ends with its handle.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub dialect: Arc<dyn Dialect>,
    /// By which listeners speak TLS with it; `None`: plaintext, as speakers always do.
    pub tls: Option<Arc<ClientConfig>>,
    /// Its processes.
    pub processes: Vec<Pid>,
    /// Ends what runs when dropped.
    pub running: Box<dyn Debug>,
}

impl Server {
    /// `gaung up`, with its log in memory or on disk.
    ///
    /// # Errors
    /// The groups cannot be made.
    pub fn up(durable: bool, groups: usize) -> anyhow::Result<Self> {
        let up = Up::start(&["--log", if durable { "disk" } else { "memory" }]);
        let (ids, _) = create(&up.server(), groups)?;
        Ok(Self {
            address: up.address("tcp"),
            dialect: Arc::new(Gaung::new(ids)),
            tls: None,
            processes: vec![up.process().pid()],
            running: Box::new(up),
        })
    }

    /// The same server, to whose listeners it speaks TLS.
    ///
    /// # Errors
    /// The provider lacks TLS 1.3.
    pub fn by_tls(self) -> anyhow::Result<Self> {
        let config = unverified_client_config(&[], Arc::new(DefaultTimeProvider))?;
        Ok(Self { tls: Some(Arc::new(config)), ..self })
    }

    /// Registry, relay and hub as programs of their own, log in memory; `hub`: more flags of the hub.
    ///
    /// # Errors
    /// The groups cannot be made.
    pub fn apart(hub: &[&str], groups: usize) -> anyhow::Result<Self> {
        let mut services = Services::start_with(&[(Service::Relay, &["--log", "memory"]), (Service::Hub, hub)]);
        let (ids, hub) = create(&services.server(), groups)?;
        let processes =
            [Service::Registry, Service::Relay, Service::Hub].map(|service| services.process(service).pid()).to_vec();
        Ok(Self { address: hub, dialect: Arc::new(Gaung::new(ids)), tls: None, processes, running: Box::new(services) })
    }
}

/// Makes the groups; gives their ids, and where the hub listens.
fn create(server: &str, count: usize) -> anyhow::Result<(Vec<GroupId>, SocketAddr)> {
    let data = TempDir::new()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(create_at(server, data.path(), count))
}

async fn create_at(server: &str, data: &Path, count: usize) -> anyhow::Result<(Vec<GroupId>, SocketAddr)> {
    let mut settings = Settings::new(data);
    settings.server = Some(server.to_owned());
    let client = Client::connect(settings).await?;
    let mut ids = Vec::new();
    for number in 0..count {
        let name = format!("g{number}").parse().expect("a valid name");
        ids.push(client.create_group(NewGroup::named(name)).await.context("making a group")?.id);
    }
    let services = client.status().await?.services;
    let hub = services.iter().find(|service| service.kind == ServiceKind::Hub).context("no hub is registered")?;
    Ok((ids, SocketAddr::new([127, 0, 0, 1].into(), hub.tcp_port)))
}
