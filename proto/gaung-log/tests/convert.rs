//! A log in B-trees becomes one in segments: all that it had is there, wherever the conversion was stopped.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

mod fault;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use fault::{
    FaultyDisk, Op, Plan,
    model::{LOG, append, group, one, run},
};
use gaung_log::{
    Append, AppendError, DiskLog, DiskOptions, GroupRetention, Log, OpenLogError, Opened, Runs, SegmentLog, Volume as _,
};
use gaung_proto::{Epoch, GroupId, LogId, Seq};
use redb::ReadableDatabase as _;

const FRESH: LogId = LogId(9);
/// What an older program takes for the newest file.
const GUARD: &str = "log-9999999999.redb";

fn options() -> DiskOptions {
    DiskOptions {
        file_bytes: 512 << 10,
        journal_bytes: 32 << 10,
        retry_after: Duration::ZERO,
        retry_at_most: Duration::ZERO,
        clock: || 1_000,
        ..DiskOptions::default()
    }
}

fn say(log: &dyn Log, n: u8, id: LogId, epoch: Epoch, seq: u64, len: usize, snapshot: Option<Bytes>) {
    append(log, one(run(group(n), id, epoch, Seq(seq), 1, seq, len), snapshot)).unwrap();
}

/// Several files and a journal, as a kill leaves them: a group with a snapshot and a config, one that was reset, one that was
/// deleted, one that was trimmed, and one without a message.
fn old_log() -> FaultyDisk {
    let disk = FaultyDisk::default();
    let log = DiskLog::on(Arc::new(disk.clone()), options()).unwrap();
    let epochs: Vec<Epoch> = (1..=5).map(|n| log.open_group(group(n), LOG, true).unwrap().epoch).collect();
    log.put_config(group(1), Bytes::from_static(b"config")).unwrap();
    for seq in 1..=12 {
        let snapshot = (seq % 4 == 0).then(|| Bytes::from(format!("as of {seq}")));
        for n in 1..=4u8 {
            let len = if n == 1 { 60_000 } else { 300 };
            say(&log, n, LOG, epochs[usize::from(n) - 1], seq, len, snapshot.clone().filter(|_| n == 1));
        }
    }
    let epoch = log.reset(group(2), FRESH).unwrap().epoch;
    (1..=3).for_each(|seq| say(&log, 2, FRESH, epoch, seq, 90, None));
    log.delete_group(group(3), 500).unwrap();
    let keep = GroupRetention { max_messages: Some(5), ..GroupRetention::default() };
    log.retain_group(group(4), keep, 0).unwrap();
    // These are in the journal alone.
    (13..=15).for_each(|seq| say(&log, 1, LOG, epochs[0], seq, 90, None));
    assert!(log.figures().files >= 3);
    disk.after_kill()
}

/// A file of the disk as a database of its own.
fn database(disk: &FaultyDisk, name: &str) -> (tempfile::TempDir, redb::Database) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, disk.bytes_of(name)).unwrap();
    (dir, redb::Database::open(path).unwrap())
}

/// All that a log tells: positions, configs, and every run byte by byte.
fn told(log: &dyn Log) -> BTreeMap<GroupId, (String, Vec<Bytes>)> {
    let of_group = |stored: gaung_log::StoredGroup| {
        let position = stored.position;
        let runs = Runs::new(log, stored.group, position.log, position.oldest, 100_000);
        let runs = runs.map(|run| run.unwrap().as_bytes().clone()).collect();
        (stored.group, (format!("{stored:?}"), runs))
    };
    log.groups().into_iter().map(of_group).collect()
}

fn check(disk: &FaultyDisk, expected: &BTreeMap<GroupId, (String, Vec<Bytes>)>, seed: u64) {
    let log = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap();
    assert_eq!(log.damages(), [], "seed {seed}");
    assert_eq!(&told(&log), expected, "seed {seed}");
    let names = disk.file_names();
    let is_expected = |name: &String| name.ends_with(".seg") || name.ends_with(".redb.converted") || name == GUARD;
    assert!(names.iter().all(is_expected), "seed {seed}: {names:?}");
    assert!(names.iter().any(|name| name == GUARD), "seed {seed}: an older program is refused");
}

