//! What only a log in segments has: its index, its preamble, its frames, and commits tried again.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

mod fault;

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use fault::{
    FaultyDisk, Op, Plan,
    model::{LOG, append, client_seqs, group, one, run, run_of},
};
use gaung_log::{AppendError, DiskOptions, Log, OpenLogError, RECORD_HEADER, ReadError, SegmentLog};
use gaung_proto::{Epoch, Seq, SeqRange};

const FRAME_HEADER: usize = 32;
const PREAMBLE: usize = 4096;

fn options() -> DiskOptions {
    DiskOptions {
        file_bytes: 192 << 10,
        retry_after: Duration::ZERO,
        retry_at_most: Duration::ZERO,
        clock: || 1,
        ..DiskOptions::default()
    }
}

fn open(disk: &FaultyDisk) -> SegmentLog {
    SegmentLog::on(Arc::new(disk.clone()), options()).unwrap()
}

fn opened(disk: &FaultyDisk) -> (SegmentLog, Epoch) {
    let log = open(disk);
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    (log, epoch)
}

fn append_one(log: &dyn Log, epoch: Epoch, seq: u64, len: usize) -> Result<Seq, AppendError> {
    append(log, one(run(group(1), LOG, epoch, Seq(seq), 1, seq, len), None))
}

/// Appends one message after the other.
fn append_each(log: &dyn Log, epoch: Epoch, seqs: RangeInclusive<u64>, len: usize) {
    for seq in seqs {
        assert_eq!(append_one(log, epoch, seq, len).unwrap(), Seq(seq));
    }
}

/// Where the frames of a segment lie, and their kinds.
fn frames(bytes: &[u8]) -> Vec<(usize, u8)> {
    let (mut at, mut frames) = (PREAMBLE, Vec::new());
    while bytes.get(at + 4..at + 8) == Some(b"GSF1") {
        frames.push((at, bytes[at + 28]));
        let len = u32::from_be_bytes(bytes[at + 20..at + 24].try_into().unwrap()) as usize;
        at += (FRAME_HEADER + len).next_multiple_of(8);
    }
    frames
}

#[test]
fn an_append_costs_one_write_and_one_sync() {
    let disk = FaultyDisk::default();
    let (log, epoch) = opened(&disk);
    append_one(&log, epoch, 1, 90).unwrap();
    let before = disk.counts();
    append_each(&log, epoch, 2..=11, 90);
    let after = disk.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs), (10, 10));
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)), (1..=11).collect::<Vec<_>>());
}

#[test]
fn a_log_that_was_ended_goes_on_behind_its_index_and_is_found_after_a_kill() {
    let disk = FaultyDisk::default();
    let mut head = 0;
    for opening in 1..=4 {
        let log = open(&disk);
        let found = log.open_group(group(1), LOG, true).unwrap();
        assert_eq!((found.head, found.epoch, found.tail_lost), (Seq(head), Epoch(opening), false));
        for _ in 0..3 {
            head += 1;
            append_one(&log, found.epoch, head, 200).unwrap();
        }
        let killed = open(&disk.after_kill());
        assert_eq!(client_seqs(&killed, group(1), LOG, Seq(1)), (1..=head).collect::<Vec<_>>());
        assert_eq!(killed.damages(), []);
    }
    let kinds: Vec<u8> = frames(&disk.bytes_of("log-0000000001.seg")).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == 8).count(), 4, "{kinds:?}");
}

#[test]
fn after_a_failed_sync_nothing_more_is_written_to_the_segment() {
    let disk = FaultyDisk::default();
    let (log, epoch) = opened(&disk);
    append_one(&log, epoch, 1, 90).unwrap();
    let syncs = disk.counts().syncs;
    disk.plan(Plan {
        fail_syncs_from: Some(syncs),
        fail_syncs_until: Some(syncs + 1),
        failed_sync_forgets: true,
        ..Plan::default()
    });
    assert!(matches!(append_one(&log, epoch, 2, 90), Err(AppendError::Io(_))));
    assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)), [1], "what was not synced is not served");
    let left = disk.bytes_of("log-0000000001.seg");
    append_each(&log, epoch, 2..=4, 91);
    assert_eq!(disk.bytes_of("log-0000000001.seg"), left);
    assert_eq!(log.figures().files, 2);
    let cut = disk.after_power_cut(0);
    for disk in [cut, disk.after_kill()] {
        let log = open(&disk);
        assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)), [1, 2, 3, 4]);
        assert_eq!(log.damages(), []);
    }
}

