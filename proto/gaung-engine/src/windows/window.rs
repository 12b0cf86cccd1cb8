//! The window of one client: which of its messages were logged, and under which seqs.

use std::collections::VecDeque;

use gaung_proto::{Seq, limits::CLIENT_WINDOW};

use crate::claim::ChargedShare;

use super::DuplicateCheck;

/// Consecutive client_seqs that have consecutive seqs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeqRow {
    pub(super) first: u64,
    pub(super) seq: u64,
    /// How many messages the row has, at least 1.
    pub(super) count: u64,
}

impl SeqRow {
    pub(super) const BYTES: usize = size_of::<Self>();

    /// Returns the client_seq after its last one.
    const fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Returns the part that has seqs up to `head`.
    pub(super) fn up_to(self, head: u64) -> Option<Self> {
        let count = self.count.min(head.checked_sub(self.seq)?.saturating_add(1));
        Some(Self { count, ..self })
    }

    fn continues(&self, next: &Self) -> bool {
        self.end() == next.first && self.seq + self.count == next.seq
    }
}

/// The [`CLIENT_WINDOW`] messages of a client that have the highest client_seqs, as rows. A message far ahead pushes
/// out one older message and no more, so that a client that counts wrongly once can continue where it was.
#[derive(Debug)]
pub(super) struct ClientWindow {
    /// The hash of its owner, or [`UNCLAIMED`](crate::claim::UNCLAIMED).
    pub(super) owner: u64,
    pub(super) charged: ChargedShare,
    /// Names its entry in the order of eviction.
    pub(super) ticket: u64,
    /// When it last published, ms since 1970 by the relay's clock.
    pub(super) at_unix_ms: i64,
    /// Of lower client_seqs it is not known any more which were logged; survives a roll-back.
    floor: u64,
    /// By client_seq, disjoint; all before `last`.
    older: VecDeque<SeqRow>,
    /// The row with the highest client_seq. Apart, for most clients have no other.
    last: SeqRow,
    /// Messages in all rows together.
    messages: u64,
}

impl ClientWindow {
    /// Makes the window of a new client. Whether much older messages of it were logged is not known.
    pub(super) fn starting_with(row: SeqRow) -> Self {
        let mut window = Self {
            owner: crate::claim::UNCLAIMED,
            charged: crate::Claimant::UNKNOWN.charged,
            ticket: 0,
            at_unix_ms: 0,
            floor: row.first.saturating_sub(CLIENT_WINDOW - 1).max(1),
            older: VecDeque::new(),
            last: row,
            messages: row.count,
        };
        window.trim();
        window
    }

    /// Makes a window from a snapshot: `rows` by client_seq, disjoint, at least one and at most [`CLIENT_WINDOW`]
    /// messages together.
    pub(super) fn from_rows(floor: u64, mut rows: VecDeque<SeqRow>) -> Option<Self> {
        let messages = rows.iter().map(|row| row.count).sum();
        let last = rows.pop_back()?;
        Some(Self { floor, older: rows, messages, ..Self::starting_with(last) })
    }

    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns the rows in the order of client_seq.
    pub(super) fn rows(&self) -> impl Iterator<Item = SeqRow> {
        self.older.iter().copied().chain([self.last])
    }

    /// Returns the bytes of its rows, besides the one that each client has.
    pub(super) fn bytes(&self) -> usize {
        self.older.len() * SeqRow::BYTES
    }

    pub(super) fn check(&self, client_seq: u64) -> DuplicateCheck {
        if client_seq < self.floor {
            return DuplicateCheck::OutOfWindow;
        }
        self.find(client_seq).map_or(DuplicateCheck::New, |seq| DuplicateCheck::Duplicate(Seq(seq)))
    }

    /// Whether all client_seqs from `first` on are higher than any that was seen.
    pub(super) fn is_after(&self, first: u64) -> bool {
        first >= self.last.end().max(self.floor)
    }

    /// Records a row. Messages recorded before keep their seqs.
    pub(super) fn record(&mut self, row: SeqRow) {
        if self.is_after(row.first) {
            self.push(row);
        } else {
            for index in 0..row.count {
                let single = SeqRow { first: row.first + index, seq: row.seq + index, count: 1 };
                if self.is_after(single.first) { self.push(single) } else { self.insert(single) }
            }
        }
        self.trim();
    }

    /// Forgets seqs above `head`; false if nothing is left.
    pub(super) fn forget_after(&mut self, head: u64) -> bool {
        let rows: VecDeque<SeqRow> = self.rows().filter_map(|row| row.up_to(head)).collect();
        self.messages = rows.iter().map(|row| row.count).sum();
        self.older = rows;
        let last = self.older.pop_back();
        self.last = last.unwrap_or(self.last);
        last.is_some()
    }

    fn find(&self, client_seq: u64) -> Option<u64> {
        let row = if client_seq >= self.last.first {
            &self.last
        } else {
            let behind = self.older.partition_point(|row| row.first <= client_seq);
            self.older.get(behind.checked_sub(1)?)?
        };
        (client_seq < row.end()).then(|| row.seq + (client_seq - row.first))
    }

    /// Adds a row above the highest.
    fn push(&mut self, row: SeqRow) {
        if self.last.continues(&row) {
            self.last.count += row.count;
        } else {
            let before = std::mem::replace(&mut self.last, row);
            self.older.push_back(before);
        }
        self.messages += row.count;
    }

    /// Adds a single message below the highest.
    fn insert(&mut self, row: SeqRow) {
        if row.first < self.floor || self.find(row.first).is_some() {
            return;
        }
        self.messages += 1;
        let at = self.older.partition_point(|other| other.first < row.first);
        let before = at.checked_sub(1).and_then(|index| self.older.get_mut(index));
        if let Some(before) = before.filter(|before| before.continues(&row)) {
            before.count += 1;
            let joined = *before;
            if let Some(next) = self.older.get(at).copied().filter(|next| joined.continues(next)) {
                self.older[at - 1].count += next.count;
                self.older.remove(at);
            } else if at == self.older.len() && joined.continues(&self.last) {
                self.older.pop_back();
                self.last = SeqRow { count: joined.count + self.last.count, ..joined };
            }
            return;
        }
        let next = self.older.get_mut(at).unwrap_or(&mut self.last);
        if row.continues(next) {
            *next = SeqRow { count: next.count + 1, ..row };
        } else {
            self.older.insert(at, row);
        }
    }

    /// Drops the lowest client_seqs above the window's size, and raises the floor.
    fn trim(&mut self) {
        while self.messages > CLIENT_WINDOW {
            let excess = self.messages - CLIENT_WINDOW;
            let lowest = self.older.front_mut().unwrap_or(&mut self.last);
            let dropped = excess.min(lowest.count);
            *lowest =
                SeqRow { first: lowest.first + dropped, seq: lowest.seq + dropped, count: lowest.count - dropped };
            self.floor = self.floor.max(lowest.first);
            self.messages -= dropped;
            if self.older.front().is_some_and(|row| row.count == 0) {
                self.older.pop_front();
            }
        }
    }
}
