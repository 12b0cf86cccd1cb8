//! Small appends are durable in the journal before they are in a file: served, found again, and never taken for good when
//! its bits have flipped.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fault;

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use fault::{
    FaultyDisk, Plan,
    model::{LOG, append, client_seqs, group, one, run},
};
use gaung_log::{Append, AppendError, DiskLog, DiskOptions, GroupRetention, Log, salvage};
use gaung_proto::{Epoch, LogId, Seq};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redb::ReadableTable as _;

const JOURNAL: &str = "journal";
/// That of [`killed`] once it was set aside: the first round is the one before there was a journal.
const FIRST_DAMAGED: &str = "journal-0000000002.damaged";
/// An entry takes so much at least.
const ENTRY: usize = 4096;

fn options() -> DiskOptions {
    DiskOptions { journal_bytes: 16 * ENTRY, clock: || 1, ..DiskOptions::default() }
}

fn open(disk: &FaultyDisk) -> DiskLog {
    DiskLog::on(Arc::new(disk.clone()), options()).unwrap()
}

/// Appends messages `from` to `to`, one by one.
fn append_each(log: &dyn Log, n: u8, epoch: Epoch, from: u64, to: u64) {
    for seq in from..=to {
        let snapshot = (seq % 5 == 0).then(|| Bytes::from(seq.to_string()));
        append(log, one(run(group(n), LOG, epoch, Seq(seq), 1, seq, 90), snapshot)).unwrap();
    }
}

fn log_bytes(disk: &FaultyDisk) -> Vec<u8> {
    disk.bytes_of(&disk.log_names()[0])
}

/// A log with message 1 in the file and messages 2 to `last` in the journal, as a kill leaves it.
fn killed(last: u64) -> FaultyDisk {
    let disk = FaultyDisk::default();
    let log = open(&disk);
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    append_each(&log, 1, epoch, 1, 1);
    let before = log_bytes(&disk);
    append_each(&log, 1, epoch, 2, last);
    assert_eq!(log_bytes(&disk), before, "the file is left alone");
    disk.after_kill()
}

/// Opens the log, adds a group with messages 1 to 12, and leaves it as a kill does, with a bit of an entry flipped.
fn used_and_damaged(disk: &FaultyDisk, n: u8, entry: usize) -> FaultyDisk {
    let log = open(disk);
    let epoch = log.open_group(group(n), LOG, true).unwrap().epoch;
    append_each(&log, n, epoch, 1, 12);
    let disk = disk.after_kill();
    disk.flip_bit(JOURNAL, (entry * ENTRY + 100) * 8);
    disk
}

#[test]
fn a_small_append_costs_one_sync_and_no_change_of_the_file() {
    let disk = FaultyDisk::default();
    let log = open(&disk);
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    append_each(&log, 1, epoch, 1, 1);
    let before = disk.counts();
    append_each(&log, 1, epoch, 2, 11);
    let after = disk.counts();
    assert_eq!((after.syncs - before.syncs, after.writes - before.writes), (10, 10));
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)), (1..=11).collect::<Vec<_>>(), "from the file and from memory");
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(7)), (7..=11).collect::<Vec<_>>());
    assert!(log.read(group(1), LOG, Seq(12), 1000).unwrap().is_empty());
    let (head, known) = (log.position(group(1)).unwrap().head, log.groups());
    assert_eq!((head, known[0].position.head), (Seq(11), Seq(11)));
}

