//! Styles in the colours of the terminal's own palette, so that its theme applies, or without colours.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use clap::ValueEnum;
use ratatui::style::{Color, Modifier, Style};

/// The background of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Background {
    /// The one that COLORFGBG names; if it is not set, colours that are readable on both.
    #[default]
    Auto,
    /// A dark background.
    Dark,
    /// A light background.
    Light,
}

/// The styles of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    names: Option<&'static [Color]>,
}

const ON_DARK: &[Color] = &[
    Color::LightRed,
    Color::LightGreen,
    Color::LightYellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::Green,
    Color::Cyan,
];
const ON_LIGHT: &[Color] = &[Color::Red, Color::Green, Color::Blue, Color::Magenta, Color::Cyan, Color::LightRed];
const ON_BOTH: &[Color] =
    &[Color::Red, Color::Green, Color::Magenta, Color::Cyan, Color::Yellow, Color::LightBlue, Color::LightMagenta];

impl Theme {
    /// Chooses the colours for a background. `NO_COLOR`, or a terminal without colours, means none.
    pub(crate) fn of(background: Background, var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).filter(|value| !value.is_empty());
        if set("NO_COLOR").is_some() || matches!(set("TERM").as_deref(), None | Some("dumb" | "vt100" | "vt220")) {
            return Self::plain();
        }
        let background = match background {
            Background::Auto => set("COLORFGBG").map_or(Background::Auto, |colours| background_of(&colours)),
            Background::Dark | Background::Light => background,
        };
        Self {
            names: Some(match background {
                Background::Auto => ON_BOTH,
                Background::Dark => ON_DARK,
                Background::Light => ON_LIGHT,
            }),
        }
    }

    /// Returns a theme without colours: bold, dim and reversed only.
    pub(crate) const fn plain() -> Self {
        Self { names: None }
    }

    /// Returns the style of a name; its colour depends on `identity` alone.
    pub(crate) fn name(self, identity: &[u8]) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        let Some(names) = self.names else { return style };
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % names.len() as u64).unwrap_or_default();
        style.fg(names[index])
    }

    /// Returns the style of secondary text.
    pub(crate) const fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Returns the style of a message that mentions the person.
    pub(crate) fn mention(self) -> Style {
        self.coloured(Color::Magenta).add_modifier(Modifier::BOLD)
    }

    /// Returns the style of what is new or under way.
    pub(crate) fn accent(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// Returns the style of an error.
    pub(crate) fn error(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Returns the style of a member who is present, and of the multicast lane.
    pub(crate) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// Returns the style of emphasised text.
    pub(crate) const fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Returns the style of what is selected, and of the title.
    pub(crate) const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.names.is_some() { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Returns the background that COLORFGBG names: `15;0` is white on black (rxvt).
fn background_of(colours: &str) -> Background {
    match colours.rsplit(';').next().and_then(|last| last.parse::<u8>().ok()) {
        Some(7 | 9..=15) => Background::Light,
        Some(_) => Background::Dark,
        None => Background::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_suit_the_background_unless_the_environment_forbids_them() {
        let of = |vars: &'static [(&str, &str)]| {
            Theme::of(Background::Auto, |name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
                .names
        };
        assert_eq!(of(&[("TERM", "xterm"), ("COLORFGBG", "0;15")]), Some(ON_LIGHT));
        assert_eq!(of(&[("TERM", "xterm"), ("COLORFGBG", "15;default;0")]), Some(ON_DARK));
        assert_eq!(of(&[("TERM", "xterm")]), Some(ON_BOTH));
        assert_eq!(of(&[("TERM", "xterm"), ("NO_COLOR", "1")]), None);
        assert_eq!(of(&[("TERM", "dumb")]), None);
    }

    #[test]
    fn one_identity_has_one_colour() {
        let theme = Theme { names: Some(ON_DARK) };
        assert_eq!(theme.name(b"x"), theme.name(b"x"));
        let colours: std::collections::HashSet<_> = (0u8..100).map(|i| theme.name(&[i]).fg).collect();
        assert_eq!(colours.len(), ON_DARK.len());
        assert_eq!(Theme::plain().name(b"x").fg, None);
    }
}
