//! The events of a listener.

use std::sync::Arc;

use gaung_proto::{Content, LogId, Seq, SeqRange, block::Message, net::Lane};

use crate::group::GroupInfo;

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
    /// These, which were delivered, were forged, or some of them: the log has other messages, or none yet. What it has from
    /// the first of them on comes next, also what was true before.
    Forged {
        /// Which group.
        group: Arc<GroupInfo>,
        /// Which messages.
        range: SeqRange,
    },
    /// Messages come by another lane from here on; by [`Lane::History`] those that multicast does not bring, where it alone is
    /// allowed.
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
