//! The bodies behind a datagram's header, one type each. Every `decode` checks all bytes; every length is bounded.

use bytes::{BufMut, BytesMut};

use crate::{
    id::{ClientId, ClientSeq, DeviceId, Generation, GroupId, LogId, Pkt, SenderId, Seq},
    limits::{MAX_DATA_BODY, MAX_NAK_RANGES},
    net::GroupAddr,
    wire::{DecodeError, Reader},
};

/// What a relay gives a peer to prove that it hears at its address; sent back in NAK, STATUS and PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cookie(pub u64);

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

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        if let Some(original) = self.original {
            out.put_u32(original.0);
        }
        out.put_slice(self.bytes);
    }
}

/// HEARTBEAT; the header's seq is the head.
///
/// `group_id 16 | log_id u64 | oldest_repairable u64 | oldest_logged u64 | epoch_start u64 | last_pkt u32 | grtt_us u32 |
/// group_size u32 | generation u32`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group, so that a client that speaks UDP alone learns it.
    pub group: GroupId,
    /// The log.
    pub log: LogId,
    /// First seq that a NAK can still bring back; head + 1 if none.
    pub oldest_repairable: Seq,
    /// First seq that the log has; head + 1 if none.
    pub oldest_logged: Seq,
    /// First seq of this epoch.
    pub epoch_start: Seq,
    /// Highest pkt of first-sent DATA; 0 before the first.
    pub last_pkt: Pkt,
    /// Greatest round trip of the group, µs.
    pub grtt_us: u32,
    /// Members heard from lately.
    pub group_size: u32,
    /// Of the address.
    pub generation: Generation,
}

impl Heartbeat {
    /// # Errors
    /// [`DecodeError`] if the length is another.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let heartbeat = Self {
            group: GroupId(reader.array()?),
            log: LogId(reader.u64()?),
            oldest_repairable: Seq(reader.u64()?),
            oldest_logged: Seq(reader.u64()?),
            epoch_start: Seq(reader.u64()?),
            last_pkt: Pkt(reader.u32()?),
            grtt_us: reader.u32()?,
            group_size: reader.u32()?,
            generation: Generation(reader.u32()?),
        };
        reader.end()?;
        Ok(heartbeat)
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.group.as_bytes());
        out.put_u64(self.log.0);
        out.put_u64(self.oldest_repairable.0);
        out.put_u64(self.oldest_logged.0);
        out.put_u64(self.epoch_start.0);
        out.put_u32(self.last_pkt.0);
        out.put_u32(self.grtt_us);
        out.put_u32(self.group_size);
        out.put_u32(self.generation.0);
    }
}

/// Missing parts of the log: fragments `first_fragment..=last_fragment` of `first_seq` when both seqs are one, else whole messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NakRange {
    /// First message.
    pub first_seq: Seq,
    /// Last message; `first_seq <= last_seq`.
    pub last_seq: Seq,
    /// First fragment; 0 for whole messages.
    pub first_fragment: u16,
    /// Last fragment; [`u16::MAX`] for whole messages.
    pub last_fragment: u16,
}

impl NakRange {
    /// Whole messages.
    #[must_use]
    pub const fn messages(first_seq: Seq, last_seq: Seq) -> Self {
        Self { first_seq, last_seq, first_fragment: 0, last_fragment: u16::MAX }
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
    assert!(ranges.len() <= MAX_NAK_RANGES, "senders ask for at most this many at once");
    out.put_u16(ranges.len() as u16);
    ranges.iter().for_each(|range| range.write(out));
}

/// NAK. `sender_id 16 | cookie u64 | count u16 | count × (first_seq u64 | last_seq u64 | first_fragment u16 | last_fragment u16)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nak {
    /// Who asks.
    pub sender: SenderId,
    /// Proof of address; repairs are unicast only with it.
    pub cookie: Cookie,
    /// 1 to [`MAX_NAK_RANGES`].
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

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_u64(self.cookie.0);
        write_ranges(&self.ranges, out);
    }
}

