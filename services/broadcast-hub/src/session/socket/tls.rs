//! TLS between a session's bytes and its socket, by *rustls*, which does no input or output itself.

use std::io::{self, ErrorKind, IoSlice, Read as _, Write};

use rustls::ServerConnection;
use tokio::net::TcpStream;

use super::{SocketInput, receive};

/// A connection's state of TLS. Its handshake is done.
pub(super) struct TlsWire(Box<ServerConnection>);

/// Encrypted bytes of one session that wait for room in the socket; about as much more counts as written.
const UNSENT_BYTES: usize = 64 * 1024;
/// Longest record (RFC 8446, section 5.2, with the expansion that TLS 1.2 allowed): the most that *rustls* keeps of a record that
/// has not come as a whole.
const MAX_RECORD: usize = 5 + (1 << 14) + 2048;

impl TlsWire {
    pub(super) fn new(mut tls: Box<ServerConnection>) -> Self {
        tls.set_buffer_limit(Some(UNSENT_BYTES));
        Self(tls)
    }

    /// Takes what is decrypted already.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_decrypted(&mut self, stream: &TcpStream, room: &mut [u8]) -> io::Result<SocketInput> {
        let mut input = SocketInput { bytes: 0, may_continue: false, is_ended: false };
        self.decrypt(stream, room, &mut input)?;
        input.or_nothing()
    }

    /// Reads once from the socket and decrypts into the beginning of `room`.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if not even one record is complete; any other if the connection is lost, also by a peer that
    /// broke the protocol, or closed the socket without closing TLS.
    pub(super) fn read(&mut self, stream: &TcpStream, room: &mut [u8]) -> io::Result<SocketInput> {
        // Plaintext is written into the same memory. It is shorter than the records it comes from, of which up to one was
        // received earlier, so it never reaches the records that are still to be decrypted.
        let end = MAX_RECORD + receive(stream, &mut room[MAX_RECORD..])?;
        if end == MAX_RECORD {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut input = SocketInput { bytes: 0, may_continue: end == room.len(), is_ended: false };
        let mut begin = MAX_RECORD;
        while begin < end && !input.is_ended {
            let taken = self.0.read_tls(&mut &room[begin..end])?;
            begin += taken;
            self.decrypt(stream, &mut room[..begin], &mut input)?;
            if taken == 0 && !input.is_ended {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        input.or_nothing()
    }

    /// Decrypts the records that are complete and appends what they hold to the first `input.bytes` bytes of `room`.
    fn decrypt(&mut self, stream: &TcpStream, room: &mut [u8], input: &mut SocketInput) -> io::Result<()> {
        let state = self.0.process_new_packets().map_err(|error| self.failed(error, stream))?;
        let new = input.bytes..input.bytes + state.plaintext_bytes_to_read();
        if !new.is_empty() {
            let room = room.get_mut(new.clone()).ok_or(ErrorKind::InvalidData)?;
            self.0.reader().read_exact(room)?;
        }
        input.bytes = new.end;
        input.is_ended = state.peer_has_closed();
        Ok(())
    }

    /// Encrypts as much of the slices as may wait, and writes it as far as the socket has room.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if earlier bytes wait; any other if the connection is lost.
    pub(super) fn write(&mut self, stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(stream, &mut false)?;
        let taken = self.0.writer().write_vectored(slices)?;
        match self.flush(stream, &mut false) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            Ok(()) | Err(_) => Ok(taken),
        }
    }

    /// Writes the encrypted bytes that wait; sets `is_moving` if the socket took any.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if the socket has no room for all; any other if the connection is lost.
    pub(super) fn flush(&mut self, stream: &TcpStream, is_moving: &mut bool) -> io::Result<()> {
        while self.0.wants_write() {
            if self.0.write_tls(&mut SocketWriter(stream))? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            *is_moving = true;
        }
        Ok(())
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.0.wants_write()
    }

    /// Tells the peer that nothing follows, so that it can tell the end from a cut. A socket without room is not waited for.
    pub(super) fn close(&mut self, stream: &TcpStream) {
        self.0.send_close_notify();
        let _ = self.flush(stream, &mut false);
    }

    /// Sends the alert that says what was wrong, if the socket has room.
    fn failed(&mut self, error: rustls::Error, stream: &TcpStream) -> io::Error {
        let _ = self.flush(stream, &mut false);
        io::Error::new(ErrorKind::InvalidData, error)
    }
}

/// The socket, as *rustls* writes records to it.
struct SocketWriter<'a>(&'a TcpStream);

impl Write for SocketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [one] => self.0.try_write(one),
            several => self.0.try_write_vectored(several),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
