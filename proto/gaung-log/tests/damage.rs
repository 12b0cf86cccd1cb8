//! Files whose bits have flipped: what they held is never served as good, and everything else is.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fault;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use fault::{
    FaultyDisk,
    model::{LOG, append, group, one, run},
};
use gaung_log::{AppendError, DiskLog, DiskOptions, Log, Position, ReadError};
use gaung_proto::{GroupId, Seq, run::Run};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

fn options() -> DiskOptions {
    DiskOptions { file_bytes: 512 << 10, open_files: 2, clock: || 1, ..DiskOptions::default() }
}

/// A log of several files, and every run in it.
struct Filled {
    disk: FaultyDisk,
    runs: HashMap<(GroupId, Seq), Run>,
    positions: HashMap<GroupId, Position>,
}

fn filled(close: bool) -> Filled {
    let disk = FaultyDisk::default();
    let log = DiskLog::on(Arc::new(disk.clone()), options()).unwrap();
    let mut runs = HashMap::new();
    for n in 1..=2 {
        log.open_group(group(n), LOG, true).unwrap();
    }
    for round in 0..12u64 {
        for n in 1..=2 {
            let Position { epoch, head, .. } = log.position(group(n)).unwrap();
            let len = if round % 3 == 0 { 60_000 } else { 400 };
            let sent = run(
                group(n),
                LOG,
                epoch,
                head.next(),
                1 + round % 3,
                head.0 + 1,
                if round % 3 == 0 { len } else { 400 },
            );
            runs.insert((group(n), head.next()), sent.clone());
            let snapshot = (round == 7).then(|| Bytes::from_static(b"snapshot"));
            append(&log, one(sent, snapshot)).unwrap();
        }
    }
    let positions = (1..=2).map(|n| (group(n), log.position(group(n)).unwrap())).collect();
    assert!(log.figures().files >= 3);
    let disk = if close {
        drop(log);
        disk
    } else {
        disk.after_kill()
    };
    Filled { disk, runs, positions }
}

/// Reads past everything damaged; what comes is what was appended. Returns how many messages are missing.
fn read_around(log: &DiskLog, filled: &Filled, group: GroupId) -> u64 {
    let head = log.position(group).map_or(Seq::ZERO, |position| position.head);
    let mut next = Seq::FIRST;
    let mut missing = 0;
    while next <= head {
        let skip_to = match log.read(group, LOG, next, 100_000) {
            Ok(runs) => {
                assert!(!runs.is_empty());
                for run in runs {
                    assert_eq!(run.as_bytes(), filled.runs[&(group, run.first_seq())].as_bytes(), "served as it was");
                    assert!(run.first_seq() <= next && next <= run.last_seq());
                    next = run.last_seq().next();
                }
                next
            }
            Err(ReadError::Damaged { missing }) => missing.last.next(),
            Err(ReadError::Trimmed { oldest }) => oldest,
            Err(error) => panic!("{error}"),
        };
        missing += skip_to.0 - next.0;
        next = skip_to;
    }
    missing
}

#[test]
fn a_flipped_bit_anywhere_is_never_served_as_good() {
    let filled = filled(true);
    let names = filled.disk.file_names();
    let mut noticed = 0;
    for seed in 0..240 {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = filled.disk.after_kill();
        let name = &names[rng.random_range(0..names.len())];
        let newest = name == names.last().unwrap();
        let bits = disk.bytes_of(name).len() * 8;
        disk.flip_bit(name, rng.random_range(0..bits));
        eprintln!("seed {seed}, {name}");
        let log = DiskLog::on(Arc::new(disk.clone()), options()).unwrap();
        for n in 1..=2 {
            let missing = read_around(&log, &filled, group(n));
            let Ok(opened) = log.open_group(group(n), LOG, false) else {
                assert!(newest, "seed {seed}: an older file takes no group away");
                continue;
            };
            assert!(opened.tail_lost || opened.head == filled.positions[&group(n)].head, "seed {seed}");
            assert!(newest || !opened.tail_lost, "seed {seed}");
            let sent = run(group(n), LOG, opened.epoch, opened.head.next(), 1, 99, 10);
            match append(&log, one(sent, None)) {
                Ok(head) => assert!(!opened.tail_lost && head == opened.head.next(), "seed {seed}"),
                Err(AppendError::TailLost { .. }) => assert!(opened.tail_lost, "seed {seed}"),
                Err(error) => panic!("seed {seed}: {error}"),
            }
            if missing > 0 {
                noticed += 1;
            }
        }
        // Setting aside goes through the committer, which has answered the appends since.
        let aside: Vec<_> = disk.file_names().into_iter().filter(|name| name.ends_with(".damaged")).collect();
        let mut reported: Vec<_> = log.damages().into_iter().map(|damage| damage.file).collect();
        reported.sort();
        reported.dedup();
        assert_eq!(aside, reported, "seed {seed}");
    }
    assert!(noticed > 50, "only {noticed} flips hit anything");
}

