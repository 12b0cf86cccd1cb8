//! Detects that long datagrams do not come through. A link with a small MTU on the way drops them whole and lets all
//! others pass: heartbeats and short messages are heard, and long ones never, however often they are repaired.

use std::time::Instant;

use gaung_proto::{SeqRange, block::MESSAGE_HEADER, limits::MAX_DATA_BODY, messages::Messages};

use super::spans::MissingSpans;
use crate::timing::TIMING;

/// Occasions on which long datagrams were missed and none came, before the path is found too narrow: a network that was away
/// for a moment looks the same once.
const OCCASIONS: u8 = 3;

/// Lengths of DATA bodies that came and that were missed.
#[derive(Debug, Default)]
pub(super) struct PathMtu {
    /// Longest body that came, in this period and in the one before.
    came: [usize; 2],
    period_ends: Option<Instant>,
    occasions: u8,
    last_occasion: Option<Instant>,
    /// The shortest that was missed on these occasions, at least so long.
    missed: usize,
}

impl PathMtu {
    /// Notes that DATA or parity with a body of `bytes` came.
    pub(super) fn handle_came(&mut self, now: Instant, bytes: usize) {
        self.age(now);
        self.came[0] = self.came[0].max(bytes);
        if self.occasions > 0 && bytes >= self.missed {
            (self.occasions, self.last_occasion) = (0, None);
        }
    }

    /// Notes messages that the log or the hub brought instead of the datagrams in `missing`.
    pub(super) fn handle_read(&mut self, now: Instant, missing: &MissingSpans, messages: &Messages) {
        self.age(now);
        let read = missing.carried(messages).map(|(part, share)| mean_body(messages, part, share)).max();
        // A body longer than any shows that the datagrams were others.
        let longest = self.came[0].max(self.came[1]);
        let Some(bytes) = read.filter(|bytes| (longest + 1..=MAX_DATA_BODY).contains(bytes)) else { return };
        if self.last_occasion.is_some_and(|last| now.saturating_duration_since(last) < TIMING.path_mtu_spacing) {
            return;
        }
        self.missed = if self.occasions == 0 { bytes } else { self.missed.min(bytes) };
        self.occasions = (self.occasions + 1).min(OCCASIONS);
        self.last_occasion = Some(now);
    }

    /// Returns the body length from which on datagrams do not come.
    pub(super) fn too_long(&self) -> Option<usize> {
        (self.occasions == OCCASIONS).then_some(self.missed)
    }

    /// Returns the body length from which on datagrams are suspected not to come.
    pub(super) fn may_be_too_long(&self) -> Option<usize> {
        (self.occasions > 0).then_some(self.missed)
    }

    /// Prepares for another try of multicast: one more occasion is then enough.
    pub(super) fn retry(&mut self) {
        self.occasions = self.occasions.min(OCCASIONS - 1);
    }

    fn age(&mut self, now: Instant) {
        if self.period_ends.is_none_or(|end| end <= now) {
            self.came = [0, self.came[0]];
            self.period_ends = Some(now + TIMING.path_mtu_period);
        }
    }
}

/// `share`: datagrams, and how many messages they carried.
fn mean_body(messages: &Messages, part: SeqRange, (datagrams, carried): (u32, u64)) -> usize {
    let mut piece = messages.clone();
    piece.skip_to(part.first);
    piece.cut(part.last.next());
    let bytes: usize = piece.refs().map(|(_, message)| MESSAGE_HEADER + message.payload.len()).sum();
    (bytes as u64 * carried / part.len() / u64::from(datagrams)) as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gaung_proto::Seq;

    use super::*;
    use crate::{
        receiver::spans::{MissingState, PktRange},
        test_messages,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn messages(count: usize, length: usize) -> Messages {
        test_messages::messages(1, &vec![vec![0; length]; count])
    }

    /// `count` messages from the first one on were missed in `datagrams`.
    fn missing(count: u64, datagrams: u32) -> MissingSpans {
        let (mut spans, now) = (MissingSpans::default(), Instant::now());
        let range = SeqRange { first: Seq(1), last: Seq(count) };
        spans.add(range, MissingState::new(now, now, PktRange::new(1, datagrams)));
        spans
    }

    fn read(path: &mut PathMtu, now: Instant, datagrams: u32) {
        path.handle_read(now, &missing(1, datagrams), &messages(1, 3600));
    }

    #[test]
    fn a_path_is_too_narrow_when_only_short_datagrams_come() {
        let (start, mut path) = (Instant::now(), PathMtu::default());
        for second in 0..3 {
            assert_eq!(path.too_long(), None);
            path.handle_came(start + second * SECOND, 200);
            read(&mut path, start + second * SECOND, 3);
        }
        assert_eq!(path.too_long(), Some((3600 + MESSAGE_HEADER) / 3));
        path.retry();
        assert_eq!(path.too_long(), None);
        read(&mut path, start + 60 * SECOND, 3);
        assert!(path.too_long().is_some(), "it is as before");
        path.handle_came(start + 61 * SECOND, MAX_DATA_BODY);
        assert_eq!(path.may_be_too_long(), None, "a long one came");
    }

    #[test]
    fn what_else_is_read_from_the_log_says_nothing() {
        let (start, mut path) = (Instant::now(), PathMtu::default());
        for second in 0..10 {
            let now = start + second * SECOND;
            path.handle_came(now, 1000);
            // Shorter than what comes, and longer than any datagram is.
            read(&mut path, now, 4);
            read(&mut path, now, 2);
            path.handle_read(now, &MissingSpans::default(), &messages(1, 1100));
        }
        assert_eq!(path.may_be_too_long(), None);
        for millis in 0..10 {
            read(&mut path, start + 30 * SECOND + Duration::from_millis(millis), 3);
        }
        assert!(path.may_be_too_long().is_some() && path.too_long().is_none(), "it may have been away for a moment");
    }

    #[test]
    fn a_part_of_a_burst_tells_the_length_of_its_datagrams() {
        let (now, mut path) = (Instant::now(), PathMtu::default());
        // 5000 messages in 300 datagrams, of which one run has 500.
        path.handle_read(now, &missing(5000, 300), &messages(500, 50));
        let expected = (50 + MESSAGE_HEADER) * 5000 / 300;
        assert_eq!(path.may_be_too_long(), Some(expected));
    }
}
