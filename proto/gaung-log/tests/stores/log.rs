//! What holds of every log, on disk and in memory.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::Store;
use crate::fault::{
    FaultyDisk,
    model::{LOG, append, client_seqs, group, one, run},
};
use bytes::Bytes;
use gaung_log::{
    Append, AppendError, DELETED_KEPT_MS, DiskOptions, GroupRetention, Log, MemoryLog, OpenError, ReadError, Retention,
    WriteError,
};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

const OTHER: LogId = LogId(42);

fn logs() -> Vec<Box<dyn Log>> {
    let disk = Store::on(Arc::new(FaultyDisk::default()), DiskOptions::default()).unwrap();
    vec![Box::new(disk), Box::new(MemoryLog::new(1 << 20))]
}

#[test]
fn runs_are_read_as_they_were_appended() {
    for log in logs() {
        let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
        let runs: Vec<_> = (0..20).map(|i| run(group(1), LOG, epoch, Seq(1 + i * 5), 5, 1 + i * 5, 100)).collect();
        let appends = runs.iter().map(|run| Append { run: run.clone(), snapshot: None }).collect();
        assert_eq!(append(&*log, appends).unwrap(), Seq(100));
        let all = log.read(group(1), LOG, Seq(1), usize::MAX).unwrap();
        assert_eq!(all, runs);
        let from_within = log.read(group(1), LOG, Seq(13), 0).unwrap();
        assert_eq!(from_within, [runs[2].clone()], "the run that holds it, although the budget is smaller");
        let two = log.read(group(1), LOG, Seq(11), 1700).unwrap();
        assert_eq!(two, runs[2..4], "{log:?}");
        assert_eq!(log.read(group(1), LOG, Seq(101), 1000).unwrap(), []);
        assert!(matches!(log.read(group(1), OTHER, Seq(1), 1000), Err(ReadError::NoSuchLog)));
        assert!(matches!(log.read(group(2), LOG, Seq(1), 1000), Err(ReadError::NoSuchLog)));
    }
}

#[test]
fn an_earlier_opening_is_fenced_and_order_is_kept() {
    for log in logs() {
        let first = log.open_group(group(1), LOG, true).unwrap();
        assert_eq!((first.epoch, first.head, first.oldest), (Epoch(1), Seq::ZERO, Seq(1)));
        append(&*log, one(run(group(1), LOG, Epoch(1), Seq(1), 2, 1, 10), None)).unwrap();
        let second = log.open_group(group(1), LOG, false).unwrap();
        assert_eq!((second.epoch, second.head), (Epoch(2), Seq(2)));
        let late = append(&*log, one(run(group(1), LOG, Epoch(1), Seq(3), 1, 3, 10), None));
        assert!(matches!(late, Err(AppendError::Fenced { epoch: Epoch(2), .. })));
        let other_log = append(&*log, one(run(group(1), OTHER, Epoch(2), Seq(3), 1, 3, 10), None));
        assert!(matches!(other_log, Err(AppendError::Fenced { .. })));
        let hole = append(&*log, one(run(group(1), LOG, Epoch(2), Seq(4), 1, 3, 10), None));
        assert!(matches!(hole, Err(AppendError::NotNext { head: Seq(2) })));
        let unknown = append(&*log, one(run(group(9), LOG, Epoch(2), Seq(1), 1, 3, 10), None));
        assert!(matches!(unknown, Err(AppendError::NoSuchLog)));
        let good_then_bad = [(3, 1), (5, 1)].map(|(seq, count)| run(group(1), LOG, Epoch(2), Seq(seq), count, seq, 10));
        let appends = good_then_bad.into_iter().map(|run| Append { run, snapshot: None }).collect();
        assert!(append(&*log, appends).is_err());
        assert_eq!(client_seqs(&*log, group(1), LOG, Seq(1)), [1, 2], "all or none");
        assert!(matches!(log.open_group(group(1), OTHER, true), Err(OpenError::OtherLog { stored: LOG })));
        assert!(matches!(log.open_group(group(2), LOG, false), Err(OpenError::NoSuchLog)));
    }
}

