//! A message to be logged, and its answer.

use bytes::{BufMut, BytesMut};

use crate::{
    body::Cookie,
    id::{ClientId, ClientSeq, DeviceId, SenderId},
    wire::{DecodeError, Reader},
};

/// PUBLISH; the header's seq is the client_seq. One message, whole.
///
/// `sender_id 16 (the client_id) | cookie u64 | device_id 16 | content_type u8 | reserved 3 = 0 | payload, 0 to [`Publish::MAX_PAYLOAD`] B`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The publishing process; its client_id.
    pub sender: SenderId,
    /// Proof of address; 0 before the first answer.
    pub cookie: Cookie,
    /// The author's device, or [`DeviceId::NONE`].
    pub device: DeviceId,
    /// Kind of the payload, as on the wire.
    pub content_type: u8,
    /// The payload of the message.
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

    /// Appends the encoded body to `out`.
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

/// Says how a PUBLISH ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublishOutcome {
    /// The message is durable.
    Logged,
    /// The address is not proven yet: send again with the answer's cookie.
    NeedsCookie,
    /// The relay has no such group.
    NotFound,
    /// A private group, or one refused until a reset.
    Refused,
    /// Cannot be logged now; send again.
    Unavailable,
    /// The client_seq is older than the window that is remembered.
    OutOfWindow,
    /// The client id belongs to another publisher: send the message again under a new one.
    OtherPublisher,
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
            Self::OtherPublisher => 6,
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
            6 => Self::OtherPublisher,
            _ => return Err(DecodeError::Field("outcome")),
        })
    }
}

/// PUBACK; the header's seq is the message's seq, 0 unless logged. Shorter than any PUBLISH.
///
/// `client_id 16 | client_seq u64 | cookie u64 | outcome u8`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puback {
    /// The client whose message this answers.
    pub client: ClientId,
    /// The client's own number of the message.
    pub client_seq: ClientSeq,
    /// The cookie for the client's address.
    pub cookie: Cookie,
    /// How publishing the message ended.
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

    /// Appends the encoded body to `out`.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(self.client.as_bytes());
        out.put_u64(self.client_seq.0);
        out.put_u64(self.cookie.0);
        out.put_u8(self.outcome.to_byte());
    }
}
