//! Appends a second, on disk and in memory, by messages a run and by appenders; at most 10 s.
//!
//! `cargo bench -p gaung-log [-- DIR]`: DIR lies on the disk to measure, by default the target folder.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    path::PathBuf,
    sync::mpsc::sync_channel,
    time::{Duration, Instant},
};

use gaung_log::{Append, DiskLog, DiskOptions, Log, MemoryLog};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

const LOG: LogId = LogId(1);
const PAYLOAD: usize = 200;
const EACH: Duration = Duration::from_millis(600);

fn main() {
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).map_or_else(default_dir, PathBuf::from);
    println!("payload {PAYLOAD} B, {EACH:?} each, disk at {}", dir.display());
    println!(
        "{:>10} {:>8} {:>12} {:>12} {:>9} {:>12} {:>11} {:>11}",
        "appenders", "msg/run", "disk msg/s", "memory msg/s", "ratio", "runs/commit", "ms/commit", "ms to open"
    );
    for (appenders, messages) in [(1, 1), (1, 64), (1, 256), (16, 1), (16, 64), (64, 1), (64, 256)] {
        let folder = tempfile::tempdir_in(&dir).unwrap();
        let disk = DiskLog::open(folder.path(), DiskOptions::default()).unwrap();
        let on_disk = measure(&disk, appenders, messages);
        let figures = disk.figures();
        drop(disk);
        let started = Instant::now();
        drop(DiskLog::open(folder.path(), DiskOptions::default()).unwrap());
        let reopened = started.elapsed().as_secs_f64() * 1000.0;
        let in_memory = measure(&MemoryLog::new(64 << 20), appenders, messages);
        let commits = (figures.transactions - 1).max(1) as f64;
        let (runs, ms) = (figures.runs as f64 / commits, figures.committing.as_secs_f64() * 1000.0 / commits);
        println!(
            "{appenders:>10} {messages:>8} {on_disk:>12.0} {in_memory:>12.0} {:>9.4} {runs:>12.1} {ms:>11.2} {reopened:>11.0}",
            on_disk / in_memory
        );
    }
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

fn run(group: GroupId, base_seq: Seq, messages: u64) -> Run {
    let mut block = BlockBuilder::new();
    for i in 0..messages {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
            client_seq: ClientSeq(base_seq.0 + i),
            content_type: ContentType::from_byte(1),
            sent_at: SentAt(0),
            payload: &[7; PAYLOAD],
        });
    }
    Run::encode(RunHeader { group, log: LOG, epoch: Epoch(1), base_seq }, &block)
}
