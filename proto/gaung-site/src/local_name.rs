//! Names that the site may certify beside roles: those under which browsers open the page.

use std::{fmt, net::Ipv4Addr};

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints, SanType};
use rustls::pki_types::DnsName;

use crate::role::Role;

/// Domains that the internet's name service never answers for (RFC 6762, RFC 8375, RFC 6761, and ICANN's reservation of
/// `.internal`), with `.lan` of many routers.
const DOMAINS: [&str; 5] = ["local", "lan", "home.arpa", "internal", "localhost"];
/// Private (RFC 1918), link-local and loopback addresses, with the length of their prefix.
const SUBNETS: [([u8; 4], u8); 5] =
    [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16), ([169, 254, 0, 0], 16), ([127, 0, 0, 0], 8)];

/// An address or host name inside the site's name constraints. A certificate with any other name would be refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalName {
    /// A private IPv4 address.
    Address(Ipv4Addr),
    /// A name of the local network, outside the domain of roles.
    Host(DnsName<'static>),
}

impl LocalName {
    /// Takes a private, link-local or loopback address; `None` for any other.
    #[must_use]
    pub fn address(address: Ipv4Addr) -> Option<Self> {
        let is_local = address.is_private() || address.is_link_local() || address.is_loopback();
        is_local.then_some(Self::Address(address))
    }

    /// Takes a host's name that ends in a local domain; `None` for any other and for names of roles.
    #[must_use]
    pub fn host(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let below =
            |domain: &str| lower.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if Role::reserves(&lower) || !DOMAINS.into_iter().any(below) {
            return None;
        }
        DnsName::try_from(lower).ok().map(Self::Host)
    }

    pub(crate) fn subject(&self) -> Result<SanType, rcgen::Error> {
        Ok(match self {
            Self::Address(address) => SanType::IpAddress((*address).into()),
            Self::Host(name) => SanType::DnsName(name.as_ref().try_into()?),
        })
    }
}

impl fmt::Display for LocalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host(name) => f.write_str(name.as_ref()),
        }
    }
}

/// Returns what confines the issuer; critical in the certificate, so a verifier that does not know it refuses.
pub(crate) fn constraints() -> NameConstraints {
    let domains = DOMAINS.map(|domain| GeneralSubtree::DnsName(domain.to_owned()));
    let subnets =
        SUBNETS.map(|(address, prefix)| GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(address, prefix)));
    NameConstraints { permitted_subtrees: domains.into_iter().chain(subnets).collect(), excluded_subtrees: Vec::new() }
}
