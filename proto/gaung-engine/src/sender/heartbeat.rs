//! When heartbeats are sent.

use std::time::{Duration, Instant};

/// Heartbeats thin out after the last data.
#[derive(Debug)]
pub(super) struct HeartbeatSchedule {
    pub(super) next: Instant,
    interval: Duration,
    last: Option<Instant>,
}

impl HeartbeatSchedule {
    /// The first one is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self { next: now, interval: MIN_HEARTBEAT, last: None }
    }

    /// After data.
    pub(super) fn restart(&mut self, now: Instant) {
        self.interval = MIN_HEARTBEAT;
        self.next = now + MIN_HEARTBEAT;
    }

    /// After a heartbeat.
    pub(super) fn sent(&mut self, now: Instant) {
        self.last = Some(now);
        self.next = now + self.interval;
        self.interval = (self.interval * 2).min(MAX_HEARTBEAT);
    }

    /// Somebody waits for one.
    pub(super) fn hasten(&mut self, now: Instant) {
        let soonest = self.last.map_or(now, |last| (last + MIN_HEARTBEAT).max(now));
        self.next = self.next.min(soonest);
    }
}

/// The first heartbeat after data; doubles to [`MAX_HEARTBEAT`]. Also the least time between heartbeats asked for.
pub(super) const MIN_HEARTBEAT: Duration = Duration::from_millis(10);
const MAX_HEARTBEAT: Duration = Duration::from_secs(1);
