//! Parses the line that a person enters: words, or a command that begins with a slash.

use std::time::Duration;

use gaung_client::{LaneChoice, Moderation};
use gaung_proto::{DisplayName, GroupName, Seq};

use super::message_command::MessageCommand;
use crate::{
    settings::{Desktop, Notify},
    typed_moderation::parse_moderation,
    ui_text::{Lang, UiText},
};

/// The names of the commands beside those of [`MessageCommand`].
const NAMES: [&str; 23] = [
    "ban", "create", "heard", "help", "history", "invite", "join", "kick", "lane", "leave", "me", "members", "mouse",
    "mute", "nick", "notify", "quit", "role", "search", "status", "unban", "unmute", "verify",
];

/// Returns the names of all commands, as Tab completes them, in alphabetical order.
pub(super) fn names() -> Vec<&'static str> {
    let mut names = [&NAMES[..], &MessageCommand::NAMES].concat();
    names.sort_unstable();
    names
}

/// A line as it was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TypedLine {
    /// Words for the group.
    Words(String),
    /// A command for the chat.
    Command(Command),
}

/// A command of the chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Show the keys and commands.
    Help,
    /// Enter a group, or turn to it if it is open.
    Join(GroupName),
    /// Enter a group by the code of an invite.
    Redeem(String),
    /// Leave a group, the one in view if none is named.
    Leave(Option<GroupName>),
    /// Create a group and enter it.
    Create {
        /// The group.
        group: GroupName,
        /// Whether it is entered by invite only.
        private: bool,
    },
    /// Create an invite to this group.
    Invite {
        /// How often it can be used.
        uses: Option<u32>,
        /// How long it is valid.
        expires: Option<Duration>,
    },
    /// List the members of this group.
    Members,
    /// Change the name that others see.
    Nick(DisplayName),
    /// Compare the key of somebody's device.
    Verify {
        /// The name as it is shown.
        name: String,
        /// Whether the person says that the digits were the same.
        is_confirmed: bool,
    },
    /// Decide about a device of this group, which takes a role.
    Moderate {
        /// The name or the first digits of the device, as they are shown.
        who: String,
        /// What is done to it.
        what: Moderation,
    },
    /// Publish a message of another kind than text.
    Message(MessageCommand),
    /// Search the whole log for words.
    Search(String),
    /// Go to a message, or to the oldest one.
    History(Option<Seq>),
    /// Show the receipt of a message, or of the last own one.
    Heard(Option<Seq>),
    /// Change the lane, or show it.
    Lane(Option<LaneChoice>),
    /// Show the state of the services.
    Status,
    /// Change the notifications, or show them.
    Notify(Option<NotifyChange>),
    /// Turn the mouse on or off.
    Mouse(bool),
    /// End the chat.
    Quit,
}

/// A change of the notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotifyChange {
    /// Which messages cause one.
    Of(Notify),
    /// Whether the bell rings.
    Bell(bool),
    /// How the desktop is notified.
    Desktop(Desktop),
}

/// An error text for people.
pub(super) type CommandError = String;

/// Returns whether the argument of a command is a group.
pub(super) fn takes_group(command: &str) -> bool {
    matches!(command, "/join" | "/leave")
}

impl TypedLine {
    /// Parses a line. Several lines are words, unless the first one is a command that takes words.
    pub(super) fn parse(line: &str, lang: Lang) -> Result<Self, CommandError> {
        if let Some(words) = line.strip_prefix("//") {
            return Ok(Self::Words(format!("/{words}")));
        }
        let Some(rest) = line.strip_prefix('/') else { return Ok(Self::Words(line.to_owned())) };
        let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let args = Args { lang, text: rest.trim() };
        // Pasted text that happens to begin with a slash is no command.
        if line.contains('\n') && !matches!(name, "me" | "reply" | "r" | "edit" | "e") {
            return Ok(Self::Words(line.to_owned()));
        }
        match name {
            // `/me` goes over the wire as it was typed, and every client shows it its own way.
            "me" if !args.text.is_empty() => Ok(Self::Words(format!("/me {}", args.text))),
            "me" => Err(args.usage(UiText::UsageMe)),
            name => Command::parse(name, args).map(Self::Command),
        }
    }
}

