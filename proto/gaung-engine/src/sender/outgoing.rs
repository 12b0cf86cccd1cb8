//! Send queues of a group: answers leave at once, then repairs, then data, at the group's rate.

use std::{collections::VecDeque, net::SocketAddrV4, time::Instant};

use gaung_proto::{GroupTag, Pkt, Seq, datagram};

use super::rate::{Rate, RateControl, TokenBucket};
use crate::{
    timing::TIMING,
    transmit::{Destination, Transmit},
};

/// Least bytes of first-sent data that may wait, whatever the rate: a burst of a few long messages at a rate that was
/// cut.
const MIN_DATA_BYTES: usize = 512 * 1024;
/// Most bytes of first-sent data that wait, which bounds memory.
const MAX_DATA_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of repairs and parity that wait; further ones are dropped, and requested again.
const MAX_REPAIR_BYTES: usize = 1024 * 1024;
/// Share of the rate for repairs and parity, so that bad receivers do not take the good ones' data.
const REPAIR_SHARE: f64 = 0.5;

/// Three queues behind one bucket. Inputs give the time; [`Self::poll`] gives what may leave at that time.
#[derive(Debug)]
pub(super) struct SendQueues {
    answers: VecDeque<Transmit>,
    repairs: ByteQueue<Transmit>,
    data: ByteQueue<(Transmit, SentPosition)>,
    left: SentPosition,
    control: RateControl,
    bucket: TokenBucket,
    repair_bucket: TokenBucket,
}

/// How far first-sent data has left: heartbeats speak of nothing beyond it, or members would request what waits here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SentPosition {
    /// The last message of which all fragments have left.
    pub(super) seq: Seq,
    pub(super) pkt: Pkt,
}

#[derive(Debug)]
struct ByteQueue<T> {
    waiting: VecDeque<T>,
    bytes: usize,
}

impl<T> ByteQueue<T> {
    const fn new() -> Self {
        Self { waiting: VecDeque::new(), bytes: 0 }
    }

    fn push(&mut self, item: T, bytes: usize) {
        self.bytes += bytes;
        self.waiting.push_back(item);
    }
}

impl SendQueues {
    /// Makes empty queues. `head`: of the log when the epoch begins.
    pub(super) fn new(cap: Rate, head: Seq, now: Instant) -> Self {
        let control = RateControl::new(cap, now);
        Self {
            answers: VecDeque::new(),
            repairs: ByteQueue::new(),
            data: ByteQueue::new(),
            left: SentPosition { seq: head, pkt: Pkt(0) },
            bucket: TokenBucket::new(now, control.rate()),
            repair_bucket: TokenBucket::new(now, control.rate().times(REPAIR_SHARE)),
            control,
        }
    }

    /// Refills the buckets; call it before anything is pushed or polled.
    pub(super) fn handle_time(&mut self, now: Instant) {
        self.bucket.fill(now, self.control.rate());
        self.repair_bucket.fill(now, self.repair_rate());
    }

    /// Queues a heartbeat, confirmation or answer, which leaves at once. It is small, and its tokens are taken all the
    /// same.
    pub(super) fn push_answer(&mut self, transmit: Transmit) {
        self.answers.push_back(transmit);
    }

    /// Queues a repair; returns whether there was room.
    pub(super) fn push_repair(&mut self, transmit: Transmit) -> bool {
        let fits = self.repairs.bytes + transmit.payload.len() <= MAX_REPAIR_BYTES;
        if fits {
            let bytes = transmit.payload.len();
            self.repairs.push(transmit, bytes);
        }
        fits
    }

    /// Queues first-sent data; returns whether there is room for more; if not, call [`Self::skip_data`]. `sent`: the
    /// position of the group once it has left.
    pub(super) fn push_data(&mut self, transmit: Transmit, sent: SentPosition) -> bool {
        let bytes = transmit.payload.len();
        self.data.push((transmit, sent), bytes);
        self.data.bytes <= self.data_room()
    }

    /// Counts data as sent that never leaves, because the group has no address. Returns whether there is room for more.
    pub(super) const fn pass(&mut self, sent: SentPosition) -> bool {
        self.left = sent;
        true
    }

