use super::*;
use crate::test_messages::{block, messages};

const CARRIED: MessageCarrier = MessageCarrier { pkt: None, missed: None, is_parted: false };

/// An order that begins at 1, with its clock.
struct Bench {
    order: MessageOrder,
    backoff: NakBackoff,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self { order: MessageOrder::new(1, Seq::FIRST, now, true), backoff: NakBackoff::new(1), now }
    }

    fn datagram(&mut self, first: u64, texts: &[&str]) -> DatagramOutcome {
        let original = Original { seq: Seq(first), fragment: Fragment::WHOLE, bytes: block(first, texts) };
        self.order.take(self.now, &original, CARRIED, &mut self.backoff).expect("what a builder writes")
    }

    fn part(&mut self, seq: u64, index: u16, bytes: Bytes) -> DatagramOutcome {
        let original = Original { seq: Seq(seq), fragment: Fragment { index, count: 2 }, bytes };
        self.order.take(self.now, &original, CARRIED, &mut self.backoff).expect("parts of what a builder writes")
    }

    /// Takes a run from the log.
    fn run(&mut self, first: u64, texts: &[&str]) -> u64 {
        self.order.hold(self.now, messages(first, texts), Lane::History, CARRIED, &mut self.backoff)
    }

    fn delivered(&mut self) -> Vec<String> {
        let popped = std::iter::from_fn(|| self.order.pop(self.now, &mut self.backoff));
        popped.map(|(message, ..)| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }

    /// What is missing, in ranges that do not touch.
    fn missing(&self) -> Vec<(u64, u64)> {
        let mut missing: Vec<(u64, u64)> = Vec::new();
        for row in self.order.missing().rows() {
            match missing.last_mut() {
                Some((_, last)) if *last + 1 == row.first.0 => *last = row.last.0,
                Some(_) | None => missing.push((row.first.0, row.last.0)),
            }
        }
        missing
    }
}

fn range(first: u64, last: u64) -> SeqRange {
    SeqRange { first: Seq(first), last: Seq(last) }
}

#[test]
fn messages_are_delivered_in_order_once_and_a_reported_gap_is_filled() {
    let mut bench = Bench::new();
    assert_eq!(bench.datagram(3, &["c", "d"]).fresh, 2);
    assert_eq!((bench.delivered(), bench.missing()), (vec![], vec![(1, 2)]));
    assert_eq!(bench.order.announce(range(1, 2), false), [range(1, 2)]);
    assert_eq!(bench.order.announce(range(5, 9), false), [], "beyond the last message that came nothing is believed");
    assert_eq!(bench.part(2, 0, block(2, &["b"]).slice(..9)).fresh, 1);
    assert_eq!(bench.run(1, &["a"]), 1);
    assert_eq!((bench.delivered(), bench.missing()), (vec!["a".to_owned()], vec![(2, 2)]));
    assert_eq!(bench.part(2, 1, block(2, &["b"]).slice(9..)).fresh, 1);
    assert_eq!(bench.datagram(1, &["a", "b", "c"]), DatagramOutcome::default(), "nothing of it is new");
    let filled = bench.order.pop(bench.now, &mut bench.backoff).and_then(|(.., filled)| filled);
    assert_eq!((filled, bench.delivered().len()), (Some(range(1, 2)), 2));
    assert_eq!((bench.order.next(), bench.order.held_bytes()), (Seq(5), 0));
}

#[test]
fn other_messages_than_were_taken_are_suspect_once_delivered_and_requested_again_before() {
    let mut bench = Bench::new();
    bench.datagram(1, &["a", "b"]);
    assert_eq!(bench.delivered().len(), 2);
    bench.datagram(4, &["d"]);
    let outcome = bench.datagram(2, &["x", "c", "y", "e"]);
    assert_eq!((outcome.suspect, outcome.is_contradiction, outcome.fresh), (Some(range(2, 2)), true, 1));
    assert_eq!(
        (bench.delivered(), bench.missing()),
        (vec!["c".to_owned()], vec![(4, 5)]),
        "either may be the forged one"
    );
    assert_eq!(bench.run(4, &["d"]), 1);
    assert!(bench.order.is_proven(Seq(4)) && !bench.order.is_proven(Seq(1)));
    assert_eq!(bench.order.conflict(&messages(3, &["z"]), Lane::History), Some(Seq(3)));
}

#[test]
fn what_was_delivered_and_is_not_in_the_log_is_delivered_anew() {
    let mut bench = Bench::new();
    bench.datagram(1, &["a", "forged", "forged too"]);
    bench.datagram(9, &["i"]);
    assert_eq!(bench.delivered().len(), 3);
    assert_eq!(bench.order.go_back(bench.now, Seq(4)), None, "nothing was delivered from there on");
    assert_eq!(bench.order.go_back(bench.now, Seq(2)), Some(range(2, 3)));
    assert_eq!((bench.order.delivered(), bench.missing()), (Seq(1), vec![]));
    bench.order.catch_up(bench.now, Seq(3), &mut bench.backoff);
    assert!(bench.order.is_catching_up() && bench.order.due() == Some(bench.now));
    assert_eq!(bench.run(2, &["b", "c"]), 2);
    assert_eq!(bench.delivered(), ["b", "c"]);
}

#[test]
fn what_has_no_place_is_refused_and_not_forgotten() {
    let mut bench = Bench::new();
    assert!(bench.order.has_place(Seq(PLACES)) && !bench.order.has_place(Seq(PLACES + 1)));
    let outcome = bench.datagram(PLACES, &["last", "beyond"]);
    assert_eq!((outcome.fresh, outcome.is_refused), (1, true));
    assert!(bench.part(PLACES + 9, 0, Bytes::from_static(b"?")).is_refused);
    assert_eq!(bench.missing(), [(1, PLACES - 1)]);
    bench.run(1, &["a", "b"]);
    assert_eq!(bench.delivered().len(), 2);
    assert_eq!(bench.missing(), [(3, PLACES - 1), (PLACES + 1, PLACES + 2)], "places became free");
    bench.order.trim_to(Seq(PLACES));
    let lost = bench.order.skip_lost(bench.now, &mut bench.backoff);
    assert_eq!((lost, bench.delivered()), (Some(range(3, PLACES - 1)), vec!["last".to_owned()]));
}
