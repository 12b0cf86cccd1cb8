//! Opening a log of many messages: how long it takes after an orderly end and after a crash, and with how much memory.
//!
//! `cargo bench -p gaung-log --bench recovery [-- DIR [MESSAGES]]`: by default the target folder and 10 000 000 messages,
//! for which DIR needs 1 GB; half a minute. Beside each opening stands a bare read of the newest file, which an opening
//! reads through; after it, all of the log is read once.
#![allow(clippy::unwrap_used, missing_docs)]

mod load;

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::sync_channel,
    time::Instant,
};

use gaung_log::{Append, DiskOptions, Log, Runs, SegmentLog};
use gaung_proto::{GroupId, Seq};

use load::{LOG, PAYLOAD, run};

const GROUPS: u64 = 16;
/// A run that is nearly as long as runs become.
const IN_A_RUN: u64 = 512;
/// Runs handed over at once.
const IN_FLIGHT: usize = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--bench")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        // The steps are processes of their own: for a crash, and for the memory of an opening alone.
        ["--fill", dir, messages, end] => fill(Path::new(dir), messages.parse().unwrap(), end),
        ["--open", dir] => open(Path::new(dir)),
        _ => {
            let dir = args.first().map_or_else(default_dir, PathBuf::from);
            compare(&dir, args.get(1).map_or(10_000_000, |messages| messages.parse().unwrap()));
        }
    }
}

fn default_dir() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

fn compare(dir: &Path, messages: u64) {
    println!("{messages} messages of {PAYLOAD} B in {GROUPS} groups, disk at {}", dir.display());
    for end in ["closed", "crashed"] {
        let folder = tempfile::tempdir_in(dir).unwrap();
        let path = folder.path().to_str().unwrap();
        let filled = Instant::now();
        let ended = step(&["--fill", path, &messages.to_string(), end]).status().unwrap();
        assert_eq!(ended.success(), end == "closed");
        let bytes: u64 = files(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
        println!("{end}: {} MiB written in {:.1} s", bytes >> 20, filled.elapsed().as_secs_f64());
        let _ = step(&["--open", path]).status().unwrap();
    }
}

fn step(args: &[&str]) -> Command {
    let mut step = Command::new(std::env::current_exe().unwrap());
    step.args(args);
    step
}

fn fill(dir: &Path, messages: u64, end: &str) {
    let log = SegmentLog::open(dir, DiskOptions::default()).unwrap();
    let groups: Vec<_> = (0..GROUPS).map(|n| GroupId([n as u8; 16])).collect();
    for group in &groups {
        let _ = log.open_group(*group, LOG, true).unwrap();
    }
    let mut head = Seq::ZERO;
    while head.0 * GROUPS < messages {
        let (to, done) = sync_channel(groups.len());
        for group in &groups {
            let first = |n| Seq(head.0 + 1 + n as u64 * IN_A_RUN);
            let append = |n| Append { run: run(*group, first(n), IN_A_RUN), snapshot: None };
            let to = to.clone();
            log.append((0..IN_FLIGHT).map(append).collect(), Box::new(move |outcome| to.send(outcome).unwrap()));
        }
        for _ in &groups {
            head = done.recv().unwrap().unwrap();
        }
    }
    if end == "crashed" {
        std::process::abort();
    }
}

fn open(dir: &Path) {
    let newest = files(dir).into_iter().max().unwrap();
    let reading = Instant::now();
    let bytes = read_through(&newest);
    let read = reading.elapsed();
    let started = Instant::now();
    let log = SegmentLog::open(dir, DiskOptions::default()).unwrap();
    let opened = started.elapsed();
    let asked: Vec<_> = (0..GROUPS).map(|n| (GroupId([n as u8; 16]), LOG, false)).collect();
    let messages: u64 = log.open_groups(&asked).into_iter().map(|opened| opened.unwrap().head.0).sum();
    println!(
        "  opened {messages} messages in {} files in {} ms, their groups in {} ms, peak memory {} MiB; a bare read of the \
         newest file ({} MiB) takes {} ms",
        log.figures().files,
        opened.as_millis(),
        (started.elapsed() - opened).as_millis(),
        peak_kib() / 1024,
        bytes >> 20,
        read.as_millis(),
    );
    read_all(&log);
}

/// What a relay does besides, for as much of each group as came since its last snapshot, to know duplicates.
fn read_all(log: &SegmentLog) {
    let started = Instant::now();
    let (mut runs, mut messages) = (0, 0);
    for n in 0..GROUPS {
        for run in Runs::new(log, GroupId([n as u8; 16]), LOG, Seq::FIRST, 1 << 20) {
            runs += 1;
            messages += run.unwrap().messages().count();
        }
    }
    println!(
        "  all {messages} messages in {runs} runs read, checked and decoded in {} ms",
        started.elapsed().as_millis()
    );
}

fn read_through(path: &Path) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    let mut file = File::open(path).unwrap();
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return bytes,
            read => bytes += read as u64,
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect()
}

/// The most memory that this process ever had, KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
