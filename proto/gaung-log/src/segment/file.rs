//! One segment: its name, its preamble, its end, and reading runs from it.

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use gaung_proto::{GroupId, Seq, limits::MAX_RUN, run::Run};
use redb::StorageBackend;

use super::{
    frame::{FRAME_HEADER, FrameHeader, Kind, PLACE_LEN, Place, Spot},
    known::Where,
};
use crate::{
    fault::Fault,
    index::Entry,
    index::Stretch,
    layout::{GroupState, seq_word, word},
    options::Env,
    record::{RECORD_HEADER, Record},
};

/// Where the first commit begins.
pub(crate) const PREAMBLE: u64 = 4096;
/// Version of the layout of a segment; one of a higher version is refused.
pub(crate) const SEGMENT_FORMAT: u32 = 1;

const MAGIC: [u8; 4] = *b"GSEG";
const END_MAGIC: [u8; 8] = *b"GSEGEND1";
/// Apart by as much as a disk writes in one piece at least.
const SLOT_DISTANCE: u64 = 512;
const SLOT_LEN: usize = 48;
/// The offset of the last frame, and [`END_MAGIC`].
const TRAILER: usize = 16;
/// Bytes of one group in the last frame.
pub(crate) const SEALED_LEN: usize = 16 + 8 + 84 + 4 + 8 + 8;

const SUFFIX: &str = ".seg";
const DAMAGED: &str = ".damaged";
const NEW: &str = ".new";

/// What a name in the folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentName {
    Segment(u64),
    Damaged(u64),
    Unfinished,
}

impl SegmentName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("log-")?;
        let number = |rest: &str| rest.strip_suffix(SUFFIX)?.parse().ok();
        if let Some(rest) = rest.strip_suffix(NEW) {
            return number(rest).map(|_: u64| Self::Unfinished);
        }
        match rest.strip_suffix(DAMAGED) {
            Some(rest) => number(rest).map(Self::Damaged),
            None => number(rest).map(Self::Segment),
        }
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

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) number: u64,
    pub(crate) started_at_ms: u64,
    pub(crate) stamp: u32,
    pub(crate) generation: u32,
    /// How long the file is at least; where it ends, if it was ended.
    pub(crate) length: u64,
}

impl Preamble {
    pub(crate) const fn slot(&self) -> u64 {
        // The slots are written in turn: a power cut can spoil the one that is being written, and the other still holds.
        (self.generation % 2) as u64 * SLOT_DISTANCE
    }

    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut out = [0; SLOT_LEN];
        out[4..8].copy_from_slice(&MAGIC);
        for (at, word) in [SEGMENT_FORMAT, self.stamp, self.generation].into_iter().enumerate() {
            out[8 + 4 * at..12 + 4 * at].copy_from_slice(&word.to_be_bytes());
        }
        for (at, word) in [self.number, self.started_at_ms, self.length].into_iter().enumerate() {
            out[24 + 8 * at..32 + 8 * at].copy_from_slice(&word.to_be_bytes());
        }
        let crc = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&crc.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8; SLOT_LEN]) -> Result<Option<Self>, Fault> {
        if bytes[4..8] != MAGIC || crc32c::crc32c(&bytes[4..]).to_be_bytes() != bytes[..4] {
            return Ok(None);
        }
        let half = |at: usize| (word(bytes, at) >> 32) as u32;
        if half(8) > SEGMENT_FORMAT {
            return Err(Fault::Newer { found: half(8) });
        }
        Ok(Some(Self {
            number: word(bytes, 24),
            started_at_ms: word(bytes, 32),
            stamp: half(12),
            generation: half(16),
            length: word(bytes, 40),
        }))
    }

    /// Reads that of the segment `number`.
    pub(crate) fn read(file: &dyn StorageBackend, number: u64) -> Result<Self, Fault> {
        let mut latest: Option<Self> = None;
        for slot in [0, SLOT_DISTANCE] {
            let mut bytes = [0; SLOT_LEN];
            file.read(slot, &mut bytes)?;
            let found = Self::decode(&bytes)?.filter(|found| found.number == number);
            latest = latest.into_iter().chain(found).max_by_key(|preamble| preamble.generation);
        }
        latest.ok_or_else(|| Fault::damaged("what it says of itself cannot be read"))
    }
}

