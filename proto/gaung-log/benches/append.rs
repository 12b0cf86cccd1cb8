//! Appends a second, by messages a run and by appenders, beside a bare write and sync of as many bytes; some 10 s.
//!
//! `cargo bench -p gaung-log --bench append [-- DIR]`: DIR lies on the disk to measure, by default the target folder.
//! *bare* appends the runs of one commit to a plain file and syncs it, over and over; *unsynced* is
//! the log on a disk whose syncs do nothing, so what the log itself costs.
#![allow(clippy::unwrap_used, missing_docs)]

mod load;
#[path = "load/unsynced.rs"]
mod unsynced;

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::sync_channel},
    time::{Duration, Instant},
};

use gaung_log::{Append, DiskOptions, Folder, Log, MemoryLog, SegmentLog};
use gaung_proto::{GroupId, Seq};

use load::{LOG, PAYLOAD, run};
use unsynced::Unsynced;

const EACH: Duration = Duration::from_millis(400);
/// Appenders, each of a group of its own, and messages a run.
const ROWS: [(u8, u64); 8] = [(1, 1), (1, 16), (1, 64), (1, 256), (1, 512), (16, 1), (16, 64), (64, 1)];

fn main() {
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).map_or_else(default_dir, PathBuf::from);
    println!("payload {PAYLOAD} B, {EACH:?} each, disk at {}; messages a second", dir.display());
    println!(
        "{:>10} {:>8} {:>10} {:>10} {:>9} {:>10} {:>10} {:>12} {:>10} {:>15}",
        "appenders",
        "msg/run",
        "disk",
        "bare",
        "disk/bare",
        "unsynced",
        "memory",
        "runs/commit",
        "us/commit",
        "syncs/commit"
    );
    for (appenders, messages) in ROWS {
        row(&dir, appenders, messages);
    }
}

fn row(dir: &Path, appenders: u8, messages: u64) {
    let folder = tempfile::tempdir_in(dir).unwrap();
    let disk = SegmentLog::open(folder.path(), DiskOptions::default()).unwrap();
    let before = disk.figures();
    let on_disk = measure(&disk, appenders, messages);
    let after = disk.figures();
    drop(disk);
    let commits = (after.commits - before.commits) as f64;
    let runs = (after.runs - before.runs) as f64 / commits;
    let bare = bare(folder.path(), messages, runs.round() as usize);
    let unsynced = tempfile::tempdir_in(dir).unwrap();
    let volume = Unsynced(Folder::hold(unsynced.path()).unwrap());
    let unsynced = measure(&SegmentLog::on(Arc::new(volume), DiskOptions::default()).unwrap(), appenders, messages);
    let in_memory = measure(&MemoryLog::new(64 << 20), appenders, messages);
    println!(
        "{appenders:>10} {messages:>8} {on_disk:>10.0} {bare:>10.0} {:>9.2} {unsynced:>10.0} \
         {in_memory:>10.0} {runs:>12.1} {:>10.0} {:>15.2}",
        on_disk / bare,
        (after.committing - before.committing).as_secs_f64() * 1e6 / commits,
        (after.syncs - before.syncs) as f64 / commits,
    );
}

/// Messages a second of one writer that appends `runs` runs to a file and syncs it.
fn bare(dir: &Path, messages: u64, runs: usize) -> f64 {
    let mut file = File::create(dir.join("bare")).unwrap();
    let bytes = run(GroupId([1; 16]), Seq::FIRST, messages).as_bytes().repeat(runs);
    let started = Instant::now();
    let mut total = 0;
    while started.elapsed() < EACH {
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        total += messages * runs as u64;
    }
    total as f64 / started.elapsed().as_secs_f64()
}

fn default_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().to_owned()
}

/// Messages acknowledged a second, by `appenders` that each wait for one run before the next.
fn measure(log: &dyn Log, appenders: u8, messages: u64) -> f64 {
    let groups: Vec<_> = (0..appenders).map(|n| GroupId([n; 16])).collect();
    let open: Vec<_> = groups.iter().map(|group| (*group, LOG, true)).collect();
    log.open_groups(&open).into_iter().for_each(|opened| drop(opened.unwrap()));
    let started = Instant::now();
    let total: u64 = std::thread::scope(|scope| {
        let appender = |group: GroupId| move || append_for(log, group, messages, started + EACH);
        let threads: Vec<_> = groups.into_iter().map(|group| scope.spawn(appender(group))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    total as f64 / started.elapsed().as_secs_f64()
}

fn append_for(log: &dyn Log, group: GroupId, messages: u64, until: Instant) -> u64 {
    let mut head = Seq::ZERO;
    let (to, from) = sync_channel(1);
    while Instant::now() < until {
        let to = to.clone();
        let append = Append { run: run(group, head.next(), messages), snapshot: None };
        log.append(vec![append], Box::new(move |outcome| to.send(outcome.unwrap()).unwrap()));
        head = from.recv().unwrap();
    }
    head.0
}
