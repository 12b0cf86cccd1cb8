//! Names that people choose, checked once.

use std::{fmt, str::FromStr};

/// A name that cannot be used, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No characters.
    #[error("the name is empty; give one of 1 to 64 characters")]
    Empty,
    /// Too many characters.
    #[error("the name has {0} characters; at most 64 are allowed")]
    TooLong(usize),
    /// A character that is not allowed.
    #[error("the name contains {0:?}; use letters, digits, '-', '_' and '.'")]
    Character(char),
    /// A letter that is not seen, or only on another one.
    #[error("the name contains the invisible character U+{:04X}; type it anew without it", u32::from(*.0))]
    Invisible(char),
    /// Only dots, or a hyphen at the beginning.
    #[error("the name {0:?} would be taken for a folder or an option; begin it with a letter or a digit")]
    Misleading(String),
    /// Control characters in a display name.
    #[error("the name contains a control character or begins or ends with a space")]
    Control,
}

const MAX_CHARS: usize = 64;

/// Whether a character is not seen wherever it stands, so that it only disguises a name: fillers that count as letters, and
/// what Unicode calls default-ignorable, but for joiners and selectors, which scripts and emoji need.
#[must_use]
pub const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e001f}' | '\u{e0080}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// Whether nothing that is seen follows in a word.
const fn is_end(after: char) -> bool {
    matches!(after, '\0' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Each character of a text, and whether it disguises it: it is not seen and makes nothing of its neighbours. Joiners make
/// something in scripts that join letters and between emoji, selectors choose how an emoji or an ideograph looks, and tags make
/// a flag; elsewhere they only make two texts differ that look the same.
pub fn disguises(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut before = '\0';
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        let c = rest.next()?;
        let after = rest.peek().copied().unwrap_or('\0');
        let is_disguise = match c {
            // Scripts that join begin with Hebrew; words of theirs may follow others.
            '\u{200c}' | '\u{200d}' => before == '\0' || is_end(after) || before.max(after) < '\u{590}',
            '\u{fe00}'..='\u{fe0f}' => before < '\u{2000}' && !matches!(before, '©' | '®') && after != '\u{20e3}',
            '\u{e0020}'..='\u{e007f}' => !matches!(before, '\u{1f3f4}' | '\u{e0020}'..='\u{e007f}'),
            _ => is_invisible(c),
        };
        if !is_disguise {
            before = c;
        }
        Some((c, is_disguise))
    })
}

/// Marks that count as letters and belong to no script's words: they hide on the letter before.
const fn is_hidden_mark(c: char) -> bool {
    matches!(c, '\u{345}' | '\u{363}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{2de0}'..='\u{2dff}' | '\u{fe20}'..='\u{fe2f}')
}

/// The reserved group that every hub session is in.
pub const EVERYONE: &str = "everyone";

/// A group's name: 1 to 64 letters or digits of any script, `-`, `_` and `.`; upper and lower case differ.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

impl GroupName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a new group may have the name. Groups that have another already keep it, so names are parsed without this.
    ///
    /// # Errors
    /// [`NameError::Invisible`] or [`NameError::Misleading`].
    pub fn check_new(&self) -> Result<(), NameError> {
        if let Some(c) = self.0.chars().find(|&c| is_invisible(c) || is_hidden_mark(c)) {
            return Err(NameError::Invisible(c));
        }
        if self.0.starts_with('-') || self.0.chars().all(|c| c == '.') {
            return Err(NameError::Misleading(self.0.clone()));
        }
        Ok(())
    }
}

impl FromStr for GroupName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        match text.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
            Some(c) => Err(NameError::Character(c)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person's name as shown: 1 to 64 characters, no control characters; what disguises it is dropped. Not unique, not an identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DisplayName(String);

impl DisplayName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        let text: String = disguises(text).filter_map(|(c, is_disguise)| (!is_disguise).then_some(c)).collect();
        if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) || text.trim() != text {
            return Err(NameError::Control);
        }
        check_length(&text)?;
        Ok(Self(text))
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_length(text: &str) -> Result<(), NameError> {
    match text.chars().count() {
        0 => Err(NameError::Empty),
        1..=MAX_CHARS => Ok(()),
        n => Err(NameError::TooLong(n)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn new_groups_have_names_that_are_seen_as_they_are() {
        let check = |name: &str| name.parse::<GroupName>().unwrap().check_new();
        for name in ["kelas-3a", "日本語", "हिन्दी", "ไทย", "Ümläut", "lobby.", ".net", "a-", "_"]
        {
            if let Ok(name) = name.parse::<GroupName>() {
                assert_eq!(name.check_new(), Ok(()), "{name}");
            }
        }
        for c in ['\u{3164}', '\u{115f}', '\u{1160}', '\u{ffa0}', '\u{345}', '\u{363}'] {
            assert_eq!(check(&format!("lobby{c}")), Err(NameError::Invisible(c)));
        }
        for name in [".", "..", "...", "-", "--help", "-rf"] {
            assert!(matches!(check(name), Err(NameError::Misleading(_))), "{name}");
        }
    }

    #[test]
    fn display_names_lose_what_is_not_seen() {
        assert_eq!("A\u{200b}ni\u{2060}\u{3164}".parse::<DisplayName>().unwrap().as_str(), "Ani");
        assert_eq!("\u{3164}".parse::<DisplayName>(), Err(NameError::Empty));
        for name in [
            "👩\u{200d}🚀",
            "❤\u{fe0f}",
            "1\u{fe0f}\u{20e3}",
            "क्\u{200d}ष",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "می\u{200c}خواهم",
            "PDF\u{200c}ها",
        ] {
            assert_eq!(name.parse::<DisplayName>().unwrap().as_str(), name);
        }
        assert_eq!("Ani\u{200d}\u{fe0f}".parse::<DisplayName>().unwrap().as_str(), "Ani");
        for c in ['\u{200c}', '\u{200d}', '\u{fe00}', '\u{fe0f}', '\u{e0020}', '\u{e0061}'] {
            for name in [format!("Ani{c}"), format!("A{c}ni"), format!("{c}Ani")] {
                assert_eq!(name.parse::<DisplayName>().unwrap().as_str(), "Ani", "{name:?}");
            }
        }
        assert_eq!("Ani\u{2028}Budi: halo".parse::<DisplayName>(), Err(NameError::Control));
    }
}
