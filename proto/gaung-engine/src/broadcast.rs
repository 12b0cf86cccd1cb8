//! Packs runs of `everyone` into BROADCAST datagrams: whole messages together, or the fragments of a long one.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    Epoch, GroupTag, Pkt, SenderId, Seq,
    block::{BlockBuilder, MessageRef},
    body::Broadcast,
    datagram::{Fragment, Header, PacketType},
    limits::{MAX_DATA_BODY, MAX_FRAGMENTS},
    run::Run,
};

/// A hub's broadcast lane. It has no repair: every message goes out once.
///
/// After each [`BroadcastPacker::handle_run`] take [`BroadcastPacker::poll_datagram`] until it is empty.
#[derive(Debug)]
pub struct BroadcastPacker {
    sender: SenderId,
    pkt: Pkt,
    block: BlockBuilder,
    block_seq: Seq,
    ready: VecDeque<Bytes>,
    limit: usize,
}

impl BroadcastPacker {
    /// Makes a packer. `sender`: the hub's id, in clear in every datagram.
    #[must_use]
    pub fn new(sender: SenderId) -> Self {
        let (block, ready) = (BlockBuilder::new(), VecDeque::new());
        Self { sender, pkt: Pkt(0), block, block_seq: Seq::ZERO, ready, limit: MAX_DATA_BODY }
    }

    /// Makes bodies at most so long from now on, where an interface cannot carry longer datagrams.
    pub fn set_body(&mut self, bytes: usize) {
        self.limit = bytes.clamp(1, MAX_DATA_BODY);
    }

    /// Packs the messages of `run` from seq `from` on.
    ///
    /// `tag`: of the group with the run's log; `ts_us`: the hub's monotonic clock, µs modulo 2³².
    pub fn handle_run(&mut self, tag: GroupTag, run: &Run, from: Seq, ts_us: u32) {
        for (i, message) in run.block().messages().enumerate() {
            let seq = run.first_seq().plus(i as u64);
            if seq < from {
                continue;
            }
            if !self.block.is_empty()
                && self.block.encoded_len_with(&message.author, message.payload.len()) > self.limit
            {
                self.flush(tag, ts_us);
            }
            self.add(seq, &message);
            if self.block.encoded_len() > self.limit {
                self.flush(tag, ts_us);
            }
        }
        if !self.block.is_empty() {
            self.flush(tag, ts_us);
        }
    }

    /// Returns the next datagram's UDP payload.
    pub fn poll_datagram(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    fn add(&mut self, seq: Seq, message: &MessageRef<'_>) {
        if self.block.is_empty() {
            self.block_seq = seq;
        }
        self.block.push(message);
    }

    /// Sends what was packed; a block above the limit has a single message, which is fragmented.
    fn flush(&mut self, tag: GroupTag, ts_us: u32) {
        let mut encoded = BytesMut::with_capacity(self.block.encoded_len());
        self.block.write(&mut encoded);
        self.block.clear();
        // Receivers take no more fragments than this makes.
        let limit = self.limit.max(encoded.len().div_ceil(MAX_FRAGMENTS));
        let count = encoded.len().div_ceil(limit) as u16;
        for (index, bytes) in encoded.chunks(limit).enumerate() {
            self.pkt = Pkt(self.pkt.0.wrapping_add(1).max(1));
            let header = Header {
                packet_type: PacketType::Broadcast,
                flags: 0,
                tag,
                epoch: Epoch(0),
                pkt: self.pkt,
                seq: self.block_seq,
                fragment: Fragment { index: index as u16, count },
                ts_us,
            };
            let mut body = BytesMut::new();
            Broadcast { sender: self.sender, bytes }.write(&mut body);
            self.ready.push_back(header.encode(&body));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gaung_proto::{
        block::Block,
        limits::{MAX_DATAGRAM, MAX_PAYLOAD},
    };

    use super::*;
    use crate::test_messages::run;

    #[test]
    fn small_messages_share_a_datagram_and_long_ones_are_cut() {
        let payloads: Vec<Vec<u8>> =
            [10, 20, 1000, 1100, 5, 70_000, 7].iter().map(|&len| vec![len as u8; len]).collect();
        let mut packer = BroadcastPacker::new(SenderId([9; 16]));
        packer.handle_run(GroupTag(4), &run(11, &payloads), Seq(12), 77);
        let mut seqs = Vec::new();
        let mut fragments = Vec::new();
        let mut pkts = Vec::new();
        while let Some(datagram) = packer.poll_datagram() {
            assert!(datagram.len() <= MAX_DATAGRAM);
            let (header, body) = Header::decode(&datagram).unwrap();
            let body = Broadcast::decode(body).unwrap();
            assert_eq!(
                (header.packet_type, header.tag, body.sender),
                (PacketType::Broadcast, GroupTag(4), SenderId([9; 16]))
            );
            pkts.push(header.pkt.0);
            if header.fragment.is_whole() {
                seqs.push((header.seq.0, Block::parse(body.bytes).unwrap().count()));
            } else {
                assert_eq!(header.seq, Seq(16));
                assert_eq!(usize::from(header.fragment.index), fragments.len());
                fragments.push(body.bytes.to_vec());
            }
        }
        assert_eq!(seqs, [(12, 2), (14, 2), (17, 1)]);
        assert_eq!(pkts, (1..=pkts.len() as u32).collect::<Vec<_>>());
        let whole = fragments.concat();
        assert_eq!(Block::parse(&whole).unwrap().messages().next().unwrap().payload, payloads[5]);
    }

    #[test]
    fn the_longest_message_fits_the_fragment_count() {
        let mut packer = BroadcastPacker::new(SenderId([9; 16]));
        packer.handle_run(GroupTag(4), &run(11, &[vec![1; MAX_PAYLOAD]]), Seq(1), 0);
        let first = packer.poll_datagram().unwrap();
        assert_eq!(usize::from(Header::decode(&first).unwrap().0.fragment.count), packer.ready.len() + 1);
    }
}
