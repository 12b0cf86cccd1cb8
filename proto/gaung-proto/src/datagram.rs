//! A datagram: the fixed 40-byte header before every body.
//!
//! ```text
//!  0 magic u16 = "GA" | version u8 = 1 | type u8 | flags u8 | suite u8 | length u16 (of the body)
//!  8 group_tag u64
//! 16 epoch u32 | pkt u32
//! 24 seq u64
//! 32 frag_idx u16 | frag_cnt u16 | ts_us u32
//! ```
//!
//! DATA may be longer than its body, by up to [`MAX_PADDING`] bytes of zero: datagrams of one length are what a kernel
//! takes as one packet (UDP GSO).

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    id::{Epoch, GroupTag, Pkt, Seq},
    limits::{MAX_BODY, MAX_FRAGMENTS},
    wire::{DecodeError, Reader},
};

/// The first two bytes of a datagram, `"GA"`.
pub const DATAGRAM_MAGIC: u16 = 0x4741;
/// Bytes of the header, before the body.
pub const DATAGRAM_HEADER: usize = 40;
/// Bytes behind the body of a DATA datagram at most: a tenth of a full one.
pub const MAX_PADDING: usize = 128;

const VERSION: u8 = 1;
/// The suite of datagrams without tag and signature.
const SUITE_NONE: u8 = 0;

/// The type of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Messages, or one fragment of a message. Relay to group, or to one member as a repair.
    Data,
    /// Head and limits of the log. Relay to group.
    Heartbeat,
    /// What a member misses. Member to relay.
    Nak,
    /// What is about to be repaired, so that others need not request it. Relay to group.
    Ncf,
    /// How far a member got. Member to relay.
    Status,
    /// One parity shard of a block of DATA. Relay to group.
    Parity,
    /// Tests whether the relay and the member hear each other. Member to relay, and the relay's answer.
    Probe,
    /// The group moves to another address. Relay to group.
    Migrate,
    /// A message to be logged. Client to relay.
    Publish,
    /// Its answer. Relay to client.
    Puback,
    /// Messages of `everyone`. Hub to the broadcast address.
    Broadcast,
}

impl PacketType {
    /// Every type, in the order of its number on the wire.
    pub const ALL: [Self; 11] = [
        Self::Data,
        Self::Heartbeat,
        Self::Nak,
        Self::Ncf,
        Self::Status,
        Self::Parity,
        Self::Probe,
        Self::Migrate,
        Self::Publish,
        Self::Puback,
        Self::Broadcast,
    ];

    const fn to_byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Heartbeat => 2,
            Self::Nak => 3,
            Self::Ncf => 4,
            Self::Status => 5,
            Self::Parity => 6,
            Self::Probe => 7,
            Self::Migrate => 8,
            Self::Publish => 9,
            Self::Puback => 10,
            Self::Broadcast => 11,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Self::ALL.into_iter().find(|packet_type| packet_type.to_byte() == byte).ok_or(DecodeError::Type(byte))
    }

    /// Whether it carries messages or a part of one, so that `seq` and fragment fields must name a message.
    const fn carries_messages(self) -> bool {
        matches!(self, Self::Data | Self::Broadcast | Self::Publish)
    }
}

/// Flag bits of the header.
pub mod flags {
    /// DATA that was sent before; the body begins with the original pkt.
    pub const REPAIR: u8 = 1;
    /// The PROBE answers another.
    pub const RESPONSE: u8 = 2;
    /// All flags that are defined; others are refused.
    pub const ALL: u8 = REPAIR | RESPONSE;
}

/// The same datagram under another tag; what is too short for one stays as it is.
#[must_use]
pub fn with_tag(datagram: &[u8], tag: GroupTag) -> Bytes {
    let mut changed = BytesMut::from(datagram);
    if let Some(field) = changed.get_mut(TAG_AT..TAG_AT + 8) {
        field.copy_from_slice(&tag.0.to_be_bytes());
    }
    changed.freeze()
}

/// Where the tag stands in a header.
const TAG_AT: usize = 8;

/// One fragment's place in its message; `index < count`. A datagram with whole messages is `0 of 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// The fragment's index, from 0.
    pub index: u16,
    /// How many fragments there are, 1 to [`MAX_FRAGMENTS`].
    pub count: u16,
}

