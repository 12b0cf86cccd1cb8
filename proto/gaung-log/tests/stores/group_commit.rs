//! Whatever waits shares one sync.
use std::{
    sync::{Arc, mpsc::channel},
    time::Duration,
};

use crate::Store;
use crate::fault::{
    FaultyDisk, Plan,
    model::{LOG, append, client_seqs, group, one, run},
};
use gaung_log::{AppendError, DiskOptions, Log};
use gaung_proto::Seq;

fn slow_disk() -> FaultyDisk {
    let disk = FaultyDisk::default();
    disk.plan(Plan { sync_takes: Duration::from_millis(2), ..Plan::default() });
    disk
}

#[test]
fn appends_of_many_threads_share_syncs() {
    let disk = slow_disk();
    let log = Store::on(Arc::new(disk.clone()), DiskOptions::default()).unwrap();
    let epoch = log.open_groups(&(0..16).map(|n| (group(n), LOG, true)).collect::<Vec<_>>());
    assert!(epoch.iter().all(|opened| opened.as_ref().unwrap().epoch.0 == 1));
    let before = disk.counts().syncs;
    std::thread::scope(|scope| {
        for n in 0..16 {
            let log = &log;
            scope.spawn(move || {
                for seq in 1..=40 {
                    let sent = run(group(n), LOG, gaung_proto::Epoch(1), Seq(seq), 1, seq, 100);
                    assert_eq!(append(log, one(sent, None)).unwrap(), Seq(seq));
                }
            });
        }
    });
    let syncs = disk.counts().syncs - before;
    assert!(syncs < 640 / 4, "{syncs} syncs for 640 appends");
    for n in 0..16 {
        assert_eq!(client_seqs(&log, group(n), LOG, Seq::FIRST), (1..=40).collect::<Vec<_>>());
    }
}

#[test]
fn appends_handed_over_without_waiting_are_answered_in_order_and_share_syncs() {
    let disk = slow_disk();
    let log = Store::on(Arc::new(disk.clone()), DiskOptions::default()).unwrap();
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    let before = disk.counts().syncs;
    let (to, from) = channel();
    for seq in 1..=500 {
        let to = to.clone();
        let sent = run(group(1), LOG, epoch, Seq(seq), 1, seq, 100);
        log.append(one(sent, None), Box::new(move |outcome| to.send(outcome.unwrap()).unwrap()));
    }
    let heads: Vec<_> = from.iter().take(500).collect();
    assert_eq!(heads, (1..=500).map(Seq).collect::<Vec<_>>());
    let syncs = disk.counts().syncs - before;
    assert!(syncs < 100, "{syncs} syncs for 500 appends");
}

#[test]
fn a_full_queue_refuses_and_what_builds_on_the_refused_is_refused_too() {
    let disk = FaultyDisk::default();
    disk.plan(Plan { sync_takes: Duration::from_millis(20), ..Plan::default() });
    let options = DiskOptions { queue_bytes: 10_000, ..DiskOptions::default() };
    let log = Store::on(Arc::new(disk), options).unwrap();
    let epoch = log.open_group(group(1), LOG, true).unwrap().epoch;
    let (to, from) = channel();
    for seq in 1..=200 {
        let to = to.clone();
        let sent = run(group(1), LOG, epoch, Seq(seq), 1, seq, 1000);
        log.append(one(sent, None), Box::new(move |outcome| to.send((seq, outcome)).unwrap()));
    }
    let outcomes: Vec<_> = from.iter().take(200).collect();
    let accepted = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count() as u64;
    assert!(accepted > 0 && accepted < 200);
    let full = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Err(AppendError::Full))).count();
    assert!(full > 0);
    assert!(outcomes.iter().all(|(seq, outcome)| outcome.is_ok() == (*seq <= accepted)));
    assert_eq!(client_seqs(&log, group(1), LOG, Seq::FIRST), (1..=accepted).collect::<Vec<_>>());
}
