//! Keeps the registry's records: all of them are read once, then changed one transaction at a time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// A key and its new value; `None` removes the key. Keys have 1 to 1024 bytes.
pub type KeyChange = (Vec<u8>, Option<Bytes>);

/// Why the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be read or written now. A change that was under way did not happen.
    #[error(
        "the registry's store is not usable at the moment ({0}); try again, and look at the disk of its --data folder"
    )]
    Unavailable(String),
    /// The store holds a record that this program did not write.
    #[error("the registry's store holds a damaged record {0:?}; restore a copy of its --data folder")]
    Damaged(String),
}

impl StoreError {
    /// Makes the error for the damaged record of `key`.
    pub(crate) fn damaged(key: &[u8]) -> Self {
        Self::Damaged(key.escape_ascii().to_string())
    }
}

/// A store of records with a single holder. Calls block.
pub trait RecordStore: Send + Sync {
    /// Reads every record, in order of the keys.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store cannot be read.
    fn load(&self) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError>;

    /// Makes all changes in one transaction, in order, and makes them durable.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: none of them happened, and no later commit or load of this holder shows them. Only
    /// if the process ends before the store can be written again may the next holder find them.
    fn commit(&self, changes: &[KeyChange]) -> Result<(), StoreError>;

    /// As [`Self::commit`], with the encoded [`Command`](crate::command::Command) that makes the changes. A store that
    /// other registries follow passes the command on to them; every other one keeps the changes alone.
    ///
    /// # Errors
    /// See [`Self::commit`].
    fn commit_command(&self, _command: Bytes, changes: &[KeyChange]) -> Result<(), StoreError> {
        self.commit(changes)
    }
}

/// A store in memory, which is lost with the process and never fails.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<Vec<u8>, Bytes>>);

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordStore for MemoryStore {
    fn load(&self) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        Ok(self.records().iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&self, changes: &[KeyChange]) -> Result<(), StoreError> {
        let mut records = self.records();
        for (key, value) in changes {
            match value {
                Some(value) => records.insert(key.clone(), value.clone()),
                None => records.remove(key),
            };
        }
        Ok(())
    }
}
