//! A store whose answers are ambiguous, and writes to which may arrive late.

use std::sync::{Arc, Mutex, PoisonError};

use gaung_log::{
    MemoryKv,
    kv::{Entry, Item, Kv, ReadError, Version, Write, WriteError},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// One process's way to the store.
pub(crate) struct ShakyKv {
    inner: Arc<MemoryKv>,
    state: Mutex<State>,
}

struct State {
    rng: SmallRng,
    /// Writes that were answered as ambiguous and arrive later.
    delayed: Vec<Write>,
    /// Writes until this process dies.
    life: Option<u32>,
}

impl ShakyKv {
    pub(crate) fn new(inner: Arc<MemoryKv>, seed: u64, life: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            state: Mutex::new(State { rng: SmallRng::seed_from_u64(seed), delayed: Vec::new(), life }),
        })
    }

    fn one(&self, write: Write) -> Result<Version, WriteError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.delayed.is_empty() && state.rng.random_bool(0.3) {
            let late = state.delayed.remove(0);
            let _ = self.inner.write_one(late);
        }
        let ambiguous = || Err(WriteError::Ambiguous("injected".to_owned()));
        match &mut state.life {
            Some(0) => return Err(WriteError::Failed("the process is dead".to_owned())),
            Some(life) => *life -= 1,
            None => {}
        }
        match state.rng.random_range(0..100) {
            0..8 => {
                let _ = self.inner.write_one(write);
                ambiguous()
            }
            8..16 => ambiguous(),
            16..22 => {
                state.delayed.push(write);
                ambiguous()
            }
            22..26 => Err(WriteError::Failed("injected".to_owned())),
            _ => self.inner.write_one(write),
        }
    }

    pub(crate) fn deliver_late_writes(&self) {
        for late in self.state.lock().unwrap().delayed.drain(..) {
            let _ = self.inner.write_one(late);
        }
    }
}

impl Kv for ShakyKv {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        self.inner.get(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Item>, ReadError> {
        self.inner.scan(prefix, after, limit)
    }
    fn write(&self, writes: Vec<Write>) -> Vec<Result<Version, WriteError>> {
        writes.into_iter().map(|write| self.one(write)).collect()
    }
}
