//! A pool that no single holder can fill: when it is full, the holder with most is evicted for one with less.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// A limited amount (connections, bytes) of which each holder `K`, an [`Origin`](super::Origin) or a device, may have a part.
/// Clones share it.
#[derive(Debug)]
pub struct SharePool<K>(Arc<PoolInner<K>>);

/// A part of a pool that one holder took; dropping it returns it.
#[derive(Debug)]
pub struct Share<K: Copy + Ord + Hash> {
    pool: Arc<PoolInner<K>>,
    holder: K,
    id: u64,
}

/// Notifies that a share was evicted, without holding the share.
#[derive(Debug, Clone)]
pub struct EvictionNotice(CancellationToken);

/// Why a share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolFull {
    /// The holder is at the limit of one holder.
    #[error("too much is in use from your address; close some of it first")]
    OwnShare,
    /// The pool is full, and no holder has more than the caller would have.
    #[error("too much is in use by all together; try again later")]
    Pool,
}

#[derive(Debug)]
struct PoolInner<K> {
    capacity: u64,
    per_holder: u64,
    state: Mutex<PoolState<K>>,
    /// Wakes those for whom the pool was full whenever any amount changes: some holder may now have more than they would.
    changed: Notify,
}

#[derive(Debug)]
struct PoolState<K> {
    used: u64,
    next_id: u64,
    holders: HashMap<K, Holdings>,
    /// Holders by amount, so that the largest is found at once.
    by_amount: BTreeSet<(u64, K)>,
}

/// One holder's shares, least recently used first.
#[derive(Debug, Default)]
struct Holdings {
    total: u64,
    shares: BTreeMap<u64, HeldShare>,
    /// Wakes whoever waits for this holder to release something.
    freed: Arc<Notify>,
}

#[derive(Debug)]
struct HeldShare {
    amount: u64,
    /// Cancelled by an eviction. Made on demand, because most shares are returned before anybody asks for it.
    evicted: Option<CancellationToken>,
}

