//! Logs that a reset replaced: they stay for a day, and less where there is no room.
use std::sync::Arc;

use crate::Store;
use crate::fault::{
    FaultyDisk,
    model::{LOG, append, client_seqs, group, one, run},
};
use gaung_log::{DELETED_KEPT_MS, DiskOptions, Log};
use gaung_proto::{LogId, Seq};

const FRESH: LogId = LogId(9);
const NOON: u64 = 1_800_000_000_000;
const DAY: u64 = DELETED_KEPT_MS;

/// A log of ten runs that was replaced by one of a single run.
fn replaced(log: &dyn Log, payload: usize) {
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    for seq in 1..=10 {
        append(log, one(run(group(1), LOG, epoch, Seq(seq), 1, seq, payload), None)).unwrap();
    }
    let epoch = log.reset(group(1), FRESH).unwrap().epoch;
    append(log, one(run(group(1), FRESH, epoch, Seq(1), 1, 1, 100), None)).unwrap();
}

/// Runs that are left after purges at these times, each by a process of its own.
fn left_after(purges: &[u64]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let options = DiskOptions::default;
    replaced(&Store::open(folder.path(), options()).unwrap(), 100);
    for &now_ms in purges {
        let log = Store::open(folder.path(), options()).unwrap();
        assert_eq!(log.purge(now_ms).unwrap(), [], "the group itself stays");
        assert_eq!(client_seqs(&log, group(1), FRESH, Seq(1)), [1]);
    }
    crate::runs_on_disk(folder.path())
}

#[test]
fn what_a_reset_replaced_is_kept_for_a_day_and_no_longer() {
    assert_eq!(left_after(&[]), 11);
    assert_eq!(left_after(&[NOON]), 11, "it is dated at the first purge");
    assert_eq!(left_after(&[NOON, NOON + DAY - 1]), 11);
    assert_eq!(left_after(&[NOON, NOON + DAY]), 1);
}

#[test]
fn what_was_replaced_while_the_clock_was_ahead_is_kept_for_a_day_from_when_it_is_right() {
    let (ahead, week) = (NOON + 300 * DAY, 7 * DAY);
    assert_eq!(left_after(&[ahead, NOON]), 11);
    assert_eq!(left_after(&[ahead, NOON, NOON + DAY - 1]), 11);
    assert_eq!(left_after(&[ahead, NOON, NOON + DAY, NOON + week]), 1);
}

#[test]
fn what_a_reset_replaced_counts_in_the_budget_and_gives_way_first() {
    let disk = FaultyDisk::default();
    let options = || DiskOptions { file_bytes: 2 << 20, ..DiskOptions::default() };
    let log = Store::on(Arc::new(disk.clone()), options()).unwrap();
    let epochs: Vec<_> = (1..=2).map(|n| log.open_group(group(n), LOG, true).unwrap().epoch).collect();
    // Many files, each with something of both.
    for seq in 1..=80 {
        for (n, epoch) in (1..=2).zip(&epochs) {
            append(&log, one(run(group(n), LOG, *epoch, Seq(seq), 1, seq, 100_000), None)).unwrap();
        }
    }
    let all: Vec<u64> = (1..=80).collect();
    log.reset(group(1), FRESH).unwrap();
    log.purge(NOON).unwrap();
    let both = log.stored_bytes();
    assert!(both >= 2 * 80 * 100_000, "{both} bytes: what was replaced counts");
    log.shrink(both).unwrap();
    assert_eq!(log.stored_bytes(), both, "nothing is short");
    let budget = both / 4 * 3;
    log.shrink(budget).unwrap();
    assert!(log.stored_bytes() <= budget, "{} of {budget}", log.stored_bytes());
    assert_eq!(client_seqs(&log, group(2), LOG, Seq(1)), all, "nobody else lost anything");
}

#[test]
fn a_log_that_was_just_replaced_leaves_a_disk_that_is_short_at_once() {
    for is_dated in [false, true] {
        let disk = FaultyDisk::default();
        let log = Store::on(Arc::new(disk.clone()), DiskOptions::default()).unwrap();
        replaced(&log, 200_000);
        if is_dated {
            log.purge(NOON).unwrap();
        }
        let budget = log.stored_bytes() / 2;
        log.shrink(budget).unwrap();
        assert!(log.stored_bytes() <= budget, "{} of {budget}", log.stored_bytes());
        assert_eq!(client_seqs(&log, group(1), FRESH, Seq(1)), [1]);
    }
}
