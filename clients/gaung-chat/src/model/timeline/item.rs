//! One item of a conversation: a message, or something that happened between messages.

use gaung_proto::{Seq, SeqRange};

use super::entry::MessageEntry;

/// The position of an item: a message has its seq and count 0, the items after it the same seq and a rising count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ItemKey {
    /// The seq of the message, or of the one before.
    pub(crate) seq: Seq,
    count: u32,
}

impl ItemKey {
    /// Returns the key of a message.
    pub(crate) const fn of(seq: Seq) -> Self {
        Self { seq, count: 0 }
    }

    /// Returns the key of the item after this one that is no message.
    pub(crate) const fn following(self) -> Self {
        Self { seq: self.seq, count: self.count.saturating_add(1) }
    }
}

/// An item with its position and time.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The position.
    pub(crate) key: ItemKey,
    /// The time, in µs since 1970.
    pub(crate) at_us: u64,
    /// The content.
    pub(crate) content: ItemContent,
}

/// The content of an item.
#[derive(Debug, Clone)]
pub(crate) enum ItemContent {
    /// A message.
    Message(Box<MessageEntry>),
    /// Who came and who left.
    Presence(Presence),
    /// Messages that are missing here.
    Gap {
        /// The missing messages.
        range: SeqRange,
        /// Whether they are lost for good.
        lost: bool,
    },
    /// A notice of the program.
    Notice(Notice),
    /// A message of a group that has no log.
    Unlogged {
        /// The name of its author, without control characters.
        name: String,
        /// Its text, without control characters except for newlines.
        words: String,
    },
}

/// A notice of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The text, without control characters except for newlines.
    pub(crate) text: String,
    /// Whether something failed.
    pub(crate) is_error: bool,
}

/// Who came and who left, folded into one item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Presence {
    /// Those who came and did not leave since.
    pub(crate) came: Vec<String>,
    /// Those who left and did not come since.
    pub(crate) left: Vec<String>,
}

/// How many names one item of presence has at most, each way.
const NAMES: usize = 64;

impl Presence {
    /// Makes the presence of one who came.
    pub(crate) fn came(name: String) -> Self {
        Self { came: vec![name], left: Vec::new() }
    }

    /// Makes the presence of one who left.
    pub(crate) fn left(name: String) -> Self {
        Self { came: Vec::new(), left: vec![name] }
    }

    /// Adds what happened next; who came and left again is not mentioned.
    fn follow(&mut self, next: &Self) {
        for name in &next.came {
            if !take(&mut self.left, name) && self.came.len() < NAMES && !self.came.contains(name) {
                self.came.push(name.clone());
            }
        }
        for name in &next.left {
            if !take(&mut self.came, name) && self.left.len() < NAMES && !self.left.contains(name) {
                self.left.push(name.clone());
            }
        }
    }
}

fn take(names: &mut Vec<String>, name: &str) -> bool {
    let found = names.iter().position(|known| known == name);
    found.map(|index| names.remove(index)).is_some()
}

impl Item {
    /// Returns the message; `None` if the item is none.
    pub(crate) fn entry(&self) -> Option<&MessageEntry> {
        match &self.content {
            ItemContent::Message(entry) => Some(entry),
            ItemContent::Presence(_)
            | ItemContent::Gap { .. }
            | ItemContent::Notice(_)
            | ItemContent::Unlogged { .. } => None,
        }
    }

    pub(super) fn entry_mut(&mut self) -> Option<&mut MessageEntry> {
        match &mut self.content {
            ItemContent::Message(entry) => Some(entry),
            ItemContent::Presence(_)
            | ItemContent::Gap { .. }
            | ItemContent::Notice(_)
            | ItemContent::Unlogged { .. } => None,
        }
    }

    /// Folds `next` into this item if both are presence.
    pub(super) fn absorb(&mut self, next: &Self) -> bool {
        match (&mut self.content, &next.content) {
            (ItemContent::Presence(presence), ItemContent::Presence(more)) => {
                presence.follow(more);
                true
            }
            _ => false,
        }
    }

    /// Returns about how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let words = match &self.content {
            ItemContent::Message(entry) => entry.bytes(),
            ItemContent::Notice(notice) => notice.text.len(),
            ItemContent::Unlogged { words, .. } => words.len(),
            ItemContent::Presence(_) | ItemContent::Gap { .. } => 0,
        };
        words + 200
    }
}
