//! The hub's TCP stream: control frames and runs, one after another.
//!
//! Both begin with `magic u16 | version u8 = 1 | flags u8 = 0 | length u32` (of the whole item), so that stored runs
//! are written to a socket as they are. A control frame's magic is `"GF"`, its body a protobuf message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    limits::{MAX_FRAME, MAX_RUN},
    run::{RUN_MAGIC, Run},
    wire::{DecodeError, Reader},
};

/// The first two bytes of a frame, `"GF"`.
pub const FRAME_MAGIC: u16 = 0x4746;
/// Bytes of a frame's header, before the body.
pub const FRAME_HEADER: usize = 8;

const VERSION: u8 = 1;

/// One item of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameItem {
    /// An encoded `ClientFrame` or `ServerFrame`, not yet decoded.
    Control(Bytes),
    /// A run of a group's messages.
    Run(Run),
}

/// Which items the other side may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptedItems {
    /// Control frames alone: what a hub takes.
    Control,
    /// Both: what a client takes.
    ControlAndRuns,
}

/// Encodes a control frame.
///
/// # Panics
/// If the message is longer than [`MAX_FRAME`]; callers keep to the limits of publish requests.
#[must_use]
pub fn encode_control(message: &impl prost::Message) -> Bytes {
    let length = FRAME_HEADER + message.encoded_len();
    assert!(length <= MAX_FRAME, "publish requests are limited below the frame's limit");
    let mut bytes = BytesMut::with_capacity(length);
    bytes.put_u16(FRAME_MAGIC);
    bytes.put_u8(VERSION);
    bytes.put_u8(0);
    bytes.put_u32(length as u32);
    message.encode(&mut bytes).expect("the buffer was sized for it");
    bytes.freeze()
}

/// Takes the next whole item off the front of `buffer`; `None` until it has arrived.
///
/// Reserves no more than the item's own length, which is checked first.
/// # Errors
/// [`DecodeError`]: the stream cannot be read any further.
pub fn decode(buffer: &mut BytesMut, accept: AcceptedItems) -> Result<Option<FrameItem>, DecodeError> {
    if buffer.len() < FRAME_HEADER {
        return Ok(None);
    }
    let mut reader = Reader::new(buffer);
    let magic = reader.u16()?;
    let limit = match (magic, accept) {
        (FRAME_MAGIC, _) => MAX_FRAME,
        (RUN_MAGIC, AcceptedItems::ControlAndRuns) => MAX_RUN,
        _ => return Err(DecodeError::Magic),
    };
    let version = reader.u8()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    if reader.u8()? != 0 {
        return Err(DecodeError::Field("frame flags"));
    }
    let length = reader.u32()? as usize;
    if length < FRAME_HEADER {
        return Err(DecodeError::Field("frame length"));
    }
    if length > limit {
        return Err(DecodeError::TooLong { limit });
    }
    if buffer.len() < length {
        buffer.reserve(length - buffer.len());
        return Ok(None);
    }
    let mut item = buffer.split_to(length).freeze();
    if magic == RUN_MAGIC {
        return Run::parse(item).map(|run| Some(FrameItem::Run(run)));
    }
    item.advance(FRAME_HEADER);
    Ok(Some(FrameItem::Control(item)))
}
