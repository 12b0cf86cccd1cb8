//! What a message says: the payload behind the routing header, and its kind.
//!
//! Everything that a program needs to know of a kind without showing it in its own way is a method of [`Kind`]: how it
//! reads as a line or as fields, what text it has, which message it changes.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;

use crate::{
    id::{ClientSeq, Seq},
    pb::message as pb,
};

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
    /// The author vouches for earlier messages.
    Attest,
    /// An earlier message of anybody hidden.
    Moderate,
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
            Self::Attest => 8,
            Self::Moderate => 9,
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
            8 => Self::Attest,
            9 => Self::Moderate,
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
    /// The author vouches for earlier messages of the same client; see [`AttestDigest`](crate::authorship::AttestDigest).
    Attest {
        /// The first of them.
        first: ClientSeq,
        /// How many follow one another.
        count: u32,
        /// Their digest.
        digest: Bytes,
    },
    /// A message of anybody that the group's owner, an admin or a moderator hides. The relay logs it from them alone.
    Moderate {
        /// The message that this is about.
        seq: Seq,
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
            Kind::Attest { first, count, digest } => pb::content::Kind::Attest(pb::Attest {
                first_client_seq: first.0,
                count: *count,
                digest: digest.clone(),
            }),
            Kind::Moderate { seq } => pb::content::Kind::Moderate(pb::Moderate { seq: seq.0 }),
            Kind::Unknown { content_type, payload } => return (*content_type, payload.clone()),
        };
        let content = pb::Content { author_name: self.author_name.clone(), kind: Some(kind) };
        (self.kind.content_type(), content.encode_to_vec().into())
    }
}

/// How a message reads on one line of plain text. Both are others' words: whoever shows them makes them harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainLine<'a> {
    /// The author says this: `NAME: text`. It is UTF-8 unless it came from a bare socket.
    Says(Cow<'a, [u8]>),
    /// The author does this: `* NAME took back #41`.
    Does(String),
}

