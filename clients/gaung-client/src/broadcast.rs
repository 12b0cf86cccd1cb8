//! Hearing `everyone` by UDP broadcast: no repair, no receipts, nothing but what arrives.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{BroadcastHeard, BroadcastReceiver};
use gaung_proto::{Content, GroupTag, LogId, SenderId, block::Message, name::EVERYONE, ports};
use tokio::net::UdpSocket;

use crate::{calls::GroupKey, context::Context, error::ClientError, group::ServiceKind};

/// What to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroadcastOptions {
    /// The UDP port; 7405 by default.
    pub port: u16,
    /// The tag of `everyone`, where a registry told it; `None` takes the first one heard.
    pub tag: Option<GroupTag>,
}

impl Default for BroadcastOptions {
    fn default() -> Self {
        Self { port: ports::BROADCAST, tag: None }
    }
}

/// A message that was broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroadcastMessage {
    /// The hub that sent it.
    pub hub: SenderId,
    /// The log of `everyone`, if a registry told it.
    pub log: Option<LogId>,
    /// The message with its place in that log.
    pub message: Message,
    /// Its payload, read.
    pub content: Content,
    /// How many messages are missing between this one and the one before; they will not come by this lane.
    pub missed: u64,
}

/// Hears broadcasts; each message once, in the order of arrival.
#[derive(Debug)]
pub struct BroadcastListener {
    socket: UdpSocket,
    receiver: BroadcastReceiver,
    /// Asked when the group's log seems to be another one.
    registry: Option<Arc<Context>>,
    log: Option<LogId>,
    strangers: u64,
    asked: Instant,
}

/// Longer datagrams are cut: none of the protocol's is longer than 1400 bytes.
const RECEIVE_BYTES: usize = 2048;
/// Between two questions to the registry because of strange datagrams.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

impl BroadcastListener {
    /// Begins to hear; several listeners may share a port.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the port cannot be had.
    pub async fn open(options: BroadcastOptions) -> Result<Self, ClientError> {
        let failed = |error: &dyn std::fmt::Display| ClientError::Failed(format!("cannot hear broadcasts: {error}"));
        let socket = gaung_net::broadcast::open_listener(options.port).map_err(|error| failed(&error))?;
        let socket = UdpSocket::from_std(socket).map_err(|error| failed(&error))?;
        let receiver = BroadcastReceiver::new(options.tag);
        Ok(Self { socket, receiver, registry: None, log: None, strangers: 0, asked: Instant::now() })
    }

    /// The UDP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Failed`] once the socket is unusable.
    pub async fn next(&mut self) -> Result<BroadcastMessage, ClientError> {
        let mut buffer = [0; RECEIVE_BYTES];
        loop {
            if let Some(BroadcastHeard { sender, message, missed }) = self.receiver.poll_message() {
                let content = Content::decode(message.content_type, &message.payload);
                return Ok(BroadcastMessage { hub: sender, log: self.log, message, content, missed });
            }
            self.follow_the_log().await;
            self.socket.readable().await.map_err(|error| unusable(&error))?;
            while let Ok(len) = self.socket.try_recv(&mut buffer) {
                // What cannot be read is not ours, or forged.
                let _ = self.receiver.handle_datagram(Instant::now(), &buffer[..len]);
            }
        }
    }

    /// Strange datagrams may be those of the group's new log.
    async fn follow_the_log(&mut self) {
        let strange = self.receiver.strangers() != self.strangers;
        let Some(context) = self.registry.as_ref().filter(|_| strange && self.asked.elapsed() >= ASK_INTERVAL) else {
            return;
        };
        self.asked = Instant::now();
        self.strangers = self.receiver.strangers();
        if let Ok(group) = context.get_group(&everyone()).await {
            self.receiver.handle_change(group.tag());
            self.log = Some(group.log);
        }
    }
}

/// Listens on the port of the server's hub, unless `port` names another one, for the tag that the registry gives.
pub(crate) async fn of_server(context: &Arc<Context>, port: Option<u16>) -> Result<BroadcastListener, ClientError> {
    let group = context.get_group(&everyone()).await?;
    let port = match port {
        Some(port) => port,
        None => {
            let services = context.server_status().await?.services;
            let hub = services.iter().find(|s| s.kind == ServiceKind::Hub && s.alive && s.udp_port != 0);
            hub.map_or(ports::BROADCAST, |hub| hub.udp_port)
        }
    };
    let listener = BroadcastListener::open(BroadcastOptions { port, tag: Some(group.tag()) }).await?;
    Ok(BroadcastListener { registry: Some(Arc::clone(context)), log: Some(group.log), ..listener })
}

fn everyone() -> GroupKey {
    GroupKey::Name(EVERYONE.parse().expect("the reserved name is valid"))
}

fn unusable(error: &std::io::Error) -> ClientError {
    ClientError::Failed(format!("the broadcast socket is unusable: {error}"))
}
