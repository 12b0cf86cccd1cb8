//! One at a time for each key: creates of the same request, name or address wait for each other within this process.

use std::{
    collections::HashSet,
    sync::{Condvar, Mutex, PoisonError},
};

/// The keys that are held.
#[derive(Debug, Default)]
pub(crate) struct KeyLocks {
    held: Mutex<HashSet<Vec<u8>>>,
    freed: Condvar,
}

/// Frees its key when dropped.
#[derive(Debug)]
pub(crate) struct KeyGuard<'a> {
    locks: &'a KeyLocks,
    key: Vec<u8>,
}

impl KeyLocks {
    /// Waits until nobody holds `key`. Whoever takes several takes them in the order request, name, group,
    /// address.
    pub(crate) fn lock(&self, key: Vec<u8>) -> KeyGuard<'_> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.freed.wait_while(held, |held| held.contains(&key)).unwrap_or_else(PoisonError::into_inner);
        held.insert(key.clone());
        KeyGuard { locks: self, key }
    }
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        self.locks.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.locks.freed.notify_all();
    }
}
