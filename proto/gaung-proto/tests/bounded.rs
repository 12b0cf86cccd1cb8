//! No decoder allocates by a length that the sender claims. One test, because the counters belong to the process.
#![allow(missing_docs)]

mod subjects;

use std::alloc::System;

use gaung_proto::limits::MAX_FRAME;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SEED: u64 = 0x6761_756e_6702;

/// Bytes that reading a value may take for each byte received: copies, the list of its parts, the encoding again.
const FOR_EACH_BYTE: usize = 64;
/// And besides: small tables, and key schedules.
const BESIDES: usize = 64 * 1024;

#[test]
fn nothing_is_allocated_by_a_claimed_length() {
    for subject in subjects::all() {
        let mut rng = StdRng::seed_from_u64(SEED);
        // A stream may reserve room for the one item it waits for, whose length it has compared with the limit.
        let waiting = if subject.name.contains("stream") { MAX_FRAME } else { 0 };
        for turn in 0..3000 {
            let mut bytes = (subject.sample)(&mut rng);
            // Lengths stand at any place: put the largest value there.
            let at = rng.random_range(0..bytes.len());
            let end = (at + 4).min(bytes.len());
            bytes[at..end].fill(if rng.random() { 0xff } else { rng.random() });
            let limit = waiting + BESIDES + bytes.len() * FOR_EACH_BYTE;
            let region = Region::new(ALLOCATOR);
            subject.takes(&bytes);
            let allocated = region.change().bytes_allocated;
            assert!(allocated <= limit, "{} seed {SEED} turn {turn}: {allocated} bytes", subject.name);
        }
    }
}
