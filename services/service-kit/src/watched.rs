//! A connection that counts received bytes and measures for how long its peer has read nothing.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::secure::SecureStream;

/// A connection with statistics of its traffic. What TLS adds is not counted.
#[derive(Debug)]
pub struct WatchedStream {
    stream: SecureStream,
    traffic: Traffic,
}

/// The statistics of one stream; clones share them.
#[derive(Debug, Clone)]
pub struct Traffic(Arc<TrafficState>);

#[derive(Debug)]
struct TrafficState {
    begun: Instant,
    came: AtomicU64,
    /// Milliseconds after `begun` at which a write first found no room, plus 1; 0 if the last one found some.
    blocked: AtomicU64,
}

impl WatchedStream {
    /// Wraps `stream`.
    #[must_use]
    pub fn new(stream: SecureStream) -> Self {
        let state = TrafficState { begun: Instant::now(), came: AtomicU64::new(0), blocked: AtomicU64::new(0) };
        Self { stream, traffic: Traffic(Arc::new(state)) }
    }

    /// Returns the stream's statistics.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    /// Returns the bare stream.
    #[must_use]
    pub fn into_inner(self) -> SecureStream {
        self.stream
    }

    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        self.traffic.wrote(written.is_ready());
        written
    }
}

impl Traffic {
    /// Returns the bytes received so far.
    #[must_use]
    pub fn came(&self) -> u64 {
        self.0.came.load(Ordering::Relaxed)
    }

    /// Returns for how long data has waited to be written without any progress.
    #[must_use]
    pub fn blocked(&self) -> Duration {
        match self.0.blocked.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => self.0.begun.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    fn wrote(&self, something: bool) {
        let blocked = &self.0.blocked;
        if something {
            blocked.store(0, Ordering::Relaxed);
        } else if blocked.load(Ordering::Relaxed) == 0 {
            blocked.store(self.0.begun.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.traffic.0.came.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS keeps what the socket had no room for.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut watched = WatchedStream::new(SecureStream::Plain(listener.accept().await.unwrap().0));
        let traffic = watched.traffic();
        peer.write_all(b"hello").await.unwrap();
        watched.read_exact(&mut [0; 5]).await.unwrap();
        assert_eq!((traffic.came(), traffic.blocked()), (5, Duration::ZERO));
        let much = vec![0; 64 << 20];
        assert!(timeout(Duration::from_millis(200), watched.write_all(&much)).await.is_err());
        while traffic.blocked() == Duration::ZERO {
            tokio::task::yield_now().await;
        }
        drop(tokio::spawn(async move { tokio::io::copy(&mut peer, &mut tokio::io::sink()).await }));
        watched.write_all(b"more").await.unwrap();
        assert_eq!(traffic.blocked(), Duration::ZERO);
    }
}
