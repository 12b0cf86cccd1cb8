//! What a caller of [`crate::Client::listen`] chooses.

use gaung_proto::{GroupName, Seq};

/// Which lane may bring the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LaneChoice {
    /// Multicast where it is heard, else the hub; moves between them by itself.
    #[default]
    Auto,
    /// Multicast alone; gaps that multicast cannot repair are read from the log.
    Multicast,
    /// The hub alone.
    Tcp,
}

/// The first message that a listener is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StartAt {
    /// The oldest message that is kept.
    Oldest,
    /// The next message to be logged.
    #[default]
    Next,
    /// The message with this seq; of what follows, messages that are no longer kept are reported as [`Event::Lost`].
    Seq(Seq),
}

/// What to listen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// One or more groups.
    pub groups: Vec<GroupName>,
    /// By which lane.
    pub lane: LaneChoice,
    /// From where, in each of them.
    pub from: StartAt,
}
