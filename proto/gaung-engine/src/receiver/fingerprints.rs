//! Keeps a short hash of the message taken under each seq, so that a forged one is noticed when the true one comes.

use std::{collections::VecDeque, hash::Hasher as _};

use gaung_proto::{Seq, SeqRange, block::MessageRef, messages::Messages, net::Lane};
use siphasher::sip::SipHasher13;

use super::window::PLACES;

/// Delivered messages whose hashes are kept, 4 bytes each. A true message comes within moments of the forged one that
/// took its place; what is older is noticed by the head of the log.
const KEPT: u64 = 8192;
/// Hashes at most: of what was delivered, and of what datagrams can fill ahead of it. What waits further ahead came by the
/// hub or from the log, and is believed as it is.
const MAX_MARKS: u64 = KEPT + PLACES;

/// A hash of one message, and whether the log itself vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    /// Nothing was taken under this seq.
    const NONE: Self = Self(0);
    /// Set in what came from the log, by the hub or by reading.
    const PROVEN: u32 = 1;
    /// Set in all that stand for a message.
    const TAKEN: u32 = 2;
    /// Set in what came in several datagrams.
    const PARTED: u32 = 4;
    const FLAGS: u32 = Self::PROVEN | Self::TAKEN | Self::PARTED;

    /// Hashes one message with the seed of this process: a keyed hash, so that nobody can make a message that has
    /// another's.
    fn of(seed: u64, message: &MessageRef<'_>, lane: Lane) -> Self {
        let mut head = [0; 56];
        head[..16].copy_from_slice(&message.author.client.0);
        head[16..32].copy_from_slice(&message.author.device.0);
        head[32..40].copy_from_slice(&message.client_seq.0.to_le_bytes());
        head[40..48].copy_from_slice(&message.sent_at.0.to_le_bytes());
        head[48] = message.content_type.to_byte();
        head[49..].copy_from_slice(&(message.payload.len() as u64).to_le_bytes()[..7]);
        let mut hasher = SipHasher13::new_with_keys(seed, 0);
        hasher.write(&head);
        hasher.write(message.payload);
        let hash = hasher.finish() as u32 & !Self::FLAGS;
        let proven = if lane == Lane::Multicast { 0 } else { Self::PROVEN };
        Self(hash | Self::TAKEN | proven)
    }

    const fn is_proven(self) -> bool {
        self.0 & Self::PROVEN != 0
    }

    /// Whether it stands for a message that came by multicast alone.
    const fn is_unproven(self) -> bool {
        self.0 & (Self::TAKEN | Self::PROVEN) == Self::TAKEN
    }

    /// Whether both stand for a message, and not for the same one.
    const fn differs(self, other: Self) -> bool {
        self.0 != 0 && other.0 != 0 && (self.0 ^ other.0) & !Self::FLAGS != 0
    }
}

/// The hashes of what is held and of the last that was delivered, dense from `first` on.
#[derive(Debug)]
pub(super) struct Fingerprints {
    seed: u64,
    first: Seq,
    marks: VecDeque<Fingerprint>,
}

impl Fingerprints {
    pub(super) const fn new(seed: u64, first: Seq) -> Self {
        Self { seed, first, marks: VecDeque::new() }
    }

    /// Notes messages that were taken. `next`: the next one to be delivered; `parted`: from several datagrams.
    pub(super) fn note(&mut self, next: Seq, messages: &Messages, lane: Lane, parted: bool) {
        // Also where messages were given up, and nothing was delivered.
        self.handle_delivered(next);
        for (seq, message) in messages.refs() {
            let Some(at) = seq.0.checked_sub(self.first.0) else { continue };
            if at >= MAX_MARKS {
                return;
            }
            let Fingerprint(mark) = Fingerprint::of(self.seed, &message, lane);
            let mark = Fingerprint(mark | if parted { Fingerprint::PARTED } else { 0 });
            let at = at as usize;
            if at == self.marks.len() {
                self.marks.push_back(mark);
                continue;
            }
            if at > self.marks.len() {
                self.marks.resize(at + 1, Fingerprint::NONE);
            }
            // The message that came first was taken, but the log's version is worth more.
            if self.marks[at] == Fingerprint::NONE || lane != Lane::Multicast {
                self.marks[at] = mark;
            }
        }
    }