impl Command {
    fn parse(name: &str, args: Args<'_>) -> Result<Self, CommandError> {
        match name {
            "help" | "h" => Ok(Self::Help),
            "join" | "j" => args.join(),
            "leave" | "part" | "close" => args.optional_group().map(Self::Leave),
            "create" => args.create(),
            "invite" => args.invite(),
            "members" | "names" | "who" => Ok(Self::Members),
            "nick" | "name" => args.nick(),
            "search" | "find" if args.text.is_empty() => Err(args.usage(UiText::UsageSearch)),
            "search" | "find" => Ok(Self::Search(args.text.to_owned())),
            "history" => args.only_message(UiText::UsageHistory).map(Self::History),
            "heard" => args.only_message(UiText::UsageHeard).map(Self::Heard),
            "lane" => args.lane(),
            "status" => Ok(Self::Status),
            "notify" => args.notify(),
            "mouse" => args.on_or_off().map(Self::Mouse).ok_or_else(|| args.usage(UiText::UsageMouse)),
            "verify" => args.verify(),
            "kick" => args.moderate(name, UiText::UsageKick),
            "ban" => args.moderate(name, UiText::UsageBan),
            "unban" => args.moderate(name, UiText::UsageUnban),
            "mute" => args.moderate(name, UiText::UsageMute),
            "unmute" => args.moderate(name, UiText::UsageUnmute),
            "role" => args.moderate(name, UiText::UsageRole),
            "quit" | "exit" | "q" => Ok(Self::Quit),
            name => MessageCommand::parse(name, args).map_or_else(
                || {
                    let name = gaung_terminal::sanitise::one_line(name);
                    Err(args.lang.fill(UiText::NoSuchCommand, &[("name", &name)]))
                },
                |command| command.map(Self::Message),
            ),
        }
    }
}

/// The text after the name of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Args<'a> {
    lang: Lang,
    pub(super) text: &'a str,
}

