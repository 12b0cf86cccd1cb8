//! A message of a group's log as the chat takes it in.

use gaung_client::{GroupInfo, Lane};
use gaung_proto::{ClientId, Content, DeviceId, Kind, LogId, Seq, block::Message};
use gaung_terminal::names::author_name;

use crate::authorship::MessageSignature;

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
    /// The author's signature.
    pub(crate) signature: MessageSignature,
}

impl IncomingMessage {
    /// Makes it of a message of this log and its decoded content.
    pub(crate) fn of(group: &GroupInfo, log: LogId, message: &Message, content: Content, lane: Lane) -> Self {
        let signature = MessageSignature::of(group, log, message);
        // Where the relay knows no device, the signature tells it.
        let device = match message.author.device {
            DeviceId::NONE => signature.authorship().signer().unwrap_or(DeviceId::NONE),
            device => device,
        };
        Self {
            seq: message.seq,
            device,
            client: message.author.client,
            name: author_name(&content.author_name, device),
            at_us: message.sent_at.0,
            lane,
            kind: content.kind,
            signature,
        }
    }
}
