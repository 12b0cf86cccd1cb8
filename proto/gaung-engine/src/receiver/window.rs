//! The receive window: places from the next message to deliver on, held or missing.

use std::{collections::VecDeque, time::Instant};

use gaung_proto::{Pkt, Seq, SeqRange, block::Message, messages::Messages, net::Lane};

use super::spans::{MissingSpans, MissingState};

/// Places that datagrams can fill; what is further ahead comes from the log. 109 ms at 300 000 messages a second: several
/// rounds of repair.
pub(super) const PLACES: u64 = 32_768;
/// Bytes that datagrams can fill; the place at the front is always free.
pub(super) const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// What held messages in a row cost besides their block.
const OVERHEAD: usize = 192;

/// A dense row of places from `first` on.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    first: Seq,
    /// In seq order, apart, none of them empty.
    held: VecDeque<HeldPiece>,
    /// After the last place, held or missing.
    end: Seq,
    missing: MissingSpans,
    held_bytes: usize,
}

/// Messages in a row that came together and wait for those before them.
#[derive(Debug, Clone)]
struct HeldPiece {
    messages: Messages,
    lane: Lane,
    arrived: Instant,
    /// Bytes counted for them: of several pieces of one block the last, which goes last, has all of the block's.
    bytes: usize,
}

impl ReceiveWindow {
    pub(super) fn new(first: Seq) -> Self {
        Self { first, held: VecDeque::new(), end: first, missing: MissingSpans::default(), held_bytes: 0 }
    }

    /// Returns the seq of the next message to deliver.
    pub(super) const fn first(&self) -> Seq {
        self.first
    }

    /// Returns the seq after the last place.
    pub(super) const fn end(&self) -> Seq {
        self.end
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) const fn missing(&self) -> &MissingSpans {
        &self.missing
    }

    pub(super) const fn missing_mut(&mut self) -> &mut MissingSpans {
        &mut self.missing
    }

    /// Returns the first seq that is held.
    pub(super) fn first_held(&self) -> Option<Seq> {
        self.held.front().map(|held| held.messages.next_seq())
    }

    /// Returns the seq after the last one that is held; the first place if none is.
    pub(super) fn held_end(&self) -> Seq {
        self.held.back().map_or(self.first, |held| held.messages.end())
    }

    pub(super) fn is_held(&self, seq: Seq) -> bool {
        let index = self.held.partition_point(|held| held.messages.end() <= seq);
        self.held.get(index).is_some_and(|held| held.messages.next_seq() <= seq)
    }

    /// Makes missing places up to before `end`.
    pub(super) fn extend(&mut self, end: Seq, missing: MissingState) {
        if let Some(range) = SeqRange::new(self.end, Seq(end.0.saturating_sub(1))) {
            self.missing.add(range, missing);
            self.end = end;
        }
    }

