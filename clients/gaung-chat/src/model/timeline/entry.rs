//! One message with its changes applied.

use std::borrow::Cow;

use gaung_client::Lane;
use gaung_proto::{DeviceId, Kind, Seq, authorship::Authorship};
use gaung_terminal::sanitise::lines_of_bytes;

use super::changes::Change;
use crate::{
    authorship::MessageSignature,
    incoming::IncomingMessage,
    ui_text::{Lang, UiText},
};

/// How many different emoji one message can have.
const MAX_EMOJI: usize = 24;

/// A message that is shown as an item.
#[derive(Debug, Clone)]
pub(crate) struct MessageEntry {
    /// The seq.
    pub(crate) seq: Seq,
    /// The device of its author.
    pub(crate) device: DeviceId,
    /// The name of its author, without control characters.
    pub(crate) name: String,
    /// The lane by which it came.
    pub(crate) lane: Lane,
    /// The message to which it replies.
    pub(crate) reply_to: Option<Seq>,
    /// The content after all changes.
    pub(crate) body: MessageBody,
    /// Whether it was edited.
    pub(crate) edited: bool,
    /// The reactions, in the order of their first use.
    pub(crate) reactions: Vec<Reaction>,
    /// The content before all changes.
    original: MessageBody,
    original_signature: MessageSignature,
    /// The signature of the words that are shown: that of the last edit, if there is one.
    signature: MessageSignature,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MessageBody {
    /// A text without control characters, except for newlines.
    Text(String),
    /// Its author deleted it.
    Deleted,
    /// The owner, an admin or a moderator of the group hid it.
    Hidden,
    /// A kind that is unknown to this version, by its byte on the wire.
    Unknown(u8),
}

/// An emoji and who reacted with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// The emoji, without control characters.
    pub(crate) emoji: String,
    /// The devices, each once, with their names.
    pub(crate) by: Vec<(DeviceId, String)>,
}

impl MessageBody {
    fn of(kind: &Kind) -> Self {
        match kind.text_body() {
            Some(body) => Self::Text(lines_of_bytes(&body)),
            None => Self::Unknown(kind.content_type().to_byte()),
        }
    }
}

/// Which edits and deletions of an author's device count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ChangeTrust {
    /// All but those whose signature does not fit: the relay says whose device they are from.
    #[default]
    Relay,
    /// Signed ones alone: in a private group nobody but the author is believed.
    Signature,
}

impl ChangeTrust {
    fn takes(self, authorship: Authorship) -> bool {
        match authorship {
            Authorship::Signed { .. } => true,
            Authorship::Unsigned => self == Self::Relay,
            Authorship::Broken => false,
        }
    }
}

impl MessageEntry {
    pub(super) fn of(incoming: IncomingMessage) -> Self {
        let IncomingMessage { seq, device, name, lane, kind, signature, .. } = incoming;
        let (reply_to, body) = (kind.reply_to(), MessageBody::of(&kind));
        let (edited, reactions, original) = (false, Vec::new(), body.clone());
        Self {
            seq,
            device,
            name,
            lane,
            reply_to,
            body,
            edited,
            reactions,
            original,
            original_signature: signature.clone(),
            signature,
        }
    }

    /// Returns what is known about the author of the words that are shown.
    pub(crate) fn authorship(&self) -> Authorship {
        self.signature.authorship()
    }

    /// Returns its text; `None` if it was deleted or is of an unknown kind.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.body {
            MessageBody::Text(words) => Some(words),
            MessageBody::Deleted | MessageBody::Hidden | MessageBody::Unknown(_) => None,
        }
    }

    /// Returns its text, or what the program says in place of one.
    pub(crate) fn shown(&self, lang: Lang) -> Cow<'_, str> {
        match &self.body {
            MessageBody::Text(words) => words.into(),
            MessageBody::Deleted => lang.text(UiText::TakenBack).into(),
            MessageBody::Hidden => lang.text(UiText::Hidden).into(),
            MessageBody::Unknown(kind) => lang.fill(UiText::UnknownKind, &[("kind", &kind.to_string())]).into(),
        }
    }

    /// Undoes all changes.
    pub(super) fn reset(&mut self) {
        self.body = self.original.clone();
        self.signature = self.original_signature.clone();
        self.edited = false;
        self.reactions.clear();
    }

    /// Applies a change; some count only from the device of its author, if its signature is as good as `trust` wants.
    pub(super) fn apply(&mut self, change: &Change, trust: ChangeTrust) {
        let by_author = change.device == self.device && !self.device.is_none();
        if change.kind.is_for_the_author_alone() && !(by_author && trust.takes(change.signature.authorship())) {
            return;
        }
        match &change.kind {
            Kind::Edit { body, .. } => {
                if self.text().is_some() {
                    self.body = MessageBody::Text(lines_of_bytes(body));
                    self.signature = change.signature.clone();
                    self.edited = true;
                }
            }
            Kind::Delete { .. } if self.body != MessageBody::Hidden => self.body = MessageBody::Deleted,
            Kind::Delete { .. } => {}
            // The relay takes it from those with a role alone. Without a signature it may be the relay's own.
            Kind::Moderate { .. } if change.signature.authorship().signer().is_some() => {
                self.body = MessageBody::Hidden
            }
            Kind::Moderate { .. } => {}
            Kind::React { emoji, remove: true, .. } => self.remove_reaction(emoji, change.device),
            Kind::React { emoji, remove: false, .. } => self.react(emoji, change),
            Kind::Text(_)
            | Kind::Reply { .. }
            | Kind::Join
            | Kind::Leave { .. }
            | Kind::Attest { .. }
            | Kind::Unknown { .. } => {}
        }
    }

    fn react(&mut self, emoji: &str, change: &Change) {
        let Some(emoji) = checked_emoji(emoji) else { return };
        let who = || (change.device, change.name.clone());
        match self.reactions.iter().position(|reaction| reaction.emoji == emoji) {
            Some(at) if self.reactions[at].by.iter().any(|(device, _)| *device == change.device) => {}
            Some(at) => self.reactions[at].by.push(who()),
            None if self.reactions.len() < MAX_EMOJI => self.reactions.push(Reaction { emoji, by: vec![who()] }),
            None => {}
        }
    }

    fn remove_reaction(&mut self, emoji: &str, device: DeviceId) {
        let Some(emoji) = checked_emoji(emoji) else { return };
        for reaction in self.reactions.iter_mut().filter(|reaction| reaction.emoji == emoji) {
            reaction.by.retain(|(by, _)| *by != device);
        }
        self.reactions.retain(|reaction| !reaction.by.is_empty());
    }

    pub(super) fn bytes(&self) -> usize {
        let words = |body: &MessageBody| match body {
            MessageBody::Text(words) => words.len(),
            MessageBody::Deleted | MessageBody::Hidden | MessageBody::Unknown(_) => 0,
        };
        words(&self.body) + words(&self.original) + self.name.len() + 2 * self.signature.bytes()
    }
}

/// Returns an emoji without control characters; `None` if it is empty or too long.
fn checked_emoji(emoji: &str) -> Option<String> {
    let emoji = gaung_terminal::sanitise::one_line(emoji.trim());
    (!emoji.is_empty() && emoji.chars().count() <= 16).then(|| emoji.into_owned())
}
