//! The journal: one file, written from its beginning over and over, where small appends are made durable by one write and
//! one sync. Many of them then go into the active file in one transaction, a *checkpoint*, which begins the next round.
//!
//! A commit of the store writes pages all over its file and costs ten times as much as what it is for; without the journal
//! a lone message waited for that, and under load it was what the processor did most.
//!
//! ```text
//! journal            entries of this round, each at a multiple of 4096; behind them older rounds, then zeros
//! entry              | crc u32 | "GJE1" | round u64 | number u32 | len u32 | items, len bytes |
//! item               | record_len u32 | snapshot_len u32 (2³² − 1: none) | record (see `record.rs`) | snapshot |
//! ```
//! Numbers in network order; `crc` is the CRC32C of everything after it; an entry's number counts from 0 in its round.
//! The round that counts is the one that the active file names: what has an earlier one is in the file. An entry is written
//! only after the one before it was synced, so that one that is not whole was never acknowledged, if it is the last.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;
use redb::StorageBackend;

use crate::{
    file::Env,
    record::NewRecord,
    volume::{Watch, Watched},
};

/// Its name in the folder.
pub(crate) const JOURNAL: &str = "journal";
/// While it is being made.
pub(crate) const JOURNAL_UNFINISHED: &str = "journal.new";

/// What a disk writes in one piece at best; no two entries share it, so that none is written again.
const ALIGNMENT: usize = 4096;
const ENTRY_HEADER: usize = 24;
const ITEM_HEADER: usize = 8;
const MAGIC: [u8; 4] = *b"GJE1";
const NO_SNAPSHOT: u32 = u32::MAX;
/// Larger batches go into the active file at once: writing them twice would cost more than a commit.
const MOST_AT_ONCE: usize = 64 * 1024;

/// A record and the snapshot that goes with it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) record: NewRecord,
    pub(crate) snapshot: Option<Bytes>,
}

/// The journal, open for writing.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Watched,
    bytes: usize,
    round: u64,
    /// Where the next entry goes.
    at: usize,
    entries: u32,
    entry: Vec<u8>,
}

impl Item {
    /// Bytes in the journal.
    pub(crate) fn len(&self) -> usize {
        item_len(self.record.len(), self.snapshot.as_ref())
    }

    fn write(&self, out: &mut Vec<u8>) {
        let snapshot_len = self.snapshot.as_ref().map_or(NO_SNAPSHOT, |bytes| bytes.len() as u32);
        out.extend_from_slice(&(self.record.len() as u32).to_be_bytes());
        out.extend_from_slice(&snapshot_len.to_be_bytes());
        let start = out.len();
        out.resize(start + self.record.len(), 0);
        self.record.write(&mut out[start..]);
        out.extend_from_slice(self.snapshot.as_deref().unwrap_or_default());
    }
}

pub(crate) fn item_len(record_len: usize, snapshot: Option<&Bytes>) -> usize {
    ITEM_HEADER + record_len + snapshot.map_or(0, Bytes::len)
}

impl Journal {
    /// Makes one of zeros, `bytes` long, in place of the one before. It is whole before it bears its name, so that syncs
    /// have nothing but its content to write.
    pub(crate) fn create(env: &Env, bytes: usize) -> io::Result<Self> {
        let bytes = bytes.next_multiple_of(ALIGNMENT);
        let made = || -> io::Result<Watched> {
            let file = watched(env, env.volume.create(JOURNAL_UNFINISHED)?);
            file.set_len(bytes as u64)?;
            file.write(0, &vec![0; bytes])?;
            file.sync_data()?;
            env.volume.rename(JOURNAL_UNFINISHED, JOURNAL)?;
            env.volume.sync_names()?;
            Ok(file)
        };
        let file = made().inspect_err(|_| {
            // On a full disk it would be in the way; at the next opening it is removed at the latest.
            env.volume.remove(JOURNAL_UNFINISHED).ok();
        })?;
        Ok(Self { file, bytes, round: 0, at: bytes, entries: 0, entry: Vec::new() })
    }

    /// Begins a round, once the active file names it.
    pub(crate) const fn begin(&mut self, round: u64) {
        (self.round, self.at, self.entries) = (round, 0, 0);
    }

    /// 0 before the first.
    pub(crate) const fn round(&self) -> u64 {
        self.round
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether items of `len` bytes should and can go here.
    pub(crate) fn takes(&self, len: usize) -> bool {
        len <= MOST_AT_ONCE.min(self.bytes / 4) && self.at + ENTRY_HEADER + len <= self.bytes
    }

    /// Writes an entry and syncs it. After an error the journal is not to be used again.
    pub(crate) fn append(&mut self, items: &[Item]) -> io::Result<()> {
        self.entry.clear();
        self.entry.extend_from_slice(&[0; 4]);
        self.entry.extend_from_slice(&MAGIC);
        self.entry.extend_from_slice(&self.round.to_be_bytes());
        self.entry.extend_from_slice(&self.entries.to_be_bytes());
        let len: usize = items.iter().map(Item::len).sum();
        self.entry.extend_from_slice(&(len as u32).to_be_bytes());
        items.iter().for_each(|item| item.write(&mut self.entry));
        let crc = crc32c::crc32c(&self.entry[4..]);
        self.entry[..4].copy_from_slice(&crc.to_be_bytes());
        self.entry.resize(self.entry.len().next_multiple_of(ALIGNMENT), 0);
        self.file.write(self.at as u64, &self.entry)?;
        self.file.sync_data()?;
        self.at += self.entry.len();
        self.entries += 1;
        Ok(())
    }
}

/// What the last process left in the journal.
#[derive(Debug)]
pub(crate) struct Left {
    file: Watched,
    pub(crate) content: Content,
}

/// The bytes of a journal.
#[derive(Debug)]
pub(crate) struct Content(Bytes);

/// The entries of one round.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// In order.
    pub(crate) items: Vec<Kept>,
    /// Why some of the round are missing, if they are.
    pub(crate) fault: Option<String>,
}

