//! The random wait before a NAK (RFC 5401), so that one member's request silences the others'.

use std::time::Duration;

use rand::{Rng, rngs::SmallRng};

use crate::timing::NACK_BACKOFF_ROUND_TRIPS;

/// Returns a wait from 0 to 4 `grtt`, truncated exponential: the larger the group, the fewer send early.
///
/// `group_size`: as the relay counts it, at least 1.
pub(super) fn nak_backoff(rng: &mut SmallRng, grtt: Duration, group_size: u32) -> Duration {
    let longest = (grtt * NACK_BACKOFF_ROUND_TRIPS).as_secs_f64();
    let lambda = f64::from(group_size.max(1)).ln() + 1.0;
    let scale = lambda.exp() - 1.0;
    let uniform: f64 = rng.random();
    let x = (uniform * lambda + lambda / scale) / longest;
    let wait = longest / lambda * (x * scale * (longest / lambda)).ln();
    if wait.is_finite() { Duration::from_secs_f64(wait.clamp(0.0, longest)) } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn waits_stay_within_four_round_trips_and_large_groups_wait_longer() {
        let mut rng = SmallRng::seed_from_u64(1);
        let grtt = Duration::from_millis(5);
        let mut mean = |size| {
            let waits: Vec<_> = (0..2000).map(|_| nak_backoff(&mut rng, grtt, size)).collect();
            assert!(waits.iter().all(|wait| *wait <= grtt * 4), "group of {size}");
            waits.iter().sum::<Duration>() / 2000
        };
        let (one, hundred) = (mean(1), mean(100));
        assert!(one < hundred, "{one:?} {hundred:?}");
        assert!(mean(u32::MAX) <= grtt * 4);
    }

    #[test]
    fn no_round_trip_is_no_wait() {
        assert_eq!(nak_backoff(&mut SmallRng::seed_from_u64(1), Duration::ZERO, 3), Duration::ZERO);
    }
}
