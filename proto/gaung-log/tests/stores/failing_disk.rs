//! A full or failing disk: publishers are told, nothing acknowledged is lost, nothing refused is served, and appends
//! succeed again once the disk does.
use std::{io, sync::Arc, time::Duration};

use crate::Store;
use crate::fault::{
    FaultyDisk, Plan,
    model::{LOG, append, client_seqs, group, one, run},
};
use gaung_log::{AppendError, DiskOptions, Log, OpenLogError, ReadError};
use gaung_proto::{Epoch, Seq};

/// What a dying disk says has no kind of its own.
const EIO: io::ErrorKind = io::ErrorKind::Other;

fn options() -> DiskOptions {
    DiskOptions {
        file_bytes: crate::FILE_BYTES,
        retry_after: Duration::ZERO,
        retry_at_most: Duration::ZERO,
        clock: || 1,
        ..DiskOptions::default()
    }
}

/// Publishes messages one by one to two groups, each again until it is acknowledged; returns how many attempts failed.
fn publish_all(log: &Store, disk: &FaultyDisk, messages: u64) -> Result<u64, String> {
    let mut failed = 0;
    for client_seq in 1..=messages {
        for n in 1..=2 {
            let mut attempts = 0;
            loop {
                let position = log.position(group(n)).unwrap();
                let len = if client_seq % 2 == 0 { 50_000 } else { 90 };
                let sent = run(group(n), LOG, position.epoch, position.head.next(), 1, client_seq, len);
                match append(log, one(sent, None)) {
                    Ok(head) if head == position.head.next() => break,
                    Ok(head) => return Err(format!("head {head} after {}", position.head)),
                    Err(AppendError::Io(_)) => failed += 1,
                    Err(error) => return Err(error.to_string()),
                }
                if log.position(group(n)).unwrap() != position {
                    return Err("a refused append moved the head".into());
                }
                let found = client_seqs(log, group(n), LOG, Seq::FIRST);
                if found != (1..client_seq).collect::<Vec<_>>() {
                    return Err(format!("while failing, {found:?} is served instead of 1..{client_seq}"));
                }
                attempts += 1;
                if attempts == 40 {
                    disk.plan(Plan::default());
                }
                if attempts > 42 {
                    return Err("appends go on failing on a healed disk".into());
                }
            }
        }
    }
    Ok(failed)
}

fn outage(plan: Plan, seed: u64) -> u64 {
    let disk = FaultyDisk::default();
    let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
    for n in 1..=2 {
        assert_eq!(log.open_group(group(n), LOG, true).unwrap().epoch, Epoch(1));
    }
    disk.plan(plan.clone());
    let failed = publish_all(&log, &disk, 10).unwrap_or_else(|error| panic!("{error}; {plan:?}"));
    assert_eq!(log.damages(), [], "{plan:?}");
    let cut = disk.after_power_cut(seed);
    drop(log);
    for disk in [cut, disk.after_kill()] {
        let log = Store::on(Arc::new(disk), options()).unwrap();
        for n in 1..=2 {
            assert_eq!(log.open_group(group(n), LOG, false).unwrap().epoch, Epoch(2));
            let found = client_seqs(&log, group(n), LOG, Seq::FIRST);
            assert_eq!(found, (1..=10).collect::<Vec<_>>(), "{plan:?}");
        }
    }
    failed
}

fn writes_of_the_workload() -> (u64, u64, u64, u64) {
    let disk = FaultyDisk::default();
    let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
    (1..=2).for_each(|n| drop(log.open_group(group(n), LOG, true).unwrap()));
    let before = disk.counts();
    publish_all(&log, &disk, 10).unwrap();
    assert!(log.figures().files >= 3);
    let after = disk.counts();
    (before.writes, after.writes, before.syncs, after.syncs)
}

#[test]
fn a_full_disk_at_any_write_loses_nothing() {
    let (first, last, ..) = writes_of_the_workload();
    let mut failed = 0;
    for n in first..last {
        let plan = Plan {
            fail_writes_from: Some(n),
            fail_writes_until: Some(n + 1 + n % 9),
            error: Some(io::ErrorKind::StorageFull),
            ..Plan::default()
        };
        failed += outage(plan, n);
    }
    assert!(failed >= last - first, "only {failed} appends failed");
}