#[test]
fn all_of_it_is_there_and_goes_on() {
    let disk = old_log();
    let expected = told(&DiskLog::on(Arc::new(disk.after_kill()), options()).unwrap());
    assert_eq!(expected[&group(1)].1.len(), 15);
    check(&disk, &expected, 0);
    // Not converted again, and closed in between.
    check(&disk, &expected, 1);
    let log = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap();
    let Opened { epoch, head, oldest, snapshot, tail_lost, .. } = log.open_group(group(1), LOG, false).unwrap();
    assert_eq!((epoch, head, oldest, tail_lost), (Epoch(2), Seq(15), Seq(1), false));
    assert_eq!(&snapshot.unwrap().bytes[..], b"as of 12");
    let stale = append(&log, one(run(group(1), LOG, Epoch(1), Seq(16), 1, 16, 9), None));
    assert!(matches!(stale, Err(AppendError::Fenced { .. })));
    append(&log, vec![Append { run: run(group(1), LOG, epoch, Seq(16), 1, 16, 9), snapshot: None }]).unwrap();
    assert_eq!(told(&log)[&group(1)].1.len(), 16);
    assert_eq!(log.position(group(4)).unwrap().oldest, Seq(8));
    drop(log);
    let log = SegmentLog::on(Arc::new(disk), options()).unwrap();
    assert_eq!(told(&log)[&group(1)].1.len(), 16, "the chain of hashes goes on");
}

#[test]
fn a_power_cut_anywhere_loses_nothing_of_it() {
    let start = old_log();
    let expected = told(&DiskLog::on(Arc::new(start.after_kill()), options()).unwrap());
    let disk = start.after_kill();
    disk.record();
    drop(SegmentLog::on(Arc::new(disk.clone()), options()).unwrap());
    let replayed = start.after_kill();
    let mut cuts = 0;
    for (n, op) in disk.journal().iter().enumerate() {
        // Writes of one file lie between its making and its sync; of them some will do.
        if !matches!(op, Op::Write(..) | Op::Len(..)) || n % 5 == 0 {
            for seed in n as u64..n as u64 + 3 {
                check(&replayed.after_power_cut(seed), &expected, seed);
                cuts += 1;
            }
        }
        replayed.replay(op);
    }
    assert!(cuts > 100, "{cuts}");
    check(&replayed.after_kill(), &expected, 0);
}

#[test]
fn a_full_disk_stops_it_and_it_goes_on_when_there_is_room() {
    let start = old_log();
    let expected = told(&DiskLog::on(Arc::new(start.after_kill()), options()).unwrap());
    let whole = start.after_kill();
    drop(SegmentLog::on(Arc::new(whole.clone()), options()).unwrap());
    let mut refused = 0;
    for n in 0..whole.counts().writes {
        let disk = start.after_kill();
        disk.plan(Plan { fail_writes_from: Some(n), error: Some(io::ErrorKind::StorageFull), ..Plan::default() });
        refused += u64::from(SegmentLog::on(Arc::new(disk.clone()), options()).is_err());
        disk.plan(Plan::default());
        check(&disk, &expected, n);
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn the_files_that_were_converted_are_kept_while_there_is_room() {
    let start = old_log();
    let old: Vec<(String, Vec<u8>)> = {
        // As they are once the journal is in them.
        let log = DiskLog::on(Arc::new(start.clone()), DiskOptions { journal_bytes: 0, ..options() }).unwrap();
        drop(log);
        start.log_names().into_iter().map(|name| (name.clone(), start.bytes_of(&name))).collect()
    };
    let log = SegmentLog::on(Arc::new(start.clone()), options()).unwrap();
    for (name, bytes) in &old {
        assert_eq!(start.bytes_of(&format!("{name}.converted")).len(), bytes.len(), "{name}");
    }
    let expected = told(&log);
    let (with_copies, copies) = (log.stored_bytes(), old.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert!(with_copies > copies);
    log.shrink(with_copies).unwrap();
    assert_eq!(log.stored_bytes(), with_copies);
    log.shrink(with_copies - 1).unwrap();
    assert_eq!(log.stored_bytes(), with_copies - copies);
    assert_eq!(told(&log), expected);
}

#[test]
fn an_older_program_finds_a_newest_file_of_a_later_format() {
    let disk = old_log();
    drop(SegmentLog::on(Arc::new(disk.clone()), options()).unwrap());
    let (_dir, db) = database(&disk, GUARD);
    let meta = db.begin_read().unwrap().open_table(redb::TableDefinition::<&str, &[u8]>::new("meta")).unwrap();
    assert_eq!(meta.get("format").unwrap().unwrap().value(), 3u32.to_be_bytes());
}

#[test]
fn what_an_older_program_wrote_since_is_neither_dropped_nor_taken() {
    let disk = old_log();
    drop(SegmentLog::on(Arc::new(disk.clone()), options()).unwrap());
    let log = DiskLog::on(Arc::new(disk.clone()), options()).unwrap();
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    say(&log, 1, LOG, epoch, 1, 90, None);
    drop(log);
    let before = disk.file_names();
    let error = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap_err();
    assert!(matches!(&error, OpenLogError::File { file, .. } if file == "log-0000000001.redb"), "{error}");
    assert!(error.to_string().contains("older program"), "{error}");
    assert_eq!(disk.file_names(), before);
    disk.remove("log-0000000001.redb").unwrap();
    let log = SegmentLog::on(Arc::new(disk), options()).unwrap();
    assert_eq!(told(&log)[&group(1)].1.len(), 15);
}
