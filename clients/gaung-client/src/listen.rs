//! Listening: one ordered stream of events for several groups.

use std::sync::Arc;

use gaung_proto::{Content, GroupName, LogId, Seq, SeqRange, block::Message, net::Lane};

use crate::group::GroupInfo;

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

/// Where a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum From {
    /// At the oldest message kept.
    Start,
    /// At the next one to be logged.
    #[default]
    Now,
    /// At this one, or the oldest kept after it.
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
    pub from: From,
}

/// What happens to a listener. Within a group, messages come in seq order, each once.
#[derive(Debug, Clone)]
pub enum Event {
    /// The group is being listened to; everything from `next_seq` on will come. Once per group.
    Ready {
        /// Which group.
        group: Arc<GroupInfo>,
        /// The first seq that will come.
        next_seq: Seq,
        /// By which lane.
        lane: Lane,
    },
    /// A message. In text groups heard by multicast its seq is 0: unknown.
    Message {
        /// Which group.
        group: Arc<GroupInfo>,
        /// The message with its place.
        message: Message,
        /// Its payload, read.
        content: Content,
        /// How it came.
        lane: Lane,
    },
    /// Messages are missing and have been asked for.
    Gap {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// They have come.
    GapFilled {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// They cannot be had any more, and were skipped.
    Lost {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// Messages come by another lane from here on.
    LaneChanged {
        /// Which group.
        group: Arc<GroupInfo>,
        /// By which lane now.
        lane: Lane,
        /// Why, for people.
        why: String,
    },
    /// The group's log was replaced; seqs start again at 1.
    HistoryLost {
        /// Which group, as it is now.
        group: Arc<GroupInfo>,
        /// The log that is no more.
        old_log: LogId,
    },
    /// A server was lost; it is being sought, for ever.
    Reconnecting {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Why, for people.
        why: String,
    },
    /// It was found again; nothing is missing.
    Reconnected {
        /// Which group.
        group: Arc<GroupInfo>,
    },
    /// The group is no more, or this device may not read it any more. Nothing follows for it.
    GroupGone {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Why, for people.
        why: String,
    },
}

/// The stream of events. Dropping it leaves the groups.
#[derive(Debug)]
pub struct Listener {
    events: tokio::sync::mpsc::Receiver<Event>,
}

impl Listener {
    /// The next event; `None` once every group is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Leaves the groups and waits until the registry knows, at most 2 s.
    pub async fn close(self) {}
}
pub(crate) async fn start(client: &crate::Client, options: ListenOptions) -> Result<Listener, crate::ClientError> {
    let _ = (client, options);
    Err(crate::ClientError::Failed(String::new()))
}