/// A group as it stands at the end of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) group: GroupId,
    pub(crate) state: GroupState,
    pub(crate) first_kept: Seq,
    /// Where the index begins with the group's runs.
    pub(crate) index_at: u64,
    pub(crate) runs: u64,
}

impl Sealed {
    /// As the index has the group.
    pub(crate) fn of(group: GroupId, entry: &Entry, index_at: u64, runs: u64) -> Self {
        let first_kept = entry.trimmed().map_or(Seq::FIRST, |trim| trim.first);
        Self { group, state: entry.state.clone(), first_kept, index_at, runs }
    }

    pub(crate) fn place(&self) -> Where {
        Where::Index { at: self.index_at, runs: self.runs }
    }
}

/// What the last frame of a segment says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ended {
    pub(crate) groups: Vec<Sealed>,
    /// Runs of logs that were replaced or dropped before the segment ended.
    pub(crate) others: u32,
}

/// The body of a segment's last frame, which will lie at `offset`.
pub(crate) fn encode_end(groups: &[Sealed], others: u32, offset: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(8 + groups.len() * SEALED_LEN + TRAILER);
    body.extend_from_slice(&(groups.len() as u32).to_be_bytes());
    body.extend_from_slice(&others.to_be_bytes());
    for sealed in groups {
        body.extend_from_slice(sealed.group.as_bytes());
        body.extend_from_slice(&sealed.first_kept.0.to_be_bytes());
        body.extend_from_slice(&sealed.state.encode(sealed.group));
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&sealed.index_at.to_be_bytes());
        body.extend_from_slice(&sealed.runs.to_be_bytes());
    }
    body.extend_from_slice(&offset.to_be_bytes());
    body.extend_from_slice(&END_MAGIC);
    body
}

pub(crate) fn decode_end(body: &[u8]) -> Option<Ended> {
    let others = u32::from_be_bytes(*body.get(4..8)?.first_chunk()?);
    let groups = body.get(8..body.len().checked_sub(TRAILER)?)?;
    let sealed = |bytes: &[u8]| {
        let group = GroupId(*bytes.first_chunk()?);
        Some(Sealed {
            group,
            first_kept: seq_word(bytes, 16),
            state: GroupState::decode(group, &bytes[24..108])?,
            index_at: word(bytes, 112),
            runs: word(bytes, 120),
        })
    };
    let groups: Option<Vec<Sealed>> = groups.chunks_exact(SEALED_LEN).map(sealed).collect();
    Some(Ended { groups: groups?, others })
}

/// Reads the groups as they stand at the end of a segment; `None` if it was not ended.
pub(crate) fn read_end(file: &dyn StorageBackend, preamble: &Preamble) -> Result<Option<Ended>, Fault> {
    let (length, least) = (preamble.length, PREAMBLE + (FRAME_HEADER + TRAILER) as u64);
    if length < least || length > file.len()? {
        return Ok(None);
    }
    let mut trailer = [0; TRAILER];
    file.read(length - TRAILER as u64, &mut trailer)?;
    let offset = word(&trailer, 0);
    if trailer[8..] != END_MAGIC || offset < PREAMBLE || offset > length - (FRAME_HEADER + TRAILER) as u64 {
        return Ok(None);
    }
    let mut frame = vec![0; (length - offset) as usize];
    file.read(offset, &mut frame)?;
    let header = FrameHeader::decode(&frame, offset);
    // A file can be given blocks of one that was removed; the stamp tells old frames from this segment's.
    let header = header.filter(|header| header.kind == Kind::End && header.stamp == preamble.stamp);
    let body = header.and_then(|header| {
        let body = frame.get(FRAME_HEADER..FRAME_HEADER + header.len as usize)?;
        header.holds(body).then_some(body)
    });
    Ok(body.and_then(decode_end))
}

