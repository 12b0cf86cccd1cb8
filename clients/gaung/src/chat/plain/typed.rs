//! What a person typed: words for the group, or a command.

use bytes::Bytes;
use gaung_proto::GroupName;

/// Shown by `/help`.
pub(super) const HELP: &str = "\
/join GROUP   enter a group, or return to it; what you type goes there
/members      who is in the group
/quit         leave
//words       words that begin with a slash";

/// One line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Typed {
    /// An empty line.
    Nothing,
    /// Words for the current group.
    Say(Bytes),
    /// `/join`.
    Join(GroupName),
    /// `/members`.
    Members,
    /// `/help`.
    Help,
    /// `/quit`.
    Quit,
    /// A command that does not exist or lacks something; says what is right.
    Wrong(String),
}

impl Typed {
    /// Reads one line; bytes that are not UTF-8 are words.
    pub(super) fn of(line: Bytes) -> Self {
        if line.trim_ascii().is_empty() {
            return Self::Nothing;
        }
        if line.first() != Some(&b'/') {
            return Self::Say(line);
        }
        if line.starts_with(b"//") {
            return Self::Say(line.slice(1..));
        }
        let text = String::from_utf8_lossy(&line);
        let mut words = text.split_whitespace();
        match (words.next().unwrap_or("/"), words.next(), words.next()) {
            ("/join", Some(name), None) => match name.parse() {
                Ok(name) => Self::Join(name),
                Err(error) => Self::Wrong(format!("no group can be called that: {error}")),
            },
            ("/join", _, _) => Self::Wrong("which group? /join GROUP".to_owned()),
            ("/members", None, None) => Self::Members,
            ("/help", _, _) => Self::Help,
            ("/quit" | "/exit", _, _) => Self::Quit,
            (other, _, _) => Self::Wrong(format!(
                "there is no {}; /help lists what there is",
                gaung_terminal::sanitise::one_line(other)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_commands() {
        let of = |line: &'static str| Typed::of(Bytes::from_static(line.as_bytes()));
        assert_eq!(of("halo /quit"), Typed::Say("halo /quit".into()));
        assert_eq!(of("  "), Typed::Nothing);
        assert_eq!(of("//join x"), Typed::Say("/join x".into()));
        assert_eq!(of("/quit"), Typed::Quit);
        assert!(matches!(of("/join lobby"), Typed::Join(name) if name.as_str() == "lobby"));
        for wrong in ["/join", "/join a b", "/join a/b", "/dance", "/", "/members x"] {
            assert!(matches!(of(wrong), Typed::Wrong(_)), "{wrong}");
        }
        assert_eq!(Typed::of(Bytes::from_static(b"\xff")), Typed::Say(Bytes::from_static(b"\xff")));
    }
}
