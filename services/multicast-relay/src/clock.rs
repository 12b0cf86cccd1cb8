//! The wall clock: for display and for expiry in days, never to order or to fence.

use std::time::{SystemTime, UNIX_EPOCH};

use gaung_proto::block::SentAt;

/// µs since 1970.
pub(crate) fn sent_at() -> SentAt {
    SentAt(since_1970().as_micros() as u64)
}

/// ms since 1970.
pub(crate) fn unix_ms() -> i64 {
    since_1970().as_millis() as i64
}

fn since_1970() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