    /// Returns the first of `messages` under whose seq another one was taken that the log does not vouch for.
    pub(super) fn conflict(&self, messages: &Messages, lane: Lane) -> Option<Seq> {
        let end = self.first.plus(self.marks.len() as u64);
        // Nearly every block is new and has no hash to compare: do not make its own.
        if messages.next_seq() >= end || messages.end() <= self.first {
            return None;
        }
        messages.refs().find_map(|(seq, message)| {
            let known = self.get(seq);
            (known.is_unproven() && known.differs(Fingerprint::of(self.seed, &message, lane))).then_some(seq)
        })
    }

    /// Whether a part of a message contradicts what was taken under `seq` by multicast in one datagram.
    pub(super) fn contradicts_part(&self, seq: Seq) -> bool {
        let known = self.get(seq);
        known.is_unproven() && known.0 & Fingerprint::PARTED == 0
    }

    /// Whether the log itself vouches for what was taken under `seq`.
    pub(super) fn is_proven(&self, seq: Seq) -> bool {
        self.get(seq).is_proven()
    }

    /// Forgets what was taken in `range`.
    pub(super) fn forget(&mut self, range: SeqRange) {
        let [from, to] = [range.first.0, range.last.0.saturating_add(1)].map(|seq| seq.saturating_sub(self.first.0));
        let len = self.marks.len() as u64;
        self.marks.range_mut(from.min(len) as usize..to.min(len) as usize).for_each(|mark| *mark = Fingerprint::NONE);
    }

    /// Forgets the oldest hashes of what was delivered before `next`.
    pub(super) fn handle_delivered(&mut self, next: Seq) {
        let first = Seq(next.0.saturating_sub(KEPT));
        while self.first < first && self.marks.pop_front().is_some() {
            self.first = self.first.next();
        }
        if self.marks.is_empty() {
            self.first = self.first.max(first);
        }
    }

    fn get(&self, seq: Seq) -> Fingerprint {
        let at = seq.0.checked_sub(self.first.0).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.marks.get(at)).copied().unwrap_or(Fingerprint::NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_messages::messages;

    #[test]
    fn another_message_under_the_same_seq_is_noticed_unless_the_log_vouches_for_the_first() {
        let mut known = Fingerprints::new(1, Seq(5));
        known.note(Seq(5), &messages(5, &["a", "b", "c"]), Lane::Multicast, false);
        assert_eq!(known.conflict(&messages(4, &["?", "a", "b", "c", "d"]), Lane::Multicast), None);
        assert_eq!(known.conflict(&messages(5, &["a", "x", "y"]), Lane::Tcp), Some(Seq(6)));
        known.note(Seq(5), &messages(6, &["b"]), Lane::History, false);
        assert_eq!(known.conflict(&messages(5, &["a", "x", "y"]), Lane::Multicast), Some(Seq(7)));
        assert_eq!([5, 6, 8].map(|seq| known.get(Seq(seq)).is_unproven()), [true, false, false]);
        known.forget(SeqRange { first: Seq(7), last: Seq(99) });
        assert_eq!(known.conflict(&messages(5, &["a", "x", "y"]), Lane::Multicast), None);
        known.handle_delivered(Seq(7 + KEPT));
        assert!(known.first == Seq(7) && known.marks.len() == 1);
    }

    #[test]
    fn marks_are_bounded_however_far_ahead_a_message_is() {
        let mut known = Fingerprints::new(1, Seq(1));
        known.note(Seq(1), &messages(u64::MAX / 8, &["far"]), Lane::Tcp, false);
        known.note(Seq(1), &messages(MAX_MARKS, &["last", "beyond"]), Lane::Multicast, false);
        assert_eq!(known.marks.len() as u64, MAX_MARKS);
        known.note(Seq(u64::MAX / 8), &messages(u64::MAX / 8, &["given up to here"]), Lane::Multicast, false);
        assert!(known.get(Seq(u64::MAX / 8)).is_unproven() && known.marks.len() as u64 <= MAX_MARKS);
    }
}
