//! [`Kv`] with its ambiguous outcomes settled: what is answered here did or did not happen.

use std::sync::Arc;

use bytes::Bytes;
use gaung_log::kv::{Entry, Item, Kv, Version, Write, WriteError};

/// How often an unsettled write is made again before the caller is told to come back later.
const ATTEMPTS: usize = 8;
const PAGE: usize = 512;

/// The store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not usable now; what was under way may or may not have happened.
    #[error(
        "the registry's store is not usable at the moment ({0}); try again, and look at the disk of its --data folder"
    )]
    Unavailable(String),
    /// A record that this program did not write.
    #[error("the registry's store holds a damaged record {0:?}; restore a copy of its --data folder")]
    Damaged(String),
}

/// The key already has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exists(pub(crate) Entry);

/// The key was changed or removed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changed;

/// Single-key changes with certain outcomes.
///
/// A write whose outcome is unknown is made again. Values carry random identities, so finding one's own value means
/// that an earlier attempt arrived; it is then written over once more, because what a failed sync left readable need
/// not be durable.
#[derive(Clone)]
pub(crate) struct Store(Arc<dyn Kv>);

impl Store {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        Self(kv)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.0.get(key).map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    /// Gives `key` this value if it has none. Having this very value already counts as done.
    pub(crate) fn create(&self, key: &[u8], value: &Bytes) -> Result<Result<Version, Exists>, StoreError> {
        let mut unsure: Option<String> = None;
        for _ in 0..ATTEMPTS {
            match self.0.write_one(Write::create(key, value.clone())) {
                Ok(version) => return Ok(Ok(version)),
                Err(WriteError::Ambiguous(reason)) => unsure = Some(reason),
                Err(WriteError::Failed(reason)) if unsure.is_none() => return Err(StoreError::Unavailable(reason)),
                Err(WriteError::Failed(_)) => {}
                Err(WriteError::Conflict) => match self.get(key)? {
                    Some(entry) if entry.value != *value => return Ok(Err(Exists(entry))),
                    Some(entry) if unsure.is_none() => return Ok(Ok(entry.version)),
                    Some(entry) => {
                        if let Ok(version) = self.0.write_one(Write::set(key, entry.version, value.clone())) {
                            return Ok(Ok(version));
                        }
                    }
                    None => {}
                },
            }
        }
        Err(unsettled(unsure))
    }

    /// Replaces the value if `key` still has the version `expected`.
    pub(crate) fn set(
        &self,
        key: &[u8],
        expected: Version,
        value: &Bytes,
    ) -> Result<Result<Version, Changed>, StoreError> {
        let mut unsure: Option<String> = None;
        let mut expected = expected;
        for _ in 0..ATTEMPTS {
            match self.0.write_one(Write::set(key, expected, value.clone())) {
                Ok(version) => return Ok(Ok(version)),
                Err(WriteError::Ambiguous(reason)) => unsure = Some(reason),
                Err(WriteError::Failed(reason)) if unsure.is_none() => return Err(StoreError::Unavailable(reason)),
                Err(WriteError::Failed(_)) => {}
                Err(WriteError::Conflict) if unsure.is_none() => return Ok(Err(Changed)),
                Err(WriteError::Conflict) => match self.get(key)? {
                    Some(entry) if entry.value == *value => expected = entry.version,
                    Some(_) | None => return Ok(Err(Changed)),
                },
            }
        }
        Err(unsettled(unsure))
    }

    /// Removes `key` if it still has the version `expected`; being gone counts as done only after an unknown outcome.
    pub(crate) fn delete(&self, key: &[u8], expected: Version) -> Result<Result<(), Changed>, StoreError> {
        let mut unsure: Option<String> = None;
        for _ in 0..ATTEMPTS {
            match self.0.write_one(Write::delete(key, expected)) {
                Ok(_) => return Ok(Ok(())),
                Err(WriteError::Ambiguous(reason)) => unsure = Some(reason),
                Err(WriteError::Failed(reason)) if unsure.is_none() => return Err(StoreError::Unavailable(reason)),
                Err(WriteError::Failed(_)) => {}
                Err(WriteError::Conflict) => {
                    let is_gone = unsure.is_some() && self.get(key)?.is_none();
                    return Ok(if is_gone { Ok(()) } else { Err(Changed) });
                }
            }
        }
        Err(unsettled(unsure))
    }

    /// Changes that are handed in together and of which none matters alone; their outcomes are as the store gave them.
    pub(crate) fn write_loosely(&self, writes: Vec<Write>) -> Vec<Result<Version, WriteError>> {
        self.0.write(writes)
    }

    /// Up to `limit` keys after `after`.
    pub(crate) fn page(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Item>, StoreError> {
        self.0.scan(prefix, after, limit).map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    /// Every key with this prefix, page by page: changes made meanwhile may or may not be seen.
    pub(crate) fn each<E: From<StoreError>>(
        &self,
        prefix: &[u8],
        mut visit: impl FnMut(Item) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let items = self.page(prefix, after.as_deref(), PAGE)?;
            let is_last = items.len() < PAGE;
            after = items.last().map(|item| item.key.clone());
            items.into_iter().try_for_each(&mut visit)?;
            if is_last {
                return Ok(());
            }
        }
    }
}

fn unsettled(reason: Option<String>) -> StoreError {
    StoreError::Unavailable(reason.unwrap_or_else(|| "the key kept changing".to_owned()))
}
