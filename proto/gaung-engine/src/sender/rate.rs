//! How fast a group's datagrams may leave: a token bucket, and a rate that follows what members lose.
//!
//! Loss alone is no sign of congestion on a LAN: Wi-Fi and cheap switches lose at any rate. So a cut is a trial. If after
//! it members lose the same part, and so receive less, the loss was not ours: the rate comes back, and so much loss is
//! expected from then on. If they lose less, or receive as much as before, it was congestion.

use std::time::{Duration, Instant};

use crate::timing::TIMING;

/// Bytes a second, UDP payload.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// The lowest, 1 Mbit/s: a chat goes on whatever happens.
    pub const MIN: Self = Self(125_000.0);

    /// From Mbit/s; at least [`Self::MIN`].
    #[must_use]
    pub fn from_mbit(mbit: u32) -> Self {
        Self((f64::from(mbit) * 125_000.0).max(Self::MIN.0))
    }

    /// Returns the rate in bytes a second.
    #[must_use]
    pub const fn bytes_per_second(self) -> f64 {
        self.0
    }

    pub(super) fn times(self, factor: f64) -> Self {
        Self(self.0 * factor)
    }

    fn within(self, cap: Self) -> Self {
        Self(self.0.min(cap.0).max(Self::MIN.0))
    }
}

/// The first rate as a part of the cap.
const FIRST: f64 = 0.25;
/// Factor by which the rate grows each period until the first congestion.
const DOUBLING: f64 = 2.0;
/// Factor by which the rate grows each period after the first congestion.
const GROWTH: f64 = 1.05;
/// Share of the rate that a cut leaves: low enough for congestion to show, high enough to be tolerable for a period
/// where there is none.
const CUT: f64 = 0.7;
/// Loss below this is ignored.
const TOLERATED_LOSS: f64 = 0.01;
/// Loss that falls to less than this part of what it was, at [`CUT`] of the rate, was congestion.
const CURED: f64 = 0.6;
/// So was loss if members receive at least this part of what they did; without congestion they receive [`CUT`] of it.
const SATURATED: f64 = 0.85;
/// Loss that the network has anyway varies by this.
const VARIATION: f64 = 1.5;
/// A rate of which less than this part is used limits nobody, and is left as it is.
const USED: f64 = 0.5;
/// Members of whom this part may lose more than the measure: one bad receiver slows nobody.
const SPARED: f64 = 0.1;

/// Raises and cuts a rate.
#[derive(Debug)]
pub(super) struct RateControl {
    cap: Rate,
    rate: Rate,
    grow: f64,
    trial: Option<RateTrial>,
    /// Loss that no cut has cured.
    expected_loss: f64,
    period_began: Instant,
    period_bytes: f64,
}

/// A cut whose effect has not been reviewed yet.
#[derive(Debug, Clone, Copy)]
struct RateTrial {
    rate: Rate,
    grow: f64,
    loss: f64,
}

