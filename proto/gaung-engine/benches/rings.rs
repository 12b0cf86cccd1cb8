//! What a budget of all rings costs each push, as a ratio to rings that count for themselves.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod fixture;

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use gaung_engine::{HotRing, RingBudget, RingOwner, RingSegment};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

use fixture::{GROUP, LOG, median};

/// Of one message of 64 B: the shortest, for which the bookkeeping costs most.
const RUNS: usize = 2000;

#[derive(Debug)]
struct Owner(Mutex<HotRing>);

impl RingOwner for Owner {
    fn give_way(&self, segment: RingSegment) {
        self.0.lock().unwrap().drop_through(segment);
    }
}

fn main() {
    let runs = short_runs();
    println!(
        "{:>6} {:>12} {:>12} {:>12} {:>16} {:>9}",
        "rings", "deque ns", "alone ns", "budget ns", "short of it ns", "× alone"
    );
    for rings in [1, 100, 1000] {
        let pushes = (rings * RUNS) as f64;
        let ns = |took: Duration| took.as_nanos() as f64 / pushes;
        let deque = ns(median(|| deque(&runs, rings)));
        let alone = ns(median(|| push_all(&runs, &alone(rings), None)));
        let [within, short] = [usize::MAX, rings * RUNS * 10].map(|limit_bytes| {
            ns(median(|| {
                let budget = Arc::new(RingBudget::new(limit_bytes));
                push_all(&runs, &within(rings, &budget), Some(&budget))
            }))
        });
        println!("{rings:>6} {deque:>12.0} {alone:>12.0} {within:>12.0} {short:>16.0} {:>9.2}", within / alone);
    }
}

/// The same runs to rings in turn.
fn push_all(runs: &[Run], owners: &[Arc<Owner>], budget: Option<&RingBudget>) -> Duration {
    let begun = Instant::now();
    for run in runs {
        for owner in owners {
            black_box(owner.0.lock().unwrap().push(run.clone()));
            if let Some(budget) = budget {
                budget.enforce();
            }
        }
    }
    begun.elapsed()
}

/// The least that keeping them costs.
fn deque(runs: &[Run], rings: usize) -> Duration {
    let mut kept: Vec<_> = (0..rings).map(|_| VecDeque::new()).collect();
    let begun = Instant::now();
    for run in runs {
        for kept in &mut kept {
            kept.push_back(run.clone());
        }
    }
    black_box(&kept);
    begun.elapsed()
}

fn alone(rings: usize) -> Vec<Arc<Owner>> {
    (0..rings).map(|_| Arc::new(Owner(Mutex::new(HotRing::new(usize::MAX))))).collect()
}

fn within(rings: usize, budget: &Arc<RingBudget>) -> Vec<Arc<Owner>> {
    let ring = |owner: &Weak<Owner>| HotRing::within(Arc::clone(budget), owner.clone(), usize::MAX);
    (0..rings).map(|_| Arc::new_cyclic(|owner| Owner(Mutex::new(ring(owner))))).collect()
}

fn short_runs() -> Vec<Run> {
    let author = Author { device: DeviceId([1; 16]), client: ClientId([2; 16]) };
    let run = |seq: u64| {
        let mut block = BlockBuilder::new();
        block.push(&MessageRef {
            author,
            client_seq: ClientSeq(seq),
            content_type: ContentType::Text,
            sent_at: SentAt(7),
            payload: &[7; 64],
        });
        Run::encode(RunHeader { group: GROUP, log: LOG, epoch: Epoch(1), base_seq: Seq(seq) }, &block)
    };
    (1..=RUNS as u64).map(run).collect()
}
