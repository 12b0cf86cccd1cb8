//! The groups that are followed now, and who must be told when that changes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_engine::RingBudget;
use gaung_proto::GroupId;

use crate::{config::Limits, directory::GroupInfo, group::Group};

/// All followed groups.
#[derive(Debug)]
pub(crate) struct Groups {
    table: Mutex<HashMap<GroupId, Entry>>,
    max_groups: usize,
    ring_bytes: usize,
    rings: Arc<RingBudget>,
    shards: usize,
}

#[derive(Debug)]
struct Entry {
    group: Arc<Group>,
    /// Followed for the hub itself: `everyone`.
    pinned: bool,
    unused_since: Option<Instant>,
}

/// A group nobody watches is followed on for so long, for those who come back.
const UNUSED: Duration = Duration::from_secs(30);

/// [`Limits::groups`] are followed already.
#[derive(Debug, thiserror::Error)]
#[error("the hub follows {0} groups already; try later or use another hub")]
pub(crate) struct TooManyGroups(usize);

impl Groups {
    pub(crate) fn new(limits: &Limits, shards: usize) -> Self {
        Self {
            table: Mutex::default(),
            max_groups: limits.groups,
            ring_bytes: limits.ring_bytes,
            rings: Arc::new(RingBudget::new(limits.rings_bytes)),
            shards,
        }
    }

    /// Counts a session of `shard` in; returns the group and whether it is new here.
    pub(crate) fn watch(&self, info: &Arc<GroupInfo>, shard: usize) -> Result<(Arc<Group>, bool), TooManyGroups> {
        let mut table = self.table();
        let (group, new) = self.enter(&mut table, info)?;
        group.watch(shard);
        Ok((group, new))
    }

    /// Follows a group for as long as the hub runs.
    pub(crate) fn pin(&self, info: &Arc<GroupInfo>) -> Result<(Arc<Group>, bool), TooManyGroups> {
        let mut table = self.table();
        let found = self.enter(&mut table, info)?;
        if let Some(entry) = table.get_mut(&info.id) {
            entry.pinned = true;
        }
        Ok(found)
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.table().get(&id).map(|entry| entry.group.clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.table().values().map(|entry| entry.group.clone()).collect()
    }

    /// Forgets a group that was deleted; its sessions keep their own handles until they are told.
    pub(crate) fn forget(&self, id: GroupId) -> Option<Arc<Group>> {
        self.table().remove(&id).map(|entry| entry.group)
    }

    /// The memory of all groups' rings.
    pub(crate) fn rings(&self) -> &RingBudget {
        &self.rings
    }

    /// Forgets what was unused for [`UNUSED`]; returns it.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<Arc<Group>> {
        let mut table = self.table();
        let mut forgotten = Vec::new();
        table.retain(|_, entry| {
            if entry.pinned || entry.group.watcher_count() > 0 {
                entry.unused_since = None;
                return true;
            }
            let since = *entry.unused_since.get_or_insert(now);
            let keep = now.saturating_duration_since(since) < UNUSED;
            if !keep {
                forgotten.push(entry.group.clone());
            }
            keep
        });
        forgotten
    }

    fn enter(
        &self,
        table: &mut HashMap<GroupId, Entry>,
        info: &Arc<GroupInfo>,
    ) -> Result<(Arc<Group>, bool), TooManyGroups> {
        if let Some(entry) = table.get_mut(&info.id) {
            entry.unused_since = None;
            return Ok((entry.group.clone(), false));
        }
        if table.len() >= self.max_groups {
            return Err(TooManyGroups(self.max_groups));
        }
        let group = Group::new(info.clone(), &self.rings, self.ring_bytes, self.shards);
        table.insert(info.id, Entry { group: group.clone(), pinned: false, unused_since: None });
        Ok((group, true))
    }

    fn table(&self) -> MutexGuard<'_, HashMap<GroupId, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use gaung_engine::Taken;
    use gaung_proto::{
        ClientId, ClientSeq, ContentType, DeviceId, Epoch, Generation, LogId, RelayId, Seq,
        block::{Author, BlockBuilder, MessageRef, SentAt},
        pb::relay::FollowStarted,
        run::{Run, RunHeader},
    };

    use super::*;

    const LOG: LogId = LogId(7);
    const RINGS_BYTES: usize = 1 << 20;

    fn followed(groups: &Groups, number: u16) -> Arc<Group> {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let info = GroupInfo {
            id: GroupId(id),
            name: format!("g{number}"),
            private: false,
            relay: RelayId([1; 16]),
            generation: Generation(1),
            log: LOG,
            reserved: false,
        };
        let (group, _) = groups.watch(&Arc::new(info), 0).unwrap();
        group.start(&FollowStarted { log_id: LOG.0, next_seq: 1, ..FollowStarted::default() });
        group
    }

    fn say(group: &Group, payload_len: usize) {
        let base_seq = group.head().next();
        let mut block = BlockBuilder::new();
        block.push(&MessageRef {
            author: Author { device: DeviceId::NONE, client: ClientId([1; 16]) },
            client_seq: ClientSeq(base_seq.0),
            content_type: ContentType::Text,
            sent_at: SentAt(7),
            payload: &vec![b'x'; payload_len],
        });
        let run = Run::encode(RunHeader { group: group.id, log: LOG, epoch: Epoch(1), base_seq }, &block);
        assert_eq!(group.push(run), Some(base_seq));
    }

    fn taken(group: &Group, next: Seq) -> Taken {
        group.take(LOG, next, 1, &mut Vec::new(), |run| run.as_bytes().clone())
    }

    #[test]
    fn a_thousand_groups_share_the_memory_and_it_is_whoevers_who_speaks() {
        let limits = Limits { ring_bytes: RINGS_BYTES / 2, rings_bytes: RINGS_BYTES, ..Limits::default() };
        let groups = Groups::new(&limits, 1);
        let all: Vec<_> = (0..1000).map(|number| followed(&groups, number)).collect();
        for round in 0..20 {
            for group in &all {
                say(group, 500);
                assert!(groups.rings().held_bytes() <= RINGS_BYTES, "round {round}");
            }
        }
        for _ in 0..2000 {
            say(&all[0], 500);
            assert!(groups.rings().held_bytes() <= RINGS_BYTES);
        }
        assert!(
            matches!(taken(&all[0], Seq(1520)), Taken::Pieces { .. }),
            "its part of the memory, though 1000 share it"
        );
        assert_eq!(taken(&all[0], Seq(1000)), Taken::Behind { oldest: oldest(&all[0]) }, "and no more than its part");
        assert!(matches!(taken(&all[999], Seq(20)), Taken::Pieces { .. }), "spoke last of the quiet ones");
        assert_eq!(taken(&all[1], Seq(20)), Taken::Behind { oldest: Seq(21) }, "is in the log alone");
        say(&all[1], 10);
        assert!(matches!(taken(&all[1], Seq(21)), Taken::Pieces { .. }));
        drop(all);
        groups.table().clear();
        assert_eq!(groups.rings().held_bytes(), 0, "groups that are forgotten give all back");
    }

    fn oldest(group: &Group) -> Seq {
        match taken(group, Seq::FIRST) {
            Taken::Behind { oldest } => oldest,
            other @ (Taken::Pieces { .. } | Taken::AtHead | Taken::Replaced) => panic!("{other:?}"),
        }
    }
}
