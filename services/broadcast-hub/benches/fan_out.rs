//! Ring and cursors alone: deliveries a second to writers in memory, beside the bare copies that they end in.
//!
//! `cargo bench -p broadcast-hub`; prints one line for each number of sessions and size of message. A writer copies
//! what it is given, as a socket would; the ratio is the time of fan-out over that of the same copies without it.
#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use gaung_engine::{Fanout, FanoutLimits, HotRing, RingRead, RingTake, RunPiece};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

const GROUP: GroupId = GroupId([2; 16]);
const RUNS: u64 = 64;
const MEASURED: Duration = Duration::from_millis(500);

fn main() {
    println!(
        "{:>8} {:>8} {:>12} {:>14} {:>10} {:>8}",
        "sessions", "payload", "messages/run", "deliveries/s", "GB/s", "/memcpy"
    );
    for (sessions, payload, per_run) in [(10, 100, 1), (100, 100, 1), (1000, 100, 1), (100, 100, 32), (1000, 1000, 32)]
    {
        let runs: Vec<Run> = (0..RUNS).map(|i| run(1 + i * per_run, per_run, payload)).collect();
        let fanned = repeat(|| fan_out(&runs, sessions));
        let copied = repeat(|| copy(&runs, sessions));
        let messages = (RUNS * per_run * sessions as u64) as f64;
        let bytes = runs.iter().map(|run| run.as_bytes().len()).sum::<usize>() as f64 * sessions as f64;
        let seconds = fanned.as_secs_f64();
        let ratio = seconds / copied.as_secs_f64();
        let (rate, volume) = (messages / seconds, bytes / seconds / 1e9);
        println!("{sessions:>8} {payload:>8} {per_run:>12} {rate:>14.0} {volume:>10.2} {ratio:>8.2}");
    }
}

/// The shortest time of one round.
fn repeat(mut round: impl FnMut()) -> Duration {
    round();
    let begun = Instant::now();
    let mut best = Duration::MAX;
    while begun.elapsed() < MEASURED {
        let start = Instant::now();
        round();
        best = best.min(start.elapsed());
    }
    best
}

/// Every run is pushed alone and written to every session before the next comes: the least batching there can be.
fn fan_out(runs: &[Run], sessions: usize) {
    let mut ring = HotRing::new(8 << 20);
    let mut writers: Vec<(Fanout, Vec<u8>)> = (0..sessions)
        .map(|_| {
            let mut fanout = Fanout::new(FanoutLimits::default());
            fanout.place(GROUP, Seq::FIRST);
            (fanout, Vec::with_capacity(64 * 1024))
        })
        .collect();
    for run in runs {
        ring.push(run.clone());
        for (fanout, out) in &mut writers {
            fanout.mark(GROUP);
            let gathered = fanout.gather(|_, next, budget, found| take(&ring, next, budget, found));
            out.clear();
            fanout.slices().for_each(|slice| out.extend_from_slice(slice));
            fanout.wrote(gathered.bytes);
            black_box(&out);
        }
    }
}

fn copy(runs: &[Run], sessions: usize) {
    let mut writers: Vec<Vec<u8>> = (0..sessions).map(|_| Vec::with_capacity(64 * 1024)).collect();
    for run in runs {
        for out in &mut writers {
            out.clear();
            out.extend_from_slice(run.as_bytes());
            black_box(&out);
        }
    }
}

fn take(ring: &HotRing, next: Seq, budget: usize, found: &mut Vec<RunPiece>) -> RingTake {
    match ring.read_from(next, budget) {
        RingRead::Runs(runs) => {
            found
                .extend(runs.iter().map(|run| RunPiece { bytes: run.as_bytes().clone(), next: run.last_seq().next() }));
            RingTake::Pieces { at_head: true }
        }
        RingRead::Trimmed { oldest } => RingTake::Behind { oldest },
        RingRead::AtHead => RingTake::AtHead,
    }
}

fn run(base: u64, count: u64, payload_len: usize) -> Run {
    let mut block = BlockBuilder::new();
    for i in 0..count {
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
            client_seq: ClientSeq(base + i),
            content_type: ContentType::Text,
            sent_at: SentAt(7),
            payload: &vec![b'x'; payload_len],
        });
    }
    Run::encode(RunHeader { group: GROUP, log: LogId(3), epoch: Epoch(1), base_seq: Seq(base) }, &block)
}
