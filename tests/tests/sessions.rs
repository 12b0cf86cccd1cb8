//! How many may connect to `gaung up`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpStream},
};

use gaung_tests::{deployment::Up, process::PATIENCE};
use nix::sys::resource::{Resource, getrlimit};

#[test]
fn up_opens_as_many_files_as_the_system_allows() {
    let up = Up::start_with_few_files(256, &[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", up.process().pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert_eq!(soft, getrlimit(Resource::RLIMIT_NOFILE).unwrap().1, "{files}");

    // More than the shell would have let it have.
    let sessions: Vec<_> = (0..400).map(|_| text_session(up.address("text"))).collect();
    assert!(sessions.iter().all(|(_, welcome)| welcome.contains("Welcome")), "{:?}", sessions.last());
}

#[test]
fn up_takes_as_many_sessions_as_it_is_told_and_tells_the_next_why_not() {
    for (flag, words) in [("--sessions", "full"), ("--sessions-per-address", "from your address")] {
        let up = Up::start(&[flag, "2"]);
        let [(first, _), (_second, welcome)] = [(); 2].map(|()| text_session(up.address("text")));
        assert!(welcome.contains("Welcome"), "{welcome}");
        let (mut third, why) = text_session(up.address("text"));
        assert!(why.contains(words), "{flag}: {why}");
        assert_eq!(third.read(&mut [0]).unwrap(), 0, "closed");
        drop(first);
        let welcomed = || text_session(up.address("text")).1.contains("Welcome");
        let begun = std::time::Instant::now();
        while !welcomed() {
            assert!(begun.elapsed() < PATIENCE, "{flag}: no place came free");
        }
    }
}

/// A bare socket, and the line that greeted it.
fn text_session(addr: SocketAddr) -> (TcpStream, String) {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut welcome = String::new();
    BufReader::new(&stream).read_line(&mut welcome).unwrap();
    (stream, welcome)
}
