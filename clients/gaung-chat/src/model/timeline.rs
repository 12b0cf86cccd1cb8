//! A bounded window over one group's log, with later changes applied; what leaves it is read again as a page.

mod changes;
mod entry;
mod item;

use std::collections::VecDeque;

use gaung_proto::{Kind, Seq, SeqRange};

pub(crate) use entry::{ChangeTrust, MessageBody, MessageEntry};
pub(crate) use item::{Item, ItemContent, ItemKey, Notice, Presence};

use crate::incoming::IncomingMessage;
use changes::{Change, Changes};

/// The most items of one window, about forty screens.
const MAX_ITEMS: usize = 3_000;
/// The most bytes of one window.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// After so many messages have left the window, the changes that belong to them are searched and removed.
const FORGET_EVERY: u64 = 512;

/// The end of a full window that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptEnd {
    /// The lower end: the person reads new messages.
    Newest,
    /// The upper end: the person has scrolled up.
    Oldest,
}

/// A contiguous part of a group's log, in order of seq.
///
/// It covers the seqs `first..next`; edits, deletions and reactions take a seq without an item. It is *live* while it
/// reaches the head: new messages are then appended, else only counted.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    items: VecDeque<Item>,
    changes: Changes,
    first: Option<Seq>,
    next: Seq,
    head: Seq,
    /// Whether the log has nothing before the window.
    at_oldest: bool,
    bytes: usize,
    trust: ChangeTrust,
}

impl Timeline {
    /// Sets whose edits and deletions count from now on.
    pub(crate) const fn set_trust(&mut self, trust: ChangeTrust) {
        self.trust = trust;
    }

    /// Returns all items, oldest first.
    pub(crate) const fn items(&self) -> &VecDeque<Item> {
        &self.items
    }

    /// Returns the message of `seq`, if it is in the window and has an item.
    pub(crate) fn entry(&self, seq: Seq) -> Option<&MessageEntry> {
        self.items.get(self.find(ItemKey::of(seq)).ok()?)?.entry()
    }

    /// Returns the index of the item with `key`, or where it would be.
    pub(crate) fn find(&self, key: ItemKey) -> Result<usize, usize> {
        self.items.binary_search_by(|item| item.key.cmp(&key))
    }