/// An item as it was found.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Where the record lies.
    pub(crate) at: usize,
    pub(crate) record: Bytes,
    pub(crate) snapshot: Option<Bytes>,
}

/// A whole entry.
struct Entry {
    round: u64,
    number: u32,
    /// Where its items lie.
    items: Range<usize>,
}

impl Left {
    /// `None` if there is no journal.
    pub(crate) fn read(env: &Env) -> io::Result<Option<Self>> {
        let file = match env.volume.open(JOURNAL) {
            Ok(file) => watched(env, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read(0, &mut bytes)?;
        Ok(Some(Self { file, content: Content(bytes.into()) }))
    }

    /// To be written on, from the beginning and once a round is begun.
    pub(crate) fn into_journal(self) -> Journal {
        let bytes = self.content.0.len() / ALIGNMENT * ALIGNMENT;
        Journal { file: self.file, bytes, round: 0, at: bytes, entries: 0, entry: Vec::new() }
    }
}

impl Content {
    pub(crate) const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The highest round that any entry is of; `None` without one.
    pub(crate) fn highest_round(&self) -> Option<u64> {
        self.places().filter_map(|at| self.entry(at)).map(|entry| entry.round).max()
    }

    /// The entries of `round`, in a journal that was `bytes` long.
    pub(crate) fn entries(&self, round: u64, bytes: usize) -> Entries {
        let mut entries = Entries::default();
        let (mut at, mut number) = (0, 0);
        while let Some(entry) = self.entry(at).filter(|entry| (entry.round, entry.number) == (round, number)) {
            at = entry.items.end.next_multiple_of(ALIGNMENT);
            match self.items(entry.items) {
                Some(items) => entries.items.extend(items),
                None => entries.fault = Some(format!("entry {number} cannot be read")),
            }
            number += 1;
        }
        let goes_on = |at: &usize| self.entry(*at).is_some_and(|entry| entry.round == round);
        if self.places().skip_while(|place| *place < at).any(|at| goes_on(&at)) {
            entries.fault = Some(format!("entry {number} is damaged, and others follow it"));
        } else if self.0.len() < bytes {
            entries.fault = Some(format!("it was cut from {bytes} to {} bytes", self.0.len()));
        }
        entries
    }

    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.0.len()).step_by(ALIGNMENT)
    }

    /// The entry at `at`, if it is whole.
    fn entry(&self, at: usize) -> Option<Entry> {
        let rest = self.0.get(at..)?;
        let head = rest.get(..ENTRY_HEADER)?;
        let (crc, head_rest) = head.split_first_chunk::<4>()?;
        let (magic, head_rest) = head_rest.split_first_chunk::<4>()?;
        let (round, head_rest) = head_rest.split_first_chunk::<8>()?;
        let (number, len) = head_rest.split_first_chunk::<4>()?;
        let end = ENTRY_HEADER.checked_add(u32::from_be_bytes(*len.first_chunk()?) as usize)?;
        let whole = *magic == MAGIC && crc32c::crc32c(rest.get(4..end)?).to_be_bytes() == *crc;
        whole.then_some(Entry {
            round: u64::from_be_bytes(*round),
            number: u32::from_be_bytes(*number),
            items: at + ENTRY_HEADER..at + end,
        })
    }

    fn items(&self, range: Range<usize>) -> Option<Vec<Kept>> {
        let mut items = Vec::new();
        let mut rest = range.start;
        while rest < range.end {
            let (record_len, head_rest) = self.0.get(rest..)?.split_first_chunk::<4>()?;
            let snapshot_len = u32::from_be_bytes(*head_rest.first_chunk()?);
            let at = rest + ITEM_HEADER;
            let record_end = at.checked_add(u32::from_be_bytes(*record_len) as usize)?;
            let end = record_end.checked_add(if snapshot_len == NO_SNAPSHOT { 0 } else { snapshot_len as usize })?;
            if end > range.end {
                return None;
            }
            let snapshot = (snapshot_len != NO_SNAPSHOT).then(|| self.0.slice(record_end..end));
            items.push(Kept { at, record: self.0.slice(at..record_end), snapshot });
            rest = end;
        }
        Some(items)
    }
}

fn watched(env: &Env, file: Box<dyn StorageBackend>) -> Watched {
    Watched::new(file, Watch::new(Arc::clone(&env.syncs)))
}
