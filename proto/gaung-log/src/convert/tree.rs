//! The format before segments, to be read once: redb files, of which the newest lacks what the journal has (`journal.rs`).
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
//! ```
//! Numbers in network order, so that keys sort by seq; every `crc` is the CRC32C of key and value; the state is that of
//! `layout.rs`. A later file's `base` ends the range of an earlier one: what an earlier file holds above it was never
//! acknowledged. `….redb.damaged` was set aside, and so was `journal-ROUND.damaged`.

use std::collections::HashMap;

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq};
use redb::{Builder, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

use super::journal::{JOURNAL, JOURNAL_UNFINISHED};
use crate::{
    fault::{Fault, guarded},
    layout::{GroupState, Trim, unprotect, word},
    segment::known::Superseded,
    volume::{Backend, Volume},
};

/// The last version of this format.
pub(super) const FORMAT: u32 = 2;

pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const GROUPS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("groups");
pub(super) const CONFIGS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("configs");
pub(super) const SNAPSHOTS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("snapshots");
pub(super) const TRIMS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("trims");
/// Logs that a reset replaced, whose runs are still there: since when, 0 until it is first seen.
pub(super) const SUPERSEDED: TableDefinition<'static, &[u8; 24], u64> = TableDefinition::new("superseded");
pub(super) const RUNS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("runs");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_FILE: &str = "file";

const SUFFIX: &str = ".redb";
const DAMAGED: &str = ".damaged";
const NEW: &str = ".new";

/// What a name in the folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Log(u64),
    Damaged(u64),
    Unfinished,
    Journal,
    JournalDamaged,
}

/// Bears no messages: it stays where a log was converted into segments, so that older programs refuse the folder.
pub(super) const GUARD: &str = "log-9999999999.redb";

impl Name {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            GUARD => return None,
            JOURNAL => return Some(Self::Journal),
            JOURNAL_UNFINISHED => return Some(Self::Unfinished),
            _ => {}
        }
        if let Some(rest) = name.strip_prefix(JOURNAL) {
            return rest.ends_with(DAMAGED).then_some(Self::JournalDamaged);
        }
        let rest = name.strip_prefix("log-")?;
        if let Some(rest) = rest.strip_suffix(NEW) {
            return rest.ends_with(SUFFIX).then_some(Self::Unfinished);
        }
        let (rest, damaged) = rest.strip_suffix(DAMAGED).map_or((rest, false), |rest| (rest, true));
        let number = rest.strip_suffix(SUFFIX)?.parse().ok()?;
        Some(if damaged { Self::Damaged(number) } else { Self::Log(number) })
    }
}

/// Whether a file of this name is still to be converted.
pub(crate) fn is_unconverted(name: &str) -> bool {
    matches!(Name::parse(name), Some(Name::Log(_)))
}

/// The number of a file in the format before segments that was set aside.
pub(crate) fn set_aside_before(name: &str) -> Option<u64> {
    match Name::parse(name) {
        Some(Name::Damaged(number)) => Some(number),
        Some(Name::Log(_) | Name::Unfinished | Name::Journal | Name::JournalDamaged) | None => None,
    }
}

pub(super) fn file_name(number: u64) -> String {
    format!("log-{number:010}{SUFFIX}")
}

pub(super) fn damaged_name(number: u64) -> String {
    format!("{}{DAMAGED}", file_name(number))
}

/// Rounds only rise, so that no journal takes the place of another.
pub(super) fn damaged_journal_name(round: u64) -> String {
    format!("{JOURNAL}-{round:010}{DAMAGED}")
}

/// Key of a run by its first message, and of a snapshot by the message it stands at.
pub(super) fn seq_key(group: GroupId, log: LogId, seq: Seq) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(group.as_bytes());
    key[16..24].copy_from_slice(&log.0.to_be_bytes());
    key[24..].copy_from_slice(&seq.0.to_be_bytes());
    key
}

pub(super) fn seq_of(key: &[u8; 32]) -> Seq {
    Seq(u64::from_be_bytes(*key.last_chunk().expect("a key has 32 bytes")))
}

/// One file's entry about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileMeta {
    pub(super) number: u64,
    pub(super) started_at_ms: u64,
    pub(super) groups: u64,
    pub(super) round: Round,
}

/// Which entries of the journal are not in the file yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round {
    pub(super) number: u64,
    /// Length of the journal; 0 while there is none.
    pub(super) journal_bytes: u64,
}

impl FileMeta {
    pub(super) fn decode(stored: &[u8]) -> Option<Self> {
        let value = unprotect(META_FILE.as_bytes(), stored)?;
        let round = match value.len() {
            24 => Round::default(),
            40 => Round { number: word(value, 24), journal_bytes: word(value, 32) },
            _ => return None,
        };
        Some(Self { number: word(value, 0), started_at_ms: word(value, 8), groups: word(value, 16), round })
    }
}

