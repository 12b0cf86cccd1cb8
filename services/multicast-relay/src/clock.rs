//! The wall clock: for display and for expiry in days, never to order or to fence. And the one that nobody sets, which
//! tells when the wall clock was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gaung_proto::block::SentAt;
use nix::time::{ClockId, clock_gettime};

/// µs since 1970.
pub(crate) fn sent_at() -> SentAt {
    SentAt(since_1970().as_micros() as u64)
}

/// ms since 1970.
pub(crate) fn unix_ms() -> i64 {
    since_1970().as_millis() as i64
}

/// Time since the machine's start, suspended time included.
pub(crate) fn uptime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
