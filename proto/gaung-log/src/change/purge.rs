//! Deleted groups: when their messages go.

use gaung_proto::GroupId;

use super::Work;
use crate::{fault::Fault, index::Update, layout::GroupState, log::DELETED_KEPT_MS};

impl Work<'_> {
    /// Drops the groups that were deleted long enough ago, and logs that were replaced as long ago; gives the groups.
    /// `now_ms`: `None` drops them all.
    pub(super) fn purge(&mut self, now_ms: Option<u64>) -> Result<Vec<GroupId>, Fault> {
        if let Some(now_ms) = now_ms {
            self.redate_deletions(now_ms)?;
        }
        let due = |state: &GroupState| state.deleted_at_ms.is_some_and(|at| is_due(at, now_ms));
        let groups: Vec<_> = self.index.groups.iter().filter(|(_, e)| due(&e.state)).map(|(group, _)| *group).collect();
        self.dropped |= !groups.is_empty();
        for group in &groups {
            self.drop_messages(*group)?;
            self.groups.remove(&group.0)?;
            self.configs.remove(&group.0)?;
            self.updates.insert(*group, Update::default());
        }
        self.purge_superseded(now_ms)?;
        Ok(groups)
    }

    /// A group that was deleted when the clock was ahead is kept from now on as long as others.
    fn redate_deletions(&mut self, now_ms: u64) -> Result<(), Fault> {
        let is_ahead = |state: &GroupState| state.deleted_at_ms.is_some_and(|at| at > now_ms);
        let index = self.index;
        for group in index.groups.iter().filter(|(_, entry)| is_ahead(&entry.state)).map(|(group, _)| *group) {
            if let Some(state) = self.state(group)?.filter(is_ahead) {
                self.put(group, GroupState { deleted_at_ms: Some(now_ms), ..state })?;
            }
        }
        Ok(())
    }
}

/// Whether what was deleted or replaced at `at_ms` is dropped at `now_ms`; always if that is `None`.
pub(super) fn is_due(at_ms: u64, now_ms: Option<u64>) -> bool {
    now_ms.is_none_or(|now_ms| now_ms.saturating_sub(at_ms) >= DELETED_KEPT_MS)
}
