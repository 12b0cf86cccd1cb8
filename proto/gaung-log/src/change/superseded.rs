//! Logs that a reset replaced: their runs stay in the file for a while, and nothing leads to them any more.

use gaung_proto::{GroupId, LogId, Seq};
use redb::ReadableTable as _;

use super::Work;
use crate::{
    fault::Fault,
    layout::{GroupState, SUPERSEDED},
    log::DELETED_KEPT_MS,
};

impl Work<'_> {
    /// Notes that a reset replaces the group's log.
    pub(super) fn supersede(&mut self, group: GroupId, old: &GroupState) -> Result<(), Fault> {
        if old.head > Seq::ZERO {
            self.txn.open_table(SUPERSEDED)?.insert(&key(group, old.log), 0)?;
        }
        Ok(())
    }

    /// Drops what resets replaced as late as what was deleted.
    pub(super) fn purge_superseded(&mut self, now_ms: u64) -> Result<(), Fault> {
        let mut table = self.txn.open_table(SUPERSEDED)?;
        let (mut entries, mut due) = (Vec::new(), Vec::new());
        for entry in table.iter()? {
            let (key, since) = entry?;
            entries.push((*key.value(), since.value()));
        }
        for (key, since) in entries {
            if since == 0 {
                table.insert(&key, now_ms.max(1))?;
            } else if now_ms.saturating_sub(since) >= DELETED_KEPT_MS {
                due.push(key);
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
        self.txn.open_table(SUPERSEDED)?.remove(&key)?;
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