    /// Readdresses queued multicast to `to`, under that address's tag.
    pub(super) fn redirect(&mut self, to: SocketAddrV4, ttl: u8, tag: GroupTag) {
        let data = self.data.waiting.iter_mut().map(|(transmit, _)| transmit);
        for transmit in self.repairs.waiting.iter_mut().chain(data) {
            if matches!(transmit.destination, Destination::Multicast(_)) {
                let payload = datagram::with_tag(&transmit.payload, tag);
                *transmit = Transmit { destination: Destination::Multicast(to), payload, ttl };
            }
        }
    }

    /// Drops queued multicast; returns how many DATA that were, which heartbeats report as sent.
    pub(super) fn drop_multicast(&mut self) -> usize {
        let is_unicast = |transmit: &Transmit| matches!(transmit.destination, Destination::Unicast { .. });
        self.answers.retain(is_unicast);
        self.repairs.waiting.retain(is_unicast);
        self.repairs.bytes = self.repairs.waiting.iter().map(|repair| repair.payload.len()).sum();
        let last = self.data.waiting.back().map_or(self.left, |(_, sent)| *sent);
        self.skip_data(last)
    }

    /// Drops queued data and continues after `to`; returns how many datagrams were dropped.
    pub(super) fn skip_data(&mut self, to: SentPosition) -> usize {
        self.left = to;
        std::mem::replace(&mut self.data, ByteQueue::new()).waiting.len()
    }

    pub(super) const fn left(&self) -> SentPosition {
        self.left
    }

    /// Returns the next datagram that may leave.
    pub(super) fn poll(&mut self) -> Option<Transmit> {
        let answer = self.answers.pop_front();
        let transmit = answer.or_else(|| self.pop_repair()).or_else(|| self.pop_data())?;
        self.bucket.take(transmit.payload.len());
        self.control.count(transmit.payload.len());
        Some(transmit)
    }

