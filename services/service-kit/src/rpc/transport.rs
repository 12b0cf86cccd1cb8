//! The transport to a server, over the network or within this process.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tonic::{
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    transport::{self, Channel},
};

use super::local::LocalChannel;

/// A channel to a server, for the generated clients.
#[derive(Debug, Clone)]
pub enum ServerTransport {
    /// An HTTP/2 connection.
    Network(Channel),
    /// Direct calls within this process.
    Local(LocalChannel),
}

impl Service<Request<Body>> for ServerTransport {
    type Response = Response<Body>;
    type Error = transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Network(channel) => channel.poll_ready(cx),
            Self::Local(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self {
            Self::Network(channel) => Box::pin(channel.call(request)),
            Self::Local(channel) => {
                let answered = channel.clone().call(request);
                Box::pin(async { Ok(answered.await) })
            }
        }
    }
}
