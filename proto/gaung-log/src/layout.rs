//! What lies in one file of the log, and how it is encoded.
//!
//! The log is a row of redb files, `log-0000000001.redb` upwards. Only the one with the highest number is written. Each
//! holds what is needed to go on from it alone:
//!
//! ```text
//! log-0000000007.redb
//! ├─ meta       "format"                 → u32, this layout's version
//! │             "file"                   → crc | number u64 | started_at u64 (ms since 1970) | groups u64 (how many)
//! │                                        | round u64 | journal_bytes u64 (see `journal.rs`); format 1 ends before them
//! ├─ groups     group 16                 → crc | state (below)
//! ├─ configs    group 16                 → crc | bytes of the caller
//! ├─ snapshots  group 16, log 8, at 8    → crc | bytes of the caller, as of message `at`; the latest and the one before
//! ├─ trims      group 16                 → crc | log u64 | first u64; messages of that log before `first` are no longer
//! │                                        kept, whichever file still has them. Made with the first entry
//! └─ runs       group 16, log 8, base 8  → record (see `record.rs`)
//!
//! state:  log u64 | epoch u32 | flags u32 | head u64 | base u64 | snapshot_at u64 | deleted_at u64 | last_hash 32
//!         flags   1: deleted at deleted_at (ms since 1970)
//!                 2: acknowledged messages after `head` were lost with a damaged file
//!         head    last message; base: the head when this file was begun, so that it holds base+1 to head
//! ```
//! Numbers in network order, so that keys sort by seq; every `crc` is the CRC32C of key and value. A file is made under
//! the name `….redb.new`, synced, and then renamed, so that a name without a suffix always stands for a whole file. A
//! later file's `base` ends the range of an earlier one: what an earlier file holds above it was never acknowledged.
//! `….redb.damaged` was set aside, and so was `journal-ROUND.damaged` (`journal.rs`).

use gaung_proto::{Epoch, GroupId, LogId, Seq, run::Run};
use redb::TableDefinition;

use crate::{
    journal::{JOURNAL, JOURNAL_UNFINISHED},
    record::{Hash, NO_HASH, NewRecord},
};

/// Version of the layout of a file; a file of a higher one is refused.
pub const FORMAT: u32 = 2;

pub(crate) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const GROUPS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("groups");
pub(crate) const CONFIGS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("configs");
pub(crate) const SNAPSHOTS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("snapshots");
pub(crate) const TRIMS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("trims");
/// Logs that a reset replaced, whose runs are still there: since when, 0 until it is first seen.
pub(crate) const SUPERSEDED: TableDefinition<'static, &[u8; 24], u64> = TableDefinition::new("superseded");
pub(crate) const RUNS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("runs");

pub(crate) const META_FORMAT: &str = "format";
pub(crate) const META_FILE: &str = "file";

const SUFFIX: &str = ".redb";
const DAMAGED: &str = ".damaged";
const NEW: &str = ".new";

/// What a name in the folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Log(u64),
    Damaged(u64),
    Unfinished,
    Journal,
    /// By its last round.
    JournalDamaged(u64),
}

/// Bears no messages: it stays where a log was converted into segments, so that older programs refuse the folder.
pub(crate) const GUARD: &str = "log-9999999999.redb";

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            GUARD => return None,
            JOURNAL => return Some(Self::Journal),
            JOURNAL_UNFINISHED => return Some(Self::Unfinished),
            _ => {}
        }
        if let Some(rest) = name.strip_prefix(JOURNAL) {
            let round = match rest.strip_suffix(DAMAGED)? {
                // The name before they were numbered.
                "" => "0",
                rest => rest.strip_prefix('-')?,
            };
            return Some(Self::JournalDamaged(round.parse().ok()?));
        }
        let rest = name.strip_prefix("log-")?;
        if rest.ends_with(NEW) {
            return Some(Self::Unfinished);
        }
        let (rest, damaged) = rest.strip_suffix(DAMAGED).map_or((rest, false), |rest| (rest, true));
        let number = rest.strip_suffix(SUFFIX)?.parse().ok()?;
        Some(if damaged { Self::Damaged(number) } else { Self::Log(number) })
    }
}

pub(crate) fn file_name(number: u64) -> String {
    format!("log-{number:010}{SUFFIX}")
}

pub(crate) fn unfinished_name(number: u64) -> String {
    format!("{}{NEW}", file_name(number))
}

pub(crate) fn damaged_name(number: u64) -> String {
    format!("{}{DAMAGED}", file_name(number))
}

/// Rounds only rise, so that no journal takes the place of another.
pub(crate) fn damaged_journal_name(round: u64) -> String {
    format!("{JOURNAL}-{round:010}{DAMAGED}")
}

/// redb gives a large value pages of a power of two; small ones share pages that are half full at worst.
pub(crate) fn page_bytes(len: usize) -> u64 {
    if len > 2048 { len.next_power_of_two() as u64 } else { 2 * len as u64 }
}

/// Key of a run by its first message, and of a snapshot by the message it stands at.
pub(crate) fn seq_key(group: GroupId, log: LogId, seq: Seq) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(group.as_bytes());
    key[16..24].copy_from_slice(&log.0.to_be_bytes());
    key[24..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

pub(crate) fn seq_of(key: &[u8; 32]) -> Seq {
    Seq(u64::from_be_bytes(*key.last_chunk().expect("a key has 32 bytes")))
}

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

/// One file's entry about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMeta {
    pub(crate) number: u64,
    pub(crate) started_at_ms: u64,
    pub(crate) groups: u64,
    pub(crate) round: Round,
}

/// Which entries of the journal are not in the file yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Round {
    pub(crate) number: u64,
    /// Length of the journal; 0 while there is none.
    pub(crate) journal_bytes: u64,
}

impl FileMeta {
    pub(crate) fn encode(self) -> Vec<u8> {
        let Round { number: round, journal_bytes } = self.round;
        let words = [self.number, self.started_at_ms, self.groups, round, journal_bytes];
        protect(META_FILE.as_bytes(), &words.map(u64::to_be_bytes).concat())
    }

    pub(crate) fn decode(stored: &[u8]) -> Option<Self> {
        let value = unprotect(META_FILE.as_bytes(), stored)?;
        let round = match value.len() {
            24 => Round::default(),
            40 => Round { number: word(value, 24), journal_bytes: word(value, 32) },
            _ => return None,
        };
        Some(Self { number: word(value, 0), started_at_ms: word(value, 8), groups: word(value, 16), round })
    }
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

impl Trim {
    pub(crate) fn encode(self, group: GroupId) -> Vec<u8> {
        protect(group.as_bytes(), &[self.log.0, self.first.0].map(u64::to_be_bytes).concat())
    }

    pub(crate) fn decode(group: GroupId, stored: &[u8]) -> Option<Self> {
        let value: &[u8; 16] = unprotect(group.as_bytes(), stored)?.try_into().ok()?;
        Some(Self { log: LogId(word(value, 0)), first: Seq(word(value, 8)) })
    }
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
