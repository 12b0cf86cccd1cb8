//! The choices of a person, which are stored across restarts.

use serde::{Deserialize, Serialize};

/// Which messages the person is notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Notify {
    /// Messages that mention the person, and replies to theirs.
    #[default]
    Mentions,
    /// Every message of others.
    All,
    /// No messages.
    Off,
}

/// The sequence that notifies the desktop, where the terminal supports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Desktop {
    /// The one that the terminal is known to support, else both.
    #[default]
    Auto,
    /// OSC 9 (iTerm2).
    Osc9,
    /// OSC 777 (rxvt).
    Osc777,
    /// No sequence.
    Off,
}

/// All choices of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Which messages the person is notified of.
    pub(crate) notify: Notify,
    /// Whether the bell rings.
    pub(crate) bell: bool,
    /// How the desktop is notified.
    pub(crate) desktop: Desktop,
    /// Whether the wheel scrolls and a click opens a group; selecting text then needs Shift.
    pub(crate) mouse: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { notify: Notify::Mentions, bell: true, desktop: Desktop::Auto, mouse: false }
    }
}
