//! The journal of the format before segments: small appends that were durable there before they were in the newest file.
//!
//! ```text
//! journal            entries of this round, each at a multiple of 4096; behind them older rounds, then zeros
//! entry              | crc u32 | "GJE1" | round u64 | number u32 | len u32 | items, len bytes |
//! item               | record_len u32 | snapshot_len u32 (2³² − 1: none) | record (see `record.rs`) | snapshot |
//! ```
//! Numbers in network order; `crc` is the CRC32C of everything after it; an entry's number counts from 0 in its round.
//! The round that counts is the one that the active file names: what has an earlier one is in the file. An entry is written
//! only after the one before it was synced, so that one that is not whole was never acknowledged, if it is the last.

use std::{io, ops::Range};

use bytes::Bytes;

use crate::volume::Volume;

/// Its name in the folder.
pub(super) const JOURNAL: &str = "journal";
/// While it was being made.
pub(super) const JOURNAL_UNFINISHED: &str = "journal.new";

/// No two entries share what a disk writes in one piece at best.
const ALIGNMENT: usize = 4096;
const ENTRY_HEADER: usize = 24;
const ITEM_HEADER: usize = 8;
const MAGIC: [u8; 4] = *b"GJE1";
const NO_SNAPSHOT: u32 = u32::MAX;

/// The bytes of a journal.
#[derive(Debug)]
pub(super) struct Content(Bytes);

/// The entries of one round.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// In order.
    pub(super) items: Vec<Kept>,
    /// Why some of the round are missing, if they are.
    pub(super) fault: Option<String>,
}

/// An item as it was found.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: Bytes,
    pub(super) snapshot: Option<Bytes>,
}

/// A whole entry.
struct Entry {
    round: u64,
    number: u32,
    /// Where its items lie.
    items: Range<usize>,
}

/// Reads the journal; `None` if there is none.
pub(super) fn read(volume: &dyn Volume) -> io::Result<Option<Content>> {
    let file = match volume.open(JOURNAL) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    file.read(0, &mut bytes)?;
    Ok(Some(Content(bytes.into())))
}

impl Content {
    /// The entries of `round`, in a journal that was `bytes` long.
    pub(super) fn entries(&self, round: u64, bytes: usize) -> Entries {
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
            items.push(Kept { record: self.0.slice(at..record_end), snapshot });
            rest = end;
        }
        Some(items)
    }
}
