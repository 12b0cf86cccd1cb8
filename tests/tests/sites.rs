//! What people are told of sites: whose code they were given, who answers instead, and who is known.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use gaung_site::{CurrentLeaf, Role, SiteAuthority, tls::server_config};
use gaung_tests::{
    deployment::{Person, Up},
    process::Ended,
};
use rustls::{ServerConnection, pki_types::UnixTime, time_provider::DefaultTimeProvider};
use serde_json::Value;

/// Answers as the registry of a site as far as the end of the handshake. Ends with the test.
fn registry_of(site: &SiteAuthority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let leaf = CurrentLeaf::new(site.leaf(Role::Registry, &[], UnixTime::now()).unwrap());
    let config = server_config(leaf, site.root().clone(), &[b"h2"], Arc::new(DefaultTimeProvider)).unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // It fails when the client refuses the site.
            let _ = connection.complete_io(&mut stream.unwrap());
        }
    });
    address
}

#[test]
fn another_site_than_the_given_one_ends_with_8_and_both_codes() {
    let (given, other) = (SiteAuthority::create().unwrap().id().code(), SiteAuthority::create().unwrap());
    let address = registry_of(&other);
    let ani = Person::at(&format!("{address}#{given}"), "ani");
    let ended = ani.run(&["status"]).expect_code(8);
    let (said, shown) = (ended.stderr.join("\n"), other.id().code().to_string());
    assert!(said.contains(&given.to_string()) && said.contains(&shown), "{said}");
    assert!(said.contains(&format!("gaung site trust {shown} --server {address}")), "{said}");
    assert!(ani.out(&["site"]).is_empty(), "who was refused is not known");
}

#[test]
fn another_site_at_a_known_address_is_refused_without_a_question() {
    let (known, other) = (SiteAuthority::create().unwrap().id(), SiteAuthority::create().unwrap());
    let address = registry_of(&other);
    let ani = Person::at(&address.to_string(), "ani");
    let line = format!("gaung-known-sites-1\n{known} first-contact 1772366400 {address}\n");
    fs::write(ani.home().join("known-sites"), &line).unwrap();
    let said = ani.run(&["status"]).expect_code(8).stderr.join("\n");
    assert!(said.contains(&known.code().to_string()) && said.contains(&other.id().code().to_string()), "{said}");
    let said = ani.run(&["status", "--insecure"]).expect_code(2).stderr.join("\n");
    assert!(said.contains(&known.code().to_string()), "{said}");
    assert_eq!(fs::read_to_string(ani.home().join("known-sites")).unwrap(), line);

    let site: Value = serde_json::from_str(&ani.out(&["site", "--json"])[0]).unwrap();
    assert_eq!((&site["site"], &site["code"]), (&known.to_string().into(), &known.code().to_string().into()));
    assert_eq!((&site["basis"], &site["since"]), (&"first-contact".into(), &"2026-03-01T12:00:00Z".into()));
    assert_eq!(site["addresses"], serde_json::json!([address.to_string()]));
    let forget = || ani.run(&["site", "forget", &known.code().to_string()]).code();
    assert_eq!((forget(), forget()), (0, 3));
    assert!(ani.out(&["site"]).is_empty());
}

#[test]
fn a_server_without_tls_does_not_pass_for_a_site() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
    let code = SiteAuthority::create().unwrap().id().code();
    let said = Person::at(&format!("{address}#{code}"), "ani").run(&["status"]).expect_code(5).stderr.join("\n");
    assert!(said.contains("speaks no TLS") && said.contains(&code.to_string()), "{said}");
    assert!(!said.contains("--insecure"), "it would be refused: {said}");
}

#[test]
fn a_first_contact_is_one_line_and_encrypted() {
    let up = Up::start(&[]);
    let code = SiteAuthority::load_or_create(&up.data().join("registry/site")).unwrap().id().code().to_string();
    let ani = up.person("ani");
    let status = |ended: &Ended| -> Value { serde_json::from_str(&ended.stdout[0]).unwrap() };
    let first = ani.run(&["status", "--json"]).expect_code(0);
    assert_eq!(first.stderr.iter().filter(|line| line.contains(&code)).count(), 1, "{:?}", first.stderr);
    assert_eq!(status(&first)["encrypted"], true);
    let second = ani.run(&["status", "--json"]).expect_code(0);
    assert!(second.stderr.is_empty(), "it is known now: {:?}", second.stderr);

    let budi = up.person("budi");
    let insecure = budi.run(&["status", "--json", "--insecure"]).expect_code(0);
    assert_eq!(status(&insecure)["encrypted"], false);
    assert!(budi.out(&["site"]).is_empty(), "who proves nothing is not known");
}

#[test]
fn who_may_not_speak_without_tls_is_told_so() {
    let up = Up::start(&["--plaintext", "never"]);
    let said = up.person("ani").run(&["status", "--insecure"]).expect_code(4).stderr.join("\n");
    assert!(said.contains("only TLS"), "{said}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    thread::spawn(move || silent.incoming().for_each(drop));
    let said = Person::at(&address.to_string(), "ani").run(&["status"]).expect_code(5).stderr.join("\n");
    assert!(said.contains("--insecure"), "{said}");
}

#[test]
fn a_trusted_site_is_encrypted_from_then_on_and_another_in_its_place_refused() {
    let up = Up::start(&[]);
    let site = SiteAuthority::load_or_create(&up.data().join("registry/site")).unwrap().id();
    let (ani, code) = (up.person("ani"), site.code().to_string());
    let trusted = ani.run(&["site", "trust", &code, "--json"]).expect_code(0);
    assert!(trusted.stdout[0].contains(r#""basis":"code""#), "{trusted:?}");
    let ended = ani.run(&["status", "--json"]).expect_code(0);
    assert!(!ended.stderr.iter().any(|line| line.contains("first contact")), "its code was given: {:?}", ended.stderr);
    let status: Value = serde_json::from_str(&ended.stdout[0]).unwrap();
    assert_eq!((&status["encrypted"], &status["site"]), (&true.into(), &code.clone().into()));

    let port = up.address("registry").port().to_string();
    drop(up.stop());
    let up = Up::start(&["--registry-port", &port]);
    let said = ani.run(&["status"]).expect_code(8).stderr.join("\n");
    let other = SiteAuthority::load_or_create(&up.data().join("registry/site")).unwrap().id().code().to_string();
    assert!(said.contains(&code) && said.contains(&other), "{said}");
    assert_eq!(ani.run(&["site", "trust", &other]).code(), 0);
    assert_eq!(ani.run(&["status"]).code(), 0);
    assert_eq!(ani.out(&["site", "--json"]).len(), 2);
}
