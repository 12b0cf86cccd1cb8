//! A run: the encoded messages of one batch, the same bytes in the store, between services and on TCP.
//!
//! ```text
//! magic u16 = "GR" | version u8 = 1 | flags u8 = 0 | length u32 (of the whole run)
//! group_id 16 | log_id u64 | epoch u32 | base_seq u64 | block
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    block::{Block, BlockBuilder},
    id::{Epoch, GroupId, LogId, Seq},
    limits::MAX_RUN,
    messages::Messages,
    wire::{DecodeError, Reader},
};

/// The first two bytes of a run, `"GR"`.
pub const RUN_MAGIC: u16 = 0x4752;
/// Bytes of a run's header, before the block.
pub const RUN_HEADER: usize = 44;

const VERSION: u8 = 1;

/// What stands before a run's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHeader {
    /// The group whose messages these are.
    pub group: GroupId,
    /// The log within which the seqs count.
    pub log: LogId,
    /// The epoch that appended it; at least 1.
    pub epoch: Epoch,
    /// Seq of the first message; at least 1.
    pub base_seq: Seq,
}

/// A checked run. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    header: RunHeader,
    count: u16,
    bytes: Bytes,
}

impl Run {
    /// Encodes the messages of `block`, of which there is at least one.
    ///
    /// # Panics
    /// If the block is empty or the run would be longer than [`MAX_RUN`].
    #[must_use]
    pub fn encode(header: RunHeader, block: &BlockBuilder) -> Self {
        assert!(!block.is_empty(), "a run has at least one message");
        let length = RUN_HEADER + block.encoded_len();
        assert!(length <= MAX_RUN, "the caller closes a run before it is too long");
        let mut bytes = BytesMut::with_capacity(length);
        bytes.put_u16(RUN_MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(0);
        bytes.put_u32(length as u32);
        bytes.put_slice(header.group.as_bytes());
        bytes.put_u64(header.log.0);
        bytes.put_u32(header.epoch.0);
        bytes.put_u64(header.base_seq.0);
        block.write(&mut bytes);
        Self { header, count: block.count(), bytes: bytes.freeze() }
    }

    /// Checks `bytes`, which is one whole run and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_RUN {
            return Err(DecodeError::TooLong { limit: MAX_RUN });
        }
        let mut reader = Reader::new(&bytes);
        if reader.u16()? != RUN_MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        if reader.u8()? != 0 {
            return Err(DecodeError::Field("run flags"));
        }
        if reader.u32()? as usize != bytes.len() {
            return Err(DecodeError::Field("run length"));
        }
        let header = RunHeader {
            group: GroupId(reader.array()?),
            log: LogId(reader.u64()?),
            epoch: Epoch(reader.u32()?),
            base_seq: Seq(reader.u64()?),
        };
        if header.epoch.0 == 0 {
            return Err(DecodeError::Field("epoch"));
        }
        let count = Block::parse(reader.rest())?.count();
        if header.base_seq == Seq::ZERO || header.base_seq.0.checked_add(u64::from(count)).is_none() {
            return Err(DecodeError::Field("base seq"));
        }
        Ok(Self { header, count, bytes })
    }

    /// What stands before the block.
    #[must_use]
    pub const fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Seq of the first message.
    #[must_use]
    pub const fn first_seq(&self) -> Seq {
        self.header.base_seq
    }

    /// Seq of the last message.
    #[must_use]
    pub const fn last_seq(&self) -> Seq {
        Seq(self.header.base_seq.0 + self.count as u64 - 1)
    }

    /// How many messages; at least 1.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The encoded bytes, unchanged since they were made.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the block of messages within.
    #[must_use]
    pub fn block(&self) -> Block<'_> {
        Block::of_checked(&self.bytes[RUN_HEADER..]).expect("checked when the run was made")
    }

    /// The messages in seq order; payloads share the run's bytes.
    #[must_use]
    pub fn messages(&self) -> Messages {
        Messages::of_checked(self.bytes.slice(RUN_HEADER..), self.first_seq())
    }
}
