//! How fast the relay's sender packs messages into datagrams, as a ratio to a plain copy of the same payload bytes.
#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use gaung_engine::{Cookies, DEFAULT_REPAIR_BYTES, RelaySender, SenderConfig};
use gaung_proto::{
    ClientId, ClientSeq, ContentType, DeviceId, Epoch, Generation, GroupAddr, GroupId, LogId, Seq,
    block::{Author, BlockBuilder, MessageRef, SentAt},
    run::{Run, RunHeader},
};

const GROUP: GroupId = GroupId([1; 16]);
/// Payload bytes of one measurement; more than any cache holds.
const TOTAL_BYTES: usize = 64 * 1024 * 1024;

fn main() {
    println!("{:>8} {:>14} {:>12} {:>12} {:>9}", "payload", "messages/s", "pack MB/s", "copy MB/s", "copy/pack");
    for payload_bytes in [32, 128, 1024, 16 * 1024] {
        let runs = runs_of(payload_bytes);
        let messages: u64 = runs.iter().map(|run| u64::from(run.count())).sum();
        let pack = best(|| pack(&runs));
        let copy = best(|| copy(&runs));
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

fn best(mut measured: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| measured()).min().unwrap()
}

fn pack(runs: &[Run]) -> Duration {
    let now = Instant::now();
    let mut sender = RelaySender::new(config(), now);
    for run in runs {
        sender.handle_run(now, run);
        sender.flush(now);
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

fn runs_of(payload_bytes: usize) -> Vec<Run> {
    let payload = vec![7; payload_bytes];
    let author = Author { device: DeviceId([1; 16]), client: ClientId([2; 16]) };
    let per_run = (48 * 1024 / payload_bytes).max(1) as u64;
    let count = (TOTAL_BYTES / payload_bytes) as u64 / per_run;
    let run = |number: u64| {
        let base_seq = Seq(number * per_run + 1);
        let mut block = BlockBuilder::new();
        for i in 0..per_run {
            block.push(&MessageRef {
                author,
                client_seq: ClientSeq(base_seq.0 + i),
                content_type: ContentType::Text,
                sent_at: SentAt(1),
                payload: &payload,
            });
        }
        Run::encode(RunHeader { group: GROUP, log: LogId(1), epoch: Epoch(1), base_seq }, &block)
    };
    (0..count).map(run).collect()
}

fn config() -> SenderConfig {
    SenderConfig {
        group: GROUP,
        log: LogId(1),
        epoch: Epoch(1),
        generation: Generation(1),
        addr: GroupAddr::new(Ipv4Addr::new(239, 255, 9, 9), 20_000).unwrap(),
        ttl: 1,
        head: Seq::ZERO,
        oldest_logged: Seq::FIRST,
        repair_bytes: DEFAULT_REPAIR_BYTES,
        cookies: Cookies::new([3; 16]),
    }
}
