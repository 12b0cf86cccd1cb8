//! Real TLS handshakes over memory between the configurations of services and clients, with wrong sites, roles, clocks and proofs.
#![allow(missing_docs, clippy::unwrap_used)]

mod pipe;

use std::{fs, sync::Arc};

use ed25519_dalek::SigningKey;
use gaung_proto::{DeviceId, RelayId};
use gaung_site::{
    CurrentLeaf, Endpoint, ExpectedSite, KnownSites, LocalName, PeerIdentity, Role, ServiceKey, SiteAuthority,
    SiteChain, TrustError, device_proof,
};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustls::{
    CertificateError, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{PrivatePkcs8KeyDer, ServerName},
    sign::{CertifiedKey, SingleCertAndKey},
};

use self::pipe::{Failure, NOW, Service, Side, YEAR, at, client, handshake};

const RELAY: Role = Role::Relay(RelayId([1; 16]));
const HUB: Role = Role::Hub(RelayId([1; 16]));

fn device() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// What a browser that has the root installed says of a chain.
fn in_a_browser(root: &SiteAuthority, chain: &SiteChain, name: &str, now: u64) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root.root().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let [leaf, rest @ ..] = chain.certificates() else { panic!("a chain has a leaf") };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(leaf, rest, &name, &[], at(now)).map(|_| ())
}

/// Signs a leaf under any names by the key in a site's folder, as one who has stolen it would.
fn by_the_stolen_issuer(names: &[&str]) -> (SiteAuthority, SiteChain, ServiceKey) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("site");
    let site = SiteAuthority::load_or_create(&folder).unwrap();
    let stolen = KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(fs::read(folder.join("issuer.key")).unwrap()),
        &rcgen::PKCS_ECDSA_P256_SHA256,
    );
    let mut issuer = CertificateParams::default();
    issuer.distinguished_name = rcgen::DistinguishedName::new();
    issuer.distinguished_name.push(DnType::CommonName, format!("Gaung {} issuer", site.id().code()));
    let key = ServiceKey::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
    let leaf = leaf.signed_by(&key.public(), &Issuer::new(issuer, stolen.unwrap())).unwrap();
    let chain = [leaf.der().to_vec(), fs::read(folder.join("issuer.der")).unwrap(), site.root().to_vec()];
    (site, SiteChain::from_der(&chain).unwrap(), key)
}