impl<K: Copy + Ord + Hash> SharePool<K> {
    /// Makes a pool of `capacity` for all holders together and at most `per_holder` for one.
    #[must_use]
    pub fn new(capacity: u64, per_holder: u64) -> Self {
        let state = PoolState { used: 0, next_id: 0, holders: HashMap::new(), by_amount: BTreeSet::new() };
        Self(Arc::new(PoolInner { capacity, per_holder, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Takes `amount` for `holder`. Where the pool is full, the oldest shares of whoever holds most are evicted, as long
    /// as that holder has more than the caller would have. Their amount counts as free at once, so owners have to end
    /// promptly when [`Share::evicted`] completes.
    ///
    /// # Errors
    /// [`PoolFull`]; nothing is evicted then.
    pub fn take(&self, holder: K, amount: u64) -> Result<Share<K>, PoolFull> {
        self.take_for(holder, amount, None)
    }

    /// Takes a share as [`Self::take`] does; an eviction cancels the caller's token `evicted`.
    ///
    /// # Errors
    /// [`PoolFull`]; nothing is evicted then.
    pub fn take_with(&self, holder: K, amount: u64, evicted: CancellationToken) -> Result<Share<K>, PoolFull> {
        self.take_for(holder, amount, Some(evicted))
    }

    fn take_for(&self, holder: K, amount: u64, evicted: Option<CancellationToken>) -> Result<Share<K>, PoolFull> {
        let mut state = self.0.lock();
        let held = state.held(holder);
        self.0.make_room(&mut state, holder, held, amount)?;
        let id = state.next_id;
        state.next_id += 1;
        // Unlocked before others are woken, who would only wait for the lock.
        state.add(holder, id, amount, evicted);
        drop(state);
        self.0.changed.notify_waiters();
        Ok(Share { pool: Arc::clone(&self.0), holder, id })
    }

    /// Repeats `attempt` to get more for `holder` until it succeeds. It is repeated when what it lacked may be free: after
    /// [`PoolFull::OwnShare`] once the holder released something, after [`PoolFull::Pool`] once any holder's amount changed.
    pub(crate) async fn retry<T>(&self, holder: K, mut attempt: impl FnMut() -> Result<T, PoolFull>) -> T {
        if let Ok(got) = attempt() {
            return got;
        }
        loop {
            let own = self.0.lock().holders.get(&holder).map(|holdings| Arc::clone(&holdings.freed));
            let mut freed = pin!(own.as_ref().map(|own| own.notified()));
            let mut changed = pin!(self.0.changed.notified());
            // Registered before the attempt, so that nothing freed in between is missed.
            changed.as_mut().enable();
            if let Some(freed) = freed.as_mut().as_pin_mut() {
                freed.enable();
            }
            match (attempt(), freed.as_pin_mut()) {
                (Ok(got), _) => return got,
                (Err(PoolFull::OwnShare), Some(freed)) => freed.await,
                (Err(PoolFull::OwnShare | PoolFull::Pool), _) => changed.await,
            }
        }
    }

    /// Returns the amount that `holder` has.
    #[must_use]
    pub fn held(&self, holder: K) -> u64 {
        self.0.lock().held(holder)
    }

    /// Whether `holder` has at least seven eighths of the limit of one holder.
    #[must_use]
    pub fn is_nearly_used_up(&self, holder: K) -> bool {
        self.0.lock().held(holder) >= self.0.per_holder - self.0.per_holder / 8
    }

    /// Returns the amount that all holders have together.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.lock().used
    }
}

impl<K> Clone for SharePool<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Copy + Ord + Hash> Share<K> {
    /// Changes the amount, with room made as by [`SharePool::take`].
    ///
    /// # Errors
    /// [`PoolFull`], and the amount is as before; an evicted share stays evicted ([`PoolFull::Pool`]).
    pub fn resize(&mut self, amount: u64) -> Result<(), PoolFull> {
        let mut state = self.pool.lock();
        let Some(before) = state.amount(self.holder, self.id) else { return Err(PoolFull::Pool) };
        let others = state.held(self.holder) - before;
        if let Some(more) = amount.checked_sub(before) {
            self.pool.make_room(&mut state, self.holder, others + before, more)?;
        }
        // Room is never made by evicting the caller's own shares, so this one is still there.
        state.replace(self.holder, self.id, amount);
        drop(state);
        self.pool.changed.notify_waiters();
        Ok(())
    }

    /// Marks the share as the holder's most recently used, so that its others are evicted first.
    pub fn touch(&mut self) {
        let mut state = self.pool.lock();
        let id = state.next_id;
        let Some(holdings) = state.holders.get_mut(&self.holder) else { return };
        let Some(share) = holdings.shares.remove(&self.id) else { return };
        // Ids rise with use: the first of the map is the one that was unused for longest.
        holdings.shares.insert(id, share);
        state.next_id += 1;
        self.id = id;
    }

    /// Completes once the share was evicted.
    pub async fn evicted(&self) {
        self.notice().evicted().await;
    }

    /// Whether the share was evicted.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.pool.lock().amount(self.holder, self.id).is_none()
    }

    /// Returns a notice of the eviction, for a task that does not hold the share itself.
    #[must_use]
    pub fn notice(&self) -> EvictionNotice {
        EvictionNotice(self.pool.lock().token(self.holder, self.id).unwrap_or_else(|| {
            let evicted = CancellationToken::new();
            evicted.cancel();
            evicted
        }))
    }
}

impl EvictionNotice {
    /// Completes once the share was evicted; never if it was given back.
    pub async fn evicted(&self) {
        self.0.cancelled().await;
    }
}

impl<K: Copy + Ord + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        self.pool.lock().remove(self.holder, self.id);
        self.pool.changed.notify_waiters();
    }
}

