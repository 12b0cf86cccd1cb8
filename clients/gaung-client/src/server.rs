//! Which server: the one named, one discovered, or this machine.

use std::fmt;

use gaung_net::{
    discovery::{Discovery, Found, discover},
    interface,
};
use gaung_proto::ports;
use tracing::debug;

use crate::{endpoint::HostPort, error::ClientError};

/// A server that answered discovery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FoundServer {
    /// Its registry as `HOST:PORT`, good for [`crate::Settings::server`].
    pub server: String,
    /// What it calls itself.
    pub name: String,
}

impl fmt::Display for FoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() { f.write_str(&self.server) } else { write!(f, "{} ({})", self.server, self.name) }
    }
}

/// The one named, else the one discovered, else this machine.
pub(crate) async fn choose(named: Option<&str>, iface: Option<&str>) -> Result<HostPort, ClientError> {
    if let Some(text) = named {
        return HostPort::parse(text, ports::REGISTRY);
    }
    let mut servers = search(iface).await?;
    match servers.len() {
        0 => Ok(HostPort::new("127.0.0.1", ports::REGISTRY)),
        1 => HostPort::parse(&servers.remove(0).server, ports::REGISTRY),
        _ => Err(ClientError::SeveralServers(servers)),
    }
}

/// A network that cannot be asked has no servers: this machine may still be one.
async fn search(iface: Option<&str>) -> Result<Vec<FoundServer>, ClientError> {
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
        Ok(found) => Ok(found.into_iter().map(of_found).collect()),
        Err(error) => {
            debug!(%error, "discovery failed");
            Ok(Vec::new())
        }
    }
}

fn of_found(found: Found) -> FoundServer {
    let address = found.addresses.first().expect("an answer has an address");
    FoundServer { server: address.to_string(), name: found.name }
}
