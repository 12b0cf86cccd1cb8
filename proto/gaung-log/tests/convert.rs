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
    Append, AppendError, DiskOptions, Log, OpenLogError, Opened, Position, Runs, SegmentLog, StoredGroup, Volume as _,
};
use gaung_proto::{Epoch, GroupId, LogId, Seq};
use redb::ReadableDatabase as _;

const FRESH: LogId = LogId(9);
/// What an older program takes for the newest file.
const GUARD: &str = "log-9999999999.redb";

fn options() -> DiskOptions {
    DiskOptions {
        file_bytes: 512 << 10,
        retry_after: Duration::ZERO,
        retry_at_most: Duration::ZERO,
        clock: || 1_000,
        ..DiskOptions::default()
    }
}

/// Several files and a journal, as a kill of the program before segments left them. Groups 1 to 5 were opened once; 1 to 4
/// have twelve messages, of which those of group 1 are 60 000 bytes long and each fourth has a snapshot; then group 2 was
/// reset and has three of the new log, 3 was deleted at 500 ms, 4 was cut to its last five, and 1 has three more, of 90
/// bytes, in the journal alone.
fn old_log() -> FaultyDisk {
    let disk = FaultyDisk::default();
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/log-format-2")).unwrap() {
        let entry = entry.unwrap();
        put(&disk, &entry.file_name().to_string_lossy(), &std::fs::read(entry.path()).unwrap());
    }
    disk.after_kill()
}

/// What the program that wrote the log would say of it, with the bytes of all runs.
fn expected() -> BTreeMap<GroupId, (String, Vec<Bytes>)> {
    let bytes = |n: u8, log, epoch, seq, len| run(group(n), log, epoch, Seq(seq), 1, seq, len).as_bytes().clone();
    let of = |n: u8, log: LogId, epoch: u32, lens: &[(u64, usize)], config: &'static [u8]| {
        let runs: Vec<Bytes> = lens.iter().map(|(seq, len)| bytes(n, log, Epoch(epoch), *seq, *len)).collect();
        let (oldest, head) = (lens.first().map_or(1, |(seq, _)| *seq), lens.last().map_or(0, |(seq, _)| *seq));
        let position = Position { log, epoch: Epoch(epoch), head: Seq(head), oldest: Seq(oldest) };
        let deleted_at_ms = (n == 3).then_some(500);
        let stored = StoredGroup { group: group(n), position, config: Bytes::from_static(config), deleted_at_ms };
        (group(n), (format!("{stored:?}"), runs))
    };
    let short: Vec<_> = (1..=12).map(|seq| (seq, 300)).collect();
    let first: Vec<_> = (1..=15).map(|seq| (seq, if seq <= 12 { 60_000 } else { 90 })).collect();
    [
        of(1, LOG, 1, &first, b"config"),
        of(2, FRESH, 2, &[(1, 90), (2, 90), (3, 90)], b""),
        of(3, LOG, 1, &short, b""),
        of(4, LOG, 1, &short[7..], b""),
        of(5, LOG, 1, &[], b""),
    ]
    .into()
}

/// A file of the disk as a database of its own.
fn database(disk: &FaultyDisk, name: &str) -> (tempfile::TempDir, redb::Database) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, disk.bytes_of(name)).unwrap();
    (dir, redb::Database::open(path).unwrap())
}

fn put(disk: &FaultyDisk, name: &str, bytes: &[u8]) {
    let file = disk.create(name).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write(0, bytes).unwrap();
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
    let is_expected = |name: &String| name.ends_with(".seg") || name.ends_with(".converted") || name == GUARD;
    assert!(names.iter().all(is_expected), "seed {seed}: {names:?}");
    assert!(names.iter().any(|name| name == GUARD), "seed {seed}: an older program is refused");
}