impl<K: Copy + Ord + Hash> PoolInner<K> {
    fn lock(&self) -> MutexGuard<'_, PoolState<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Evicts until `amount` more fits for `holder`, who has `held`.
    fn make_room(&self, state: &mut PoolState<K>, holder: K, held: u64, amount: u64) -> Result<(), PoolFull> {
        let wanted = held.saturating_add(amount);
        if wanted > self.per_holder {
            return Err(PoolFull::OwnShare);
        }
        if wanted > self.capacity {
            return Err(PoolFull::Pool);
        }
        if self.capacity - state.used >= amount {
            return Ok(());
        }
        // What those who hold more could give up before they hold no more than the caller would.
        let missing = amount - (self.capacity - state.used);
        let larger = state.by_amount.range((wanted, holder)..).rev().filter(|&&(_, other)| other != holder);
        let mut spare = 0;
        for &(total, _) in larger {
            spare += total.saturating_sub(wanted);
            if spare >= missing {
                break;
            }
        }
        if spare < missing {
            return Err(PoolFull::Pool);
        }
        while self.capacity - state.used < amount {
            if !state.evict_from_largest(holder) {
                return Err(PoolFull::Pool);
            }
        }
        Ok(())
    }
}

impl<K: Copy + Ord + Hash> PoolState<K> {
    fn held(&self, holder: K) -> u64 {
        self.holders.get(&holder).map_or(0, |holdings| holdings.total)
    }

    fn amount(&self, holder: K, id: u64) -> Option<u64> {
        self.holders.get(&holder)?.shares.get(&id).map(|held| held.amount)
    }

    /// Returns the token that an eviction of the share cancels; `None` if it was evicted.
    fn token(&mut self, holder: K, id: u64) -> Option<CancellationToken> {
        let held = self.holders.get_mut(&holder)?.shares.get_mut(&id)?;
        Some(held.evicted.get_or_insert_default().clone())
    }

    fn add(&mut self, holder: K, id: u64, amount: u64, evicted: Option<CancellationToken>) {
        let holdings = self.holders.entry(holder).or_default();
        self.by_amount.remove(&(holdings.total, holder));
        holdings.total += amount;
        holdings.shares.insert(id, HeldShare { amount, evicted });
        self.by_amount.insert((holdings.total, holder));
        self.used += amount;
    }

    /// Changes the amount of a share that is there.
    fn replace(&mut self, holder: K, id: u64, amount: u64) {
        let Some(holdings) = self.holders.get_mut(&holder) else { return };
        let Some(held) = holdings.shares.get_mut(&id) else { return };
        let before = std::mem::replace(&mut held.amount, amount);
        self.by_amount.remove(&(holdings.total, holder));
        holdings.total = holdings.total - before + amount;
        self.used = self.used - before + amount;
        self.by_amount.insert((holdings.total, holder));
        if amount < before {
            holdings.freed.notify_waiters();
        }
    }

    /// Forgets a share, if it is still there.
    fn remove(&mut self, holder: K, id: u64) {
        let Some(holdings) = self.holders.get_mut(&holder) else { return };
        let Some(HeldShare { amount, .. }) = holdings.shares.remove(&id) else { return };
        self.by_amount.remove(&(holdings.total, holder));
        holdings.total -= amount;
        self.used -= amount;
        holdings.freed.notify_waiters();
        if holdings.shares.is_empty() {
            self.holders.remove(&holder);
        } else {
            self.by_amount.insert((holdings.total, holder));
        }
    }

