//! gRPC channels to services, over connections that [`SiteTrust`] opens.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use gaung_site::Role;
use hyper_util::rt::TokioIo;
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint, Uri},
};

use crate::{
    endpoint::HostPort,
    error::{ClientError, client_error},
    service_stream::ServiceStream,
    site_trust::{SiteTrust, whom},
};

/// ALPN name of HTTP/2 (RFC 9113, section 3.2).
const HTTP2: &[&[u8]] = &[b"h2"];

/// Connects now. The channel connects again by itself later on, at the next call.
///
/// # Errors
/// As [`SiteTrust::connect`].
pub(crate) async fn connect(trust: &Arc<SiteTrust>, address: &HostPort, role: Role) -> Result<Channel, ClientError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| ClientError::Usage(format!("{address} is not a server; write HOST or HOST:PORT")))?
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5));
    let connector = ServiceConnector { trust: Arc::clone(trust), address: address.clone(), role };
    endpoint.connect_with_connector(connector).await.map_err(|error| {
        let own = client_error(&error).cloned();
        own.unwrap_or_else(|| {
            ClientError::Unreachable(format!("cannot reach the {} at {address}: {}", whom(role), root_cause(&error)))
        })
    })
}

/// Opens the connections of one channel, the first one and those after it was lost.
struct ServiceConnector {
    trust: Arc<SiteTrust>,
    address: HostPort,
    role: Role,
}

impl Service<Uri> for ServiceConnector {
    type Response = TokioIo<ServiceStream>;
    type Error = ClientError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ClientError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (trust, address, role) = (Arc::clone(&self.trust), self.address.clone(), self.role);
        Box::pin(async move { trust.connect(&address, role, HTTP2).await.map(TokioIo::new) })
    }
}

fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
