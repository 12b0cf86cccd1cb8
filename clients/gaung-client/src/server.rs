//! The server in use: one that was named, one that discovery found, or this machine.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use gaung_net::{
    discovery::{Discovery, FoundService, discover},
    interface,
};
use gaung_proto::{RelayId, pb::registry::registry_service_client::RegistryServiceClient, ports};
use gaung_site::{Role, SiteId};
use tokio::{sync::Mutex, time::Instant};
use tonic::transport::Channel;
use tracing::{debug, info, warn};

use crate::{channel, endpoint::HostPort, error::ClientError, found_server::FoundServer, site_trust::SiteTrust};

/// The server in use. One that discovery found is discovered again when it stops to answer.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: RwLock<RegistryEndpoint>,
    /// The identity of a server that discovery found: its address may change.
    found: Option<RelayId>,
    iface: Option<String>,
    trust: Arc<SiteTrust>,
    /// When the last discovery began; locked during it, so that one runs at a time.
    searched: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone)]
struct RegistryEndpoint {
    address: HostPort,
    registry: RegistryServiceClient<Channel>,
}

/// Shortest time between two discoveries of a server that does not answer.
const SEARCH_INTERVAL: Duration = Duration::from_secs(3);

impl Server {
    /// Connects to the named server, else to the one that discovery finds, else to this machine.
    ///
    /// # Errors
    /// [`ClientError::SeveralServers`], [`ClientError::Usage`], and those of [`SiteTrust::connect`].
    pub(crate) async fn find(
        named: Option<&str>,
        iface: Option<&str>,
        trust: Arc<SiteTrust>,
    ) -> Result<Self, ClientError> {
        let (address, found) = match named {
            Some(text) => (HostPort::parse(text, ports::REGISTRY)?, None),
            None => {
                let mut found = search(iface).await?;
                trust.prefer(&mut found, |found| found.site).await?;
                match found.len() {
                    0 => (HostPort::new("127.0.0.1", ports::REGISTRY), None),
                    1 => {
                        let found = found.remove(0);
                        trust.expect_claimed(found.site);
                        (address_of(&found), Some(found.id))
                    }
                    _ => return Err(ClientError::SeveralServers(servers(&found))),
                }
            }
        };
        let channel = channel::connect(&trust, &address, Role::Registry).await?;
        Ok(Self { found, iface: iface.map(str::to_owned), ..Self::at(address, channel, trust) })
    }

    /// A server at a known address, over a channel to its registry.
    pub(crate) fn at(address: HostPort, channel: Channel, trust: Arc<SiteTrust>) -> Self {
        let endpoint = RegistryEndpoint { address, registry: RegistryServiceClient::new(channel) };
        Self { endpoint: RwLock::new(endpoint), found: None, iface: None, trust, searched: Mutex::default() }
    }

    /// A client for calls to its registry.
    pub(crate) fn registry(&self) -> RegistryServiceClient<Channel> {
        self.endpoint().registry
    }

    /// The host of its registry, at which services are that advertise no host.
    pub(crate) fn host(&self) -> String {
        self.endpoint().address.host
    }

    /// Discovers a server that discovery had found before. Returns true if it has another address, which is used from
    /// now on.
    pub(crate) async fn search_again(&self) -> bool {
        let Some(id) = self.found else { return false };
        let before = self.endpoint().address;
        let mut searched = self.searched.lock().await;
        if self.endpoint().address != before {
            // Another task found it while this one waited for the lock.
            return true;
        }
        if searched.is_some_and(|at| at.elapsed() < SEARCH_INTERVAL) {
            return false;
        }
        *searched = Some(Instant::now());
        let answers = search(self.iface.as_deref()).await.unwrap_or_default();
        let same: Vec<_> = answers.iter().filter(|found| found.id == id).collect();
        let [found] = same[..] else {
            if same.len() > 1 {
                warn!("several servers have the identity of the one in use: a data folder was copied; name one");
            }
            return false;
        };
        let address = address_of(found);
        let known = |address: &HostPort| found.addresses.iter().any(|a| a.to_string() == address.to_string());
        if address == before || known(&before) {
            return false;
        }
        let channel = match channel::connect(&self.trust, &address, Role::Registry).await {
            Ok(channel) => channel,
            Err(error) => {
                debug!(%address, %error, "what discovery found is not used");
                return false;
            }
        };
        info!(%before, now = %address, "the server has another address");
        let endpoint = RegistryEndpoint { address, registry: RegistryServiceClient::new(channel) };
        *self.endpoint.write().unwrap_or_else(PoisonError::into_inner) = endpoint;
        true
    }

    fn endpoint(&self) -> RegistryEndpoint {
        self.endpoint.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint().address.fmt(f)
    }
}

/// Whether no answer came, as from a server that has another address now.
pub(crate) fn is_silence(status: &tonic::Status) -> bool {
    matches!(status.code(), tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled)
}

/// Discovers servers. Finds none if the network cannot be used, for there may still be one on this machine.
async fn search(iface: Option<&str>) -> Result<Vec<FoundService>, ClientError> {
    let links = match interface::interfaces().map(|all| interface::choose(&all, iface)) {
        Ok(Ok(chosen)) => chosen.links,
        Ok(Err(error)) if iface.is_some() => return Err(ClientError::Usage(error.to_string())),
        Ok(Err(error)) => {
            debug!(%error, "no interface to ask through");
            Vec::new()
        }
        Err(error) => {
            debug!(%error, "interfaces unknown");
            Vec::new()
        }
    };
    match discover(&Discovery::registries(links)).await {
        Ok(found) => Ok(found),
        Err(error) => {
            debug!(%error, "discovery failed");
            Ok(Vec::new())
        }
    }
}

fn address_of(found: &FoundService) -> HostPort {
    let address = found.addresses.first().expect("an answer has an address");
    HostPort::new(address.ip().to_string(), address.port())
}

fn servers(found: &[FoundService]) -> Vec<FoundServer> {
    let is_copy = |one: &FoundService| found.iter().filter(|other| other.id == one.id).count() > 1;
    let server = |one: &FoundService| FoundServer {
        server: address_of(one).to_string(),
        name: one.name.clone(),
        site: one.site.map(SiteId::code),
        is_copy: is_copy(one),
    };
    found.iter().map(server).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use gaung_net::discovery::ServiceKind;

    use super::*;

    fn found(id: u8, last: u8) -> FoundService {
        FoundService {
            kind: ServiceKind::Registry,
            id: RelayId([id; 16]),
            instance: Some(u64::from(last)),
            site: None,
            name: String::new(),
            addresses: vec![SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 7400)],
        }
    }

    #[test]
    fn copies_of_one_data_folder_are_marked() {
        let list = servers(&[found(1, 1), found(2, 2), found(1, 3)]);
        assert_eq!(list.iter().map(|server| server.is_copy).collect::<Vec<_>>(), [true, false, true]);
        assert!(list[0].to_string().contains("copied"), "{}", list[0]);
        assert_eq!(list[1].to_string(), "10.0.0.2:7400");
    }
}
