//! Who has which message: counts, order, and when the last listener had it.

use super::{
    figure::{Figure, Outcome},
    stamp::Stamp,
};
use crate::histogram::Histogram;

/// How numbers are dealt out: message `n` is speaker `n mod S`'s, and to group `n / S mod G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deal {
    /// How many publish.
    pub speakers: usize,
    /// How many groups there are.
    pub groups: usize,
}

impl Deal {
    /// From one message of a speaker to a group to their next.
    #[must_use]
    pub const fn step(self) -> u64 {
        (self.speakers * self.groups) as u64
    }

    const fn speaker(self, number: u64) -> usize {
        // A division for each delivery would be felt, and mostly one speaker is alone.
        if self.speakers == 1 { 0 } else { (number % self.speakers as u64) as usize }
    }

    /// The first message of a speaker to a group.
    #[must_use]
    pub const fn first(self, speaker: usize, group: usize) -> u64 {
        (speaker + self.speakers * group) as u64
    }

    /// The messages of a speaker to a group among those from `from` on, below `upto`.
    pub fn numbers(self, speaker: usize, group: usize, from: u64, upto: u64) -> impl Iterator<Item = u64> + Clone {
        let (first, step) = (self.first(speaker, group), self.step());
        let skipped = from.saturating_sub(first).div_ceil(step);
        (first + skipped * step..upto).step_by(step as usize)
    }
}

/// What one listener expects of each speaker.
#[derive(Debug, Clone)]
pub struct Expected(Vec<u64>);

/// All messages of a measurement.
#[derive(Debug)]
pub struct Ledger {
    deal: Deal,
    listeners_per_group: u32,
    /// By number.
    open: Vec<Open>,
    /// Messages that reached a listener.
    pub delivered: u64,
    /// Messages that all listeners of their group have.
    pub completed: u64,
    disordered: u64,
    gaps: u64,
    last: Histogram,
}

/// A message under way.
#[derive(Debug, Clone, Copy)]
struct Open {
    number: u64,
    missing: u32,
}

impl Ledger {
    /// `under_way`: from the oldest message that is not complete to the newest, at most.
    #[must_use]
    pub fn new(deal: Deal, listeners_per_group: usize, under_way: usize) -> Self {
        let unused = Open { number: u64::MAX, missing: 0 };
        Self {
            deal,
            listeners_per_group: listeners_per_group as u32,
            open: vec![unused; under_way.next_power_of_two()],
            delivered: 0,
            completed: 0,
            disordered: 0,
            gaps: 0,
            last: Histogram::default(),
        }
    }

    /// What a listener of the group expects before the first message.
    #[must_use]
    pub fn expected(&self, group: usize) -> Expected {
        Expected((0..self.deal.speakers).map(|speaker| self.deal.first(speaker, group)).collect())
    }

    /// A listener has a message.
    pub fn deliver(&mut self, expected: &mut Expected, stamp: Stamp, now_ns: u64) {
        let next = &mut expected.0[self.deal.speaker(stamp.number)];
        if *next != stamp.number {
            self.disordered += 1;
        }
        *next = stamp.number + self.deal.step();
        self.delivered += 1;
        let place = stamp.number as usize & (self.open.len() - 1);
        let open = &mut self.open[place];
        if open.number != stamp.number {
            *open = Open { number: stamp.number, missing: self.listeners_per_group };
        }
        open.missing = open.missing.saturating_sub(1);
        if open.missing == 0 {
            self.completed += 1;
            self.last.add(now_ns.saturating_sub(stamp.due_ns));
        }
    }

    /// A listener is told that messages cannot be had.
    pub fn gap(&mut self, messages: u64) {
        self.gaps += messages;
    }

    /// Forgets how long messages took so far.
    pub fn begin(&mut self) {
        self.last = Histogram::default();
    }

    /// What is to be told at the end, when `published` messages should have reached everybody.
    pub fn finish(&self, published: u64, outcome: &mut Outcome) {
        let milliseconds = |quantile| Some(self.last.quantile(quantile)? as f64 / 1e6);
        outcome.set(Figure::LastP50, milliseconds(0.5));
        outcome.set(Figure::LastP99, milliseconds(0.99));
        let expected = published * u64::from(self.listeners_per_group);
        outcome.fault(expected.saturating_sub(self.delivered), "deliveries missing");
        outcome.fault(self.delivered.saturating_sub(expected), "deliveries too many");
        outcome.fault(self.disordered, "deliveries out of order");
        outcome.fault(self.gaps, "messages told to be lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp { number, due_ns: 1_000_000 }
    }

    #[test]
    fn every_number_is_dealt_once() {
        let deal = Deal { speakers: 3, groups: 4 };
        let mut dealt: Vec<u64> = Vec::new();
        for (speaker, group) in (0..3).flat_map(|speaker| (0..4).map(move |group| (speaker, group))) {
            let numbers: Vec<_> = deal.numbers(speaker, group, 17, 100).collect();
            assert!(numbers.iter().all(|number| deal.speaker(*number) == speaker), "{numbers:?}");
            dealt.extend(numbers);
        }
        dealt.sort_unstable();
        assert!(dealt.into_iter().eq(17..100));
        let alone = Deal { speakers: 1, groups: 1 };
        assert!(alone.numbers(0, 0, 5, 8).eq(5..8) && alone.numbers(0, 0, 8, 8).count() == 0);
    }

    #[test]
    fn a_message_is_complete_when_all_have_it() {
        let mut ledger = Ledger::new(Deal { speakers: 1, groups: 1 }, 2, 4);
        let (mut ani, mut budi) = (ledger.expected(0), ledger.expected(0));
        ledger.deliver(&mut ani, stamp(0), 3_000_000);
        ledger.deliver(&mut ani, stamp(1), 3_000_000);
        assert_eq!(ledger.completed, 0);
        ledger.deliver(&mut budi, stamp(0), 5_000_000);
        assert_eq!((ledger.completed, ledger.delivered), (1, 3));
        let mut outcome = Outcome::default();
        ledger.finish(2, &mut outcome);
        assert_eq!(outcome.faults, ["1 deliveries missing"]);
        assert!((outcome.figures[&Figure::LastP99] - 4.0).abs() < 0.1, "{outcome:?}");
    }

    #[test]
    fn repeated_and_missed_messages_are_faults() {
        let mut ledger = Ledger::new(Deal { speakers: 2, groups: 1 }, 1, 8);
        let mut ani = ledger.expected(0);
        // Those of another speaker may come between.
        for number in [0, 1, 3, 2, 2, 6] {
            ledger.deliver(&mut ani, stamp(number), 2_000_000);
        }
        let mut outcome = Outcome::default();
        ledger.gap(3);
        ledger.finish(6, &mut outcome);
        assert_eq!(outcome.faults, ["2 deliveries out of order", "3 messages told to be lost"]);
    }
}
