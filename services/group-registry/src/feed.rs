//! The changes of the set of groups for watchers, in order and without a gap.

use std::{collections::VecDeque, sync::Arc};

use crate::group::Group;

/// Changes that are kept for watchers that resume or fall behind; beyond them a watcher gets a new snapshot.
const HISTORY: usize = 4096;

/// One change of the set of groups.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupChange {
    /// The group is new or changed.
    Upsert(Arc<Group>),
    /// The group was deleted; this is how it was.
    Deleted(Arc<Group>),
}

impl GroupChange {
    /// Returns the group.
    #[must_use]
    pub fn group(&self) -> &Group {
        match self {
            Self::Upsert(group) | Self::Deleted(group) => group,
        }
    }
}

/// What a watcher gets next.
#[derive(Debug)]
pub enum WatchStep {
    /// A snapshot: every group as of `revision`.
    Snapshot {
        /// The revision.
        revision: u64,
        /// The groups.
        groups: Vec<Arc<Group>>,
    },
    /// At least one change, each with its revision.
    Changes(Vec<(u64, GroupChange)>),
    /// Nothing has changed.
    UpToDate,
}

/// The last changes and the current revision.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChangeFeed {
    revision: u64,
    history: VecDeque<(u64, GroupChange)>,
}

impl ChangeFeed {
    /// Makes a feed at revision 1: revision 0 stands for a client that has nothing yet.
    pub(crate) fn new() -> Self {
        Self { revision: 1, history: VecDeque::new() }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn publish(&mut self, change: GroupChange) {
        self.revision += 1;
        self.history.push_back((self.revision, change));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// Returns at most `limit` changes after revision `after`; a snapshot for `None`.
    pub(crate) fn next(
        &self,
        after: Option<u64>,
        limit: usize,
        snapshot: impl FnOnce() -> Vec<Arc<Group>>,
    ) -> WatchStep {
        let oldest = self.history.front().map_or(self.revision + 1, |(revision, _)| *revision);
        match after {
            Some(after) if after == self.revision => WatchStep::UpToDate,
            Some(after) if after < self.revision && after + 1 >= oldest => {
                let skip = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
                WatchStep::Changes(self.history.iter().skip(skip).take(limit).cloned().collect())
            }
            Some(_) | None => WatchStep::Snapshot { revision: self.revision, groups: snapshot() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::sample;

    #[test]
    fn whoever_falls_behind_the_history_gets_a_snapshot() {
        let mut feed = ChangeFeed::new();
        let group = Arc::new(sample(1));
        for _ in 0..HISTORY + 10 {
            feed.publish(GroupChange::Upsert(Arc::clone(&group)));
        }
        let last = feed.revision();
        let next = |after| feed.next(after, 100, || vec![Arc::clone(&group)]);
        let oldest = last - u64::try_from(HISTORY).expect("small");
        assert!(matches!(next(Some(oldest - 1)), WatchStep::Snapshot { revision, .. } if revision == last));
        let WatchStep::Changes(changes) = next(Some(oldest)) else { panic!("the next change is still known") };
        assert_eq!((changes[0].0, changes.len()), (oldest + 1, 100));
        assert!(matches!(next(Some(last)), WatchStep::UpToDate));
        assert!(matches!(next(Some(last + 1)), WatchStep::Snapshot { .. }), "from another registry");
        assert!(matches!(next(None), WatchStep::Snapshot { groups, .. } if groups.len() == 1));
    }
}
