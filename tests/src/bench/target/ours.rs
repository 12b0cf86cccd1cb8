//! Gaung, in one process or in three.

use std::{net::SocketAddr, path::Path};

use anyhow::Context as _;
use gaung_client::{Client, NewGroup, ServiceKind, Settings};
use gaung_proto::GroupId;
use tempfile::TempDir;

use super::{Running, Server};
use crate::{
    bench::dialect::{Dialect, Gaung},
    deployment::Up,
    services::{Service, Services},
};

pub(super) fn up(durable: bool, groups: usize) -> anyhow::Result<Server> {
    let up = Up::start(&["--log", if durable { "disk" } else { "memory" }]);
    let (ids, _) = create(&up.server(), groups)?;
    Ok(Server {
        address: up.address("tcp"),
        dialect: Dialect::Gaung(Gaung::new(ids)),
        processes: vec![up.process().pid()],
        _running: Running::Up { _up: up },
    })
}

pub(super) fn apart(hub: &[&str], groups: usize) -> anyhow::Result<Server> {
    let mut services = Services::start_with(&[(Service::Relay, &["--log", "memory"]), (Service::Hub, hub)]);
    let (ids, hub) = create(&services.server(), groups)?;
    let processes =
        [Service::Registry, Service::Relay, Service::Hub].map(|service| services.process(service).pid()).to_vec();
    Ok(Server {
        address: hub,
        dialect: Dialect::Gaung(Gaung::new(ids)),
        processes,
        _running: Running::Services { _services: services },
    })
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
