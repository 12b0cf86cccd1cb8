//! The groups that are followed now, and who must be told when that changes.

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
pub(crate) struct Groups {
    table: Mutex<HashMap<GroupId, Entry>>,
    /// One address may have all places while nobody else wants one. Taken and given back under the table's lock alone.
    places: SharePool<Origin>,
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
    /// Sessions in the group by address.
    watchers: HashMap<Origin, usize>,
    /// On whose account it is followed: an address with a session in it, or the last one that had; nobody's if it is pinned.
    place: Option<(Origin, Share<Origin>)>,
}

/// A group that a session is counted in to.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) group: Arc<Group>,
    /// It was not followed before.
    pub(crate) is_new: bool,
    /// Groups that had to give their place to it, and are forgotten: their sessions are to be told.
    pub(crate) evicted: Vec<Arc<Group>>,
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
            places: SharePool::new(limits.groups as u64, limits.groups as u64),
            max_groups: limits.groups,
            ring_bytes: limits.ring_bytes,
            rings: Arc::new(RingBudget::new(limits.rings_bytes)),
            shards,
        }
    }

    /// Counts a session of `origin` on `shard` in.
    pub(crate) fn watch(&self, info: &Arc<GroupInfo>, shard: usize, origin: Origin) -> Result<Watched, TooManyGroups> {
        let mut table = self.table();
        let before = self.places.used();
        let (group, is_new) = self.enter(&mut table, info, Some(origin))?;
        if let Some(entry) = table.get_mut(&info.id) {
            *entry.watchers.entry(origin).or_default() += 1;
            self.charge_watcher(entry);
        }
        group.watch(shard);
        let has_evicted = is_new && self.places.used() <= before;
        let evicted = if has_evicted { self.settle_evicted(&mut table) } else { Vec::new() };
        Ok(Watched { group, is_new, evicted })
    }

    /// A session of `origin` on `shard` left the group.
    pub(crate) fn unwatch(&self, group: &Arc<Group>, shard: usize, origin: Origin) {
        let mut table = self.table();
        group.unwatch(shard);
        // A group that was forgotten may be followed anew meanwhile.
        let Some(entry) = table.get_mut(&group.id).filter(|entry| Arc::ptr_eq(&entry.group, group)) else { return };
        if let Some(count) = entry.watchers.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                entry.watchers.remove(&origin);
                self.charge_watcher(entry);
            }
        }
    }

    /// Follows a group for as long as the hub runs.
    pub(crate) fn pin(&self, info: &Arc<GroupInfo>) -> Result<(Arc<Group>, bool), TooManyGroups> {
        let mut table = self.table();
        let found = self.enter(&mut table, info, None)?;
        if let Some(entry) = table.get_mut(&info.id) {
            entry.pinned = true;
            entry.place = None;
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
        origin: Option<Origin>,
    ) -> Result<(Arc<Group>, bool), TooManyGroups> {
        if let Some(entry) = table.get_mut(&info.id) {
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
        table.insert(info.id, Entry { group: group.clone(), pinned: false, unused_since: None, watchers, place });
        Ok((group, true))
    }

    /// Puts the group on the account of an address that has a session in it, if there is one.
    fn charge_watcher(&self, entry: &mut Entry) {
        let Some(holder) = entry.place.as_ref().map(|(holder, _)| *holder) else { return };
        if entry.watchers.is_empty() || entry.watchers.contains_key(&holder) {
            return;
        }
        // Given back first, so that there is room for the new one.
        entry.place = None;
        entry.place = self.place_for(entry.watchers.keys().copied());
    }

    fn place_for(&self, mut origins: impl Iterator<Item = Origin>) -> Option<(Origin, Share<Origin>)> {
        origins.find_map(|origin| Some((origin, self.places.take(origin, 1).ok()?)))
    }

    /// Groups whose place was evicted go on the account of others who have sessions in them; the rest is forgotten.
    fn settle_evicted(&self, table: &mut HashMap<GroupId, Entry>) -> Vec<Arc<Group>> {
        let mut forgotten = Vec::new();
        loop {
            let is_evicted = |entry: &Entry| entry.place.as_ref().is_some_and(|(_, share)| share.is_evicted());
            let Some((&id, _)) = table.iter().find(|(_, entry)| is_evicted(entry)) else { return forgotten };
            let Some(entry) = table.get_mut(&id) else { return forgotten };
            let former = entry.place.take().map(|(holder, _)| holder);
            let others = entry.watchers.keys().copied().filter(|&origin| Some(origin) != former);
            entry.place = self.place_for(others);
            if entry.place.is_none() {
                forgotten.extend(table.remove(&id).map(|entry| entry.group));
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<GroupId, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn followed(groups: &Groups, number: u16) -> Arc<Group> {
        let group = groups.watch(&info(number), 0, origin(1)).unwrap().group;
        group.start(LOG, Seq::FIRST);
        group
    }

    #[test]
    fn an_address_that_follows_most_makes_room_for_another() {
        let groups = Groups::new(&Limits { groups: 4, ..Limits::default() }, 1);
        groups.pin(&info(9)).unwrap();
        let (eve, ani, budi) = (origin(1), origin(2), origin(3));
        let eves: Vec<_> = (0..4).map(|number| groups.watch(&info(number), 0, eve).unwrap().group).collect();
        groups.watch(&info(4), 0, eve).unwrap_err();
        // A group in which others have sessions goes on when its place is evicted.
        assert!(!groups.watch(&info(0), 0, ani).unwrap().is_new);
        let watched = groups.watch(&info(5), 0, budi).unwrap();
        assert!(watched.is_new);
        let evicted: Vec<_> = watched.evicted.iter().map(|group| group.id).collect();
        assert_eq!(evicted, [info(1).id], "the oldest that nobody else needs");
        assert!(groups.get(info(0).id).is_some() && groups.get(info(9).id).is_some());
        assert_eq!(groups.watch(&info(6), 0, budi).unwrap_err().to_string(), TooManyGroups(4).to_string());
        groups.unwatch(&eves[1], 0, eve);
        // Its place is whoever's who is left in it.
        groups.watch(&info(2), 0, budi).unwrap();
        groups.unwatch(&eves[2], 0, eve);
        groups.forget(info(3).id).unwrap();
        groups.watch(&info(7), 0, eve).unwrap();
        assert_eq!(groups.places.used(), 4);
        let held = |number| groups.table().get(&info(number).id).unwrap().place.as_ref().map(|(holder, _)| *holder);
        assert_eq!([held(0), held(2), held(5), held(7), held(9)], [Some(ani), Some(budi), Some(budi), Some(eve), None]);
    }

    fn origin(number: u8) -> Origin {
        IpAddr::from([10, 0, 0, number]).into()
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

    fn taken(group: &Group, next: Seq) -> RingTake {
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
            matches!(taken(&all[0], Seq(1520)), RingTake::Pieces { .. }),
            "its part of the memory, though 1000 share it"
        );
        assert_eq!(
            taken(&all[0], Seq(1000)),
            RingTake::Behind { oldest: oldest(&all[0]) },
            "and no more than its part"
        );
        assert!(matches!(taken(&all[999], Seq(20)), RingTake::Pieces { .. }), "spoke last of the quiet ones");
        assert_eq!(taken(&all[1], Seq(20)), RingTake::Behind { oldest: Seq(21) }, "is in the log alone");
        say(&all[1], 10);
        assert!(matches!(taken(&all[1], Seq(21)), RingTake::Pieces { .. }));
        drop(all);
        groups.table().clear();
        assert_eq!(groups.rings().held_bytes(), 0, "groups that are forgotten give all back");
    }

    fn oldest(group: &Group) -> Seq {
        match taken(group, Seq::FIRST) {
            RingTake::Behind { oldest } => oldest,
            other @ (RingTake::Pieces { .. } | RingTake::AtHead | RingTake::Replaced) => panic!("{other:?}"),
        }
    }
}
