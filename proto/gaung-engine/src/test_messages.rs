//! Makes blocks, messages and runs for unit tests.

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    messages::Messages,
    run::{Run, RunHeader},
};

/// Group and log of [`run`].
pub(crate) const GROUP: GroupId = GroupId([3; 16]);
pub(crate) const LOG: LogId = LogId(5);

/// Makes a block of one author, whose messages have their seq as client_seq.
fn builder(first: u64, payloads: &[impl AsRef<[u8]>]) -> BlockBuilder {
    let mut builder = BlockBuilder::new();
    for (seq, payload) in (first..).zip(payloads) {
        builder.push(&MessageRef {
            author: Author { device: DeviceId([1; 16]), client: ClientId([2; 16]) },
            client_seq: ClientSeq(seq),
            content_type: ContentType::Text,
            sent_at: SentAt(77),
            payload: payload.as_ref(),
        });
    }
    builder
}

pub(crate) fn block(first: u64, payloads: &[impl AsRef<[u8]>]) -> Bytes {
    let mut block = BytesMut::new();
    builder(first, payloads).write(&mut block);
    block.freeze()
}

pub(crate) fn messages(first: u64, payloads: &[impl AsRef<[u8]>]) -> Messages {
    Messages::parse(block(first, payloads), Seq(first)).expect("what a builder writes")
}

/// Makes a run of epoch 1.
pub(crate) fn run(first: u64, payloads: &[impl AsRef<[u8]>]) -> Run {
    let header = RunHeader { group: GROUP, log: LOG, epoch: Epoch(1), base_seq: Seq(first) };
    Run::encode(header, &builder(first, payloads))
}