#[test]
fn a_write_that_fails_or_stops_half_way_at_any_place_loses_nothing() {
    let (first, last, ..) = writes_of_the_workload();
    let mut failed = 0;
    for n in first..last {
        let (short_writes, error) = [(true, io::ErrorKind::StorageFull), (true, EIO), (false, EIO)][n as usize % 3];
        let plan = Plan {
            fail_writes_from: Some(n),
            fail_writes_until: Some(n + 1 + n % 4),
            short_writes,
            error: Some(error),
            ..Plan::default()
        };
        failed += outage(plan, n);
    }
    assert!(failed >= last - first, "only {failed} appends failed");
}

#[test]
fn a_file_that_cannot_be_read_for_a_while_is_not_taken_for_damaged() {
    // Nothing stays in memory, whether files are opened for each read or stay open.
    for open_files in [0, 16] {
        failing_reads(&DiskOptions { open_files, ..options() });
    }
}

fn failing_reads(options: &DiskOptions) {
    let disk = FaultyDisk::default();
    let log = Store::on(Arc::new(disk.clone()), options.clone()).unwrap();
    (1..=2).for_each(|n| drop(log.open_group(group(n), LOG, true).unwrap()));
    publish_all(&log, &disk, 10).unwrap();
    let names = disk.file_names();
    for name in &names {
        disk.plan(Plan { fail_reads_of: Some(name.clone()), error: Some(EIO), ..Plan::default() });
        let reads = (1..=2).flat_map(|n| (1..=10).map(move |seq| (group(n), Seq(seq))));
        let (good, bad): (Vec<_>, Vec<_>) =
            reads.map(|(group, seq)| log.read(group, LOG, seq, 1).map(|runs| runs.len())).partition(Result::is_ok);
        assert!(!bad.is_empty() && bad.iter().all(|bad| matches!(bad, Err(ReadError::Io(_)))), "{name}: {bad:?}");
        assert!(good.len() >= 10, "the other files are read: {name}, {bad:?}");
        // The newest file is left behind for a new one, if it is that.
        log.put_config(group(1), name.clone().into()).unwrap();
        disk.plan(Plan::default());
        assert_eq!(client_seqs(&log, group(1), LOG, Seq::FIRST), (1..=10).collect::<Vec<_>>(), "{name}");
    }
    assert_eq!(log.damages(), []);
    drop(log);
    for name in disk.file_names() {
        disk.plan(Plan { fail_reads_of: Some(name.clone()), error: Some(EIO), ..Plan::default() });
        let error = Store::on(Arc::new(disk.clone()), options.clone()).unwrap_err();
        assert!(matches!(&error, OpenLogError::File { file, .. } if *file == name), "{error}");
    }
    disk.plan(Plan::default());
    let left = disk.file_names();
    assert!(names.iter().all(|name| left.contains(name)), "nothing was set aside: {left:?}");
    let log = Store::on(Arc::new(disk), options.clone()).unwrap();
    assert_eq!(client_seqs(&log, group(2), LOG, Seq::FIRST), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_failed_sync_at_any_place_loses_nothing_although_the_system_forgets_the_pages() {
    let (.., first, last) = writes_of_the_workload();
    for n in first..last {
        for forgets in [false, true] {
            let plan = Plan {
                fail_syncs_from: Some(n),
                fail_syncs_until: Some(n + 1 + n % 3),
                failed_sync_forgets: forgets,
                ..Plan::default()
            };
            // All that was not synced is lost.
            outage(plan, 0);
        }
    }
}

#[test]
fn while_the_disk_is_full_everything_stored_is_served_and_the_error_says_why() {
    let disk = FaultyDisk::default();
    let log = Store::on(Arc::new(disk.clone()), DiskOptions::default()).unwrap();
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    append(&log, one(run(group(1), LOG, epoch, Seq(1), 3, 1, 10), None)).unwrap();
    let from = disk.counts().writes;
    let error = Some(io::ErrorKind::StorageFull);
    disk.plan(Plan { fail_writes_from: Some(from), error, ..Plan::default() });
    for _ in 0..5 {
        match append(&log, one(run(group(1), LOG, epoch, Seq(4), 1, 4, 10), None)) {
            Err(AppendError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
    }
    assert!(log.figures().failures >= 1);
    assert_eq!(client_seqs(&log, group(1), LOG, Seq::FIRST), [1, 2, 3]);
}
