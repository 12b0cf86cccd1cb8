//! One line of a conversation: a message, or something that happened between messages.

use gaung_proto::{Seq, SeqRange};

use super::entry::MessageEntry;

/// Where an item stands: after which message, and the how many-th there; a message itself has count 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct ItemKey {
    /// The message's seq, or of the one before.
    pub(crate) seq: Seq,
    count: u32,
}

impl ItemKey {
    /// The key of a message.
    pub(crate) const fn of(seq: Seq) -> Self {
        Self { seq, count: 0 }
    }

    /// The next key that belongs to no message.
    pub(crate) const fn following(self) -> Self {
        Self { seq: self.seq, count: self.count.saturating_add(1) }
    }
}

/// Something shown, and where and when.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Where.
    pub(crate) key: ItemKey,
    /// When, µs since 1970.
    pub(crate) at_us: u64,
    /// What.
    pub(crate) content: ItemContent,
}

/// What is shown.
#[derive(Debug, Clone)]
pub(crate) enum ItemContent {
    /// Somebody's words.
    Message(Box<MessageEntry>),
    /// People came and went.
    Presence(Presence),
    /// Messages are missing here.
    Gap {
        /// Which.
        range: SeqRange,
        /// They will not come.
        lost: bool,
    },
    /// The program says something.
    Notice(Notice),
    /// Words of a group that has no seqs.
    Unlogged {
        /// Whose, harmless.
        name: String,
        /// The words, harmless, lines parted by newlines.
        words: String,
    },
}

/// One quiet line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Harmless; lines parted by newlines.
    pub(crate) text: String,
    /// Something failed.
    pub(crate) is_error: bool,
}

/// Who came and went, in one line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Presence {
    /// Came, and did not go since.
    pub(crate) came: Vec<String>,
    /// Went, and did not come since.
    pub(crate) left: Vec<String>,
}

/// Names that one line of presence remembers.
const NAMES: usize = 64;

impl Presence {
    /// One came.
    pub(crate) fn came(name: String) -> Self {
        Self { came: vec![name], left: Vec::new() }
    }

    /// One left.
    pub(crate) fn left(name: String) -> Self {
        Self { came: Vec::new(), left: vec![name] }
    }

    /// Takes in what happened next; who comes and goes again leaves no trace.
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
    /// The message, if it is one.
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

    /// Folds `next` into this item if both are comings and goings.
    pub(super) fn absorb(&mut self, next: &Self) -> bool {
        match (&mut self.content, &next.content) {
            (ItemContent::Presence(presence), ItemContent::Presence(more)) => {
                presence.follow(more);
                true
            }
            _ => false,
        }
    }

    /// What it takes of the memory, about.
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
