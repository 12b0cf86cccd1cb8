//! Writes messages for the text port: `NAME: text` and a newline, with nothing in it that a terminal would execute.

use bytes::{BufMut as _, Bytes, BytesMut};
use gaung_proto::{
    ClientId, Content, PlainLine, Seq,
    block::{Author, Message},
    foreign_text::{CharClass, classify, is_all_visible, without_invisible},
    run::Run,
};

/// Returns the lines of a run's messages from `from` on; empty if they have none.
///
/// `prefix` begins every line; messages of `skip` are left out.
pub(crate) fn text_lines(run: &Run, from: Seq, prefix: &str, skip: Option<ClientId>) -> Bytes {
    let mut out = BytesMut::new();
    for message in run.messages() {
        if message.seq >= from && Some(message.author.client) != skip {
            write_message(&mut out, prefix, &message);
        }
    }
    out.freeze()
}

/// Returns true if a message of the run is by `client`.
pub(crate) fn has_author(run: &Run, client: ClientId) -> bool {
    run.block().authors().any(|author| author.client == client)
}

/// Appends `text` with control and invisible characters made harmless: line breaks and tabs become spaces, the others
/// U+FFFD. Bytes that are not UTF-8 stay, for terminals of other encodings, except C1 controls.
pub(crate) fn write_harmless(out: &mut BytesMut, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        write_harmless_str(out, chunk.valid());
        for &byte in chunk.invalid() {
            out.put_u8(if byte < 0xa0 { b'?' } else { byte });
        }
    }
}

fn write_harmless_str(out: &mut BytesMut, text: &str) {
    if is_all_visible(text) {
        out.put_slice(text.as_bytes());
        return;
    }
    for (c, class) in classify(text) {
        match class {
            CharClass::Visible => out.put_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            CharClass::Tab | CharClass::LineBreak => out.put_u8(b' '),
            CharClass::Control | CharClass::Invisible => out.put_slice("\u{fffd}".as_bytes()),
        }
    }
}

fn write_message(out: &mut BytesMut, prefix: &str, message: &Message) {
    let content = Content::decode(message.content_type, &message.payload);
    if content.kind.is_for_programs() {
        return;
    }
    let name = shown_name(&content.author_name, &message.author);
    out.put_slice(prefix.as_bytes());
    let (mark, joint, words) = match content.kind.line() {
        PlainLine::Says(text) => ("", ": ", text),
        PlainLine::Does(deed) => ("* ", " ", deed.into_bytes().into()),
    };
    out.put_slice(mark.as_bytes());
    write_harmless(out, name.as_bytes());
    out.put_slice(joint.as_bytes());
    write_harmless(out, &words);
    out.put_u8(b'\n');
}

/// Returns the author's name, or one made of the client id if it has none.
fn shown_name(given: &str, author: &Author) -> String {
    if given.is_empty() {
        let [a, b, c, d, ..] = author.client.0;
        format!("client-{a:02x}{b:02x}{c:02x}{d:02x}")
    } else {
        without_invisible(given).chars().take(64).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use gaung_proto::{
        ClientSeq, DeviceId, Epoch, GroupId, Kind, LogId,
        block::{BlockBuilder, MessageRef, SentAt},
        run::RunHeader,
    };

    use super::*;

    #[test]
    fn each_message_is_one_line() {
        let run = run(&[
            (1, Content::text("Siti", "halo\ndunia")),
            (2, Content::text("", "anon")),
            (1, Content { author_name: "Siti".into(), kind: Kind::Leave { reason: String::new() } }),
        ]);
        let lines = |from, skip| String::from_utf8(text_lines(&run, Seq(from), "", skip).to_vec()).unwrap();
        assert_eq!(lines(1, None), "Siti: halo dunia\nclient-02020202: anon\n* Siti left\n");
        assert_eq!(lines(1, Some(ClientId([1; 16]))), "client-02020202: anon\n");
        assert_eq!(shown_name("Siti\u{200d}\u{fe0f}", &run.messages().next().unwrap().author), "Siti");
        assert_eq!(lines(3, None), "* Siti left\n");
        assert_eq!(lines(3, Some(ClientId([1; 16]))), "");
        assert!(has_author(&run, ClientId([2; 16])) && !has_author(&run, ClientId([3; 16])));
    }

    #[test]
    fn nothing_reaches_a_terminal_as_a_command() {
        let mut out = BytesMut::new();
        write_harmless(&mut out, b"a\x1b[2Jb\tc\x07\xc2\x9bd \xe2\x80\xaee \x9b1m \xe9 \xc3\xa9 \xf0\x9f\x99\x82\x7f");
        let expected = "a\u{fffd}[2Jb c\u{fffd}\u{fffd}d \u{fffd}e ?1m ".as_bytes();
        assert_eq!(&out[..expected.len()], expected);
        assert_eq!(&out[expected.len()..], [b"\xe9 ".as_slice(), "é 🙂\u{fffd}".as_bytes()].concat());
    }

    #[test]
    fn every_vector_of_foreign_text_is_written_as_it_says() {
        let vectors = include_str!("../../../proto/gaung-proto/tests/foreign_text.json");
        let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
        for vector in &vectors {
            let mut out = BytesMut::new();
            write_harmless(&mut out, vector["text"].as_str().unwrap().as_bytes());
            assert_eq!(std::str::from_utf8(&out).unwrap(), vector["text_port"].as_str().unwrap(), "{}", vector["what"]);
        }
    }

    fn run(messages: &[(u8, Content)]) -> Run {
        let mut block = BlockBuilder::new();
        for (i, (client, content)) in messages.iter().enumerate() {
            let (content_type, payload) = content.encode();
            block.push(&MessageRef {
                author: Author { device: DeviceId::NONE, client: ClientId([*client; 16]) },
                client_seq: ClientSeq(i as u64 + 1),
                content_type,
                sent_at: SentAt(7),
                payload: &payload,
            });
        }
        let header = RunHeader { group: GroupId([2; 16]), log: LogId(3), epoch: Epoch(1), base_seq: Seq(1) };
        Run::encode(header, &block)
    }
}