impl Fragment {
    /// Not a fragment: whole messages.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether the datagram has whole messages.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.count == 1
    }
}

/// The header. For types that carry no message, `seq` is the sender's head or 0 and the fragment is [`Fragment::WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type of the datagram.
    pub packet_type: PacketType,
    /// Bits of [`flags`].
    pub flags: u8,
    /// The group it belongs to.
    pub tag: GroupTag,
    /// The relay's epoch; 0 where the sender does not know it (PROBE, PUBLISH, BROADCAST).
    pub epoch: Epoch,
    /// The sender's own number of the datagram.
    pub pkt: Pkt,
    /// First message; for PUBLISH the client_seq.
    pub seq: Seq,
    /// Which part of a message the datagram carries.
    pub fragment: Fragment,
    /// The sender's monotonic clock, µs modulo 2³²; echoed to estimate round trips.
    pub ts_us: u32,
}

impl Header {
    /// Reads and checks a header; gives it and the body.
    ///
    /// # Errors
    /// [`DecodeError`]: drop the datagram.
    pub fn decode(datagram: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(datagram);
        if reader.u16()? != DATAGRAM_MAGIC {
            return Err(DecodeError::Magic);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let packet_type = PacketType::from_byte(reader.u8()?)?;
        let flags = reader.u8()?;
        if flags & !flags::ALL != 0 {
            return Err(DecodeError::Field("flags"));
        }
        let suite = reader.u8()?;
        if suite != SUITE_NONE {
            return Err(DecodeError::Suite(suite));
        }
        let length = usize::from(reader.u16()?);
        let header = Self {
            packet_type,
            flags,
            tag: GroupTag(reader.u64()?),
            epoch: Epoch(reader.u32()?),
            pkt: Pkt(reader.u32()?),
            seq: Seq(reader.u64()?),
            fragment: Fragment { index: reader.u16()?, count: reader.u16()? },
            ts_us: reader.u32()?,
        };
        header.check()?;
        if length > MAX_BODY {
            return Err(DecodeError::TooLong { limit: MAX_BODY });
        }
        let body = reader.take(length)?;
        let (padding, most) = (reader.rest(), if packet_type == PacketType::Data { MAX_PADDING } else { 0 });
        if padding.len() > most || padding.iter().any(|&byte| byte != 0) {
            return Err(DecodeError::Trailing);
        }
        Ok((header, body))
    }

    /// The whole datagram.
    ///
    /// # Panics
    /// If the body is longer than [`MAX_BODY`].
    #[must_use]
    pub fn encode(&self, body: &[u8]) -> Bytes {
        self.encode_padded(body, 0)
    }

    /// The whole datagram, and as many bytes of zero behind it.
    ///
    /// # Panics
    /// If the body is longer than [`MAX_BODY`].
    #[must_use]
    pub fn encode_padded(&self, body: &[u8], padding: usize) -> Bytes {
        assert!(body.len() <= MAX_BODY, "senders pack to the limit");
        let mut out = BytesMut::with_capacity(DATAGRAM_HEADER + body.len() + padding);
        out.put_u16(DATAGRAM_MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.packet_type.to_byte());
        out.put_u8(self.flags);
        out.put_u8(SUITE_NONE);
        out.put_u16(body.len() as u16);
        out.put_u64(self.tag.0);
        out.put_u32(self.epoch.0);
        out.put_u32(self.pkt.0);
        out.put_u64(self.seq.0);
        out.put_u16(self.fragment.index);
        out.put_u16(self.fragment.count);
        out.put_u32(self.ts_us);
        out.put_slice(body);
        out.put_bytes(0, padding);
        out.freeze()
    }

    /// Whether a flag of [`flags`] is set.
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn check(&self) -> Result<(), DecodeError> {
        let Fragment { index, count } = self.fragment;
        if count == 0 || usize::from(count) > MAX_FRAGMENTS || index >= count {
            return Err(DecodeError::Field("fragment"));
        }
        if self.packet_type.carries_messages() && self.seq == Seq::ZERO {
            return Err(DecodeError::Field("seq"));
        }
        if !self.packet_type.carries_messages() && count != 1 {
            return Err(DecodeError::Field("fragment"));
        }
        if self.seq.0 > u64::MAX / 2 {
            return Err(DecodeError::Field("seq"));
        }
        Ok(())
    }
}