#[test]
fn the_pinned_site_is_spoken_to_by_tls_1_3_without_resumption() {
    let service = Service::new(Role::Registry);
    let config = Arc::new(client(ExpectedSite::Pinned(service.site.id().code()), None, NOW));
    let server_config = service.config(NOW);
    for _ in 0..2 {
        let (mut client, mut server) = handshake(&config, Role::Registry, &server_config).unwrap();
        pipe::exchange(&mut client, &mut server);
        assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[test]
fn another_site_at_a_known_address_is_refused_and_learns_nothing() {
    let (known, other) = (Service::new(Role::Registry), Service::new(Role::Registry));
    let here = Endpoint::new("192.168.1.10", 7400).unwrap();
    let mut sites = KnownSites::default();
    sites.record(known.site.id(), &here, None, NOW).unwrap();
    let pinned = ExpectedSite::Pinned(known.site.id().code());
    for expected in [sites.expected(&here, None), pinned] {
        let config = Arc::new(client(expected, Some(device_proof(&device()).unwrap()), NOW));
        let Failure { side, error, server } = *handshake(&config, Role::Registry, &other.config(NOW)).unwrap_err();
        assert_eq!(side, Side::Client);
        let Some(TrustError::OtherSite { shown, .. }) = TrustError::of(&error) else { panic!("{error}") };
        assert_eq!(*shown, other.site.id());
        assert_eq!(server.peer_certificates(), None, "the device is not shown to a stranger");
    }
}

#[test]
fn two_known_sites_may_share_an_address_and_a_third_may_not() {
    let sites: Vec<_> = (0..3).map(|_| Service::new(Role::Registry)).collect();
    let here = Endpoint::new("192.168.1.10", 7400).unwrap();
    let mut known = KnownSites::default();
    let code = |index: usize| Some(sites[index].site.id().code());
    known.record(sites[0].site.id(), &here, None, NOW).unwrap();
    known.record(sites[1].site.id(), &here, code(1), NOW).unwrap();
    let meets = |expected: ExpectedSite, index: usize| {
        handshake(&Arc::new(client(expected, None, NOW)), Role::Registry, &sites[index].config(NOW)).is_ok()
    };
    assert!(meets(known.expected(&here, None), 0));
    assert!(meets(known.expected(&here, None), 1));
    assert!(!meets(known.expected(&here, None), 2));
    assert!(meets(known.expected(&here, code(1)), 1));
    assert!(!meets(known.expected(&here, code(1)), 0), "a pin means one site, however many are known");
}

#[test]
fn a_first_contact_tells_which_site_it_met() {
    let service = Service::new(Role::Registry);
    let config = Arc::new(client(ExpectedSite::Any, None, NOW));
    let (client, _) = handshake(&config, Role::Registry, &service.config(NOW)).unwrap();
    let chain = SiteChain::from_der(client.peer_certificates().unwrap()).unwrap();
    assert_eq!(chain.site(), Ok(service.site.id()));
}

#[test]
fn clocks_that_are_wrong_by_years_matter_to_nobody() {
    let service = Service::new(Role::Registry);
    let pinned = ExpectedSite::Pinned(service.site.id().code());
    let relay = CurrentLeaf::new(service.site.leaf(RELAY, &[], at(NOW)).unwrap());
    for (client_clock, server_clock) in [
        (NOW - YEAR, NOW),
        (NOW + YEAR, NOW),
        (NOW - 20 * YEAR, NOW),
        (NOW + 20 * YEAR, NOW),
        (0, NOW),
        (NOW, 0),
        (NOW, NOW + 100 * YEAR),
    ] {
        let config = Arc::new(client(pinned.clone(), Some(relay.clone()), client_clock));
        let (_, server) = handshake(&config, Role::Registry, &service.config(server_clock)).unwrap();
        assert_eq!(PeerIdentity::of_chain(server.peer_certificates()), Ok(PeerIdentity::Service(RELAY)));
    }
}

#[test]
fn a_leaf_issued_by_a_wrong_clock_or_expired_long_ago_is_good_and_browsers_say_what_is_wrong() {
    let service = Service::new(Role::Registry);
    let pinned = ExpectedSite::Pinned(service.site.id().code());
    let name = Role::Registry.to_string();
    for issued in [0, 10 * YEAR, NOW, 80 * YEAR, 200 * YEAR] {
        let key = ServiceKey::generate().unwrap();
        let chain = service.site.issue(Role::Registry, &key.public(), &[], at(issued)).unwrap();
        let config = service.config_with(&chain, &key, NOW);
        handshake(&Arc::new(client(pinned.clone(), None, NOW)), Role::Registry, &config).unwrap();
        let browser = in_a_browser(&service.site, &chain, &name, NOW);
        let is_expired = |error: &rustls::Error| {
            use CertificateError::{ExpiredContext, NotValidYetContext};
            let rustls::Error::InvalidCertificate(error) = error else { return false };
            matches!(error, ExpiredContext { .. } | NotValidYetContext { .. })
        };
        assert!(if issued == NOW { browser.is_ok() } else { browser.is_err_and(|error| is_expired(&error)) });
    }
}

#[test]
fn a_stolen_issuer_deceives_nobody_about_the_internet() {
    let (site, chain, key) = by_the_stolen_issuer(&["www.example.com", "registry.gaung.internal"]);
    let error = in_a_browser(&site, &chain, "www.example.com", NOW).unwrap_err();
    assert!(error.to_string().contains("NameConstraintViolation"), "{error}");
    let service = Service::of(site, Role::Registry);
    let config = service.config_with(&chain, &key, NOW);
    let failure = handshake(&Arc::new(client(ExpectedSite::Any, None, NOW)), Role::Registry, &config).unwrap_err();
    assert_eq!(failure.reason(), Some(TrustError::Chain(webpki::Error::NameConstraintViolation)));
    // The same theft with a local name alone succeeds, so the constraint is what refused.
    let (site, chain, key) = by_the_stolen_issuer(&["registry.gaung.internal"]);
    let config = Service::of(site, Role::Registry).config_with(&chain, &key, NOW);
    handshake(&Arc::new(client(ExpectedSite::Any, None, NOW)), Role::Registry, &config).unwrap();
}

#[test]
fn browsers_open_the_page_by_address_and_local_name() {
    let site = SiteAuthority::create().unwrap();
    let names = [LocalName::address("192.168.1.10".parse().unwrap()), LocalName::host("Gaung.local")];
    let names = names.map(Option::unwrap);
    let chain = site.issue(HUB, &ServiceKey::generate().unwrap().public(), &names, at(NOW)).unwrap();
    for name in ["192.168.1.10", "gaung.local"] {
        in_a_browser(&site, &chain, name, NOW).unwrap();
    }
    in_a_browser(&site, &chain, "192.168.1.11", NOW).unwrap_err();
    for refused in ["www.example.com", "local.example.com", "notlocal", "registry.gaung.internal", "GAUNG.internal", ""]
    {
        assert_eq!(LocalName::host(refused), None, "{refused}");
    }
    assert_eq!(LocalName::address("8.8.8.8".parse().unwrap()), None);
}

#[test]
fn a_service_cannot_pose_as_another() {
    let site = SiteAuthority::create().unwrap();
    let (as_hub, other_relay) = (site.leaf(HUB, &[], at(NOW)), site.leaf(Role::Relay(RelayId([2; 16])), &[], at(NOW)));
    let service = Service::of(site, Role::Registry);
    let pinned = Arc::new(client(ExpectedSite::Pinned(service.site.id().code()), None, NOW));
    for (leaf, wanted) in [(as_hub, Role::Registry), (other_relay, RELAY)] {
        service.leaf.replace(leaf.unwrap());
        let failure = handshake(&pinned, wanted, &service.config(NOW)).unwrap_err();
        assert_eq!((failure.side, failure.reason()), (Side::Client, Some(TrustError::OtherRole(wanted))));
    }
}

#[test]
fn a_client_without_proof_is_served_as_unproven() {
    let service = Service::new(RELAY);
    let config = Arc::new(client(ExpectedSite::Any, None, NOW));
    let (_, server) = handshake(&config, RELAY, &service.config(NOW)).unwrap();
    let peer = PeerIdentity::of_chain(server.peer_certificates()).unwrap();
    assert_eq!((peer, peer.device()), (PeerIdentity::Unproven, DeviceId::NONE));
}

#[test]
fn a_device_proves_its_key() {
    let service = Service::new(RELAY);
    let config = Arc::new(client(ExpectedSite::Any, Some(device_proof(&device()).unwrap()), NOW));
    let (_, server) = handshake(&config, RELAY, &service.config(NOW)).unwrap();
    let public_key = device().verifying_key().to_bytes();
    let id = DeviceId::of_public_key(&public_key);
    assert_eq!(PeerIdentity::of_chain(server.peer_certificates()), Ok(PeerIdentity::Device { id, public_key }));
}

/// A client that shows these certificates and signs with the key of [`device`].
fn with_foreign_certificates(certificates: Vec<Vec<u8>>) -> Failure {
    let service = Service::new(RELAY);
    let proof = device_proof(&device()).unwrap().resolve(&[], &[]).unwrap();
    let certificates = certificates.into_iter().map(Into::into).collect();
    let shown = CertifiedKey::new(certificates, Arc::clone(&proof.key));
    let config = Arc::new(client(ExpectedSite::Any, Some(Arc::new(SingleCertAndKey::from(shown))), NOW));
    let failure = handshake(&config, RELAY, &service.config(NOW)).unwrap_err();
    assert_eq!(failure.side, Side::Server);
    *failure
}

#[test]
fn a_certificate_without_its_key_proves_nothing() {
    let other = device_proof(&SigningKey::from_bytes(&[8; 32])).unwrap().resolve(&[], &[]).unwrap();
    let failure = with_foreign_certificates(vec![other.cert[0].to_vec()]);
    assert_eq!(failure.error, rustls::Error::InvalidCertificate(CertificateError::BadSignature));
}

#[test]
fn a_key_that_anyone_can_sign_for_is_no_device() {
    let key = device().verifying_key().to_bytes();
    let mut certificate = device_proof(&device()).unwrap().resolve(&[], &[]).unwrap().cert[0].to_vec();
    let place = certificate.windows(32).position(|window| window == key).unwrap();
    let mut identity = [0; 32];
    identity[0] = 1;
    certificate[place..place + 32].copy_from_slice(&identity);
    assert_eq!(with_foreign_certificates(vec![certificate]).reason(), Some(TrustError::Unidentified));
}

#[test]
fn certificates_beyond_the_limits_are_refused() {
    let small = device_proof(&device()).unwrap().resolve(&[], &[]).unwrap().cert[0].to_vec();
    let large = vec![0; 5000];
    for certificates in [vec![large], vec![small.clone(), small.clone(), small.clone(), small]] {
        assert_eq!(with_foreign_certificates(certificates).reason(), Some(TrustError::Shape));
    }
}

#[test]
fn a_service_of_the_site_is_known_by_role_and_one_of_another_site_is_refused() {
    let service = Service::new(Role::Registry);
    let own = CurrentLeaf::new(service.site.leaf(RELAY, &[], at(NOW)).unwrap());
    let config = Arc::new(client(ExpectedSite::Any, Some(own), NOW));
    let (_, server) = handshake(&config, Role::Registry, &service.config(NOW)).unwrap();
    assert_eq!(PeerIdentity::of_chain(server.peer_certificates()), Ok(PeerIdentity::Service(RELAY)));
    let foreign = CurrentLeaf::new(SiteAuthority::create().unwrap().leaf(RELAY, &[], at(NOW)).unwrap());
    let config = Arc::new(client(ExpectedSite::Any, Some(foreign), NOW));
    let failure = handshake(&config, Role::Registry, &service.config(NOW)).unwrap_err();
    assert_eq!(failure.side, Side::Server);
    assert!(matches!(failure.reason(), Some(TrustError::Chain(_))), "{}", failure.error);
}

#[test]
fn a_renewed_leaf_is_shown_to_new_connections_and_old_ones_go_on() {
    let service = Service::new(Role::Registry);
    let config = Arc::new(client(ExpectedSite::Any, None, NOW));
    let server = service.config(NOW);
    let (mut old_client, mut old_server) = handshake(&config, Role::Registry, &server).unwrap();
    service.leaf.replace(service.site.leaf(Role::Registry, &[], at(NOW + 1)).unwrap());
    let (new_client, _) = handshake(&config, Role::Registry, &server).unwrap();
    assert_ne!(old_client.peer_certificates(), new_client.peer_certificates());
    pipe::exchange(&mut old_client, &mut old_server);
}

#[test]
fn tls_1_2_is_refused() {
    let service = Service::new(Role::Registry);
    let mut server = ServerConnection::new(service.config(NOW)).unwrap();
    let hello = pipe::tls_1_2_client_hello();
    server.read_tls(&mut &hello[..]).unwrap();
    let error = server.process_new_packets().unwrap_err();
    assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");
    let mut answer = Vec::new();
    server.write_tls(&mut answer).unwrap();
    // An alert record: fatal, protocol_version.
    assert_eq!((answer[0], &answer[5..]), (21, &[2, 70][..]));
}

#[test]
fn a_name_that_is_no_role_is_not_connected_to() {
    let service = Service::new(Role::Registry);
    let config = Arc::new(client(ExpectedSite::Any, None, NOW));
    let name = ServerName::try_from("192.168.1.10").unwrap();
    let failure = pipe::handshake_with(&config, name, &service.config(NOW)).unwrap_err();
    assert_eq!(failure.reason(), Some(TrustError::NotARole));
}

#[test]
fn no_flipped_bit_of_leaf_or_issuer_is_accepted() {
    let site = SiteAuthority::create().unwrap();
    let key = ServiceKey::generate().unwrap();
    let chain = site.issue(Role::Registry, &key.public(), &[], at(NOW)).unwrap();
    let expected = ExpectedSite::Pinned(site.id().code());
    let accepts = |certificates: &[Vec<u8>]| {
        SiteChain::from_der(certificates).is_ok_and(|chain| chain.verify(&expected, Role::Registry, at(NOW)).is_ok())
    };
    let good: Vec<_> = chain.certificates().iter().map(|certificate| certificate.to_vec()).collect();
    assert!(accepts(&good));
    for which in [0, 1] {
        for bit in (0..8 * good[which].len()).step_by(3) {
            let mut bad = good.clone();
            bad[which][bit / 8] ^= 1 << (bit % 8);
            assert!(!accepts(&bad), "certificate {which}, bit {bit}");
        }
    }
}
