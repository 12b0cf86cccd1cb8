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
    /// Control characters in a display name.
    #[error("the name contains a control character or begins or ends with a space")]
    Control,
}

const MAX_CHARS: usize = 64;

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

/// A person's name as shown: 1 to 64 characters, no control characters. Not unique, not an identity.
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
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(NameError::Control);
        }
        Ok(Self(text.to_owned()))
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
