//! A backend that is read from a file and written to memory.
//!
//! redb repairs a file that was not closed before it can be read, and the repair writes. A file that is no longer
//! written must not be: its disk may be full, and after a failed sync the system may show pages that never reach the
//! disk, upon which a repair would build while it overwrites the last good state. So the repair is done in memory.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

const PIECE: usize = 4096;

/// A repair touches a header and a few pages, which is all that is kept.
#[derive(Debug)]
pub(crate) struct Overlay<B> {
    below: B,
    above: Mutex<Above>,
}

#[derive(Debug)]
struct Above {
    len: u64,
    /// How far what lies below still shows; it was cut off there once.
    shown_below: u64,
    /// By number; the rest is as below.
    pieces: BTreeMap<u64, Box<[u8; PIECE]>>,
}

impl<B: StorageBackend> Overlay<B> {
    pub(crate) fn new(below: B) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self { below, above: Mutex::new(Above { len, shown_below: len, pieces: BTreeMap::new() }) })
    }

    fn above(&self) -> MutexGuard<'_, Above> {
        self.above.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As below, zero after what it shows.
    fn piece_below(&self, number: u64, shown: u64) -> io::Result<Box<[u8; PIECE]>> {
        let mut piece = Box::new([0; PIECE]);
        let start = number * PIECE as u64;
        let there = shown.saturating_sub(start).min(PIECE as u64) as usize;
        if there > 0 {
            self.below.read(start, &mut piece[..there])?;
        }
        Ok(piece)
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.above().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let above = self.above();
        let end = offset + out.len() as u64;
        if end > above.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if end <= above.shown_below {
            self.below.read(offset, out)?;
        } else {
            for (number, at, range) in pieces(offset, out.len()) {
                let len = range.len();
                out[range].copy_from_slice(&self.piece_below(number, above.shown_below)?[at..at + len]);
            }
        }
        for (number, at, range) in pieces(offset, out.len()) {
            if let Some(piece) = above.pieces.get(&number) {
                let len = range.len();
                out[range].copy_from_slice(&piece[at..at + len]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut above = self.above();
        let kept = len.div_ceil(PIECE as u64);
        above.pieces.retain(|number, _| *number < kept);
        if let Some(cut) = above.pieces.get_mut(&(len / PIECE as u64)) {
            cut[(len % PIECE as u64) as usize..].fill(0);
        }
        above.shown_below = above.shown_below.min(len);
        above.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut above = self.above();
        for (number, at, range) in pieces(offset, data.len()) {
            if !above.pieces.contains_key(&number) {
                let piece = self.piece_below(number, above.shown_below)?;
                above.pieces.insert(number, piece);
            }
            let piece = above.pieces.get_mut(&number).expect("it was just put there");
            let len = range.len();
            piece[at..at + len].copy_from_slice(&data[range]);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }
}

/// The pieces that `len` bytes from `offset` touch: number, where in the piece, and which of the bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let position = offset + done as u64;
        let at = (position % PIECE as u64) as usize;
        let here = (PIECE - at).min(len - done);
        let range = done..done + here;
        done += here;
        Some((position / PIECE as u64, at, range))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn it_shows_what_was_written_over_what_lies_below_and_leaves_that_alone() {
        let below = InMemoryBackend::new();
        below.set_len(10_000).unwrap();
        below.write(0, &[1; 10_000]).unwrap();
        let overlay = Overlay::new(below).unwrap();
        overlay.write(4000, &[2; 200]).unwrap();
        overlay.set_len(9000).unwrap();
        overlay.set_len(20_000).unwrap();
        overlay.write(15_000, &[3; 10]).unwrap();
        let mut expected = vec![1; 9000];
        expected[4000..4200].fill(2);
        expected.resize(20_000, 0);
        expected[15_000..15_010].fill(3);
        for (offset, len) in [(0, 20_000), (4100, 3), (8999, 2), (14_990, 30), (19_999, 1)] {
            let mut found = vec![9; len];
            overlay.read(offset, &mut found).unwrap();
            assert_eq!(found, expected[offset as usize..offset as usize + len]);
        }
        assert!(overlay.read(19_999, &mut [0; 2]).is_err());
        let mut below = vec![0; 10_000];
        overlay.below.read(0, &mut below).unwrap();
        assert_eq!(below, [1; 10_000]);
    }
}
