//! The commands that publish a message of another kind than text: how they are typed, and what they make of the group.

use gaung_proto::{Kind, Seq};

use super::command::{Args, CommandError};
use crate::{
    model::{
        composer::ComposeIntent,
        context::ChatContext,
        room::Room,
        timeline::{MessageBody, MessageEntry},
    },
    ui_text::UiText,
};

/// A command that publishes a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MessageCommand {
    /// Reply to a message, or to the last one of somebody else; without words, the next line is the reply.
    Reply(Option<Seq>, String),
    /// Edit an own message, or the last one; without words, those of the message are put into the line.
    Edit(Option<Seq>, String),
    /// Delete an own message, or the last one.
    Delete(Option<Seq>),
    /// Hide a message of anybody; the relay refuses it from whoever has no role.
    Redact(Seq),
    /// React to a message, or to the last one of somebody else, or remove a reaction.
    React {
        /// The message.
        to: Option<Seq>,
        /// The emoji.
        emoji: String,
        /// Whether the reaction is removed.
        remove: bool,
    },
}

impl MessageCommand {
    /// The names of these commands.
    pub(super) const NAMES: [&str; 5] = ["delete", "edit", "react", "redact", "reply"];

    /// Parses a command; `None` if none of these has that name.
    pub(super) fn parse(name: &str, args: Args<'_>) -> Option<Result<Self, CommandError>> {
        Some(match name {
            "reply" | "r" => args.message().map(|(seq, words)| Self::Reply(seq, words)),
            "edit" | "e" => args.message().map(|(seq, words)| Self::Edit(seq, words)),
            "delete" | "del" => args.only_message(UiText::UsageDelete).map(Self::Delete),
            "redact" => args
                .only_message(UiText::UsageRedact)
                .and_then(|seq| seq.map(Self::Redact).ok_or_else(|| args.usage(UiText::UsageRedact))),
            "react" => Self::parse_react(args),
            _ => return None,
        })
    }

    /// Executes it in the group in view.
    pub(super) fn execute(self, room: &mut Room, context: &mut ChatContext) {
        let own = context.me.device;
        match self {
            Self::Reply(to, words) => {
                let last = || room.timeline.newest().find(|entry| entry.device != own && entry.text().is_some());
                let Some(seq) = to.or_else(|| last().map(|entry| entry.seq)) else {
                    return context.warn(UiText::NothingToReply, &[]);
                };
                room.composer.intent = ComposeIntent::Reply(seq);
                room.selected = None;
                if !words.is_empty() {
                    room.say(&words, context);
                }
            }
            Self::Edit(seq, words) => {
                let Some(entry) = own_message(room, seq, context) else { return context.warn(UiText::NotYours, &[]) };
                let (seq, former) = (entry.seq, entry.text().unwrap_or_default().to_owned());
                room.selected = None;
                room.composer.intent = ComposeIntent::Edit(seq);
                if words.is_empty() {
                    room.composer.editor.set(&former);
                } else {
                    room.say(&words, context);
                }
            }
            Self::Delete(seq) => {
                let Some(entry) = own_message(room, seq, context) else { return context.warn(UiText::NotYours, &[]) };
                let seq = entry.seq;
                room.selected = None;
                room.publish(Kind::Delete { seq }, context);
            }
            Self::Redact(seq) => {
                room.selected = None;
                room.publish(Kind::Moderate { seq }, context);
            }
            Self::React { to, emoji, remove } => {
                let wanted = |entry: &&MessageEntry| {
                    !matches!(entry.body, MessageBody::Deleted | MessageBody::Hidden) && (remove || entry.device != own)
                };
                let last = || room.timeline.newest().find(wanted).map(|entry| entry.seq);
                match to.or_else(last) {
                    Some(seq) => drop(room.publish(Kind::React { seq, emoji, remove }, context)),
                    None => context.warn(UiText::NothingToReply, &[]),
                }
            }
        }
    }

    fn parse_react(args: Args<'_>) -> Result<Self, CommandError> {
        let (to, words) = args.message()?;
        let (remove, emoji) = words.strip_prefix('-').map_or((false, &*words), |rest| (true, rest));
        let emoji = emoji_of(emoji.trim());
        match emoji.chars().count() {
            1..=16 if !emoji.contains(char::is_whitespace) => Ok(Self::React { to, emoji: emoji.to_owned(), remove }),
            _ => Err(args.usage(UiText::UsageReact)),
        }
    }
}

/// Returns a message of this device that still has words: the one named, or the last one.
fn own_message<'a>(room: &'a Room, seq: Option<Seq>, context: &ChatContext) -> Option<&'a MessageEntry> {
    room.timeline.newest().find(|entry| {
        entry.device == context.me.device && entry.text().is_some() && seq.is_none_or(|seq| entry.seq == seq)
    })
}

/// Returns the emoji of a name such as `heart`; another text is returned as it is.
fn emoji_of(name: &str) -> &str {
    match name.trim_matches(':') {
        "+1" | "thumbsup" => "👍",
        "-1" | "thumbsdown" => "👎",
        "heart" | "<3" => "❤",
        "laugh" | "joy" => "😂",
        "smile" => "🙂",
        "sad" => "🙁",
        "wow" => "😮",
        "party" | "tada" => "🎉",
        "fire" => "🔥",
        "eyes" => "👀",
        "ok" => "👌",
        "check" | "done" => "✅",
        "pray" | "thanks" => "🙏",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::command::{Command, TypedLine},
        *,
    };
    use crate::ui_text::Lang;

    fn of(line: &str) -> Result<MessageCommand, CommandError> {
        TypedLine::parse(line, Lang::En).map(|typed| match typed {
            TypedLine::Command(Command::Message(command)) => command,
            TypedLine::Command(_) | TypedLine::Words(_) => panic!("{line}"),
        })
    }

    #[test]
    fn a_message_is_named_by_its_number_or_is_the_last_one() {
        assert_eq!(of("/reply #12 ya betul"), Ok(MessageCommand::Reply(Some(Seq(12)), "ya betul".to_owned())));
        assert_eq!(of("/reply #ok ya"), Ok(MessageCommand::Reply(None, "#ok ya".to_owned())));
        assert_eq!(of("/edit"), Ok(MessageCommand::Edit(None, String::new())));
        assert_eq!(of("/delete #7"), Ok(MessageCommand::Delete(Some(Seq(7)))));
        assert_eq!(of("/redact #7"), Ok(MessageCommand::Redact(Seq(7))));
        assert!(of("/redact").is_err(), "it is never guessed");
        let react = |to, emoji: &str, remove| Ok(MessageCommand::React { to, emoji: emoji.to_owned(), remove });
        assert_eq!(of("/react 👍"), react(None, "👍", false));
        assert_eq!(of("/react #3 :heart:"), react(Some(Seq(3)), "❤", false));
        assert_eq!(of("/react -+1"), react(None, "👍", true));
    }
}
