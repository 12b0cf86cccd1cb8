//! Reading: bytes from the socket to the session's dialect, a bounded piece at a time.

use std::{
    io::{self, ErrorKind},
    rc::Rc,
    time::Instant,
};

use rustix::net::RecvFlags;
use tokio::io::Interest;

use super::{Dialect, Session};

/// What one read brings of lines; they go to the relay together.
const TEXT_READ_BYTES: usize = 16 * 1024;

/// What a look at the socket brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing, or all that there was.
    Drained,
    /// Perhaps more is there; others first.
    More,
}

impl Session {
    /// Reads once and handles what came.
    pub(super) fn hear(self: &Rc<Self>) -> Heard {
        let mut scratch = self.shard.scratch.borrow_mut();
        let room = match &self.dialect {
            Dialect::Framed(_) => &mut scratch[..],
            Dialect::Text(_) => &mut scratch[..TEXT_READ_BYTES],
        };
        let limit = room.len();
        let read = self.read(room);
        let mut goes_on = true;
        if let Ok(n) = read {
            match &self.dialect {
                Dialect::Framed(framed) => goes_on = framed.take_in(&scratch[..n]),
                Dialect::Text(text) => self.text_bytes(text, &scratch[..n]),
            }
        }
        drop(scratch);
        match read {
            Ok(0) => {
                self.ended();
                Heard::Drained
            }
            Ok(n) => {
                let now = Instant::now();
                self.heard.set(now);
                self.admitted.borrow_mut().touch(now);
                if let Dialect::Framed(framed) = &self.dialect {
                    self.frames(framed);
                }
                if !goes_on {
                    self.dead.set(true);
                }
                if n < limit { Heard::Drained } else { Heard::More }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Drained,
            Err(_) => {
                self.dead.set(true);
                Heard::Drained
            }
        }
    }

    /// A short read has emptied the socket. It is told to the runtime at once, as epoll reports changes only: else another
    /// read would have to find that out.
    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        let mut short = None;
        let full = self.stream.try_io(Interest::READABLE, || {
            let (n, _) = rustix::net::recv(&self.stream, &mut *room, RecvFlags::empty())?;
            if n == 0 || n == room.len() {
                return Ok(n);
            }
            short = Some(n);
            Err(ErrorKind::WouldBlock.into())
        });
        short.map_or(full, Ok)
    }

    /// The peer sends no more.
    fn ended(self: &Rc<Self>) {
        match &self.dialect {
            Dialect::Framed(_) => self.dead.set(true),
            Dialect::Text(text) => self.text_ended(text),
        }
    }
}
