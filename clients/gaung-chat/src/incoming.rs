//! A message of a group's log as the chat takes it in.

use gaung_client::Lane;
use gaung_proto::{ClientId, Content, DeviceId, Kind, Seq, block::Message};
use gaung_terminal::names::author_name;

/// A decoded message whose author's name is safe for a terminal; the content is not yet.
#[derive(Debug, Clone)]
pub(crate) struct IncomingMessage {
    /// Its place in the log; zero in a group without one.
    pub(crate) seq: Seq,
    /// The author's device.
    pub(crate) device: DeviceId,
    /// The author's process.
    pub(crate) client: ClientId,
    /// The author's name without control characters, or the beginning of the device's id.
    pub(crate) name: String,
    /// When the relay took it, in µs since 1970.
    pub(crate) at_us: u64,
    /// The lane by which it came.
    pub(crate) lane: Lane,
    /// The content.
    pub(crate) kind: Kind,
}

impl IncomingMessage {
    /// Makes it of a message and its decoded content.
    pub(crate) fn of(message: &Message, content: Content, lane: Lane) -> Self {
        Self {
            seq: message.seq,
            device: message.author.device,
            client: message.author.client,
            name: author_name(&content.author_name, message.author.device),
            at_us: message.sent_at.0,
            lane,
            kind: content.kind,
        }
    }
}
