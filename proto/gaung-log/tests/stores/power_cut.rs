//! Durability beyond `kill -9`: the power is cut at each write and each sync, and everything since the last sync is lost
//! or torn. What was acknowledged is there, once, in order.
use std::{collections::BTreeMap, panic, sync::Arc, time::Duration};

use crate::Store;
use crate::fault::{
    FaultyDisk, Op,
    model::{LOG, append, client_seqs, group, run},
};
use bytes::Bytes;
use gaung_log::{Append, DiskOptions, Log, Opened};
use gaung_proto::{Epoch, GroupId, Seq};

fn options() -> DiskOptions {
    DiskOptions {
        file_bytes: crate::FILE_BYTES,
        transaction_bytes: 128 << 10,
        retry_after: Duration::ZERO,
        retry_at_most: Duration::ZERO,
        open_files: 2,
        clock: || 1_000_000,
        ..DiskOptions::default()
    }
}

/// What publishers know: the client seqs acknowledged and those without an answer, per group.
#[derive(Debug, Default, Clone)]
struct Known {
    acked: Vec<u64>,
    /// Sent, and answered with an error or not at all.
    open: Vec<u64>,
    epoch: Epoch,
    snapshot: Option<Bytes>,
    open_snapshots: Vec<Bytes>,
}

/// What was known when `after` operations of the disk were done.
struct Moment {
    after: usize,
    known: BTreeMap<GroupId, Known>,
}

/// Opens the log twice and appends to three groups, rolling files.
fn workload(disk: &FaultyDisk) -> Vec<Moment> {
    let mut known = BTreeMap::new();
    let mut moments = vec![Moment { after: 0, known: known.clone() }];
    for _ in 0..2 {
        let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
        for n in 1..=3 {
            let opened = log.open_group(group(n), LOG, true).unwrap();
            check(&log, group(n), &opened, known.entry(group(n)).or_default());
            log.put_config(group(n), Bytes::from(vec![n; 10])).unwrap();
        }
        for round in 0..9 {
            for n in 1..=3 {
                let mut note = |known: &BTreeMap<GroupId, Known>| {
                    moments.push(Moment { after: disk.recorded(), known: known.clone() });
                };
                let (sent, _) = next(&log, group(n), &known[&group(n)], round);
                let mut underway = known.clone();
                underway.get_mut(&group(n)).unwrap().expect(&sent);
                note(&underway);
                publish(&log, group(n), known.get_mut(&group(n)).unwrap(), round);
                note(&known);
            }
        }
    }
    moments
}

impl Known {
    /// Something is sent, and may be stored although nobody heard of it.
    fn expect(&mut self, sent: &Append) {
        self.open.extend(sent.run.messages().map(|message| message.client_seq.0));
        self.open_snapshots.extend(sent.snapshot.clone());
    }
}

fn next(log: &Store, group: GroupId, known: &Known, round: u64) -> (Append, u64) {
    let head = log.position(group).unwrap().head;
    let sizes = [(1, 100), (3, 10), (1, 60_000), (20, 500)];
    let (count, len) = sizes[((round + u64::from(group.0[0])) % 4) as usize];
    let first = (known.acked.len() + known.open.len()) as u64 + 1;
    let snapshot = (round % 5 == 4).then(|| Bytes::from(vec![round as u8; 300 + round as usize]));
    (Append { run: run(group, LOG, known.epoch, head.next(), count, first, len), snapshot }, count)
}

fn publish(log: &Store, group: GroupId, known: &mut Known, round: u64) {
    let head = log.position(group).unwrap().head;
    let (sent, count) = next(log, group, known, round);
    assert_eq!(append(log, vec![sent.clone()]).unwrap(), head.plus(count));
    known.acked.extend(sent.run.messages().map(|message| message.client_seq.0));
    known.snapshot = sent.snapshot.or(known.snapshot.take());
}

