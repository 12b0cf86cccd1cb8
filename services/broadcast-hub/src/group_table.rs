//! The table of followed groups, with the limit on their number and each address's share of it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_engine::RingBudget;
use gaung_proto::GroupId;
use service_kit::share::{Origin, Share, SharePool};

use crate::{config::Limits, directory::GroupInfo, group::Group};

/// All followed groups.
#[derive(Debug)]
pub(crate) struct GroupTable {
    entries: Mutex<HashMap<GroupId, GroupEntry>>,
    /// The groups' places. One address may have them all while no other needs one. RingTake and released only while `entries` is
    /// locked.
    places: SharePool<Origin>,
    max_groups: usize,
    ring_bytes: usize,
    rings: Arc<RingBudget>,
    shards: usize,
}

#[derive(Debug)]
struct GroupEntry {
    group: Arc<Group>,
    /// True for `everyone`, which the hub follows for itself.
    is_pinned: bool,
    unused_since: Option<Instant>,
    /// Numbers of sessions in the group by address.
    watchers: HashMap<Origin, usize>,
    /// The group's place and the address that is charged for it: one with a session in the group, or the last one that had.
    /// `None` for a pinned group.
    place: Option<(Origin, Share<Origin>)>,
}

/// The outcome of counting a session in to a group.
#[derive(Debug)]
pub(crate) struct WatchedGroup {
    pub(crate) group: Arc<Group>,
    /// True if the group was not followed before.
    pub(crate) is_new: bool,
    /// Groups that were removed to make room. The caller has to tell their sessions.
    pub(crate) evicted: Vec<Arc<Group>>,
}

/// How long a group without sessions is still followed, so that sessions that come back find its hot ring.
const UNUSED: Duration = Duration::from_secs(30);

/// The hub follows [`Limits::groups`] groups, and none of them can be evicted for this address.
#[derive(Debug, thiserror::Error)]
#[error("the hub follows {0} groups already; try later or use another hub")]
pub(crate) struct TooManyGroups(usize);

impl GroupTable {
    pub(crate) fn new(limits: &Limits, shards: usize) -> Self {
        Self {
            entries: Mutex::default(),
            places: SharePool::new(limits.groups as u64, limits.groups as u64),
            max_groups: limits.groups,
            ring_bytes: limits.ring_bytes,
            rings: Arc::new(RingBudget::new(limits.rings_bytes)),
            shards,
        }
    }

    /// Counts a session of `origin` on `shard` in.
    pub(crate) fn watch(
        &self,
        info: &Arc<GroupInfo>,
        shard: usize,
        origin: Origin,
    ) -> Result<WatchedGroup, TooManyGroups> {
        let mut entries = self.entries();
        let before = self.places.used();
        let (group, is_new) = self.enter(&mut entries, info, Some(origin))?;
        if let Some(entry) = entries.get_mut(&info.id) {
            *entry.watchers.entry(origin).or_default() += 1;
            self.charge_watcher(entry);
        }
        group.watch(shard);
        let has_evicted = is_new && self.places.used() <= before;
        let evicted = if has_evicted { self.remove_evicted(&mut entries) } else { Vec::new() };
        Ok(WatchedGroup { group, is_new, evicted })
    }

