//! One message as it looks now.

use gaung_client::Lane;
use gaung_proto::{DeviceId, Kind, Seq};
use gaung_terminal::sanitise::lines_of_bytes;

use super::changes::Change;
use crate::incoming::IncomingMessage;

/// Different emoji on one message that are shown.
const MAX_EMOJI: usize = 24;

/// A message that has lines of its own.
#[derive(Debug, Clone)]
pub(crate) struct MessageEntry {
    /// Its seq.
    pub(crate) seq: Seq,
    /// Its author's device.
    pub(crate) device: DeviceId,
    /// Its author's name, harmless.
    pub(crate) name: String,
    /// How it came.
    pub(crate) lane: Lane,
    /// The message that it answers.
    pub(crate) reply_to: Option<Seq>,
    /// What it says now.
    pub(crate) body: MessageBody,
    /// Its words are not the first ones.
    pub(crate) edited: bool,
    /// In the order in which they were first given.
    pub(crate) reactions: Vec<Reaction>,
    /// As it was said.
    original: MessageBody,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageBody {
    /// Words, harmless, lines parted by newlines.
    Text(String),
    /// Its author took it back.
    Deleted,
    /// A kind that this program does not know, by its byte on the wire.
    Unknown(u8),
}

/// An emoji and who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// Harmless.
    pub(crate) emoji: String,
    /// Each device once, with its name.
    pub(crate) by: Vec<(DeviceId, String)>,
}

impl MessageEntry {
    pub(super) fn of(incoming: IncomingMessage) -> Self {
        let (reply_to, body) = match incoming.kind {
            Kind::Text(body) => (None, MessageBody::Text(lines_of_bytes(&body))),
            Kind::Reply { to, body } => (Some(to), MessageBody::Text(lines_of_bytes(&body))),
            Kind::Unknown { content_type, .. } => (None, MessageBody::Unknown(content_type.to_byte())),
            Kind::Edit { .. } | Kind::Delete { .. } | Kind::React { .. } | Kind::Join | Kind::Leave { .. } => {
                unreachable!("these have no lines of their own")
            }
        };
        let IncomingMessage { seq, device, name, lane, .. } = incoming;
        let (edited, reactions, original) = (false, Vec::new(), body.clone());
        Self { seq, device, name, lane, reply_to, body, edited, reactions, original }
    }

    /// Its words, unless it was taken back or is of an unknown kind.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.body {
            MessageBody::Text(words) => Some(words),
            MessageBody::Deleted | MessageBody::Unknown(_) => None,
        }
    }

    /// As it was before any change.
    pub(super) fn reset(&mut self) {
        self.body = self.original.clone();
        self.edited = false;
        self.reactions.clear();
    }

    /// Heeds a change; edits and deletions only of its author's device.
    pub(super) fn apply(&mut self, change: &Change) {
        let by_author = change.device == self.device && !self.device.is_none();
        match &change.kind {
            Kind::Edit { body, .. } if by_author && self.text().is_some() => {
                self.body = MessageBody::Text(lines_of_bytes(body));
                self.edited = true;
            }
            Kind::Delete { .. } if by_author => self.body = MessageBody::Deleted,
            Kind::React { emoji, remove, .. } if *remove => self.take_back(emoji, change.device),
            Kind::React { emoji, .. } => self.react(emoji, change),
            Kind::Edit { .. } | Kind::Delete { .. } => {}
            Kind::Text(_) | Kind::Reply { .. } | Kind::Join | Kind::Leave { .. } | Kind::Unknown { .. } => {}
        }
    }

    fn react(&mut self, emoji: &str, change: &Change) {
        let Some(emoji) = harmless_emoji(emoji) else { return };
        let who = || (change.device, change.name.clone());
        match self.reactions.iter().position(|reaction| reaction.emoji == emoji) {
            Some(at) if self.reactions[at].by.iter().any(|(device, _)| *device == change.device) => {}
            Some(at) => self.reactions[at].by.push(who()),
            None if self.reactions.len() < MAX_EMOJI => self.reactions.push(Reaction { emoji, by: vec![who()] }),
            None => {}
        }
    }

    fn take_back(&mut self, emoji: &str, device: DeviceId) {
        let Some(emoji) = harmless_emoji(emoji) else { return };
        for reaction in self.reactions.iter_mut().filter(|reaction| reaction.emoji == emoji) {
            reaction.by.retain(|(by, _)| *by != device);
        }
        self.reactions.retain(|reaction| !reaction.by.is_empty());
    }

    pub(super) fn bytes(&self) -> usize {
        let words = |body: &MessageBody| match body {
            MessageBody::Text(words) => words.len(),
            MessageBody::Deleted | MessageBody::Unknown(_) => 0,
        };
        words(&self.body) + words(&self.original) + self.name.len()
    }
}

/// Short and on one line, or none at all.
fn harmless_emoji(emoji: &str) -> Option<String> {
    let emoji = gaung_terminal::sanitise::one_line(emoji.trim());
    (!emoji.is_empty() && emoji.chars().count() <= 16).then(|| emoji.into_owned())
}
