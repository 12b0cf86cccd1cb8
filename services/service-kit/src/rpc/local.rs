//! Connections within one process: gRPC as ever, over memory instead of a socket, so that no message passes the system.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
};
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint},
};

/// Bytes under way in each direction: those of a busy turn, so that seldom one side waits for the other.
const UNDER_WAY_BYTES: usize = 128 * 1024;
/// Connections that the server has not taken yet.
const WAITING_CONNECTIONS: usize = 16;

/// Where a server takes connections of its own process; see [`super::RpcServer::also_locally`].
#[derive(Debug)]
pub struct LocalListener {
    pub(super) opened: mpsc::Receiver<DuplexStream>,
}

/// Opens connections to a server of its own process.
#[derive(Debug, Clone)]
pub struct LocalDialer {
    opened: mpsc::Sender<DuplexStream>,
}

/// The two ends of the way to a server.
#[must_use]
pub fn local() -> (LocalDialer, LocalListener) {
    let (sender, receiver) = mpsc::channel(WAITING_CONNECTIONS);
    (LocalDialer { opened: sender }, LocalListener { opened: receiver })
}

impl LocalDialer {
    /// As [`Endpoint::connect`], whatever address the endpoint has.
    ///
    /// # Errors
    /// The server has ended.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        endpoint.connect_with_connector(self.clone()).await
    }

    /// As [`Endpoint::connect_lazy`], whatever address the endpoint has.
    #[must_use]
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        endpoint.connect_with_connector_lazy(self.clone())
    }
}

impl Service<Uri> for LocalDialer {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _whatever: Uri) -> Self::Future {
        let opened = self.opened.clone();
        Box::pin(async move {
            let (near, far) = duplex(UNDER_WAY_BYTES);
            let ended = |_| io::Error::new(io::ErrorKind::ConnectionRefused, "the server has ended");
            opened.send(far).await.map_err(ended)?;
            Ok(TokioIo::new(near))
        })
    }
}