/// The value of a field of a kind, as JSON and other forms of text have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FieldValue<'a> {
    /// A seq, or another number.
    Number(u64),
    /// A text.
    Text(&'a str),
    /// A text that came as bytes; UTF-8 unless it came from a bare socket.
    Body(&'a [u8]),
    /// Bytes that are no text.
    Bytes(&'a [u8]),
    /// Yes or no.
    Flag(bool),
}

impl Kind {
    /// Returns how it reads on one line, behind the name of its author.
    #[must_use]
    pub fn line(&self) -> PlainLine<'_> {
        let says = |note: String, body: &[u8]| PlainLine::Says([note.as_bytes(), body].concat().into());
        match self {
            Self::Text(body) => PlainLine::Says(Cow::Borrowed(body)),
            Self::Reply { to, body } => says(format!("(re #{to}) "), body),
            Self::Edit { seq, body } => says(format!("(edit #{seq}) "), body),
            Self::Delete { seq } => PlainLine::Does(format!("took back #{seq}")),
            Self::React { seq, emoji, remove } => {
                PlainLine::Does(format!("{}{emoji} #{seq}", if *remove { '-' } else { '+' }))
            }
            Self::Join => PlainLine::Does("joined".to_owned()),
            Self::Leave { reason } if reason.is_empty() => PlainLine::Does("left".to_owned()),
            Self::Leave { reason } => PlainLine::Does(format!("left ({reason})")),
            Self::Attest { count, .. } => PlainLine::Does(format!("signed {count} messages")),
            Self::Moderate { seq } => PlainLine::Does(format!("hid #{seq}")),
            Self::Unknown { content_type, payload } => {
                let (kind, len) = (content_type.to_byte(), payload.len());
                PlainLine::Does(format!("sent a message of unknown kind {kind}, {len} bytes"))
            }
        }
    }

    /// Returns its name and its fields, in the order of the schema. `to` is the message that it is about.
    #[must_use]
    pub fn fields(&self) -> (&'static str, Vec<(&'static str, FieldValue<'_>)>) {
        let to = |seq: &Seq| ("to", FieldValue::Number(seq.0));
        match self {
            Self::Text(body) => ("text", vec![("text", FieldValue::Body(body))]),
            Self::Reply { to: seq, body } => ("reply", vec![to(seq), ("text", FieldValue::Body(body))]),
            Self::Edit { seq, body } => ("edit", vec![to(seq), ("text", FieldValue::Body(body))]),
            Self::Delete { seq } => ("delete", vec![to(seq)]),
            Self::React { seq, emoji, remove } => {
                ("react", vec![to(seq), ("emoji", FieldValue::Text(emoji)), ("remove", FieldValue::Flag(*remove))])
            }
            Self::Join => ("join", Vec::new()),
            Self::Leave { reason } => ("leave", vec![("reason", FieldValue::Text(reason))]),
            Self::Attest { first, count, digest } => {
                let (first, count) = (FieldValue::Number(first.0), FieldValue::Number((*count).into()));
                ("attest", vec![("first", first), ("count", count), ("digest", FieldValue::Bytes(digest))])
            }
            Self::Moderate { seq } => ("moderate", vec![to(seq)]),
            Self::Unknown { content_type, payload } => {
                let content_type = FieldValue::Number(content_type.to_byte().into());
                ("unknown", vec![("content_type", content_type), ("data", FieldValue::Bytes(payload))])
            }
        }
    }

    /// Returns the text that it says by itself, which is all that plain text, a search and a notice can carry; `None` for
    /// a kind that changes another message or says nothing.
    #[must_use]
    pub fn text_body(&self) -> Option<Bytes> {
        match self {
            Self::Text(body) | Self::Reply { body, .. } => Some(body.clone()),
            Self::Edit { .. }
            | Self::Delete { .. }
            | Self::React { .. }
            | Self::Join
            | Self::Leave { .. }
            | Self::Attest { .. }
            | Self::Moderate { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// Returns true for a message that programs read and people are not shown.
    #[must_use]
    pub const fn is_for_programs(&self) -> bool {
        matches!(self, Self::Attest { .. })
    }

    /// Returns the message that it answers, if it is an answer.
    #[must_use]
    pub const fn reply_to(&self) -> Option<Seq> {
        if let Self::Reply { to, .. } = self { Some(*to) } else { None }
    }

    /// Returns the earlier message that it changes; `None` for a message of its own.
    #[must_use]
    pub const fn target(&self) -> Option<Seq> {
        match self {
            Self::Edit { seq, .. } | Self::Delete { seq } | Self::React { seq, .. } | Self::Moderate { seq } => {
                Some(*seq)
            }
            Self::Text(_)
            | Self::Reply { .. }
            | Self::Join
            | Self::Leave { .. }
            | Self::Attest { .. }
            | Self::Unknown { .. } => None,
        }
    }

    /// Returns true for a change that readers honour only from the device of its target's author.
    #[must_use]
    pub const fn is_for_the_author_alone(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Delete { .. })
    }

    /// Returns how many bytes its texts have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(body) | Self::Reply { body, .. } | Self::Edit { body, .. } => body.len(),
            Self::React { emoji: text, .. } | Self::Leave { reason: text } => text.len(),
            Self::Delete { .. } | Self::Moderate { .. } | Self::Join | Self::Attest { .. } => 0,
            Self::Unknown { payload, .. } => payload.len(),
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
            Self::Attest { .. } => ContentType::Attest,
            Self::Moderate { .. } => ContentType::Moderate,
            Self::Unknown { content_type, .. } => *content_type,
        }
    }
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Body(bytes) | Self::Bytes(bytes) => String::from_utf8_lossy(bytes).fmt(f),
            Self::Flag(flag) => flag.fmt(f),
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
            pb::content::Kind::Moderate(moderate) => Self::Moderate { seq: Seq(moderate.seq) },
            pb::content::Kind::Leave(leave) => Self::Leave { reason: leave.reason },
            pb::content::Kind::Attest(attest) => {
                Self::Attest { first: ClientSeq(attest.first_client_seq), count: attest.count, digest: attest.digest }
            }
        }
    }
}
