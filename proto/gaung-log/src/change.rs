//! What the committer is asked to do.

use std::fmt;

use bytes::Bytes;
use gaung_proto::{GroupId, LogId, Seq};

use crate::{
    layout::GroupState,
    log::{Append, AppendError, Done, OpenError, Opened, Retention, StoreError, WriteError},
    retain::Kept,
};

/// One request to the committer.
#[derive(Debug)]
pub(crate) enum Job {
    /// Shares a commit with its neighbours.
    Change(Change),
    /// Done between commits.
    Upkeep(Upkeep),
}

/// A change of the active file.
pub(crate) enum Change {
    Append { appends: Vec<Append>, answer: Answer<Result<Seq, AppendError>> },
    Open { group: GroupId, log: LogId, make_new: bool, answer: Answer<Result<Opened, OpenError>> },
    Config { group: GroupId, config: Bytes, answer: Answer<Result<(), WriteError>> },
    Reset { group: GroupId, log: LogId, answer: Answer<Result<Opened, WriteError>> },
    Delete { group: GroupId, now_ms: u64, answer: Answer<Result<(), WriteError>> },
    Purge { now_ms: Option<u64>, answer: Answer<Result<Vec<GroupId>, WriteError>> },
    Trim { group: GroupId, log: LogId, kept: Kept, answer: Answer<Result<(), WriteError>> },
}

/// A change of the row of files.
pub(crate) enum Upkeep {
    Retain {
        keep: Retention,
        now_ms: u64,
        answer: Answer<Result<(), WriteError>>,
    },
    SetAside {
        file: u64,
        why: String,
    },
    /// The newest file ends if it holds what was dropped.
    EndOutdated {
        answer: Answer<Result<(), WriteError>>,
    },
    /// A closed file was made again without what nobody needs, under its unfinished name, and takes its own place.
    Replace {
        file: u64,
        answer: Answer<Result<(), WriteError>>,
    },
}

/// Where an outcome goes, and the outcome while the commit is pending.
pub(crate) struct Answer<T> {
    to: Box<dyn FnOnce(T) + Send>,
    outcome: Option<T>,
}

impl<T, E: From<StoreError>> Answer<Result<T, E>> {
    pub(crate) fn new(to: impl FnOnce(Result<T, E>) + Send + 'static) -> Self {
        Self { to: Box::new(to), outcome: None }
    }

    /// Keeps the outcome until the commit is done.
    pub(crate) fn keep(&mut self, outcome: Result<T, E>) {
        self.outcome = Some(outcome);
    }

    /// Tells the outcome. A refusal stands whether or not the commit succeeded.
    pub(crate) fn settle(self, failure: Option<&StoreError>) {
        let outcome = match (self.outcome, failure) {
            (Some(Err(refused)), _) => Err(refused),
            (_, Some(failure)) => Err(E::from(failure.clone())),
            (Some(Ok(done)), None) => Ok(done),
            (None, None) => Err(E::from(StoreError::closed())),
        };
        (self.to)(outcome);
    }

    pub(crate) fn settle_with(mut self, outcome: Result<T, E>) {
        self.outcome = Some(outcome);
        self.settle(None);
    }
}

impl Job {
    pub(crate) fn append(appends: Vec<Append>, done: Done) -> Self {
        Self::Change(Change::Append { appends, answer: Answer::new(done) })
    }

    /// What it counts for in the queue.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Change(Change::Append { appends, .. }) => 64 + appends.iter().map(append_bytes).sum::<usize>(),
            Self::Change(Change::Config { config, .. }) => 64 + config.len(),
            Self::Change(_) | Self::Upkeep(_) => 64,
        }
    }

    /// Tells whoever asked that it was not done.
    pub(crate) fn fail(self, failure: &StoreError) {
        match self {
            Self::Change(change) => change.settle(Some(failure)),
            Self::Upkeep(
                Upkeep::Retain { answer, .. } | Upkeep::EndOutdated { answer } | Upkeep::Replace { answer, .. },
            ) => answer.settle(Some(failure)),
            Self::Upkeep(Upkeep::SetAside { .. }) => {}
        }
    }

    /// Tells an append that too much is waiting.
    pub(crate) fn refuse_full(self) {
        if let Self::Change(Change::Append { answer, .. }) = self {
            answer.settle_with(Err(AppendError::Full));
        }
    }
}

fn append_bytes(append: &Append) -> usize {
    256 + append.run.as_bytes().len() + append.snapshot.as_ref().map_or(0, Bytes::len)
}

impl Change {
    /// Tells the outcome: as kept, or `failure` if the commit failed.
    pub(crate) fn settle(self, failure: Option<&StoreError>) {
        match self {
            Self::Append { answer, .. } => answer.settle(failure),
            Self::Open { answer, .. } => answer.settle(failure),
            Self::Reset { answer, .. } => answer.settle(failure),
            Self::Config { answer, .. } | Self::Delete { answer, .. } | Self::Trim { answer, .. } => {
                answer.settle(failure);
            }
            Self::Purge { answer, .. } => answer.settle(failure),
        }
    }
}

/// Fencing and order: whether all of `appends` follow `state`.
pub(crate) fn admit(group: GroupId, state: &GroupState, appends: &[Append]) -> Result<(), AppendError> {
    if state.tail_lost {
        return Err(AppendError::TailLost { head: state.head });
    }
    let mut head = state.head;
    for append in appends {
        let header = append.run.header();
        if header.group != group || header.log != state.log || header.epoch != state.epoch {
            return Err(AppendError::Fenced { log: state.log, epoch: state.epoch });
        }
        if header.base_seq != head.next() {
            return Err(AppendError::NotNext { head });
        }
        head = append.run.last_seq();
    }
    Ok(())
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append { .. } => "Append",
            Self::Open { .. } => "Open",
            Self::Config { .. } => "Config",
            Self::Reset { .. } => "Reset",
            Self::Delete { .. } => "Delete",
            Self::Purge { .. } => "Purge",
            Self::Trim { .. } => "Trim",
        })
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Retain { .. } => "Retain",
            Self::EndOutdated { .. } => "EndOutdated",
            Self::Replace { .. } => "Replace",
            Self::SetAside { .. } => "SetAside",
        })
    }
}
