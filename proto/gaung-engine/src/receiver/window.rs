//! The places from the next message to be delivered on: held, or missing.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{Pkt, Seq, SeqRange, block::Message, messages::Messages, net::Lane};

use super::spans::{Missing, Spans};

/// Places that datagrams can fill; what is further ahead comes from the log. 109 ms at 300 000 messages a second: several
/// rounds of repair.
pub(super) const PLACES: u64 = 32_768;
/// Bytes that datagrams can fill; the place at the front is always free.
pub(super) const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// What held messages in a row cost besides their block.
const OVERHEAD: usize = 192;

/// Dense places from `first` on.
#[derive(Debug)]
pub(super) struct Window {
    first: Seq,
    /// In seq order, apart, none of them empty.
    held: VecDeque<Held>,
    /// After the last place, held or missing.
    end: Seq,
    missing: Spans,
    held_bytes: usize,
}

/// Messages in a row that came together and wait for those before them.
#[derive(Debug, Clone)]
struct Held {
    messages: Messages,
    lane: Lane,
    arrived: Instant,
    /// Bytes counted for them: of several pieces of one block the last, which goes last, has all of the block's.
    bytes: usize,
}

impl Window {
    pub(super) fn new(first: Seq) -> Self {
        Self { first, held: VecDeque::new(), end: first, missing: Spans::default(), held_bytes: 0 }
    }

    /// The next message to be delivered.
    pub(super) const fn first(&self) -> Seq {
        self.first
    }

    /// After the last place.
    pub(super) const fn end(&self) -> Seq {
        self.end
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) const fn missing(&self) -> &Spans {
        &self.missing
    }

    pub(super) const fn missing_mut(&mut self) -> &mut Spans {
        &mut self.missing
    }

    /// The first one that is held.
    pub(super) fn first_held(&self) -> Option<Seq> {
        self.held.front().map(|held| held.messages.next_seq())
    }

    pub(super) fn is_held(&self, seq: Seq) -> bool {
        let index = self.held.partition_point(|held| held.messages.end() <= seq);
        self.held.get(index).is_some_and(|held| held.messages.next_seq() <= seq)
    }

    /// Makes missing places up to before `end`.
    pub(super) fn extend(&mut self, end: Seq, missing: Missing) {
        if let Some(range) = SeqRange::new(self.end, Seq(end.0.saturating_sub(1))) {
            self.missing.add(range, missing);
            self.end = end;
        }
    }

    /// Fills places from the first one on, of which those before `messages` were made; false if nothing is new.
    /// `pkt`: the first-sent datagram that they were in.
    pub(super) fn hold(&mut self, mut messages: Messages, lane: Lane, arrived: Instant, pkt: Option<Pkt>) -> bool {
        messages.skip_to(self.first);
        let (first, end) = (messages.next_seq(), messages.end());
        let before_end = SeqRange::new(first, Seq(self.end.min(end).0.saturating_sub(1)));
        let mut ranges = before_end.map_or_else(Vec::new, |range| self.missing.fill(range, pkt));
        ranges.extend(SeqRange::new(first.max(self.end), Seq(end.0.saturating_sub(1))));
        self.end = self.end.max(end);
        for (index, range) in ranges.iter().enumerate() {
            messages.skip_to(range.first);
            let mut piece = messages.clone();
            piece.cut(range.last.next());
            let block_bytes = if index + 1 == ranges.len() { piece.block_bytes() } else { 0 };
            self.insert(Held { messages: piece, lane, arrived, bytes: block_bytes + OVERHEAD });
        }
        !ranges.is_empty()
    }

    fn insert(&mut self, held: Held) {
        self.held_bytes += held.bytes;
        let index = self.held.partition_point(|other| other.messages.next_seq() < held.messages.next_seq());
        self.held.insert(index, held);
    }

    /// Takes the front message if it has come.
    pub(super) fn pop(&mut self) -> Option<(Message, Lane)> {
        let front = self.held.front_mut().filter(|front| front.messages.next_seq() == self.first)?;
        let (message, lane) = (front.messages.next()?, front.lane);
        self.first = self.first.next();
        self.release_front();
        Some((message, lane))
    }

    /// Gives up the places before `seq`. Held ones among them are dropped.
    pub(super) fn skip_to(&mut self, seq: Seq) {
        while let Some(front) = self.held.front_mut().filter(|front| front.messages.next_seq() < seq) {
            front.messages.skip_to(seq);
            self.release_front();
        }
        self.first = self.first.max(seq);
        self.end = self.end.max(self.first);
        self.missing.forget_below(self.first);
    }

    /// Drops what is at the front, if nothing of it is left.
    fn release_front(&mut self) {
        if self.held.front().is_some_and(|front| front.messages.is_empty())
            && let Some(front) = self.held.pop_front()
        {
            self.held_bytes -= front.bytes;
        }
    }

    /// Drops the places from `end` on that are missing, or held since before `since`.
    pub(super) fn cut(&mut self, end: Seq, since: Instant) {
        let held_bytes = &mut self.held_bytes;
        self.held.retain_mut(|held| {
            if held.arrived <= since {
                held.messages.cut(end);
            }
            let is_kept = !held.messages.is_empty();
            *held_bytes -= if is_kept { 0 } else { held.bytes };
            is_kept
        });
        let held_end = self.held.back().map_or(self.first, |held| held.messages.end());
        self.end = self.end.min(end).max(held_end).max(self.first);
        let mut from = end.max(self.first);
        self.missing.forget_from(from);
        for held in self.held.iter().filter(|held| held.messages.end() > end) {
            if let Some(range) = SeqRange::new(from, Seq(held.messages.next_seq().0 - 1)) {
                self.missing.add(range, Missing::new(since, since, None));
            }
            from = held.messages.end();
        }
    }
}