#[test]
fn a_snapshot_is_found_again_with_the_runs_since() {
    for log in logs() {
        let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
        for seq in 1..=9 {
            let snapshot = (seq % 3 == 0 && seq < 9).then(|| Bytes::from(format!("as of {seq}")));
            append(&*log, one(run(group(1), LOG, epoch, Seq(seq), 1, seq, 10), snapshot)).unwrap();
        }
        let opened = log.open_group(group(1), LOG, false).unwrap();
        let snapshot = opened.snapshot.unwrap();
        assert_eq!((snapshot.at, &snapshot.bytes[..]), (Seq(6), &b"as of 6"[..]));
        assert_eq!(client_seqs(&*log, group(1), LOG, snapshot.at.next()), [7, 8, 9]);
    }
}

#[test]
fn a_reset_drops_the_log_and_keeps_the_config() {
    for log in logs() {
        let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
        append(&*log, one(run(group(1), LOG, epoch, Seq(1), 5, 1, 10), Some(Bytes::from_static(b"s")))).unwrap();
        log.put_config(group(1), Bytes::from_static(b"config")).unwrap();
        let opened = log.reset(group(1), OTHER).unwrap();
        assert_eq!((opened.log, opened.head, opened.oldest, opened.snapshot), (OTHER, Seq::ZERO, Seq(1), None));
        assert!(opened.epoch > epoch);
        assert!(matches!(log.read(group(1), LOG, Seq(1), 1000), Err(ReadError::NoSuchLog)));
        append(&*log, one(run(group(1), OTHER, opened.epoch, Seq(1), 2, 1, 10), None)).unwrap();
        assert_eq!(client_seqs(&*log, group(1), OTHER, Seq(1)), [1, 2]);
        assert_eq!(log.groups()[0].config, Bytes::from_static(b"config"));
        assert!(matches!(log.put_config(group(1), vec![0; 70_000].into()), Err(WriteError::TooLarge { len: 70_000 })));
    }
}

#[test]
fn a_deleted_group_goes_after_a_day() {
    for log in logs() {
        let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
        append(&*log, one(run(group(1), LOG, epoch, Seq(1), 5, 1, 10), None)).unwrap();
        log.delete_group(group(1), 1000).unwrap();
        log.delete_group(group(1), 5000).unwrap();
        assert_eq!(log.groups()[0].deleted_at_ms, Some(1000));
        assert!(matches!(log.open_group(group(1), LOG, true), Err(OpenError::Deleted)));
        let late = append(&*log, one(run(group(1), LOG, epoch, Seq(6), 1, 6, 10), None));
        assert!(matches!(late, Err(AppendError::NoSuchLog)));
        assert_eq!(log.purge(999 + DELETED_KEPT_MS).unwrap(), []);
        assert_eq!(log.purge(1000 + DELETED_KEPT_MS).unwrap(), [group(1)]);
        assert_eq!(log.groups(), []);
        assert!(matches!(log.read(group(1), LOG, Seq(1), 1000), Err(ReadError::NoSuchLog)));
    }
}

#[test]
fn a_memory_log_drops_of_who_has_most() {
    let log = MemoryLog::new(50_000);
    (1..=2).for_each(|n| drop(log.open_group(group(n), LOG, true).unwrap()));
    append(&log, one(run(group(2), LOG, Epoch(1), Seq(1), 3, 1, 1000), None)).unwrap();
    for seq in 1..=100 {
        append(&log, one(run(group(1), LOG, Epoch(1), Seq(seq), 1, seq, 5000), None)).unwrap();
    }
    assert!(log.used_bytes() <= 50_000);
    assert_eq!(client_seqs(&log, group(2), LOG, Seq(1)), [1, 2, 3], "the oldest of all, and of a small group");
    let larger_than_all = run(group(2), LOG, Epoch(1), Seq(4), 1, 4, 60_000);
    append(&log, one(larger_than_all, None)).unwrap();
    assert_eq!(client_seqs(&log, group(2), LOG, Seq(4)), [4], "the newest run stays");
    log.reset(group(2), OTHER).unwrap();
    assert_eq!(log.used_bytes(), 0);
}