    /// Fills places with `messages`; returns how many messages are new. The places before them must exist. `pkt`: the
    /// first-sent datagram that they were in.
    pub(super) fn hold(&mut self, mut messages: Messages, lane: Lane, arrived: Instant, pkt: Option<Pkt>) -> u64 {
        // Blocks overlap what was delivered where a repair or a run crosses the original.
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
            self.insert(HeldPiece { messages: piece, lane, arrived, bytes: block_bytes + OVERHEAD });
        }
        ranges.iter().map(SeqRange::len).sum()
    }

    fn insert(&mut self, held: HeldPiece) {
        self.held_bytes += held.bytes;
        let index = self.held.partition_point(|other| other.messages.next_seq() < held.messages.next_seq());
        self.held.insert(index, held);
    }

    /// Drops what came by multicast and has a message in `range`; returns its places, which are missing again.
    pub(super) fn release(&mut self, range: SeqRange, missing: MissingState) -> Vec<SeqRange> {
        let mut released = Vec::new();
        self.held.retain(|held| {
            let (first, end) = (held.messages.next_seq(), held.messages.end());
            let is_kept = held.lane != Lane::Multicast || end <= range.first || range.last < first;
            if !is_kept {
                released.extend(SeqRange::new(first, Seq(end.0 - 1)));
                self.held_bytes -= held.bytes;
            }
            is_kept
        });
        for range in &released {
            self.missing.add(*range, missing);
        }
        released
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
            // What came after the log was asked for its end may have been logged since.
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
                self.missing.add(range, MissingState::new(since, since, None));
            }
            from = held.messages.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::test_messages::messages;

    /// The same by single messages: which are held, and since when.
    struct Model {
        first: u64,
        end: u64,
        held: BTreeMap<u64, Instant>,
    }

    impl Model {
        fn hold(&mut self, first: u64, count: u64, now: Instant) -> bool {
            let before = self.held.len();
            for seq in (first..first + count).filter(|seq| *seq >= self.first) {
                self.held.entry(seq).or_insert(now);
            }
            self.end = self.end.max(first + count);
            self.held.len() > before
        }

        fn skip_to(&mut self, seq: u64) {
            self.first = self.first.max(seq);
            self.end = self.end.max(self.first);
            self.held = self.held.split_off(&self.first);
        }

        fn cut(&mut self, end: u64, since: Instant) {
            self.held.retain(|seq, arrived| *seq < end || *arrived > since);
            let held_end = self.held.last_key_value().map_or(0, |(seq, _)| seq + 1);
            self.end = self.end.min(end).max(held_end).max(self.first);
        }

        fn compare(&self, window: &ReceiveWindow, context: &str) {
            assert_eq!((window.first(), window.end()), (Seq(self.first), Seq(self.end)), "{context}");
            let missing: Vec<u64> = window.missing().rows().flat_map(|row| row.first.0..=row.last.0).collect();
            let expected: Vec<u64> = (self.first..self.end).filter(|seq| !self.held.contains_key(seq)).collect();
            assert_eq!(missing, expected, "{context}");
            assert_eq!(window.missing().messages(), missing.len() as u64, "{context}");
            assert_eq!(window.first_held(), self.held.first_key_value().map(|(seq, _)| Seq(*seq)), "{context}");
            let around = self.first.saturating_sub(2)..self.end + 2;
            assert!(around.clone().all(|seq| window.is_held(Seq(seq)) == self.held.contains_key(&seq)), "{context}");
            assert_eq!(window.held_bytes() == 0, self.held.is_empty(), "{context}");
        }
    }

    #[test]
    fn pieces_behave_as_single_messages_would() {
        for seed in 0..300 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let began = Instant::now();
            let mut window = ReceiveWindow::new(Seq(10));
            let mut model = Model { first: 10, end: 10, held: BTreeMap::new() };
            for step in 0..120_u64 {
                let (now, context) = (began + Duration::from_millis(step), format!("seed {seed}, step {step}"));
                let near = rng.random_range(model.first.saturating_sub(4)..model.end + 5).max(1);
                match rng.random_range(0..20) {
                    0 => {
                        window.skip_to(Seq(near));
                        model.skip_to(near);
                    }
                    1 => {
                        let since = began + Duration::from_millis(rng.random_range(0..=step));
                        window.cut(Seq(near), since);
                        model.cut(near, since);
                    }
                    2..8 => {
                        let popped = window.pop().map(|(message, _)| (message.seq.0, message.client_seq.0));
                        let expected = model.held.remove(&model.first).map(|_| (model.first, model.first));
                        model.first += u64::from(expected.is_some());
                        assert_eq!(popped, expected, "{context}");
                    }
                    _ => {
                        let count = rng.random_range(1..8);
                        window.extend(Seq(near), MissingState::new(now, now, None));
                        let is_new =
                            window.hold(messages(near, &vec![b"halo"; count as usize]), Lane::Multicast, now, None);
                        assert_eq!(is_new > 0, model.hold(near, count, now), "{context}");
                    }
                }
                model.compare(&window, &context);
            }
        }
    }
}
