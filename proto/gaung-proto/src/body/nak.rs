//! What is missing, and what is about to be repaired.

use bytes::{BufMut, BytesMut};

use crate::{
    body::Cookie,
    id::{SenderId, Seq},
    limits::MAX_NAK_RANGES,
    wire::{DecodeError, Reader},
};

/// Missing parts of the log: fragments `first_fragment..=last_fragment` of `first_seq` when both seqs are one, else whole messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NakRange {
    /// The first message that is missing.
    pub first_seq: Seq,
    /// Last message; `first_seq <= last_seq`.
    pub last_seq: Seq,
    /// First fragment; 0 for whole messages.
    pub first_fragment: u16,
    /// Last fragment; [`u16::MAX`] for whole messages.
    pub last_fragment: u16,
}

impl NakRange {
    /// Makes a range of whole messages.
    #[must_use]
    pub const fn messages(first_seq: Seq, last_seq: Seq) -> Self {
        Self { first_seq, last_seq, first_fragment: 0, last_fragment: u16::MAX }
    }

    /// Extends this range by the next one, if that begins where this one ends; returns whether it did. Messages are joined
    /// with messages, and fragments with fragments of the same message.
    pub fn extend(&mut self, next: &Self) -> bool {
        let [own, other] = [&*self, next].map(|range| range.last_fragment == u16::MAX);
        let joins = match (own, other) {
            (true, true) => self.last_seq.next() == next.first_seq,
            (false, false) => self.last_seq == next.first_seq && self.last_fragment + 1 == next.first_fragment,
            (true, false) | (false, true) => false,
        };
        if joins {
            (self.last_seq, self.last_fragment) = (next.last_seq, next.last_fragment);
        }
        joins
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let range = Self {
            first_seq: Seq(reader.u64()?),
            last_seq: Seq(reader.u64()?),
            first_fragment: reader.u16()?,
            last_fragment: reader.u16()?,
        };
        let whole = range.first_fragment == 0 && range.last_fragment == u16::MAX;
        let ordered = range.first_seq <= range.last_seq && range.first_fragment <= range.last_fragment;
        if range.first_seq == Seq::ZERO || !ordered || !(whole || range.first_seq == range.last_seq) {
            return Err(DecodeError::Field("range"));
        }
        Ok(range)
    }

    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.first_seq.0);
        out.put_u64(self.last_seq.0);
        out.put_u16(self.first_fragment);
        out.put_u16(self.last_fragment);
    }
}

fn read_ranges(mut reader: Reader<'_>) -> Result<Vec<NakRange>, DecodeError> {
    let count = usize::from(reader.u16()?);
    if count == 0 || count > MAX_NAK_RANGES {
        return Err(DecodeError::Field("range count"));
    }
    let ranges = (0..count).map(|_| NakRange::read(&mut reader)).collect::<Result<_, _>>()?;
    reader.end()?;
    Ok(ranges)
}

fn write_ranges(ranges: &[NakRange], out: &mut BytesMut) {
    assert!(ranges.len() <= MAX_NAK_RANGES, "senders request at most this many at once");
    out.put_u16(ranges.len() as u16);
    ranges.iter().for_each(|range| range.write(out));
}

/// NAK. `sender_id 16 | cookie u64 | count u16 | count × (first_seq u64 | last_seq u64 | first_fragment u16 | last_fragment u16)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nak {
    /// The member that requests repairs.
    pub sender: SenderId,
    /// Proof of address; repairs are unicast only with it.
    pub cookie: Cookie,
    /// The ranges, 1 to [`MAX_NAK_RANGES`], in order.
    pub ranges: Vec<NakRange>,
}

impl Nak {
    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = SenderId(reader.array()?);
        let cookie = Cookie(reader.u64()?);
        Ok(Self { sender, cookie, ranges: read_ranges(reader)? })
    }

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_u64(self.cookie.0);
        write_ranges(&self.ranges, out);
    }
}

/// NCF. `count u16 | ranges` as in a NAK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ncf {
    /// The ranges, 1 to [`MAX_NAK_RANGES`], in order.
    pub ranges: Vec<NakRange>,
}

impl Ncf {
    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { ranges: read_ranges(Reader::new(body))? })
    }

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        write_ranges(&self.ranges, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_of_one_kind_that_touch_are_joined() {
        let parts = |seq, first_fragment, last_fragment| {
            let seq = Seq(seq);
            NakRange { first_seq: seq, last_seq: seq, first_fragment, last_fragment }
        };
        let messages = |first, last| NakRange::messages(Seq(first), Seq(last));
        let joined = |mut range: NakRange, next| range.extend(&next).then_some(range);
        assert_eq!(joined(messages(3, 5), messages(6, 9)), Some(messages(3, 9)));
        assert_eq!(joined(messages(3, 5), messages(7, 9)), None);
        assert_eq!(joined(parts(3, 0, 1), parts(3, 2, 2)), Some(parts(3, 0, 2)));
        assert_eq!(joined(parts(3, 0, 1), parts(3, 3, 3)), None);
        assert_eq!(joined(parts(3, 0, 1), parts(4, 2, 2)), None);
        assert_eq!(joined(messages(3, 5), parts(6, 0, 0)), None);
        assert_eq!(joined(parts(3, 0, 1), messages(4, 5)), None);
    }
}