    /// Counts a session of `origin` on `shard` out.
    pub(crate) fn unwatch(&self, group: &Arc<Group>, shard: usize, origin: Origin) {
        let mut entries = self.entries();
        group.unwatch(shard);
        // A group that was removed may have been followed anew meanwhile, by another handle.
        let Some(entry) = entries.get_mut(&group.id).filter(|entry| Arc::ptr_eq(&entry.group, group)) else { return };
        if let Some(count) = entry.watchers.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                entry.watchers.remove(&origin);
                self.charge_watcher(entry);
            }
        }
    }

    /// Follows a group for as long as the hub runs; returns true with it if it was not followed before.
    pub(crate) fn pin(&self, info: &Arc<GroupInfo>) -> Result<(Arc<Group>, bool), TooManyGroups> {
        let mut entries = self.entries();
        let found = self.enter(&mut entries, info, None)?;
        if let Some(entry) = entries.get_mut(&info.id) {
            entry.is_pinned = true;
            entry.place = None;
        }
        Ok(found)
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.entries().get(&id).map(|entry| entry.group.clone())
    }

    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.entries().values().map(|entry| entry.group.clone()).collect()
    }

    /// Removes a group that was deleted. Its sessions keep their own handles until they are told.
    pub(crate) fn remove(&self, id: GroupId) -> Option<Arc<Group>> {
        self.entries().remove(&id).map(|entry| entry.group)
    }

    /// Returns the memory of all groups' hot rings.
    pub(crate) fn rings(&self) -> &RingBudget {
        &self.rings
    }

    /// Removes groups that had no session for [`UNUSED`], and returns them.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<Arc<Group>> {
        let mut removed = Vec::new();
        self.entries().retain(|_, entry| {
            if entry.is_pinned || entry.group.watcher_count() > 0 {
                entry.unused_since = None;
                return true;
            }
            let since = *entry.unused_since.get_or_insert(now);
            let keep = now.saturating_duration_since(since) < UNUSED;
            if !keep {
                removed.push(entry.group.clone());
            }
            keep
        });
        removed
    }

    /// Returns the group's handle, with true if it is new; a new group is charged to `origin`.
    fn enter(
        &self,
        entries: &mut HashMap<GroupId, GroupEntry>,
        info: &Arc<GroupInfo>,
        origin: Option<Origin>,
    ) -> Result<(Arc<Group>, bool), TooManyGroups> {
        if let Some(entry) = entries.get_mut(&info.id) {
            entry.unused_since = None;
            return Ok((entry.group.clone(), false));
        }
        let place = match origin {
            Some(origin) => {
                let share = self.places.take(origin, 1).map_err(|_| TooManyGroups(self.max_groups))?;
                Some((origin, share))
            }
            None => None,
        };
        let group = Group::new(info.clone(), &self.rings, self.ring_bytes, self.shards);
        let watchers = HashMap::new();
        let entry = GroupEntry { group: group.clone(), is_pinned: false, unused_since: None, watchers, place };
        entries.insert(info.id, entry);
        Ok((group, true))
    }

    /// Charges the group to an address that has a session in it, unless it is, or there is none.
    fn charge_watcher(&self, entry: &mut GroupEntry) {
        let Some(holder) = entry.place.as_ref().map(|(holder, _)| *holder) else { return };
        if entry.watchers.is_empty() || entry.watchers.contains_key(&holder) {
            return;
        }
        // Released first, so that there is room for the new one.
        entry.place = None;
        entry.place = self.place_for(entry.watchers.keys().copied());
    }

    /// Takes a place for the first of these addresses that may have one.
    fn place_for(&self, mut origins: impl Iterator<Item = Origin>) -> Option<(Origin, Share<Origin>)> {
        origins.find_map(|origin| Some((origin, self.places.take(origin, 1).ok()?)))
    }

    /// Charges groups whose place was evicted to other addresses with sessions in them; removes and returns those that have
    /// none.
    fn remove_evicted(&self, entries: &mut HashMap<GroupId, GroupEntry>) -> Vec<Arc<Group>> {
        let mut removed = Vec::new();
        loop {
            let is_evicted = |entry: &GroupEntry| entry.place.as_ref().is_some_and(|(_, share)| share.is_evicted());
            let Some((&id, _)) = entries.iter().find(|(_, entry)| is_evicted(entry)) else { return removed };
            let Some(entry) = entries.get_mut(&id) else { return removed };
            let former = entry.place.take().map(|(holder, _)| holder);
            let others = entry.watchers.keys().copied().filter(|&origin| Some(origin) != former);
            entry.place = self.place_for(others);
            if entry.place.is_none() {
                removed.extend(entries.remove(&id).map(|entry| entry.group));
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<GroupId, GroupEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::IpAddr;

    use gaung_engine::RingTake;
    use gaung_proto::{
        ClientId, ClientSeq, ContentType, DeviceId, Epoch, Generation, LogId, RelayId, Seq,
        block::{Author, BlockBuilder, MessageRef, SentAt},
        run::{Run, RunHeader},
    };

    use super::*;

    const LOG: LogId = LogId(7);
    const RINGS_BYTES: usize = 1 << 20;

    fn info(number: u16) -> Arc<GroupInfo> {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Arc::new(GroupInfo {
            id: GroupId(id),
            name: format!("g{number}"),
            private: false,
            relay: RelayId([1; 16]),
            generation: Generation(1),
            log: LOG,
            reserved: false,
        })
    }

    fn followed(groups: &GroupTable, number: u16) -> Arc<Group> {
        let group = groups.watch(&info(number), 0, origin(1)).unwrap().group;
        group.start(LOG, Seq::FIRST);
        group
    }

    #[test]
    fn the_address_with_most_groups_is_evicted_for_another() {
        let groups = GroupTable::new(&Limits { groups: 4, ..Limits::default() }, 1);
        groups.pin(&info(9)).unwrap();
        let (eve, ani, budi) = (origin(1), origin(2), origin(3));
        let eves: Vec<_> = (0..4).map(|number| groups.watch(&info(number), 0, eve).unwrap().group).collect();
        groups.watch(&info(4), 0, eve).unwrap_err();
        // A group in which others have sessions stays when its place is evicted.
        assert!(!groups.watch(&info(0), 0, ani).unwrap().is_new);
        let watched = groups.watch(&info(5), 0, budi).unwrap();
        assert!(watched.is_new);
        let evicted: Vec<_> = watched.evicted.iter().map(|group| group.id).collect();
        assert_eq!(evicted, [info(1).id], "the oldest without sessions of another address");
        assert!(groups.get(info(0).id).is_some() && groups.get(info(9).id).is_some());
        assert_eq!(groups.watch(&info(6), 0, budi).unwrap_err().to_string(), TooManyGroups(4).to_string());
        groups.unwatch(&eves[1], 0, eve);
        // Its place is charged to whoever is left in it.
        groups.watch(&info(2), 0, budi).unwrap();
        groups.unwatch(&eves[2], 0, eve);
        groups.remove(info(3).id).unwrap();
        groups.watch(&info(7), 0, eve).unwrap();
        assert_eq!(groups.places.used(), 4);
        let held = |number| groups.entries().get(&info(number).id).unwrap().place.as_ref().map(|(holder, _)| *holder);
        assert_eq!([held(0), held(2), held(5), held(7), held(9)], [Some(ani), Some(budi), Some(budi), Some(eve), None]);
    }

    fn origin(number: u8) -> Origin {
        IpAddr::from([10, 0, 0, number]).into()
    }

    fn push_message(group: &Group, payload_len: usize) {
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

    fn taken(group: &Group, next: Seq) -> RingTake {
        group.take(LOG, next, 1, &mut Vec::new(), |run| run.as_bytes().clone())
    }

    #[test]
    fn a_thousand_groups_share_the_memory_and_active_ones_use_it() {
        let limits = Limits { ring_bytes: RINGS_BYTES / 2, rings_bytes: RINGS_BYTES, ..Limits::default() };
        let groups = GroupTable::new(&limits, 1);
        let all: Vec<_> = (0..1000).map(|number| followed(&groups, number)).collect();
        for round in 0..20 {
            for group in &all {
                push_message(group, 500);
                assert!(groups.rings().held_bytes() <= RINGS_BYTES, "round {round}");
            }
        }
        for _ in 0..2000 {
            push_message(&all[0], 500);
            assert!(groups.rings().held_bytes() <= RINGS_BYTES);
        }
        assert!(
            matches!(taken(&all[0], Seq(1520)), RingTake::Pieces { .. }),
            "the ring has its part of the memory, though 1000 groups share it"
        );
        assert_eq!(
            taken(&all[0], Seq(1000)),
            RingTake::Behind { oldest: oldest(&all[0]) },
            "the ring has no more than its part"
        );
        assert!(
            matches!(taken(&all[999], Seq(20)), RingTake::Pieces { .. }),
            "the newest of the quiet groups is in memory"
        );
        assert_eq!(taken(&all[1], Seq(20)), RingTake::Behind { oldest: Seq(21) }, "an older one is in the log alone");
        push_message(&all[1], 10);
        assert!(matches!(taken(&all[1], Seq(21)), RingTake::Pieces { .. }));
        drop(all);
        groups.entries().clear();
        assert_eq!(groups.rings().held_bytes(), 0, "dropped groups release all memory");
    }

    fn oldest(group: &Group) -> Seq {
        match taken(group, Seq::FIRST) {
            RingTake::Behind { oldest } => oldest,
            other @ (RingTake::Pieces { .. } | RingTake::AtHead | RingTake::Replaced) => panic!("{other:?}"),
        }
    }
}
