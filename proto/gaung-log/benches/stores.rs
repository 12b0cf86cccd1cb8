//! The log in B-trees and the log in segments side by side: appending, reading, and opening after a crash.
//!
//! `cargo bench -p gaung-log --bench stores [-- DIR [MESSAGES]]`: DIR lies on the disk to measure, by default the target
//! folder; MESSAGES are those of the log that is opened, by default 4 000 000, for which DIR needs 1 GB. Some two minutes.
//! The two are measured in turn, and medians are given, for other work on the machine and its disk meets both. *unsynced* is
//! a disk whose syncs do nothing, so what the log itself costs.
#![allow(clippy::unwrap_used, missing_docs)]

mod load;
#[path = "load/unsynced.rs"]
mod unsynced;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc::sync_channel},
    time::{Duration, Instant},
};

use gaung_log::{Append, DiskLog, DiskOptions, Folder, Log, Runs, SegmentLog, Volume};
use gaung_proto::{GroupId, Seq};

use load::{LOG, PAYLOAD, run};
use unsynced::Unsynced;

const EACH: Duration = Duration::from_millis(400);
const ROUNDS: usize = 7;
/// Appenders, each of a group of its own, and messages a run.
const ROWS: [(u8, u64); 6] = [(1, 1), (64, 1), (16, 64), (1, 64), (1, 512), (16, 512)];
const GROUPS: u64 = 16;
const IN_A_RUN: u64 = 512;
const IN_FLIGHT: u64 = 8;

#[derive(Debug, Clone, Copy)]
enum Store {
    Tree,
    Segments,
}

impl Store {
    const BOTH: [Self; 2] = [Self::Tree, Self::Segments];

    fn of(name: &str) -> Self {
        if name == "tree" { Self::Tree } else { Self::Segments }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Segments => "segments",
        }
    }

    fn open(self, volume: Arc<dyn Volume>) -> Box<dyn Log> {
        let options = DiskOptions::default();
        match self {
            Self::Tree => Box::new(DiskLog::on(volume, options).unwrap()),
            Self::Segments => Box::new(SegmentLog::on(volume, options).unwrap()),
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--bench")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        // The steps are processes of their own: for a crash, and for the memory of an opening alone.
        ["--fill", store, dir, messages, in_a_run, end] => {
            fill(Store::of(store), Path::new(dir), messages.parse().unwrap(), in_a_run.parse().unwrap(), end);
        }
        ["--open", store, dir] => open(Store::of(store), Path::new(dir)),
        _ => {
            let default = std::env::current_exe().unwrap().parent().unwrap().to_owned();
            let dir = args.first().map_or(default, PathBuf::from);
            one_in_flight(&dir);
            appends(&dir);
            let messages = args.get(1).map_or(4_000_000, |messages| messages.parse().unwrap());
            for (in_a_run, messages) in [(IN_A_RUN, messages), (1, messages / 20)] {
                openings(&dir, messages, in_a_run);
            }
        }
    }
}

/// Latency of an append when the two stores append in turn, one at a time: other work on the machine meets both alike.
fn one_in_flight(dir: &Path) {
    for (messages, rounds) in [(1, 1500), (64, 800), (512, 300)] {
        let folders = Store::BOTH.map(|_| tempfile::tempdir_in(dir).unwrap());
        let open = |which: usize| Store::BOTH[which].open(Arc::new(Folder::hold(folders[which].path()).unwrap()));
        let logs = [open(0), open(1)];
        let group = GroupId([1; 16]);
        logs.iter().for_each(|log| drop(log.open_group(group, LOG, true).unwrap()));
        let (mut heads, mut took) = ([Seq::ZERO; 2], [const { Vec::new() }; 2]);
        for round in 0..rounds {
            for which in [round % 2, 1 - round % 2] {
                let append = Append { run: run(group, heads[which].next(), messages), snapshot: None };
                let (to, from) = sync_channel(1);
                let started = Instant::now();
                logs[which].append(vec![append], Box::new(move |outcome| to.send(outcome.unwrap()).unwrap()));
                heads[which] = from.recv().unwrap();
                took[which].push(started.elapsed().as_secs_f64() * 1e6);
            }
        }
        let [tree, segments] = took.map(median);
        println!(
            "one in flight, {messages} messages a run: median latency {tree:.0} us and {segments:.0} us, ratio {:.2}",
            segments / tree
        );
    }
}

