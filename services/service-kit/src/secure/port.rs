//! The start of a connection on a port that speaks TLS and plaintext: its first byte says which.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use gaung_site::{PeerIdentity, TrustError};
use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{PlaintextPolicy, SecureStream, ServiceCredentials};

/// First byte of a TLS connection: the content type of a handshake record (RFC 8446, section 5.1). No protocol of Gaung's begins
/// with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// Time from a connection's acceptance to the end of its TLS handshake, or to its first byte without TLS.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// What the connections of a port must be. Clones share the configuration.
#[derive(Debug, Clone)]
pub struct SecurePort {
    /// `None`: the service has no certificate and cannot speak TLS.
    tls: Option<Arc<ServerConfig>>,
    plaintext: PlaintextPolicy,
    handshake_limit: Duration,
}

/// A connection that may be used.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, after its handshake.
    pub stream: SecureStream,
    /// Who the peer has proven to be; [`PeerIdentity::Unproven`] without TLS.
    pub peer: PeerIdentity,
}

/// Who a call over TLS came from, in the extensions of its request. Calls by plaintext and within the process have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsPeer(pub PeerIdentity);

/// Why a connection may not be used.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It speaks plaintext, which the policy forbids. The stream is returned for an answer that says so in its protocol.
    #[error("plaintext is not allowed from this address")]
    Plaintext(TcpStream),
    /// It speaks TLS, and the service has no certificate.
    #[error("this service has no certificate yet")]
    NoCertificate,
    /// Nothing, or not all of the handshake, came in time.
    #[error("the connection did not begin in time")]
    TooSlow,
    /// The peer's certificate proves nothing.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The connection ended, or the handshake failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl SecurePort {
    /// Makes a port of a service. `credentials`: `None` for one that is of no site and takes plaintext only. `protocols`: ALPN
    /// names, the preferred first; empty if peers do not negotiate.
    #[must_use]
    pub fn new(credentials: Option<&ServiceCredentials>, plaintext: PlaintextPolicy, protocols: &[&[u8]]) -> Self {
        let tls = credentials.map(|credentials| credentials.server_config(protocols));
        Self { tls, plaintext, handshake_limit: HANDSHAKE_LIMIT }
    }

    /// Makes a port for browsers, which are not asked for a certificate. `credentials`: as of [`Self::new`].
    #[must_use]
    pub fn for_browsers(credentials: Option<&ServiceCredentials>, plaintext: PlaintextPolicy) -> Self {
        let tls = credentials.map(ServiceCredentials::browser_config);
        Self { tls, plaintext, handshake_limit: HANDSHAKE_LIMIT }
    }

    /// Makes a port without TLS that takes plaintext from everywhere.
    #[must_use]
    pub const fn plaintext() -> Self {
        Self { tls: None, plaintext: PlaintextPolicy::Any, handshake_limit: HANDSHAKE_LIMIT }
    }

    #[cfg(test)]
    pub(super) fn with_handshake_limit(self, handshake_limit: Duration) -> Self {
        Self { handshake_limit, ..self }
    }

    /// Waits for the first byte of a connection and, if it speaks TLS, for the handshake.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Result<Accepted, AcceptError> {
        timeout(self.handshake_limit, self.begin(stream, peer)).await.unwrap_or(Err(AcceptError::TooSlow))
    }

    async fn begin(&self, stream: TcpStream, peer: SocketAddr) -> Result<Accepted, AcceptError> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if first[0] != TLS_HANDSHAKE {
            let local = stream.local_addr().ok().map(|local| local.ip());
            if !self.plaintext.allows(peer.ip(), local) {
                return Err(AcceptError::Plaintext(stream));
            }
            return Ok(Accepted { stream: SecureStream::Plain(stream), peer: PeerIdentity::Unproven });
        }
        let Some(tls) = &self.tls else { return Err(AcceptError::NoCertificate) };
        let stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
        let peer = PeerIdentity::of_chain(stream.get_ref().1.peer_certificates())?;
        Ok(Accepted { stream: SecureStream::Tls(Box::new(stream)), peer })
    }
}
