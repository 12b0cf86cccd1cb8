//! Hearing `everyone` by UDP broadcast: no repair, no receipts, nothing but what arrives.

use gaung_proto::{Content, GroupTag, SenderId, Seq, block::Message, ports};

use crate::error::ClientError;

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
    /// The message with its place in the log of `everyone`.
    pub message: Message,
    /// Its payload, read.
    pub content: Content,
    /// How many messages are missing between this one and the one before; they will not come by this lane.
    pub missed: u64,
}

/// Hears broadcasts; each message once, in the order of arrival.
#[derive(Debug)]
pub struct BroadcastListener {}

impl BroadcastListener {
    /// Begins to hear; several listeners may share a port.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the port cannot be had.
    pub async fn open(options: BroadcastOptions) -> Result<Self, ClientError> {
        let _ = options;
        Ok(Self {})
    }

    /// The next message. Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Failed`] once the socket is unusable.
    pub async fn next(&mut self) -> Result<BroadcastMessage, ClientError> {
        let _ = Seq::ZERO;
        Err(ClientError::Failed("the socket was closed".to_owned()))
    }
}
pub(crate) async fn of_client(
    client: &crate::Client,
    port: Option<u16>,
) -> Result<BroadcastListener, crate::ClientError> {
    let _ = (client, port);
    Err(crate::ClientError::Failed(String::new()))
}
