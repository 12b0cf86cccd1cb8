//! What a message says: the payload behind the routing header, and its kind.

use bytes::Bytes;
use prost::Message as _;

use crate::{id::Seq, pb::message as pb};

/// The kind of a payload as the routing header tells it in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// A plain message.
    Text,
    /// An answer to an earlier message.
    Reply,
    /// New words for an earlier message.
    Edit,
    /// An earlier message taken back.
    Delete,
    /// An emoji on an earlier message.
    React,
    /// The author entered the group.
    Join,
    /// The author left the group.
    Leave,
    /// A kind that this program does not know; carried and shown as such.
    Unknown(u8),
}

impl ContentType {
    /// The byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Reply => 2,
            Self::Edit => 3,
            Self::Delete => 4,
            Self::React => 5,
            Self::Join => 6,
            Self::Leave => 7,
            Self::Unknown(byte) => byte,
        }
    }

    /// The kind of a byte on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Text,
            2 => Self::Reply,
            3 => Self::Edit,
            4 => Self::Delete,
            5 => Self::React,
            6 => Self::Join,
            7 => Self::Leave,
            other => Self::Unknown(other),
        }
    }
}

/// Holds a decoded payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// For display only; empty where the author gave none.
    pub author_name: String,
    /// What the message says.
    pub kind: Kind,
}

/// What a message says, one variant for each content type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A plain message; UTF-8 unless it came from a bare socket that sent something else.
    Text(Bytes),
    /// An answer to an earlier message.
    Reply {
        /// The message that is answered.
        to: Seq,
        /// The text, UTF-8 unless it came from a bare socket.
        body: Bytes,
    },
    /// New words for a message; honoured only from its author's device.
    Edit {
        /// The message that this is about.
        seq: Seq,
        /// The text, UTF-8 unless it came from a bare socket.
        body: Bytes,
    },
    /// A message taken back; honoured only from its author's device.
    Delete {
        /// The message that this is about.
        seq: Seq,
    },
    /// An emoji on a message.
    React {
        /// The message that this is about.
        seq: Seq,
        /// The emoji, as text.
        emoji: String,
        /// Whether the reaction is taken back.
        remove: bool,
    },
    /// The author entered the group.
    Join,
    /// The author left the group.
    Leave {
        /// Why the author left; may be empty.
        reason: String,
    },
    /// Of a kind that this program does not know, or not what its routing header says.
    Unknown {
        /// As the routing header has it.
        content_type: ContentType,
        /// The payload as it came.
        payload: Bytes,
    },
}

impl Content {
    /// Makes a plain message.
    #[must_use]
    pub fn text(author_name: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { author_name: author_name.into(), kind: Kind::Text(body.into()) }
    }

    /// Reads a payload; what cannot be read becomes [`Kind::Unknown`], for nothing of the log is ever dropped.
    #[must_use]
    pub fn decode(content_type: ContentType, payload: &Bytes) -> Self {
        let unknown =
            || Self { author_name: String::new(), kind: Kind::Unknown { content_type, payload: payload.clone() } };
        let Ok(content) = pb::Content::decode(payload.clone()) else {
            return unknown();
        };
        let Some(kind) = content.kind.map(Kind::from) else {
            return unknown();
        };
        if kind.content_type() != content_type {
            return unknown();
        }
        Self { author_name: content.author_name, kind }
    }

    /// The kind for the routing header and the encoded payload.
    #[must_use]
    pub fn encode(&self) -> (ContentType, Bytes) {
        let kind = match &self.kind {
            Kind::Text(body) => pb::content::Kind::Text(pb::Text { body: body.clone() }),
            Kind::Reply { to, body } => pb::content::Kind::Reply(pb::Reply { to_seq: to.0, body: body.clone() }),
            Kind::Edit { seq, body } => pb::content::Kind::Edit(pb::Edit { seq: seq.0, body: body.clone() }),
            Kind::Delete { seq } => pb::content::Kind::Delete(pb::Delete { seq: seq.0 }),
            Kind::React { seq, emoji, remove } => {
                pb::content::Kind::React(pb::React { seq: seq.0, emoji: emoji.clone(), remove: *remove })
            }
            Kind::Join => pb::content::Kind::Join(pb::Join {}),
            Kind::Leave { reason } => pb::content::Kind::Leave(pb::Leave { reason: reason.clone() }),
            Kind::Unknown { content_type, payload } => return (*content_type, payload.clone()),
        };
        let content = pb::Content { author_name: self.author_name.clone(), kind: Some(kind) };
        (self.kind.content_type(), content.encode_to_vec().into())
    }
}

impl Kind {
    /// Returns the text of a plain message or a reply, which is all that plain text can carry; `None` for other kinds.
    #[must_use]
    pub const fn text_body(&self) -> Option<&Bytes> {
        match self {
            Self::Text(body) | Self::Reply { body, .. } => Some(body),
            Self::Edit { .. }
            | Self::Delete { .. }
            | Self::React { .. }
            | Self::Join
            | Self::Leave { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// The kind for the routing header.
    #[must_use]
    pub const fn content_type(&self) -> ContentType {
        match self {
            Self::Text(_) => ContentType::Text,
            Self::Reply { .. } => ContentType::Reply,
            Self::Edit { .. } => ContentType::Edit,
            Self::Delete { .. } => ContentType::Delete,
            Self::React { .. } => ContentType::React,
            Self::Join => ContentType::Join,
            Self::Leave { .. } => ContentType::Leave,
            Self::Unknown { content_type, .. } => *content_type,
        }
    }
}

impl From<pb::content::Kind> for Kind {
    fn from(kind: pb::content::Kind) -> Self {
        match kind {
            pb::content::Kind::Text(text) => Self::Text(text.body),
            pb::content::Kind::Reply(reply) => Self::Reply { to: Seq(reply.to_seq), body: reply.body },
            pb::content::Kind::Edit(edit) => Self::Edit { seq: Seq(edit.seq), body: edit.body },
            pb::content::Kind::Delete(delete) => Self::Delete { seq: Seq(delete.seq) },
            pb::content::Kind::React(react) => {
                Self::React { seq: Seq(react.seq), emoji: react.emoji, remove: react.remove }
            }
            pb::content::Kind::Join(pb::Join {}) => Self::Join,
            pb::content::Kind::Leave(leave) => Self::Leave { reason: leave.reason },
        }
    }
}
