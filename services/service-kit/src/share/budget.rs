//! A budget of something that is held briefly, such as the memory of requests until they are logged: callers wait for it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of holders above which those that hold nothing are forgotten.
const FEW_HOLDERS: usize = 64;

/// A limited amount of which each holder `K` uses a part at a time. Unlike a [`SharePool`](super::SharePool) it evicts
/// nobody: a holder that used up its own part waits for itself, and all wait in order of arrival when the whole is used up.
#[derive(Debug)]
pub struct Budget<K> {
    all: Arc<Semaphore>,
    capacity: u32,
    per_holder: u32,
    holders: Mutex<HashMap<K, Arc<Semaphore>>>,
}

/// A part of a [`Budget`] in use; dropping it returns it.
#[derive(Debug)]
pub struct Loan {
    _own: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl<K: Copy + Eq + Hash> Budget<K> {
    /// Makes a budget of `capacity` for all holders together and at most `per_holder` for one.
    #[must_use]
    pub fn new(capacity: u32, per_holder: u32) -> Self {
        let per_holder = per_holder.min(capacity);
        Self { all: semaphore(capacity), capacity, per_holder, holders: Mutex::default() }
    }

    /// Waits until `amount`, capped at the limit of one holder, is free for `holder`, and takes it.
    pub async fn acquire(&self, holder: K, amount: u64) -> Loan {
        let amount = u32::try_from(amount).unwrap_or(u32::MAX).min(self.per_holder);
        let own = acquire(self.own(holder), amount).await;
        Loan { _own: own, _of_all: acquire(Arc::clone(&self.all), amount).await }
    }

    /// Returns the amount that all holders have together.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.capacity - u32::try_from(self.all.available_permits()).unwrap_or(self.capacity)
    }

    fn own(&self, holder: K) -> Arc<Semaphore> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() >= FEW_HOLDERS && holders.len() == holders.capacity() && !holders.contains_key(&holder) {
            // Whoever holds or waits for something has a reference.
            holders.retain(|_, own| Arc::strong_count(own) > 1);
        }
        Arc::clone(holders.entry(holder).or_insert_with(|| semaphore(self.per_holder)))
    }
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits as usize))
}

async fn acquire(semaphore: Arc<Semaphore>, amount: u32) -> OwnedSemaphorePermit {
    semaphore.acquire_many_owned(amount).await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use super::*;

    async fn is_ready<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn who_waits_gets_what_others_give_back() {
        let budget = Budget::new(4, 3);
        let first = budget.acquire(1, 100).await;
        let second = budget.acquire(2, 1).await;
        assert_eq!(budget.used(), 4, "the amount is at most one holder's part");
        let mut third = pin!(budget.acquire(3, 2));
        assert!(is_ready(third.as_mut()).await.is_none());
        drop(first);
        let third = third.await;
        let mut more = pin!(budget.acquire(2, 3));
        assert!(is_ready(more.as_mut()).await.is_none(), "its own part is used up");
        let fourth = budget.acquire(4, 1).await;
        drop((second, third, fourth));
        drop(more.await);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn holders_of_nothing_are_forgotten() {
        let budget = Budget::new(1000, 10);
        let held = budget.acquire(u32::MAX, 1).await;
        for holder in 0..10_000 {
            drop(budget.acquire(holder, 1).await);
        }
        let known = budget.holders.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert!(known < 10 * FEW_HOLDERS, "{known}");
        drop(held);
    }
}
