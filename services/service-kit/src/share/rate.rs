//! Token buckets, one for each caller.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Callers remembered at a time. More than a LAN has; the one that was idle for longest is forgotten for a new one.
const MAX_CALLERS: usize = 64 * 1024;

/// Limits the calls a second of each caller `K`, an [`Origin`](super::Origin) or a device, and `burst` at once.
#[derive(Debug)]
pub struct RateLimit<K> {
    per_second: f64,
    burst: f64,
    state: Mutex<RateState<K>>,
}

/// The caller has used up its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls from your address or device; try again in {} s", retry_after.as_secs() + 1)]
pub struct TooSoon {
    /// When the next call will be taken.
    pub retry_after: Duration,
}

#[derive(Debug)]
struct RateState<K> {
    buckets: HashMap<K, RateBucket>,
    /// The callers, the one that was idle for longest first.
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

#[derive(Debug, Clone, Copy)]
struct RateBucket {
    tokens: f64,
    filled: Instant,
    /// Its place in [`RateState::by_use`].
    used: u64,
}

impl<K: Copy + Eq + Hash> RateLimit<K> {
    /// Makes a limit of `per_second` calls in the long run, `burst` ≥ 1 of them at once. 0 a second is no limit.
    #[must_use]
    pub fn new(per_second: f64, burst: f64) -> Self {
        let state = RateState { buckets: HashMap::new(), by_use: BTreeMap::new(), uses: 0 };
        Self { per_second, burst: burst.max(1.0), state: Mutex::new(state) }
    }

    /// Counts one call of `caller` at `now`, which must not go back.
    ///
    /// # Errors
    /// [`TooSoon`], and the call is not counted.
    pub fn take(&self, caller: K, now: Instant) -> Result<(), TooSoon> {
        self.take_tokens(caller, now, 1.0)
    }

    /// Checks that a call of `caller` would be taken at `now`, which must not go back, and counts nothing.
    ///
    /// # Errors
    /// [`TooSoon`].
    pub fn check(&self, caller: K, now: Instant) -> Result<(), TooSoon> {
        self.take_tokens(caller, now, 0.0)
    }

    /// Takes `tokens` of the caller's bucket, in which there must be one at least.
    fn take_tokens(&self, caller: K, now: Instant, tokens: f64) -> Result<(), TooSoon> {
        if self.per_second <= 0.0 {
            return Ok(());
        }
        self.with_bucket(caller, now, |bucket| {
            if bucket.tokens < 1.0 {
                let retry_after = Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_second);
                return Err(TooSoon { retry_after });
            }
            bucket.tokens -= tokens;
            Ok(())
        })
    }

    /// Counts one call of `caller` at `now`, which must not go back, and returns how long it waits for its turn: zero within
    /// the burst, and at most `longest`.
    pub fn reserve(&self, caller: K, now: Instant, longest: Duration) -> Duration {
        if self.per_second <= 0.0 {
            return Duration::ZERO;
        }
        self.with_bucket(caller, now, |bucket| {
            bucket.tokens = (bucket.tokens - 1.0).max(-longest.as_secs_f64() * self.per_second);
            Duration::from_secs_f64((-bucket.tokens / self.per_second).max(0.0))
        })
    }

    /// Gives `use_bucket` the caller's bucket, filled up to `now`.
    fn with_bucket<T>(&self, caller: K, now: Instant, use_bucket: impl FnOnce(&mut RateBucket) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let RateState { buckets, by_use, uses } = &mut *state;
        if buckets.len() >= MAX_CALLERS
            && !buckets.contains_key(&caller)
            && let Some((_, idle)) = by_use.pop_first()
        {
            buckets.remove(&idle);
        }
        *uses += 1;
        let bucket = buckets.entry(caller).or_insert(RateBucket { tokens: self.burst, filled: now, used: *uses });
        by_use.remove(&bucket.used);
        by_use.insert(*uses, caller);
        bucket.used = *uses;
        let since = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * self.per_second).min(self.burst);
        bucket.filled = now;
        use_bucket(bucket)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_caller_has_a_bucket() {
        let limit = RateLimit::new(2.0, 3.0);
        let start = Instant::now();
        for _ in 0..3 {
            limit.take("eve", start).unwrap();
        }
        let refused = limit.take("eve", start).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_millis(500));
        limit.take("ani", start).unwrap();
        limit.take("eve", start + refused.retry_after).unwrap();
        limit.take("eve", start + refused.retry_after).unwrap_err();
    }

    #[test]
    fn a_check_counts_nothing() {
        let limit = RateLimit::new(2.0, 1.0);
        let start = Instant::now();
        for _ in 0..100 {
            limit.check("eve", start).unwrap();
        }
        limit.take("eve", start).unwrap();
        assert_eq!(limit.check("eve", start), limit.take("eve", start));
        limit.check("eve", start).unwrap_err();
    }

    #[test]
    fn who_may_wait_gets_a_turn() {
        let limit = RateLimit::new(2.0, 3.0);
        let (start, longest) = (Instant::now(), Duration::from_secs(2));
        let waits: Vec<_> = (0..9).map(|_| limit.reserve("eve", start, longest).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 500, 1000, 1500, 2000, 2000, 2000]);
        assert_eq!(limit.reserve("ani", start, longest), Duration::ZERO);
        assert_eq!(limit.reserve("eve", start + longest, longest).as_millis(), 500);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_was_idle_for_longest() {
        let limit = RateLimit::new(1.0, 1.0);
        let start = Instant::now();
        for caller in 0..MAX_CALLERS {
            limit.take(caller, start).unwrap();
        }
        limit.take(0, start).unwrap_err();
        limit.take(MAX_CALLERS, start).unwrap();
        limit.take(0, start).expect_err("it was not idle for longest");
        limit.take(1, start).expect("it is as new");
        let state = limit.state.lock().unwrap();
        assert_eq!((state.buckets.len(), state.by_use.len()), (MAX_CALLERS, MAX_CALLERS));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let limit = RateLimit::new(0.0, 1.0);
        let start = Instant::now();
        for _ in 0..100 {
            limit.take("eve", start).unwrap();
            assert_eq!(limit.reserve("eve", start, Duration::from_secs(1)), Duration::ZERO);
        }
        assert!(limit.state.lock().unwrap().buckets.is_empty());
    }
}
