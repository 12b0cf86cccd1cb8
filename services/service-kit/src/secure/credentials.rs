//! The certificates of a service.

use std::{fmt, sync::Arc};

use gaung_site::{
    AuthorityError, CurrentLeaf, ExpectedSite, Leaf, LocalName, PeerIdentity, Role, SiteAuthority, SiteChain, SiteId,
    TrustError, tls,
};
use rustls::{
    ClientConfig, ServerConfig,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, UnixTime},
    time_provider::DefaultTimeProvider,
};

/// What a service of a site proves to those who connect to it and to the services that it connects to. Clones share the leaf,
/// so a renewal reaches every listener.
#[derive(Clone)]
pub struct ServiceCredentials {
    role: Role,
    site: SiteId,
    root: CertificateDer<'static>,
    leaf: Arc<CurrentLeaf>,
}

impl ServiceCredentials {
    /// Issues credentials to a service in this process, which the registry's authority is in too.
    ///
    /// # Errors
    /// [`AuthorityError`] if the system's random generator fails.
    pub fn issue(site: &SiteAuthority, role: Role, names: &[LocalName], now: UnixTime) -> Result<Self, AuthorityError> {
        let leaf = CurrentLeaf::new(site.leaf(role, names, now)?);
        Ok(Self { role, site: site.id(), root: site.root().clone(), leaf })
    }

    /// Takes the chain that proves `role`, and the leaf made of it.
    ///
    /// # Errors
    /// [`TrustError`] if the chain has no root.
    pub fn new(role: Role, chain: &SiteChain, leaf: Leaf) -> Result<Self, TrustError> {
        let root = chain.certificates().last().ok_or(TrustError::Shape)?.clone();
        Ok(Self { role, site: chain.site()?, root, leaf: CurrentLeaf::new(leaf) })
    }

    /// Returns what the service is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Returns the site that it belongs to.
    #[must_use]
    pub const fn site(&self) -> SiteId {
        self.site
    }

    /// Returns the site's root in DER.
    #[must_use]
    pub const fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Uses a renewed leaf for handshakes from now on.
    pub fn renew(&self, leaf: Leaf) {
        self.leaf.replace(leaf);
    }

    /// Makes the TLS configuration of a listener. `protocols`: ALPN names, the preferred first.
    ///
    /// # Panics
    /// Never: *ring* has TLS 1.3.
    #[must_use]
    pub fn server_config(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let clock = Arc::new(DefaultTimeProvider);
        let config = tls::server_config(Arc::clone(&self.leaf), self.root.clone(), protocols, clock);
        Arc::new(config.expect("ring has TLS 1.3"))
    }

    /// Makes the TLS configuration of a listener for browsers, which prove nothing.
    ///
    /// # Panics
    /// Never: *ring* has TLS 1.3.
    #[must_use]
    pub fn browser_config(&self) -> Arc<ServerConfig> {
        let config = tls::browser_config(Arc::clone(&self.leaf), Arc::new(DefaultTimeProvider));
        Arc::new(config.expect("ring has TLS 1.3"))
    }

    /// Makes the TLS configuration for connections to services of the same site, to which this one proves its role.
    ///
    /// # Panics
    /// Never: *ring* has TLS 1.3.
    #[must_use]
    pub fn client_config(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let proof: Arc<dyn ResolvesClientCert> = self.leaf.clone();
        let expected = ExpectedSite::OneOf(Arc::new([self.site]));
        let config = tls::client_config(expected, Some(proof), protocols, Arc::new(DefaultTimeProvider));
        Arc::new(config.expect("ring has TLS 1.3"))
    }

    /// Returns the identity that a peer sees.
    #[must_use]
    pub const fn identity(&self) -> PeerIdentity {
        PeerIdentity::Service(self.role)
    }
}

impl fmt::Debug for ServiceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceCredentials({} of {})", self.role, self.site)
    }
}
