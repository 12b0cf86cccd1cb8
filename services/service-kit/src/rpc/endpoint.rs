//! Where another service is and how it is reached: by TLS if this service has credentials, otherwise by plaintext.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use gaung_net::tls;
use gaung_site::{Role, tls::unverified_client_config};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, time_provider::DefaultTimeProvider};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint, Error},
};

use super::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, FRAME_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};
use crate::secure::{PlaintextPolicy, ServiceCredentials};

/// A target that is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a server; write it as HOST:PORT, such as 192.168.1.10:7400")]
pub struct TargetError(String);

/// Another service: where it listens, and the role that it has to prove.
#[derive(Debug, Clone)]
pub struct ServiceEndpoint {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
}

impl ServiceEndpoint {
    /// Makes an endpoint at `target` (`HOST:PORT`). With `credentials` it is connected to by TLS, has to prove that it is `role` in
    /// the same site, and learns which service is calling; without, it is connected to by plaintext and proves nothing.
    ///
    /// # Errors
    /// [`TargetError`] if `target` is not `HOST:PORT`.
    pub fn new(target: &str, role: Role, credentials: Option<&ServiceCredentials>) -> Result<Self, TargetError> {
        let connector = |credentials: &ServiceCredentials| TlsConnector {
            role,
            config: credentials.client_config(&[b"h2"]),
            fallback: PlaintextPolicy::Never,
        };
        Ok(Self { endpoint: endpoint(target)?, tls: credentials.map(connector) })
    }

    /// Makes an endpoint at `target` (`HOST:PORT`) that is connected to by TLS and has to prove that it is `role` in a site that
    /// `config` expects: for a service that has no credentials yet, and for tests that are a device.
    ///
    /// # Errors
    /// [`TargetError`] if `target` is not `HOST:PORT`.
    pub fn with_config(target: &str, role: Role, config: Arc<ClientConfig>) -> Result<Self, TargetError> {
        let fallback = PlaintextPolicy::Never;
        Ok(Self { endpoint: endpoint(target)?, tls: Some(TlsConnector { role, config, fallback }) })
    }

    /// Makes an endpoint that need not prove anything and learns nothing of this service, for questions to whoever is there.
    ///
    /// # Errors
    /// [`TargetError`] if `target` is not `HOST:PORT`.
    pub(crate) fn of_anyone(target: &str) -> Result<Self, TargetError> {
        let config = unverified_client_config(&[b"h2"], Arc::new(DefaultTimeProvider)).expect("ring has TLS 1.3");
        let (config, fallback) = (Arc::new(config), PlaintextPolicy::Any);
        // The name is asked for and not verified.
        Ok(Self { endpoint: endpoint(target)?, tls: Some(TlsConnector { role: Role::Registry, config, fallback }) })
    }

    /// Uses plaintext if the service speaks no TLS and `policy` allows plaintext from its address: it may not have enrolled yet.
    /// One that speaks TLS and proves something else is never fallen back for.
    #[must_use]
    pub fn or_plaintext(mut self, policy: PlaintextPolicy) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.fallback = policy;
        }
        self
    }

    /// Replaces the flow-control windows of a stream and of the connection, bytes.
    #[must_use]
    pub fn windows(mut self, stream: u32, connection: u32) -> Self {
        self.endpoint = self.endpoint.initial_stream_window_size(stream).initial_connection_window_size(connection);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// If that fails; [`tls::trust_error`] finds whether the service was not trusted.
    pub async fn connect(&self) -> Result<Channel, Error> {
        match &self.tls {
            Some(connector) => self.endpoint.connect_with_connector(connector.clone()).await,
            None => self.endpoint.connect().await,
        }
    }

    /// Returns a channel that connects at the first call, and again at each one after its connection was lost. Must be called
    /// within a runtime.
    #[must_use]
    pub fn connect_lazy(&self) -> Channel {
        match &self.tls {
            Some(connector) => self.endpoint.connect_with_connector_lazy(connector.clone()),
            None => self.endpoint.connect_lazy(),
        }
    }
}

/// Makes a plaintext endpoint for another service at `HOST:PORT`, with connect timeout and keepalive. Connect it, or use
/// `connect_lazy` so that every call tries again.
///
/// # Errors
/// [`TargetError`] if `target` is not `HOST:PORT`.
pub fn endpoint(target: &str) -> Result<Endpoint, TargetError> {
    let error = || TargetError(target.to_owned());
    let has_port = target.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        return Err(error());
    }
    let endpoint = Endpoint::from_shared(format!("http://{target}")).map_err(|_| error())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES))
}

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Opens the connections of one endpoint.
#[derive(Debug, Clone)]
struct TlsConnector {
    role: Role,
    config: Arc<ClientConfig>,
    /// To which addresses plaintext is tried after TLS.
    fallback: PlaintextPolicy,
}

impl TlsConnector {
    async fn connect(self, uri: Uri) -> io::Result<Box<dyn Connection>> {
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an endpoint has a host and a port"));
        };
        let refused = match tls::connect(host, port, self.role, self.config).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => error,
        };
        if self.fallback == PlaintextPolicy::Never || !speaks_no_tls(&refused) {
            return Err(refused);
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let stream = TcpStream::connect((host, port)).await?;
        let local = stream.local_addr().ok().map(|local| local.ip());
        if !self.fallback.allows(stream.peer_addr()?.ip(), local) {
            return Err(refused);
        }
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Whether the server answered in another protocol, or ended the connection as one without a certificate does.
fn speaks_no_tls(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
    kinds.contains(&error.kind()) && tls::trust_error(error).is_none()
}

impl Service<Uri> for TlsConnector {
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async move { connecting.await.map(TokioIo::new) })
    }
}