/// The first attempt leaves frames behind it that no later one may take for its own.
#[test]
fn a_commit_that_is_tried_again_survives_a_power_cut_at_each_write_and_sync() {
    for first_len in [60, 400, 5000] {
        let disk = FaultyDisk::default();
        disk.record();
        let (log, epoch) = opened(&disk);
        append_one(&log, epoch, 1, 90).unwrap();
        let (writes, before) = (disk.counts().writes, disk.recorded());
        let failing = Plan { fail_writes_from: Some(writes), fail_writes_until: Some(writes + 1), ..Plan::default() };
        disk.plan(Plan { short_writes: true, ..failing });
        let many: Vec<_> =
            (2..=9).flat_map(|seq| one(run(group(1), LOG, epoch, Seq(seq), 1, seq, first_len), None)).collect();
        assert!(append(&log, many).is_err());
        append_each(&log, epoch, 2..=5, 90);
        let replayed = FaultyDisk::default();
        let ops = disk.journal();
        ops[..before].iter().for_each(|op| replayed.replay(op));
        let mut acked = 1;
        for op in &ops[before..] {
            for seed in 0..6 {
                let log = open(&replayed.after_power_cut(seed));
                assert_eq!(log.damages(), [], "{op:?}");
                let found = client_seqs(&log, group(1), LOG, Seq(1));
                let sent: Vec<u64> = (1..=found.len() as u64).collect();
                assert!(found == sent && (acked..=acked + 1).contains(&found.len()), "{found:?} of {acked}");
            }
            replayed.replay(op);
            acked += usize::from(matches!(op, Op::Sync(_)));
        }
        assert_eq!(acked, 5);
    }
}

#[test]
fn a_damaged_index_shows_no_message_in_anothers_place() {
    let disk = FaultyDisk::default();
    let (log, epoch) = opened(&disk);
    append_each(&log, epoch, 1..=600, 400);
    assert!(log.figures().files > 1);
    drop(log);
    let first = "log-0000000001.seg";
    let bytes = disk.bytes_of(first);
    let (index, _) = *frames(&bytes).iter().rev().find(|(_, kind)| *kind == 7).unwrap();
    let mut noticed = 0;
    for bit in (0..16 * 8).chain(100 * 16 * 8..101 * 16 * 8) {
        let disk = disk.after_kill();
        disk.flip_bit(first, (index + FRAME_HEADER) * 8 + bit);
        let log = open(&disk);
        for from in [1, 100, 101, 102] {
            match log.read(group(1), LOG, Seq(from), 1) {
                Ok(runs) => assert_eq!(runs[0].first_seq(), Seq(from)),
                Err(ReadError::Damaged { .. } | ReadError::Trimmed { .. }) => noticed += 1,
                Err(error) => panic!("bit {bit}: {error}"),
            }
        }
    }
    assert!(noticed > 0);
}

#[test]
fn a_frame_within_a_message_is_not_one() {
    let disk = FaultyDisk::default();
    let (log, epoch) = opened(&disk);
    append_one(&log, epoch, 1, 90).unwrap();
    let bytes = disk.bytes_of("log-0000000001.seg");
    let (at, _) = *frames(&bytes).last().unwrap();
    let forged = &bytes[at..at + 300];
    // At every alignment, with the stamp and all: it was written elsewhere.
    let payload: Vec<u8> = (0..8).flat_map(|pad| [&vec![0; pad][..], forged].concat()).collect();
    append(&log, one(run_of(group(1), LOG, epoch, Seq(2), &payload), None)).unwrap();
    append_one(&log, epoch, 3, 90).unwrap();
    let damaged = disk.after_kill();
    let carrier = frames(&disk.bytes_of("log-0000000001.seg")).iter().rev().nth(1).unwrap().0;
    damaged.flip_bit("log-0000000001.seg", (carrier + FRAME_HEADER + RECORD_HEADER) * 8);
    let log = open(&damaged);
    assert_eq!(log.damages().len(), 1, "message 3 lies behind");
    let found = log.open_group(group(1), LOG, false).unwrap();
    assert!(found.tail_lost && found.head == Seq(1), "{found:?}");
}