#[test]
fn a_memory_log_keeps_to_its_budget_and_drops_the_oldest() {
    let log = MemoryLog::new(50_000);
    for n in 1..=2 {
        log.open_group(group(n), LOG, true).unwrap();
    }
    for seq in 1..=100 {
        for n in 1..=2 {
            append(&log, one(run(group(n), LOG, Epoch(1), Seq(seq), 1, seq, 1000), None)).unwrap();
        }
    }
    assert!(log.used_bytes() <= 50_000);
    for n in 1..=2 {
        let position = log.position(group(n)).unwrap();
        assert!(position.oldest > Seq(70) && position.head == Seq(100));
        assert!(
            matches!(log.read(group(n), LOG, Seq(1), 1), Err(ReadError::Trimmed { oldest }) if oldest == position.oldest)
        );
        assert_eq!(client_seqs(&log, group(n), LOG, position.oldest).last(), Some(&100));
    }
}

static NOW: AtomicU64 = AtomicU64::new(0);

#[test]
fn retention_drops_whole_files_and_keeps_snapshots_and_heads() {
    let disk = FaultyDisk::default();
    let options = DiskOptions {
        file_bytes: crate::FILE_BYTES,
        clock: || NOW.fetch_add(1000, Ordering::Relaxed),
        ..DiskOptions::default()
    };
    let log = Store::on(Arc::new(disk.clone()), options.clone()).unwrap();
    log.open_group(group(1), LOG, true).unwrap();
    log.open_group(group(2), LOG, true).unwrap();
    append(&log, one(run(group(2), LOG, Epoch(1), Seq(1), 3, 1, 10), Some(Bytes::from_static(b"quiet")))).unwrap();
    for seq in 1..=40 {
        append(&log, one(run(group(1), LOG, Epoch(1), Seq(seq), 1, seq, 50_000), None)).unwrap();
    }
    let files = disk.log_names().len();
    assert!(files > 4);
    log.retain(Retention { max_bytes: Some(1_200_000), max_age_ms: None }, 0).unwrap();
    let kept: usize = disk.log_names().iter().map(|name| disk.bytes_of(name).len()).sum();
    assert!(kept <= 1_200_000 && disk.log_names().len() < files);
    let oldest = log.position(group(1)).unwrap().oldest;
    assert!(oldest > Seq(1));
    assert_eq!(client_seqs(&log, group(1), LOG, oldest).last(), Some(&40));
    assert_eq!(log.position(group(2)).unwrap().oldest, Seq(4), "nothing of the quiet group is left");
    log.retain(Retention { max_bytes: None, max_age_ms: Some(1) }, 1_000_000).unwrap();
    assert_eq!(log.position(group(1)).unwrap().oldest, Seq(41));
    drop(log);
    let log = Store::on(Arc::new(disk), options).unwrap();
    let quiet = log.open_group(group(2), LOG, false).unwrap();
    assert_eq!((quiet.head, quiet.oldest), (Seq(3), Seq(4)));
    assert_eq!(&quiet.snapshot.unwrap().bytes[..], b"quiet");
    append(&log, one(run(group(1), LOG, log.open_group(group(1), LOG, false).unwrap().epoch, Seq(41), 1, 41, 9), None))
        .unwrap();
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(41)), [41]);
}

/// A log of 10 runs of 3 messages in group 1, sent from 1 000 ms on, and of one message in group 2.
fn thirty(log: &dyn Log) -> u64 {
    for n in 1..=2 {
        log.open_group(group(n), LOG, true).unwrap();
    }
    append(log, one(run(group(2), LOG, Epoch(1), Seq(1), 1, 1, 10), None)).unwrap();
    let runs: Vec<_> = (0..10).map(|n| run(group(1), LOG, Epoch(1), Seq(1 + 3 * n), 3, 1 + 3 * n, 100)).collect();
    let bytes = runs[0].as_bytes().len() as u64;
    for run in runs {
        append(log, one(run, None)).unwrap();
    }
    bytes
}

