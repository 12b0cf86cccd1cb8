//! Records found in the bare bytes of a file, wherever they lie. A record lies in one piece, also where the store's own
//! pages around it are damaged.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use bytes::Bytes;
use gaung_proto::{limits::MAX_RUN, run::RUN_MAGIC};

use crate::record::{RECORD_HEADER, Record};

/// Bytes looked through at a time.
const CHUNK: usize = 4 << 20;
/// What cannot be read is skipped in pieces of this size, a disk's sector.
const SECTOR: usize = 4096;
const LONGEST: usize = RECORD_HEADER + MAX_RUN;

/// Calls `found` with every whole record and where it begins.
///
/// # Errors
/// Those of opening the file; what cannot be read of it is skipped.
pub(super) fn records(path: &Path, mut found: impl FnMut(u64, Record)) -> io::Result<()> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut start = 0;
    // Chunks overlap by the longest record, so that each lies whole in the chunk that it begins in; what a record holds is
    // not looked into, for its payload may be anything.
    while start < len {
        let chunk = read(&file, start, CHUNK + LONGEST, len);
        let mut at = 0;
        while at < chunk.len().min(CHUNK) {
            match record(&chunk, at) {
                Some(record) => {
                    let length = RECORD_HEADER + record.run.as_bytes().len();
                    found(start + at as u64, record);
                    at += length;
                }
                None => at += 1,
            }
        }
        start += at.max(1) as u64;
    }
    Ok(())
}

/// The bytes of the record that begins at `offset`; `None` if there is none.
pub(super) fn bytes_at(file: &File, offset: u64) -> io::Result<Option<Bytes>> {
    let mut head = [0; RECORD_HEADER];
    file.read_exact_at(&mut head, offset)?;
    let run_len = u32::from_be_bytes([head[12], head[13], head[14], head[15]]) as usize;
    if run_len > MAX_RUN {
        return Ok(None);
    }
    let mut bytes = vec![0; RECORD_HEADER + run_len];
    file.read_exact_at(&mut bytes, offset)?;
    let bytes = Bytes::from(bytes);
    Ok(record(&bytes, 0).map(|_| bytes))
}

fn record(chunk: &Bytes, at: usize) -> Option<Record> {
    let head = chunk.get(at..at + RECORD_HEADER + 2)?;
    // Version and zeros, then the run's own magic: most places are passed by here.
    if head[4..8] != [1, 0, 0, 0] || head[RECORD_HEADER..] != RUN_MAGIC.to_be_bytes() {
        return None;
    }
    let run_len = u32::from_be_bytes(head[12..16].try_into().ok()?) as usize;
    if run_len > MAX_RUN || chunk.len() < at + RECORD_HEADER + run_len {
        return None;
    }
    Record::parse(chunk.slice(at..at + RECORD_HEADER + run_len)).ok()
}

fn read(file: &File, start: u64, most: usize, len: u64) -> Bytes {
    let there = usize::try_from(len - start.min(len)).unwrap_or(most).min(most);
    let mut bytes = vec![0; there];
    if file.read_exact_at(&mut bytes, start).is_err() {
        for (number, sector) in bytes.chunks_mut(SECTOR).enumerate() {
            if file.read_exact_at(sector, start + (number * SECTOR) as u64).is_err() {
                sector.fill(0);
            }
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_proto::{
        ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
        block::{Author, BlockBuilder, MessageRef, SentAt},
        run::{Run, RunHeader},
    };

    use crate::record::{NO_HASH, NewRecord};

    use super::*;

    fn record_bytes(seq: u64) -> Vec<u8> {
        let mut block = BlockBuilder::new();
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([7; 16]) },
            client_seq: ClientSeq(seq),
            content_type: ContentType::from_byte(1),
            sent_at: SentAt(1),
            payload: b"halo",
        });
        let header = RunHeader { group: GroupId([1; 16]), log: LogId(2), epoch: Epoch(1), base_seq: Seq(seq) };
        let run = Run::encode(header, &block);
        let record = NewRecord::new(run, &NO_HASH);
        let mut bytes = vec![0; record.len()];
        record.write(&mut bytes);
        bytes
    }

    #[test]
    fn records_are_found_anywhere_and_only_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bytes");
        let (one, two, three) = (record_bytes(1), record_bytes(2), record_bytes(3));
        let mut bytes = vec![1; 77];
        bytes.extend_from_slice(&one);
        // Over the border of two chunks.
        bytes.resize(CHUNK - two.len() / 2, 0);
        bytes.extend_from_slice(&two);
        let mut torn = record_bytes(4);
        *torn.last_mut().unwrap() ^= 1;
        bytes.extend_from_slice(&torn);
        bytes.extend_from_slice(&three);
        bytes.extend_from_slice(&one[..one.len() - 1]);
        std::fs::write(&path, &bytes).unwrap();
        let mut found = Vec::new();
        records(&path, |offset, record| found.push((offset, record.run.first_seq().0))).unwrap();
        let at = |seq: &[u8]| bytes.windows(seq.len()).position(|window| window == seq).unwrap() as u64;
        assert_eq!(found, [(77, 1), (at(&two), 2), (at(&three), 3)]);
        let file = File::open(&path).unwrap();
        assert_eq!(bytes_at(&file, 77).unwrap().unwrap(), one);
        assert!(bytes_at(&file, 1).unwrap().is_none());
    }
}
