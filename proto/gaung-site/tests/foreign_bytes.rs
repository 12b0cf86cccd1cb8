//! Whatever people, files and peers give to the parsers, nothing panics.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use gaung_proto::RelayId;
use gaung_site::{
    Endpoint, EnrolSecrets, EnrolToken, ExpectedSite, KnownSites, Passphrase, PeerIdentity, ProtectedKey, Role,
    ServerAddress, ServiceKey, ServicePublicKey, SiteAuthority, SiteChain,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustls::pki_types::{CertificateDer, UnixTime};

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_796_000_000));
const RELAY: Role = Role::Relay(RelayId([0x20; 16]));

type Parser = fn(&[u8]);

/// What is read from people, files and peers, each with a valid form to start from.
fn parsers() -> Vec<(Vec<u8>, Parser)> {
    fn text(bytes: &[u8]) -> Cow<'_, str> {
        String::from_utf8_lossy(bytes)
    }
    let registry = SiteAuthority::create().unwrap();
    let key = ServiceKey::generate().unwrap();
    let chain = registry.issue(RELAY, &key.public(), &[], NOW).unwrap();
    let token = EnrolSecrets::new(registry.id()).open([5; 16], None, Instant::now());
    let mut known = KnownSites::default();
    let protected = ProtectedKey::encrypt(&[7; 32], &Passphrase::new(b"kunci rumah".to_vec()).unwrap()).unwrap();
    known.record(registry.id(), &Endpoint::new("192.168.1.10", 7400).unwrap(), None, 1_780_000_000).unwrap();
    vec![
        (format!("192.168.1.10#{}", registry.id().code()).into_bytes(), |bytes| {
            if let Ok(ServerAddress { code: Some(code), .. }) = ServerAddress::parse(&text(bytes)) {
                assert_eq!(code.to_string().parse(), Ok(code));
            }
        }),
        (token.to_string().into_bytes(), |bytes| {
            if let Ok(token) = text(bytes).parse::<EnrolToken>() {
                assert_eq!(token.to_string().parse(), Ok(token));
            }
        }),
        (known.to_string().into_bytes(), |bytes| {
            if let Ok(known) = KnownSites::parse(&text(bytes)) {
                assert_eq!(KnownSites::parse(&known.to_string()), Ok(known));
            }
        }),
        (protected.to_string().into_bytes(), |bytes| {
            if let Ok(key) = text(bytes).parse::<ProtectedKey>() {
                assert_eq!(key.to_string(), text(bytes));
            }
        }),
        (key.public().to_spki(), |bytes| {
            if let Ok(key) = ServicePublicKey::from_spki(bytes) {
                assert_eq!(key.to_spki(), bytes);
            }
        }),
        (key.to_pkcs8().to_vec(), |bytes| drop(ServiceKey::from_pkcs8(bytes))),
        (chain.certificates()[0].to_vec(), |bytes| {
            let _ = PeerIdentity::of_chain(Some(&[CertificateDer::from(bytes)]));
            let chain = SiteChain::from_der(&[bytes, bytes, bytes]);
            let _ = chain.map(|chain| (chain.site(), chain.verify(&ExpectedSite::Any, RELAY, NOW)));
        }),
    ]
}

#[test]
fn foreign_bytes_panic_nowhere_and_what_is_read_is_written_alike() {
    const SEED: u64 = 1;
    let mut rng = StdRng::seed_from_u64(SEED);
    for (index, (good, parse)) in parsers().into_iter().enumerate() {
        parse(&good);
        for round in 0..4000 {
            let mut bytes = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..=bytes.len());
                match rng.random_range(0..4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, rng.random()),
                    2 => bytes.extend_from_within(at..),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.random()),
                }
            }
            let outcome = std::panic::catch_unwind(|| parse(&bytes));
            assert!(outcome.is_ok(), "parser {index}, seed {SEED}, round {round}: {bytes:02x?}");
        }
    }
}
