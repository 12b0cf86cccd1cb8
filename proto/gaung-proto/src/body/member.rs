//! What a member says of itself: STATUS and PROBE.

use bytes::{BufMut, BytesMut};

use crate::{
    body::Cookie,
    id::{DeviceId, Pkt, SenderId},
    wire::{DecodeError, Reader},
};

/// STATUS; the header's seq is the last delivered one.
///
/// `sender_id 16 | cookie u64 | device_id 16 | highest_pkt u32 | received u32 | lost u32 | repaired u32 | echo_ts_us u32 | echo_delay_us u32`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The member that reports.
    pub sender: SenderId,
    /// Proves the member's address to the relay.
    pub cookie: Cookie,
    /// The device of the member.
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

    /// Appends the encoded body to `out`.
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

/// PROBE, question (no RESPONSE flag) and answer alike, so that an answer is never longer than its question.
/// A question also makes the relay send a heartbeat soon, by which the member learns whether it hears multicast.
///
/// `sender_id 16 | nonce u64 | cookie u64`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// The member that sent the question.
    pub sender: SenderId,
    /// Chosen by the member, returned unchanged.
    pub nonce: u64,
    /// 0 in a question; in the answer the cookie for the member's address.
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

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.sender.as_bytes());
        out.put_u64(self.nonce);
        out.put_u64(self.cookie.0);
    }
}
