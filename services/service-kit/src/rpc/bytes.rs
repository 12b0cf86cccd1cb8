//! Counts the bytes of a call that are under way, and charges them to its caller.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::share::{Caller, PoolFull, Share, SharePool};

/// Bytes that a call may hold without a charge, so that short messages take no shared lock; charges are multiples of it.
const FREE_BYTES: u64 = 64 * 1024;

/// The bytes that the server holds for one call: requests that are not processed yet, and answers that the caller has not
/// read. They are charged to the caller's share of all such bytes; a call that would exceed it waits.
#[derive(Debug)]
pub struct CallBytes {
    caller: Caller,
    pool: SharePool<Caller>,
    /// Ends the call; cancelled by an eviction.
    end: CancellationToken,
    state: Mutex<BytesState>,
    /// Wakes those who wait for room in the call's own charge.
    shrunk: Notify,
}

/// A part of a call's bytes; dropping it returns it.
#[derive(Debug)]
pub struct HeldBytes {
    bytes: Arc<CallBytes>,
    kind: BytesKind,
    amount: u64,
}

#[derive(Debug, Clone, Copy)]
enum BytesKind {
    /// Answers that the caller has to read.
    Answer,
    /// Requests that the server is processing.
    Work,
}

#[derive(Debug)]
struct BytesState {
    requests: u64,
    work: u64,
    answers: u64,
    /// When the caller last read a part of an answer, or when the oldest unread answer was added.
    taken: Instant,
    charge: Option<Share<Caller>>,
    charged: u64,
}

impl CallBytes {
    pub(super) fn new(caller: Caller, pool: SharePool<Caller>, end: CancellationToken) -> Arc<Self> {
        let state = BytesState { requests: 0, work: 0, answers: 0, taken: Instant::now(), charge: None, charged: 0 };
        Arc::new(Self { caller, pool, end, state: Mutex::new(state), shrunk: Notify::new() })
    }

    /// Returns the bytes of the call that `request` began; those of a call within the process are charged to nobody.
    pub fn of<T>(request: &Request<T>) -> Arc<Self> {
        request.extensions().get::<Arc<Self>>().cloned().unwrap_or_else(|| {
            let nobodys = SharePool::new(u64::MAX, u64::MAX);
            Self::new(Caller::Local, nobodys, CancellationToken::new())
        })
    }

    /// Returns the caller that is charged.
    #[must_use]
    pub const fn caller(&self) -> Caller {
        self.caller
    }

    /// Reserves `amount` for answers, waiting while the caller's share is used up.
    pub async fn reserve(self: &Arc<Self>, amount: u64) -> HeldBytes {
        self.reserve_for(BytesKind::Answer, amount).await
    }

    /// Reserves `amount` for requests in progress, which do not count as unread by the caller.
    pub async fn reserve_work(self: &Arc<Self>, amount: u64) -> HeldBytes {
        self.reserve_for(BytesKind::Work, amount).await
    }

    async fn reserve_for(self: &Arc<Self>, kind: BytesKind, amount: u64) -> HeldBytes {
        if self.try_add(kind, amount).is_err() {
            self.until(|| self.try_add(kind, amount)).await;
        }
        HeldBytes { bytes: Arc::clone(self), kind, amount }
    }

    /// Repeats `attempt` until it succeeds: when the caller's share, or what the call is charged already, has room. Waits for
    /// ever once the call has ended.
    async fn until(&self, mut attempt: impl FnMut() -> Result<(), PoolFull>) {
        loop {
            let mut shrunk = pin!(self.shrunk.notified());
            shrunk.as_mut().enable();
            tokio::select! {
                biased;
                () = self.pool.retry(self.caller, &mut attempt) => return,
                () = shrunk => {}
            }
        }
    }

    fn try_add(&self, kind: BytesKind, amount: u64) -> Result<(), PoolFull> {
        if self.end.is_cancelled() {
            return Err(PoolFull::OwnShare);
        }
        let mut state = self.lock();
        match kind {
            BytesKind::Answer => state.add_answers(amount),
            BytesKind::Work => state.work += amount,
        }
        let charged = self.charge(&mut state);
        if charged.is_err() {
            match kind {
                BytesKind::Answer => state.answers -= amount,
                BytesKind::Work => state.work -= amount,
            }
        }
        charged
    }

    fn give_back(&self, kind: BytesKind, amount: u64) {
        match kind {
            BytesKind::Answer => self.take_answers(amount),
            BytesKind::Work => {
                let mut state = self.lock();
                state.work -= amount;
                self.recharge(&mut state);
            }
        }
    }

    /// Counts answers that exist already, whether or not they fit.
    pub(super) fn add_answers(&self, amount: u64) {
        let mut state = self.lock();
        state.add_answers(amount);
        self.recharge(&mut state);
    }

    pub(super) fn take_answers(&self, amount: u64) {
        let mut state = self.lock();
        state.answers -= amount;
        state.taken = Instant::now();
        self.recharge(&mut state);
    }

    pub(super) fn set_requests(&self, amount: u64) {
        let mut state = self.lock();
        state.requests = amount;
        self.recharge(&mut state);
    }

    /// Whether the caller's share has room for what the call holds; if not, the call should take no more.
    pub(super) fn fits(&self) -> bool {
        self.try_fit().is_ok()
    }

    fn try_fit(&self) -> Result<(), PoolFull> {
        if self.end.is_cancelled() { Err(PoolFull::OwnShare) } else { self.charge(&mut self.lock()) }
    }

    /// Waits until [`Self::fits`] is true.
    pub(super) async fn until_fits(self: Arc<Self>) {
        self.until(|| self.try_fit()).await;
    }

