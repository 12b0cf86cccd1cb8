//! The two clocks, which are read at the edge and handed in.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic time, for leases, quarantines and nonces.
    pub mono: Instant,
    /// Milliseconds since 1970, for what people read and what outlives the process.
    pub unix_ms: i64,
}

impl Now {
    /// Reads the clocks.
    #[must_use]
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { mono: Instant::now(), unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
    }
}

/// The time of a command as its proposer read it. Unlike [`Now`] it means the same in another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandTime {
    /// Monotonic time since the tables were loaded.
    pub mono: Duration,
    /// Milliseconds since 1970.
    pub unix_ms: i64,
}