#[test]
fn many_rounds_and_groups_and_long_messages_between_are_all_there() {
    let disk = FaultyDisk::default();
    let log = open(&disk);
    let mut heads = [0u64; 3];
    let epochs = [1, 2, 3].map(|n| log.open_group(group(n), LOG, true).unwrap().epoch);
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..300 {
        let n = rng.random_range(0..3);
        let len = if rng.random_bool(0.05) { 30_000 } else { rng.random_range(0..300) };
        let next = Seq(heads[n] + 1);
        append(&log, one(run(group(n as u8 + 1), LOG, epochs[n], next, 1, next.0, len), None)).unwrap();
        heads[n] += 1;
    }
    for disk in [disk.after_kill(), {
        drop(log);
        disk
    }] {
        let log = open(&disk);
        for (n, head) in (1..).zip(heads) {
            assert_eq!(client_seqs(&log, group(n), LOG, Seq(1)), (1..=head).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_the_journal_has_is_found_again_with_its_snapshot_and_goes_on() {
    let disk = killed(12);
    for opening in 1..=3 {
        let log = open(&disk);
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert_eq!((opened.head.0, opened.oldest, opened.tail_lost), (10 + 2 * opening, Seq(1), false));
        assert_eq!(opened.epoch.0, opening as u32 + 1);
        assert_eq!(opened.snapshot.unwrap().bytes, (opened.head.0 / 5 * 5).to_string());
        append_each(&log, 1, opened.epoch, opened.head.0 + 1, opened.head.0 + 2);
        let stale = append(&log, one(run(group(1), LOG, Epoch(1), opened.head.plus(3), 1, 99, 9), None));
        assert!(matches!(stale, Err(AppendError::Fenced { .. })), "{stale:?}");
        let gap = append(&log, one(run(group(1), LOG, opened.epoch, opened.head.plus(4), 1, 99, 9), None));
        assert!(matches!(gap, Err(AppendError::NotNext { head }) if head == opened.head.plus(2)), "{gap:?}");
        assert_eq!(log.damages(), []);
        let killed = disk.after_kill();
        drop(log);
        assert_eq!(client_seqs(&open(&killed), group(1), LOG, Seq(1)).len() as u64, 12 + 2 * opening);
    }
}

#[test]
fn a_reset_and_limits_see_what_the_journal_has() {
    let disk = killed(12);
    let log = open(&disk);
    let keep = GroupRetention { max_messages: Some(3), ..GroupRetention::default() };
    log.retain_group(group(1), keep, 0).unwrap();
    assert_eq!(log.position(group(1)).unwrap().oldest, Seq(10));
    let opened = log.open_group(group(1), LOG, false).unwrap();
    append_each(&log, 1, opened.epoch, 13, 14);
    let fresh = log.reset(group(1), LogId(9)).unwrap();
    assert_eq!((fresh.head, log.position(group(1)).unwrap().head), (Seq::ZERO, Seq::ZERO));
    append(&log, one(run(group(1), LogId(9), fresh.epoch, Seq(1), 2, 1, 10), None)).unwrap();
    assert_eq!(client_seqs(&open(&disk.after_kill()), group(1), LogId(9), Seq(1)), [1, 2]);
}

#[test]
fn a_flipped_bit_in_the_journal_is_never_served_as_good() {
    let whole = killed(12);
    let (mut lost, mut last_lost, mut unharmed) = (0, 0, 0);
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = whole.after_kill();
        // Eleven entries, of which less than 300 bytes are in use; sometimes behind them.
        let (entry, byte) = (rng.random_range(0..12), rng.random_range(0..350));
        disk.flip_bit(JOURNAL, (entry * ENTRY + byte) * 8 + rng.random_range(0..8));
        let log = open(&disk);
        let opened = log.open_group(group(1), LOG, false).unwrap();
        let found = client_seqs(&log, group(1), LOG, Seq(1));
        assert_eq!(found, (1..=opened.head.0).collect::<Vec<_>>(), "seed {seed}");
        let damages: Vec<_> = log.damages().into_iter().map(|damage| damage.file).collect();
        let refused = append(&log, one(run(group(1), LOG, opened.epoch, opened.head.next(), 1, 99, 9), None)).is_err();
        assert_eq!(refused, opened.tail_lost, "seed {seed}");
        match opened.head.0 {
            12 => unharmed += 1,
            // It cannot be told from one that the power cut.
            11 if entry == 10 => last_lost += 1,
            head => {
                assert_eq!(head, 1 + entry as u64, "seed {seed}: all before it is served");
                assert!(opened.tail_lost, "seed {seed}");
                assert_eq!(damages, [FIRST_DAMAGED], "seed {seed}");
                assert!(disk.file_names().contains(&FIRST_DAMAGED.to_owned()), "seed {seed}");
                lost += 1;
            }
        }
        assert_eq!(opened.tail_lost, !damages.is_empty(), "seed {seed}");
    }
    assert!(lost > 50 && last_lost > 3 && unharmed > 10, "{lost} {last_lost} {unharmed}");
}

#[test]
fn a_journal_that_is_cut_or_gone_is_told_and_nothing_is_given_its_place() {
    for cut in [Some(0), Some(3 * ENTRY + 100), Some(15 * ENTRY), None] {
        let disk = killed(12);
        match cut {
            Some(len) => disk.truncate(JOURNAL, len),
            None => gaung_log::Volume::remove(&disk, JOURNAL).unwrap(),
        }
        let log = open(&disk);
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert!(opened.tail_lost, "{cut:?}");
        assert_eq!(log.damages().len(), 1, "{cut:?}");
        let there = client_seqs(&log, group(1), LOG, Seq(1));
        assert!(there.len() as u64 == opened.head.0 && (1..=12).contains(&opened.head.0), "{cut:?}");
        drop(log);
        let log = open(&disk);
        assert!(log.open_group(group(1), LOG, false).unwrap().tail_lost, "{cut:?}: it is not forgotten");
        let fresh = log.reset(group(1), LogId(3)).unwrap();
        append(&log, one(run(group(1), LogId(3), fresh.epoch, Seq(1), 1, 1, 9), None)).unwrap();
    }
}

#[test]
fn without_its_file_the_journal_is_set_aside() {
    let disk = killed(12);
    let name = disk.log_names()[0].clone();
    disk.truncate(&name, 100);
    let log = open(&disk);
    let mut damages: Vec<_> = log.damages().into_iter().map(|damage| damage.file).collect();
    damages.sort();
    assert_eq!(damages, [FIRST_DAMAGED.to_owned(), format!("{name}.damaged")]);
    let opened = log.open_group(group(2), LOG, true).unwrap();
    append_each(&log, 2, opened.epoch, 1, 7);
    assert_eq!(client_seqs(&open(&disk.after_kill()), group(2), LOG, Seq(1)), (1..=7).collect::<Vec<_>>());
}

#[test]
fn a_log_of_the_format_before_goes_on_with_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let log = DiskLog::open(dir.path(), DiskOptions { journal_bytes: 0, ..options() }).unwrap();
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    append_each(&log, 1, epoch, 1, 5);
    drop(log);
    to_format_1(&dir.path().join("log-0000000001.redb"));
    let log = DiskLog::open(dir.path(), options()).unwrap();
    let epoch = log.open_group(group(1), LOG, false).unwrap().epoch;
    append_each(&log, 1, epoch, 6, 9);
    assert!(dir.path().join(JOURNAL).exists());
    drop(log);
    let log = DiskLog::open(dir.path(), options()).unwrap();
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)), (1..=9).collect::<Vec<_>>());
}

