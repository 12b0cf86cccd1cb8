//! How fast the relay's sender packs messages into datagrams, as a ratio to a plain copy of the same payload bytes.
#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod fixture;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use gaung_engine::RelaySender;
use gaung_proto::run::Run;

use fixture::{median, runs_of, sender_config};

fn main() {
    println!("{:>8} {:>14} {:>12} {:>12} {:>9}", "payload", "messages/s", "pack MB/s", "copy MB/s", "× a copy");
    for payload_bytes in [32, 128, 1024, 16 * 1024] {
        let runs = runs_of(payload_bytes);
        let messages: u64 = runs.iter().map(|run| u64::from(run.count())).sum();
        let pack = median(|| pack(&runs));
        let copy = median(|| copy(&runs));
        let megabytes = messages as f64 * payload_bytes as f64 / 1e6;
        println!(
            "{payload_bytes:>8} {:>14.0} {:>12.0} {:>12.0} {:>9.1}",
            messages as f64 / pack.as_secs_f64(),
            megabytes / pack.as_secs_f64(),
            megabytes / copy.as_secs_f64(),
            pack.as_secs_f64() / copy.as_secs_f64()
        );
    }
}

fn pack(runs: &[Run]) -> Duration {
    let now = Instant::now();
    let mut sender = RelaySender::new(sender_config(), now);
    for run in runs {
        let then = Instant::now();
        sender.handle_run(then, run);
        sender.flush(then);
        while let Some(transmit) = sender.poll_transmit() {
            black_box(&transmit);
        }
    }
    now.elapsed()
}

fn copy(runs: &[Run]) -> Duration {
    let now = Instant::now();
    for run in runs {
        for message in run.block().messages() {
            black_box(message.payload.to_vec());
        }
    }
    now.elapsed()
}
