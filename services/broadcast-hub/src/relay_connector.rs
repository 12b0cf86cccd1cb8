//! Connecting to relays: within the process, or where the registry says they listen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gaung_net::backoff::Backoff;
use gaung_proto::{RelayId, pb::relay::relay_service_client::RelayServiceClient};
use gaung_site::Role;
use service_kit::{
    rpc::{LocalChannel, MAX_MESSAGE_BYTES, ServerTransport, ServiceEndpoint, TargetError},
    secure::{PlaintextPolicy, ServiceCredentials},
};
use tonic::transport::Channel;

use crate::directory::Directory;

/// A client of one relay.
pub(crate) type RelayClient = RelayServiceClient<ServerTransport>;

/// Connects to relays by their ids.
#[derive(Debug)]
pub(crate) struct RelayConnector {
    directory: Arc<Directory>,
    /// The relay of this process, if there is one.
    local: Option<(RelayId, LocalChannel)>,
    credentials: Option<ServiceCredentials>,
    /// Where relays that speak no TLS, because they have not enrolled, are called by plaintext.
    plaintext: PlaintextPolicy,
    /// The connections for reading logs, with the target that each leads to.
    log_channels: Mutex<HashMap<RelayId, (String, Channel)>>,
}

/// Flow-control windows for reading logs: small for one read, so that many slow readers leave room in the connection's for
/// each other.
const LOG_STREAM_WINDOW: u32 = 128 * 1024;
const LOG_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

impl RelayConnector {
    /// Connects by `directory`, and to the relay of this process by its channel.
    pub(crate) fn new(
        directory: Arc<Directory>,
        local: Option<(RelayId, LocalChannel)>,
        credentials: Option<ServiceCredentials>,
        plaintext: PlaintextPolicy,
    ) -> Self {
        Self { directory, local, credentials, plaintext, log_channels: Mutex::default() }
    }

    /// Waits until the registry has listed the relay, and connects; the error says why that failed.
    pub(crate) async fn connect(&self, relay: RelayId) -> Result<RelayClient, String> {
        if let Some(client) = self.local_client(relay) {
            return Ok(client);
        }
        let mut changes = self.directory.changes();
        let target = loop {
            if let Some(target) = self.directory.relay_target(relay) {
                break target;
            }
            if changes.changed().await.is_err() {
                return Err("the hub is stopping".to_owned());
            }
        };
        let endpoint = self.endpoint(relay, &target).map_err(|e| e.to_string())?;
        let channel = endpoint.connect().await.map_err(|e| format!("cannot connect to {target}: {e}"))?;
        Ok(client(ServerTransport::Network(channel)))
    }

    /// Returns a client for reading logs, which over the network uses a connection of its own; `None` while the registry
    /// does not list the relay.
    pub(crate) fn log_client(&self, relay: RelayId) -> Option<RelayClient> {
        if let Some(client) = self.local_client(relay) {
            return Some(client);
        }
        let target = self.directory.relay_target(relay)?;
        let mut channels = self.log_channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, channel)) = channels.get(&relay)
            && *known == target
        {
            return Some(client(ServerTransport::Network(channel.clone())));
        }
        let endpoint = self.endpoint(relay, &target).ok()?;
        let channel = endpoint.windows(LOG_STREAM_WINDOW, LOG_CONNECTION_WINDOW).connect_lazy();
        channels.insert(relay, (target, channel.clone()));
        Some(client(ServerTransport::Network(channel)))
    }

    fn endpoint(&self, relay: RelayId, target: &str) -> Result<ServiceEndpoint, TargetError> {
        let endpoint = ServiceEndpoint::new(target, Role::Relay(relay), self.credentials.as_ref())?;
        Ok(endpoint.or_plaintext(self.plaintext))
    }

    fn local_client(&self, relay: RelayId) -> Option<RelayClient> {
        let (_, channel) = self.local.as_ref().filter(|(id, _)| *id == relay)?;
        Some(client(ServerTransport::Local(channel.clone())))
    }
}

/// The backoff between attempts to reach a relay: short, because sessions wait meanwhile and the network is a LAN.
pub(crate) fn backoff() -> Backoff {
    Backoff::between(Duration::from_millis(50), Duration::from_secs(1))
}

fn client(way: ServerTransport) -> RelayClient {
    RelayServiceClient::new(way)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}
