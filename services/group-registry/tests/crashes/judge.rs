//! What must hold whatever happens, kept in a form much simpler than the registry's.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use gaung_proto::{DeviceId, GroupId};
use group_registry::{
    QUARANTINE,
    address::Low23,
    clock::Now,
    feed::{GroupChange, WatchStep},
    group::{Group, RequestId},
    lookup::GroupBy,
    registry::Registry,
};

/// What a command that was not answered may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Nothing,
    Create(RequestId),
    Change(GroupId),
    /// Addresses of any groups may have lapsed.
    Expire,
}

/// Everything that a caller can see: the groups, and who is a member of each.
pub(crate) type Seen = BTreeMap<GroupId, (Group, BTreeSet<DeviceId>)>;

/// Reads everything that a caller can see.
pub(crate) fn see(registry: &Registry, now: Now) -> Seen {
    let all = registry.groups(None, usize::MAX).0.into_iter();
    let members = |group: &Group| {
        let members = registry.members(now, group.id).expect("the group was listed");
        members.iter().map(|member| DeviceId::try_from(&member.device_id[..]).expect("an id")).collect()
    };
    all.map(|group| (group.id, (group.clone(), members(&group)))).collect()
}

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) seen: Seen,
    made_by: HashMap<GroupId, RequestId>,
    gone: HashSet<GroupId>,
    given: HashMap<(Low23, u32), GroupId>,
    /// Who had each address last, and when that ended.
    freed: HashMap<Low23, (GroupId, Duration)>,
}

impl Judge {
    /// Compares what is seen now with what was seen before one command. `is_refused`: the caller was told that it did
    /// not happen. After a command that was carried out only what it may change is allowed to differ, too.
    pub(crate) fn step(&mut self, now: Seen, pending: Pending, is_refused: bool, at: Duration) -> Result<(), String> {
        let before = std::mem::take(&mut self.seen);
        for id in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (before.get(id), now.get(id));
            if was == is {
                continue;
            }
            let is_expected = match pending {
                Pending::Nothing => false,
                Pending::Create(request) => was.is_none() && is.is_some_and(|(group, _)| group.request == request),
                Pending::Change(changed) => changed == *id,
                Pending::Expire => match (was, is) {
                    (Some((was, members)), Some((is, still))) => {
                        members == still && *is == Group { lapsed: true, ..was.clone() }
                    }
                    _ => false,
                },
            };
            if is_refused || !is_expected {
                return Err(format!("{was:?} became {is:?} by {pending:?}, refused: {is_refused}"));
            }
            self.note_change(was.map(|(group, _)| group), is.map(|(group, _)| group), at)?;
        }
        self.seen = now;
        self.check_unique()
    }

    fn note_change(&mut self, was: Option<&Group>, is: Option<&Group>, at: Duration) -> Result<(), String> {
        if let Some(was) = was {
            let keeps = is.is_some_and(|is| is.addr.ip() == was.addr.ip() && !is.lapsed);
            if !was.lapsed && !keeps {
                self.freed.insert(was.address(), (was.id, at));
            }
            if is.is_none() {
                self.gone.insert(was.id);
            }
        }
        let Some(is) = is else { return Ok(()) };
        if self.gone.contains(&is.id) || *self.made_by.entry(is.id).or_insert(is.request) != is.request {
            return Err(format!("the id of {is:?} was given before"));
        }
        let has_same = was.is_some_and(|was| !was.lapsed && was.addr == is.addr);
        if is.lapsed || has_same {
            return Ok(());
        }
        if let Some((last, freed)) = self.freed.get(&is.address())
            && *last != is.id
            && at < *freed + QUARANTINE
        {
            return Err(format!("{is:?} has an address that rests since {freed:?}, at {at:?}"));
        }
        let place = (is.address(), is.generation.0);
        if *self.given.entry(place).or_insert(is.id) == is.id {
            Ok(())
        } else {
            Err(format!("{place:?} of {is:?} was given before"))
        }
    }

    fn check_unique(&self) -> Result<(), String> {
        let (mut names, mut addresses, mut ports) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (group, _) in self.seen.values() {
            let is_new = names.insert(&group.name)
                && (group.lapsed || addresses.insert(group.address()))
                && group.claimed_port().is_none_or(|port| ports.insert(port));
            if !is_new {
                return Err(format!("{group:?} has what another group has"));
            }
        }
        Ok(())
    }

    /// Whether each group is found by its name and id.
    pub(crate) fn check_lookup(&self, registry: &Registry) -> Result<(), String> {
        for (group, _) in self.seen.values() {
            for by in [GroupBy::Id(group.id), GroupBy::Name(group.name.clone())] {
                let found = registry.group(&by);
                if found.as_ref() != Ok(group) {
                    return Err(format!("{by:?} finds {found:?} and not {group:?}"));
                }
            }
        }
        Ok(())
    }
}

/// A watcher that reads now and then.
#[derive(Default)]
pub(crate) struct Watcher {
    after: Option<u64>,
    groups: BTreeMap<GroupId, Arc<Group>>,
    pub(crate) changes: u64,
}

impl Watcher {
    /// Forgets its revision, which belonged to a process that is gone.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { changes: self.changes, ..Self::default() };
    }

    /// Reads everything there is, and compares it with what the registry lists.
    pub(crate) fn read(&mut self, registry: &Registry, seen: &Seen) -> Result<(), String> {
        loop {
            match registry.watch(self.after, 3) {
                WatchStep::UpToDate => break,
                WatchStep::Snapshot { revision, groups } => {
                    if self.after.is_some() {
                        return Err(format!("a snapshot although {:?} is not long ago", self.after));
                    }
                    self.groups = groups.into_iter().map(|group| (group.id, group)).collect();
                    self.after = Some(revision);
                }
                WatchStep::Changes(changes) => {
                    for (revision, change) in changes {
                        if self.after.map(|after| after + 1) != Some(revision) {
                            return Err(format!("revision {revision} comes after {:?}", self.after));
                        }
                        self.after = Some(revision);
                        self.changes += 1;
                        match change {
                            GroupChange::Upsert(group) => drop(self.groups.insert(group.id, group)),
                            GroupChange::Deleted(group) => drop(self.groups.remove(&group.id)),
                        }
                    }
                }
            }
        }
        let is_same = self.groups.len() == seen.len()
            && self.groups.iter().all(|(id, group)| seen.get(id).is_some_and(|(known, _)| *known == **group));
        if is_same { Ok(()) } else { Err(format!("a watcher knows {:?}, and there is {seen:?}", self.groups)) }
    }
}
