//! Styles for lines of text: a colour for each name, and dim for secondary text.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// Writes styles as escape sequences, or leaves them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colours: bool,
}

/// Foreground colours that are readable on a dark and on a light background.
const PALETTE: [u8; 10] = [31, 32, 33, 34, 35, 36, 91, 94, 95, 96];

impl Style {
    /// Writes styles if `terminal`, unless `NO_COLOR` is set or the terminal is dumb.
    pub fn for_terminal(terminal: bool) -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|v| v == "dumb");
        Self { colours: terminal && !refused && !dumb }
    }

    /// Returns a name in a colour that depends on `identity` alone.
    pub fn name(self, name: &str, identity: &[u8]) -> String {
        if !self.colours {
            return name.to_owned();
        }
        let mut hasher = DefaultHasher::new();
        identity.hash(&mut hasher);
        let colour = PALETTE[(hasher.finish() % PALETTE.len() as u64) as usize];
        format!("\x1b[1;{colour}m{name}\x1b[0m")
    }

    /// Returns a text in dim letters.
    pub fn dim(self, text: &str) -> String {
        if self.colours { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes styles or not, whatever the terminal is.
    #[must_use]
    pub const fn of(colours: bool) -> Self {
        Self { colours }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_has_one_colour_and_plain_has_none() {
        let style = Style::of(true);
        assert_eq!(style.name("Lina", b"x"), style.name("Lina", b"x"));
        assert!(style.name("Lina", b"x").contains("Lina\x1b[0m"));
        let colours: std::collections::HashSet<_> = (0u8..100).map(|i| style.name("", &[i])).collect();
        assert_eq!(colours.len(), PALETTE.len());
        assert_eq!(Style::of(false).name("Lina", b"x"), "Lina");
        assert_eq!(Style::of(false).dim("x"), "x");
    }
}