#[test]
fn another_logs_journal_is_not_believed() {
    let other = FaultyDisk::default();
    let log = open(&other);
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    append(&log, one(run(group(1), LOG, epoch, Seq(1), 1, 1, 91), None)).unwrap();
    append_each(&log, 1, epoch, 2, 5);
    let (dir, other) = (in_folder(&killed(12)), in_folder(&other.after_kill()));
    fs::copy(other.path().join(JOURNAL), dir.path().join(JOURNAL)).unwrap();
    let log = DiskLog::open(dir.path(), options()).unwrap();
    let opened = log.open_group(group(1), LOG, false).unwrap();
    assert_eq!((opened.head, opened.tail_lost), (Seq(1), true));
    let damages = log.damages();
    assert!(damages[0].file == FIRST_DAMAGED && damages[0].why.contains("does not follow"), "{damages:?}");
}

/// Says of a file what the program before the journal said.
fn to_format_1(path: &std::path::Path) {
    let db = redb::Database::open(path).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut meta = txn.open_table(redb::TableDefinition::<&str, &[u8]>::new("meta")).unwrap();
        let file = meta.get("file").unwrap().unwrap().value()[4..28].to_vec();
        let crc = crc32c::crc32c_append(crc32c::crc32c(b"file"), &file).to_be_bytes();
        meta.insert("file", [&crc[..], &file].concat().as_slice()).unwrap();
        meta.insert("format", 1u32.to_be_bytes().as_slice()).unwrap();
    }
    txn.commit().unwrap();
}

