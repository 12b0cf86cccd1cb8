//! Parses a line of the line chat: words for the group, or a command.

use bytes::Bytes;
use gaung_chat::{MODERATION_COMMANDS, parse_moderation};
use gaung_client::Moderation;
use gaung_proto::GroupName;

/// The text of `/help`.
pub(super) const HELP: &str = "\
/join GROUP   enter a group, or return to it; what you type goes there
/members      who is in the group
/kick NAME, /ban NAME, /unban NAME, /mute NAME [10m], /unmute NAME, /role NAME moderator
              decide about somebody, if you have a role in the group
/quit         leave
//words       words that begin with a slash";

/// A parsed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedLine {
    /// An empty line.
    Nothing,
    /// Words for the current group.
    Words(Bytes),
    /// `/join`.
    Join(GroupName),
    /// `/members`.
    Members,
    /// A decision about the device that the name stands for.
    Moderate(String, Moderation),
    /// `/help`.
    Help,
    /// `/quit`.
    Quit,
    /// A command that does not exist or has wrong arguments; the text says what is right.
    Invalid(String),
}

impl TypedLine {
    /// Parses a line; one that is not UTF-8 is words.
    pub(super) fn parse(line: Bytes) -> Self {
        if line.trim_ascii().is_empty() {
            return Self::Nothing;
        }
        if line.first() != Some(&b'/') {
            return Self::Words(line);
        }
        if line.starts_with(b"//") {
            return Self::Words(line.slice(1..));
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(moderation) = moderation(text.trim()) {
            return moderation;
        }
        let mut words = text.split_whitespace();
        match (words.next().unwrap_or("/"), words.next(), words.next()) {
            ("/join", Some(name), None) => match name.parse() {
                Ok(name) => Self::Join(name),
                Err(error) => Self::Invalid(format!("no group can be called that: {error}")),
            },
            ("/join", _, _) => Self::Invalid("which group? /join GROUP".to_owned()),
            ("/members", None, None) => Self::Members,
            ("/help", _, _) => Self::Help,
            ("/quit" | "/exit", _, _) => Self::Quit,
            (other, _, _) => Self::Invalid(format!(
                "there is no {}; /help lists what there is",
                gaung_terminal::sanitise::one_line(other)
            )),
        }
    }
}

/// Parses a command that decides about somebody; `None` if it is another one.
fn moderation(text: &str) -> Option<TypedLine> {
    let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let command = command.strip_prefix('/').filter(|name| MODERATION_COMMANDS.contains(name))?;
    Some(match parse_moderation(command, rest) {
        Some((who, what)) => TypedLine::Moderate(who, what),
        None if command == "role" => TypedLine::Invalid("/role NAME admin, moderator or member".to_owned()),
        None => TypedLine::Invalid(format!("whom? /{command} NAME")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_commands_too() {
        let of = |line: &'static str| TypedLine::parse(Bytes::from_static(line.as_bytes()));
        assert_eq!(of("/ban Budi Santoso"), TypedLine::Moderate("Budi Santoso".to_owned(), Moderation::Ban));
        for wrong in ["/kick", "/role Budi"] {
            assert!(matches!(of(wrong), TypedLine::Invalid(_)), "{wrong}");
        }
    }

    #[test]
    fn a_line_is_words_unless_it_begins_with_one_slash() {
        let of = |line: &'static str| TypedLine::parse(Bytes::from_static(line.as_bytes()));
        assert_eq!(of("halo /quit"), TypedLine::Words("halo /quit".into()));
        assert_eq!(of("  "), TypedLine::Nothing);
        assert_eq!(of("//join x"), TypedLine::Words("/join x".into()));
        assert_eq!(of("/quit"), TypedLine::Quit);
        assert!(matches!(of("/join lobby"), TypedLine::Join(name) if name.as_str() == "lobby"));
        for wrong in ["/join", "/join a b", "/join a/b", "/dance", "/", "/members x"] {
            assert!(matches!(of(wrong), TypedLine::Invalid(_)), "{wrong}");
        }
        assert_eq!(TypedLine::parse(Bytes::from_static(b"\xff")), TypedLine::Words(Bytes::from_static(b"\xff")));
    }
}
