//! A session's socket, plain or under TLS: reads and writes a bounded number of bytes at a time.

mod tls;

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    net::{Shutdown, SocketAddr},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use rustix::net::RecvFlags;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream, time::timeout};

use self::tls::TlsWire;

/// The connection of one session.
pub(crate) struct SessionSocket {
    stream: TcpStream,
    // Never borrowed while something is awaited.
    wire: RefCell<Wire>,
}

/// How the session's bytes travel over the socket.
enum Wire {
    Plain,
    Tls(TlsWire),
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketInput {
    /// Bytes from the peer; 0 only if the input has ended.
    pub(super) bytes: usize,
    /// True if more may be there already.
    pub(super) may_continue: bool,
    /// True if the peer will send nothing more.
    pub(super) is_ended: bool,
}

impl SocketInput {
    /// Makes an error of an input that is neither bytes nor their end.
    fn or_nothing(self) -> io::Result<Self> {
        if self.bytes == 0 && !self.is_ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(self) }
    }
}

/// Most slices of one write: [`gaung_engine::FanoutLimits::write_slices`], and a WebSocket's header.
const SLICES: usize = 65;
/// How long a closed session's peer may go on sending. A reset would discard what was written to it last.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

impl SessionSocket {
    /// Takes a connection over. `tls`: its state after the handshake; `None` for plaintext.
    pub(crate) fn new(stream: TcpStream, tls: Option<Box<ServerConnection>>) -> Self {
        let wire = tls.map_or(Wire::Plain, |tls| Wire::Tls(TlsWire::new(tls)));
        Self { stream, wire: RefCell::new(wire) }
    }

    /// Returns the address that the peer connected to.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) {
        // An error is the next read's too.
        let _ = self.stream.readable().await;
    }

    /// Waits until there may be room to write.
    pub(super) async fn writable(&self) {
        // An error is the next write's too.
        let _ = self.stream.writable().await;
    }

    /// Takes what TLS has decrypted already: what came with the end of the handshake, or with a request that opened a WebSocket.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_decrypted(&self, room: &mut [u8]) -> io::Result<SocketInput> {
        match &mut *self.wire.borrow_mut() {
            Wire::Plain => Err(ErrorKind::WouldBlock.into()),
            Wire::Tls(tls) => tls.read_decrypted(&self.stream, room),
        }
    }

    /// Reads once into `room`, of at least 32 KiB.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if nothing has come, or less than a record of TLS; any other if the connection is lost.
    pub(super) fn read(&self, room: &mut [u8]) -> io::Result<SocketInput> {
        match &mut *self.wire.borrow_mut() {
            Wire::Plain => {
                let bytes = receive(&self.stream, room)?;
                Ok(SocketInput { bytes, may_continue: bytes == room.len(), is_ended: bytes == 0 })
            }
            Wire::Tls(tls) => tls.read(&self.stream, room),
        }
    }

    /// Writes slices in one call, as much of them as there is room for. Bytes that TLS has taken count as written; those that
    /// the socket has no room for yet leave by [`Self::flush`].
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if there is no room; any other if the connection is lost.
    pub(super) fn write<'a>(&self, mut slices: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut wire = self.wire.borrow_mut();
        let (first, second) = (slices.next().unwrap_or_default(), slices.next());
        let Some(second) = second else {
            return match &mut *wire {
                // A plain send takes the system a twentieth less time than a vectored one.
                Wire::Plain => self.stream.try_write(first),
                Wire::Tls(tls) => tls.write(&self.stream, &[IoSlice::new(first)]),
            };
        };
        let mut vector: [IoSlice<'_>; SLICES] = std::array::from_fn(|_| IoSlice::new(&[]));
        let mut used = 0;
        for (slot, bytes) in vector.iter_mut().zip([first, second].into_iter().chain(slices)) {
            *slot = IoSlice::new(bytes);
            used += 1;
        }
        match &mut *wire {
            Wire::Plain => self.stream.try_write_vectored(&vector[..used]),
            Wire::Tls(tls) => tls.write(&self.stream, &vector[..used]),
        }
    }

    /// Writes what has to leave before anything else: `unsent`, the rest of a batch, and what TLS holds. Returns false if the
    /// socket took only a part of it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if the socket took nothing; any other if the connection is lost.
    pub(super) fn flush(&self, unsent: Option<&mut VecDeque<Bytes>>) -> io::Result<bool> {
        let mut is_moving = false;
        let flushed = self.flush_batch(unsent, &mut is_moving).and_then(|()| match &mut *self.wire.borrow_mut() {
            Wire::Plain => Ok(()),
            Wire::Tls(tls) => tls.flush(&self.stream, &mut is_moving),
        });
        match flushed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock && is_moving => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes and removes unsent bytes until none are left.
    fn flush_batch(&self, unsent: Option<&mut VecDeque<Bytes>>, is_moving: &mut bool) -> io::Result<()> {
        let Some(unsent) = unsent else { return Ok(()) };
        while !unsent.is_empty() {
            let written = self.write(unsent.iter().map(|bytes| &bytes[..]))?;
            drop_front(unsent, written);
            *is_moving = true;
        }
        Ok(())
    }

    /// Returns true if TLS holds bytes that the socket had no room for.
    pub(super) fn has_unsent(&self) -> bool {
        match &*self.wire.borrow() {
            Wire::Plain => false,
            Wire::Tls(tls) => tls.has_unsent(),
        }
    }

    /// Raises how much the system buffers for a slow reader, so that the last frame, which says where to resume, fits in before
    /// the connection is closed.
    pub(super) fn make_room(&self) {
        // Without the option the last frame may be lost, as on any full socket.
        let _ = SockRef::from(&self.stream).set_tcp_notsent_lowat(u32::MAX);
    }

    /// Closes our side, then reads what the peer still sends, so that what was written last arrives.
    pub(super) async fn close(&self, is_input_ended: bool) {
        if let Wire::Tls(tls) = &mut *self.wire.borrow_mut() {
            tls.close(&self.stream);
        }
        if SockRef::from(&self.stream).shutdown(Shutdown::Write).is_err() || is_input_ended {
            return;
        }
        let mut scratch = vec![0; 16 * 1024];
        let draining = async {
            while self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut scratch) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        // A peer that goes on sending is disconnected at the limit.
        let _ = timeout(CLOSE_WAIT, draining).await;
    }
}

/// Reads once from the bare socket; 0 bytes are its end.
///
/// A short read has emptied the socket. The runtime is told so at once, because epoll reports only changes; else another read
/// would have to find that out.
fn receive(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let full = stream.try_io(Interest::READABLE, || {
        let (n, _) = rustix::net::recv(stream, &mut *room, RecvFlags::empty())?;
        if n == 0 || n == room.len() {
            return Ok(n);
        }
        short = Some(n);
        Err(ErrorKind::WouldBlock.into())
    });
    short.map_or(full, Ok)
}

fn drop_front(unsent: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = unsent.front_mut() {
        if front.len() > written {
            front.advance(written);
            return;
        }
        written -= front.len();
        unsent.pop_front();
    }
}

#[cfg(test)]
mod tests;
