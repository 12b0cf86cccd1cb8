//! The hub's TCP stream over tokio: items in, shared slices out.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    time::Duration,
};

use bytes::{Buf as _, Bytes, BytesMut};
use gaung_proto::{
    DecodeError,
    frame::{AcceptedItems, FrameItem, decode},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

/// Makes a connection fail within some 10 s of silence where the peer's machine has gone or has another address, though nothing
/// is sent; without it that takes TCP a quarter of an hour. A dead peer's answers are the kernel's, so that an idle connection
/// costs two small packets each 5 s.
pub fn notice_silence(stream: &TcpStream) {
    let (idle, interval, tries) = (Duration::from_secs(5), Duration::from_secs(2), 2);
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(tries);
    let socket = SockRef::from(stream);
    // Where it is refused the loss is noticed later.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(idle + tries * interval));
}

/// The stream cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum ReadFrameError {
    /// The peer sent something that is no item, or too long; say so and close.
    #[error("the peer sent what cannot be read: {0}")]
    Decode(#[from] DecodeError),
    /// The peer closed the stream in the middle of an item.
    #[error("the stream ended in the middle of a frame")]
    Cut,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Reads items from a byte stream.
///
/// Holds at most one item that has not arrived in full and what one read brought after it. An idle connection holds
/// [`Self::MIN_READ`] bytes; a busy one reads up to [`Self::MAX_READ`] at once.
#[derive(Debug)]
pub struct FrameReader<R> {
    stream: R,
    accept: AcceptedItems,
    buffer: BytesMut,
    read_bytes: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Room made for a read on a quiet connection.
    pub const MIN_READ: usize = 512;
    /// Room made for a read on a busy one.
    pub const MAX_READ: usize = 64 * 1024;

    /// Takes the items that `accept` says.
    pub fn new(stream: R, accept: AcceptedItems) -> Self {
        Self { stream, accept, buffer: BytesMut::new(), read_bytes: Self::MIN_READ }
    }

    /// The next item; `None` when the peer closed the stream after a whole one. May be cancelled and called again.
    ///
    /// # Errors
    /// [`ReadFrameError`]; do not read on after one.
    pub async fn next(&mut self) -> Result<Option<FrameItem>, ReadFrameError> {
        loop {
            if let Some(item) = self.buffered()? {
                return Ok(Some(item));
            }
            self.buffer.reserve(self.read_bytes);
            match self.stream.read_buf(&mut self.buffer).await? {
                0 if self.buffer.is_empty() => return Ok(None),
                0 => return Err(ReadFrameError::Cut),
                n => self.adapt(n),
            }
        }
    }

    /// An item that has already arrived, without reading: to handle what came together before waiting again.
    ///
    /// # Errors
    /// [`ReadFrameError::Decode`]; do not read on after it.
    pub fn buffered(&mut self) -> Result<Option<FrameItem>, ReadFrameError> {
        Ok(decode(&mut self.buffer, self.accept)?)
    }

    fn adapt(&mut self, read: usize) {
        if read >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 4).min(Self::MAX_READ);
        } else if read < self.read_bytes / 8 {
            self.read_bytes = (self.read_bytes / 2).max(Self::MIN_READ);
        }
    }
}

/// Bytes on their way to one connection: slices of shared buffers, written many at once and never copied.
///
/// Holds no limit itself: [`Self::len_bytes`] tells its owner when to stop adding.
#[derive(Debug, Default)]
pub struct SliceQueue {
    slices: VecDeque<Bytes>,
    len_bytes: usize,
}

/// Slices of one system call.
const SLICES_PER_WRITE: usize = 64;

impl SliceQueue {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a slice at the end.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len_bytes += bytes.len();
            self.slices.push_back(bytes);
        }
    }

    /// Bytes that have not been written.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// True if all has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Writes as much as the socket takes now, at most about `budget_bytes` (the last write may pass it). Returns how
    /// much; less than the budget with bytes left means: wait until the socket is writable.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn try_write(&mut self, stream: &TcpStream, budget_bytes: usize) -> io::Result<usize> {
        let mut written = 0;
        while !self.is_empty() && written < budget_bytes {
            match self.with_slices(|slices| stream.try_write_vectored(slices)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.advance(n);
                    written += n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Writes everything. May be cancelled: what is left stays in the queue.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn write_all<W: AsyncWrite + Unpin>(&mut self, stream: &mut W) -> io::Result<()> {
        while !self.is_empty() {
            let mut storage = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let count = self.fill(&mut storage);
            let written = stream.write_vectored(&storage[..count]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        Ok(())
    }

    fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut storage = [IoSlice::new(&[]); SLICES_PER_WRITE];
        let count = self.fill(&mut storage);
        write(&storage[..count])
    }

    fn fill<'a>(&'a self, storage: &mut [IoSlice<'a>; SLICES_PER_WRITE]) -> usize {
        let mut count = 0;
        for (slot, bytes) in storage.iter_mut().zip(&self.slices) {
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        self.len_bytes -= written;
        while let Some(front) = self.slices.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
