//! What carries messages: DATA, BROADCAST, and the parity of DATA.

use bytes::{BufMut, BytesMut};

use crate::{
    datagram::Fragment,
    id::{Pkt, SenderId, Seq},
    limits::{MAX_DATA_BODY, MAX_FRAGMENTS},
    wire::{DecodeError, Reader},
};

/// DATA. Its header's fragment tells whether `bytes` are a whole [`Block`] or a part of one.
///
/// `[original pkt u32, only with the REPAIR flag] | block or fragment of one, 1 to 1256 B`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The pkt of the first sending, for a repair.
    pub original: Option<Pkt>,
    /// A block, or a fragment of one with a single message.
    pub bytes: &'a [u8],
}

impl<'a> Data<'a> {
    /// `repair`: the header's flag.
    ///
    /// # Errors
    /// [`DecodeError`] if it is empty or over [`MAX_DATA_BODY`].
    pub fn decode(body: &'a [u8], repair: bool) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let original = if repair { Some(Pkt(reader.u32()?)) } else { None };
        let bytes = reader.rest();
        match bytes.len() {
            0 => Err(DecodeError::Truncated),
            1..=MAX_DATA_BODY => Ok(Self { original, bytes }),
            _ => Err(DecodeError::TooLong { limit: MAX_DATA_BODY }),
        }
    }

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        if let Some(original) = self.original {
            out.put_u32(original.0);
        }
        out.put_slice(self.bytes);
    }
}

/// BROADCAST. `sender_id 16 (the hub's) | block or fragment of one, 1 to 1256 B`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broadcast<'a> {
    /// The hub that sends the datagram.
    pub sender: SenderId,
    /// A block or a fragment of one, as in [`Data`].
    pub bytes: &'a [u8],
}

impl<'a> Broadcast<'a> {
    /// # Errors
    /// [`DecodeError`] if it is empty or too long.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let sender = SenderId(reader.array()?);
        let Data { bytes, .. } = Data::decode(reader.rest(), false)?;
        Ok(Self { sender, bytes })
    }

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_slice(self.bytes);
    }
}

/// PARITY: one shard over the `k` first-sent DATA datagrams from `first_pkt` on (Reed–Solomon, `r` shards a block).
///
/// `first_pkt u32 | k u8 | r u8 | index u8 | reserved u8 = 0 | shard, 16 to 1272 B and even`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parity<'a> {
    /// Pkt of the block's first datagram; at least 1.
    pub first_pkt: Pkt,
    /// Datagrams of the block, 1 to [`Parity::MAX_BLOCK`].
    pub k: u8,
    /// Parity shards made for the block; `k + r` is at most 255.
    pub r: u8,
    /// Which of them, below `r`.
    pub index: u8,
    /// The shard; what it is computed over is drawn in `WIRE.md`.
    pub shard: &'a [u8],
}

impl<'a> Parity<'a> {
    /// Most datagrams of one block.
    pub const MAX_BLOCK: u8 = 64;
    /// Bytes of a lost datagram's fields at the front of each shard.
    pub const SHARD_FIELDS: usize = 16;

    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let first_pkt = Pkt(reader.u32()?);
        let [k, r, index, reserved] = reader.array()?;
        let shard = reader.rest();
        if first_pkt.0 == 0 || first_pkt >= Pkt::FIRST_OTHER {
            return Err(DecodeError::Field("first pkt"));
        }
        if k == 0 || k > Self::MAX_BLOCK || k.checked_add(r).is_none() || index >= r || reserved != 0 {
            return Err(DecodeError::Field("block"));
        }
        if shard.len() > Self::SHARD_FIELDS + MAX_DATA_BODY {
            return Err(DecodeError::TooLong { limit: Self::SHARD_FIELDS + MAX_DATA_BODY });
        }
        if shard.len() < Self::SHARD_FIELDS || !shard.len().is_multiple_of(2) {
            return Err(DecodeError::Field("shard length"));
        }
        Ok(Self { first_pkt, k, r, index, shard })
    }

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u32(self.first_pkt.0);
        out.put_slice(&[self.k, self.r, self.index, 0]);
        out.put_slice(self.shard);
    }
}

/// What a shard says of the datagram whose body follows: with it a recovered one is as good as one received.
///
/// `seq u64 | frag_idx u16 | frag_cnt u16 | length u16 | flags u8 = 0 | 0`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardFields {
    /// The first message of the datagram.
    pub seq: Seq,
    /// Which part of a block the datagram carries.
    pub fragment: Fragment,
    /// Bytes of the body, 1 to [`MAX_DATA_BODY`].
    pub length: u16,
}

impl ShardFields {
    /// Reads a data shard: gives the fields, and the body without its padding.
    ///
    /// # Errors
    /// [`DecodeError`] if a field cannot be one of a first-sent DATA, or the padding is not zero.
    pub fn decode(shard: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(shard);
        let seq = Seq(reader.u64()?);
        let fragment = Fragment { index: reader.u16()?, count: reader.u16()? };
        let length = reader.u16()?;
        let [flags, reserved] = reader.array()?;
        if seq == Seq::ZERO || seq.0 > u64::MAX / 2 {
            return Err(DecodeError::Field("seq"));
        }
        if fragment.index >= fragment.count || usize::from(fragment.count) > MAX_FRAGMENTS {
            return Err(DecodeError::Field("fragment"));
        }
        if flags != 0 || reserved != 0 {
            return Err(DecodeError::Field("flags"));
        }
        if length == 0 || usize::from(length) > MAX_DATA_BODY {
            return Err(DecodeError::Field("length"));
        }
        let body = reader.take(usize::from(length))?;
        if reader.rest().iter().any(|&byte| byte != 0) {
            return Err(DecodeError::Field("padding"));
        }
        Ok((Self { seq, fragment, length }, body))
    }

    /// Writes the fields; the body and the padding follow.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_u64(self.seq.0);
        out.put_u16(self.fragment.index);
        out.put_u16(self.fragment.count);
        out.put_u16(self.length);
        out.put_u16(0);
    }
}
