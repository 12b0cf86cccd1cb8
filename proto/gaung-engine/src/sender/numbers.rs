//! Numbers the datagrams of one epoch.

use gaung_proto::Pkt;

/// Gives each datagram of an epoch its own number.
///
/// First-sent DATA is counted from [`Pkt::FIRST_DATA`] without a hole, by which members notice a loss; all others are
/// counted from [`Pkt::FIRST_OTHER`]. Once either count is used up, no DATA gets a number any more.
#[derive(Debug)]
pub(super) struct PktNumbers {
    next_data: u32,
    next_other: u32,
    is_exhausted: bool,
    is_reported: bool,
}

impl PktNumbers {
    pub(super) const fn new() -> Self {
        Self { next_data: Pkt::FIRST_DATA.0, next_other: Pkt::FIRST_OTHER.0, is_exhausted: false, is_reported: false }
    }

    /// Makes a count with room for `count` more DATA.
    #[cfg(test)]
    pub(super) const fn with_data_left(count: u32) -> Self {
        Self { next_data: Pkt::FIRST_OTHER.0 - count, ..Self::new() }
    }

    /// Numbers the next first-sent DATA; `None` once the numbers are used up.
    pub(super) const fn data(&mut self) -> Option<Pkt> {
        if self.is_exhausted || self.next_data >= Pkt::FIRST_OTHER.0 {
            self.is_exhausted = true;
            return None;
        }
        let pkt = Pkt(self.next_data);
        self.next_data += 1;
        Some(pkt)
    }

    /// Numbers the next datagram of another kind; `None` once the numbers are used up.
    pub(super) const fn other(&mut self) -> Option<Pkt> {
        let Some(next) = self.next_other.checked_add(1) else {
            self.is_exhausted = true;
            return None;
        };
        let pkt = Pkt(self.next_other);
        self.next_other = next;
        Some(pkt)
    }

    /// Returns the number of the last first-sent DATA; 0 before the first one.
    pub(super) const fn last_data(&self) -> Pkt {
        Pkt(self.next_data - 1)
    }

    /// Returns whether the numbers are used up, once.
    pub(super) const fn take_exhausted(&mut self) -> bool {
        self.is_exhausted && !std::mem::replace(&mut self.is_reported, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_numbered_densely_and_used_up_numbers_are_reported_once() {
        let mut numbers = PktNumbers::new();
        assert_eq!((numbers.last_data(), numbers.data(), numbers.data()), (Pkt(0), Some(Pkt(1)), Some(Pkt(2))));
        assert_eq!((numbers.other(), numbers.last_data()), (Some(Pkt::FIRST_OTHER), Pkt(2)));
        assert!(!numbers.take_exhausted());

        let mut few = PktNumbers::with_data_left(1);
        assert!(few.data().is_some() && few.data().is_none());
        assert!(few.take_exhausted() && !few.take_exhausted() && few.data().is_none());
        assert!(few.other().is_some(), "heartbeats are still sent");

        let mut last = PktNumbers { next_other: u32::MAX, ..PktNumbers::new() };
        assert_eq!((last.other(), last.data()), (None, None), "no DATA without numbers for its repairs");
        assert!(last.take_exhausted());
    }
}
