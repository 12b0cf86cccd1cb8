#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, time::Duration};

use gaung_proto::RelayId;
use gaung_site::{CurrentLeaf, PeerIdentity, SiteAuthority, tls::server_config};
use rustls::pki_types::UnixTime;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::*;
use crate::channel;

const RELAY: Role = Role::Relay(RelayId([7; 16]));
const YEAR: u64 = 365 * 24 * 60 * 60;

/// A service of a site, which takes one connection at a time.
pub(crate) struct TlsDouble {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsDouble {
    pub(crate) async fn start(site: &SiteAuthority, role: Role) -> Self {
        Self::start_at("127.0.0.1:0", site, role).await
    }

    async fn start_at(address: &str, site: &SiteAuthority, role: Role) -> Self {
        let leaf = CurrentLeaf::new(site.leaf(role, &[], UnixTime::now()).unwrap());
        let config = server_config(leaf, site.root().clone(), &[b"h2"], Arc::new(DefaultTimeProvider)).unwrap();
        Self { listener: TcpListener::bind(address).await.unwrap(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Puts a service of another site in place of this one.
    async fn replace(self, site: &SiteAuthority, role: Role) -> Self {
        let address = self.address().to_string();
        drop(self);
        Self::start_at(&address, site, role).await
    }

    pub(crate) fn address(&self) -> HostPort {
        HostPort::new("127.0.0.1", self.listener.local_addr().unwrap().port())
    }

    pub(crate) async fn accept_stream(&self) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(self.listener.accept().await?.0).await
    }

    /// Holds one handshake, and returns what the client has proven.
    async fn accept(&self) -> io::Result<PeerIdentity> {
        let stream = self.accept_stream().await?;
        Ok(PeerIdentity::of_chain(stream.get_ref().1.peer_certificates()).unwrap())
    }

    pub(crate) async fn meet(
        &self,
        trust: &SiteTrust,
        role: Role,
    ) -> (Result<ServiceStream, ClientError>, io::Result<PeerIdentity>) {
        let address = self.address();
        tokio::join!(trust.connect(&address, role, &[]), self.accept())
    }
}

fn site() -> SiteAuthority {
    SiteAuthority::create().unwrap()
}

fn device() -> Device {
    Device::ephemeral()
}

pub(crate) fn trust(data: &Path) -> SiteTrust {
    trust_of(data, None, SiteRecording::On)
}

fn trust_of(data: &Path, pinned: Option<SiteCode>, recording: SiteRecording) -> SiteTrust {
    SiteTrust::new(&Settings::new(data), pinned, &device(), recording).unwrap()
}

fn contact(trust: &SiteTrust) -> Option<Contact> {
    trust.met().map(|met| met.contact)
}

/// A data folder that knows `server`, where the registry of `site` listens.
async fn after_first_contact(server: &TlsDouble) -> TempDir {
    let data = tempfile::tempdir().unwrap();
    let (stream, _) = server.meet(&trust(data.path()), Role::Registry).await;
    stream.unwrap();
    data
}

#[tokio::test]
async fn a_site_is_new_once_and_recognised_at_another_address() {
    let (site, data) = (site(), tempfile::tempdir().unwrap());
    let server = TlsDouble::start(&site, Role::Registry).await;
    let device = device();
    let first = SiteTrust::new(&Settings::new(data.path()), None, &device, SiteRecording::On).unwrap();
    let (stream, seen) = server.meet(&first, Role::Registry).await;
    assert!(matches!(stream.unwrap(), ServiceStream::Tls(_)));
    let PeerIdentity::Device { id, public_key } = seen.unwrap() else { panic!("the device proves itself") };
    assert_eq!((id, public_key), (device.id(), device.public_key()));
    assert_eq!(first.met(), Some(MetSite { id: site.id(), contact: Contact::First, basis: TrustBasis::FirstContact }));

    let again = trust(data.path());
    assert!(first.met().unwrap().is_first_contact());
    server.meet(&again, Role::Registry).await.0.unwrap();
    assert_eq!(contact(&again), Some(Contact::Known));

    let moved = trust(data.path());
    let elsewhere = TlsDouble::start(&site, Role::Registry).await;
    elsewhere.meet(&moved, Role::Registry).await.0.unwrap();
    assert_eq!(contact(&moved), Some(Contact::Moved));
}

#[tokio::test]
async fn another_site_at_a_known_address_is_refused_and_told_nothing() {
    let (known, other) = (site(), site());
    let server = TlsDouble::start(&known, Role::Registry).await;
    let data = after_first_contact(&server).await;
    let before = fs::read(data.path().join("known-sites")).unwrap();
    let impostor = server.replace(&other, Role::Registry).await;
    let trust = trust(data.path());
    let (refused, seen) = impostor.meet(&trust, Role::Registry).await;
    let ClientError::OtherSite { address, shown, expected } = refused.unwrap_err() else { panic!("another error") };
    assert_eq!((address, shown), (impostor.address().to_string(), other.id().code()));
    assert_eq!(expected, [known.id().code()]);
    // The client's certificate follows its check of the server's, so a handshake that it ended there showed none.
    seen.unwrap_err();
    assert_eq!(trust.met(), None);
    assert_eq!(fs::read(data.path().join("known-sites")).unwrap(), before);
}

#[tokio::test]
async fn a_pin_decides_alone() {
    let (known, other) = (site(), site());
    let server = TlsDouble::start(&known, Role::Registry).await;
    let data = after_first_contact(&server).await;

    let wrong = trust_of(data.path(), Some(other.id().code()), SiteRecording::On);
    let (refused, seen) = server.meet(&wrong, Role::Registry).await;
    let Err(ClientError::OtherSite { shown, expected, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((shown, expected), (known.id().code(), vec![other.id().code()]));
    seen.unwrap_err();

    // A pin is also how a person trusts another site where one is known.
    let server = server.replace(&other, Role::Registry).await;
    let right = trust_of(data.path(), Some(other.id().code()), SiteRecording::On);
    server.meet(&right, Role::Registry).await.0.unwrap();
    assert_eq!(contact(&right), Some(Contact::First));
    assert!(!right.met().unwrap().is_first_contact(), "its code was given");
    let unpinned = trust(data.path());
    server.meet(&unpinned, Role::Registry).await.0.unwrap();
    assert_eq!(contact(&unpinned), Some(Contact::Known));
}

#[tokio::test]
async fn plaintext_is_refused_for_known_and_pinned_sites_alone() {
    let site = site();
    let server = TlsDouble::start(&site, Role::Registry).await;
    let data = after_first_contact(&server).await;
    let insecure = Settings { insecure: true, ..Settings::new(data.path()) };
    let pinned = SiteTrust::new(&insecure, Some(site.id().code()), &device(), SiteRecording::On);
    assert!(matches!(pinned, Err(ClientError::Usage(_))));

    let trust = SiteTrust::new(&insecure, None, &device(), SiteRecording::On).unwrap();
    let refused = trust.connect(&server.address(), Role::Registry, &[]).await.unwrap_err();
    let ClientError::Usage(why) = refused else { panic!("{refused}") };
    assert!(why.contains(&site.id().code().to_string()), "{why}");

    let unknown = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = HostPort::new("127.0.0.1", unknown.local_addr().unwrap().port());
    let stream = trust.connect(&address, Role::Registry, &[]).await.unwrap();
    assert!(matches!(stream, ServiceStream::Plain(_)));
    assert_eq!(trust.met(), None);
}

#[tokio::test]
async fn a_clock_that_is_twenty_years_off_changes_nothing() {
    #[derive(Debug)]
    struct Clock(u64);
    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
        }
    }
    let server = TlsDouble::start(&site(), Role::Registry).await;
    let now = UnixTime::now().as_secs();
    for clock in [now - 20 * YEAR, now + 20 * YEAR] {
        let data = tempfile::tempdir().unwrap();
        for expected in [Contact::First, Contact::Known] {
            let trust = SiteTrust { clock: Arc::new(Clock(clock)), ..trust(data.path()) };
            server.meet(&trust, Role::Registry).await.0.unwrap();
            assert_eq!(contact(&trust), Some(expected));
        }
    }
}

#[tokio::test]
async fn who_only_looks_honours_known_sites_and_writes_nothing() {
    let (known, other, data) = (site(), site(), tempfile::tempdir().unwrap());
    let folder = data.path().join("not-there");
    let server = TlsDouble::start(&known, Role::Registry).await;
    let look = trust_of(&folder, None, SiteRecording::Off);
    server.meet(&look, Role::Registry).await.0.unwrap();
    assert_eq!(contact(&look), Some(Contact::First));
    assert!(!folder.exists());

    let data = after_first_contact(&server).await;
    let impostor = server.replace(&other, Role::Registry).await;
    let look = trust_of(data.path(), None, SiteRecording::Off);
    let refused = impostor.meet(&look, Role::Registry).await.0;
    assert!(matches!(refused, Err(ClientError::OtherSite { .. })), "{refused:?}");
}

#[tokio::test]
async fn relays_must_be_of_the_registrys_site_and_have_their_role() {
    let (site, other, data) = (site(), site(), tempfile::tempdir().unwrap());
    let registry = TlsDouble::start(&site, Role::Registry).await;
    let trust = trust(data.path());
    registry.meet(&trust, Role::Registry).await.0.unwrap();

    let relay = TlsDouble::start(&site, RELAY).await;
    relay.meet(&trust, RELAY).await.0.unwrap();
    let another = Role::Relay(RelayId([8; 16]));
    for (site, role) in [(&other, RELAY), (&site, another), (&site, Role::Registry)] {
        let stranger = TlsDouble::start(site, role).await;
        let (refused, seen) = stranger.meet(&trust, RELAY).await;
        assert!(matches!(refused, Err(ClientError::Unreachable(_))), "{role}: {refused:?}");
        seen.unwrap_err();
    }

    let registry = registry.replace(&other, Role::Registry).await;
    let refused = registry.meet(&trust, Role::Registry).await.0;
    let Err(ClientError::OtherSite { expected, .. }) = refused else { panic!("the site in use stays: {refused:?}") };
    assert_eq!(expected, [site.id().code()]);
}

#[tokio::test]
async fn relays_are_spoken_to_as_the_registry_was() {
    let data = tempfile::tempdir().unwrap();
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = HostPort::new("127.0.0.1", relay.local_addr().unwrap().port());
    let insecure = Settings { insecure: true, ..Settings::new(data.path()) };
    let insecure = SiteTrust::new(&insecure, None, &device(), SiteRecording::On).unwrap();
    assert!(matches!(insecure.connect(&address, RELAY, &[]).await.unwrap(), ServiceStream::Plain(_)));
    let refused = trust(data.path()).connect(&address, RELAY, &[]).await;
    assert!(matches!(refused, Err(ClientError::Unreachable(_))), "no site to hold it against: {refused:?}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_said_to_be_older() {
    let site = site();
    let server = TlsDouble::start(&site, Role::Registry).await;
    let known = after_first_contact(&server).await;
    let unknown = tempfile::tempdir().unwrap();
    for answer in [&b""[..], b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80"] {
        let serve = async {
            let (mut stream, _) = server.listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        let (trust, address) = (trust(unknown.path()), server.address());
        let (refused, ()) = tokio::join!(trust.connect(&address, Role::Registry, &[]), serve);
        let Err(ClientError::NoTls(at)) = refused else { panic!("{refused:?}") };
        assert_eq!(at, address.to_string());
    }
    let serve = async { drop(server.listener.accept().await.unwrap()) };
    let (trust, address) = (trust(known.path()), server.address());
    let (refused, ()) = tokio::join!(trust.connect(&address, Role::Registry, &[]), serve);
    let Err(ClientError::Unreachable(why)) = refused else { panic!("no way around it: {refused:?}") };
    assert!(why.contains(&site.id().code().to_string()), "{why}");
}

#[tokio::test]
async fn what_discovery_named_must_be_met() {
    let (known, other, unknown) = (site(), site(), tempfile::tempdir().unwrap());
    let server = TlsDouble::start(&known, Role::Registry).await;
    let data = after_first_contact(&server).await;
    let mut servers = vec![None, Some(other.id()), Some(known.id())];
    trust(data.path()).prefer(&mut servers, |site| *site).await.unwrap();
    assert_eq!(servers, [Some(known.id())]);
    let mut servers = vec![None, Some(other.id())];
    trust(data.path()).prefer(&mut servers, |site| *site).await.unwrap();
    assert_eq!(servers.len(), 2, "none of them is known");

    let insecure = Settings { insecure: true, ..Settings::new(data.path()) };
    let insecure = SiteTrust::new(&insecure, None, &device(), SiteRecording::On).unwrap();
    insecure.expect_claimed(Some(known.id()));
    let elsewhere = HostPort::new("127.0.0.1", 1);
    let refused = insecure.connect(&elsewhere, Role::Registry, &[]).await;
    assert!(matches!(refused, Err(ClientError::Usage(_))), "a known site is known at any address: {refused:?}");

    let deceived = trust(unknown.path());
    deceived.expect_claimed(Some(known.id()));
    let impostor = TlsDouble::start(&other, Role::Registry).await;
    let Err(ClientError::OtherSite { expected, .. }) = impostor.meet(&deceived, Role::Registry).await.0 else {
        panic!()
    };
    assert_eq!(expected, [known.id().code()]);
}

#[tokio::test]
async fn a_damaged_file_of_known_sites_stops_the_client() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("known-sites"), "hello").unwrap();
    let refused = trust(data.path()).connect(&HostPort::new("127.0.0.1", 1), Role::Registry, &[]).await;
    assert!(matches!(refused, Err(ClientError::Failed(_))), "{refused:?}");
}

#[tokio::test]
async fn a_channel_reports_the_other_site() {
    let (known, other) = (site(), site());
    let server = TlsDouble::start(&known, Role::Registry).await;
    let data = after_first_contact(&server).await;
    let impostor = server.replace(&other, Role::Registry).await;
    let (trust, address) = (Arc::new(trust(data.path())), impostor.address());
    let (refused, _) = tokio::join!(channel::connect(&trust, &address, Role::Registry), impostor.accept());
    assert!(matches!(refused, Err(ClientError::OtherSite { .. })), "{refused:?}");
}
