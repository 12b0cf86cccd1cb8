//! Deleted groups: when their messages go.

use gaung_proto::GroupId;

use super::Work;
use crate::{fault::Fault, index::Update, layout::GroupState, log::DELETED_KEPT_MS};

impl Work<'_> {
    /// Drops the groups that were deleted long enough ago, and logs that were replaced as long ago; gives the groups.
    pub(super) fn purge(&mut self, now_ms: u64) -> Result<Vec<GroupId>, Fault> {
        self.redate_deletions(now_ms)?;
        let due =
            |state: &GroupState| state.deleted_at_ms.is_some_and(|at| now_ms.saturating_sub(at) >= DELETED_KEPT_MS);
        let groups: Vec<_> = self.index.groups.iter().filter(|(_, e)| due(&e.state)).map(|(group, _)| *group).collect();
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