/// NCF. `count u16 | ranges` as in a NAK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ncf {
    /// 1 to [`MAX_NAK_RANGES`].
    pub ranges: Vec<NakRange>,
}

impl Ncf {
    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { ranges: read_ranges(Reader::new(body))? })
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        write_ranges(&self.ranges, out);
    }
}

/// STATUS; the header's seq is the last delivered one.
///
/// `sender_id 16 | cookie u64 | device_id 16 | highest_pkt u32 | received u32 | lost u32 | repaired u32 | echo_ts_us u32 | echo_delay_us u32`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Who reports.
    pub sender: SenderId,
    /// Proof of address.
    pub cookie: Cookie,
    /// The member's device.
    pub device: DeviceId,
    /// Highest pkt of first-sent DATA seen.
    pub highest_pkt: Pkt,
    /// First-sent DATA received in this epoch, modulo 2³².
    pub received: u32,
    /// First-sent DATA that did not come, modulo 2³².
    pub lost: u32,
    /// Of those, made good by multicast repair or parity, modulo 2³².
    pub repaired: u32,
    /// `ts_us` of the relay's datagram heard last.
    pub echo_ts_us: u32,
    /// How long ago that was.
    pub echo_delay_us: u32,
}

impl Status {
    /// # Errors
    /// [`DecodeError`] if the length is another.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let status = Self {
            sender: SenderId(reader.array()?),
            cookie: Cookie(reader.u64()?),
            device: DeviceId(reader.array()?),
            highest_pkt: Pkt(reader.u32()?),
            received: reader.u32()?,
            lost: reader.u32()?,
            repaired: reader.u32()?,
            echo_ts_us: reader.u32()?,
            echo_delay_us: reader.u32()?,
        };
        reader.end()?;
        Ok(status)
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_u64(self.cookie.0);
        out.put_slice(self.device.as_bytes());
        for counter in
            [self.highest_pkt.0, self.received, self.lost, self.repaired, self.echo_ts_us, self.echo_delay_us]
        {
            out.put_u32(counter);
        }
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

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u32(self.first_pkt.0);
        out.put_slice(&[self.k, self.r, self.index, 0]);
        out.put_slice(self.shard);
    }
}

/// PROBE, question (no RESPONSE flag) and answer alike, so that an answer is never longer than what asked for it.
/// A question also makes the relay send a heartbeat soon, by which the member learns whether it hears multicast.
///
/// `sender_id 16 | nonce u64 | cookie u64`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Who asked.
    pub sender: SenderId,
    /// Chosen by who asked, returned unchanged.
    pub nonce: u64,
    /// 0 in a question; in the answer the cookie for the asker's address.
    pub cookie: Cookie,
}

impl Probe {
    /// # Errors
    /// [`DecodeError`] if the length is another.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let probe = Self { sender: SenderId(reader.array()?), nonce: reader.u64()?, cookie: Cookie(reader.u64()?) };
        reader.end()?;
        Ok(probe)
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_u64(self.nonce);
        out.put_u64(self.cookie.0);
    }
}

/// MIGRATE. `group_id 16 | log_id u64 | generation u32 | address 4 | port u16`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrate {
    /// The group.
    pub group: GroupId,
    /// Its log.
    pub log: LogId,
    /// Generation of the new address; with it the group tag changes.
    pub generation: Generation,
    /// Where the group goes.
    pub to: GroupAddr,
}

impl Migrate {
    /// # Errors
    /// [`DecodeError`] if the length is another or the address is not multicast.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let group = GroupId(reader.array()?);
        let log = LogId(reader.u64()?);
        let generation = Generation(reader.u32()?);
        let ip = reader.array::<4>()?.into();
        let to = GroupAddr::new(ip, reader.u16()?).map_err(|_| DecodeError::Field("address"))?;
        reader.end()?;
        Ok(Self { group, log, generation, to })
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.group.as_bytes());
        out.put_u64(self.log.0);
        out.put_u32(self.generation.0);
        out.put_slice(&self.to.ip().octets());
        out.put_u16(self.to.port());
    }
}

