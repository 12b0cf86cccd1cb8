//! What a service of a site is, as its certificate says it.

use std::fmt;

use gaung_proto::RelayId;
use rustls::pki_types::{DnsName, ServerName};

const DOMAIN: &str = "gaung.internal";

/// A service of a site. Its certificate names it by [`Role`] instead of by address, so addresses may change and a hub cannot pose
/// as the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The site's one registry.
    Registry,
    /// The relay with this id.
    Relay(RelayId),
    /// The hub with this id.
    Hub(RelayId),
}

impl Role {
    /// Returns the name to connect to in TLS, whatever the address: `registry.gaung.internal`, `<id>.relay.gaung.internal`,
    /// `<id>.hub.gaung.internal`.
    #[must_use]
    pub fn server_name(self) -> ServerName<'static> {
        let name = DnsName::try_from(self.to_string()).expect("short labels of letters and digits");
        ServerName::DnsName(name)
    }

    /// Reads a role from a name in a certificate; `None` if it is no role's name.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let label = name.strip_suffix(DOMAIN)?.strip_suffix('.')?;
        match label.split_once('.') {
            None => (label == "registry").then_some(Self::Registry),
            Some((id, "relay")) => id.parse().ok().map(Self::Relay),
            Some((id, "hub")) => id.parse().ok().map(Self::Hub),
            Some(_) => None,
        }
    }

    /// Whether `name` lies in the domain of roles, where no other name is issued.
    pub(crate) fn reserves(name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        name == DOMAIN || name.strip_suffix(DOMAIN).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry => write!(f, "registry.{DOMAIN}"),
            Self::Relay(id) => write!(f, "{id}.relay.{DOMAIN}"),
            Self::Hub(id) => write!(f, "{id}.hub.{DOMAIN}"),
        }
    }
}
