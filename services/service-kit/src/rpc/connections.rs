//! Accepted connections: counted against a limit, without delay, and cut when the drain time is over.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

/// Where new connections come from.
pub(super) struct Connections {
    listener: TcpListener,
    free: Arc<Semaphore>,
    cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(listener: TcpListener, limit: usize, cut: CancellationToken) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(limit)), cut }
    }

    /// Accepts for ever; never yields an error.
    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Connection>> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            tokio::select! {
                () = self.accept_into(&sender) => {}
                () = sender.closed() => {}
            }
        });
        tokio_stream::wrappers::ReceiverStream::new(receiver)
    }

    async fn accept_into(&self, accepted: &tokio::sync::mpsc::Sender<io::Result<Connection>>) {
        loop {
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else { return };
            let stream = self.accept().await;
            let connection = Connection { stream, cut: Box::pin(self.cut.clone().cancelled_owned()), _permit: permit };
            if accepted.send(Ok(connection)).await.is_err() {
                return;
            }
        }
    }

    async fn accept(&self) -> TcpStream {
        // Out of file descriptors, accept fails at once for as long as that lasts, and nothing tells when it is over.
        const RETRY: Duration = Duration::from_millis(100);
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Fails only where the peer is gone already, which the first read will show.
                    let _ = stream.set_nodelay(true);
                    return stream;
                }
                Err(error) => {
                    warn!(%error, "connection not accepted");
                    sleep(RETRY).await;
                }
            }
        }
    }
}

/// One connection; reads and writes fail once it is cut.
pub(super) struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Ready with an error once cut; else wakes the task when it is.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "drain time is over")),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_cut(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        let done = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        Poll::Ready(done)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}
