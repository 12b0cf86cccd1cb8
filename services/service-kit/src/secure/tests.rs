#![allow(clippy::unwrap_used)]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_site::{ExpectedSite, PeerIdentity, Role, SiteAuthority, tls};
use rustls::{ClientConfig, pki_types::UnixTime, time_provider::DefaultTimeProvider};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

use super::{AcceptError, Accepted, PlaintextPolicy, SecurePort, SecureStream, ServiceCredentials};

fn credentials(site: &SiteAuthority, role: Role) -> ServiceCredentials {
    ServiceCredentials::issue(site, role, &[], UnixTime::now()).unwrap()
}

async fn pair(port: &SecurePort, client: impl AsyncFnOnce(TcpStream)) -> Result<Accepted, AcceptError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = async { client(TcpStream::connect(address).await.unwrap()).await };
    let server = async {
        let (stream, peer) = listener.accept().await.unwrap();
        port.accept(stream, peer).await
    };
    tokio::join!(server, client).0
}

async fn say_by_tls(stream: TcpStream, config: Arc<ClientConfig>, role: Role) {
    let mut tls = TlsConnector::from(config).connect(role.server_name(), stream).await.unwrap();
    tls.write_all(b"hello").await.unwrap();
}

#[tokio::test]
async fn the_first_byte_says_whether_a_connection_speaks_tls() {
    let site = SiteAuthority::create().unwrap();
    let registry = credentials(&site, Role::Registry);
    let port = SecurePort::new(Some(&registry), PlaintextPolicy::Loopback, &[]);

    let accepted = pair(&port, async |mut stream| stream.write_all(b"hello").await.unwrap()).await.unwrap();
    assert!(matches!(accepted.stream, SecureStream::Plain(_)));
    assert_eq!(accepted.peer, PeerIdentity::Unproven);

    let relay = credentials(&site, Role::Relay("0a".repeat(16).parse().unwrap()));
    let config = relay.client_config(&[]);
    let mut accepted = pair(&port, async |stream| say_by_tls(stream, config, Role::Registry).await).await.unwrap();
    assert_eq!(accepted.peer, relay.identity());
    let mut heard = [0; 5];
    accepted.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");

    let stranger = tls::client_config(ExpectedSite::Any, None, &[], Arc::new(DefaultTimeProvider)).unwrap();
    let accepted = pair(&port, async |stream| say_by_tls(stream, Arc::new(stranger), Role::Registry).await).await;
    assert_eq!(accepted.unwrap().peer, PeerIdentity::Unproven);
}

#[tokio::test]
async fn plaintext_is_refused_where_the_policy_forbids_it() {
    let port = SecurePort::new(None, PlaintextPolicy::Never, &[]);
    let refused = pair(&port, async |mut stream| stream.write_all(b"hello").await.unwrap()).await;
    assert!(matches!(refused, Err(AcceptError::Plaintext(_))));
    let refused = pair(&port, async |mut stream| stream.write_all(&[0x16, 3, 1]).await.unwrap()).await;
    assert!(matches!(refused, Err(AcceptError::NoCertificate)));
}

#[tokio::test]
async fn a_connection_that_does_not_begin_is_given_up() {
    let site = SiteAuthority::create().unwrap();
    let port = SecurePort::new(Some(&credentials(&site, Role::Registry)), PlaintextPolicy::Any, &[]);
    let limit = Duration::from_millis(20);
    let port = port.with_handshake_limit(limit);
    for start in [&b""[..], &[0x16, 3, 1, 0]] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(start).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let begun = Instant::now();
        assert!(matches!(port.accept(stream, peer).await, Err(AcceptError::TooSlow)));
        assert!(begun.elapsed() >= limit);
    }
}

#[test]
fn loopback_means_this_machine() {
    let ip = |text: &str| text.parse::<SocketAddr>().unwrap().ip();
    let (here, there) = (ip("10.0.0.1:1"), ip("10.0.0.2:1"));
    assert!(PlaintextPolicy::Loopback.allows(ip("[::1]:1"), None));
    assert!(PlaintextPolicy::Loopback.allows(here, Some(here)));
    assert!(!PlaintextPolicy::Loopback.allows(there, Some(here)));
    assert!(PlaintextPolicy::Any.allows(there, Some(here)));
    assert!(!PlaintextPolicy::Never.allows(here, Some(here)));
}
