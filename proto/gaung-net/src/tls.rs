//! TLS connections to the services of a site, by the name of their role instead of their address.

use std::{error::Error, io, sync::Arc, time::Duration};

use gaung_site::{Role, TrustError};
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Time from the lookup of the host's name to the end of the TLS handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Connects to `host`, a name or address of which IPv6 may stand in brackets, and proves that the service there is `role` in a site
/// that `config` ([`gaung_site::tls::client_config`]) expects. Small writes are sent at once (`TCP_NODELAY`).
///
/// The server's check of this client's certificate ends after this returns: if it is refused, the first read fails.
///
/// # Errors
/// - `TimedOut` if the handshake was not done within 5 s.
/// - `InvalidData` if the server has not proven what it should ([`trust_error`] finds the reason), or speaks no TLS.
/// - `UnexpectedEof` or `ConnectionReset` if it closed the connection in the handshake, as a service without a certificate does.
/// - What the system says of the connection.
pub async fn connect(host: &str, port: u16, role: Role, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    connect_within(CONNECT_LIMIT, host, port, role, config).await
}

async fn connect_within(
    limit: Duration,
    host: &str,
    port: u16,
    role: Role,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let connecting = async {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(config).connect(role.server_name(), stream).await.map_err(explain)
    };
    let too_slow =
        |_| Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not complete the TLS handshake in time"));
    timeout(limit, connecting).await.unwrap_or_else(too_slow)
}

/// Finds why a server was not trusted in the error of a connection to it, or in one that this error caused; `None` if it failed for
/// another reason.
#[must_use]
pub fn trust_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TrustError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(trust) = error.downcast_ref().and_then(TrustError::of) {
            return Some(trust);
        }
        // What an `io::Error` wraps is not its source, but the source's owner.
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Says that a server speaks no TLS, of which rustls says that a message is corrupt.
fn explain(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            io::Error::new(error.kind(), "the server does not speak TLS on this port")
        }
        Some(_) | None => error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;

    use gaung_site::{CurrentLeaf, ExpectedSite, PeerIdentity, SiteAuthority, tls};
    use rustls::{ServerConfig, pki_types::UnixTime, time_provider::DefaultTimeProvider};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const RELAY: Role = Role::Relay(gaung_proto::RelayId([7; 16]));

    fn leaf(site: &SiteAuthority, role: Role) -> Arc<CurrentLeaf> {
        CurrentLeaf::new(site.leaf(role, &[], UnixTime::now()).unwrap())
    }

    fn server(site: &SiteAuthority, role: Role) -> Arc<ServerConfig> {
        let clock = Arc::new(DefaultTimeProvider);
        Arc::new(tls::server_config(leaf(site, role), site.root().clone(), &[b"h2"], clock).unwrap())
    }

    fn client(site: &SiteAuthority, proof: Option<Role>) -> Arc<ClientConfig> {
        let expected = ExpectedSite::OneOf(Arc::new([site.id()]));
        let proof = proof.map(|role| leaf(site, role) as Arc<_>);
        Arc::new(tls::client_config(expected, proof, &[b"h2"], Arc::new(DefaultTimeProvider)).unwrap())
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    /// Connects as `client` to a server that runs under `server`, which reads who it is and answers.
    async fn meet(
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
        role: Role,
    ) -> (io::Result<PeerIdentity>, io::Result<TlsStream<TcpStream>>) {
        let (listener, addr) = listen().await;
        let served = async {
            let mut stream = TlsAcceptor::from(server).accept(listener.accept().await?.0).await?;
            stream.write_all(b"halo").await?;
            stream.flush().await?;
            Ok(PeerIdentity::of_chain(stream.get_ref().1.peer_certificates()).unwrap())
        };
        tokio::join!(served, connect("127.0.0.1", addr.port(), role, client))
    }

    #[tokio::test]
    async fn both_sides_know_each_other_after_the_handshake() {
        let site = SiteAuthority::create().unwrap();
        let (seen, stream) = meet(server(&site, Role::Registry), client(&site, Some(RELAY)), Role::Registry).await;
        assert_eq!(seen.unwrap(), PeerIdentity::Service(RELAY));
        let mut stream = stream.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        let (socket, tls) = stream.get_ref();
        assert!(heard == *b"halo" && socket.nodelay().unwrap());
        assert_eq!(tls.alpn_protocol(), Some(&b"h2"[..]));
    }

    #[tokio::test]
    async fn another_site_is_refused_and_named() {
        let (known, other) = (SiteAuthority::create().unwrap(), SiteAuthority::create().unwrap());
        let (_, stream) = meet(server(&other, Role::Registry), client(&known, None), Role::Registry).await;
        let error = stream.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(trust_error(&error), Some(&TrustError::OtherSite { shown: other.id(), pinned: None }));
    }

    #[tokio::test]
    async fn another_role_of_the_site_is_refused() {
        let site = SiteAuthority::create().unwrap();
        let (_, stream) = meet(server(&site, RELAY), client(&site, None), Role::Registry).await;
        let wrapped = io::Error::other(stream.unwrap_err());
        assert_eq!(trust_error(&wrapped), Some(&TrustError::OtherRole(Role::Registry)), "{wrapped:?}");
    }

    #[tokio::test]
    async fn a_server_that_speaks_plaintext_is_said_to_speak_no_tls() {
        let (listener, addr) = listen().await;
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            stream
        };
        let client = client(&SiteAuthority::create().unwrap(), None);
        let (_held, stream) = tokio::join!(served, connect("localhost", addr.port(), Role::Registry, client));
        let error = stream.unwrap_err();
        assert!(error.kind() == io::ErrorKind::InvalidData && trust_error(&error).is_none());
        assert!(error.to_string().contains("does not speak TLS"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up() {
        let (listener, addr) = listen().await;
        let (limit, client) = (Duration::from_millis(50), client(&SiteAuthority::create().unwrap(), None));
        let error = connect_within(limit, "127.0.0.1", addr.port(), Role::Registry, client).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(listener);
    }
}
