//! The WebSocket under a browser's session (RFC 6455): what goes in and out are the bytes of framed TCP, in binary messages.
//!
//! A message from the hub is one batch of the fan-out: a header before slices of the shared bytes. Message borders mean
//! nothing, as on TCP.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice, Read, Write},
};

use bytes::{Buf as _, Bytes, BytesMut};
use gaung_proto::limits::MAX_FRAME;
use tokio::net::TcpStream;
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

/// A close frame with status 1001, "going away".
const CLOSE: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// Largest message before hello.
const FIRST_MESSAGE: usize = 4096;
/// Pongs above it are left out; a later one answers for them (RFC 6455, 5.5.3).
const ANSWER_BYTES: usize = 4096;
/// Slices of one write: a batch of the fan-out and its header.
const SLICES: usize = 65;

/// One browser's connection below the frames.
pub(super) struct Web {
    context: RefCell<WebSocketContext>,
    wire: RefCell<Wire>,
    /// Begun and not yet written; ends where a message ends.
    out: RefCell<VecDeque<Bytes>>,
}

/// What the protocol's state machine reads from and answers into; it never blocks.
#[derive(Default)]
struct Wire {
    input: BytesMut,
    answers: Vec<u8>,
}

impl Web {
    /// Before the first byte.
    pub(super) fn new() -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_message_size(Some(FIRST_MESSAGE))
            .max_frame_size(Some(FIRST_MESSAGE));
        Self {
            context: RefCell::new(WebSocketContext::new(Role::Server, Some(config))),
            wire: RefCell::default(),
            out: RefCell::default(),
        }
    }

    /// The session has begun: longer messages may come.
    pub(super) fn open(&self) {
        self.context.borrow_mut().set_config(|config| {
            config.max_message_size = Some(MAX_FRAME);
            config.max_frame_size = Some(MAX_FRAME);
        });
    }

    /// Appends the payload of what was read to `into`; false once the peer has closed, or broke the protocol.
    pub(super) fn take_in(&self, bytes: &[u8], into: &mut BytesMut) -> bool {
        let (mut context, mut wire) = (self.context.borrow_mut(), self.wire.borrow_mut());
        wire.input.extend_from_slice(bytes);
        let goes_on = loop {
            match context.read(&mut *wire) {
                Ok(Message::Binary(payload)) => into.extend_from_slice(&payload),
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break true,
                Ok(Message::Text(_) | Message::Close(_)) | Err(_) => break false,
            }
        };
        if wire.input.is_empty() {
            // An idle session holds no buffer.
            wire.input = BytesMut::new();
        }
        if !wire.answers.is_empty() {
            self.out.borrow_mut().push_back(std::mem::take(&mut wire.answers).into());
        }
        goes_on
    }

    /// Begins a message of these pieces; `bytes` is their sum.
    pub(super) fn queue<'a>(&self, pieces: impl Iterator<Item = &'a Bytes>, bytes: usize) {
        let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
        let mut head = Vec::with_capacity(header.len(bytes as u64));
        header.format(bytes as u64, &mut head).expect("a vector takes every byte");
        let mut out = self.out.borrow_mut();
        out.push_back(head.into());
        out.extend(pieces.cloned());
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.out.borrow().is_empty()
    }

    /// Writes what was begun; true once all of it is out.
    pub(super) fn flush(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut out = self.out.borrow_mut();
        while !out.is_empty() {
            let mut slices: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
            let mut used = 0;
            for (slot, bytes) in slices.iter_mut().zip(out.iter()) {
                *slot = IoSlice::new(bytes);
                used += 1;
            }
            match stream.try_write_vectored(&slices[..used]) {
                Ok(written) => drop_front(&mut out, written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says goodbye, if that fits at once.
    pub(super) fn close(&self, stream: &TcpStream) {
        if self.is_flushed() {
            // A browser that does not hear it sees the connection end.
            let _ = stream.try_write(&CLOSE);
        }
    }
}

fn drop_front(out: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = out.front_mut() {
        if front.len() > written {
            front.advance(written);
            return;
        }
        written -= front.len();
        out.pop_front();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = buffer.len().min(self.input.len());
        self.input.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

impl Write for Wire {
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
