//! What a person chose: kept across restarts.

use serde::{Deserialize, Serialize};

/// Of what the person is told while looking elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Notify {
    /// Messages that name the person, and answers to theirs.
    #[default]
    Mentions,
    /// Every message of others.
    All,
    /// Nothing.
    Off,
}

/// By which sequence the desktop is told, where the terminal passes it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Desktop {
    /// The one that the terminal is known to understand, else both.
    #[default]
    Auto,
    /// OSC 9 (iTerm2).
    Osc9,
    /// OSC 777 (rxvt).
    Osc777,
    /// None.
    Off,
}

/// All choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    /// Of what to tell.
    pub(crate) notify: Notify,
    /// By the terminal's bell.
    pub(crate) bell: bool,
    /// By the desktop's notifications, where the terminal passes them on.
    pub(crate) desktop: Desktop,
    /// The wheel scrolls, a click opens a group; the terminal's own selection then needs Shift.
    pub(crate) mouse: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { notify: Notify::Mentions, bell: true, desktop: Desktop::Auto, mouse: false }
    }
}
