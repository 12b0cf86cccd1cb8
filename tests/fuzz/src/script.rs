//! Bytes read as a script for an engine: numbers, lengths, datagrams that are nearly right.

use bytes::{Bytes, BytesMut};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, GroupTag, LogId, Pkt, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    datagram::{Fragment, Header, PacketType},
    run::{Run, RunHeader},
};

pub const GROUP: GroupId = GroupId([7; 16]);
pub const LOG: LogId = LogId(42);
pub const EPOCH: Epoch = Epoch(3);

/// What is left of an input; past its end everything is zero.
#[derive(Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    pub fn u64(&mut self) -> u64 {
        (0..4).fold(0, |value, _| value << 16 | u64::from(self.u16()))
    }

    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Near `from`, or anything.
    pub fn seq(&mut self, from: Seq) -> Seq {
        match self.u8() {
            255 => Seq(self.u64()),
            near => Seq(from.0.saturating_add(u64::from(near)).saturating_sub(16)),
        }
    }

    /// A header with the group's tag and, mostly, its epoch.
    pub fn header(&mut self, tag: GroupTag, near: Seq) -> Header {
        let kind = self.u8();
        let epoch = self.u8();
        let pkt = u32::from(self.u16());
        let count = u16::from(self.u8() % 8) + 1;
        Header {
            packet_type: PacketType::ALL[usize::from(kind) % PacketType::ALL.len()],
            flags: kind >> 6,
            tag: if epoch == 255 { GroupTag(tag.0 ^ 1) } else { tag },
            epoch: Epoch(EPOCH.0 + u32::from(epoch / 64)),
            pkt: if epoch == 254 { Pkt(pkt << 16) } else { Pkt(pkt + 1) },
            seq: self.seq(near),
            fragment: Fragment { index: u16::from(self.u8()) % count, count },
            ts_us: u32::from(self.u16()),
        }
    }

    /// A block of 1 to 16 messages.
    pub fn block(&mut self) -> BlockBuilder {
        let mut block = BlockBuilder::new();
        for number in 0..self.u8() % 16 + 1 {
            let len = usize::from(self.u8());
            let author = Author { device: DeviceId::NONE, client: ClientId([number % 3; 16]) };
            block.push(&MessageRef {
                author,
                client_seq: ClientSeq(u64::from(number) + 1),
                content_type: ContentType::Text,
                sent_at: SentAt(1),
                payload: &[number; 256][..len],
            });
        }
        block
    }

    /// The bytes of a good block, or any.
    pub fn body(&mut self) -> Bytes {
        if self.u8().is_multiple_of(2) {
            let mut bytes = BytesMut::new();
            self.block().write(&mut bytes);
            return bytes.freeze();
        }
        let len = usize::from(self.u16() % 1400);
        Bytes::copy_from_slice(self.bytes(len))
    }

    /// A run of the group that begins at `base_seq`.
    pub fn run(&mut self, base_seq: Seq) -> Run {
        Run::encode(RunHeader { group: GROUP, log: LOG, epoch: EPOCH, base_seq }, &self.block())
    }
}
