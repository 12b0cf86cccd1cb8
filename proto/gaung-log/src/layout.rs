//! A group's state as files have it, in segments and in the B-trees before them.
//!
//! ```text
//! 0        4       12          16          20        28        36              44             52           84
//! | crc u32 | log u64 | epoch u32 | flags u32 | head u64 | base u64 | snapshot_at u64 | deleted_at u64 | last_hash 32 |
//! flags   1: deleted at deleted_at (ms since 1970)
//!         2: acknowledged messages after `head` were lost with a damaged file
//! head    last message; base: the head when the file was begun, so that it holds base+1 to head
//! ```
//! Numbers in network order; `crc` is the CRC32C of the group's id and of what follows.

use gaung_proto::{Epoch, GroupId, LogId, Seq, run::Run};

use crate::record::{Hash, NO_HASH, NewRecord};

/// `value` with the CRC over key and value before it.
pub(crate) fn protect(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + value.len());
    out.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(key), value).to_be_bytes());
    out.extend_from_slice(value);
    out
}

/// The value within, if its CRC holds.
pub(crate) fn unprotect<'a>(key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, value) = stored.split_first_chunk::<4>()?;
    (crc32c::crc32c_append(crc32c::crc32c(key), value).to_be_bytes() == *crc).then_some(value)
}

/// One group's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupState {
    pub(crate) log: LogId,
    pub(crate) epoch: Epoch,
    pub(crate) head: Seq,
    pub(crate) base: Seq,
    pub(crate) snapshot_at: Seq,
    pub(crate) deleted_at_ms: Option<u64>,
    pub(crate) tail_lost: bool,
    pub(crate) last_hash: Hash,
}

/// From where on a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trim {
    pub(crate) log: LogId,
    pub(crate) first: Seq,
}

const STATE_LEN: usize = 80;
const FLAG_DELETED: u32 = 1;
const FLAG_TAIL_LOST: u32 = 2;

impl GroupState {
    /// Goes on by a run, whose record this is.
    pub(crate) fn follow(&mut self, run: Run) -> NewRecord {
        self.head = run.last_seq();
        let record = NewRecord::new(run, &self.last_hash);
        self.last_hash = record.hash();
        record
    }

    pub(crate) fn new(log: LogId, epoch: Epoch) -> Self {
        Self {
            log,
            epoch,
            head: Seq::ZERO,
            base: Seq::ZERO,
            snapshot_at: Seq::ZERO,
            deleted_at_ms: None,
            tail_lost: false,
            last_hash: NO_HASH,
        }
    }

    /// As it stands at the beginning of the next file.
    pub(crate) fn carried(&self) -> Self {
        Self { base: self.head, ..self.clone() }
    }

    pub(crate) fn encode(&self, group: GroupId) -> Vec<u8> {
        let deleted = if self.deleted_at_ms.is_some() { FLAG_DELETED } else { 0 };
        let flags = deleted | if self.tail_lost { FLAG_TAIL_LOST } else { 0 };
        let mut value = Vec::with_capacity(STATE_LEN);
        value.extend_from_slice(&self.log.0.to_be_bytes());
        value.extend_from_slice(&self.epoch.0.to_be_bytes());
        value.extend_from_slice(&flags.to_be_bytes());
        for word in [self.head.0, self.base.0, self.snapshot_at.0, self.deleted_at_ms.unwrap_or(0)] {
            value.extend_from_slice(&word.to_be_bytes());
        }
        value.extend_from_slice(&self.last_hash);
        protect(group.as_bytes(), &value)
    }

    pub(crate) fn decode(group: GroupId, stored: &[u8]) -> Option<Self> {
        let value: &[u8; STATE_LEN] = unprotect(group.as_bytes(), stored)?.try_into().ok()?;
        let epoch_and_flags = word(value, 8);
        let flags = epoch_and_flags as u32;
        Some(Self {
            log: LogId(word(value, 0)),
            epoch: Epoch((epoch_and_flags >> 32) as u32),
            head: Seq(word(value, 16)),
            base: Seq(word(value, 24)),
            snapshot_at: Seq(word(value, 32)),
            deleted_at_ms: (flags & FLAG_DELETED != 0).then_some(word(value, 40)),
            tail_lost: flags & FLAG_TAIL_LOST != 0,
            last_hash: *value.last_chunk().expect("the value has more than 32 bytes"),
        })
    }
}

/// The eight bytes at `at` as a number.
pub(crate) fn word(value: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(value[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn seq_word(value: &[u8], at: usize) -> Seq {
    Seq(word(value, at))
}