#[test]
fn a_groups_limits_move_up_its_oldest_message_and_no_others() {
    for log in logs() {
        let log = &*log;
        let run_bytes = thirty(log);
        let oldest = |keep| {
            log.retain_group(group(1), keep, 1500).unwrap();
            log.position(group(1)).unwrap().oldest.0
        };
        let keep = GroupRetention::default();
        assert_eq!(oldest(keep), 1, "no limit");
        assert_eq!(oldest(GroupRetention { max_messages: Some(30), ..keep }), 1);
        assert_eq!(oldest(GroupRetention { max_bytes: Some(10 * run_bytes), ..keep }), 1);
        assert_eq!(oldest(GroupRetention { max_age_ms: Some(500), ..keep }), 1);
        assert_eq!(oldest(GroupRetention { max_messages: Some(28), ..keep }), 3, "to the message");
        assert_eq!(oldest(GroupRetention { max_bytes: Some(8 * run_bytes + 1), ..keep }), 7, "to the run");
        assert_eq!(oldest(GroupRetention { max_messages: Some(29), ..keep }), 7, "what is gone stays gone");
        let read = |from| log.read(group(1), LOG, Seq(from), 1);
        assert!(matches!(read(6), Err(ReadError::Trimmed { oldest: Seq(7) })));
        assert_eq!(client_seqs(log, group(1), LOG, Seq(7)), (7..=30).collect::<Vec<_>>());
        append(log, one(run(group(1), LOG, Epoch(1), Seq(31), 3, 31, 100), None)).unwrap();
        assert_eq!(oldest(GroupRetention { max_bytes: Some(8 * run_bytes), ..keep }), 10, "what came since counts");
        assert_eq!(oldest(GroupRetention { max_bytes: Some(1), ..keep }), 31, "the newest run stays");
        assert_eq!(oldest(GroupRetention { max_age_ms: Some(499), ..keep }), 34, "unless it is too old");
        append(log, one(run(group(1), LOG, Epoch(1), Seq(34), 1, 34, 100), None)).unwrap();
        assert_eq!(client_seqs(log, group(1), LOG, Seq(34)), [34]);
        assert_eq!(client_seqs(log, group(2), LOG, Seq(1)), [1], "the other group keeps all");
        let unknown = log.retain_group(group(3), keep, 0);
        assert!(matches!(unknown, Err(WriteError::NoSuchLog)));
    }
}

#[test]
fn what_a_group_dropped_stays_dropped_over_files_and_openings_and_a_reset_begins_anew() {
    let disk = FaultyDisk::default();
    let options = DiskOptions { file_bytes: crate::FILE_BYTES, ..DiskOptions::default() };
    let log = Store::on(Arc::new(disk.clone()), options.clone()).unwrap();
    let _ = thirty(&log);
    let keep = GroupRetention { max_messages: Some(6), ..GroupRetention::default() };
    log.retain_group(group(1), keep, 0).unwrap();
    for seq in 2..=30 {
        append(&log, one(run(group(2), LOG, Epoch(1), Seq(seq), 1, seq, 50_000), None)).unwrap();
    }
    assert!(log.figures().files > 3, "the group's messages lie in the first one");
    drop(log);
    let log = Store::on(Arc::new(disk.clone()), options.clone()).unwrap();
    assert_eq!(log.position(group(1)).unwrap().oldest, Seq(25));
    assert_eq!(log.open_group(group(1), LOG, false).unwrap().oldest, Seq(25));
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(25)), (25..=30).collect::<Vec<_>>());
    // The files that only the other group needs go with its messages, and the first with the last of both.
    let files = disk.log_names().len();
    log.retain_group(group(2), keep, 0).unwrap();
    assert!((2..files).contains(&disk.log_names().len()));
    let all = GroupRetention { max_age_ms: Some(0), ..keep };
    log.retain_group(group(1), all, u64::MAX).unwrap();
    assert_eq!(log.position(group(1)).unwrap().oldest, Seq(31));
    log.retain_group(group(2), all, u64::MAX).unwrap();
    assert_eq!(disk.log_names().len(), 1);
    let fresh = log.reset(group(1), OTHER).unwrap();
    append(&log, one(run(group(1), OTHER, fresh.epoch, Seq(1), 2, 1, 10), None)).unwrap();
    drop(log);
    let log = Store::on(Arc::new(disk), options).unwrap();
    assert_eq!(client_seqs(&log, group(1), OTHER, Seq(1)), [1, 2]);
    assert_eq!(log.position(group(2)).unwrap().oldest, Seq(31));
}

static DAY: AtomicU64 = AtomicU64::new(0);

