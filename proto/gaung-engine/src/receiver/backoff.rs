//! The random wait before a NAK (RFC 5401), so that one member's request silences the others'.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    sabotage::Sabotage,
    timing::{self, NACK_BACKOFF_ROUND_TRIPS, TIMING},
};

/// Group sizes above this no longer change the backoff.
const MAX_GROUP_SIZE: u32 = 1_000_000;

/// Draws the waits before NAKs from the round trip and the size of the group, as its heartbeats advertise them.
#[derive(Debug)]
pub(super) struct NakBackoff {
    rng: SmallRng,
    grtt: Duration,
    group_size: u32,
    sabotage: Sabotage,
}

impl NakBackoff {
    /// Makes a source of waits for a group of which no heartbeat has come.
    pub(super) fn new(seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { rng, grtt: TIMING.grtt_initial, group_size: 1, sabotage: Sabotage::default() }
    }

    /// Takes the round trip and the size of the group from a heartbeat, which may be forged.
    pub(super) fn handle_heartbeat(&mut self, grtt: Duration, group_size: u32) {
        self.grtt = timing::bounded_grtt(grtt);
        self.group_size = group_size.clamp(1, MAX_GROUP_SIZE);
    }

    pub(super) const fn grtt(&self) -> Duration {
        self.grtt
    }

    pub(super) const fn group_size(&self) -> u32 {
        self.group_size
    }

    pub(super) const fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    /// Takes safety mechanisms out, for tests that must notice it.
    #[cfg(feature = "sabotage")]
    pub(super) const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    /// Returns how long to wait for datagrams that are late before what is missing is requested.
    pub(super) fn gap_wait(&mut self) -> Duration {
        timing::reorder(self.grtt) + self.nak_backoff()
    }

    /// Returns a wait from 0 to 4 round trips, truncated exponential: the larger the group, the fewer send early.
    pub(super) fn nak_backoff(&mut self) -> Duration {
        if self.sabotage.nacks_at_once() {
            return Duration::ZERO;
        }
        let longest = (self.grtt * NACK_BACKOFF_ROUND_TRIPS).as_secs_f64();
        let lambda = f64::from(self.group_size).ln() + 1.0;
        let scale = lambda.exp() - 1.0;
        let uniform: f64 = self.rng.random();
        let x = (uniform * lambda + lambda / scale) / longest;
        let wait = longest / lambda * (x * scale * (longest / lambda)).ln();
        if wait.is_finite() { Duration::from_secs_f64(wait.clamp(0.0, longest)) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_four_round_trips_and_large_groups_wait_longer() {
        let grtt = Duration::from_millis(5);
        let mut backoff = NakBackoff::new(1);
        let mut mean = |size| {
            backoff.handle_heartbeat(grtt, size);
            let waits: Vec<_> = (0..2000).map(|_| backoff.nak_backoff()).collect();
            assert!(waits.iter().all(|wait| *wait <= grtt * 4), "group of {size}");
            waits.iter().sum::<Duration>() / 2000
        };
        let (one, hundred) = (mean(1), mean(100));
        assert!(one < hundred && mean(0) < hundred, "{one:?} {hundred:?}");
        assert!(mean(u32::MAX) <= grtt * 4);
    }

    #[test]
    fn no_round_trip_is_no_wait() {
        let mut backoff = NakBackoff { grtt: Duration::ZERO, group_size: 3, ..NakBackoff::new(1) };
        assert_eq!(backoff.nak_backoff(), Duration::ZERO);
    }
}
