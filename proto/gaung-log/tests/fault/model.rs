//! Runs to append, and what must be found of them.

use std::sync::mpsc::channel;

use bytes::Bytes;
use gaung_log::{Append, AppendError, Log, Runs};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

pub fn group(n: u8) -> GroupId {
    GroupId([n; 16])
}

pub const LOG: LogId = LogId(0x1234_5678_9abc_def0);

/// A run of `count` messages from `base`, whose client seqs start at `client_seq`.
pub fn run(
    group: GroupId,
    log: LogId,
    epoch: Epoch,
    base: Seq,
    count: u64,
    client_seq: u64,
    payload_len: usize,
) -> Run {
    let mut block = BlockBuilder::new();
    let author = Author { device: DeviceId::NONE, client: ClientId([7; 16]) };
    for i in 0..count {
        let payload = vec![(client_seq + i) as u8; payload_len];
        block.push(&MessageRef {
            author,
            client_seq: ClientSeq(client_seq + i),
            content_type: ContentType::from_byte(1),
            sent_at: SentAt(1_000_000 + i),
            payload: &payload,
        });
    }
    Run::encode(RunHeader { group, log, epoch, base_seq: base }, &block)
}

/// A run of one message with this payload.
pub fn run_of(group: GroupId, log: LogId, epoch: Epoch, base: Seq, payload: &[u8]) -> Run {
    let mut block = BlockBuilder::new();
    block.push(&MessageRef {
        author: Author { device: DeviceId::NONE, client: ClientId([7; 16]) },
        client_seq: ClientSeq(1),
        content_type: ContentType::from_byte(1),
        sent_at: SentAt(1),
        payload,
    });
    Run::encode(RunHeader { group, log, epoch, base_seq: base }, &block)
}

/// Appends and waits for the outcome.
pub fn append(log: &dyn Log, appends: Vec<Append>) -> Result<Seq, AppendError> {
    let (to, from) = channel();
    log.append(appends, Box::new(move |outcome| to.send(outcome).unwrap()));
    from.recv_timeout(std::time::Duration::from_secs(60)).expect("every append is answered")
}

pub fn one(run: Run, snapshot: Option<Bytes>) -> Vec<Append> {
    vec![Append { run, snapshot }]
}

/// Every client seq of a group's log, in order; checks that seqs are dense from `from`.
pub fn client_seqs(log: &dyn Log, group: GroupId, id: LogId, from: Seq) -> Vec<u64> {
    let mut next = from;
    let mut found = Vec::new();
    for run in Runs::new(log, group, id, from, 64 * 1024) {
        for message in run.expect("the log can be read").messages() {
            assert_eq!(message.seq, next, "seqs are dense");
            assert!(message.payload.iter().all(|b| *b == message.client_seq.0 as u8), "payload is whole");
            next = next.next();
            found.push(message.client_seq.0);
        }
    }
    found
}
