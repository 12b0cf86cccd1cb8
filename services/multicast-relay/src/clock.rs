//! The wall clock, for display and for expiry in days, never to order messages or to fence writers; and the uptime, which
//! shows when the wall clock was set.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gaung_proto::block::SentAt;
use nix::time::{ClockId, clock_gettime};

/// Returns the wall clock as a message's timestamp, µs since 1970.
pub(crate) fn sent_at() -> SentAt {
    SentAt(since_1970().as_micros() as u64)
}

/// Returns the wall clock in ms since 1970.
pub(crate) fn unix_ms() -> i64 {
    since_1970().as_millis() as i64
}

/// Returns the time since the machine booted, suspended time included.
pub(crate) fn uptime() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
