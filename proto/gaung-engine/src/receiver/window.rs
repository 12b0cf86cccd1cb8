//! The places from the next message to be delivered on: held, or missing.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{Pkt, Seq, SeqRange, block::Message, net::Lane};

use super::spans::{Missing, Spans};

/// Places that datagrams can fill; what is further ahead comes from the log. 109 ms at 300 000 messages a second: several
/// rounds of repair. An empty place costs some 128 B, so at most 4 MiB besides [`MAX_HELD_BYTES`].
pub(super) const PLACES: u64 = 32_768;
/// Bytes that datagrams can fill; the place at the front is always free.
pub(super) const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// What a held message costs besides its payload.
const OVERHEAD: usize = 160;

/// Dense places from `first` on.
#[derive(Debug)]
pub(super) struct Window {
    first: Seq,
    /// From `first` to the last one held.
    places: VecDeque<Option<Held>>,
    /// After the last place, held or missing.
    end: Seq,
    missing: Spans,
    held_bytes: usize,
}

/// A message that waits for those before it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Message,
    pub(super) lane: Lane,
    pub(super) arrived: Instant,
}

impl Window {
    pub(super) fn new(first: Seq) -> Self {
        Self { first, places: VecDeque::new(), end: first, missing: Spans::default(), held_bytes: 0 }
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

    pub(super) fn is_held(&self, seq: Seq) -> bool {
        let index = seq.0.checked_sub(self.first.0).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.places.get(index)).is_some_and(Option::is_some)
    }

    /// Makes missing places up to before `end`.
    pub(super) fn extend(&mut self, end: Seq, missing: Missing) {
        if let Some(range) = SeqRange::new(self.end, Seq(end.0.saturating_sub(1))) {
            self.missing.add(range, missing);
            self.end = end;
        }
    }

    /// Fills a place from the first one to the one at the end; false if it was held already. `pkt`: the first-sent
    /// datagram that it was in.
    pub(super) fn hold(&mut self, held: Held, pkt: Option<Pkt>) -> bool {
        let seq = held.message.seq;
        let index = (seq.0 - self.first.0) as usize;
        if seq == self.end {
            self.end = seq.next();
        } else if !self.missing.fill(seq, pkt) {
            return false;
        }
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        self.held_bytes += held.message.payload.len() + OVERHEAD;
        self.places[index] = Some(held);
        true
    }

    /// Takes the front message if it has come.
    pub(super) fn pop(&mut self) -> Option<Held> {
        let held = self.places.front_mut()?.take()?;
        self.places.pop_front();
        self.first = self.first.next();
        self.held_bytes -= held.message.payload.len() + OVERHEAD;
        Some(held)
    }

    /// Gives up the places before `seq`. Held ones among them are dropped.
    pub(super) fn skip_to(&mut self, seq: Seq) {
        while self.first < seq {
            match self.places.pop_front() {
                Some(place) => {
                    self.first = self.first.next();
                    self.release(place);
                }
                None => self.first = seq,
            }
        }
        self.end = self.end.max(self.first);
        self.missing.forget_below(self.first);
    }

    /// Drops the places from `end` on that are missing, or held since before `since`.
    pub(super) fn cut(&mut self, end: Seq, since: Instant) {
        let from = end.0.saturating_sub(self.first.0) as usize;
        for index in from..self.places.len() {
            let place = self.places[index].take_if(|held| held.arrived <= since);
            self.release(place);
        }
        while self.places.len() > from && self.places.back().is_some_and(Option::is_none) {
            self.places.pop_back();
        }
        self.end = self.end.min(end).max(self.first.plus(self.places.len() as u64));
        self.missing.forget_from(end.max(self.first));
        for index in from..self.places.len() {
            if self.places[index].is_none() {
                let seq = self.first.plus(index as u64);
                self.missing.add(SeqRange { first: seq, last: seq }, Missing::new(since, since, None));
            }
        }
    }

    fn release(&mut self, place: Option<Held>) {
        if let Some(held) = place {
            self.held_bytes -= held.message.payload.len() + OVERHEAD;
        }
    }
}
