//! One budget of bytes for all hot rings of a process.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Limits the bytes of all rings of a process together: above it the oldest runs are dropped, whichever ring has them.
///
/// Runs are counted in segments, in the order in which they came; the oldest segment goes whole. So memory holds recent
/// runs: a busy group has more of it than a quiet one. Threads share it. After [`HotRing::push`](super::HotRing::push),
/// and with no ring locked, a ring's owner calls [`Self::enforce`].
#[derive(Debug)]
pub struct RingBudget {
    limit_bytes: usize,
    segment_bytes: usize,
    /// Changed under the lock of `state` only.
    held_bytes: AtomicUsize,
    is_due: AtomicBool,
    state: Mutex<BudgetState>,
}

/// The runs that came at about one time, in all rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingSegment(u64);

/// Owns a ring, and drops runs of it when the budget is full.
pub trait RingOwner: Debug + Send + Sync {
    /// Calls [`HotRing::drop_through`](super::HotRing::drop_through) with `segment`. It may lock the ring, and nothing that
    /// a caller of [`RingBudget::enforce`] holds.
    fn give_way(&self, segment: RingSegment);
}

/// One ring's part of a budget.
#[derive(Debug)]
pub(super) struct RingShare {
    budget: Arc<RingBudget>,
    ring: u64,
    /// The newest segment that the ring is in.
    newest: RingSegment,
}

/// Changes of what one ring holds.
pub(super) struct ShareLedger<'a> {
    budget: &'a RingBudget,
    state: MutexGuard<'a, BudgetState>,
    held_bytes: usize,
}

#[derive(Debug)]
struct BudgetState {
    owners: BTreeMap<u64, Weak<dyn RingOwner>>,
    next_ring: u64,
    /// By age. All but the newest have bytes.
    segments: BTreeMap<RingSegment, SegmentContents>,
    newest: RingSegment,
    /// Bytes that ever came into the newest segment.
    newest_bytes: usize,
    /// Segments that are no longer counted, and the owners that have to drop them.
    due: Vec<(Weak<dyn RingOwner>, RingSegment)>,
}

#[derive(Debug, Default)]
struct SegmentContents {
    bytes: usize,
    rings: Vec<u64>,
}

/// Segments of a full budget; one of them is dropped at a time.
const SEGMENTS: usize = 64;

impl RingSegment {
    /// Before all segments: of runs that are not counted.
    pub(super) const NONE: Self = Self(0);
}

impl RingBudget {
    /// Makes a budget of `limit_bytes` for all rings, or one run.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let newest = RingSegment(1);
        let state = BudgetState {
            owners: BTreeMap::new(),
            next_ring: 0,
            segments: BTreeMap::from([(newest, SegmentContents::default())]),
            newest,
            newest_bytes: 0,
            due: Vec::new(),
        };
        Self {
            limit_bytes,
            segment_bytes: limit_bytes / SEGMENTS,
            held_bytes: AtomicUsize::new(0),
            is_due: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Returns the most bytes that all rings may hold.
    #[must_use]
    pub const fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns the counted bytes of all rings, with their bookkeeping: never above the limit, unless one run is.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Makes the owners drop the segments that are no longer counted. The caller has locked none of the rings.
    pub fn enforce(&self) {
        if !self.is_due.swap(false, Ordering::AcqRel) {
            return;
        }
        let due = std::mem::take(&mut self.state().due);
        for (owner, segment) in due {
            if let Some(owner) = owner.upgrade() {
                owner.give_way(segment);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingShare {
    pub(super) fn new(budget: Arc<RingBudget>, owner: Weak<dyn RingOwner>) -> Self {
        let mut state = budget.state();
        let ring = state.next_ring;
        state.next_ring += 1;
        state.owners.insert(ring, owner);
        drop(state);
        Self { budget, ring, newest: RingSegment::NONE }
    }

    pub(super) fn ledger(&self) -> ShareLedger<'_> {
        let state = self.budget.state();
        ShareLedger { budget: &self.budget, state, held_bytes: self.budget.held_bytes.load(Ordering::Relaxed) }
    }

    /// Counts a new run; returns the segment that it is in.
    pub(super) fn add(&mut self, bytes: usize) -> RingSegment {
        let mut ledger = self.ledger();
        let segment = ledger.state.segment_for(bytes, ledger.budget.segment_bytes);
        ledger.held_bytes += bytes;
        let contents = ledger.state.segments.entry(segment).or_default();
        contents.bytes += bytes;
        if segment != self.newest {
            contents.rings.push(self.ring);
        }
        ledger.give_up_oldest();
        drop(ledger);
        self.newest = segment;
        segment
    }
}

impl Drop for RingShare {
    fn drop(&mut self) {
        self.budget.state().owners.remove(&self.ring);
    }
}

impl ShareLedger<'_> {
    /// Stops counting a run that its ring drops; runs of dropped segments are not counted any more.
    pub(super) fn remove(&mut self, segment: RingSegment, bytes: usize) {
        let Some(contents) = self.state.segments.get_mut(&segment) else { return };
        contents.bytes -= bytes;
        self.held_bytes -= bytes;
        if contents.bytes == 0 && segment != self.state.newest {
            self.state.segments.remove(&segment);
        }
    }

    fn give_up_oldest(&mut self) {
        while self.held_bytes > self.budget.limit_bytes {
            let BudgetState { owners, segments, newest, due, .. } = &mut *self.state;
            let Some(oldest) = segments.first_entry().filter(|oldest| oldest.key() < newest) else { return };
            let (segment, SegmentContents { bytes, rings }) = oldest.remove_entry();
            self.held_bytes -= bytes;
            due.extend(rings.iter().filter_map(|ring| Some((Weak::clone(owners.get(ring)?), segment))));
            self.budget.is_due.store(true, Ordering::Release);
        }
    }
}

impl Drop for ShareLedger<'_> {
    fn drop(&mut self) {
        self.budget.held_bytes.store(self.held_bytes, Ordering::Relaxed);
    }
}

impl BudgetState {
    /// Returns the segment for a run of `bytes`: the newest, until that is full.
    fn segment_for(&mut self, bytes: usize, segment_bytes: usize) -> RingSegment {
        if self.newest_bytes > 0 && self.newest_bytes + bytes > segment_bytes {
            if self.segments.get(&self.newest).is_some_and(|contents| contents.bytes == 0) {
                self.segments.remove(&self.newest);
            }
            self.newest = RingSegment(self.newest.0 + 1);
            self.newest_bytes = 0;
        }
        self.newest_bytes += bytes;
        self.newest
    }
}

#[cfg(test)]
mod tests;
