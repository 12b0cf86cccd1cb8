//! The client's side of the WatchGroups call: where a watch resumes after a break, and what its events add up to.

use bytes::Bytes;

use crate::{
    GroupId,
    pb::registry::{Group, Viewer, WatchGroupsRequest, WatchGroupsResponse, watch_groups_response::Event},
};

/// Follows one registry's groups over any number of WatchGroups calls. It does no I/O: make a call with
/// [`Self::request`], and hand every response to [`Self::handle`].
///
/// `G` is what the client makes of a group.
#[derive(Debug)]
pub struct GroupWatch<G> {
    revision: u64,
    watch_id: Bytes,
    /// The snapshot that is not complete yet.
    snapshot: Option<GroupSnapshot<G>>,
}

/// A change that a watch reports.
#[derive(Debug, PartialEq, Eq)]
pub enum GroupChange<G> {
    /// These are all groups; others are gone.
    Snapshot(GroupSnapshot<G>),
    /// A group is new or has changed.
    Upsert(G),
    /// The group was deleted.
    Deleted(GroupId),
}

/// All groups that the registry shows this client.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupSnapshot<G> {
    /// The groups, in the registry's order.
    pub groups: Vec<G>,
    /// Private groups are shown too; otherwise their absence means nothing.
    pub with_private: bool,
}

impl<G> GroupWatch<G> {
    /// Makes a watch that begins with a snapshot.
    #[must_use]
    pub const fn new() -> Self {
        Self { revision: 0, watch_id: Bytes::new(), snapshot: None }
    }

    /// Returns the request for the next call, which resumes after the last change that was handled.
    ///
    /// `relay_id`: the relay whose groups are watched; empty for all groups. `viewer`: what proves the client.
    pub fn request(&mut self, relay_id: Bytes, viewer: Option<Viewer>) -> WatchGroupsRequest {
        self.snapshot = None;
        WatchGroupsRequest { relay_id, after_revision: self.revision, watch_id: self.watch_id.clone(), viewer }
    }

    /// Takes the next response; returns the change that it completes, if any.
    ///
    /// `check` makes a `G` of a group; groups for which it returns `None` are left out.
    pub fn handle(
        &mut self,
        response: WatchGroupsResponse,
        check: impl FnOnce(Group) -> Option<G>,
    ) -> Option<GroupChange<G>> {
        let change = response.event.and_then(|event| self.handle_event(event, check));
        // A snapshot counts only once it is complete: after a break it is sent again from its beginning.
        if self.snapshot.is_none() {
            self.revision = response.revision;
            self.watch_id = response.watch_id;
        }
        change
    }

    fn handle_event(&mut self, event: Event, check: impl FnOnce(Group) -> Option<G>) -> Option<GroupChange<G>> {
        match event {
            Event::SnapshotBegin(begin) => {
                self.snapshot = Some(GroupSnapshot { groups: Vec::new(), with_private: begin.with_private });
                None
            }
            Event::SnapshotEnd(_) => self.snapshot.take().map(GroupChange::Snapshot),
            Event::Upsert(group) => {
                let group = check(group)?;
                match &mut self.snapshot {
                    Some(snapshot) => {
                        snapshot.groups.push(group);
                        None
                    }
                    None => Some(GroupChange::Upsert(group)),
                }
            }
            Event::Deleted(deleted) => GroupId::try_from(&deleted.id[..]).ok().map(GroupChange::Deleted),
        }
    }
}

impl<G> Default for GroupWatch<G> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::registry::{GroupDeleted, SnapshotBegin, SnapshotEnd};

    fn response(revision: u64, event: Event) -> WatchGroupsResponse {
        WatchGroupsResponse { revision, watch_id: Bytes::from_static(b"registry"), event: Some(event) }
    }

    fn upsert(name: &str) -> Event {
        Event::Upsert(Group { name: name.to_owned(), ..Group::default() })
    }

    fn handle(watch: &mut GroupWatch<String>, revision: u64, event: Event) -> Option<GroupChange<String>> {
        watch.handle(response(revision, event), |group| Some(group.name).filter(|name| name != "bad"))
    }

    #[test]
    fn a_snapshot_counts_once_it_is_complete() {
        let mut watch = GroupWatch::new();
        let begin = || Event::SnapshotBegin(SnapshotBegin { with_private: true });
        assert_eq!(handle(&mut watch, 7, begin()), None);
        assert_eq!(handle(&mut watch, 7, upsert("a")), None);
        assert_eq!(watch.request(Bytes::new(), None).after_revision, 0, "the break came before its end");
        assert_eq!(handle(&mut watch, 7, begin()), None);
        for name in ["a", "bad", "b"] {
            assert_eq!(handle(&mut watch, 7, upsert(name)), None);
        }
        let groups = vec!["a".to_owned(), "b".to_owned()];
        let whole = GroupChange::Snapshot(GroupSnapshot { groups, with_private: true });
        assert_eq!(handle(&mut watch, 7, Event::SnapshotEnd(SnapshotEnd {})), Some(whole));
        let next = watch.request(Bytes::from_static(b"relay"), None);
        assert_eq!((next.after_revision, &next.watch_id[..], &next.relay_id[..]), (7, &b"registry"[..], &b"relay"[..]));
    }

    #[test]
    fn a_watch_resumes_after_the_last_change() {
        let mut watch = GroupWatch::new();
        assert_eq!(handle(&mut watch, 3, upsert("a")), Some(GroupChange::Upsert("a".to_owned())));
        assert_eq!(handle(&mut watch, 4, upsert("bad")), None);
        let deleted = |id: &'static [u8]| Event::Deleted(GroupDeleted { id: id.into(), name: String::new() });
        assert_eq!(handle(&mut watch, 5, deleted(&[1; 16])), Some(GroupChange::Deleted(GroupId([1; 16]))));
        assert_eq!(handle(&mut watch, 6, deleted(&[1; 3])), None, "no group's id");
        assert_eq!(watch.request(Bytes::new(), None).after_revision, 6);
    }
}