/// One file of the log, opened when it is read.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) number: u64,
    pub(crate) started_at_ms: u64,
    pub(crate) stamp: u32,
    slot: RwLock<Option<Arc<dyn StorageBackend>>>,
    used_at: AtomicU64,
    gone: AtomicBool,
}

impl SegmentFile {
    pub(crate) fn new(preamble: &Preamble, open: Option<Arc<dyn StorageBackend>>) -> Self {
        Self {
            number: preamble.number,
            started_at_ms: preamble.started_at_ms,
            stamp: preamble.stamp,
            slot: RwLock::new(open),
            used_at: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        }
    }

    /// The file, opened if it is not open.
    pub(crate) fn open(&self, env: &Env) -> io::Result<Arc<dyn StorageBackend>> {
        self.used_at.store(env.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        if let Some(file) = &*self.slot.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(file));
        }
        // Another reader may have opened it between the two locks.
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file: Arc<dyn StorageBackend> = env.volume.open(&file_name(self.number))?.into();
        *slot = Some(Arc::clone(&file));
        env.opened.store(true, Ordering::Relaxed);
        Ok(file)
    }

    /// Closes the file once nobody reads it; it opens again by itself.
    pub(crate) fn close(&self) {
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.slot.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn used_at(&self) -> u64 {
        self.used_at.load(Ordering::Relaxed)
    }

    /// Says that the file is about to be removed or renamed, so that a reader who finds it missing looks again.
    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Appends to `out` the checked runs of `stretch`, the first being the one that holds its `from`, while `left` bytes
    /// last but at least one if `out` is empty.
    pub(crate) fn read_runs(
        &self,
        env: &Env,
        stretch: Stretch,
        place: &Where,
        left: &mut usize,
        out: &mut Vec<Run>,
    ) -> Result<(), Fault> {
        let file = self.open(env)?;
        let mut reading = Reading { file: &*file, stamp: self.stamp, stretch, next: None, previous: None };
        match place {
            Where::Memory(places) => {
                let start = places.partition_point(|place| place.first <= stretch.from).saturating_sub(1);
                reading.places(&places[start..], left, out)?;
            }
            Where::Index { at, runs } => {
                let mut start = first_in_index(&*file, *at, *runs, stretch.from)?;
                while start < *runs && reading.wants_more(*left, out) {
                    let places = read_index(&*file, *at, start..(start + PAGE).min(*runs))?;
                    start += places.len() as u64;
                    reading.places(&places, left, out)?;
                }
            }
        }
        if reading.wants_more(*left, out) { Err(missing()) } else { Ok(()) }
    }

    /// The body of a frame of this segment, if it is whole.
    pub(crate) fn body(&self, env: &Env, spot: Spot, kind: Kind) -> Result<Bytes, Fault> {
        let file = self.open(env)?;
        let mut bytes = vec![0; spot.frame_len()];
        file.read(u64::from(spot.offset), &mut bytes)?;
        body_of(&bytes.into(), u64::from(spot.offset), u64::from(spot.offset), self.stamp, kind)
    }
}

/// Entries of the index read at once.
const PAGE: u64 = 256;
/// Runs that lie so close to each other are read together.
const GAP: u64 = 512;
/// Most bytes read together, unless one run is longer.
const SPAN: u64 = 256 * 1024;

fn missing() -> Fault {
    Fault::damaged("a record is missing")
}

