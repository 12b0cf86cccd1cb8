//! Durability beyond `kill -9`: the power is cut at each write and each sync, and everything since the last sync is lost
//! or torn. What was acknowledged is there, once, in order.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod fault;

use std::{collections::BTreeMap, panic, sync::Arc, time::Duration};

use bytes::Bytes;
use fault::{
    FaultyDisk, Plan,
    model::{LOG, append, client_seqs, group, one, run},
};
use gaung_log::{DiskLog, DiskOptions, Log, Opened, Retention};
use gaung_proto::{Epoch, GroupId, Seq};

fn options() -> DiskOptions {
    DiskOptions {
        file_bytes: 512 << 10,
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
    refused_snapshots: Vec<Bytes>,
}

/// Opens the log twice and appends to three groups, rolling files, until done or the power is cut.
fn workload(disk: &FaultyDisk, known: &mut BTreeMap<GroupId, Known>) {
    for _ in 0..2 {
        let Ok(log) = DiskLog::on(Arc::new(disk.clone()), options()) else { return };
        for n in 1..=3 {
            let Ok(opened) = log.open_group(group(n), LOG, true) else { return };
            check(&log, group(n), &opened, known.entry(group(n)).or_default());
            if log.put_config(group(n), Bytes::from(vec![n; 10])).is_err() {
                return;
            }
        }
        for round in 0..14 {
            for n in 1..=3 {
                if !publish(&log, group(n), known.get_mut(&group(n)).unwrap(), round) {
                    return;
                }
            }
        }
    }
}

fn publish(log: &DiskLog, group: GroupId, known: &mut Known, round: u64) -> bool {
    let head = log.position(group).unwrap().head;
    let sizes = [(1, 100), (3, 10), (1, 60_000), (20, 500)];
    let (count, len) = sizes[((round + u64::from(group.0[0])) % 4) as usize];
    let first = (known.acked.len() + known.open.len()) as u64 + 1;
    let snapshot = (round % 5 == 4).then(|| Bytes::from(vec![round as u8; 300 + round as usize]));
    let sent = run(group, LOG, known.epoch, head.next(), count, first, len);
    let seqs = first..first + count;
    match append(log, one(sent, snapshot.clone())) {
        Ok(new_head) => {
            assert_eq!(new_head, head.plus(count));
            known.acked.extend(seqs);
            if snapshot.is_some() {
                known.snapshot = snapshot;
            }
            true
        }
        Err(_) => {
            known.open.extend(seqs);
            known.refused_snapshots.extend(snapshot);
            false
        }
    }
}

/// What was acknowledged is there; what is there besides was sent, and nothing is there twice.
fn check(log: &DiskLog, group: GroupId, opened: &Opened, known: &mut Known) {
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
        assert!(bytes == snapshot || known.refused_snapshots.contains(bytes), "the snapshot is another one");
    }
    known.open.retain(|seq| !found.contains(seq));
    known.acked = found;
    known.snapshot = opened.snapshot.as_ref().map(|snapshot| snapshot.bytes.clone());
}

/// After the cut: opens, checks, publishes again, closes, opens and checks.
fn reopen(disk: &FaultyDisk, known: &BTreeMap<GroupId, Known>) {
    let mut known = known.clone();
    for _ in 0..2 {
        let log = DiskLog::on(Arc::new(disk.clone()), options()).expect("the log opens after a power cut");
        assert_eq!(log.damages(), [], "a power cut is no damage");
        for n in 1..=3 {
            let known = known.entry(group(n)).or_default();
            let opened = log.open_group(group(n), LOG, true).unwrap();
            check(&log, group(n), &opened, known);
            assert!(publish(&log, group(n), known, 1));
        }
    }
}

fn cut(plan: Plan, seeds: std::ops::Range<u64>) -> bool {
    let disk = FaultyDisk::default();
    disk.plan(plan.clone());
    let mut known = BTreeMap::new();
    workload(&disk, &mut known);
    let happened = disk.is_off();
    disk.cut();
    for seed in seeds {
        let torn = disk.after_power_cut(seed);
        let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| reopen(&torn, &known)));
        if let Err(panic) = outcome {
            eprintln!("{plan:?}, seed {seed}");
            panic::resume_unwind(panic);
        }
    }
    happened
}

#[test]
fn every_acknowledged_message_survives_a_power_cut_at_each_write() {
    let cuts = (0..).take_while(|n| cut(Plan { cut_at_write: Some(*n), ..Plan::default() }, *n..*n + 3)).count();
    assert!(cuts > 300, "the workload has only {cuts} writes");
}

#[test]
fn every_acknowledged_message_survives_a_power_cut_at_each_sync() {
    let cuts = (0..).take_while(|n| cut(Plan { cut_at_sync: Some(*n), ..Plan::default() }, *n..*n + 6)).count();
    assert!(cuts > 80, "the workload has only {cuts} syncs");
}

#[test]
fn the_workload_rolls_files_and_none_is_over_the_limit() {
    let disk = FaultyDisk::default();
    let mut known = BTreeMap::new();
    workload(&disk, &mut known);
    let names = disk.file_names();
    assert!(names.len() >= 4, "{names:?}");
    let lens: Vec<_> = names.iter().map(|name| disk.bytes_of(name).len()).collect();
    assert!(lens.iter().all(|len| *len <= 512 << 10), "{lens:?}");
    let log = DiskLog::on(Arc::new(disk), options()).unwrap();
    log.retain(Retention { max_bytes: Some(600 << 10), ..Retention::default() }, 1_000_000).unwrap();
    assert!(log.position(group(1)).unwrap().oldest > Seq::FIRST);
}
