//! The cryptography that TLS uses.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

/// Returns *ring*'s algorithms.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
