//! Writes a message as one line for people.

use gaung_client::{AuthorState, Lane};
use gaung_proto::{Content, DeviceId, GroupId, LogId, PlainLine, Seq, authorship::Authorship, block::Message};
use gaung_terminal::{
    names::author_name,
    sanitise::{one_line, one_line_bytes},
    style::Style,
};

/// A message with its group and lane.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedMessage {
    /// The group's name, or its address where no registry is used.
    pub(crate) group: String,
    /// The group's id, if known.
    pub(crate) group_id: Option<GroupId>,
    /// The message; its seq is 0 where it is unknown.
    pub(crate) message: Message,
    /// Its decoded payload.
    pub(crate) content: Content,
    /// The lane by which it came.
    pub(crate) lane: Lane,
    /// The log that it is in; `None` where it is unknown, so that signatures cannot be verified.
    pub(crate) log: Option<LogId>,
    /// Whether a moderator has hidden its words.
    pub(crate) is_hidden: bool,
}

impl ReceivedMessage {
    /// Returns `NAME: text` or `* NAME does`, as the text port of the hub has it.
    pub(crate) fn plain(&self) -> String {
        self.plain_with("")
    }

    /// Returns the same with a mark behind the name.
    pub(crate) fn plain_with(&self, mark: &str) -> String {
        self.line_of(&format!("{}{mark}", self.author()))
    }

    /// Returns the line behind its lane, `[lane] NAME: text`, or lane and group, with the name in its colour. `mark`: what
    /// is known about the author.
    pub(crate) fn styled(&self, style: Style, with_group: bool, mark: &str) -> String {
        let badge =
            if with_group { format!("[{} {}]", self.lane, one_line(&self.group)) } else { format!("[{}]", self.lane) };
        let name = style.name(&self.author(), self.identity().as_bytes());
        format!("{} {}", style.dim(&badge), self.line_of(&format!("{name}{mark}")))
    }

    /// Verifies the author's own signature; `None` where group or log are unknown.
    pub(crate) fn author_state(&self) -> Option<AuthorState> {
        Some(match Authorship::of_message(self.group_id?, self.log?, &self.message) {
            Authorship::Signed { public_key, .. } => AuthorState::Signed(DeviceId::of_public_key(&public_key)),
            Authorship::Unsigned => AuthorState::Unsigned,
            Authorship::Broken => AuthorState::Broken,
        })
    }

    /// Returns the author's device: as the relay knows it, else as the signature proves it.
    pub(crate) fn device(&self) -> DeviceId {
        match self.message.author.device {
            DeviceId::NONE => match self.author_state() {
                Some(AuthorState::Signed(device)) => device,
                Some(AuthorState::Pending | AuthorState::Unsigned | AuthorState::Broken) | None => DeviceId::NONE,
            },
            device => device,
        }
    }

    /// Returns the author's name without control characters.
    pub(crate) fn author(&self) -> String {
        author_name(&self.content.author_name, self.message.author.device)
    }

    /// Returns what the colour of the name is computed from: the device, or the name if there is none.
    fn identity(&self) -> Identity<'_> {
        match self.device() {
            DeviceId::NONE => Identity::Name(&self.content.author_name),
            device => Identity::Device(device),
        }
    }

    /// Returns its content on one line behind `name`, without control characters.
    fn line_of(&self, name: &str) -> String {
        if self.is_hidden {
            return format!("* {name} (hidden by a moderator)");
        }
        match self.content.kind.line() {
            PlainLine::Says(text) => format!("{name}: {}", one_line_bytes(&text)),
            PlainLine::Does(deed) => format!("* {name} {}", one_line(&deed)),
        }
    }
}

/// Returns a seq, or `?` if it is unknown.
pub(crate) fn seq(seq: Seq) -> String {
    if seq == Seq::ZERO { "?".to_owned() } else { seq.to_string() }
}

enum Identity<'a> {
    Device(DeviceId),
    Name(&'a str),
}

impl Identity<'_> {
    const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Device(device) => device.as_bytes(),
            Self::Name(name) => name.as_bytes(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use gaung_proto::{
        ClientId, ClientSeq, Kind,
        block::{Author, SentAt},
    };

    use super::*;

    pub(crate) fn received(name: &str, kind: Kind) -> ReceivedMessage {
        let content = Content { author_name: name.to_owned(), kind };
        let (content_type, payload) = content.encode();
        let author = Author { device: DeviceId([0xab; 16]), client: ClientId([2; 16]) };
        let sent_at = SentAt(1_772_366_400_000_250);
        let message = Message { seq: Seq(12), author, client_seq: ClientSeq(1), content_type, sent_at, payload };
        ReceivedMessage {
            group: "lobby".to_owned(),
            group_id: Some(GroupId([1; 16])),
            message,
            content,
            lane: Lane::Multicast,
            log: Some(LogId(7)),
            is_hidden: false,
        }
    }

    #[test]
    fn hidden_words_are_not_shown() {
        let mut hidden = received("Lina", Kind::Text(Bytes::from_static(b"rahasia")));
        hidden.is_hidden = true;
        assert_eq!(hidden.plain_with("~"), "* Lina~ (hidden by a moderator)");
    }

    #[test]
    fn plain_lines_are_as_on_the_text_port_without_control_characters() {
        let text = |bytes: &'static [u8]| Kind::Text(Bytes::from_static(bytes));
        assert_eq!(received("Lina", text(b"halo")).plain(), "Lina: halo");
        assert_eq!(received("L\x1b[1m", text(b"\x07a\nb\xff")).plain(), "L␛[1m: ␇a␊b\u{fffd}");
        assert_eq!(received("", text(b"x")).plain(), "abababab: x");
        let mut nobody = received("", text(b"x"));
        nobody.message.author.device = DeviceId::NONE;
        assert_eq!(nobody.plain(), "?: x");
    }

    #[test]
    fn styled_lines_have_a_lane_badge() {
        let line = received("Lina", Kind::Text(Bytes::from_static(b"halo")));
        assert_eq!(line.styled(Style::of(false), false, ""), "[multicast] Lina: halo");
        assert_eq!(line.styled(Style::of(false), true, "~"), "[multicast lobby] Lina~: halo");
        assert!(line.styled(Style::of(true), false, "").contains('\x1b'));
    }

    #[test]
    fn what_an_author_does_is_marked() {
        let plain = |kind| received("L", kind).plain();
        assert_eq!(plain(Kind::Reply { to: Seq(3), body: Bytes::from_static(b"ya") }), "L: (re #3) ya");
        assert_eq!(plain(Kind::Delete { seq: Seq(3) }), "* L took back #3");
        assert_eq!(plain(Kind::Leave { reason: "pulang\n".to_owned() }), "* L left (pulang␊)");
    }
}