/// PUBLISH; the header's seq is the client_seq. One message, whole.
///
/// `sender_id 16 (the client_id) | cookie u64 | device_id 16 | content_type u8 | reserved 3 = 0 | payload, 0 to [`Publish::MAX_PAYLOAD`] B`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Who publishes; its client_id.
    pub sender: SenderId,
    /// Proof of address; 0 before the first answer.
    pub cookie: Cookie,
    /// The device, or none.
    pub device: DeviceId,
    /// Kind of the payload, as on the wire.
    pub content_type: u8,
    /// The payload.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    const FIXED: usize = 44;
    /// Largest payload of one PUBLISH, such that the message fits one DATA datagram with its author table.
    pub const MAX_PAYLOAD: usize = 1192;

    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let publish = Self {
            sender: SenderId(reader.array()?),
            cookie: Cookie(reader.u64()?),
            device: DeviceId(reader.array()?),
            content_type: reader.u8()?,
            payload: {
                if reader.array::<3>()? != [0; 3] {
                    return Err(DecodeError::Field("reserved bytes"));
                }
                reader.rest()
            },
        };
        if publish.payload.len() > Self::MAX_PAYLOAD {
            return Err(DecodeError::TooLong { limit: Self::MAX_PAYLOAD });
        }
        Ok(publish)
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.reserve(Self::FIXED + self.payload.len());
        out.put_slice(self.sender.as_bytes());
        out.put_u64(self.cookie.0);
        out.put_slice(self.device.as_bytes());
        out.put_u8(self.content_type);
        out.put_slice(&[0; 3]);
        out.put_slice(self.payload);
    }
}

/// How a PUBLISH ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishOutcome {
    /// Durable.
    Logged,
    /// The address is not proven yet: send again with the answer's cookie.
    NeedsCookie,
    /// No such group here.
    NotFound,
    /// A private group, or one refused until a reset.
    Refused,
    /// Cannot be logged now; send again.
    Unavailable,
    /// The client_seq is older than the window that is remembered.
    OutOfWindow,
}

impl PublishOutcome {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Logged => 0,
            Self::NeedsCookie => 1,
            Self::NotFound => 2,
            Self::Refused => 3,
            Self::Unavailable => 4,
            Self::OutOfWindow => 5,
        }
    }

    const fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        Ok(match byte {
            0 => Self::Logged,
            1 => Self::NeedsCookie,
            2 => Self::NotFound,
            3 => Self::Refused,
            4 => Self::Unavailable,
            5 => Self::OutOfWindow,
            _ => return Err(DecodeError::Field("outcome")),
        })
    }
}

/// PUBACK; the header's seq is the message's seq, 0 unless logged. Shorter than any PUBLISH.
///
/// `client_id 16 | client_seq u64 | cookie u64 | outcome u8`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puback {
    /// Whose message.
    pub client: ClientId,
    /// Which message.
    pub client_seq: ClientSeq,
    /// The cookie for the client's address.
    pub cookie: Cookie,
    /// How it ended.
    pub outcome: PublishOutcome,
}

impl Puback {
    /// # Errors
    /// [`DecodeError`] if any field is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let puback = Self {
            client: ClientId(reader.array()?),
            client_seq: ClientSeq(reader.u64()?),
            cookie: Cookie(reader.u64()?),
            outcome: PublishOutcome::from_byte(reader.u8()?)?,
        };
        reader.end()?;
        Ok(puback)
    }

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.client.as_bytes());
        out.put_u64(self.client_seq.0);
        out.put_u64(self.cookie.0);
        out.put_u8(self.outcome.to_byte());
    }
}

/// BROADCAST. `sender_id 16 (the hub's) | block or fragment of one, 1 to 1256 B`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broadcast<'a> {
    /// The hub that sends.
    pub sender: SenderId,
    /// As in [`Data`].
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

    /// Writes the body.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_slice(self.bytes);
    }
}
