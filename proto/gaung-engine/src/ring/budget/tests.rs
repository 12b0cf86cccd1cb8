//! Many rings under one budget, against a model that counts what the rings hold.
#![allow(clippy::unwrap_used)]

use gaung_proto::Seq;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::{HotRing, RingRead, test_messages::run};

#[derive(Debug)]
struct Owner(Mutex<HotRing>);

impl Owner {
    fn within(budget: &Arc<RingBudget>, most_bytes: usize) -> Arc<Self> {
        Arc::new_cyclic(|owner: &Weak<Self>| {
            Self(Mutex::new(HotRing::within(Arc::clone(budget), owner.clone(), most_bytes)))
        })
    }

    fn ring(&self) -> MutexGuard<'_, HotRing> {
        self.0.lock().unwrap()
    }

    /// Logs one message of `payload_len` bytes.
    fn say(&self, payload_len: usize) {
        let next = self.ring().head().next();
        self.ring().push(run(next.0, &[vec![b'x'; payload_len]]));
    }

    fn holds_head(&self) -> bool {
        let ring = self.ring();
        matches!(ring.read_from(ring.head(), 1), RingRead::Runs(_))
    }
}

impl RingOwner for Owner {
    fn give_way(&self, segment: RingSegment) {
        self.ring().drop_through(segment);
    }
}

fn held(owners: &[Arc<Owner>]) -> usize {
    owners.iter().map(|owner| owner.ring().bytes()).sum()
}

#[test]
fn a_thousand_rings_together_keep_to_the_budget_and_the_busiest_stay_in_memory() {
    const LIMIT: usize = 1 << 20;
    let budget = Arc::new(RingBudget::new(LIMIT));
    let owners: Vec<_> = (0..1000).map(|_| Owner::within(&budget, LIMIT / 4)).collect();
    let mut rng = SmallRng::seed_from_u64(1);
    for step in 0..40_000 {
        // Four groups in five messages, the other 996 in the fifth.
        let speaker = if rng.random_ratio(4, 5) { rng.random_range(0..4) } else { rng.random_range(4..1000) };
        owners[speaker].say(rng.random_range(1..2000));
        budget.enforce();
        assert!(budget.held_bytes() <= LIMIT, "step {step}: {}", budget.held_bytes());
        if step % 1000 == 0 {
            assert_eq!(held(&owners), budget.held_bytes(), "step {step}");
        }
    }
    assert_eq!(held(&owners), budget.held_bytes());
    assert!(budget.held_bytes() > LIMIT * 9 / 10, "the budget is used: {}", budget.held_bytes());
    let busy: usize = held(&owners[..4]);
    assert!(busy > LIMIT / 2 && owners[..4].iter().all(|owner| owner.holds_head()), "{busy}");
}

#[test]
fn whoever_is_silent_gives_way_to_the_last_byte_and_reads_the_log() {
    let budget = Arc::new(RingBudget::new(64 * 1024));
    let (silent, busy) = (Owner::within(&budget, 1 << 20), Owner::within(&budget, 1 << 20));
    (0..40).for_each(|_| silent.say(1000));
    assert_eq!(silent.ring().oldest(), Some(Seq(1)));
    for _ in 0..200 {
        busy.say(1000);
        budget.enforce();
    }
    let ring = silent.ring();
    assert_eq!((ring.bytes(), ring.oldest(), ring.head()), (0, None, Seq(40)));
    assert_eq!(ring.read_from(Seq(40), 1), RingRead::Trimmed { oldest: Seq(41) });
    drop(ring);
    assert!(busy.ring().bytes() > 60 * 1024);
    silent.say(10);
    assert!(silent.holds_head(), "it goes on where it was");
}

#[test]
fn what_rings_let_go_of_by_themselves_is_counted_out_once() {
    let budget = Arc::new(RingBudget::new(256 * 1024));
    let mut rng = SmallRng::seed_from_u64(2);
    let mut owners: Vec<_> = (0..8).map(|_| Owner::within(&budget, 48 * 1024)).collect();
    for step in 0..20_000 {
        let at = rng.random_range(0..owners.len());
        match rng.random_range(0..100) {
            0 => owners[at] = Owner::within(&budget, rng.random_range(1..100_000)),
            1 => owners[at].ring().clear_to(Seq(rng.random_range(1..1000))),
            _ => owners[at].say(rng.random_range(1..5000)),
        }
        // Not at once: others may be faster.
        if rng.random_ratio(1, 3) {
            budget.enforce();
            assert_eq!(held(&owners), budget.held_bytes(), "step {step}");
        }
        assert!(budget.held_bytes() <= budget.limit_bytes(), "step {step}");
    }
    drop(owners);
    assert_eq!(budget.held_bytes(), 0);
    let state = budget.state();
    assert!(state.owners.is_empty() && state.segments.len() <= 1, "{state:?}");
}

#[test]
fn one_run_may_be_longer_than_the_budget() {
    let budget = Arc::new(RingBudget::new(1000));
    let (one, other) = (Owner::within(&budget, 1), Owner::within(&budget, 1));
    for owner in [&one, &other, &one] {
        owner.say(5000);
        budget.enforce();
    }
    assert!(one.holds_head() && !other.holds_head());
    assert_eq!(held(&[one, other]), budget.held_bytes());
}
