//! Files whose bits have flipped: what they held is never served as good, and everything else is.
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    thread,
};

use crate::Store;
use crate::fault::{
    FaultyDisk,
    model::{LOG, append, group, one, run},
};
use bytes::Bytes;
use gaung_log::{AppendError, DiskOptions, Log, Position, ReadError};
use gaung_proto::{GroupId, Seq, run::Run};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

fn options() -> DiskOptions {
    DiskOptions { file_bytes: crate::FILE_BYTES, open_files: 2, clock: || 1, ..DiskOptions::default() }
}

/// A log of several files, and every run in it.
struct Filled {
    disk: FaultyDisk,
    runs: HashMap<(GroupId, Seq), Run>,
    /// In which file the run that begins with this message lies.
    lies_in: BTreeMap<(GroupId, Seq), String>,
    positions: HashMap<GroupId, Position>,
}

fn filled(close: bool) -> Filled {
    let disk = FaultyDisk::default();
    let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
    let (mut runs, mut lies_in) = (HashMap::new(), BTreeMap::new());
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
            lies_in.insert((group(n), head.next()), disk.file_names().pop().unwrap());
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
    Filled { disk, runs, lies_in, positions }
}

/// Reads past everything damaged; what comes is what was appended, and all of it that lies in files other than `damaged`.
/// Returns how many messages are missing.
fn read_around(log: &Store, filled: &Filled, group: GroupId, damaged: &[&str]) -> u64 {
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
        for seq in (next.0..skip_to.0).map(Seq) {
            let (_, file) = filled.lies_in.range((group, Seq::FIRST)..=(group, seq)).next_back().unwrap();
            assert!(damaged.contains(&file.as_str()), "{seq} lies in {file}, which is whole");
        }
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
        let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
        for n in 1..=2 {
            let missing = read_around(&log, &filled, group(n), &[name.as_str()]);
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
        let log = Store::on(Arc::new(disk), options()).unwrap();
        for n in 1..=2 {
            read_around(&log, &filled, group(n), &[name.as_str()]);
        }
    }
}

#[test]
fn a_file_damaged_while_it_is_read_is_set_aside_and_the_others_are_served() {
    let filled = filled(true);
    let first = &filled.disk.file_names()[0];
    let log = Store::on(Arc::new(filled.disk.clone()), options()).unwrap();
    let needle = filled.runs[&(group(1), Seq(1))].as_bytes();
    let bytes = filled.disk.bytes_of(first);
    let at = bytes.windows(64).position(|window| window == &needle[needle.len() - 64..]).unwrap();
    filled.disk.flip_bit(first, at * 8 + 3);
    let Err(ReadError::Damaged { missing }) = log.read(group(1), LOG, Seq(1), 1000) else { panic!("it is served") };
    assert_eq!(missing.first, Seq(1));
    let rest = log.read(group(1), LOG, missing.last.next(), 1000).unwrap();
    assert_eq!(rest[0].first_seq(), missing.last.next());
    // The next commit comes after the setting aside.
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
        let log = Store::on(Arc::new(filled.disk.clone()), options()).unwrap();
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert!(opened.tail_lost, "opening {opening}");
        let sent = run(group(1), LOG, opened.epoch, opened.head.next(), 1, 99, 10);
        assert!(matches!(append(&log, one(sent, None)), Err(AppendError::TailLost { .. })));
        assert!(!log.read(group(1), LOG, opened.oldest, 1000).unwrap().is_empty());
    }
    let log = Store::on(Arc::new(filled.disk.clone()), options()).unwrap();
    let other = gaung_proto::LogId(5);
    let opened = log.reset(group(1), other).unwrap();
    assert_eq!((opened.head, opened.tail_lost), (Seq::ZERO, false));
    append(&log, one(run(group(1), other, opened.epoch, Seq(1), 1, 1, 10), None)).unwrap();
}

#[test]
fn a_file_cut_short_anywhere_loses_at_most_what_it_held_and_is_named() {
    [true, false].map(filled).iter().for_each(cut_each_file);
}

fn cut_each_file(filled: &Filled) {
    let names = filled.disk.file_names();
    let newest = names.last().unwrap();
    for name in &names {
        let len = filled.disk.bytes_of(name).len();
        let cuts = [0, 1, 511, 4096, len / 3, len / 2 + 7, len - 4096, len - 1];
        for cut in cuts {
            let disk = filled.disk.after_kill();
            disk.truncate(name, cut);
            eprintln!("{name} cut to {cut} of {len}");
            let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
            for n in 1..=2 {
                read_around(&log, filled, group(n), &[name.as_str()]);
                match log.open_group(group(n), LOG, false) {
                    Ok(opened) => assert_eq!(opened.tail_lost, name == newest, "{opened:?}"),
                    Err(error) => assert!(name == newest, "an older file takes no group away: {error}"),
                }
            }
            let damages = log.damages();
            assert!(damages.iter().all(|damage| damage.file == format!("{name}.damaged")), "{damages:?}");
            assert!(!damages.is_empty(), "a file that was cut is noticed");
        }
    }
}

#[test]
fn old_files_go_bad_while_others_are_read_and_appended_to() {
    let filled = filled(true);
    let names = filled.disk.file_names();
    let bad: Vec<_> = names[..2].iter().map(String::as_str).collect();
    let log = Store::on(Arc::new(filled.disk.clone()), options()).unwrap();
    let opened = log.open_group(group(3), LOG, true).unwrap();
    for name in &bad {
        let bits = filled.disk.bytes_of(name).len() * 8;
        (0..bits).step_by(8 * 1000).for_each(|bit| filled.disk.flip_bit(name, bit));
    }
    let missing: u64 = thread::scope(|scope| {
        let reader = |n: u8| (0..20).map(|_| read_around(&log, &filled, group(n), &bad)).max().unwrap();
        let readers: Vec<_> = [1, 2, 1, 2].into_iter().map(|n| scope.spawn(move || reader(n))).collect();
        let mut head = opened.head;
        for client_seq in 1..=50 {
            let sent = run(group(3), LOG, opened.epoch, head.next(), 1, client_seq, 3);
            head = append(&log, one(sent, None)).expect("appends go on");
        }
        readers.into_iter().map(|reader| reader.join().expect("no reader fails")).max().unwrap()
    });
    assert!(missing > 0);
    let mut aside: Vec<_> = log.damages().into_iter().map(|damage| damage.file).collect();
    aside.sort();
    assert_eq!(aside, bad.iter().map(|name| format!("{name}.damaged")).collect::<Vec<_>>());
}
