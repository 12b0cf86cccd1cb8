//! Waits that relay and member must agree on, each once. `grtt`: the group's round trip (RFC 5401 section 4).

use std::{ops::RangeInclusive, time::Duration};

/// Before the first report: a LAN with a busy receiver. RFC 5740 begins with 0.5 s, which is the Internet.
pub(crate) const FIRST_GRTT: Duration = Duration::from_millis(5);
/// Below, scheduling is all that is measured; above, one member that lies or sleeps, or one heartbeat that lies, would slow
/// every repair.
pub(crate) const GRTT: RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_millis(250);
/// The shortest wait for datagrams that overtook each other; else half a round trip.
const MIN_REORDER: Duration = Duration::from_micros(500);
/// Asks for the same repair are gathered for one round trip within these bounds.
pub(crate) const MIN_GATHER: Duration = Duration::from_micros(500);
pub(crate) const MAX_GATHER: Duration = Duration::from_millis(5);
/// An ask that comes less than this, or two round trips, after the repair crossed it on its way.
const MIN_LINGER: Duration = Duration::from_millis(1);
/// The shortest first wait for a repair; else four round trips. As long as gathering, lingering and the way there and back
/// together, or an ask sent again would be taken for one that crossed the repair.
pub(crate) const MIN_RETRY: Duration = Duration::from_micros(2500);
const RETRY_ROUND_TRIPS: u32 = 4;
/// So many NAKs follow each other evenly before the wait doubles: one repair in five is lost at 20 % loss, and the
/// messages behind it wait too.
const EVEN_RETRIES: u32 = 4;
/// The wait doubles at most so often.
const MAX_DOUBLINGS: u32 = 5;
/// The longest wait for a repair: a relay that stood still for a moment makes round trips look long for some seconds, and
/// who has no log to read waits for eight repairs in turn.
const MAX_RETRY: Duration = Duration::from_millis(500);

pub(crate) fn reorder(grtt: Duration) -> Duration {
    MIN_REORDER.max(grtt / 2)
}

pub(crate) fn gather(grtt: Duration) -> Duration {
    grtt.clamp(MIN_GATHER, MAX_GATHER)
}

pub(crate) fn linger(grtt: Duration) -> Duration {
    MIN_LINGER.max(grtt * 2)
}

/// The wait after the n-th NAK, from 1.
pub(crate) fn retry(grtt: Duration, n: u8) -> Duration {
    let doublings = u32::from(n).saturating_sub(EVEN_RETRIES).min(MAX_DOUBLINGS);
    (MIN_RETRY.max(grtt * RETRY_ROUND_TRIPS) * (1 << doublings)).min(MAX_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_repair_double_after_the_fourth() {
        let grtt = Duration::from_millis(1);
        assert_eq!(retry(Duration::ZERO, 1), MIN_RETRY);
        assert_eq!([1, 2, 3, 4, 5].map(|n| retry(grtt, n).as_millis()), [4, 4, 4, 4, 8]);
        assert_eq!(retry(grtt, u8::MAX), retry(grtt, 9));
        assert_eq!(
            retry(grtt * 250, 7),
            MAX_RETRY,
            "a message that cannot be had holds the others up for seconds, not minutes"
        );
    }

    #[test]
    fn an_ask_sent_again_is_not_taken_for_one_that_crossed_the_repair() {
        for micros in [0, 100, 400, 1000, 5000, 100_000] {
            let grtt = Duration::from_micros(micros);
            assert!(retry(grtt, 1) >= gather(grtt) + linger(grtt) + grtt, "{grtt:?}");
        }
    }
}
