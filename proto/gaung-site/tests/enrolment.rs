//! Services of other machines: token, request, answer, and what they keep.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs,
    time::{Duration, Instant},
};

use gaung_proto::RelayId;
use gaung_site::{
    AuthorityError, EnrolError, EnrolRequest, EnrolSecrets, EnrolToken, Enrolment, Leaf, Role, ServiceFolder,
    ServiceKey, SiteAuthority, SiteId, TOKEN_LIFETIME, TrustError,
};
use rustls::pki_types::UnixTime;

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_796_000_000));
const RELAY: Role = Role::Relay(RelayId([0x20; 16]));

/// Bytes that count up from `first`.
fn counted<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn token_and_request_are_those_of_another_program() {
    let text = "gaung-enrol-1.000G40R40M30E209185GR38E1W8124GK2GAHC5RR34D1P70X3RFG";
    let mut secrets = EnrolSecrets::new(SiteId::from_bytes(counted(0x10)));
    let token = secrets.open(counted(0), None, Instant::now());
    assert_eq!(token.to_string(), text);
    for typed in [text, &text.to_lowercase(), &format!("{text}\n")] {
        assert_eq!(typed.parse(), Ok(token.clone()));
    }
    for wrong in ["", "gaung-enrol-1.", &text[..60], &text[14..], &text.replace("-1.", "-2.")] {
        assert_eq!(wrong.parse::<EnrolToken>(), Err(EnrolError::NotAToken));
    }
    let mac = "044fb02df1c406285d2a716611832bddfd6db6e54004dcec3f36d97377fc4252";
    let mac = std::array::from_fn(|byte| u8::from_str_radix(&mac[2 * byte..2 * byte + 2], 16).unwrap());
    let algorithm = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let algorithm = (0..27).map(|byte| u8::from_str_radix(&algorithm[2 * byte..2 * byte + 2], 16).unwrap());
    let spki: Vec<u8> = algorithm.chain(counted::<64>(0)).collect();
    let role = Role::Relay(RelayId(counted(0x20)));
    let grant = secrets.accept(&EnrolRequest { role, spki: spki.clone(), mac }, Instant::now()).unwrap();
    assert_eq!((grant.role, grant.key.to_spki()), (role, spki));
    assert_eq!(hex(&grant.mac), "3f9203ecdd49ca6565006dedd1db11c28b8d290fe3c53547b6f526248b83ce62");
    let secret: EnrolToken = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
    assert_eq!((secret.site(), secret.to_string().parse()), (None, Ok(secret.clone())));
}

#[test]
fn a_service_enrols_keeps_its_leaf_and_renews_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = ServiceFolder::new(&dir.path().join("relay/site"));
    let registry = SiteAuthority::create().unwrap();
    let (start, mut secrets) = (Instant::now(), EnrolSecrets::new(registry.id()));
    let token = secrets.open([5; 16], Some(TOKEN_LIFETIME), start);
    assert!(folder.leaf().unwrap().is_none());
    let enrolment = Enrolment::new(token.to_string().parse().unwrap(), RELAY, folder.key().unwrap()).unwrap();
    let request = enrolment.request().unwrap();
    let grant = secrets.accept(&request, start).unwrap();
    let chain = registry.issue(grant.role, &grant.key, &[], NOW).unwrap();
    enrolment.finish(&chain, &grant.mac, NOW).unwrap();
    folder.keep(&chain).unwrap();
    assert_eq!(folder.leaf().unwrap().unwrap().0, chain);
    // Renewed for the key that the kept chain is for.
    let renewed = registry.issue(grant.role, &folder.key().unwrap().public(), &[], NOW).unwrap();
    folder.keep(&renewed).unwrap();
    assert_eq!(folder.leaf().unwrap().unwrap().0, renewed);
}

