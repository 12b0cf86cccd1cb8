//! Decisions about somebody as people type them, on a screen and in the line chat.

use std::time::Duration;

use gaung_client::{Moderation, Role};
use service_kit::config::parse_duration;

/// The names of the commands that [`parse_moderation`] knows.
pub const MODERATION_COMMANDS: [&str; 6] = ["ban", "kick", "mute", "role", "unban", "unmute"];

/// How long a mute lasts if no time is given, as in the command.
const MUTED_FOR: Duration = Duration::from_secs(600);

/// Parses what follows the name of a command: `NAME`, for a mute also `NAME TIME`, for a role `NAME ROLE`. A name may have spaces, and an `@`
/// before it. Returns whom it concerns, as the person named them, and what is decided; `None` if nobody is named, or no role.
#[must_use]
pub fn parse_moderation(command: &str, text: &str) -> Option<(String, Moderation)> {
    let text = text.trim().trim_start_matches('@');
    let (name, last) = text.rsplit_once(char::is_whitespace).unwrap_or((text, ""));
    let (who, what) = match command {
        "ban" => (text, Moderation::Ban),
        "kick" => (text, Moderation::Kick),
        // A name that ends like a time needs one behind it.
        "mute" => {
            parse_duration(last).map_or((text, Moderation::Mute(MUTED_FOR)), |time| (name, Moderation::Mute(time)))
        }
        "role" => match last {
            "admin" => (name, Moderation::SetRole(Role::Admin)),
            "moderator" => (name, Moderation::SetRole(Role::Moderator)),
            "member" | "anggota" => (name, Moderation::SetRole(Role::Member)),
            _ => return None,
        },
        "unban" => (text, Moderation::Unban),
        "unmute" => (text, Moderation::Unmute),
        _ => return None,
    };
    let who = who.trim();
    (!who.is_empty()).then(|| (who.to_owned(), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_moderated_may_have_spaces_in_the_name() {
        let hour = Duration::from_secs(3600);
        for (command, text, who, what) in [
            ("ban", "Budi Santoso", "Budi Santoso", Moderation::Ban),
            ("kick", "@budi·3f9a", "budi·3f9a", Moderation::Kick),
            ("mute", "Budi Santoso", "Budi Santoso", Moderation::Mute(MUTED_FOR)),
            ("mute", "Budi Santoso  1h", "Budi Santoso", Moderation::Mute(hour)),
            ("role", "Budi Santoso anggota", "Budi Santoso", Moderation::SetRole(Role::Member)),
        ] {
            assert_eq!(parse_moderation(command, text), Some((who.to_owned(), what)), "{command} {text}");
        }
        for (command, text) in [
            ("kick", ""),
            ("ban", "@"),
            ("mute", ""),
            ("role", "Budi"),
            ("role", "admin"),
            ("role", "Budi king"),
            ("unban", "  "),
            ("dance", "Budi"),
        ] {
            assert_eq!(parse_moderation(command, text), None, "{command} {text}");
        }
        assert!(MODERATION_COMMANDS.iter().all(|command| parse_moderation(command, "Budi admin").is_some()));
    }
}
