//! `gaung log salvage`, from outside: a file is damaged, what is whole is copied, and a relay serves the copy.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use gaung_tests::{
    deployment::Up,
    process::{Ended, Process},
    programs::program,
};
use serde_json::Value;

const MESSAGES: usize = 300;

fn gaung(args: &[&str]) -> Ended {
    Process::start(program("gaung"), args).end()
}

fn salvage(from: &Path, to: &Path) -> Ended {
    gaung(&["log", "salvage", from.to_str().unwrap(), "--to", to.to_str().unwrap(), "--json"])
}

#[test]
fn a_damaged_log_is_salvaged_and_served() {
    let up = Up::start(&[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "kelas"]);
    for half in 0..2 {
        let lines: String = (0..MESSAGES / 2).map(|i| format!("pesan {}\n", half * MESSAGES / 2 + i)).collect();
        let _ = ani.feed(&["send", "kelas", "-"], lines.as_bytes()).expect_code(0);
    }
    let server_port = up.address("registry").port().to_string();
    let log = up.data().join("relay/log");
    let to = tempfile::tempdir().unwrap();
    let new = to.path().join("log");
    let held = salvage(&log, &new).expect_code(1);
    assert!(held.stderr[0].contains("held by another process (pid "), "{:?}", held.stderr);
    assert!(!new.exists());

    let (_, data) = up.stop();
    let log = data.path().join("relay/log");
    damage(&log, b"pesan 100");
    let done = salvage(&log, &new).expect_code(0);
    let told: Vec<Value> = done.stdout.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kelas = told.iter().find(|group| group["group"] == "kelas").unwrap();
    let missing = kelas["missing"].as_array().unwrap();
    assert_eq!(missing.len(), 1, "{kelas}");
    let (first, last) = (missing[0]["first"].as_u64().unwrap(), missing[0]["last"].as_u64().unwrap());
    assert!((first..=last).contains(&101), "{kelas}");
    assert_eq!(kelas["messages"].as_u64().unwrap() + last - first + 1, MESSAGES as u64);
    assert!(missing[0]["why"].as_str().unwrap().contains("CRC") && kelas["whole_to_end"] == true, "{kelas}");
    assert!(done.stderr.iter().any(|line| line.contains(".seg: ")), "{:?}", done.stderr);
    assert!(done.stderr.iter().all(|line| !line.contains("panicked")), "{:?}", done.stderr);

    let again = salvage(&log, &new).expect_code(2);
    assert!(again.stderr[0].contains("is not empty"), "{:?}", again.stderr);
    let hint = salvage(data.path(), &to.path().join("other")).expect_code(3);
    assert!(hint.stderr[0].contains("relay/log"), "{:?}", hint.stderr);
    let _ = salvage(&to.path().join("nowhere"), &to.path().join("other")).expect_code(3);

    fs::rename(&log, to.path().join("old")).unwrap();
    fs::rename(&new, &log).unwrap();
    let _up = Up::start_in(data, &["--registry-port", &server_port]);
    let history = ani.run(&["history", "kelas", "--from", &(last + 1).to_string(), "--json"]).expect_code(0);
    assert_eq!(history.stdout.len() as u64, MESSAGES as u64 - last);
    assert_eq!(ani.out(&["send", "kelas", "sesudah"]), [(MESSAGES + 1).to_string()]);
}

/// Changes a byte of every copy of a message.
fn damage(log: &Path, words: &[u8]) {
    let mut hit = 0;
    for entry in fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let places: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(words)).collect();
        places.iter().for_each(|&at| bytes[at] ^= 1);
        hit += places.len();
        fs::write(path, bytes).unwrap();
    }
    assert!(hit > 0);
}
