//! A client and a server whose bytes are carried by hand.

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use gaung_site::{
    CurrentLeaf, ExpectedSite, Leaf, Role, ServiceKey, SiteAuthority, SiteChain, TrustError,
    tls::{client_config, server_config},
};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection,
    client::ResolvesClientCert,
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
};

pub(crate) const YEAR: u64 = 365 * 24 * 60 * 60;
/// A time in 2026.
pub(crate) const NOW: u64 = 1_796_000_000;

pub(crate) const fn at(unix: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(unix))
}

#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at(self.0))
    }
}

pub(crate) struct Service {
    pub(crate) site: SiteAuthority,
    pub(crate) leaf: Arc<CurrentLeaf>,
}

impl Service {
    pub(crate) fn new(role: Role) -> Self {
        Self::of(SiteAuthority::create().unwrap(), role)
    }

    pub(crate) fn of(site: SiteAuthority, role: Role) -> Self {
        let leaf = CurrentLeaf::new(site.leaf(role, &[], at(NOW)).unwrap());
        Self { site, leaf }
    }

    pub(crate) fn config(&self, now: u64) -> Arc<ServerConfig> {
        let (leaf, root) = (Arc::clone(&self.leaf), self.site.root().clone());
        Arc::new(server_config(leaf, root, &[b"h2"], Arc::new(Clock(now))).unwrap())
    }

    pub(crate) fn config_with(&self, chain: &SiteChain, key: &ServiceKey, now: u64) -> Arc<ServerConfig> {
        self.leaf.replace(Leaf::new(chain, key).unwrap());
        self.config(now)
    }
}

pub(crate) fn client(expected: ExpectedSite, proof: Option<Arc<dyn ResolvesClientCert>>, now: u64) -> ClientConfig {
    client_config(expected, proof, &[b"h2"], Arc::new(Clock(now))).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Who ended the handshake first, and why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) side: Side,
    pub(crate) error: rustls::Error,
    pub(crate) server: ServerConnection,
}

impl Failure {
    pub(crate) fn reason(&self) -> Option<TrustError> {
        TrustError::of(&self.error).cloned()
    }
}

type Pair = (ClientConnection, ServerConnection);

pub(crate) fn handshake(
    config: &Arc<ClientConfig>,
    role: Role,
    server: &Arc<ServerConfig>,
) -> Result<Pair, Box<Failure>> {
    handshake_with(config, role.server_name(), server)
}

pub(crate) fn handshake_with(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    server: &Arc<ServerConfig>,
) -> Result<Pair, Box<Failure>> {
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    match carry(&mut client, &mut server) {
        Ok(()) => Ok((client, server)),
        Err((side, error)) => Err(Box::new(Failure { side, error, server })),
    }
}

/// Carries bytes both ways until neither side has any.
fn carry(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), (Side, rustls::Error)> {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().map_err(|error| (Side::Server, error))?;
        }
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets().map_err(|error| (Side::Client, error))?;
        }
    }
    Ok(())
}

pub(crate) fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) {
    client.writer().write_all(b"request").unwrap();
    server.writer().write_all(b"answer!").unwrap();
    carry(client, server).unwrap();
    let mut heard = [0; 7];
    server.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"request");
    client.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"answer!");
}

/// A ClientHello that offers TLS 1.2 alone (RFC 5246, section 7.4.1.2).
pub(crate) fn tls_1_2_client_hello() -> Vec<u8> {
    let suites = [0xc0, 0x2b, 0xc0, 0x2f];
    // Groups P-256; signatures by ECDSA with SHA-256; uncompressed points; extended master secret.
    let extensions: &[u8] = &[0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3, 0, 11, 0, 2, 1, 0, 0, 23, 0, 0];
    let extensions_length = u16::try_from(extensions.len()).unwrap().to_be_bytes();
    let body = [&[3, 3], &[9; 32][..], &[0], &[0, 4], &suites, &[1, 0], &extensions_length, extensions].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length], &body[..]].concat()
}
