//! Logs that a reset replaced: their runs stay in the file for a while, and nothing leads to them any more.

use gaung_proto::{GroupId, LogId, Seq};
use redb::ReadableTable as _;

use super::{Work, purge::is_due};
use crate::{
    fault::Fault,
    layout::{GroupState, SUPERSEDED},
};

impl Work<'_> {
    /// Notes that a reset replaces the group's log.
    pub(super) fn supersede(&mut self, group: GroupId, old: &GroupState) -> Result<(), Fault> {
        if old.head > Seq::ZERO {
            self.redated = true;
            self.txn.open_table(SUPERSEDED)?.insert(&key(group, old.log), 0)?;
        }
        Ok(())
    }

    /// Drops what resets replaced as late as what was deleted. The first purge after a reset dates what that replaced; so
    /// does each one that finds it dated in the future, for then the clock was ahead.
    pub(super) fn purge_superseded(&mut self, now_ms: Option<u64>) -> Result<(), Fault> {
        let mut table = self.txn.open_table(SUPERSEDED)?;
        let (mut entries, mut due) = (Vec::new(), Vec::new());
        for entry in table.iter()? {
            let (key, since) = entry?;
            entries.push((*key.value(), since.value()));
        }
        for (key, since) in entries {
            match now_ms {
                Some(now_ms) if since == 0 || since > now_ms => {
                    self.redated = true;
                    table.insert(&key, now_ms.max(1))?;
                }
                Some(_) | None if is_due(since, now_ms) => due.push(key),
                Some(_) | None => {}
            }
        }
        drop(table);
        due.into_iter().try_for_each(|key| self.drop_superseded(key))
    }

    /// Drops the runs of a log that was replaced, if there are any.
    pub(super) fn drop_superseded(&mut self, key: [u8; 24]) -> Result<(), Fault> {
        let end = |fill| {
            let mut end = [fill; 32];
            end[..24].copy_from_slice(&key);
            end
        };
        self.runs.retain_in::<&[u8; 32], _>(&end(0)..=&end(0xff), |_, _| false)?;
        self.dropped |= self.txn.open_table(SUPERSEDED)?.remove(&key)?.is_some();
        Ok(())
    }
}

/// The key of [`SUPERSEDED`]: group and log.
pub(super) fn key(group: GroupId, log: LogId) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(group.as_bytes());
    key[16..].copy_from_slice(&log.0.to_be_bytes());
    key
}