#[test]
fn the_newest_file_ends_when_it_is_a_day_old_and_holds_what_was_dropped() {
    let disk = FaultyDisk::default();
    let options = DiskOptions { clock: || DAY.load(Ordering::Relaxed) * DELETED_KEPT_MS, ..DiskOptions::default() };
    let log = Store::on(Arc::new(disk.clone()), options).unwrap();
    let _ = thirty(&log);
    let newest = |log: &Store, max| {
        let keep = GroupRetention { max_messages: Some(max), ..GroupRetention::default() };
        log.retain_group(group(1), keep, 0).unwrap();
        (log.retain_group(group(2), keep, 0).unwrap(), disk.log_names()).1
    };
    let (first, second) = (crate::file_name(1), crate::file_name(2));
    assert_eq!(newest(&log, 20), [first.as_str()]);
    DAY.store(1, Ordering::Relaxed);
    assert_eq!(newest(&log, 20), [first.as_str()], "nothing more was dropped");
    assert_eq!(newest(&log, 10), [first, second.clone()]);
    assert_eq!((log.position(group(1)).unwrap().oldest, newest(&log, 0), log.position(group(2))).1, [second]);
    assert_eq!(log.position(group(1)).unwrap().oldest, Seq(31));
}

#[test]
fn readers_are_not_held_up_by_appends_and_see_only_what_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let options = DiskOptions { file_bytes: 1 << 20, open_files: 1, ..DiskOptions::default() };
    let log = Store::open(dir.path(), options).unwrap();
    log.open_group(group(1), LOG, true).unwrap();
    let acked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while acked.load(Ordering::Acquire) < 120 {
                    let before = acked.load(Ordering::Acquire);
                    let found = client_seqs(&log, group(1), LOG, Seq(1));
                    assert!(found.len() as u64 >= before);
                    assert!(found.len() as u64 <= log.position(group(1)).unwrap().head.0);
                }
            });
        }
        for seq in 1..=120 {
            append(&log, one(run(group(1), LOG, Epoch(1), Seq(seq), 1, seq, 20_000), None)).unwrap();
            acked.store(seq, Ordering::Release);
        }
    });
    assert!(log.figures().files > 2);
}

/// A run of one message that was sent at `ms`.
fn sent(seq: u64, ms: u64) -> Run {
    let mut block = BlockBuilder::new();
    block.push(&MessageRef {
        author: Author { device: DeviceId::NONE, client: ClientId([7; 16]) },
        client_seq: ClientSeq(seq),
        content_type: ContentType::Text,
        sent_at: SentAt(ms * 1000),
        payload: b"x",
    });
    Run::encode(RunHeader { group: group(1), log: LOG, epoch: Epoch(1), base_seq: Seq(seq) }, &block)
}

#[test]
fn a_stamp_from_the_future_keeps_nothing_behind_it_and_goes_with_its_neighbours() {
    const AHEAD: u64 = 300 * DELETED_KEPT_MS;
    for log in logs() {
        let log = &*log;
        log.open_group(group(1), LOG, true).unwrap();
        let mut seq = 0;
        let mut say = |ms| {
            seq += 1;
            append(log, one(sent(seq, ms), None)).unwrap();
        };
        let oldest = |now| {
            let keep = GroupRetention { max_age_ms: Some(500), ..GroupRetention::default() };
            log.retain_group(group(1), keep, now).unwrap();
            log.position(group(1)).unwrap().oldest.0
        };
        [1000, AHEAD, 1000, 1000, 1900].into_iter().for_each(&mut say);
        assert_eq!(oldest(1400), 1);
        assert_eq!(oldest(2000), 5, "what is behind the stamp is too old");
        say(AHEAD);
        assert_eq!(oldest(3000), 6, "the newest message may be new");
        say(2900);
        assert_eq!(oldest(3000), 6, "as new as the one behind it");
        assert_eq!(oldest(4000), 8);
        (0..100).for_each(|n| say(AHEAD + n));
        (0..7).for_each(|_| say(3000));
        say(3900);
        assert_eq!(oldest(4000), 115, "a long time with a clock that was ahead");
    }
}

#[test]
fn a_group_that_was_deleted_by_a_clock_ahead_goes_a_day_after_that_was_seen() {
    for log in logs() {
        let _ = thirty(&*log);
        log.delete_group(group(1), 300 * DELETED_KEPT_MS).unwrap();
        assert_eq!(log.purge(1000).unwrap(), []);
        assert_eq!(log.purge(999 + DELETED_KEPT_MS).unwrap(), []);
        assert_eq!(log.purge(1000 + DELETED_KEPT_MS).unwrap(), [group(1)]);
    }
}
