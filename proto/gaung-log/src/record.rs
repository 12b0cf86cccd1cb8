//! One record: a run as it was appended, and what proves that it is whole and in its place.
//!
//! ```text
//! 0        4         5       6         8          12            16                 48
//! | crc u32 | ver u8 | 0 u8  | 0 u16   | epoch u32 | run_len u32 | previous 32 bytes | run, run_len bytes |
//! ```
//! Numbers in network order. `crc` is the CRC32C of everything after it. `previous` is the SHA-256 of the whole record
//! before it in the same log, zero before the first. The run holds its authors' client ids.

use bytes::Bytes;
use gaung_proto::{Epoch, GroupId, LogId, Seq, limits::MAX_RUN, run::Run};
use sha2::{Digest as _, Sha256};

/// Bytes before the run.
pub const RECORD_HEADER: usize = 48;

const VERSION: u8 = 1;

/// SHA-256 of a record.
pub(crate) type Hash = [u8; 32];

/// What stands before the first record of a log.
pub(crate) const NO_HASH: Hash = [0; 32];

/// A record about to be written.
#[derive(Debug)]
pub(crate) struct NewRecord {
    head: [u8; RECORD_HEADER],
    run: Run,
}

impl NewRecord {
    pub(crate) fn new(run: Run, previous: &Hash) -> Self {
        let mut head = [0; RECORD_HEADER];
        head[4] = VERSION;
        head[8..12].copy_from_slice(&run.header().epoch.0.to_be_bytes());
        head[12..16].copy_from_slice(&(run.as_bytes().len() as u32).to_be_bytes());
        head[16..48].copy_from_slice(previous);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[4..]), run.as_bytes());
        head[..4].copy_from_slice(&crc.to_be_bytes());
        Self { head, run }
    }

    pub(crate) fn len(&self) -> usize {
        RECORD_HEADER + self.run.as_bytes().len()
    }

    /// Fills `out`, which has [`Self::len`] bytes.
    pub(crate) fn write(&self, out: &mut [u8]) {
        out[..RECORD_HEADER].copy_from_slice(&self.head);
        out[RECORD_HEADER..].copy_from_slice(self.run.as_bytes());
    }

    pub(crate) fn hash(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(self.head);
        hash.update(self.run.as_bytes());
        hash.finalize().into()
    }
}

/// A record that was read and found whole.
pub(crate) struct Record {
    /// Shares the record's bytes.
    pub(crate) run: Run,
    pub(crate) previous: Hash,
    pub(crate) hash: Hash,
}

impl Record {
    /// Checks a record that was read at (`group`, `log`, `first`). The error says what is wrong, for a report.
    pub(crate) fn check(bytes: Bytes, group: GroupId, log: LogId, first: Seq) -> Result<Self, &'static str> {
        let record = Self::parse(bytes)?;
        let header = record.run.header();
        if header.group != group || header.log != log || header.base_seq != first {
            return Err("a record lies in another's place");
        }
        Ok(record)
    }

    /// Checks everything that a record says about itself.
    pub(crate) fn parse(bytes: Bytes) -> Result<Self, &'static str> {
        let hash = Sha256::digest(&bytes).into();
        let (run, previous) = Self::run_of(bytes)?;
        Ok(Self { run, previous, hash })
    }

    /// The same without its hash, which takes most of the time: the run, and the hash of the record before it.
    pub(crate) fn run_of(bytes: Bytes) -> Result<(Run, Hash), &'static str> {
        if bytes.len() < RECORD_HEADER || bytes.len() > RECORD_HEADER + MAX_RUN {
            return Err("a record's length is impossible");
        }
        if crc32c::crc32c(&bytes[4..]).to_be_bytes() != bytes[..4] {
            return Err("a record's CRC does not hold");
        }
        if bytes[4..8] != [VERSION, 0, 0, 0] {
            return Err("a record's version is unknown");
        }
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let (epoch, run_len) = (Epoch(word(8)), word(12) as usize);
        if run_len != bytes.len() - RECORD_HEADER {
            return Err("a record's length is wrong");
        }
        let run = Run::parse(bytes.slice(RECORD_HEADER..)).map_err(|_| "a record's run cannot be read")?;
        if run.header().epoch != epoch {
            return Err("a record's epoch is not its run's");
        }
        let previous = bytes[16..48].try_into().expect("32 bytes");
        Ok((run, previous))
    }

    pub(crate) fn hash_of(bytes: &[u8]) -> Hash {
        Sha256::digest(bytes).into()
    }
}