#[test]
fn all_of_it_is_there_and_goes_on() {
    let disk = old_log();
    let expected = expected();
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
    let expected = expected();
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
    let expected = expected();
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
    let old = start.file_names();
    assert!(old.len() > 3 && old.contains(&"journal".to_owned()), "{old:?}");
    let log = SegmentLog::on(Arc::new(start.clone()), options()).unwrap();
    let bytes_kept = |name: &String| start.bytes_of(&format!("{name}.converted")).len() as u64;
    let (with_copies, copies) = (log.stored_bytes(), old.iter().map(bytes_kept).sum::<u64>());
    assert!(with_copies > copies);
    log.shrink(with_copies).unwrap();
    assert_eq!(log.stored_bytes(), with_copies);
    log.shrink(with_copies - 1).unwrap();
    assert_eq!(log.stored_bytes(), with_copies - copies);
    assert_eq!(told(&log), expected());
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
    // It knew of nothing, and began anew.
    let name = "log-0000000001.redb";
    put(&disk, name, &old_log().bytes_of(name));
    let before = disk.file_names();
    let error = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap_err();
    assert!(matches!(&error, OpenLogError::File { file, .. } if file == "log-0000000001.redb"), "{error}");
    assert!(error.to_string().contains("older program"), "{error}");
    assert_eq!(disk.file_names(), before);
    disk.remove("log-0000000001.redb").unwrap();
    let log = SegmentLog::on(Arc::new(disk), options()).unwrap();
    assert_eq!(told(&log)[&group(1)].1.len(), 15);
}

#[test]
fn what_only_the_journal_had_is_lost_with_it_and_nothing_is_given_its_place() {
    // A bit in an entry before the last, a part of it cut off, and all of it gone.
    let harms: [fn(&FaultyDisk); 3] = [
        |disk| disk.flip_bit("journal", 100 * 8),
        |disk| disk.truncate("journal", 4096),
        |disk| disk.remove("journal").unwrap(),
    ];
    for (n, harm) in harms.into_iter().enumerate() {
        let disk = old_log();
        harm(&disk);
        let log = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap();
        assert_eq!(log.damages().len(), 1, "{n}: {:?}", log.damages());
        assert!(log.damages()[0].file.starts_with("journal"), "{n}: {:?}", log.damages());
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert!(opened.tail_lost && (12..15).contains(&opened.head.0), "{n}: {opened:?}");
        assert_eq!(told(&log)[&group(1)].1[..12], expected()[&group(1)].1[..12], "{n}");
        assert_eq!(disk.file_names().iter().any(|name| name.ends_with(".damaged")), n < 2, "{n}: it is kept");
        drop(log);
        let log = SegmentLog::on(Arc::new(disk), options()).unwrap();
        assert!(log.open_group(group(1), LOG, false).unwrap().tail_lost, "{n}: it is not forgotten");
    }
}

#[test]
fn a_damaged_old_file_is_set_aside_and_named() {
    let names = old_log().log_names();
    for (n, name) in names.iter().enumerate() {
        let disk = old_log();
        disk.truncate(name, 1000);
        let log = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap();
        let is_newest = n + 1 == names.len();
        let damages: Vec<_> = log.damages().into_iter().map(|damage| damage.file).collect();
        assert!(damages.contains(&format!("{name}.damaged")), "{damages:?}");
        assert!(disk.file_names().contains(&format!("{name}.damaged")));
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert_eq!(opened.tail_lost, is_newest, "{name}");
        assert!(is_newest || opened.head == Seq(15), "{name}: {opened:?}");
    }
}

#[test]
fn a_damaged_record_is_missed_alone() {
    let disk = old_log();
    let needle = run(group(3), LOG, Epoch(1), Seq(2), 1, 2, 300);
    let tail = &needle.as_bytes()[needle.as_bytes().len() - 100..];
    let name = disk.log_names()[0].clone();
    let bytes = disk.bytes_of(&name);
    let places: Vec<usize> = (0..bytes.len() - 100).filter(|&at| &bytes[at..at + 100] == tail).collect();
    assert!(!places.is_empty());
    places.iter().for_each(|at| disk.flip_bit(&name, at * 8));
    let log = SegmentLog::on(Arc::new(disk), options()).unwrap();
    assert!(log.read(group(3), LOG, Seq(2), 1).is_err());
    let opened = log.open_group(group(1), LOG, false).unwrap();
    assert_eq!((opened.head, opened.tail_lost), (Seq(15), false));
}

#[test]
fn a_later_format_is_refused_and_nothing_is_changed() {
    let disk = old_log();
    let name = disk.log_names().pop().unwrap();
    {
        let (dir, db) = database(&disk, &name);
        let txn = db.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
        txn.open_table(meta).unwrap().insert("format", 3u32.to_be_bytes().as_slice()).unwrap();
        txn.commit().unwrap();
        drop(db);
        put(&disk, &name, &std::fs::read(dir.path().join("file")).unwrap());
    }
    let error = SegmentLog::on(Arc::new(disk.clone()), options()).unwrap_err();
    assert!(matches!(error, OpenLogError::NewerFormat { found: 3, supported: 2, .. }), "{error}");
    assert!(disk.file_names().contains(&name));
}