impl Args<'_> {
    pub(super) fn usage(&self, word: UiText) -> CommandError {
        self.lang.text(word).to_owned()
    }

    fn group(&self, text: &str) -> Result<GroupName, CommandError> {
        let name = text.trim_start_matches('#');
        name.parse().map_err(|_| {
            let name = gaung_terminal::sanitise::one_line(name);
            self.lang.fill(UiText::NoGroupName, &[("name", &name)])
        })
    }

    fn join(&self) -> Result<Command, CommandError> {
        match self.text {
            "" => Err(self.usage(UiText::UsageJoin)),
            // An invite's code is 26 characters of Crockford's base 32, which few groups are called.
            code if code.len() == 26 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) => {
                Ok(Command::Redeem(code.to_owned()))
            }
            name => self.group(name).map(Command::Join),
        }
    }

    fn optional_group(&self) -> Result<Option<GroupName>, CommandError> {
        if self.text.is_empty() { Ok(None) } else { self.group(self.text).map(Some) }
    }

    fn create(&self) -> Result<Command, CommandError> {
        let mut words = self.text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(name), None, None) => Ok(Command::Create { group: self.group(name)?, private: false }),
            (Some(name), Some("private" | "pribadi"), None) => {
                Ok(Command::Create { group: self.group(name)?, private: true })
            }
            _ => Err(self.usage(UiText::UsageCreate)),
        }
    }

    fn invite(&self) -> Result<Command, CommandError> {
        let mut words = self.text.split_whitespace();
        let uses = match words.next() {
            None => None,
            Some(text) => Some(text.parse().ok().filter(|n| *n > 0).ok_or_else(|| self.usage(UiText::UsageInvite))?),
        };
        let expires = match words.next() {
            None => None,
            Some(text) => Some(service_kit::config::parse_duration(text).map_err(|_| self.usage(UiText::UsageInvite))?),
        };
        match words.next() {
            None => Ok(Command::Invite { uses, expires }),
            Some(_) => Err(self.usage(UiText::UsageInvite)),
        }
    }

    fn nick(&self) -> Result<Command, CommandError> {
        self.text.parse().map(Command::Nick).map_err(|_| self.usage(UiText::UsageNick))
    }

    /// Parses `NAME`, or `NAME yes` once the digits were compared.
    fn verify(&self) -> Result<Command, CommandError> {
        let (name, is_confirmed) = match self.text.rsplit_once(char::is_whitespace) {
            Some((name, "yes" | "ya")) => (name.trim(), true),
            Some(_) | None => (self.text, false),
        };
        let name = name.trim_start_matches('@').to_owned();
        if name.is_empty() { Err(self.usage(UiText::UsageVerify)) } else { Ok(Command::Verify { name, is_confirmed }) }
    }

    /// Parses whom a decision concerns; see [`parse_moderation`].
    fn moderate(&self, command: &str, usage: UiText) -> Result<Command, CommandError> {
        let (who, what) = parse_moderation(command, self.text).ok_or_else(|| self.usage(usage))?;
        Ok(Command::Moderate { who, what })
    }

    /// Parses `#12 words`, or words alone.
    pub(super) fn message(&self) -> Result<(Option<Seq>, String), CommandError> {
        let (first, rest) = self.text.split_once(char::is_whitespace).unwrap_or((self.text, ""));
        match first.strip_prefix('#') {
            Some(number) => match number.parse() {
                Ok(seq) => Ok((Some(Seq(seq)), rest.trim().to_owned())),
                Err(_) => Ok((None, self.text.to_owned())),
            },
            None => Ok((None, self.text.to_owned())),
        }
    }

    pub(super) fn only_message(&self, usage: UiText) -> Result<Option<Seq>, CommandError> {
        if self.text.is_empty() {
            return Ok(None);
        }
        match self.text.trim_start_matches('#').parse() {
            Ok(0) | Err(_) => Err(self.usage(usage)),
            Ok(seq) => Ok(Some(Seq(seq))),
        }
    }

    fn lane(&self) -> Result<Command, CommandError> {
        match self.text {
            "" => Ok(Command::Lane(None)),
            "auto" => Ok(Command::Lane(Some(LaneChoice::Auto))),
            "multicast" => Ok(Command::Lane(Some(LaneChoice::Multicast))),
            "tcp" => Ok(Command::Lane(Some(LaneChoice::Tcp))),
            _ => Err(self.usage(UiText::UsageLane)),
        }
    }

    fn notify(&self) -> Result<Command, CommandError> {
        let mut words = self.text.split_whitespace();
        let wrong = || self.usage(UiText::UsageNotify);
        let change = match (words.next(), words.next()) {
            (None, _) => return Ok(Command::Notify(None)),
            (Some("mentions" | "sebutan"), None) => NotifyChange::Of(Notify::Mentions),
            (Some("all" | "semua"), None) => NotifyChange::Of(Notify::All),
            (Some("off" | "mati"), None) => NotifyChange::Of(Notify::Off),
            (Some("bell" | "bel"), Some(on)) => NotifyChange::Bell(switch(on).ok_or_else(wrong)?),
            (Some("desktop"), Some("9")) => NotifyChange::Desktop(Desktop::Osc9),
            (Some("desktop"), Some("777")) => NotifyChange::Desktop(Desktop::Osc777),
            (Some("desktop"), Some(on)) => {
                let on = switch(on).ok_or_else(wrong)?;
                NotifyChange::Desktop(if on { Desktop::Auto } else { Desktop::Off })
            }
            (Some(_), _) => return Err(wrong()),
        };
        Ok(Command::Notify(Some(change)))
    }

    fn on_or_off(&self) -> Option<bool> {
        switch(self.text)
    }
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "on" | "hidup" => Some(true),
        "off" | "mati" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(line: &str) -> Result<TypedLine, CommandError> {
        TypedLine::parse(line, Lang::En)
    }

    fn of(line: &str) -> Result<Command, CommandError> {
        parse(line).map(|line| match line {
            TypedLine::Command(command) => command,
            TypedLine::Words(words) => panic!("no command: {words}"),
        })
    }

    #[test]
    fn every_listed_command_exists_and_is_in_the_help() {
        for name in names() {
            let unknown = Lang::En.fill(UiText::NoSuchCommand, &[("name", name)]);
            assert_ne!(parse(&format!("/{name}")).err(), Some(unknown), "{name}");
            for lang in [Lang::En, Lang::Id] {
                assert!(lang.text(UiText::Help).contains(&format!("/{name}")), "{name} in {lang:?}");
            }
        }
    }

    #[test]
    fn a_line_is_words_unless_it_begins_with_one_slash() {
        assert_eq!(parse("halo /quit"), Ok(TypedLine::Words("halo /quit".to_owned())));
        assert_eq!(parse("//join x"), Ok(TypedLine::Words("/join x".to_owned())));
        assert_eq!(parse("/* a\n b */"), Ok(TypedLine::Words("/* a\n b */".to_owned())));
        assert_eq!(parse("/me menari"), Ok(TypedLine::Words("/me menari".to_owned())));
        for wrong in ["/", "/dance", "/join", "/join a/b", "/me", "/lane wifi", "/delete x", "/nick  ", "/react a b"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn groups_and_invites_are_parsed() {
        assert_eq!(of("/history 7"), Ok(Command::History(Some(Seq(7)))));
        assert_eq!(of("/join #lobby"), Ok(Command::Join("lobby".parse().unwrap())));
        assert_eq!(
            of("/join 0123456789ABCDEFGHJKMNPQRS"),
            Ok(Command::Redeem("0123456789ABCDEFGHJKMNPQRS".to_owned()))
        );
        assert_eq!(of("/create rapat private"), Ok(Command::Create { group: "rapat".parse().unwrap(), private: true }));
        assert_eq!(of("/invite 5 2h"), Ok(Command::Invite { uses: Some(5), expires: Some(Duration::from_secs(7200)) }));
        assert!(of("/invite 0").is_err());
        assert_eq!(of("/leave"), Ok(Command::Leave(None)));
    }

    #[test]
    fn notifications_are_set_in_both_languages() {
        assert_eq!(of("/notify semua"), Ok(Command::Notify(Some(NotifyChange::Of(Notify::All)))));
        assert_eq!(of("/notify bell off"), Ok(Command::Notify(Some(NotifyChange::Bell(false)))));
        assert!(of("/notify bell").is_err());
    }
}
