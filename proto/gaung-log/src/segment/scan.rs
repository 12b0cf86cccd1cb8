//! Reading a segment from its beginning to its end, and finding what is whole behind a damage.

use std::io;

use bytes::Bytes;
use redb::StorageBackend;

use super::frame::{ALIGNMENT, FRAME_HEADER, FrameHeader};

/// Read at once.
const WINDOW: u64 = 1 << 20;

/// A file of which a part is in memory.
pub(crate) struct Scanner<'a> {
    file: &'a dyn StorageBackend,
    len: u64,
    window: Bytes,
    window_at: u64,
}

/// A whole frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) offset: u64,
    pub(crate) header: FrameHeader,
    pub(crate) body: Bytes,
}

impl Frame {
    pub(crate) const fn next(&self) -> u64 {
        self.header.next(self.offset)
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(file: &'a dyn StorageBackend) -> io::Result<Self> {
        Ok(Self { file, len: file.len()?, window: Bytes::new(), window_at: 0 })
    }

    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    /// `len` bytes from `offset`; `None` if the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
        let end = offset + len as u64;
        if end > self.len {
            return Ok(None);
        }
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let size = WINDOW.max(len as u64).min(self.len - offset);
            let mut window = vec![0; size as usize];
            self.file.read(offset, &mut window)?;
            (self.window, self.window_at) = (window.into(), offset);
        }
        let at = (offset - self.window_at) as usize;
        Ok(Some(self.window.slice(at..at + len)))
    }

    fn header(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let bytes = self.bytes(offset, FRAME_HEADER)?;
        Ok(bytes.and_then(|bytes| FrameHeader::decode(&bytes, offset)))
    }

    /// The frame at `offset`, if it is whole.
    pub(crate) fn frame(&mut self, offset: u64) -> io::Result<Option<Frame>> {
        let Some(header) = self.header(offset)? else { return Ok(None) };
        let body = self.bytes(offset + FRAME_HEADER as u64, header.len as usize)?;
        let body = body.filter(|body| header.holds(body));
        Ok(body.map(|body| Frame { offset, header, body }))
    }

    /// The next offset from `offset` on at which a frame's header is whole.
    pub(crate) fn find(&mut self, mut offset: u64) -> io::Result<Option<(u64, FrameHeader)>> {
        offset = offset.next_multiple_of(ALIGNMENT);
        while offset + FRAME_HEADER as u64 <= self.len {
            if let Some(header) = self.header(offset)? {
                return Ok(Some((offset, header)));
            }
            offset += ALIGNMENT;
        }
        Ok(None)
    }
}

/// The commits of a segment in order, as far as they are whole and each follows the one before it.
pub(crate) struct Commits<'a> {
    pub(crate) scanner: Scanner<'a>,
    stamp: u32,
    /// Where the next one begins.
    pub(crate) at: u64,
    /// The last one; 0 before the first.
    pub(crate) last: u32,
}

/// What lies behind the last commit that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The highest number that any attempt has.
    pub(crate) highest: u32,
    /// A commit is missing that others were written after.
    pub(crate) is_damaged: bool,
}

impl<'a> Commits<'a> {
    pub(crate) const fn new(scanner: Scanner<'a>, stamp: u32, at: u64) -> Self {
        Self { scanner, stamp, at, last: 0 }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<Frame>>> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut at = self.at;
        loop {
            let Some(frame) = self.scanner.frame(at)? else { return Ok(None) };
            let FrameHeader { stamp, commit, after, is_last, .. } = frame.header;
            let begun = frames.first().is_none_or(|first| first.header.commit == commit);
            if stamp != self.stamp || after != self.last || commit <= self.last || !begun {
                return Ok(None);
            }
            at = frame.next();
            frames.push(frame);
            if is_last {
                (self.at, self.last) = (at, commit);
                return Ok(Some(frames));
            }
        }
    }

    /// Looks through the rest. A commit is written only after the one before it was synced, so what the power cut is the
    /// last of all; a frame that follows a commit which is not here tells of damage.
    pub(crate) fn tail(&mut self) -> io::Result<Tail> {
        let mut tail = Tail { highest: self.last, is_damaged: false };
        let mut at = self.at;
        while let Some((offset, header)) = self.scanner.find(at)? {
            at = offset + ALIGNMENT;
            if header.stamp == self.stamp {
                tail.highest = tail.highest.max(header.commit);
                tail.is_damaged |= header.after > self.last;
                if self.scanner.frame(offset)?.is_some() {
                    at = header.next(offset);
                }
            }
        }
        Ok(tail)
    }
}
