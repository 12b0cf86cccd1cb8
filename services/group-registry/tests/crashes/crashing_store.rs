//! A store that fails, and whose process dies, around its transactions; and stores that do less than they say.
//!
//! What goes to the disk is what another registry would write: each command is decoded and applied to tables of the store's
//! own, which began as the process's did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use group_registry::{
    clock::CommandTime,
    command::Command,
    store::{KeyChange, MemoryStore, RecordStore, StoreError},
    tables::Tables,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// A safety that is removed, to see that the judge notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    None,
    /// A commit is answered before it is on the disk; a crash takes back the last one.
    AnswersBeforeCommit,
    /// A crash in the middle of a commit leaves the first half of it.
    HalfCommits,
    /// No record says that an address rests.
    SkipsQuarantine,
    /// No record says which group has a name.
    ForgetsNames,
    /// Commands are applied at the time at which they arrive, and not at the time that they carry.
    AppliesLater,
}

/// What one process sees of the disk.
pub(crate) struct CrashingStore {
    disk: Arc<MemoryStore>,
    sabotage: Sabotage,
    fate: Mutex<ProcessFate>,
}

struct ProcessFate {
    rng: SmallRng,
    is_dead: bool,
    /// Answered and not on the disk.
    late: Vec<KeyChange>,
    /// The tables of a registry that follows the commands.
    follower: Tables,
    /// How the follower came to other records than the process.
    divergence: Option<String>,
}

impl CrashingStore {
    /// `began`: the time at which the process reads the disk.
    pub(crate) fn new(disk: Arc<MemoryStore>, sabotage: Sabotage, seed: u64, began: CommandTime) -> Arc<Self> {
        let records = disk.load().expect("memory does not fail");
        let (follower, _) = Tables::load(records, began).expect("the registry's own records");
        let (rng, late) = (SmallRng::seed_from_u64(seed), Vec::new());
        let fate = ProcessFate { rng, is_dead: false, late, follower, divergence: None };
        Arc::new(Self { disk, sabotage, fate: Mutex::new(fate) })
    }

    /// Tells where a follower that decodes the commands came to other records than the process.
    pub(crate) fn divergence(&self) -> Option<String> {
        self.fate().divergence.clone()
    }

    /// Whether the process died in its last commit.
    pub(crate) fn is_dead(&self) -> bool {
        self.fate().is_dead
    }

    fn fate(&self) -> MutexGuard<'_, ProcessFate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, fate: &mut ProcessFate, changes: &[KeyChange]) -> Result<(), StoreError> {
        let changes: Vec<KeyChange> = changes.iter().filter_map(|change| self.sabotaged(change)).collect();
        let late = std::mem::take(&mut fate.late);
        self.disk.commit(&late)?;
        if self.sabotage == Sabotage::AnswersBeforeCommit {
            fate.late = changes;
            return Ok(());
        }
        self.disk.commit(&changes)
    }

    fn sabotaged(&self, (key, value): &KeyChange) -> Option<KeyChange> {
        let is = |prefix: &[u8]| key.starts_with(prefix);
        // Field 4 of the address's record, the last one, is true.
        let rests = value.as_ref().is_some_and(|value| is(b"a/") && value.ends_with(&[0x20, 1]));
        if self.sabotage == Sabotage::ForgetsNames && is(b"n/") {
            return None;
        }
        let kept = value.clone().filter(|_| self.sabotage != Sabotage::SkipsQuarantine || !rests);
        Some((key.clone(), kept))
    }
}

impl RecordStore for CrashingStore {
    fn load(&self) -> Result<Vec<(Vec<u8>, Bytes)>, StoreError> {
        self.disk.load()
    }

    fn commit(&self, changes: &[KeyChange]) -> Result<(), StoreError> {
        self.attempt(&mut self.fate(), changes)
    }

    fn commit_command(&self, command: Bytes, changes: &[KeyChange]) -> Result<(), StoreError> {
        let mut fate = self.fate();
        let (command, mut now) = Command::decode(command).expect("the registry encoded it");
        if self.sabotage == Sabotage::AppliesLater {
            now.unix_ms += 1;
        }
        let mut follower = fate.follower.clone();
        let followed = command.apply(&mut follower, now);
        if followed != changes {
            fate.divergence = Some(format!("{command:?} gives a follower {followed:?} and not {changes:?}"));
        }
        self.attempt(&mut fate, &followed)?;
        fate.follower = follower;
        Ok(())
    }
}

impl CrashingStore {
    fn attempt(&self, fate: &mut ProcessFate, changes: &[KeyChange]) -> Result<(), StoreError> {
        let failed = |what: &str| Err(StoreError::Unavailable(what.to_owned()));
        if fate.is_dead {
            return failed("the process is dead");
        }
        match fate.rng.random_range(0..100) {
            // Before the transaction.
            0..4 => {
                fate.is_dead = true;
                if self.sabotage == Sabotage::HalfCommits {
                    self.disk.commit(&changes[..changes.len() / 2])?;
                }
                failed("crashed before the transaction")
            }
            // Between the transaction and the answer.
            4..8 => {
                self.store(fate, changes)?;
                fate.is_dead = true;
                failed("crashed before the answer")
            }
            8..11 => failed("no space left on device"),
            _ => self.store(fate, changes),
        }
    }
}
