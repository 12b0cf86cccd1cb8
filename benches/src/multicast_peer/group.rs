//! The one group of a measurement, as both roles find it.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use gaung_client::{Client, GroupInfo, LogStatus, NewGroup, ServiceKind, Settings};
use gaung_proto::{GroupName, ports};
use tokio::time::{sleep, timeout};

/// How long either role waits for the other.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The group, its log, and where its relay is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) group: GroupInfo,
    pub(super) log: LogStatus,
    /// NAK, STATUS and PROBE.
    pub(super) relay_udp: SocketAddrV4,
    /// The log is read from here.
    pub(super) relay_grpc: SocketAddrV4,
}

/// Makes the group at the registry on `server`, and waits until its relay serves it.
pub(super) async fn create(server: Ipv4Addr, data: &Path) -> anyhow::Result<Place> {
    let client = connect(server, data).await?;
    retried("making the group", async || client.create_group(NewGroup::named(name())).await).await?;
    find_with(client, server).await
}

/// Waits for the group to be served.
pub(super) async fn find(server: Ipv4Addr, data: &Path) -> anyhow::Result<Place> {
    find_with(connect(server, data).await?, server).await
}

/// Waits until `count` members have said how far they are.
pub(super) async fn members(place: &Place, count: usize) -> anyhow::Result<()> {
    let look = async || {
        let there = place.client.group_status(&name()).await?.members.len();
        anyhow::ensure!(there >= count, "{there} of {count} members are there");
        Ok(())
    };
    retried("waiting for members", look).await
}

fn name() -> GroupName {
    "measured".parse().expect("a valid name")
}

async fn connect(server: Ipv4Addr, data: &Path) -> anyhow::Result<Client> {
    let mut settings = Settings::new(data);
    settings.server = Some(format!("{server}:{}", ports::REGISTRY));
    // As of the systems beside it.
    settings.insecure = true;
    retried("connecting", async || Client::connect(settings.clone()).await).await
}

async fn find_with(client: Client, server: Ipv4Addr) -> anyhow::Result<Place> {
    let look = async || {
        let log = client.group_status(&name()).await?;
        let group = GroupInfo { log: log.log, ..client.group(&name()).await? };
        let services = client.status().await?.services;
        let relay = services.iter().find(|service| service.kind == ServiceKind::Relay).context("no relay")?;
        let relay_udp = SocketAddrV4::new(server, relay.udp_port);
        let relay_grpc = SocketAddrV4::new(server, relay.grpc_port);
        Ok::<_, anyhow::Error>(Place { client: client.clone(), group, log, relay_udp, relay_grpc })
    };
    retried("looking for the group", look).await
}

/// Tries until it succeeds: the other process may not be there yet.
async fn retried<T, E>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
{
    let mut last = None;
    let tries = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(error) => last = Some(error),
            }
            sleep(LOOK).await;
        }
    };
    match timeout(PATIENCE, tries).await {
        Ok(value) => Ok(value),
        Err(_) => Err(last.map_or_else(|| anyhow::anyhow!("no answer"), Into::into).context(what.to_owned())),
    }
}