#[test]
fn a_newer_format_is_refused_with_both_versions_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop(SegmentLog::open(dir.path(), options()).unwrap());
    let path = dir.path().join("log-0000000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    for slot in [0, 512] {
        bytes[slot + 11] = 2;
        let crc = crc32c::crc32c(&bytes[slot + 4..slot + 48]);
        bytes[slot..slot + 4].copy_from_slice(&crc.to_be_bytes());
    }
    std::fs::write(&path, &bytes).unwrap();
    let error = SegmentLog::open(dir.path(), options()).unwrap_err();
    assert!(matches!(error, OpenLogError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_config_and_a_snapshot_are_carried_through_many_segments() {
    let disk = FaultyDisk::default();
    let (log, epoch) = opened(&disk);
    log.put_config(group(1), Bytes::from_static(b"config")).unwrap();
    append(&log, one(run(group(1), LOG, epoch, Seq(1), 1, 1, 9), Some(Bytes::from_static(b"snapshot")))).unwrap();
    append_each(&log, epoch, 2..=20, 50_000);
    assert!(log.figures().files > 4);
    for disk in [disk.after_kill(), {
        drop(log);
        disk
    }] {
        let log = open(&disk);
        let snapshot = log.open_group(group(1), LOG, false).unwrap().snapshot.unwrap();
        assert_eq!((snapshot.at, &snapshot.bytes[..]), (Seq(1), &b"snapshot"[..]));
        assert_eq!(log.groups()[0].config, Bytes::from_static(b"config"));
        assert_eq!(client_seqs(&log, group(1), LOG, Seq(1)).len(), 20);
    }
}

/// Frames of an attempt that the power cut, with the mark of its end, lie where the next one goes.
#[test]
fn what_one_power_cut_left_is_no_part_of_what_a_second_one_cuts() {
    let commit = |epoch: Epoch, salt: u64| -> Vec<_> {
        let of_seq = |seq| one(run(group(1), LOG, epoch, Seq(seq), 1, salt + seq, 900), None);
        (2..=6).flat_map(of_seq).collect()
    };
    for seed in 0..40 {
        let first = FaultyDisk::default();
        let (log, epoch) = opened(&first);
        append_one(&log, epoch, 1, 90).unwrap();
        let mut disk = first;
        let mut log = log;
        for cut in 0..3 {
            let syncs = disk.counts().syncs;
            disk.plan(Plan { fail_syncs_from: Some(syncs), ..Plan::default() });
            let opening = log.position(group(1)).unwrap();
            if opening.head == Seq(1) {
                assert!(append(&log, commit(opening.epoch, 100 * cut)).is_err());
            }
            disk = disk.after_power_cut(seed * 7 + cut * 3 + 1);
            log = open(&disk);
            assert_eq!(log.damages(), [], "seed {seed}");
            let found = log.read(group(1), LOG, Seq(1), usize::MAX).unwrap();
            assert!(found.len() == 1 || found.len() == 6, "seed {seed}: all or none, {}", found.len());
        }
    }
}

/// As a kill leaves it: nothing at its end says where the groups stood.
#[test]
fn a_flipped_bit_in_a_segment_that_was_not_ended_stops_no_group() {
    let name = "log-0000000001.seg";
    let disk = FaultyDisk::default();
    let log = SegmentLog::on(Arc::new(disk.clone()), DiskOptions { file_bytes: 4 << 20, ..options() }).unwrap();
    let epochs = [1, 2, 3].map(|n| log.open_group(group(n), LOG, true).unwrap().epoch);
    log.put_config(group(3), Bytes::from_static(b"config")).unwrap();
    let say = |n: u8, epoch: Epoch, seq: u64| append(&log, one(run(group(n), LOG, epoch, Seq(seq), 1, seq, 400), None));
    // The third one is quiet after its first message.
    say(3, epochs[2], 1).unwrap();
    for seq in 1..=400 {
        say(1, epochs[0], seq).unwrap();
        say(2, epochs[1], seq).unwrap();
    }
    let left = disk.after_kill();
    let frames = frames(&left.bytes_of(name));
    let checkpoint = frames.iter().rev().find(|(_, kind)| *kind == 9).unwrap().0;
    assert!(frames.iter().filter(|(_, kind)| *kind == 9).count() > 3);
    let last = frames.last().unwrap().0;
    let (mut went_on, mut lost) = (0, 0);
    for (number, (at, _)) in frames.iter().enumerate().filter(|(number, _)| number % 17 == 0) {
        let disk = left.after_kill();
        // In its header, or behind that.
        disk.flip_bit(name, (at + [20, FRAME_HEADER + 40][number % 2]) * 8 + number % 8);
        let log = open(&disk);
        assert_eq!(log.damages().len(), usize::from(*at < last), "{at}");
        assert!(*at >= last || disk.file_names().contains(&format!("{name}.damaged")), "{at}");
        let groups: Vec<_> = [1, 2, 3].map(|n| log.open_group(group(n), LOG, false)).into_iter().flatten().collect();
        let is_lost = groups.iter().any(|opened| opened.tail_lost);
        assert_eq!(is_lost, *at >= checkpoint && *at < last, "{at}, the last checkpoint is at {checkpoint}");
        assert!(groups.iter().all(|opened| opened.tail_lost == is_lost), "{at}: {groups:?}");
        if is_lost {
            lost += 1;
            continue;
        }
        assert_eq!(groups.iter().map(|opened| opened.head.0).collect::<Vec<_>>(), [400, 400, 1], "{at}");
        for (n, opened) in (1..).zip(groups) {
            let sent = run(group(n), LOG, opened.epoch, opened.head.next(), 1, 500, 9);
            append(&log, one(sent, None)).unwrap();
            let Err(ReadError::Trimmed { oldest } | ReadError::Damaged { missing: SeqRange { last: oldest, .. } }) =
                log.read(group(n), LOG, Seq(1), 1000)
            else {
                panic!("{at}: the damaged segment is served");
            };
            assert!(oldest <= opened.head.next(), "{at}");
        }
        went_on += 1;
    }
    assert!(went_on > 30 && lost > 0, "{went_on} {lost}");
}