    /// Returns when more may leave, if anything waits.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        let both = self.bucket.opens_at(self.control.rate());
        let repairs = both.max(self.repair_bucket.opens_at(self.repair_rate()));
        let data = (!self.data.waiting.is_empty()).then_some(both);
        let repairs = (!self.repairs.waiting.is_empty()).then_some(repairs);
        [data, repairs].into_iter().flatten().min()
    }

    /// Returns when the rate is reviewed next.
    pub(super) fn next_period(&self) -> Instant {
        self.control.next_period()
    }

    /// Reviews the rate, see [`RateControl::end_period`].
    pub(super) fn end_period(&mut self, now: Instant, losses: &mut [f64]) {
        self.control.end_period(now, losses);
    }

    pub(super) const fn rate(&self) -> Rate {
        self.control.rate()
    }

    fn pop_repair(&mut self) -> Option<Transmit> {
        if !self.bucket.is_open() || !self.repair_bucket.is_open() {
            return None;
        }
        let repair = self.repairs.waiting.pop_front()?;
        self.repairs.bytes -= repair.payload.len();
        self.repair_bucket.take(repair.payload.len());
        Some(repair)
    }

    fn pop_data(&mut self) -> Option<Transmit> {
        if !self.bucket.is_open() {
            return None;
        }
        let (transmit, sent) = self.data.waiting.pop_front()?;
        self.data.bytes -= transmit.payload.len();
        self.left = sent;
        Some(transmit)
    }

    /// Bytes of first-sent data that may wait at the present rate.
    fn data_room(&self) -> usize {
        let in_time = self.control.rate().bytes_per_second() * TIMING.send_queue_max.as_secs_f64();
        (in_time as usize).clamp(MIN_DATA_BYTES, MAX_DATA_BYTES)
    }

    fn repair_rate(&self) -> Rate {
        self.control.repair_base().times(REPAIR_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddrV4, time::Duration};

    use bytes::Bytes;

    use super::*;
    use crate::transmit::Destination;

    const SECOND: Duration = Duration::from_secs(1);

    const AT: SentPosition = SentPosition { seq: Seq(7), pkt: Pkt(3) };

    fn datagram(kind: u8, len: usize) -> Transmit {
        let destination = Destination::Multicast(SocketAddrV4::new([239, 255, 0, 1].into(), 20_000));
        Transmit { destination, payload: vec![kind; len].into(), ttl: 1 }
    }

    /// Bytes that leave within `time` by their first byte, driven as a driver would.
    fn run(outgoing: &mut SendQueues, from: Instant, time: Duration) -> [usize; 3] {
        let mut left = [0; 3];
        let mut now = from;
        while now <= from + time {
            outgoing.handle_time(now);
            while let Some(Transmit { payload, .. }) = outgoing.poll() {
                left[usize::from(payload[0])] += payload.len();
            }
            let Some(next) = outgoing.opens_at() else { break };
            now = next.max(now + Duration::from_micros(1));
        }
        left
    }

    #[test]
    fn repairs_leave_first_and_get_half_of_the_rate_while_data_waits() {
        let now = Instant::now();
        let mut outgoing = SendQueues::new(Rate::from_mbit(32), Seq::ZERO, now);
        for _ in 0..800 {
            assert!(outgoing.push_data(datagram(0, 1300), AT));
            let _fits = outgoing.push_repair(datagram(1, 1300));
        }
        outgoing.push_answer(datagram(2, 50));
        outgoing.handle_time(now);
        assert_eq!(outgoing.poll().map(|t| t.payload), Some(Bytes::from(vec![2; 50])));
        assert_eq!(outgoing.poll().map(|t| t.payload[0]), Some(1));
        // A quarter of 32 Mbit/s is 1 MB/s at the start.
        let [data, repairs, _] = run(&mut outgoing, now, SECOND / 2);
        assert!(repairs > data * 8 / 10 && repairs < data * 2, "{repairs} {data}");
        assert!((500_000..650_000).contains(&(data + repairs)), "{data} {repairs}");
    }

    #[test]
    fn what_is_too_much_is_refused_or_skipped() {
        let now = Instant::now();
        let mut outgoing = SendQueues::new(Rate::from_mbit(200), Seq::ZERO, now);
        let repairs = (0..10_000).filter(|_| outgoing.push_repair(datagram(1, 1000))).count();
        assert_eq!(repairs, MAX_REPAIR_BYTES / 1000);
        let data = (1..).find(|_| !outgoing.push_data(datagram(0, 1000), AT));
        assert_eq!(data, Some(MAX_DATA_BYTES / 1000 + 1));
        assert_eq!(outgoing.skip_data(AT), MAX_DATA_BYTES / 1000 + 1);
        assert!(outgoing.push_data(datagram(0, 1000), AT));
    }

    #[test]
    fn at_a_low_rate_less_may_wait() {
        let now = Instant::now();
        // A quarter of it at the start: 375 kB/s.
        let mut outgoing = SendQueues::new(Rate::from_mbit(12), Seq::ZERO, now);
        let data = (1..).find(|_| !outgoing.push_data(datagram(0, 1000), AT));
        assert_eq!(data, Some(751));
        let mut outgoing = SendQueues::new(Rate::from_mbit(1), Seq::ZERO, now);
        let data = (1..).find(|_| !outgoing.push_data(datagram(0, 1000), AT));
        assert_eq!(data, Some(MIN_DATA_BYTES / 1000 + 1));
    }

    #[test]
    fn nothing_waiting_wants_no_timer() {
        let now = Instant::now();
        let mut outgoing = SendQueues::new(Rate::from_mbit(200), Seq::ZERO, now);
        assert_eq!(outgoing.opens_at(), None);
        outgoing.push_data(datagram(0, 100), AT);
        outgoing.handle_time(now);
        assert_eq!(outgoing.left(), SentPosition { seq: Seq::ZERO, pkt: Pkt(0) });
        assert!(outgoing.poll().is_some());
        assert_eq!(outgoing.left(), AT);
        assert_eq!((outgoing.poll(), outgoing.opens_at()), (None, None));
    }
}
