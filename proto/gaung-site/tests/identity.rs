//! The identity of a site and the folder that keeps it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use gaung_proto::RelayId;
use gaung_site::{AuthorityError, ExpectedSite, Role, ServiceKey, SiteAuthority, SiteCode, SiteId};
use rustls::pki_types::UnixTime;

const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_796_000_000));
const RELAY: Role = Role::Relay(RelayId([0x20; 16]));

/// Bytes that count up from `first`.
fn counted<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

#[test]
fn a_code_is_the_first_eighty_bits_and_forgives_how_it_is_typed() {
    let id = SiteId::from_bytes(counted(0x10));
    let code = id.code();
    assert_eq!(code.to_string(), "208H-44RM-2MB1-E60S");
    for typed in ["208h44rm2mb1e60s", "2O8H-44RM 2MBI-E6OS", " 208H-44RM-2MBl-E60S"] {
        assert_eq!(typed.parse(), Ok(code), "{typed}");
    }
    for wrong in ["", "208H-44RM-2MB1-E60", "208H-44RM-2MB1-E60SS", "208H-44RM-2MB1-E60U", "208H-44RM-2MB1-E60é"] {
        assert!(wrong.parse::<SiteCode>().is_err(), "{wrong}");
    }
    assert!(format!("{}{}", "-".repeat(1000), code).parse::<SiteCode>().is_err());
    assert_eq!(id.to_string().parse(), Ok(id));
}

#[test]
fn a_site_is_made_once_for_its_owner_alone_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("data/site");
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let folder = folder.clone();
            std::thread::spawn(move || SiteAuthority::load_or_create(&folder).unwrap().id())
        })
        .collect();
    let ids: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "processes that start together make one site");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["issuer.der", "issuer.key", "root.der"], "the root's key is not kept");
    assert_eq!(fs::read_dir(folder.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    for name in names {
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let site = SiteAuthority::load_or_create(&folder).unwrap();
    let key = ServiceKey::generate().unwrap();
    let chain = site.issue(RELAY, &key.public(), &[], NOW).unwrap();
    assert_eq!(chain.verify(&ExpectedSite::Pinned(ids[0].code()), RELAY, NOW), Ok(()));
    assert_eq!(chain.issued(), Some(NOW));
}

#[test]
fn files_of_two_sites_are_not_taken_for_one_and_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    for folder in [&one, &two] {
        SiteAuthority::load_or_create(folder).unwrap();
    }
    for name in ["root.der", "issuer.der", "issuer.key"] {
        let good = fs::read(one.join(name)).unwrap();
        fs::copy(two.join(name), one.join(name)).unwrap();
        assert!(matches!(SiteAuthority::load_or_create(&one), Err(AuthorityError::Damaged(_))), "{name}");
        fs::remove_file(one.join(name)).unwrap();
        assert!(matches!(SiteAuthority::load_or_create(&one), Err(AuthorityError::Io(_))), "{name}");
        assert!(!one.join(name).exists());
        fs::write(one.join(name), good).unwrap();
    }
    SiteAuthority::load_or_create(&one).unwrap();
}
