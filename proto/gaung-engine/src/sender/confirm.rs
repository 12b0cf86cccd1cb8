//! Ranges of an NCF, which confirms repairs that are about to be sent.

use gaung_proto::{body::NakRange, datagram::Fragment, limits::MAX_NAK_RANGES};

use super::window::SentData;

/// Returns the range of an NCF that covers one datagram.
pub(super) fn repair_range(sent: &SentData) -> NakRange {
    if sent.fragment.is_whole() {
        return NakRange::messages(sent.first, sent.last);
    }
    let Fragment { index, count: _ } = sent.fragment;
    NakRange { first_seq: sent.first, last_seq: sent.first, first_fragment: index, last_fragment: index }
}

/// Joins adjacent ranges; returns at most [`MAX_NAK_RANGES`].
pub(super) fn joined(ranges: Vec<NakRange>) -> Vec<NakRange> {
    let mut joined: Vec<NakRange> = Vec::new();
    for next in ranges {
        if !joined.last_mut().is_some_and(|last| last.extend(&next)) {
            joined.push(next);
        }
    }
    joined.truncate(MAX_NAK_RANGES);
    joined
}
