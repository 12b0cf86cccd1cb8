//! The bytes that make a terminal ring and show a notification on the desktop.

use gaung_terminal::sanitise::one_line;

use super::settings::{Desktop, Settings};

/// Writes notifications for one kind of terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Notifier {
    /// Whether sequences have to pass through tmux.
    in_tmux: bool,
    /// The sequence that the terminal supports; unknown if `None`.
    supports: Option<Desktop>,
}

impl Notifier {
    /// Recognises the terminal by the environment.
    pub(crate) fn of_environment(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        let supports = match (set("TERM_PROGRAM").as_deref(), set("TERM").unwrap_or_default()) {
            (Some("iTerm.app" | "WezTerm" | "ghostty"), _) => Some(Desktop::Osc9),
            _ if set("WT_SESSION").is_some() => Some(Desktop::Osc9),
            (_, term) if term.starts_with("foot") || term.starts_with("rxvt") => Some(Desktop::Osc777),
            _ if set("VTE_VERSION").is_some() => Some(Desktop::Osc777),
            _ => None,
        };
        Self { in_tmux: set("TMUX").is_some(), supports }
    }

    /// Returns the bytes of one notification. An unknown terminal gets both sequences and ignores what it does not support;
    /// a known one gets one of them, since it might show two.
    pub(crate) fn bytes(self, settings: Settings, title: &str, body: &str) -> String {
        let desktop = match settings.desktop {
            Desktop::Auto => self.supports,
            chosen @ (Desktop::Osc9 | Desktop::Osc777 | Desktop::Off) => Some(chosen),
        };
        // A semicolon separates the fields of OSC 777; OSC 9 has one text.
        let (title, body) = (one_line(title).replace(';', ","), one_line(body));
        let mut out = String::new();
        if matches!(desktop, None | Some(Desktop::Osc777)) {
            out.push_str(&self.for_tmux(&format!("\x1b]777;notify;{title};{body}\x07")));
        }
        if matches!(desktop, None | Some(Desktop::Osc9)) {
            out.push_str(&self.for_tmux(&format!("\x1b]9;{title}: {body}\x07")));
        }
        if settings.bell {
            out.push('\x07');
        }
        out
    }

    /// Wraps a sequence for tmux, which forwards it if `allow-passthrough` is on; each escape is doubled.
    fn for_tmux(self, sequence: &str) -> String {
        if self.in_tmux {
            format!("\x1bPtmux;{}\x1b\\", sequence.replace('\x1b', "\x1b\x1b"))
        } else {
            sequence.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Settings = Settings { bell: false, ..DEFAULT };
    const DEFAULT: Settings =
        Settings { notify: super::super::settings::Notify::Mentions, bell: true, desktop: Desktop::Auto, mouse: false };

    fn notifier(vars: &[(&str, &str)]) -> Notifier {
        Notifier::of_environment(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn bell_and_desktop_can_be_switched_off() {
        let (osc777, osc9) = ("\x1b]777;notify;Budi · a;halo\x07", "\x1b]9;Budi · a: halo\x07");
        let bytes = |settings| notifier(&[]).bytes(settings, "Budi · a", "halo");
        assert_eq!(bytes(DEFAULT), format!("{osc777}{osc9}\x07"));
        assert_eq!(bytes(QUIET), format!("{osc777}{osc9}"));
        assert_eq!(bytes(Settings { desktop: Desktop::Off, ..DEFAULT }), "\x07");
        assert_eq!(bytes(Settings { desktop: Desktop::Off, ..QUIET }), "");
        assert_eq!(bytes(Settings { desktop: Desktop::Osc9, ..QUIET }), osc9);
        assert_eq!(notifier(&[("TERM", "foot")]).bytes(QUIET, "Budi · a", "halo"), osc777);
        assert_eq!(notifier(&[("TERM_PROGRAM", "WezTerm")]).bytes(QUIET, "Budi · a", "halo"), osc9);
    }

    #[test]
    fn foreign_text_cannot_end_the_sequence() {
        let sent = notifier(&[]).bytes(QUIET, "a;b\x07", "c\x1b\\\x07d\u{9c}");
        assert_eq!(sent.matches('\x07').count(), 2);
        assert_eq!(sent.matches('\x1b').count(), 2);
        assert!(!sent.contains('\u{9c}'));
        assert!(sent.starts_with("\x1b]777;notify;a,b"));
    }

    #[test]
    fn sequences_are_wrapped_for_tmux() {
        let sent = notifier(&[("TMUX", "/tmp/x")]).bytes(QUIET, "t", "b");
        assert!(sent.starts_with("\x1bPtmux;\x1b\x1b]777;notify;t;b\x07\x1b\\"));
    }
}