fn appends(dir: &Path) {
    println!("payload {PAYLOAD} B, medians of {ROUNDS} times {EACH:?}, disk at {}; messages a second", dir.display());
    println!(
        "{:>9} {:>7} {:>10} {:>10} {:>6} {:>14} {:>14} {:>6}",
        "appenders", "msg/run", "tree", "segments", "ratio", "tree unsynced", "seg. unsynced", "ratio"
    );
    for (appenders, messages) in ROWS {
        let mut rates = [const { Vec::new() }; 4];
        for round in 0..ROUNDS {
            for which in 0..2 {
                let which = (which + round) % 2;
                let folder = tempfile::tempdir_in(dir).unwrap();
                let synced = Store::BOTH[which].open(Arc::new(Folder::hold(folder.path()).unwrap()));
                rates[which].push(measure(&*synced, appenders, messages));
                let folder = tempfile::tempdir_in(dir).unwrap();
                let unsynced = Store::BOTH[which].open(Arc::new(Unsynced(Folder::hold(folder.path()).unwrap())));
                rates[2 + which].push(measure(&*unsynced, appenders, messages));
            }
        }
        let [tree, segments, tree_unsynced, unsynced] = rates.map(median);
        println!(
            "{appenders:>9} {messages:>7} {tree:>10.0} {segments:>10.0} {:>6.2} {tree_unsynced:>14.0} {unsynced:>14.0} {:>6.2}",
            segments / tree,
            unsynced / tree_unsynced
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

fn openings(dir: &Path, messages: u64, in_a_run: u64) {
    println!("{messages} messages in {GROUPS} groups, {in_a_run} a run");
    for end in ["closed", "crashed"] {
        for store in Store::BOTH {
            let folder = tempfile::tempdir_in(dir).unwrap();
            let path = folder.path().to_str().unwrap();
            let started = Instant::now();
            let args = ["--fill", store.name(), path, &messages.to_string(), &in_a_run.to_string(), end];
            let ended = step(&args).status().unwrap();
            assert_eq!(ended.success(), end == "closed");
            let filled = started.elapsed();
            let entries = fs::read_dir(folder.path()).unwrap();
            let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
            println!("{end:>8} {:>9}: {} MiB written in {:.1} s", store.name(), bytes >> 20, filled.as_secs_f64());
            // The first one finds what the crash left.
            for _ in 0..3 {
                assert!(step(&["--open", store.name(), path]).status().unwrap().success());
            }
        }
    }
}

fn step(args: &[&str]) -> Command {
    let mut step = Command::new(std::env::current_exe().unwrap());
    step.args(args);
    step
}

fn fill(store: Store, dir: &Path, messages: u64, in_a_run: u64, end: &str) {
    let log = store.open(Arc::new(Folder::hold(dir).unwrap()));
    let groups: Vec<_> = (0..GROUPS).map(|n| GroupId([n as u8; 16])).collect();
    groups.iter().for_each(|group| drop(log.open_group(*group, LOG, true).unwrap()));
    let in_flight = if in_a_run == 1 { 512 } else { IN_FLIGHT };
    let mut head = Seq::ZERO;
    while head.0 * GROUPS < messages {
        let (to, done) = sync_channel(groups.len());
        for group in &groups {
            let first = |n| Seq(head.0 + 1 + n * in_a_run);
            let append = |n| Append { run: run(*group, first(n), in_a_run), snapshot: None };
            let to = to.clone();
            log.append((0..in_flight).map(append).collect(), Box::new(move |outcome| to.send(outcome).unwrap()));
        }
        for _ in &groups {
            head = done.recv().unwrap().unwrap();
        }
    }
    if end == "crashed" {
        std::process::abort();
    }
}

fn open(store: Store, dir: &Path) {
    let started = Instant::now();
    let log = store.open(Arc::new(Folder::hold(dir).unwrap()));
    let opened = started.elapsed();
    let asked: Vec<_> = (0..GROUPS).map(|n| (GroupId([n as u8; 16]), LOG, false)).collect();
    let messages: u64 = log.open_groups(&asked).into_iter().map(|opened| opened.unwrap().head.0).sum();
    let groups = started.elapsed();
    let peak = peak_kib() / 1024;
    let reading = Instant::now();
    let mut read = 0;
    for (group, ..) in &asked {
        for run in Runs::new(&*log, *group, LOG, Seq::FIRST, 1 << 20) {
            read += run.unwrap().messages().count() as u64;
        }
    }
    assert_eq!(read, messages);
    println!(
        "           opened in {} ms, with its groups in {} ms, peak memory {peak} MiB; all {messages} messages read in {} ms",
        opened.as_millis(),
        groups.as_millis(),
        reading.elapsed().as_millis()
    );
}

/// The most memory that this process ever had, KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