/// The files of a disk in memory, in a folder.
fn in_folder(disk: &FaultyDisk) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in disk.file_names() {
        fs::write(dir.path().join(&name), disk.bytes_of(&name)).unwrap();
    }
    dir
}

#[test]
fn salvage_copies_what_only_the_journal_has() {
    let dir = in_folder(&killed(12));
    let to = tempfile::tempdir().unwrap();
    let told = salvage(dir.path(), &to.path().join("new")).unwrap();
    let copied = &told.groups[0];
    assert_eq!((copied.runs, copied.head, copied.whole_to_end, copied.missing.len()), (12, Seq(12), true, 0));
    let journal = told.files.last().unwrap();
    assert_eq!((journal.name.as_str(), journal.read, &journal.fault), (JOURNAL, 11, &None));
    let log = DiskLog::open(&to.path().join("new"), options()).unwrap();
    let opened = log.open_group(group(1), LOG, false).unwrap();
    append_each(&log, 1, opened.epoch, 13, 13);
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)), (1..=13).collect::<Vec<_>>());
}

#[test]
fn a_log_that_was_closed_needs_no_journal_and_one_that_was_not_is_missed() {
    let crashed = killed(12);
    let closed = crashed.after_kill();
    drop(open(&closed));
    for (disk, last, whole) in [(closed, 12, true), (crashed, 1, false)] {
        gaung_log::Volume::remove(&disk, JOURNAL).unwrap();
        let to = tempfile::tempdir().unwrap();
        let told = salvage(in_folder(&disk).path(), &to.path().join("new")).unwrap();
        assert_eq!((told.groups[0].head, told.groups[0].whole_to_end), (Seq(last), whole));
        assert_eq!(told.files.iter().any(|file| file.name == JOURNAL), !whole, "{:?}", told.files);
        let log = open(&disk);
        let opened = log.open_group(group(1), LOG, false).unwrap();
        assert_eq!((opened.head, opened.tail_lost), (Seq(last), !whole));
        assert_eq!(log.damages().is_empty(), whole);
        if whole {
            append_each(&log, 1, opened.epoch, 13, 15);
            assert_eq!(client_seqs(&open(&disk.after_kill()), group(1), LOG, Seq(1)), (1..=15).collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_journal_that_is_set_aside_takes_the_place_of_no_other() {
    let disk = killed(12);
    disk.flip_bit(JOURNAL, (4 * ENTRY + 100) * 8);
    let disk = used_and_damaged(&disk, 2, 6);
    open(&disk).open_group(group(3), LOG, true).unwrap();
    let set_aside: Vec<_> = disk.file_names().into_iter().filter(|name| name.ends_with(".damaged")).collect();
    assert_eq!(set_aside.len(), 2, "{set_aside:?}");
    let to = tempfile::tempdir().unwrap();
    let told = salvage(in_folder(&disk).path(), &to.path().join("new")).unwrap();
    assert!(set_aside.iter().all(|name| told.files.iter().any(|file| file.name == *name)), "{:?}", told.files);
    let heads: Vec<_> = told.groups.iter().map(|found| (found.group, found.head)).collect();
    assert!(heads.contains(&(group(1), Seq(5))) && heads.contains(&(group(2), Seq(7))), "{heads:?}");
}

#[test]
fn rounds_rise_though_the_file_that_counted_them_is_lost() {
    let disk = killed(12);
    disk.flip_bit(JOURNAL, (4 * ENTRY + 100) * 8);
    open(&disk).open_group(group(2), LOG, true).unwrap();
    let disk = disk.after_kill();
    let first = disk.bytes_of(FIRST_DAMAGED);
    let _ = gaung_log::Volume::remove(&disk, JOURNAL);
    disk.truncate(disk.log_names().last().unwrap(), 100);
    let disk = used_and_damaged(&disk, 4, 4);
    open(&disk).open_group(group(5), LOG, true).unwrap();
    let journals = disk.file_names().into_iter().filter(|name| name.starts_with("journal-"));
    assert_eq!(journals.count(), 2);
    assert_eq!(disk.bytes_of(FIRST_DAMAGED), first);
}

#[test]
fn salvage_tells_what_a_damaged_journal_lost() {
    let disk = killed(12);
    disk.flip_bit(JOURNAL, (4 * ENTRY + 100) * 8);
    let first = in_folder(&disk);
    // As the log itself leaves it: set aside, and the group refused until it is reset.
    drop(open(&disk));
    let set_aside = in_folder(&disk);
    for dir in [first, set_aside] {
        let to = tempfile::tempdir().unwrap();
        let told = salvage(dir.path(), &to.path().join("new")).unwrap();
        let copied = &told.groups[0];
        assert_eq!((copied.head, copied.whole_to_end), (Seq(5), false), "{:?}", told.files);
    }
}

/// So short that its rounds follow each other quickly.
fn short() -> DiskOptions {
    DiskOptions {
        file_bytes: 512 << 10,
        journal_bytes: 4 * ENTRY,
        retry_after: Duration::ZERO,
        retry_at_most: Duration::ZERO,
        ..options()
    }
}

/// The journal fails once, with messages in it that are nowhere else: until the file has them it must stay as it is.
#[test]
fn a_power_cut_while_the_file_takes_the_place_of_a_journal_that_failed_loses_nothing() {
    for failing in 0..3 {
        let disk = FaultyDisk::default();
        disk.record();
        let log = DiskLog::on(Arc::new(disk.clone()), short()).unwrap();
        let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
        let append_one = |seq: u64| {
            append(&log, vec![Append { run: run(group(1), LOG, epoch, Seq(seq), 1, seq, 100), snapshot: None }])
        };
        for seq in 1..=3 {
            append_one(seq).unwrap();
        }
        let (writes, before) = (disk.counts().writes, disk.recorded());
        // The entry, and what is tried instead of it.
        let until = Some(writes + 1 + failing);
        disk.plan(Plan { fail_writes_from: Some(writes), fail_writes_until: until, ..Plan::default() });
        let acked = if append_one(4).is_ok() { 4 } else { 3 };
        append_one(acked + 1).unwrap();
        let ops = disk.journal();
        let replayed = FaultyDisk::default();
        ops[..before].iter().for_each(|op| replayed.replay(op));
        for (n, op) in ops[before..].iter().enumerate() {
            for seed in 0..6 {
                let log = DiskLog::on(Arc::new(replayed.after_power_cut(seed)), short()).unwrap();
                let found = client_seqs(&log, group(1), LOG, Seq::FIRST);
                assert!(found.starts_with(&[1, 2, 3]), "{failing} failing, operation {n}, seed {seed}: {found:?}");
            }
            replayed.replay(op);
        }
        let found = client_seqs(&DiskLog::on(Arc::new(replayed), short()).unwrap(), group(1), LOG, Seq::FIRST);
        assert_eq!(found, (1..=acked + 1).collect::<Vec<_>>());
    }
}
