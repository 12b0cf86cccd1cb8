//! The machine's clock, which all its namespaces share.

use nix::time::{ClockId, clock_gettime};

/// Monotonic, ns: a moment on one host compares with a moment on another.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}
