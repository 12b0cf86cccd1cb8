//! The sites that a device knows, and how people name one.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{fs, os::unix::fs::PermissionsExt as _};

use gaung_site::{
    Contact, Endpoint, ExpectedSite, KnownSites, KnownSitesError, KnownSitesFile, RecordError, ServerAddress, SiteId,
    TrustBasis, TrustError,
};

fn site(number: u128) -> SiteId {
    SiteId::from_bytes(number.to_be_bytes())
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint::new(host, 7400).unwrap()
}

#[test]
fn known_sites_are_recognised_wherever_they_are() {
    let mut known = KnownSites::default();
    let (home, moved) = (endpoint("192.168.1.10"), endpoint("192.168.1.77"));
    assert!(matches!(known.expected(&home, None), ExpectedSite::Any));
    assert_eq!(known.record(site(1), &home, None, 5), Ok(Contact::First));
    assert_eq!(known.record(site(1), &home, None, 6), Ok(Contact::Known));
    assert_eq!(known.record(site(1), &moved, None, 7), Ok(Contact::Moved));
    let refused = RecordError::Trust(TrustError::OtherSite { shown: site(2), pinned: None });
    assert_eq!(known.record(site(2), &home, None, 8), Err(refused), "an unknown site at a known address");
    let code = Some(site(2).code());
    assert_eq!(known.record(site(2), &home, code, 9), Ok(Contact::First), "its code was given");
    assert_eq!(known.record(site(2), &home, None, 10), Ok(Contact::Known));
    let bases: Vec<_> = known.sites().iter().map(|site| site.basis).collect();
    assert_eq!(bases, [TrustBasis::FirstContact, TrustBasis::Code]);
    assert_eq!(known.record(site(1), &moved, Some(site(1).code()), 11), Ok(Contact::Known));
    assert_eq!(known.sites()[0].basis, TrustBasis::Code, "a person compared it");
    assert!(known.forget(site(1)) && known.forget(site(2)) && !known.forget(site(2)));
    assert!(matches!(known.expected(&home, None), ExpectedSite::Any));
}

#[test]
fn known_sites_have_limits_and_forget_none_for_a_new_one() {
    let mut known = KnownSites::default();
    for number in 0..1024 {
        known.record(site(number), &endpoint(&format!("h{number}")), None, 0).unwrap();
    }
    assert_eq!(known.record(site(5000), &endpoint("new"), None, 0), Err(RecordError::Full));
    for host in 0..20 {
        known.record(site(7), &endpoint(&format!("moved{host}")), None, 0).unwrap();
    }
    let hints: Vec<_> = known.sites()[7].endpoints.iter().map(ToString::to_string).collect();
    assert_eq!((hints.len(), hints[0].as_str(), hints[7].as_str()), (8, "moved19:7400", "moved12:7400"));
    assert_eq!(KnownSites::parse(&known.to_string()), Ok(known.clone()));
    assert_eq!(KnownSites::parse(&format!("{known}{} code 0\n", site(9999))), Err(1026));
}

#[test]
fn the_file_of_known_sites_is_read_strictly_and_kept_for_its_owner() {
    let text = "gaung-known-sites-1\n\
        0000000000000000000000000000000a code 1780000000 192.168.1.10:7400 gaung.lan:7400\n\
        0000000000000000000000000000000b first-contact 1780000001\n";
    let known = KnownSites::parse(text).unwrap();
    assert_eq!(known.to_string(), text);
    for (wrong, line) in [
        ("", 1),
        ("gaung-known-sites-2\n", 1),
        ("gaung-known-sites-1\n\n", 2),
        ("gaung-known-sites-1\n0a code 1\n", 2),
        ("gaung-known-sites-1\n0000000000000000000000000000000a seen 1\n", 2),
        ("gaung-known-sites-1\n0000000000000000000000000000000a code 1 nowhere\n", 2),
        ("gaung-known-sites-1\n0000000000000000000000000000000a code 1  a:1\n", 2),
        ("gaung-known-sites-1\n0000000000000000000000000000000a code 1\n0000000000000000000000000000000A code 1\n", 3),
    ] {
        assert_eq!(KnownSites::parse(wrong), Err(line), "{wrong}");
    }

    let dir = tempfile::tempdir().unwrap();
    let file = KnownSitesFile::new(&dir.path().join("data"));
    assert_eq!(file.read().unwrap(), KnownSites::default());
    std::thread::scope(|scope| {
        for number in 0..16 {
            let file = &file;
            scope.spawn(move || {
                let here = endpoint(&format!("h{number}"));
                file.update(|sites| sites.record(site(number), &here, None, 0)).unwrap().unwrap();
            });
        }
    });
    assert_eq!(file.read().unwrap().sites().len(), 16, "no process overwrites what another recorded");
    let path = dir.path().join("data/known-sites");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&path, "hello").unwrap();
    let malformed = file.update(|sites| sites.forget(site(1)));
    assert!(matches!(malformed, Err(KnownSitesError::Malformed { line: 1, .. })));
    assert_eq!(fs::read(&path).unwrap(), b"hello", "what is not understood is left alone");
}

#[test]
fn a_server_is_given_with_or_without_its_code() {
    let code = SiteId::from_bytes([0x21; 16]).code();
    let parse = ServerAddress::parse;
    assert_eq!(parse("192.168.1.10:7400"), Ok(ServerAddress { host: "192.168.1.10:7400", code: None }));
    let pinned = format!("gaung.local#{code}");
    assert_eq!(parse(&pinned), Ok(ServerAddress { host: "gaung.local", code: Some(code) }));
    for cut in ["gaung.local#", "gaung.local#208H", "gaung.local#208H-44RM-2MB1-E60S#"] {
        assert!(parse(cut).is_err(), "{cut}: a pin that was cut off is no pin");
    }
}
