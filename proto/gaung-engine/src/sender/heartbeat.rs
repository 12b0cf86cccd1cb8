//! Schedules heartbeats.

use std::time::{Duration, Instant};

use crate::timing::TIMING;

/// Doubles the interval of heartbeats after the last data.
#[derive(Debug)]
pub(super) struct HeartbeatSchedule {
    after_data: Instant,
    /// When a heartbeat is due whatever data is sent, because a member waits for it.
    wanted: Option<Instant>,
    interval: Duration,
    last: Option<Instant>,
    /// Interval of heartbeats while the group has no listeners.
    resting: Duration,
    /// The round trip that the last heartbeat advertised.
    advertised_grtt: Duration,
}

impl HeartbeatSchedule {
    /// Starts the schedule; the first heartbeat is due at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            after_data: now,
            wanted: None,
            interval: TIMING.heartbeat_min,
            last: None,
            resting: TIMING.heartbeat_rest_min,
            advertised_grtt: Duration::ZERO,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.wanted.map_or(self.after_data, |wanted| wanted.min(self.after_data))
    }

    /// Restarts the schedule after data. Data that never pauses has heartbeats too, because they carry the round trip
    /// and the size of the group.
    pub(super) fn restart(&mut self, now: Instant) {
        self.interval = TIMING.heartbeat_min;
        let latest = self.last.map_or(now, |last| last + TIMING.heartbeat_max);
        self.after_data = (now + TIMING.heartbeat_min).min(latest);
    }

    /// Schedules the next heartbeat after one was sent, which advertised `grtt`.
    pub(super) fn sent(&mut self, now: Instant, grtt: Duration) {
        self.advertised_grtt = grtt;
        self.last = Some(now);
        self.wanted = None;
        self.after_data = now + self.interval;
        self.interval = (self.interval * 2).min(TIMING.heartbeat_max);
    }

    /// Sets how many groups share the relay's budget of heartbeats.
    pub(super) fn set_groups(&mut self, groups: usize) {
        let groups = u32::try_from(groups).unwrap_or(u32::MAX);
        self.resting = TIMING
            .heartbeat_rest_per_group
            .saturating_mul(groups)
            .clamp(TIMING.heartbeat_rest_min, TIMING.heartbeat_rest_max);
    }

    /// Postpones the next heartbeat because nobody listens. The caller calls again at `until` at the latest.
    pub(super) fn rest(&mut self, now: Instant, until: Option<Instant>) {
        let rested = self.last.map_or(now, |last| last + self.resting);
        let until = until.map_or(rested, |until| until.max(now + TIMING.heartbeat_min));
        self.after_data = rested.min(until);
        self.wanted = None;
        self.interval = TIMING.heartbeat_min;
    }

    /// Whether a heartbeat is due although nobody listens.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.resting)
    }

    /// Restarts the schedule at another address, as at the beginning.
    pub(super) const fn restart_at_once(&mut self, now: Instant) {
        self.interval = TIMING.heartbeat_min;
        self.wanted = Some(now);
    }

    /// Hastens the next heartbeat if the round trip is half or twice the one that members know.
    pub(super) fn handle_grtt(&mut self, now: Instant, grtt: Duration) {
        if grtt * 2 < self.advertised_grtt || self.advertised_grtt * 2 < grtt {
            self.hasten(now);
        }
    }

    /// Sends the next heartbeat as soon as the least interval allows.
    pub(super) fn hasten(&mut self, now: Instant) {
        let soonest = self.last.map_or(now, |last| (last + TIMING.heartbeat_min).max(now));
        self.wanted = Some(self.wanted.map_or(soonest, |wanted| wanted.min(soonest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_without_a_pause_does_not_starve_who_waits_for_a_heartbeat() {
        let began = Instant::now();
        let mut schedule = HeartbeatSchedule::new(began);
        schedule.sent(began, Duration::ZERO);
        let mut sent = Vec::new();
        for ms in 1..2500 {
            let now = began + Duration::from_millis(ms);
            schedule.restart(now);
            if ms == 1500 {
                schedule.hasten(now);
            }
            if schedule.next() <= now {
                schedule.sent(now, Duration::ZERO);
                sent.push(ms);
            }
        }
        assert_eq!(sent, [1000, 1500]);
    }
}
