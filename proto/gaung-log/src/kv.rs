//! A small key-value store with compare-and-set on single keys: all that the registry needs to be right.
//!
//! Nothing here spans keys: whoever changes several of them orders the changes so that a stop between any two does no
//! harm. An outcome may be unknown, as it is with every store behind a network and with a disk that failed in a sync.

use bytes::Bytes;

/// A key's version: rises through the whole store, so a key that was deleted and made again has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A key's value and the version to expect when changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The version of the last change.
    pub version: Version,
    /// The value as it was written.
    pub value: Bytes,
}

/// One key of a [`Kv::scan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The whole key, prefix included.
    pub key: Vec<u8>,
    /// Its value.
    pub entry: Entry,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// 1 to 1024 bytes.
    pub key: Vec<u8>,
    /// What to do with it.
    pub change: Change,
}

/// What a [`Write`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Gives the key a value if it has none.
    Create(Bytes),
    /// Replaces the value if the key still has this version.
    Set(Version, Bytes),
    /// Removes the key if it still has this version.
    Delete(Version),
}

impl Write {
    /// A [`Change::Create`].
    pub fn create(key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), change: Change::Create(value.into()) }
    }

    /// A [`Change::Set`].
    pub fn set(key: impl Into<Vec<u8>>, expected: Version, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), change: Change::Set(expected, value.into()) }
    }

    /// A [`Change::Delete`].
    pub fn delete(key: impl Into<Vec<u8>>, expected: Version) -> Self {
        Self { key: key.into(), change: Change::Delete(expected) }
    }
}

/// Why a write is not known to have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It did not happen: the key exists already, is gone, or has another version.
    #[error("the key was changed by someone else")]
    Conflict,
    /// It happened, did not happen, or will happen yet. Read the key, or write the same again.
    #[error("whether the change was stored is not known: {0}")]
    Ambiguous(String),
    /// It did not happen and will not.
    #[error("the change was not stored: {0}")]
    Failed(String),
}

/// The store could not be read; try again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct ReadError(pub String);

/// A store of keys with compare-and-set. Calls block; every one may be made from any thread.
///
/// A write that was answered with `Ok` is durable, and seen by every read that begins after the answer.
pub trait Kv: Send + Sync {
    /// The key's value, or `None` if it has none.
    ///
    /// # Errors
    /// [`ReadError`] if the store is not usable at the moment.
    fn get(&self, key: &[u8]) -> Result<Option<Entry>, ReadError>;

    /// Keys that begin with `prefix` and come after `after` (a whole key), in byte order, at most `limit` of them.
    /// Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    /// [`ReadError`] if the store is not usable at the moment.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Item>, ReadError>;

    /// Makes each change by itself, in order: one that fails does not keep the others from happening, and a crash may
    /// come between any two. Handed in together they share one sync. One result for each, in the same order; the
    /// version is the new one (for a deletion, that of the deletion).
    fn write(&self, writes: Vec<Write>) -> Vec<Result<Version, WriteError>>;

    /// [`Self::write`] for a single change.
    ///
    /// # Errors
    /// [`WriteError`], each case.
    fn write_one(&self, write: Write) -> Result<Version, WriteError> {
        self.write(vec![write]).pop().unwrap_or_else(|| Err(WriteError::Failed("the store gave no answer".to_owned())))
    }
}

/// The smallest key above all that begin with `prefix`; `None` if there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// What every store must do; each runs it in its own tests.
#[cfg(test)]
pub(crate) mod contract {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn check(kv: &dyn Kv) {
        one_key(kv);
        batches(kv);
        scans(kv);
        creators_in_parallel(kv);
    }

    fn one_key(kv: &dyn Kv) {
        assert_eq!(kv.get(b"k").unwrap(), None);
        assert_eq!(kv.write_one(Write::set("k", Version(1), "x")), Err(WriteError::Conflict), "no such key");
        let first = kv.write_one(Write::create("k", "a")).unwrap();
        assert_eq!(kv.write_one(Write::create("k", "b")), Err(WriteError::Conflict));
        assert_eq!(kv.get(b"k").unwrap().unwrap(), Entry { version: first, value: "a".into() });
        let second = kv.write_one(Write::set("k", first, "b")).unwrap();
        assert!(second > first);
        assert_eq!(kv.write_one(Write::set("k", first, "c")), Err(WriteError::Conflict), "stale version");
        assert_eq!(kv.write_one(Write::delete("k", first)), Err(WriteError::Conflict), "stale version");
        kv.write_one(Write::delete("k", second)).unwrap();
        assert_eq!(kv.get(b"k").unwrap(), None);
        let again = kv.write_one(Write::create("k", "a")).unwrap();
        assert!(again > second, "a version is never used again");
        kv.write_one(Write::delete("k", again)).unwrap();
    }

    fn batches(kv: &dyn Kv) {
        assert!(kv.write(Vec::new()).is_empty());
        let results = kv.write(vec![Write::create("b/1", "x"), Write::create("b/1", "y"), Write::create("b/2", "z")]);
        assert!(results[0].is_ok() && results[2].is_ok());
        assert_eq!(results[1], Err(WriteError::Conflict));
        assert_eq!(kv.get(b"b/1").unwrap().unwrap().value, "x");
        assert_eq!(kv.get(b"b/2").unwrap().unwrap().value, "z");
    }

    fn scans(kv: &dyn Kv) {
        for key in ["s/a", "s/b", "s/c", "t"] {
            kv.write_one(Write::create(key, key)).unwrap();
        }
        let keys = |after: Option<&str>, limit| -> Vec<String> {
            let items = kv.scan(b"s/", after.map(str::as_bytes), limit).unwrap();
            items.into_iter().map(|item| String::from_utf8(item.key).unwrap()).collect()
        };
        assert_eq!(keys(None, 10), ["s/a", "s/b", "s/c"]);
        assert_eq!(keys(None, 2), ["s/a", "s/b"]);
        assert_eq!(keys(Some("s/b"), 2), ["s/c"]);
        assert_eq!(keys(Some("s/c"), 2), Vec::<String>::new());
        assert_eq!(kv.scan(b"\xff", None, 5).unwrap(), []);
    }

    fn creators_in_parallel(kv: &dyn Kv) {
        let wins: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|racer| {
                    scope.spawn(move || {
                        let mine =
                            |n: &u32| kv.write_one(Write::create(format!("race/{n}"), format!("{racer}"))).is_ok();
                        (0..20).filter(mine).count()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(wins, 20, "each key has exactly one creator");
        assert_eq!(kv.scan(b"race/", None, 100).unwrap().len(), 20);
    }

    #[test]
    fn ends_of_prefixes() {
        assert_eq!(prefix_end(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(prefix_end(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
