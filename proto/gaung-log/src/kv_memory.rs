//! [`Kv`] in memory: for tests, and for a registry that need not survive.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::kv::{Change, Entry, Item, Kv, ReadError, Version, Write, WriteError, prefix_end};

/// A map under a lock. Never fails and is never ambiguous.
#[derive(Debug, Default)]
pub struct MemoryKv(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Entry>,
    last: u64,
}

impl MemoryKv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError> {
        Ok(self.state().entries.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Item>, ReadError> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            Some(_) | None => Bound::Included(prefix.to_vec()),
        };
        let state = self.state();
        let to = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        if let (Bound::Excluded(from), Bound::Excluded(to)) = (&from, &to)
            && from >= to
        {
            return Ok(Vec::new());
        }
        let range = state.entries.range((from, to)).take(limit);
        Ok(range.map(|(key, entry)| Item { key: key.clone(), entry: entry.clone() }).collect())
    }

    fn write(&self, writes: Vec<Write>) -> Vec<Result<Version, WriteError>> {
        let mut state = self.state();
        writes.into_iter().map(|write| state.apply(write)).collect()
    }
}

impl State {
    fn apply(&mut self, write: Write) -> Result<Version, WriteError> {
        let found = self.entries.get(&write.key).map(|entry| entry.version);
        let (expected, value) = match write.change {
            Change::Create(value) => (None, Some(value)),
            Change::Set(version, value) => (Some(version), Some(value)),
            Change::Delete(version) => (Some(version), None),
        };
        if found != expected {
            return Err(WriteError::Conflict);
        }
        self.last += 1;
        let version = Version(self.last);
        match value {
            Some(value) => self.entries.insert(write.key, Entry { version, value }),
            None => self.entries.remove(&write.key),
        };
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_contract() {
        crate::kv::contract::check(&MemoryKv::new());
    }
}
