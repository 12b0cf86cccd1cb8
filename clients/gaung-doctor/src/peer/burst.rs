//! A burst: datagrams of equal size, a millisecond apart, and then some of growing size.

use std::{collections::BTreeSet, io, time::Duration};

use gaung_net::probe::exchange::Cast;

use super::super::facts::Passage;

/// Datagrams of equal size.
pub(super) const COUNT: u32 = 200;
/// Their UDP payload.
const BYTES: usize = 200;
/// UDP payloads of growing size: a group's datagram, a text group's, and what fills an MTU of 1500.
const SIZES: [usize; 5] = [500, 1000, 1320, 1400, 1472];
/// How often each size is sent, because one may be lost by chance.
const TRIES: u32 = 3;
/// Datagrams of a whole burst.
pub(super) const WHOLE: u32 = COUNT + SIZES.len() as u32 * TRIES;
/// Time between two datagrams, slow enough for every network that can carry a chat.
const PACE: Duration = Duration::from_millis(1);

const MAGIC: &[u8] = b"gaung doctor: peer ";
const HEADER: usize = MAGIC.len() + 8 + 1 + 4;
/// Length of the longest datagram of a burst.
pub(super) const LONGEST: usize = 1472;

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sent {
    /// Datagrams of equal size that were sent.
    pub(super) sent: u32,
    /// The largest that was sent.
    pub(super) largest_bytes: u32,
}

/// Sends a burst with `send`; what the system refuses is not counted.
pub(super) fn send(mark: u64, cast: Cast, mut send: impl FnMut(&[u8]) -> io::Result<()>) -> Sent {
    let mut outcome = Sent::default();
    let sizes = SIZES.into_iter().flat_map(|size| (0..TRIES).map(move |_| size));
    let all = (0..COUNT).map(|_| BYTES).chain(sizes);
    for (number, bytes) in (0..).zip(all) {
        std::thread::sleep(PACE);
        if send(&datagram(mark, cast, number, bytes)).is_err() {
            continue;
        }
        outcome.sent += u32::from(number < COUNT);
        outcome.largest_bytes = outcome.largest_bytes.max(bytes as u32);
    }
    outcome
}

fn datagram(mark: u64, cast: Cast, number: u32, bytes: usize) -> Vec<u8> {
    let mut datagram = [MAGIC, &mark.to_be_bytes(), &[cast as u8], &number.to_be_bytes()].concat();
    datagram.resize(bytes, 0);
    datagram
}

/// What was received of a burst.
#[derive(Debug)]
pub(super) struct Tally {
    mark: u64,
    cast: Cast,
    seen: BTreeSet<u32>,
    passage: Passage,
}

impl Tally {
    /// Makes an empty tally.
    pub(super) fn new(mark: u64, cast: Cast) -> Self {
        Self { mark, cast, seen: BTreeSet::new(), passage: Passage::none(cast.into()) }
    }

    /// Counts a received datagram; foreign ones are ignored.
    pub(super) fn note(&mut self, datagram: &[u8]) {
        let Some(number) = self.number(datagram) else { return };
        let behind = self.seen.last().is_some_and(|highest| *highest > number);
        if !self.seen.insert(number) {
            self.passage.duplicated += 1;
            return;
        }
        self.passage.reordered += u32::from(behind);
        self.passage.received += u32::from(number < COUNT);
        self.passage.largest_bytes = self.passage.largest_bytes.max(datagram.len() as u32);
    }

    /// Returns whether all datagrams of the burst were received.
    pub(super) fn is_whole(&self) -> bool {
        self.seen.len() == WHOLE as usize
    }

    /// Completes the tally with what the sender reports.
    pub(super) fn finish(self, sent: Sent) -> Passage {
        Passage { sent: sent.sent, largest_sent_bytes: sent.largest_bytes, ..self.passage }
    }

    fn number(&self, datagram: &[u8]) -> Option<u32> {
        let numbers = datagram.strip_prefix(MAGIC)?;
        let number = u32::from_be_bytes(numbers.get(9..13)?.try_into().ok()?);
        let ours = numbers[..8] == self.mark.to_be_bytes() && numbers[8] == self.cast as u8;
        (ours && number < WHOLE && datagram.len() >= HEADER).then_some(number)
    }
}
