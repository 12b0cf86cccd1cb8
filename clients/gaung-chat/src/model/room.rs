//! One open group.

use std::collections::BTreeMap;

use gaung_client::{Lane, LaneChoice, Receipt};
use gaung_proto::{GroupId, GroupName, LogId, Seq};

use super::{
    composer::Composer,
    read_marks::ReadMarks,
    roster::Roster,
    timeline::{ItemKey, KeptEnd, Timeline},
};
use crate::layout::scroll::LowerEdge;

/// A group that is open in the chat.
#[derive(Debug)]
pub(crate) struct Room {
    /// The group's name.
    pub(crate) name: GroupName,
    /// The group's id, once known.
    pub(crate) id: Option<GroupId>,
    /// The id of its log, once known.
    pub(crate) log: Option<LogId>,
    /// Whether it is entered by invite only.
    pub(crate) private: bool,
    /// Its multicast address for the title; empty if it has none.
    pub(crate) address: String,
    /// The number of its listener; events of former listeners are ignored.
    pub(crate) session: u32,
    /// The state of its listener.
    pub(crate) state: RoomState,
    /// The lanes that its messages may come by.
    pub(crate) choice: LaneChoice,
    /// The lane by which they come now.
    pub(crate) lane: Option<Lane>,
    /// The window over its log.
    pub(crate) timeline: Timeline,
    /// The line and the pending messages.
    pub(crate) composer: Composer,
    /// The part of the window that is seen.
    pub(crate) scroll: Scroll,
    /// The message that is selected.
    pub(crate) selected: Option<Seq>,
    /// What is read and what is not.
    pub(crate) marks: ReadMarks,
    /// Whether a page was requested and has not come.
    pub(crate) loading: bool,
    /// The receipts of own messages.
    pub(crate) receipts: BTreeMap<Seq, Receipt>,
    /// The members.
    pub(crate) roster: Roster,
}

/// The state of a group's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoomState {
    /// It is being started.
    Entering,
    /// It delivers messages.
    Open,
    /// The services cannot be reached; it tries again.
    Away,
    /// The group does not exist any more, or could not be entered.
    Gone,
}

/// The part of a window that is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scroll {
    /// Its end, which moves with new messages.
    #[default]
    Latest,
    /// The item `key` is the lowest that is seen; `below` of its rows are below the edge.
    At {
        /// The item.
        key: ItemKey,
        /// Rows below the edge.
        below: usize,
    },
}

/// How many receipts of one group are kept.
const RECEIPTS: usize = 128;

impl Room {
    /// Makes a group that is being entered.
    pub(crate) fn entering(name: GroupName, session: u32, choice: LaneChoice) -> Self {
        Self {
            name,
            id: None,
            log: None,
            private: false,
            address: String::new(),
            session,
            state: RoomState::Entering,
            choice,
            lane: None,
            timeline: Timeline::default(),
            composer: Composer::default(),
            scroll: Scroll::Latest,
            selected: None,
            marks: ReadMarks::default(),
            loading: false,
            receipts: BTreeMap::new(),
            roster: Roster::default(),
        }
    }

    /// Returns the end of the window that is kept when it is full.
    pub(crate) fn keep(&self) -> KeptEnd {
        if self.scroll == Scroll::Latest { KeptEnd::Newest } else { KeptEnd::Oldest }
    }

    /// Returns what is at the lower edge of the conversation.
    pub(crate) fn lower_edge(&self) -> LowerEdge {
        match self.scroll {
            Scroll::Latest => LowerEdge::End,
            Scroll::At { key, below } => match self.timeline.find(key) {
                Ok(index) => LowerEdge::Item { index, below },
                // The item has left the window; the one above it is the lowest that is seen.
                Err(index) => LowerEdge::Item { index: index.saturating_sub(1), below: 0 },
            },
        }
    }

    /// Scrolls the conversation so that this is at its lower edge.
    pub(crate) fn scroll_to(&mut self, edge: LowerEdge) {
        self.scroll = match edge {
            LowerEdge::End => Scroll::Latest,
            LowerEdge::Item { index, below } => match self.timeline.items().get(index) {
                Some(item) => Scroll::At { key: item.key, below },
                None => Scroll::Latest,
            },
        };
    }

    /// Returns the index of a message, or of the item that is where it would be.
    pub(crate) fn index_near(&self, seq: Seq) -> usize {
        let last = self.timeline.items().len().saturating_sub(1);
        self.timeline.find(ItemKey::of(seq)).unwrap_or_else(|index| index.min(last))
    }

    /// Returns whether the newest message is at the lower edge.
    pub(crate) fn at_end(&self) -> bool {
        self.scroll == Scroll::Latest && self.timeline.is_live()
    }

    /// Counts everything received as read. True if something was not.
    pub(crate) fn read_all(&mut self) -> bool {
        self.marks.read_all(self.timeline.head())
    }

    /// Starts again with another log.
    pub(crate) fn restart(&mut self, log: LogId) {
        self.log = Some(log);
        self.timeline.restart();
        self.receipts.clear();
        self.marks = ReadMarks::default();
    }

    /// Adds a receipt; the oldest one gives way if there are too many.
    pub(crate) fn receipt(&mut self, receipt: Receipt) {
        self.receipts.insert(receipt.seq, receipt);
        while self.receipts.len() > RECEIPTS {
            self.receipts.pop_first();
        }
    }
}
