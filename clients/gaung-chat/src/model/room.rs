//! One group as a person has it open.

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

/// A group that is open.
#[derive(Debug)]
pub(crate) struct Room {
    /// What it is called.
    pub(crate) name: GroupName,
    /// What it is, once known.
    pub(crate) id: Option<GroupId>,
    /// Its log, once known.
    pub(crate) log: Option<LogId>,
    /// Entered by invite only.
    pub(crate) private: bool,
    /// Its address, for the title.
    pub(crate) address: String,
    /// Which listener tells of it; others' events are of the past.
    pub(crate) session: u32,
    /// How it is going.
    pub(crate) state: RoomState,
    /// How messages shall come.
    pub(crate) choice: LaneChoice,
    /// How they come.
    pub(crate) lane: Option<Lane>,
    /// What was said.
    pub(crate) timeline: Timeline,
    /// What is written.
    pub(crate) composer: Composer,
    /// Which part of the timeline is looked at.
    pub(crate) scroll: Scroll,
    /// The message that keys act on.
    pub(crate) selected: Option<Seq>,
    /// What was read.
    pub(crate) marks: ReadMarks,
    /// A page is under way.
    pub(crate) loading: bool,
    /// Who has heard what, of own messages.
    pub(crate) receipts: BTreeMap<Seq, Receipt>,
    /// Who is in the group.
    pub(crate) roster: Roster,
}

/// How a room is going.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoomState {
    /// It is being entered.
    Entering,
    /// Everything comes.
    Open,
    /// A server is sought.
    Away,
    /// It is no more.
    Gone,
}

/// Which part is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Scroll {
    /// The end, and what comes.
    #[default]
    Latest,
    /// The item `key` is the lowest that is seen; `below` of its rows are below the edge.
    At {
        /// Which item.
        key: ItemKey,
        /// Rows below the edge.
        below: usize,
    },
}

/// Receipts kept of one group.
const RECEIPTS: usize = 128;

impl Room {
    /// A room that is being entered.
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

    /// Which end of the window must stay.
    pub(crate) fn keep(&self) -> KeptEnd {
        if self.scroll == Scroll::Latest { KeptEnd::Newest } else { KeptEnd::Oldest }
    }

    /// What is at the lower edge of the conversation.
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

    /// The index of a message, or of the item that is where it would be.
    pub(crate) fn index_near(&self, seq: Seq) -> usize {
        let last = self.timeline.items().len().saturating_sub(1);
        self.timeline.find(ItemKey::of(seq)).unwrap_or_else(|index| index.min(last))
    }

    /// The person sees the newest message.
    pub(crate) fn at_end(&self) -> bool {
        self.scroll == Scroll::Latest && self.timeline.is_live()
    }

    /// Counts everything received as read. True if something was not.
    pub(crate) fn read_all(&mut self) -> bool {
        self.marks.read_all(self.timeline.head())
    }

    /// The log was replaced: nothing of the old one is shown or counted any more.
    pub(crate) fn restart(&mut self, log: LogId) {
        self.log = Some(log);
        self.timeline.restart();
        self.receipts.clear();
        self.marks = ReadMarks::default();
    }

    /// Remembers the newest receipts.
    pub(crate) fn receipt(&mut self, receipt: Receipt) {
        self.receipts.insert(receipt.seq, receipt);
        while self.receipts.len() > RECEIPTS {
            self.receipts.pop_first();
        }
    }
}