impl RateControl {
    pub(super) fn new(cap: Rate, now: Instant) -> Self {
        Self {
            cap,
            rate: cap.times(FIRST).within(cap),
            grow: DOUBLING,
            trial: None,
            expected_loss: 0.0,
            period_began: now,
            period_bytes: 0.0,
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// The rate that repairs have their share of. Not of a cut that is on trial: where loss is not congestion, as much has to
    /// be repaired as before, and what waits for a quarter of a second is read from the log by everybody.
    pub(super) fn repair_base(&self) -> Rate {
        self.trial.map_or(self.rate, |trial| trial.rate)
    }

    pub(super) fn count(&mut self, bytes: usize) {
        self.period_bytes += bytes as f64;
    }

    pub(super) fn next_period(&self) -> Instant {
        self.period_began + TIMING.rate_period
    }

    /// Ends a period. `losses`: for each member that reported in it, the part of first-sent datagrams that it missed.
    pub(super) fn end_period(&mut self, now: Instant, losses: &mut [f64]) {
        let seconds = now.saturating_duration_since(self.period_began).as_secs_f64();
        let used = self.period_bytes >= self.rate.0 * seconds * USED;
        (self.period_began, self.period_bytes) = (now, 0.0);
        let loss = loss_of_most(losses);
        let trial = self.trial.take();
        if let (Some(trial), Some(loss), true) = (trial, loss, used) {
            let received = self.rate.0 * (1.0 - loss) / (trial.rate.0 * (1.0 - trial.loss)).max(1.0);
            if loss >= trial.loss * CURED && received < SATURATED {
                self.expected_loss = loss;
                (self.rate, self.grow) = (trial.rate, trial.grow);
            }
            return;
        }
        // Of a trial without a verdict (nobody reported, or the rate was not used) the cut stays: nothing has shown that the
        // loss was not ours.
        let loss = loss.unwrap_or(0.0);
        if used && loss > TOLERATED_LOSS.max(self.expected_loss * VARIATION) {
            self.trial = Some(RateTrial { rate: self.rate, grow: self.grow, loss });
            self.rate = self.rate.times(CUT).within(self.cap);
            self.grow = GROWTH;
            return;
        }
        self.expected_loss = self.expected_loss.min(loss.max(TOLERATED_LOSS));
        if used {
            self.rate = self.rate.times(self.grow).within(self.cap);
        }
    }
}

/// The loss that all but [`SPARED`] of the members stay at or below.
fn loss_of_most(losses: &mut [f64]) -> Option<f64> {
    losses.sort_unstable_by(f64::total_cmp);
    let spared = (losses.len() as f64 * SPARED) as usize;
    losses.len().checked_sub(1 + spared).map(|index| losses[index])
}

/// Tokens are bytes. A datagram may leave while there is any token, so that large ones are not starved.
#[derive(Debug)]
pub(super) struct TokenBucket {
    tokens: f64,
    filled: Instant,
}

/// But at least one segmented send.
const MIN_BURST_BYTES: f64 = 65_536.0;

impl TokenBucket {
    /// Creates a full bucket.
    pub(super) fn new(now: Instant, rate: Rate) -> Self {
        Self { tokens: burst(rate), filled: now }
    }

    pub(super) fn fill(&mut self, now: Instant, rate: Rate) {
        let passed = now.saturating_duration_since(self.filled);
        self.tokens = (self.tokens + rate.0 * passed.as_secs_f64()).min(burst(rate));
        self.filled = self.filled.max(now);
    }

    pub(super) const fn is_open(&self) -> bool {
        self.tokens > 0.0
    }

    /// Takes tokens, and may leave a debt, because what cannot wait is sent in any case.
    pub(super) fn take(&mut self, bytes: usize) {
        self.tokens -= bytes as f64;
    }

    /// Returns when the bucket is open again; a whole burst at a time would be jitter, a datagram at a time a storm of
    /// timers.
    pub(super) fn opens_at(&self, rate: Rate) -> Instant {
        let debt = Duration::from_secs_f64((-self.tokens).max(0.0) / rate.0);
        self.filled + debt + TIMING.rate_pause_min
    }
}

fn burst(rate: Rate) -> f64 {
    (rate.0 * TIMING.rate_burst.as_secs_f64()).max(MIN_BURST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: u32 = 80;
    const SECOND: Duration = Duration::from_secs(1);

    struct Link {
        control: RateControl,
        now: Instant,
        /// Lost at any rate.
        noise: f64,
        /// Mbit/s that pass; the rest is lost.
        passes: f64,
    }

    impl Link {
        fn new(noise: f64, passes: f64) -> Self {
            let now = Instant::now();
            Self { control: RateControl::new(Rate::from_mbit(CAP), now), now, noise, passes }
        }

        fn mbit(&self) -> f64 {
            self.control.rate().bytes_per_second() / 125_000.0
        }

        fn second(&mut self, share_used: f64) {
            let sent = self.mbit() * share_used;
            let congestion = ((sent - self.passes) / sent).max(0.0);
            self.control.count((sent * 125_000.0) as usize);
            self.now += SECOND;
            let loss = self.noise + congestion;
            self.control.end_period(self.now, &mut [loss; 4]);
        }

        fn run(&mut self, seconds: usize) -> f64 {
            (0..seconds).for_each(|_| self.second(1.0));
            self.mbit()
        }
    }

    #[test]
    fn doubles_from_a_quarter_to_the_cap() {
        let mut link = Link::new(0.0, 1000.0);
        assert_eq!(link.mbit(), 20.0);
        assert_eq!([link.run(1), link.run(1), link.run(5)], [40.0, 80.0, 80.0]);
    }

    #[test]
    fn what_nobody_uses_does_not_grow() {
        let mut link = Link::new(0.0, 1000.0);
        (0..5).for_each(|_| link.second(0.1));
        assert_eq!(link.mbit(), 20.0);
    }

    #[test]
    fn loss_that_no_cut_cures_slows_nothing() {
        for noise in [0.02, 0.05, 0.2, 0.4] {
            let mut link = Link::new(noise, 1000.0);
            assert_eq!(link.run(8), f64::from(CAP), "{noise}");
            assert_eq!(link.run(20), f64::from(CAP), "{noise}");
        }
    }

    #[test]
    fn congestion_is_cut_to_what_passes_and_grows_slowly() {
        for noise in [0.0, 0.05] {
            let mut link = Link::new(noise, 30.0);
            let mut total = 0.0;
            for second in 0..60 {
                link.second(1.0);
                if second >= 10 {
                    assert!(link.mbit() < 45.0, "{noise} {second} {}", link.mbit());
                    total += link.mbit().min(30.0);
                }
            }
            assert!(total / 50.0 > 21.0, "{noise}: {} of what passes", total / 50.0 / 30.0);
        }
    }

    #[test]
    fn one_bad_member_of_many_slows_nobody() {
        let mut losses = vec![0.0; 19];
        losses.push(0.9);
        assert_eq!(loss_of_most(&mut losses), Some(0.0));
        assert_eq!(loss_of_most(&mut [0.5, 0.1]), Some(0.5));
        assert_eq!(loss_of_most(&mut []), None);
    }

    #[test]
    fn never_below_the_floor() {
        let mut link = Link::new(0.0, 0.1);
        assert_eq!(link.run(60), 1.0);
    }

    #[test]
    fn a_bucket_lets_through_its_rate() {
        let (start, rate) = (Instant::now(), Rate::from_mbit(80));
        let (mut bucket, mut now, mut sent) = (TokenBucket::new(start, rate), start, 0);
        while now < start + SECOND {
            bucket.fill(now, rate);
            while bucket.is_open() {
                bucket.take(1400);
                sent += 1400;
            }
            now = bucket.opens_at(rate);
        }
        let expected = 10_000_000 + MIN_BURST_BYTES as usize;
        assert!((expected - 50_000..expected + 5_000).contains(&sent), "{sent}");
    }
}