#[test]
fn a_flipped_bit_after_a_crash_is_never_served_as_good() {
    let filled = filled(false);
    let names = filled.disk.file_names();
    for seed in 0..80 {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = filled.disk.after_kill();
        let name = &names[rng.random_range(0..names.len())];
        let bits = disk.bytes_of(name).len() * 8;
        disk.flip_bit(name, rng.random_range(0..bits));
        eprintln!("seed {seed}, {name}");
        let log = DiskLog::on(Arc::new(disk), options()).unwrap();
        for n in 1..=2 {
            read_around(&log, &filled, group(n));
        }
    }
}

#[test]
fn a_file_damaged_while_it_is_read_is_set_aside_and_the_others_are_served() {
    let filled = filled(true);
    let first = &filled.disk.file_names()[0];
    let log = DiskLog::on(Arc::new(filled.disk.clone()), options()).unwrap();
    let needle = filled.runs[&(group(1), Seq(1))].as_bytes();
    let bytes = filled.disk.bytes_of(first);
    let at = bytes.windows(64).position(|window| window == &needle[needle.len() - 64..]).unwrap();
    filled.disk.flip_bit(first, at * 8 + 3);
    let Err(ReadError::Damaged { missing }) = log.read(group(1), LOG, Seq(1), 1000) else { panic!("it is served") };
    assert_eq!(missing.first, Seq(1));
    let rest = log.read(group(1), LOG, missing.last.next(), 1000).unwrap();
    assert_eq!(rest[0].first_seq(), missing.last.next());
    // The next transaction comes after the setting aside.
    log.put_config(group(1), Bytes::new()).unwrap();
    assert_eq!(log.damages().len(), 1);
    assert!(filled.disk.file_names().contains(&format!("{first}.damaged")));
    assert!(
        matches!(log.read(group(1), LOG, Seq(1), 1000), Err(ReadError::Trimmed { oldest }) if oldest == missing.last.next())
    );
}

#[test]
fn a_group_whose_newest_file_is_gone_is_read_but_not_appended_to_until_it_is_reset() {
    let filled = filled(true);
    let names = filled.disk.file_names();
    let newest = names.last().unwrap();
    for bit in 0..200 {
        filled.disk.flip_bit(newest, bit * 4099 % (filled.disk.bytes_of(newest).len() * 8));
    }
    for opening in 0..2 {
        let log = DiskLog::on(Arc::new(filled.disk.clone()), options()).unwrap();
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert!(opened.tail_lost, "opening {opening}");
        let sent = run(group(1), LOG, opened.epoch, opened.head.next(), 1, 99, 10);
        assert!(matches!(append(&log, one(sent, None)), Err(AppendError::TailLost { .. })));
        assert!(!log.read(group(1), LOG, opened.oldest, 1000).unwrap().is_empty());
    }
    let log = DiskLog::on(Arc::new(filled.disk.clone()), options()).unwrap();
    let other = gaung_proto::LogId(5);
    let opened = log.reset(group(1), other).unwrap();
    assert_eq!((opened.head, opened.tail_lost), (Seq::ZERO, false));
    append(&log, one(run(group(1), other, opened.epoch, Seq(1), 1, 1, 10), None)).unwrap();
}
