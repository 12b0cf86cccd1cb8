//! Reading: bytes from the socket to the session's dialect, a bounded piece at a time.

use std::{io::ErrorKind, rc::Rc, time::Instant};

use super::{Dialect, Session};

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
        let read = match &self.dialect {
            Dialect::Framed(framed) => framed.read(&self.stream),
            Dialect::Text(text) => {
                let mut scratch = self.shard.scratch.borrow_mut();
                let read = self.stream.try_read(&mut scratch);
                if let Ok(n) = read {
                    self.text_bytes(text, &scratch[..n]);
                }
                read
            }
        };
        match read {
            Ok(0) => {
                self.ended();
                Heard::Drained
            }
            Ok(_) => {
                self.heard.set(Instant::now());
                if let Dialect::Framed(framed) = &self.dialect {
                    self.frames(framed);
                }
                Heard::More
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Heard::Drained,
            Err(_) => {
                self.dead.set(true);
                Heard::Drained
            }
        }
    }

    /// The peer sends no more.
    fn ended(self: &Rc<Self>) {
        match &self.dialect {
            Dialect::Framed(_) => self.dead.set(true),
            Dialect::Text(text) => self.text_ended(text),
        }
    }
}
