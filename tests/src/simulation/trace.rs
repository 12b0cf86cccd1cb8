//! One number for all that happened in a run, and on request the happenings in words.

use std::{fmt, time::Duration};

/// Takes note of every event.
#[derive(Debug)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
    /// Write every event to stderr.
    talks: bool,
}

impl Trace {
    pub(super) const fn new(talks: bool) -> Self {
        Self { hash: 0x9e37_79b9_7f4a_7c15, events: 0, talks }
    }

    /// `numbers` say what happened, as far as two runs could differ in it.
    pub(super) fn note(&mut self, at: Duration, numbers: [u64; 3], words: impl FnOnce() -> String) {
        self.events += 1;
        self.mix(at.as_nanos() as u64);
        numbers.into_iter().for_each(|number| self.mix(number));
        if self.talks {
            eprintln!("{:>12.6} {}", at.as_secs_f64(), words());
        }
    }

    /// Two runs with the same value were the same.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) const fn events(&self) -> u64 {
        self.events
    }

    fn mix(&mut self, number: u64) {
        self.hash = mixed(self.hash ^ number);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.hash)
    }
}

/// A number for some bytes; no protection against anybody.
pub(super) fn digest(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let start = mixed(bytes.len() as u64);
    let hash = words.iter().fold(start, |hash, word| mixed(hash ^ u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| mixed(hash ^ u64::from(*byte)))
}

/// Stafford's thirteenth mixer of 64 bits, as in SplitMix64.
pub(super) const fn mixed(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
