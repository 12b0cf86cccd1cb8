//! A disk that fails, and a registry that goes away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use gaung_log::{
    Append, AppendError, DiskOptions, Done, GroupRetention, Log, OpenError, Opened, Position, ReadError, Retention,
    SegmentLog, StoredGroup, WriteError,
};
use gaung_proto::{GroupId, LogId, Seq, datagram::PacketType, run::Run};
use multicast_relay::bind_on;
use tonic::Code;

use crate::datagrams::be_heard;
use crate::support::{
    self, GroupKind, RegistryDouble, TestRelay, ack, entry, eventually, join, publish, read, receive_type, request,
    words,
};

/// A log whose appends and openings fail while it is told so.
#[derive(Debug)]
struct Failing {
    log: SegmentLog,
    broken: AtomicBool,
    /// Appends that reach the disk although they are reported as failed.
    lying: AtomicBool,
    failed: AtomicUsize,
}

impl Failing {
    fn error() -> AppendError {
        AppendError::Io(full().into())
    }
}

fn full() -> std::io::Error {
    std::io::ErrorKind::StorageFull.into()
}

impl Log for Failing {
    fn durable(&self) -> bool {
        true
    }
    fn open_group(&self, group: GroupId, log: LogId, make_new: bool) -> Result<Opened, OpenError> {
        self.log.open_group(group, log, make_new)
    }
    fn open_groups(&self, groups: &[(GroupId, LogId, bool)]) -> Vec<Result<Opened, OpenError>> {
        match self.broken.load(Ordering::SeqCst) {
            true => groups.iter().map(|_| Err(OpenError::Io(full().into()))).collect(),
            false => self.log.open_groups(groups),
        }
    }
    fn append(&self, appends: Vec<Append>, done: Done) {
        if !self.broken.load(Ordering::SeqCst) {
            return self.log.append(appends, done);
        }
        self.failed.fetch_add(1, Ordering::SeqCst);
        if self.lying.load(Ordering::SeqCst) {
            self.log.append(appends, Box::new(move |_| done(Err(Self::error()))));
        } else {
            done(Err(Self::error()));
        }
    }
    fn read(&self, group: GroupId, log: LogId, from: Seq, max_bytes: usize) -> Result<Vec<Run>, ReadError> {
        self.log.read(group, log, from, max_bytes)
    }
    fn position(&self, group: GroupId) -> Option<Position> {
        self.log.position(group)
    }
    fn groups(&self) -> Vec<StoredGroup> {
        self.log.groups()
    }
    fn put_config(&self, group: GroupId, config: Bytes) -> Result<(), WriteError> {
        self.log.put_config(group, config)
    }
    fn retain_group(&self, group: GroupId, keep: GroupRetention, now_ms: u64) -> Result<(), WriteError> {
        self.log.retain_group(group, keep, now_ms)
    }
    fn reset(&self, group: GroupId, log: LogId) -> Result<Opened, WriteError> {
        self.log.reset(group, log)
    }
    fn delete_group(&self, group: GroupId, now_ms: u64) -> Result<(), WriteError> {
        self.log.delete_group(group, now_ms)
    }
    fn purge(&self, now_ms: u64) -> Result<Vec<GroupId>, WriteError> {
        self.log.purge(now_ms)
    }
    fn retain(&self, keep: Retention, now_ms: u64) -> Result<(), WriteError> {
        self.log.retain(keep, now_ms)
    }
}

async fn a_failed_append_loses_and_doubles_nothing(lying: bool) {
    let registry = RegistryDouble::start().await;
    let log = SegmentLog::open(&registry.data().join("log"), DiskOptions::default()).unwrap();
    let log = Arc::new(Failing {
        log,
        broken: AtomicBool::new(false),
        lying: AtomicBool::new(lying),
        failed: AtomicUsize::new(0),
    });
    let shared: Arc<dyn Log> = log.clone();
    let relay = TestRelay::run(bind_on(support::config(&registry), shared).await.unwrap()).await;
    let (group, addr) = registry.create("class", GroupKind::Proto).await;
    let member = join(addr);
    be_heard(&member, &relay).await;
    let mut client = relay.client().await;
    publish(&mut client, request(group, 1, vec![entry(1, "one")])).await;
    receive_type(&member, PacketType::Data).await;

    log.broken.store(true, Ordering::SeqCst);
    let status = client.publish(request(group, 1, vec![entry(2, "two")])).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(log.failed.load(Ordering::SeqCst), 1);
    let meanwhile: Vec<String> = read(&mut client, group, 1, 1).await.unwrap().iter().flat_map(words).collect();
    assert_eq!(meanwhile, ["one"], "what is in the log is read while it cannot be written");
    log.broken.store(false, Ordering::SeqCst);
    let again = publish(&mut client, request(group, 1, vec![entry(2, "two"), entry(3, "three")])).await;
    assert_eq!(again.acks, [ack(2, 2, 2)]);
    let all: Vec<String> = read(&mut client, group, 1, 0).await.unwrap().iter().flat_map(words).collect();
    assert_eq!(all, ["one", "two", "three"]);
    relay.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    a_failed_append_loses_and_doubles_nothing(false).await;
}

#[tokio::test]
async fn an_append_that_failed_and_is_there_all_the_same_is_not_logged_twice() {
    a_failed_append_loses_and_doubles_nothing(true).await;
}

#[tokio::test]
async fn groups_talk_on_without_the_registry_and_new_ones_come_with_it() {
    let mut registry = RegistryDouble::start().await;
    let relay = TestRelay::disk(&registry).await;
    let (old, _) = registry.create("old", GroupKind::Proto).await;
    let mut client = relay.client().await;
    publish(&mut client, request(old, 1, vec![entry(1, "one")])).await;
    registry.go_away();
    publish(&mut client, request(old, 1, vec![entry(2, "two")])).await;
    let (new, _) = registry.create("new", GroupKind::Proto).await;
    registry.come_back().await;
    assert_eq!(publish(&mut client, request(new, 1, vec![entry(1, "one")])).await.acks, [ack(1, 1, 1)]);
    eventually("the head is reported", async || registry.head(old) == Some(2)).await;
    relay.stop().await;
}