/// What a file says of itself and its groups.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) started_at_ms: u64,
    pub(super) round: Round,
    pub(super) groups: HashMap<GroupId, GroupState>,
}

/// Runs `work` on what the file `number` has, repaired if it was not closed. Each value has a checksum of its own.
pub(super) fn read<T>(
    volume: &dyn Volume,
    number: u64,
    work: impl FnOnce(&ReadTransaction) -> Result<T, Fault>,
) -> Result<T, Fault> {
    guarded(|| {
        let db = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Backend(volume.open(&file_name(number))?))?;
        let done = work(&db.begin_read()?);
        drop(db);
        done
    })
}

const CACHE_BYTES: usize = 4 << 20;

/// Reads what the file `number` says of itself and its groups.
pub(super) fn load(txn: &ReadTransaction, number: u64) -> Result<Contents, Fault> {
    let meta = txn.open_table(META)?;
    let format = meta.get(META_FORMAT)?.ok_or_else(|| Fault::damaged("it names no format"))?;
    let format: [u8; 4] = format.value().try_into().map_err(|_| Fault::damaged("its format cannot be read"))?;
    match u32::from_be_bytes(format) {
        1..=FORMAT => {}
        found if found > FORMAT => return Err(Fault::Newer { found }),
        _ => return Err(Fault::damaged("it names no known format")),
    }
    let stored = meta.get(META_FILE)?;
    let meta = stored.and_then(|stored| FileMeta::decode(stored.value()));
    let meta = meta.ok_or_else(|| Fault::damaged("what it says of itself cannot be read"))?;
    if meta.number != number {
        return Err(Fault::damaged("it bears another file's name"));
    }
    let mut groups = HashMap::new();
    for entry in txn.open_table(GROUPS)?.iter()? {
        let (key, value) = entry?;
        let group = GroupId(*key.value());
        let state = GroupState::decode(group, value.value());
        groups.insert(group, state.ok_or_else(|| Fault::damaged("a group's CRC does not hold"))?);
    }
    if groups.len() as u64 != meta.groups {
        return Err(Fault::damaged("groups are missing"));
    }
    Ok(Contents { started_at_ms: meta.started_at_ms, round: meta.round, groups })
}

/// Reads from where on the logs of groups are kept.
pub(super) fn load_trims(txn: &ReadTransaction) -> Result<HashMap<GroupId, Trim>, Fault> {
    let table = match txn.open_table(TRIMS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(HashMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut trims = HashMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let group = GroupId(*key.value());
        let trim = decode_trim(group, value.value()).ok_or_else(|| Fault::damaged("a trim's CRC does not hold"))?;
        trims.insert(group, trim);
    }
    Ok(trims)
}

/// Reads the configs of all groups.
pub(super) fn load_configs(txn: &ReadTransaction) -> Result<HashMap<GroupId, Bytes>, Fault> {
    let table = txn.open_table(CONFIGS)?;
    let mut configs = HashMap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let config =
            unprotect(key.value(), value.value()).ok_or_else(|| Fault::damaged("a config's CRC does not hold"))?;
        configs.insert(GroupId(*key.value()), Bytes::copy_from_slice(config));
    }
    Ok(configs)
}

fn decode_trim(group: GroupId, stored: &[u8]) -> Option<Trim> {
    let value: &[u8; 16] = unprotect(group.as_bytes(), stored)?.try_into().ok()?;
    Some(Trim { log: LogId(word(value, 0)), first: Seq(word(value, 8)) })
}

pub(super) fn load_superseded(txn: &ReadTransaction) -> Result<Superseded, Fault> {
    let table = match txn.open_table(SUPERSEDED) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Superseded::new()),
        Err(error) => return Err(error.into()),
    };
    let mut superseded = Superseded::new();
    for entry in table.iter()? {
        let (key, since) = entry?;
        let key = key.value();
        let group = GroupId(*key.first_chunk().expect("a key has 24 bytes"));
        superseded.insert((group, LogId(word(key, 16))), since.value());
    }
    Ok(superseded)
}

/// A group's snapshot as of message `at`.
pub(super) fn snapshot(txn: &ReadTransaction, group: GroupId, log: LogId, at: Seq) -> Result<Option<Bytes>, Fault> {
    let key = seq_key(group, log, at);
    let Some(stored) = txn.open_table(SNAPSHOTS)?.get(&key)? else { return Ok(None) };
    let bytes = unprotect(&key, stored.value()).ok_or_else(|| Fault::damaged("a snapshot's CRC does not hold"))?;
    Ok(Some(Bytes::copy_from_slice(bytes)))
}
