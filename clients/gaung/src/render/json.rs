//! Writes a message as one JSON object on a line, whose shape scripts depend on.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use gaung_proto::{ContentType, FieldValue, Kind, Seq};
use serde::{Serialize, Serializer};

use super::{line::ReceivedMessage, time::rfc3339_us};

/// The fields, in the order in which they are written. The first eight are always there.
#[derive(Debug, Default, Serialize)]
struct Object<'a> {
    group: &'a str,
    group_id: Option<String>,
    seq: Option<u64>,
    author: &'a str,
    text: Option<&'a str>,
    lane: String,
    sent_at: Option<String>,
    author_state: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hidden: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(flatten, serialize_with = "in_order")]
    fields: Vec<(&'static str, FieldValue<'a>)>,
}

/// Returns a message as one JSON object, without a newline.
///
/// Text that is not UTF-8 has `text` null and `data` in base64. Kinds other than plain text add `kind` and their
/// fields, as [`Kind::fields`] names them. `seq` is null where a text group's
/// datagram came by multicast, `sent_at` where nobody noted a time, `author_state` where no signature can be verified.
///
/// A message that a moderator has hidden has `hidden` true, and none of its texts.
///
/// `author_state`: what is known about the author, by its name for scripts.
pub(crate) fn message(received: &ReceivedMessage, author_state: Option<&'static str>) -> String {
    let message = &received.message;
    let mut object = Object {
        group: &received.group,
        group_id: received.group_id.map(|id| id.to_string()),
        seq: known(message.seq),
        author: &received.content.author_name,
        lane: received.lane.to_string(),
        sent_at: (message.sent_at.0 != 0).then(|| rfc3339_us(message.sent_at)),
        author_state,
        ..Object::default()
    };
    object.set_kind(&received.content.kind);
    if received.is_hidden {
        object.hide_words();
    }
    serde_json::to_string(&object).expect("strings and numbers are always JSON")
}

fn known(seq: Seq) -> Option<u64> {
    (seq != Seq::ZERO).then_some(seq.0)
}

fn in_order<S: Serializer>(fields: &[(&'static str, FieldValue<'_>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
}

impl<'a> Object<'a> {
    fn set_kind(&mut self, kind: &'a Kind) {
        let (name, fields) = kind.fields();
        self.kind = Some(name).filter(|_| kind.content_type() != ContentType::Text);
        for (name, value) in fields {
            if let FieldValue::Body(body) = value {
                match std::str::from_utf8(body) {
                    Ok(text) => self.text = Some(text),
                    Err(_) => self.data = Some(BASE64_STANDARD.encode(body)),
                }
            } else if let FieldValue::Bytes(bytes) = value {
                self.data = Some(BASE64_STANDARD.encode(bytes));
            } else {
                self.fields.push((name, value));
            }
        }
    }

    fn hide_words(&mut self) {
        (self.hidden, self.text, self.data) = (true, None, None);
        self.fields.retain(|(_, value)| matches!(value, FieldValue::Number(_) | FieldValue::Flag(_)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::render::line::tests::received;

    #[test]
    fn plain_text_has_exactly_eight_fields() {
        let line = message(
            &received("Lina", Kind::Text(Bytes::from_static("halo \"semua\"\n😀".as_bytes()))),
            Some("unsigned"),
        );
        let expected = concat!(
            r#"{"group":"lobby","group_id":"01010101-0101-0101-0101-010101010101","seq":12,"author":"Lina","#,
            r#""text":"halo \"semua\"\n😀","lane":"multicast","sent_at":"2026-03-01T12:00:00.000250Z","#,
            r#""author_state":"unsigned"}"#
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn a_body_that_is_not_utf8_is_base64() {
        let line = message(&received("L", Kind::Text(Bytes::from_static(b"\xff\x00"))), Some("unsigned"));
        assert!(line.contains(r#""text":null"#) && line.contains(r#""data":"/wA=""#), "{line}");
        assert!(!line.contains("kind"), "{line}");
    }

    #[test]
    fn other_kinds_add_their_fields() {
        let tail = |kind| {
            let line = message(&received("L", kind), Some("unsigned"));
            line.split_once("\"unsigned\"").map(|(_, tail)| tail.to_owned()).unwrap_or_default()
        };
        assert_eq!(tail(Kind::Reply { to: Seq(3), body: Bytes::new() }), r#","kind":"reply","to":3}"#);
        assert_eq!(tail(Kind::Delete { seq: Seq(3) }), r#","kind":"delete","to":3}"#);
        let react = Kind::React { seq: Seq(3), emoji: "👍".to_owned(), remove: false };
        assert_eq!(tail(react), r#","kind":"react","to":3,"emoji":"👍","remove":false}"#);
        assert_eq!(tail(Kind::Join), r#","kind":"join"}"#);
        assert_eq!(tail(Kind::Leave { reason: "x".to_owned() }), r#","kind":"leave","reason":"x"}"#);
        let (content_type, payload) = (ContentType::Unknown(99), Bytes::from_static(b"abc"));
        let unknown = Kind::Unknown { content_type, payload };
        assert_eq!(tail(unknown), r#","data":"YWJj","kind":"unknown","content_type":99}"#);
    }

    #[test]
    fn hidden_words_are_left_out() {
        let hidden = |kind| {
            let line = message(&ReceivedMessage { is_hidden: true, ..received("L", kind) }, Some("unsigned"));
            line.split_once("\"author\"").map(|(_, tail)| tail.to_owned()).unwrap_or_default()
        };
        let shown = r#":"L","text":null,"lane":"multicast","sent_at":"2026-03-01T12:00:00.000250Z","author_state":"unsigned","hidden":true"#;
        assert_eq!(hidden(Kind::Text(Bytes::from_static(b"rahasia"))), format!("{shown}}}"));
        assert_eq!(hidden(Kind::Text(Bytes::from_static(b"\xff"))), format!("{shown}}}"));
        let reply = Kind::Reply { to: Seq(3), body: Bytes::from_static(b"rahasia") };
        assert_eq!(hidden(reply), format!(r#"{shown},"kind":"reply","to":3}}"#));
        assert_eq!(hidden(Kind::Leave { reason: "rahasia".to_owned() }), format!(r#"{shown},"kind":"leave"}}"#));
    }

    #[test]
    fn unknown_fields_are_null() {
        let mut unknown = received("L", Kind::Text(Bytes::from_static(b"x")));
        unknown.group_id = None;
        unknown.message.seq = Seq::ZERO;
        unknown.message.sent_at = gaung_proto::block::SentAt(0);
        let line = message(&unknown, None);
        for field in [r#""group_id":null"#, r#""seq":null"#, r#""sent_at":null"#, r#""author_state":null"#] {
            assert!(line.contains(field), "{line}");
        }
    }
}