    /// Waits until a new call may start: while the caller's other calls hold nearly its whole share, the new call's answers
    /// would only fill memory.
    pub(super) async fn until_room(&self) {
        let has_room = || if self.pool.is_nearly_used_up(self.caller) { Err(PoolFull::OwnShare) } else { Ok(()) };
        self.pool.retry(self.caller, has_room).await;
    }

    /// Whether the caller has read nothing of its waiting answers for `limit`.
    pub(super) fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        let state = self.lock();
        state.answers > 0 && now.saturating_duration_since(state.taken) > limit
    }

    pub(super) fn has_answers(&self) -> bool {
        self.lock().answers > 0
    }

    /// Charges what the call holds, as far as it fits, and wakes whoever waits for room.
    fn recharge(&self, state: &mut BytesState) {
        // What does not fit is charged when the call next changes; until then it takes no more.
        let _ = self.charge(state);
        self.shrunk.notify_waiters();
    }

    fn charge(&self, state: &mut BytesState) -> Result<(), PoolFull> {
        let held = state.requests + state.work + state.answers;
        let wanted = if held <= FREE_BYTES { 0 } else { held.next_multiple_of(FREE_BYTES) };
        if wanted == state.charged {
            return Ok(());
        }
        match (&mut state.charge, wanted) {
            (charge, 0) => *charge = None,
            (Some(charge), _) => charge.resize(wanted)?,
            (charge @ None, _) => *charge = Some(self.pool.take_with(self.caller, wanted, self.end.clone())?),
        }
        state.charged = wanted;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BytesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BytesState {
    fn add_answers(&mut self, amount: u64) {
        if self.answers == 0 {
            self.taken = Instant::now();
        }
        self.answers += amount;
    }
}

impl HeldBytes {
    /// Returns `by` bytes of the part.
    pub fn shrink(&mut self, by: u64) {
        let by = by.min(self.amount);
        self.amount -= by;
        self.bytes.give_back(self.kind, by);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.bytes.give_back(self.kind, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        net::IpAddr,
        pin::Pin,
        task::{Context, Waker},
    };

    use tokio::time::timeout;

    use super::*;

    fn caller(last: u8) -> Caller {
        Caller::Remote(IpAddr::from([10, 0, 0, last]).into())
    }

    #[tokio::test]
    async fn a_caller_waits_for_its_own_share_and_nobody_elses() {
        let pool = SharePool::new(4 * FREE_BYTES, 2 * FREE_BYTES);
        let call = |last| CallBytes::new(caller(last), pool.clone(), CancellationToken::new());
        let (first, second, other) = (call(1), call(1), call(2));
        let held = first.reserve(2 * FREE_BYTES).await;
        assert!(!is_ready(pin!(second.reserve(FREE_BYTES + 1))));
        drop(second.reserve(FREE_BYTES).await);
        assert_eq!(pool.used(), 2 * FREE_BYTES, "a little is free");
        let others = other.reserve(2 * FREE_BYTES).await;
        drop(held);
        let mut held = second.reserve(2 * FREE_BYTES).await;
        held.shrink(FREE_BYTES);
        assert_eq!(pool.used(), 2 * FREE_BYTES);
        drop((held, others));
        assert_eq!(pool.used(), 0);
    }

    fn is_ready(wait: Pin<&mut impl Future>) -> bool {
        wait.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// A task is polled again only when something wakes it.
    #[tokio::test]
    async fn who_waits_is_woken_by_what_its_caller_gives_back() {
        const LONG: Duration = Duration::from_secs(20);
        let pool = SharePool::new(8 * FREE_BYTES, 2 * FREE_BYTES);
        let call = || CallBytes::new(caller(1), pool.clone(), CancellationToken::new());
        let (first, second, third) = (call(), call(), call());
        let mut held = first.reserve(2 * FREE_BYTES).await;
        let waits = [
            tokio::spawn(async move { drop(second.reserve(2 * FREE_BYTES).await) }),
            tokio::spawn(async move { third.until_room().await }),
        ];
        tokio::task::yield_now().await;
        let more = Arc::clone(&first);
        let more = tokio::spawn(async move { drop(more.reserve(FREE_BYTES - 1).await) });
        tokio::task::yield_now().await;
        assert!(waits.iter().chain([&more]).all(|wait| !wait.is_finished()));
        // The call's charge stays what it is, and has room for the call itself.
        held.shrink(FREE_BYTES - 1);
        timeout(LONG, more).await.unwrap().unwrap();
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        drop(held);
        for wait in waits {
            timeout(LONG, wait).await.unwrap().unwrap();
        }
        assert_eq!(pool.used(), 0);
    }

    #[tokio::test]
    async fn a_full_pool_ends_a_call_of_who_holds_most() {
        let pool = SharePool::new(4 * FREE_BYTES, 4 * FREE_BYTES);
        let big = CallBytes::new(caller(1), pool.clone(), CancellationToken::new());
        let _held = big.reserve(4 * FREE_BYTES).await;
        let other = CallBytes::new(caller(2), pool.clone(), CancellationToken::new());
        let _other = other.reserve(2 * FREE_BYTES).await;
        assert!(big.end.is_cancelled() && !other.end.is_cancelled());
        assert!(!big.fits(), "an ended call gets nothing more");
    }

    #[test]
    fn answers_of_which_nothing_is_taken_are_stalled() {
        let bytes = CallBytes::new(caller(1), SharePool::new(1, 1), CancellationToken::new());
        let limit = Duration::from_secs(30);
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(!bytes.is_stalled(later(60), limit), "nothing waits");
        bytes.add_answers(10);
        assert!(!bytes.is_stalled(later(29), limit));
        assert!(bytes.is_stalled(later(31), limit));
        bytes.take_answers(10);
        assert!(!bytes.is_stalled(later(60), limit) && !bytes.has_answers());
    }
}
