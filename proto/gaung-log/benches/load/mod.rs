//! What the benches append.

use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

pub(crate) const LOG: LogId = LogId(1);
pub(crate) const PAYLOAD: usize = 64;

/// A run of the first opening of a log, all of one author.
pub(crate) fn run(group: GroupId, base_seq: Seq, messages: u64) -> Run {
    let mut block = BlockBuilder::new();
    for i in 0..messages {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
            client_seq: ClientSeq(base_seq.0 + i),
            content_type: ContentType::from_byte(1),
            sent_at: SentAt(0),
            payload: &[7; PAYLOAD],
        });
    }
    Run::encode(RunHeader { group, log: LOG, epoch: Epoch(1), base_seq }, &block)
}
