//! Encodes the windows into a snapshot, and restores them.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use gaung_proto::{ClientId, Seq, limits::CLIENT_WINDOW};

use crate::claim::ChargedShare;

use super::{
    ClientWindows, StreamId,
    window::{ClientWindow, SeqRow},
};

/// A snapshot that cannot be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of client windows is damaged ({0})")]
pub struct SnapshotError(&'static str);

/// 2: with owners; 1 had none, and is not read any more.
const VERSION: u8 = 2;
/// Bytes of a client with one row, about.
const CLIENT_BYTES: usize = 80;
const HIGHEST: u64 = u64::MAX / 2;

impl ClientWindows {
    /// Encodes all windows as they were when `as_of` was the highest seq; the same state gives the same bytes.
    ///
    /// `version u8 | clients u32 | clients × (client_id 16 | owner u64 | peer u64 | session u64 | at_unix_ms i64 |
    /// floor | rows | rows × (client_seq above the one before | seq, as the zigzag difference to the one before | count))`;
    /// numbers without a length are LEB128.
    #[must_use]
    pub fn snapshot(&self, as_of: Seq) -> Bytes {
        let mut out = BytesMut::with_capacity(5 + self.clients.len() * CLIENT_BYTES);
        out.put_u8(VERSION);
        out.put_u32(0);
        let mut count: u32 = 0;
        for (client, window) in &self.clients {
            let rows = || window.rows().filter_map(|row| row.up_to(as_of.0));
            let kept = rows().count();
            if kept == 0 {
                continue;
            }
            count += 1;
            out.put_slice(client.as_bytes());
            out.put_u64(window.owner);
            out.put_u64(window.charged.peer);
            out.put_u64(window.charged.session);
            out.put_i64(window.at_unix_ms);
            put_number(&mut out, window.floor());
            put_number(&mut out, kept as u64);
            let (mut next, mut seq) = (0, 0);
            for row in rows() {
                put_number(&mut out, row.first - next);
                put_number(&mut out, zigzag(row.seq.wrapping_sub(seq) as i64));
                put_number(&mut out, row.count);
                (next, seq) = (row.first + row.count, row.seq + row.count);
            }
        }
        out[1..5].copy_from_slice(&count.to_be_bytes());
        out.freeze()
    }

    /// Returns the estimated bytes of the largest snapshot.
    #[must_use]
    pub const fn snapshot_bytes(&self) -> usize {
        // A row of 24 bytes is seldom more than 8 in a snapshot, a client's 256 are 80.
        self.bytes / 3
    }

    /// Restores the windows of a snapshot, as many as `limit_bytes` hold.
    ///
    /// # Errors
    /// [`SnapshotError`]: replay the log instead.
    pub fn restore(snapshot: &[u8], limit_bytes: usize) -> Result<Self, SnapshotError> {
        let mut reader = SnapshotReader(snapshot);
        if reader.array::<1>()? != [VERSION] {
            return Err(SnapshotError("unknown version"));
        }
        let count = u32::from_be_bytes(reader.array()?);
        let mut windows = Self::new(limit_bytes);
        for _ in 0..count {
            let stream: StreamId = ClientId(reader.array()?);
            let window = reader.window()?;
            if windows.clients.contains_key(&stream) {
                return Err(SnapshotError("a client stands in it twice"));
            }
            windows.put(stream, window);
        }
        if reader.0.is_empty() { Ok(windows) } else { Err(SnapshotError("bytes follow the end")) }
    }
}

struct SnapshotReader<'a>(&'a [u8]);

impl SnapshotReader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(SnapshotError("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_be_bytes)
    }

    fn number(&mut self) -> Result<u64, SnapshotError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(SnapshotError("a number is too long"))
    }

    fn window(&mut self) -> Result<ClientWindow, SnapshotError> {
        let owner = self.u64()?;
        let charged = ChargedShare { peer: self.u64()?, session: self.u64()? };
        let at_unix_ms = i64::from_be_bytes(self.array()?);
        let floor = self.number()?;
        let count = self.number()?;
        let range = SnapshotError("a window is out of range");
        if floor == 0 || count == 0 || count > CLIENT_WINDOW {
            return Err(range);
        }
        let (mut rows, mut messages) = (VecDeque::new(), 0);
        let (mut next, mut seq) = (0u64, 0u64);
        for _ in 0..count {
            let first =
                next.checked_add(self.number()?).filter(|&first| (floor..=HIGHEST).contains(&first)).ok_or(range)?;
            let at = seq.wrapping_add(unzigzag(self.number()?) as u64);
            let row = SeqRow { first, seq: at, count: self.number()? };
            messages += row.count.min(HIGHEST);
            if row.count == 0 || messages > CLIENT_WINDOW || at == 0 || at > HIGHEST {
                return Err(range);
            }
            (next, seq) = (row.first + row.count, row.seq + row.count);
            rows.push_back(row);
        }
        let mut window = ClientWindow::from_rows(floor, rows).ok_or(range)?;
        (window.owner, window.charged, window.at_unix_ms) = (owner, charged, at_unix_ms);
        Ok(window)
    }
}

fn put_number(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
