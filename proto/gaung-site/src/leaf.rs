//! The certificate that a service uses, replaced while its listeners stay open.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{chain::SiteChain, key::ServiceKey};

/// A service's chain with the key that it is for.
#[derive(Debug, Clone)]
pub struct Leaf(Arc<CertifiedKey>);

impl Leaf {
    /// Puts a chain and its key together.
    ///
    /// # Errors
    /// If the chain's leaf is for another key.
    pub fn new(chain: &SiteChain, key: &ServiceKey) -> Result<Self, rustls::Error> {
        let provider = ring::default_provider();
        let certified = CertifiedKey::from_der(chain.certificates().to_vec(), key.to_rustls(), &provider)?;
        Ok(Self(Arc::new(certified)))
    }
}

/// The leaf in use, shown to those who connect and to services that are connected to. Connections that are open keep theirs.
#[derive(Debug)]
pub struct CurrentLeaf(RwLock<Leaf>);

impl CurrentLeaf {
    /// Begins with `leaf`.
    #[must_use]
    pub fn new(leaf: Leaf) -> Arc<Self> {
        Arc::new(Self(RwLock::new(leaf)))
    }

    /// Uses `leaf` for handshakes from now on.
    pub fn replace(&self, leaf: Leaf) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = leaf;
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0)
    }
}

impl ResolvesServerCert for CurrentLeaf {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for CurrentLeaf {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