#[test]
fn an_enrolment_is_for_one_role_one_key_one_site_and_one_hour() {
    let registry = SiteAuthority::create().unwrap();
    let (start, mut secrets) = (Instant::now(), EnrolSecrets::new(registry.id()));
    let token = secrets.open([5; 16], Some(TOKEN_LIFETIME), start);
    let enrolment = Enrolment::new(token.clone(), RELAY, ServiceKey::generate().unwrap()).unwrap();
    let request = enrolment.request().unwrap();
    let other_key = ServiceKey::generate().unwrap();
    for changed in [
        EnrolRequest { role: Role::Hub(RelayId([0x20; 16])), ..request.clone() },
        EnrolRequest { role: Role::Relay(RelayId([0x21; 16])), ..request.clone() },
        EnrolRequest { spki: other_key.public().to_spki(), ..request.clone() },
        EnrolRequest { mac: [0; 32], ..request.clone() },
    ] {
        assert_eq!(secrets.accept(&changed, start).err(), Some(EnrolError::Refused));
    }
    let as_registry = EnrolRequest { role: Role::Registry, ..request.clone() };
    assert_eq!(secrets.accept(&as_registry, start).err(), Some(EnrolError::NotEnrollable));
    let of_registry = Enrolment::new(token, Role::Registry, ServiceKey::generate().unwrap());
    assert_eq!(of_registry.err(), Some(EnrolError::NotEnrollable));

    let grant = secrets.accept(&request, start).unwrap();
    let answer = |site: &SiteAuthority, role, key: &ServiceKey| {
        enrolment.finish(&site.issue(role, &key.public(), &[], NOW).unwrap(), &grant.mac, NOW).err().unwrap()
    };
    assert_eq!(answer(&registry, RELAY, &other_key), EnrolError::OtherKey);
    let hub = Role::Hub(RelayId([0x20; 16]));
    assert_eq!(answer(&registry, hub, &other_key), EnrolError::Trust(TrustError::OtherRole(RELAY)));
    let foreign = SiteAuthority::create().unwrap();
    let shown = foreign.id();
    let other_site = EnrolError::Trust(TrustError::OtherSite { shown, pinned: None });
    assert_eq!(answer(&foreign, RELAY, &other_key), other_site);

    secrets.accept(&request, start + TOKEN_LIFETIME - Duration::from_secs(1)).unwrap();
    assert_eq!(secrets.accept(&request, start + TOKEN_LIFETIME).err(), Some(EnrolError::Refused));
}

#[test]
fn a_secret_alone_enrols_in_the_site_whose_registry_has_it() {
    let (registry, start) = (SiteAuthority::create().unwrap(), Instant::now());
    let token: EnrolToken = "5e".repeat(16).parse().unwrap();
    let key = ServiceKey::generate().unwrap();
    let public = key.public();
    let enrolment = Enrolment::new(token.clone(), RELAY, key).unwrap();
    let request = enrolment.request().unwrap();
    let mut secrets = EnrolSecrets::new(registry.id());
    assert_eq!(secrets.accept(&request, start).err(), Some(EnrolError::Refused));
    secrets.admit(&token, start).unwrap();
    let grant = secrets.accept(&request, start + 1000 * TOKEN_LIFETIME).unwrap();
    let chain = registry.issue(grant.role, &grant.key, &[], NOW).unwrap();
    enrolment.finish(&chain, &grant.mac, NOW).unwrap();

    // Whoever poses as the registry has a chain of its own, and no MAC of the secret for it.
    let posing = SiteAuthority::create().unwrap();
    let chain = posing.issue(RELAY, &public, &[], NOW).unwrap();
    for mac in [&grant.mac[..], &request.mac, &[]] {
        assert_eq!(enrolment.finish(&chain, mac, NOW).err(), Some(EnrolError::Unproven));
    }
    let other = EnrolSecrets::new(posing.id()).open([1; 16], None, start);
    assert_eq!(secrets.admit(&other, start), Err(EnrolError::OtherSite(posing.id())));
}

#[test]
fn the_token_that_ends_first_makes_room() {
    let (start, mut secrets) = (Instant::now(), EnrolSecrets::new(SiteId::from_bytes([1; 16])));
    let key = || ServiceKey::generate().unwrap();
    let request = |token: EnrolToken| Enrolment::new(token, RELAY, key()).unwrap().request().unwrap();
    let lasting = request(secrets.open([99; 16], None, start));
    let hours = |count: u8| Duration::from_secs(3600 * u64::from(count));
    let requests: Vec<_> = (1..=16).map(|n| request(secrets.open([n; 16], Some(hours(n)), start))).collect();
    let good: Vec<_> = requests.iter().map(|request| secrets.accept(request, start).is_ok()).collect();
    assert_eq!(good.iter().position(|good| *good), Some(1), "the first hour's token made room: {good:?}");
    secrets.accept(&lasting, start).unwrap();
}

#[test]
fn a_kept_chain_that_is_cut_or_foreign_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = ServiceFolder::new(dir.path());
    let registry = SiteAuthority::create().unwrap();
    let key = folder.key().unwrap();
    folder.keep(&registry.issue(RELAY, &key.public(), &[], NOW).unwrap()).unwrap();
    let path = dir.path().join("service.chain");
    let good = fs::read(&path).unwrap();
    for cut in [0, 1, 2, 100, good.len() - 1] {
        fs::write(&path, &good[..cut]).unwrap();
        assert!(folder.leaf().is_err(), "cut to {cut}");
    }
    let other = ServiceKey::generate().unwrap();
    let foreign = registry.issue(RELAY, &other.public(), &[], NOW).unwrap();
    folder.keep(&foreign).unwrap();
    assert!(matches!(folder.leaf(), Err(AuthorityError::Tls(_))), "the leaf is for another key");
    assert!(Leaf::new(&foreign, &other).is_ok());
}
