//! The TLS configurations of services and clients: TLS 1.3 alone, *ring* as provider, no resumption.
//!
//! Resumption and early data are off: a resumed session would carry a proof that the registry may have withdrawn since, and
//! early data can be replayed. A full handshake on a local network costs less than a millisecond.

mod any_server;
mod client_verifier;
mod server_verifier;

use std::sync::Arc;

use rustls::{
    ClientConfig, KeyLogFile, ServerConfig,
    client::{ResolvesClientCert, Resumption},
    pki_types::CertificateDer,
    server::NoServerSessionStorage,
    time_provider::TimeProvider,
    version::TLS13,
};

use self::{any_server::AnyServer, client_verifier::ClientVerifier, server_verifier::ServerVerifier};
pub use crate::expected_site::ExpectedSite;
use crate::{crypto::provider, leaf::CurrentLeaf};

/// Makes the configuration of a service's listener.
///
/// Clients may stay unproven; what they prove is read by [`PeerIdentity::of_chain`](crate::PeerIdentity::of_chain). A certificate
/// that proves nothing ends the handshake.
///
/// `root`: the site's root, under which other services prove their roles. `protocols`: ALPN names, the preferred first; empty if
/// peers do not negotiate. `clock`: Unix time, only to pick dates; see the crate's documentation.
///
/// # Errors
/// If the provider lacks TLS 1.3, which *ring* does not.
pub fn server_config(
    leaf: Arc<CurrentLeaf>,
    root: CertificateDer<'static>,
    protocols: &[&[u8]],
    clock: Arc<dyn TimeProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = provider();
    let verifier = ClientVerifier::new(root, provider.signature_verification_algorithms);
    let config = ServerConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(leaf);
    Ok(without_resumption(config, protocols))
}

/// Makes the configuration of a listener for browsers by HTTP/1.1.
///
/// They are not asked to prove anything: a browser that has certificates would ask the person to choose one.
///
/// # Errors
/// As [`server_config`].
pub fn browser_config(leaf: Arc<CurrentLeaf>, clock: Arc<dyn TimeProvider>) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_details(provider(), clock)
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(leaf);
    Ok(without_resumption(config, &[b"http/1.1"]))
}

fn without_resumption(mut config: ServerConfig, protocols: &[&[u8]]) -> ServerConfig {
    config.alpn_protocols = owned(protocols);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// Makes the configuration of a client, for connections to the names that [`Role::server_name`](crate::Role::server_name) gives.
///
/// `expected`: which sites it may meet. `proof`: the device ([`device_proof`](crate::device_proof)) or, for a service, its
/// [`CurrentLeaf`]; `None` to stay unproven. It is shown, encrypted, only after the server has proven its site and role.
///
/// The connections' secrets are appended to the file that the environment variable `SSLKEYLOGFILE` names, if it is set, for who
/// wants to read his own recordings.
///
/// # Errors
/// If the provider lacks TLS 1.3, which *ring* does not.
pub fn client_config(
    expected: ExpectedSite,
    proof: Option<Arc<dyn ResolvesClientCert>>,
    protocols: &[&[u8]],
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = ServerVerifier::new(expected, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match proof {
        Some(proof) => builder.with_client_cert_resolver(proof),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = owned(protocols);
    config.resumption = Resumption::disabled();
    config.key_log = Arc::new(KeyLogFile::new());
    Ok(config)
}

/// Makes the configuration of a client that accepts every server and proves nothing itself, for questions whose answer is taken from
/// anyone, such as a health check.
///
/// # Errors
/// As [`client_config`].
pub fn unverified_client_config(
    protocols: &[&[u8]],
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier = AnyServer(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_details(provider, clock)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = owned(protocols);
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// What all verifiers say to a TLS 1.2 signature, which their configurations never let happen.
fn tls12_refused() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is never negotiated".to_owned())
}

fn owned(protocols: &[&[u8]]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.to_vec()).collect()
}