    /// Returns the messages, newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &MessageEntry> {
        self.items.iter().rev().filter_map(Item::entry)
    }

    /// Returns whether nothing of the log was read.
    pub(crate) const fn is_unread(&self) -> bool {
        self.first.is_none()
    }

    /// Returns the highest seq that is known.
    pub(crate) const fn head(&self) -> Seq {
        self.head
    }

    /// Returns whether a new message is appended.
    pub(crate) fn is_live(&self) -> bool {
        self.first.is_none() || self.next > self.head
    }

    /// Returns the seq at which the page before the window ends; `None` if there is none.
    pub(crate) fn before(&self) -> Option<Seq> {
        let first = self.first.unwrap_or(Seq(u64::MAX));
        (!self.at_oldest && first > Seq::FIRST).then_some(first)
    }

    /// Returns the first seq of the page after the window.
    pub(crate) const fn after(&self) -> Seq {
        self.next
    }

    /// Adds a message that the listener delivers, a new one or one that was missing.
    pub(crate) fn append(&mut self, incoming: IncomingMessage, keep: KeptEnd) {
        let live = self.is_live();
        self.head = self.head.max(incoming.seq);
        if !live || (self.first.is_some() && incoming.seq < self.next) {
            return;
        }
        self.fill_gap(incoming.seq);
        self.first.get_or_insert(incoming.seq);
        self.next = incoming.seq.next();
        self.push_back(incoming);
        self.trim(keep);
    }

    /// Adds a page that ends where the window begins, oldest first; an empty one means that the log keeps nothing older.
    pub(crate) fn prepend(&mut self, page: Vec<IncomingMessage>) {
        let before = self.first.unwrap_or(Seq(u64::MAX));
        let page: Vec<_> = page.into_iter().filter(|incoming| incoming.seq < before).collect();
        let Some(oldest) = page.first().map(|incoming| incoming.seq) else {
            self.at_oldest = true;
            return;
        };
        let newest = page.last().map_or(oldest, |incoming| incoming.seq);
        self.at_oldest = oldest <= Seq::FIRST;
        if self.first.is_none() {
            self.next = newest.next();
            self.head = self.head.max(newest);
        }
        self.first = Some(oldest);
        // A change comes after its target, and both may be in this page.
        for (seq, change) in page.iter().filter_map(Change::of) {
            let in_page = page.iter().find(|incoming| incoming.seq == change.target).map(|incoming| incoming.device);
            let author = in_page.or_else(|| self.entry(change.target).map(|entry| entry.device));
            self.changes.add(seq, change, author);
        }
        let mut shown: Vec<Item> = Vec::new();
        for incoming in page {
            self.admit(incoming, |item| {
                if !shown.last_mut().is_some_and(|last| last.absorb(&item)) {
                    shown.push(item);
                }
            });
        }
        self.bytes += shown.iter().map(Item::bytes).sum::<usize>();
        for item in shown.into_iter().rev() {
            self.items.push_front(item);
        }
        self.trim(KeptEnd::Oldest);
    }

    /// Adds a page that begins where the window ends; returns whether the window is live now.
    pub(crate) fn extend(&mut self, page: Vec<IncomingMessage>) -> bool {
        for incoming in page {
            if incoming.seq >= self.next {
                self.next = incoming.seq.next();
                self.head = self.head.max(incoming.seq);
                self.push_back(incoming);
            }
        }
        self.trim(KeptEnd::Newest);
        self.is_live()
    }

    /// Empties the window, to start another one at `next`, or at the next page if `None`.
    pub(crate) fn clear(&mut self, next: Option<Seq>) {
        let head = self.head;
        *self = Self { head, next: next.unwrap_or_default(), first: next, trust: self.trust, ..Self::default() };
    }

    /// What was said from `next` on was not said: it comes as it was.
    pub(crate) fn go_back(&mut self, next: Seq) {
        if self.first.is_none_or(|first| first >= next) {
            let first = self.first.map(|_| next);
            *self = Self {
                head: self.head.min(Seq(next.0.saturating_sub(1))),
                next,
                first,
                trust: self.trust,
                ..Self::default()
            };
            return;
        }
        let at = self.find(ItemKey::of(next)).unwrap_or_else(|at| at);
        let gone: usize = self.items.drain(at..).map(|item| item.bytes()).sum();
        self.bytes = self.bytes.saturating_sub(gone);
        self.next = self.next.min(next);
        self.head = self.head.min(Seq(next.0.saturating_sub(1)));
    }

    /// Starts again with another log.
    pub(crate) fn restart(&mut self) {
        *self = Self { at_oldest: true, trust: self.trust, ..Self::default() };
    }

    /// Raises the head without a message.
    pub(crate) fn set_head(&mut self, head: Seq) {
        self.head = self.head.max(head);
    }

    /// Adds an item that is not in the log to the end of the window, if that is live.
    pub(crate) fn note(&mut self, content: ItemContent, at_us: u64) {
        // Before a page is read its position is unknown.
        if !self.is_live() || (self.is_unread() && self.head > Seq::ZERO) {
            return;
        }
        let key = self.items.back().map_or(ItemKey::of(self.head), |last| last.key.following());
        let item = Item { key, at_us, content };
        self.bytes += item.bytes();
        if !self.items.back_mut().is_some_and(|last| last.absorb(&item)) {
            self.items.push_back(item);
        }
    }

    /// Shows that messages are missing and requested.
    pub(crate) fn missing(&mut self, range: SeqRange, at_us: u64) {
        let known = |item: &Item| matches!(item.content, ItemContent::Gap { range: shown, .. } if shown == range);
        if !self.items.iter().rev().take(64).any(known) {
            self.note(ItemContent::Gap { range, lost: false }, at_us);
        }
    }

    /// Removes the item of a gap whose messages have come.
    pub(crate) fn filled(&mut self, range: SeqRange) {
        self.items
            .retain(|item| !matches!(item.content, ItemContent::Gap { range: shown, lost: false } if shown == range));
    }

    /// Shows that missing messages are lost.
    pub(crate) fn lost(&mut self, range: SeqRange, at_us: u64) {
        self.filled(range);
        self.note(ItemContent::Gap { range, lost: true }, at_us);
        if self.is_live() && self.first.is_some() {
            self.next = self.next.max(range.last.next());
        }
        self.head = self.head.max(range.last);
    }

    /// Removes the item of a gap when its last message comes.
    fn fill_gap(&mut self, seq: Seq) {
        if let Some(Item { content: ItemContent::Gap { range, lost: false }, .. }) = self.items.back()
            && seq >= range.last
        {
            self.items.pop_back();
        }
    }

    fn push_back(&mut self, incoming: IncomingMessage) {
        let mut shown = None;
        self.admit(incoming, |item| shown = Some(item));
        let Some(item) = shown else { return };
        self.bytes += item.bytes();
        if !self.items.back_mut().is_some_and(|last| last.absorb(&item)) {
            self.items.push_back(item);
        }
    }

    /// Makes an item of a message, or applies it as a change to another one.
    fn admit(&mut self, incoming: IncomingMessage, show: impl FnOnce(Item)) {
        if incoming.kind.is_for_programs() {
            return;
        }
        let (key, at_us) = (ItemKey::of(incoming.seq), incoming.at_us);
        if let Some((seq, change)) = Change::of(&incoming) {
            return self.change(seq, change);
        }
        let content = if incoming.kind == Kind::Join {
            ItemContent::Presence(Presence::came(incoming.name))
        } else if matches!(incoming.kind, Kind::Leave { .. }) {
            ItemContent::Presence(Presence::left(incoming.name))
        } else {
            let mut entry = MessageEntry::of(incoming);
            self.changes.of(entry.seq).for_each(|change| entry.apply(change, self.trust));
            ItemContent::Message(Box::new(entry))
        };
        show(Item { key, at_us, content });
    }

    fn change(&mut self, seq: Seq, change: Change) {
        let target = change.target;
        let author = self.entry(target).map(|entry| entry.device);
        self.changes.add(seq, change, author);
        if let Ok(index) = self.find(ItemKey::of(target))
            && let Some(entry) = self.items[index].entry_mut()
        {
            entry.reset();
            self.changes.of(target).for_each(|change| entry.apply(change, self.trust));
        }
    }

    fn trim(&mut self, keep: KeptEnd) {
        while self.items.len() > MAX_ITEMS || self.bytes > MAX_BYTES {
            let gone = match keep {
                KeptEnd::Newest => self.items.pop_front(),
                KeptEnd::Oldest => self.items.pop_back(),
            };
            let Some(gone) = gone else { return };
            self.bytes = self.bytes.saturating_sub(gone.bytes());
            match keep {
                KeptEnd::Newest => self.begin_at(self.items.front().map_or(self.next, |item| item.key.seq)),
                KeptEnd::Oldest if gone.entry().is_some() => self.next = gone.key.seq,
                KeptEnd::Oldest => {}
            }
        }
    }

    fn begin_at(&mut self, first: Seq) {
        self.at_oldest = false;
        // Only now and then, since it searches all changes.
        if self.first.is_none_or(|before| before.0 / FORGET_EVERY != first.0 / FORGET_EVERY) {
            self.changes.forget_before(first);
        }
        self.first = Some(first);
    }
}

#[cfg(test)]
mod tests;