/// The number of the last of `runs` entries whose first message is at or before `from`.
fn first_in_index(file: &dyn StorageBackend, at: u64, runs: u64, from: Seq) -> Result<u64, Fault> {
    let (mut low, mut high) = (0, runs);
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        match read_index(file, at, middle..middle + 1)?.first() {
            Some(place) if place.first <= from => low = middle,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

pub(crate) fn read_index(
    file: &dyn StorageBackend,
    at: u64,
    entries: std::ops::Range<u64>,
) -> Result<Vec<Place>, Fault> {
    let mut bytes = vec![0; (entries.end - entries.start) as usize * PLACE_LEN];
    file.read(at + entries.start * PLACE_LEN as u64, &mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(Place::decode).collect())
}

/// The frame at `offset` in `bytes`, which were read from `from`.
fn body_of(bytes: &Bytes, from: u64, offset: u64, stamp: u32, kind: Kind) -> Result<Bytes, Fault> {
    let at = (offset - from) as usize;
    let header = FrameHeader::decode(&bytes[at..], offset).filter(|header| header.stamp == stamp);
    let header = header.ok_or_else(|| Fault::damaged("a frame's CRC does not hold"))?;
    let body = at + FRAME_HEADER..at + FRAME_HEADER + header.len as usize;
    if header.kind != kind || body.end > bytes.len() || !header.holds(&bytes[body.clone()]) {
        return Err(Fault::damaged("a frame's CRC does not hold"));
    }
    Ok(bytes.slice(body))
}

/// A read under way.
struct Reading<'a> {
    file: &'a dyn StorageBackend,
    stamp: u32,
    stretch: Stretch,
    /// The message that the next run begins with.
    next: Option<Seq>,
    previous: Option<crate::record::Hash>,
}

impl Reading<'_> {
    fn wants_more(&self, left: usize, out: &[Run]) -> bool {
        (out.is_empty() || left > 0) && self.next.is_none_or(|next| next <= self.stretch.last)
    }

    fn places(&mut self, places: &[Place], left: &mut usize, out: &mut Vec<Run>) -> Result<(), Fault> {
        let end_of = |spot: Spot| u64::from(spot.offset) + spot.frame_len() as u64;
        let last = self.stretch.last;
        let mut places = places.iter().take_while(|place| place.first <= last).peekable();
        while self.wants_more(*left, out) {
            let Some(first) = places.next() else { return Ok(()) };
            // A damaged index must not decide how much memory a read takes.
            if first.spot.len as usize > RECORD_HEADER + MAX_RUN {
                return Err(Fault::damaged("the index is damaged"));
            }
            let (start, mut end) = (u64::from(first.spot.offset), end_of(first.spot));
            let mut together = vec![*first];
            let most = SPAN.min(*left as u64);
            while let Some(place) = places.next_if(|place| {
                let offset = u64::from(place.spot.offset);
                offset >= end && offset - end <= GAP && end_of(place.spot) - start <= most
            }) {
                end = end_of(place.spot);
                together.push(*place);
            }
            let mut bytes = vec![0; (end - start) as usize];
            self.file.read(start, &mut bytes)?;
            let bytes = Bytes::from(bytes);
            for place in together {
                let record = body_of(&bytes, start, u64::from(place.spot.offset), self.stamp, Kind::Run)?;
                if !self.record(record, place.first, left, out)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether there is room for more.
    fn record(&mut self, bytes: Bytes, first: Seq, left: &mut usize, out: &mut Vec<Run>) -> Result<bool, Fault> {
        let len = bytes.len();
        if !out.is_empty() && len > *left {
            *left = 0;
            return Ok(false);
        }
        let Stretch { group, log, from, last } = self.stretch;
        let record = Record::check(bytes, group, log, first).map_err(Fault::damaged)?;
        let run = record.run;
        let in_place = match self.next {
            Some(next) => run.first_seq() == next,
            None => (run.first_seq()..=run.last_seq()).contains(&from),
        };
        if !in_place || run.last_seq() > last {
            return Err(missing());
        }
        // Each record carries the hash of the one before: a whole record in a wrong place is found out too.
        if self.previous.is_some_and(|previous| previous != record.previous) {
            return Err(Fault::damaged("a record does not follow the one before it"));
        }
        *left = left.saturating_sub(len);
        self.next = Some(run.last_seq().next());
        self.previous = Some(record.hash);
        out.push(run);
        Ok(true)
    }
}
