//! The places from the next message to be delivered on: held, or missing.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{Seq, block::Message, net::Lane};

/// Places that datagrams can fill; what is further ahead comes from the log.
pub(super) const PLACES: u64 = 2048;
/// Bytes that datagrams can fill; the place at the front is always free.
pub(super) const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// What a held message costs besides its payload.
const OVERHEAD: usize = 160;

/// Dense places from `first` on.
#[derive(Debug)]
pub(super) struct Window {
    first: Seq,
    places: VecDeque<Place>,
    held_bytes: usize,
    missing: usize,
}

/// One message's place.
#[derive(Debug)]
pub(super) enum Place {
    Missing(Missing),
    Held(Held),
}

/// A message that waits for those before it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Message,
    pub(super) lane: Lane,
    pub(super) arrived: Instant,
}

/// A message that has not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing {
    /// When it was missed.
    pub(super) since: Instant,
    /// When to do something about it.
    pub(super) due: Instant,
    /// NAKs sent for it.
    pub(super) naks: u8,
    /// NCFs heeded for it.
    pub(super) silenced: u8,
}

impl Window {
    pub(super) const fn new(first: Seq) -> Self {
        Self { first, places: VecDeque::new(), held_bytes: 0, missing: 0 }
    }

    /// The next message to be delivered.
    pub(super) const fn first(&self) -> Seq {
        self.first
    }

    /// After the last place.
    pub(super) fn end(&self) -> Seq {
        self.first.plus(self.places.len() as u64)
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) const fn missing_count(&self) -> usize {
        self.missing
    }

    pub(super) fn is_held(&self, seq: Seq) -> bool {
        matches!(self.place(seq), Some(Place::Held(_)))
    }

    pub(super) fn missing_mut(&mut self, seq: Seq) -> Option<&mut Missing> {
        let index = seq.0.checked_sub(self.first.0)?;
        match self.places.get_mut(usize::try_from(index).ok()?)? {
            Place::Missing(missing) => Some(missing),
            Place::Held(_) => None,
        }
    }

    /// The missing ones in order.
    pub(super) fn missing(&mut self) -> impl Iterator<Item = (Seq, &mut Missing)> {
        let first = self.first;
        self.places.iter_mut().enumerate().filter_map(move |(i, place)| match place {
            Place::Missing(missing) => Some((first.plus(i as u64), missing)),
            Place::Held(_) => None,
        })
    }

    /// Makes missing places up to before `end`.
    pub(super) fn extend(&mut self, end: Seq, missing: Missing) {
        while self.end() < end {
            self.places.push_back(Place::Missing(missing));
            self.missing += 1;
        }
    }

    /// Fills a place within the window; false if it was held already.
    pub(super) fn hold(&mut self, held: Held) -> bool {
        let seq = held.message.seq;
        let index = (seq.0 - self.first.0) as usize;
        let cost = held.message.payload.len() + OVERHEAD;
        if index == self.places.len() {
            self.places.push_back(Place::Held(held));
        } else {
            match &mut self.places[index] {
                Place::Held(_) => return false,
                place @ Place::Missing(_) => *place = Place::Held(held),
            }
            self.missing -= 1;
        }
        self.held_bytes += cost;
        true
    }

    /// Takes the front message if it has come.
    pub(super) fn pop(&mut self) -> Option<Held> {
        if !matches!(self.places.front(), Some(Place::Held(_))) {
            return None;
        }
        let place = self.places.pop_front();
        self.first = self.first.next();
        match place {
            Some(Place::Held(held)) => {
                self.held_bytes -= held.message.payload.len() + OVERHEAD;
                Some(held)
            }
            Some(Place::Missing(_)) | None => None,
        }
    }

    /// Gives up the places before `seq`; the ones at the front must be missing. Held ones among them are dropped.
    pub(super) fn skip_to(&mut self, seq: Seq) {
        while self.first < seq {
            let Some(place) = self.places.pop_front() else {
                self.first = seq;
                return;
            };
            self.first = self.first.next();
            self.release(&place);
        }
    }

    /// Drops the places from `end` on that are missing, or held since before `since`.
    pub(super) fn cut(&mut self, end: Seq, since: Instant) {
        for index in (0..self.places.len()).rev() {
            if self.first.plus(index as u64) < end {
                break;
            }
            let keep = match &self.places[index] {
                Place::Held(held) => held.arrived > since,
                Place::Missing(_) => index + 1 < self.places.len(),
            };
            if keep {
                continue;
            }
            let gone = match self.places.len() == index + 1 {
                true => self.places.pop_back(),
                false => {
                    let missing = Missing { since, due: since, naks: 0, silenced: 0 };
                    self.missing += 1;
                    Some(std::mem::replace(&mut self.places[index], Place::Missing(missing)))
                }
            };
            gone.iter().for_each(|place| self.release(place));
        }
    }

    fn release(&mut self, place: &Place) {
        match place {
            Place::Held(held) => self.held_bytes -= held.message.payload.len() + OVERHEAD,
            Place::Missing(_) => self.missing -= 1,
        }
    }

    fn place(&self, seq: Seq) -> Option<&Place> {
        let index = seq.0.checked_sub(self.first.0)?;
        self.places.get(usize::try_from(index).ok()?)
    }
}
