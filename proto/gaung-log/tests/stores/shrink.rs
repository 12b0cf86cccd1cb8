//! The log within its budget.
use std::sync::Arc;

use crate::Store;
use crate::fault::{
    FaultyDisk,
    model::{LOG, append, client_seqs, group, one, run},
};
use gaung_log::{DiskOptions, Log};
use gaung_proto::{Epoch, Seq};

#[test]
fn who_has_most_gives_room_and_the_others_keep_all() {
    let disk = FaultyDisk::default();
    let options = DiskOptions { file_bytes: 2 << 20, ..DiskOptions::default() };
    let log = Store::on(Arc::new(disk.clone()), options.clone()).unwrap();
    (1..=3).for_each(|n| drop(log.open_group(group(n), LOG, true).unwrap()));
    let mut quiet = 0;
    for seq in 1..=120 {
        append(&log, one(run(group(1), LOG, Epoch(1), Seq(seq), 1, seq, 100_000), None)).unwrap();
        if seq % 10 == 0 {
            quiet += 1;
            append(&log, one(run(group(2), LOG, Epoch(1), Seq(quiet), 1, quiet, 500), None)).unwrap();
        }
    }
    append(&log, one(run(group(3), LOG, Epoch(1), Seq(1), 5, 1, 50_000), None)).unwrap();
    log.delete_group(group(3), 0).unwrap();
    let before = log.stored_bytes();
    let budget = before / 3 * 2;
    log.shrink(before).unwrap();
    assert_eq!(log.position(group(1)).unwrap().oldest, Seq(1), "nothing is short");
    log.shrink(budget).unwrap();
    let used: usize = disk.log_names().iter().map(|name| disk.bytes_of(name).len()).sum();
    assert!(used as u64 <= budget && log.stored_bytes() == used as u64, "{used} of {budget}");
    assert_eq!(log.position(group(3)), None, "the deleted one is gone at once");
    let check = |log: &Store| {
        assert_eq!(client_seqs(log, group(2), LOG, Seq(1)), (1..=quiet).collect::<Vec<_>>());
        let oldest = log.position(group(1)).unwrap().oldest;
        assert!((2..118).contains(&oldest.0), "{oldest}");
        assert_eq!(client_seqs(log, group(1), LOG, oldest), (oldest.0..=120).collect::<Vec<_>>());
    };
    check(&log);
    drop(log);
    let log = Store::on(Arc::new(disk), options).unwrap();
    assert_eq!(log.damages(), []);
    check(&log);
    let epoch = log.open_group(group(2), LOG, false).unwrap().epoch;
    append(&log, one(run(group(2), LOG, epoch, Seq(quiet + 1), 1, quiet + 1, 500), None)).unwrap();
}
