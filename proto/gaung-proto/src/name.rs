//! Names that people choose, checked once.

use std::{fmt, str::FromStr};

use crate::foreign_text::{CharClass, classify, is_invisible, without_invisible};

/// A name that cannot be used, and what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("the name is empty; give one of 1 to 64 characters")]
    Empty,
    /// The name has more characters than allowed.
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
    /// Returns the name as text.
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

/// A person's name as shown: 1 to 64 characters, no controls or line breaks; invisible characters are dropped. It is
/// neither unique nor an identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DisplayName(String);

impl DisplayName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DisplayName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        let text = without_invisible(text);
        if classify(&text).any(|(_, class)| class != CharClass::Visible) || text.trim() != text {
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
        for c in ['\u{200c}', '\u{200d}', '\u{fe00}', '\u{fe0f}', '\u{e0020}', '\u{e0061}'] {
            for name in [format!("Ani{c}"), format!("A{c}ni"), format!("{c}Ani")] {
                assert_eq!(name.parse::<DisplayName>().unwrap().as_str(), "Ani", "{name:?}");
            }
        }
        assert_eq!("Ani\u{2028}Budi: halo".parse::<DisplayName>(), Err(NameError::Control));
    }
}
