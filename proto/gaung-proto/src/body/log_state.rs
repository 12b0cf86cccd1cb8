//! What the relay says of itself: how far the log is, and where the group goes.

use bytes::{BufMut, BytesMut};

use crate::{
    id::{Generation, GroupId, LogId, Pkt, Seq},
    net::GroupAddr,
    wire::{DecodeError, Reader},
};

/// HEARTBEAT; the header's seq is the head.
///
/// `group_id 16 | log_id u64 | oldest_repairable u64 | oldest_logged u64 | epoch_start u64 | last_pkt u32 | grtt_us u32 |
/// group_size u32 | generation u32`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The group, so that a client that speaks UDP alone learns it.
    pub group: GroupId,
    /// The group's current log.
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
    /// Members that are present, as receivers use it for their backoff.
    pub group_size: u32,
    /// The generation of the address.
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

    /// Appends the encoded body to `out`.
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

/// MIGRATE. `group_id 16 | log_id u64 | generation u32 | address 4 | port u16`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrate {
    /// The group that moves.
    pub group: GroupId,
    /// The group's current log.
    pub log: LogId,
    /// Generation of the new address; with it the group tag changes.
    pub generation: Generation,
    /// The address that the group goes to.
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

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.group.as_bytes());
        out.put_u64(self.log.0);
        out.put_u32(self.generation.0);
        out.put_slice(&self.to.ip().octets());
        out.put_u16(self.to.port());
    }
}