/// What was acknowledged is there; what is there besides was sent, and nothing is there twice.
fn check(log: &Store, group: GroupId, opened: &Opened, known: &mut Known) {
    assert!(opened.epoch > known.epoch, "epochs rise: {} after {}", opened.epoch, known.epoch);
    assert!(!opened.tail_lost);
    known.epoch = opened.epoch;
    let found = client_seqs(log, group, LOG, Seq::FIRST);
    assert_eq!(found.len() as u64, opened.head.0);
    let missing: Vec<_> = known.acked.iter().filter(|seq| !found.contains(seq)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?} of {group:?}, found {found:?}");
    let mut once = found.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), found.len(), "nothing is there twice");
    assert!(found.iter().all(|seq| known.acked.contains(seq) || known.open.contains(seq)), "nobody sent that");
    if let Some(snapshot) = &known.snapshot {
        let bytes = &opened.snapshot.as_ref().expect("an acknowledged snapshot is there").bytes;
        assert!(bytes == snapshot || known.open_snapshots.contains(bytes), "the snapshot is another one");
    }
    known.open.retain(|seq| !found.contains(seq));
    known.acked = found;
    known.snapshot = opened.snapshot.as_ref().map(|snapshot| snapshot.bytes.clone());
}

/// After the cut: opens, checks, publishes again, closes, opens and checks.
fn reopen(disk: &FaultyDisk, known: &BTreeMap<GroupId, Known>) {
    let mut known = known.clone();
    for _ in 0..2 {
        let log = Store::on(Arc::new(disk.clone()), options()).expect("the log opens after a power cut");
        assert_eq!(log.damages(), [], "a power cut is no damage");
        for n in 1..=3 {
            let known = known.entry(group(n)).or_default();
            let opened = log.open_group(group(n), LOG, true).unwrap();
            check(&log, group(n), &opened, known);
            publish(&log, group(n), known, 1);
        }
    }
}

/// Cuts the power before every operation that `choose` takes, and lets `seeds` tear what was not synced.
/// `GAUNG_SEEDS=N` tears each N times as often.
fn cut_everywhere(choose: impl Fn(&Op) -> bool, seeds: u64) -> usize {
    let more = std::env::var("GAUNG_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let disk = FaultyDisk::default();
    disk.record();
    let moments = workload(&disk);
    let replayed = FaultyDisk::default();
    let mut cuts = 0;
    for (n, op) in disk.journal().iter().enumerate() {
        if choose(op) {
            cuts += 1;
            let known = &moments.iter().rev().find(|moment| moment.after <= n).unwrap().known;
            for seed in n as u64..n as u64 + seeds * more {
                let torn = replayed.after_power_cut(seed);
                let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| reopen(&torn, known)));
                if let Err(panic) = outcome {
                    eprintln!("cut before operation {n}, seed {seed}");
                    panic::resume_unwind(panic);
                }
            }
        }
        replayed.replay(op);
    }
    cuts
}

#[test]
fn every_acknowledged_message_survives_a_power_cut_at_each_write() {
    let cuts = cut_everywhere(|op| matches!(op, Op::Write(..) | Op::Len(..)), 1);
    assert!(cuts > crate::LEAST_CUTS.0, "the workload has only {cuts} writes");
}

#[test]
fn every_acknowledged_message_survives_a_power_cut_at_each_sync() {
    let cuts = cut_everywhere(|op| !matches!(op, Op::Write(..) | Op::Len(..)), 3);
    assert!(cuts > crate::LEAST_CUTS.1, "the workload has only {cuts} syncs");
}

#[test]
fn the_workload_rolls_files_and_none_is_over_the_limit() {
    let disk = FaultyDisk::default();
    workload(&disk);
    let names = disk.file_names();
    assert!(names.len() >= 4, "{names:?}");
    let lens: Vec<_> = names.iter().map(|name| disk.bytes_of(name).len()).collect();
    assert!(lens.iter().all(|len| *len as u64 <= crate::FILE_BYTES), "{lens:?}");
}
