//! A disk that fills up and is emptied again: publishers wait, nothing that was acknowledged is lost.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path, process::Command, time::Instant};

use gaung_tests::{deployment::Up, needs, process::PATIENCE};
use serde_json::Value;
use tempfile::TempDir;

#[test]
fn a_full_disk_makes_publishers_wait_and_loses_nothing() {
    needs!(Namespaces);
    let disk = SmallDisk::mount("24m");
    let data = TempDir::new_in(disk.0.path()).unwrap();
    let up = Up::start_in(data, &[]);
    let ani = up.person("ani");
    let _ = ani.out(&["group", "create", "lobby"]);
    assert_eq!(ani.out(&["send", "lobby", "sebelum"]), ["1"]);

    let filler = disk.0.path().join("filler");
    fill(&filler);
    let mut send = ani.start(&["send", "lobby", "-"]);
    let big = "x".repeat(200 * 1024);
    for i in 0..20 {
        send.write(format!("{i} {big}\n"));
    }
    let refused = |line: &str| line.contains("append failed");
    let _ = up.process().stderr_line("failed append", refused);
    fs::remove_file(&filler).unwrap();
    let seqs: Vec<u64> = send.end().expect_code(0).stdout.iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(seqs, (2..=21).collect::<Vec<_>>());

    let history = ani.out(&["history", "lobby", "--from", "1", "--json"]);
    let firsts: Vec<String> = history
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned())
        .map(|text| text.split(' ').next().unwrap().to_owned())
        .collect();
    let wanted: Vec<String> = std::iter::once("sebelum".to_owned()).chain((0..20).map(|i| i.to_string())).collect();
    assert_eq!(firsts, wanted);
    let (ended, _data) = up.stop();
    assert_eq!(ended.code(), 0);
}

#[test]
fn who_writes_much_drops_his_own_oldest_and_nobody_elses() {
    const BUDGET: u64 = 8 << 20;
    let up = Up::start(&["--log-bytes", "8MiB"]);
    let (ani, eve) = (up.person("ani"), up.person("eve"));
    for (person, group) in [(&ani, "lobby"), (&eve, "penuh")] {
        let _ = person.out(&["group", "create", group]);
    }
    assert_eq!(ani.out(&["send", "lobby", "sebelum"]), ["1"]);
    let mut send = eve.start(&["send", "penuh", "-"]);
    let big = "x".repeat(200 * 1024);
    for i in 0..100 {
        send.write(format!("{i} {big}\n"));
    }
    assert_eq!(send.end().expect_code(0).stdout.len(), 100);
    let log = up.data().join("relay/log");
    let used =
        || fs::read_dir(&log).unwrap().map(|file| file.unwrap().metadata().map_or(0, |data| data.len())).sum::<u64>();
    let begun = Instant::now();
    while used() > BUDGET + LOCK {
        assert!(begun.elapsed() < PATIENCE, "{} bytes", used());
    }
    assert_eq!(ani.out(&["send", "lobby", "sesudah"]), ["2"]);
    assert_eq!(ani.out(&["history", "lobby", "--from", "1", "--json"]).len(), 2, "all of the small group is there");
    let kept = eve.out(&["history", "penuh", "--limit", "1000", "--json"]);
    assert!((1..100).contains(&kept.len()), "{}", kept.len());
    assert!(kept.last().unwrap().contains("99 xxx"));
}

/// The file beside those of the log: a pid.
const LOCK: u64 = 32;

/// Takes all that is left.
fn fill(path: &Path) {
    let chunk = vec![0_u8; 64 * 1024];
    let mut file = fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
}

/// A file system in memory, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let disk = Self(TempDir::new().unwrap());
        let options = format!("size={size}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(disk.0.path()).status();
        assert!(done.unwrap().success(), "tmpfs can be mounted");
        disk
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}
