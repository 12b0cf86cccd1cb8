//! The framed dialect within a browser's WebSocket (RFC 6455): the bytes of framed TCP, in binary messages.
//!
//! A message from the hub is one batch of the fan-out: a header before slices of the shared bytes. Message borders mean
//! nothing, as on TCP.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::Instant,
};

use bytes::{Buf as _, Bytes, BytesMut};
use gaung_proto::{Seq, limits::MAX_FRAME, run::Run};
use tungstenite::{
    Error, Message,
    protocol::{
        Role, WebSocketConfig, WebSocketContext,
        frame::{
            FrameHeader,
            coding::{Data, OpCode},
        },
    },
};

use crate::{
    directory::GroupInfo,
    group::Group,
    session_core::{Decoded, Dialect, DialectRules, RunSource, Say, Unsent},
};

use super::Framed;

/// A close frame with status 1001, "going away".
const CLOSE: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// Most bytes of a message before hello.
const FIRST_MESSAGE: usize = 4096;
/// Most bytes of pending pongs. Further ones are left out; a later one answers for them (RFC 6455, section 5.5.3).
const ANSWER_BYTES: usize = 4096;

/// The dialect of one browser's session.
pub(crate) struct WebSocket {
    framed: Framed,
    context: WebSocketContext,
    wire: WireBuffers,
    /// The unwritten rest of a message that was begun.
    unsent: Unsent,
}

/// The buffers that the WebSocket state machine reads from and writes to; they never block.
#[derive(Default)]
struct WireBuffers {
    input: BytesMut,
    answers: Vec<u8>,
}

impl WebSocket {
    /// Creates the dialect of a WebSocket that has received nothing yet.
    pub(crate) fn new() -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_message_size(Some(FIRST_MESSAGE))
            .max_frame_size(Some(FIRST_MESSAGE));
        Self {
            framed: Framed::default(),
            context: WebSocketContext::new(Role::Server, Some(config)),
            wire: WireBuffers::default(),
            unsent: Unsent::new(),
        }
    }

    /// Allows longer messages once the peer has said hello.
    fn allow_long_messages(&mut self) {
        self.context.set_config(|config| {
            config.max_message_size = Some(MAX_FRAME);
            config.max_frame_size = Some(MAX_FRAME);
        });
    }
}

impl Dialect for WebSocket {
    fn rules(&self) -> DialectRules {
        self.framed.rules()
    }

    fn handle_bytes(&mut self, _now: Instant, bytes: &[u8]) -> bool {
        self.wire.input.extend_from_slice(bytes);
        let goes_on = loop {
            match self.context.read(&mut self.wire) {
                Ok(Message::Binary(payload)) => self.framed.input.extend_from_slice(&payload),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break true,
                Ok(Message::Text(_) | Message::Close(_)) | Err(_) => break false,
            }
        };
        if self.wire.input.is_empty() {
            // Released, because most sessions are idle.
            self.wire.input = BytesMut::new();
        }
        if !self.wire.answers.is_empty() {
            self.unsent.push_back(std::mem::take(&mut self.wire.answers).into());
        }
        goes_on
    }

    fn poll_decoded(&mut self) -> Option<Decoded> {
        let was_greeted = self.framed.is_greeted();
        let decoded = self.framed.poll_decoded();
        if self.framed.is_greeted() && !was_greeted {
            self.allow_long_messages();
        }
        decoded
    }

    fn is_requested(&self, group: &GroupInfo) -> bool {
        self.framed.is_requested(group)
    }

    fn encode(&mut self, say: Say) -> Option<Bytes> {
        self.framed.encode(say)
    }

    fn encode_run(&self, group: &Group, run: &Run, next: Seq, source: RunSource) -> Bytes {
        self.framed.encode_run(group, run, next, source)
    }

    fn wrap(&mut self, pieces: &mut dyn Iterator<Item = &Bytes>, bytes: usize) -> bool {
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let mut head = Vec::with_capacity(header.len(bytes as u64));
        header.format(bytes as u64, &mut head).expect("a vector takes every byte");
        self.unsent.push_back(head.into());
        self.unsent.extend(pieces.cloned());
        true
    }

    fn unsent(&mut self) -> Option<&mut Unsent> {
        Some(&mut self.unsent)
    }

    fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    fn closing(&self) -> &'static [u8] {
        &CLOSE
    }
}

impl Read for WireBuffers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.input.len());
        self.input.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Write for WireBuffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.answers.len() + bytes.len() <= ANSWER_BYTES {
            self.answers.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