    /// Evicts the oldest share of whoever holds most, but for `newcomer`.
    fn evict_from_largest(&mut self, newcomer: K) -> bool {
        let largest = self.by_amount.iter().rev().find(|&&(_, other)| other != newcomer);
        let Some(&(_, holder)) = largest else { return false };
        let oldest = self.holders.get(&holder).and_then(|holdings| holdings.shares.first_key_value());
        let Some((&id, held)) = oldest else { return false };
        if let Some(evicted) = &held.evicted {
            evicted.cancel();
        }
        // It counts as free before its owner has ended, or a peer that reads nothing would keep the newcomer waiting.
        self.remove(holder, id);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_newcomer_gets_room_from_who_holds_most() {
        let pool = SharePool::new(4, 4);
        let mut flood: Vec<_> = (0..4).map(|_| pool.take("eve", 1).unwrap()).collect();
        assert_eq!(pool.take("eve", 1).unwrap_err(), PoolFull::OwnShare);
        assert!(pool.is_nearly_used_up("eve") && !pool.is_nearly_used_up("ani"));
        let ani = pool.take("ani", 1).unwrap();
        assert!(flood[0].is_evicted() && !flood[1].is_evicted(), "the oldest of the largest goes");
        let _budi = pool.take("budi", 1).unwrap();
        assert!(flood[1].is_evicted() && !ani.is_evicted());
        let citra = pool.take("citra", 1).unwrap();
        assert_eq!(pool.take("dewi", 1).unwrap_err(), PoolFull::Pool, "nobody has more than the newcomer would");
        drop(citra);
        flood.clear();
        assert_eq!(pool.used(), 2, "an evicted share is given back once");
    }

    #[test]
    fn a_pool_of_bytes_evicts_only_for_who_would_hold_less() {
        let pool = SharePool::new(100, 80);
        let big = pool.take(1, 60).unwrap();
        let mut small = pool.take(2, 20).unwrap();
        assert_eq!(small.resize(70).unwrap_err(), PoolFull::Pool);
        assert_eq!(small.resize(81).unwrap_err(), PoolFull::OwnShare);
        assert!(!big.is_evicted(), "who would hold more evicts nobody");
        small.resize(45).unwrap();
        assert!(big.is_evicted());
        assert_eq!(pool.used(), 45);
        small.resize(5).unwrap();
        assert_eq!(pool.used(), 5);
        drop((big, small));
        assert_eq!(pool.used(), 0);
    }

    #[test]
    fn what_was_touched_is_evicted_last() {
        let pool = SharePool::new(2, 2);
        let (mut first, second) = (pool.take("eve", 1).unwrap(), pool.take("eve", 1).unwrap());
        first.touch();
        let _ani = pool.take("ani", 1).unwrap();
        assert!(second.is_evicted() && !first.is_evicted());
        drop((first, second));
        assert_eq!(pool.used(), 1);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_it_lacks() {
        let pool = SharePool::new(100, 60);
        let (eve, ani) = (pool.take("eve", 60).unwrap(), pool.take("ani", 40).unwrap());
        let wait = |holder, amount| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.retry(holder, || pool.take(holder, amount)).await })
        };
        let (own, full) = (wait("eve", 1), wait("budi", 40));
        let (mut eves, mut budis) = (pin!(own), pin!(full));
        assert!(poll_once(eves.as_mut()).await.is_pending() && poll_once(budis.as_mut()).await.is_pending());
        drop(ani);
        let budi = woken(budis).await;
        assert!(poll_once(eves.as_mut()).await.is_pending(), "nothing of its own was given back");
        drop(eve);
        let eve = woken(eves).await;
        assert_eq!(pool.used(), 41);
        drop((eve, budi));
    }

    /// Lets the tasks run that can, and looks at one of them.
    async fn poll_once<F: Future>(mut task: std::pin::Pin<&mut F>) -> std::task::Poll<()> {
        tokio::task::yield_now().await;
        std::future::poll_fn(|cx| std::task::Poll::Ready(task.as_mut().poll(cx).map(drop))).await
    }

    /// A task polls again only what was woken.
    async fn woken<T>(task: std::pin::Pin<&mut tokio::task::JoinHandle<T>>) -> T {
        tokio::time::timeout(std::time::Duration::from_secs(20), task).await.expect("it is woken").unwrap()
    }

    #[tokio::test]
    async fn an_eviction_wakes_its_owner() {
        let pool = SharePool::new(2, 2);
        let (first, _second) = (pool.take(1, 1).unwrap(), pool.take(1, 1).unwrap());
        let taken = async {
            tokio::task::yield_now().await;
            pool.take(2, 1).unwrap()
        };
        let ((), _newcomer) = tokio::join!(first.evicted(), taken);
    }
}
