//! The log in B-trees and the log in segments side by side: appending, limits, reading, and opening after a crash.
//!
//! `cargo bench -p gaung-log --bench stores [-- DIR [MESSAGES]]`: DIR lies on the disk to measure, by default the target
//! folder; MESSAGES are those of the log that is opened, by default 4 000 000, for which DIR needs 2 GB. Some five minutes.
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

use gaung_log::{Append, DiskLog, DiskOptions, Folder, GroupRetention, Log, Runs, SegmentLog, Volume};
use gaung_proto::{GroupId, Seq};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use load::{LOG, PAYLOAD, run};
use unsynced::Unsynced;

const EACH: Duration = Duration::from_millis(400);
const ROUNDS: usize = 7;
/// Appenders, each of a group of its own, and messages a run.
const ROWS: [(u8, u64); 6] = [(1, 1), (64, 1), (16, 64), (1, 64), (1, 512), (16, 512)];
const GROUPS: u64 = 16;
const IN_A_RUN: u64 = 512;
const IN_FLIGHT: u64 = 8;
/// The newest segment is read at an opening, and others cost little.
const SEGMENT_BYTES: u64 = 128 << 20;
const MANY_GROUPS: u64 = 2000;
/// Times that each log is opened, or filled and cut.
const OPENINGS: usize = 5;
/// Random messages that are read one by one.
const POINTS: u32 = 5000;
/// What an opening is asked for.
const OPENED: [&str; 6] = [
    "messages",
    "opened, ms",
    "processor time of that, ms",
    "peak memory, MiB",
    "all messages read, ms a million",
    "one message read, us",
];

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
            Self::Segments => {
                Box::new(SegmentLog::on(volume, DiskOptions { file_bytes: SEGMENT_BYTES, ..options }).unwrap())
            }
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
        ["--open", store, dir, end] => open(Store::of(store), Path::new(dir), end),
        _ => {
            let default = std::env::current_exe().unwrap().parent().unwrap().to_owned();
            let dir = args.first().map_or(default, PathBuf::from);
            one_in_flight(&dir);
            appends(&dir);
            many_groups(&dir);
            retention(&dir, 400_000);
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

/// Messages acknowledged a second when each of many groups has one run of one message waiting at a time.
fn many_groups(dir: &Path) {
    let mut rates = [const { Vec::new() }; 2];
    for round in 0..ROUNDS {
        for which in [round % 2, 1 - round % 2] {
            let folder = tempfile::tempdir_in(dir).unwrap();
            let log = Store::BOTH[which].open(Arc::new(Folder::hold(folder.path()).unwrap()));
            let groups: Vec<_> = (0..MANY_GROUPS).map(group).collect();
            let asked: Vec<_> = groups.iter().map(|group| (*group, LOG, true)).collect();
            log.open_groups(&asked).into_iter().for_each(|opened| drop(opened.unwrap()));
            let (started, mut head) = (Instant::now(), Seq::ZERO);
            while started.elapsed() < EACH {
                head = append_to_all(&*log, &groups, head, 1, 1);
            }
            rates[which].push((head.0 * MANY_GROUPS) as f64 / started.elapsed().as_secs_f64());
        }
    }
    row(&format!("{MANY_GROUPS} groups, one message each in flight, messages/s"), rates);
}

/// Appends `runs` runs of `in_a_run` messages to each group and waits for all of them.
fn append_to_all(log: &dyn Log, groups: &[GroupId], head: Seq, runs: u64, in_a_run: u64) -> Seq {
    let (to, done) = sync_channel(groups.len());
    for group in groups {
        let append = |n| Append { run: run(*group, Seq(head.0 + 1 + n * in_a_run), in_a_run), snapshot: None };
        let to = to.clone();
        log.append((0..runs).map(append).collect(), Box::new(move |outcome| to.send(outcome).unwrap()));
    }
    groups.iter().fold(head, |_, _| done.recv().unwrap().unwrap())
}

fn row(what: &str, values: [Vec<f64>; 2]) {
    let [tree, segments] = values.map(median);
    println!("{what:<62} {tree:>12.1} {segments:>12.1} {:>6.2}", segments / tree);
}

/// Opening after an orderly end and after a kill, and reading: both stores filled alike, then opened in turn.
fn openings(dir: &Path, messages: u64, in_a_run: u64) {
    println!(
        "{messages} messages in {GROUPS} groups, {in_a_run} a run{:>24} {:>12} {:>6}",
        "tree", "segments", "ratio"
    );
    for end in ["closed", "crashed"] {
        let folders = Store::BOTH.map(|_| tempfile::tempdir_in(dir).unwrap());
        let mut sizes = [const { Vec::new() }; 2];
        for which in 0..2 {
            let path = folders[which].path().to_str().unwrap();
            let args = ["--fill", Store::BOTH[which].name(), path, &messages.to_string(), &in_a_run.to_string(), end];
            assert_eq!(step(&args).status().unwrap().success(), end == "closed");
            let entries = fs::read_dir(folders[which].path()).unwrap();
            let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
            sizes[which].push((bytes >> 20) as f64);
        }
        row(&format!("{end}: MiB on disk"), sizes);
        let mut found = [const { [const { Vec::new() }; OPENED.len()] }; 2];
        for round in 0..OPENINGS {
            for which in [round % 2, 1 - round % 2] {
                let path = folders[which].path().to_str().unwrap();
                let output = step(&["--open", Store::BOTH[which].name(), path, end]).output().unwrap();
                assert_eq!(output.status.success(), end == "closed");
                let text = String::from_utf8(output.stdout).unwrap();
                let figures = text.split_whitespace().map(|figure| figure.parse::<f64>().unwrap());
                figures.zip(&mut found[which]).for_each(|(figure, all)| all.push(figure));
            }
        }
        let [tree, segments] = found;
        for ((what, tree), segments) in OPENED.into_iter().zip(tree).zip(segments) {
            row(&format!("{end}: {what}"), [tree, segments]);
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
    let groups: Vec<_> = (0..GROUPS).map(group).collect();
    groups.iter().for_each(|group| drop(log.open_group(*group, LOG, true).unwrap()));
    let in_flight = if in_a_run == 1 { 512 } else { IN_FLIGHT };
    let (mut head, mut files, mut begun, mut most) = (Seq::ZERO, 0, 0, u64::MAX);
    // An opening takes as long as the newest file is large, so both have one that is almost full.
    while head.0 * GROUPS < messages || end != "partly" && head.0 - begun < most / 100 * 95 {
        head = append_to_all(&*log, &groups, head, in_flight, in_a_run);
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let now = names.filter(|name| name.starts_with("log-") && !name.ends_with(".new")).count();
        if now > files {
            (files, most, begun) = (now, if begun == 0 { u64::MAX } else { head.0 - begun }, head.0);
        }
    }
    if end == "crashed" {
        std::process::abort();
    }
}

/// Prints what [`OPENED`] names, and ends as the one that filled the log did.
fn open(store: Store, dir: &Path, end: &str) {
    let started = Instant::now();
    let log = store.open(Arc::new(Folder::hold(dir).unwrap()));
    let (opened, cpu) = (started.elapsed(), cpu_ms());
    let peak = peak_kib() as f64 / 1024.0;
    let asked: Vec<_> = (0..GROUPS).map(|n| (group(n), LOG, false)).collect();
    let messages: u64 = log.open_groups(&asked).into_iter().map(|opened| opened.unwrap().head.0).sum();
    let reading = Instant::now();
    let mut read = 0;
    for (group, ..) in &asked {
        for run in Runs::new(&*log, *group, LOG, Seq::FIRST, 1 << 20) {
            read += run.unwrap().messages().count() as u64;
        }
    }
    assert_eq!(read, messages);
    let (all, points) = (reading.elapsed(), Instant::now());
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..POINTS {
        let seq = Seq(rng.random_range(1..=messages / GROUPS));
        assert!(!log.read(group(rng.random_range(0..GROUPS)), LOG, seq, 1).unwrap().is_empty());
    }
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let point = ms(points.elapsed()) * 1e3 / f64::from(POINTS);
    println!("{messages} {} {cpu} {peak} {} {point}", ms(opened), ms(all) * 1e6 / messages as f64);
    if end == "crashed" {
        std::process::abort();
    }
}

/// Limits of groups by count and by bytes, and a budget of the whole, on a log of both stores filled alike.
fn retention(dir: &Path, messages: u64) {
    let mut took = [const { [const { Vec::new() }; 3] }; 2];
    let mut left = [const { Vec::new() }; 2];
    for round in 0..OPENINGS {
        for which in [round % 2, 1 - round % 2] {
            let folder = tempfile::tempdir_in(dir).unwrap();
            fill(Store::BOTH[which], folder.path(), messages, 64, "partly");
            let log = Store::BOTH[which].open(Arc::new(Folder::hold(folder.path()).unwrap()));
            let stored = log.stored_bytes();
            let by_count =
                GroupRetention { max_messages: Some(messages / GROUPS * 7 / 8), ..GroupRetention::default() };
            let by_bytes = GroupRetention { max_bytes: Some(stored / GROUPS / 2), ..GroupRetention::default() };
            let steps: [&dyn Fn(); 3] = [
                &|| (0..GROUPS).for_each(|n| log.retain_group(group(n), by_count, 0).unwrap()),
                &|| (0..GROUPS).for_each(|n| log.retain_group(group(n), by_bytes, 0).unwrap()),
                &|| log.shrink(stored / 2).unwrap(),
            ];
            for (step, took) in steps.into_iter().zip(&mut took[which]) {
                let started = Instant::now();
                step();
                took.push(started.elapsed().as_secs_f64() * 1e3);
            }
            left[which].push(
                (0..GROUPS).map(|n| log.position(group(n)).unwrap()).map(|at| at.head.0 + 1 - at.oldest.0).sum::<u64>()
                    as f64,
            );
        }
    }
    let [tree, segments] = took;
    let what = ["limit of messages, ms", "limit of bytes, ms", "shrunk to half of its bytes, ms"];
    for ((what, tree), segments) in what.into_iter().zip(tree).zip(segments) {
        row(&format!("{messages} messages, {what}"), [tree, segments]);
    }
    row("messages that are left in half of the bytes", left);
}

fn group(n: u64) -> GroupId {
    GroupId(u128::from(n + 1).to_be_bytes())
}

/// Processor time of this thread so far, ms.
fn cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

/// The most memory that this process ever had, KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
