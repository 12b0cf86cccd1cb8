//! Frames: what a segment is made of, and how one commit of them is built. The layout is drawn in `segment.rs`.

use gaung_proto::Seq;

/// Bytes before a frame's body.
pub(crate) const FRAME_HEADER: usize = 32;
/// Every frame begins at a multiple of it.
pub(crate) const ALIGNMENT: u64 = 8;

const MAGIC: [u8; 4] = *b"GSF1";

/// What a frame's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A group's state from here on.
    Group,
    /// What the caller keeps with a group.
    Config,
    /// What the caller wants to find again at an opening.
    Snapshot,
    /// A record.
    Run,
    /// A log that a reset replaced, and since when.
    Superseded,
    /// A group that is gone.
    Dropped,
    /// Where the runs of the segment lie.
    Index,
    /// The groups as they stand at the end of the segment, and where the index has them.
    End,
    /// The groups as they stand before the commit that begins with it.
    Checkpoint,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Group,
        Self::Config,
        Self::Snapshot,
        Self::Run,
        Self::Superseded,
        Self::Dropped,
        Self::Index,
        Self::End,
        Self::Checkpoint,
    ];

    /// 1 upwards.
    fn number(self) -> u8 {
        Self::ALL.iter().zip(1..).find(|(kind, _)| **kind == self).map_or(0, |(_, number)| number)
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// Where a frame lies in its file, and how long its body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl Spot {
    /// Bytes of the whole frame without the zeros behind it.
    pub(crate) const fn frame_len(self) -> usize {
        FRAME_HEADER + self.len as usize
    }
}

/// Where the run that begins with message `first` lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) first: Seq,
    pub(crate) spot: Spot,
}

/// Bytes of a place in the index.
pub(crate) const PLACE_LEN: usize = 16;

impl Place {
    pub(crate) fn encode(self) -> [u8; PLACE_LEN] {
        let mut out = [0; PLACE_LEN];
        out[..8].copy_from_slice(&self.first.0.to_be_bytes());
        out[8..12].copy_from_slice(&self.spot.offset.to_be_bytes());
        out[12..].copy_from_slice(&self.spot.len.to_be_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; PLACE_LEN]) -> Self {
        let first = Seq(u64::from_be_bytes(*bytes.first_chunk().expect("16 bytes")));
        Self { first, spot: Spot { offset: word(bytes, 8), len: word(bytes, 12) } }
    }
}

/// What stands before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// That of the segment.
    pub(crate) stamp: u32,
    /// The commit that wrote it; no two attempts have one number.
    pub(crate) commit: u32,
    /// The commit that was durable before.
    pub(crate) after: u32,
    pub(crate) len: u32,
    pub(crate) body_crc: u32,
    pub(crate) kind: Kind,
    /// It is the last of its commit.
    pub(crate) is_last: bool,
}

impl FrameHeader {
    pub(crate) fn encode(&self, offset: u64) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[4..8].copy_from_slice(&MAGIC);
        for (at, word) in [self.stamp, self.commit, self.after, self.len, self.body_crc].into_iter().enumerate() {
            out[8 + 4 * at..12 + 4 * at].copy_from_slice(&word.to_be_bytes());
        }
        out[28] = self.kind.number();
        out[29] = u8::from(self.is_last);
        let crc = header_crc(&out, offset);
        out[..4].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The header at `offset`, if `bytes` begin with one that was written there.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER] = bytes.first_chunk()?;
        if bytes[4..8] != MAGIC || header_crc(bytes, offset) != word(bytes, 0) {
            return None;
        }
        Some(Self {
            stamp: word(bytes, 8),
            commit: word(bytes, 12),
            after: word(bytes, 16),
            len: word(bytes, 20),
            body_crc: word(bytes, 24),
            kind: Kind::of(bytes[28])?,
            is_last: bytes[29] != 0,
        })
    }

    /// Whether `body` is what was written.
    pub(crate) fn holds(&self, body: &[u8]) -> bool {
        body.len() == self.len as usize && crc32c::crc32c(body) == self.body_crc
    }

    /// Where the frame after it begins.
    pub(crate) const fn next(&self, offset: u64) -> u64 {
        offset + (FRAME_HEADER as u64 + self.len as u64).next_multiple_of(ALIGNMENT)
    }
}

/// The offset is in it, so that a frame is one only where it was written.
fn header_crc(header: &[u8; FRAME_HEADER], offset: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&offset.to_be_bytes()), &header[4..])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Frames that become durable together.
#[derive(Debug)]
pub(crate) struct Commit {
    /// Where it goes.
    start: u64,
    stamp: u32,
    pub(crate) number: u32,
    after: u32,
    bytes: Vec<u8>,
    last: Option<(usize, FrameHeader)>,
}

impl Commit {
    /// `bytes`: a buffer to be used again.
    pub(crate) fn new(start: u64, stamp: u32, number: u32, after: u32, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Self { start, stamp, number, after, bytes, last: None }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where the next frame goes.
    pub(crate) const fn next_offset(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Adds a frame whose body of `len` bytes `fill` writes.
    pub(crate) fn push(&mut self, kind: Kind, len: usize, fill: impl FnOnce(&mut [u8])) -> Spot {
        let at = self.bytes.len();
        self.bytes.resize(at + (FRAME_HEADER + len).next_multiple_of(ALIGNMENT as usize), 0);
        let body = &mut self.bytes[at + FRAME_HEADER..at + FRAME_HEADER + len];
        fill(body);
        let header = FrameHeader {
            stamp: self.stamp,
            commit: self.number,
            after: self.after,
            len: len as u32,
            body_crc: crc32c::crc32c(body),
            kind,
            is_last: false,
        };
        let offset = self.start + at as u64;
        self.bytes[at..at + FRAME_HEADER].copy_from_slice(&header.encode(offset));
        self.last = Some((at, header));
        Spot { offset: offset as u32, len: len as u32 }
    }

    /// The same for a body in pieces.
    pub(crate) fn push_parts(&mut self, kind: Kind, parts: &[&[u8]]) -> Spot {
        let len = parts.iter().map(|part| part.len()).sum();
        self.push(kind, len, |mut body| {
            for part in parts {
                let (head, rest) = body.split_at_mut(part.len());
                head.copy_from_slice(part);
                body = rest;
            }
        })
    }

    /// The body of a frame of this commit.
    pub(crate) fn body(&self, spot: Spot) -> Option<&[u8]> {
        let at = u64::from(spot.offset).checked_sub(self.start)? as usize + FRAME_HEADER;
        self.bytes.get(at..at + spot.len as usize)
    }

    /// All of it, with its last frame marked.
    pub(crate) fn finish(&mut self) -> &[u8] {
        if let Some((at, mut header)) = self.last {
            header.is_last = true;
            let encoded = header.encode(self.start + at as u64);
            self.bytes[at..at + FRAME_HEADER].copy_from_slice(&encoded);
        }
        &self.bytes
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}
