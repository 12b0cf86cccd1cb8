//! Calls that only read.

use bytes::Bytes;
use gaung_proto::{GroupId, RelayId, pb::registry as pb};
use tokio::sync::watch;

use super::Registry;
use crate::{
    clock::Now,
    feed::WatchStep,
    group::Group,
    lookup::{GroupBy, LookupError},
    members::{self, JoinError},
    tables::Tables,
    viewer::{Credentials, Viewer, is_proven},
};

impl Registry {
    /// Finds a group.
    ///
    /// # Errors
    /// [`LookupError::NotFound`].
    pub fn group(&self, by: &GroupBy) -> Result<Group, LookupError> {
        let tables = self.tables();
        let (id, named) = match by {
            GroupBy::Id(id) => (Some(*id), id.to_string()),
            GroupBy::Name(name) => (tables.allocation.named(name.as_str()), name.to_string()),
        };
        let group = id.and_then(|id| tables.catalogue.group(id));
        group.map(|group| Group::clone(group)).ok_or(LookupError::NotFound(named))
    }

    /// Finds a group, if the caller may see it.
    ///
    /// # Errors
    /// [`JoinError::Lookup`] or [`JoinError::Private`].
    pub fn group_for(&self, now: Now, by: &GroupBy, claim: Credentials) -> Result<Group, JoinError> {
        let group = self.group(by)?;
        let tables = self.tables();
        let is_seen = claim.check(&tables).sees(&tables, &self.public_key(), now.unix_ms, &group);
        if is_seen { Ok(group) } else { Err(JoinError::private(by)) }
    }

    /// Lists at most `limit` groups: `everyone` first if `after` is `None`, then the others in order of name after `after`.
    /// Returns also whether there are more.
    #[must_use]
    pub fn groups(&self, after: Option<&str>, limit: usize) -> (Vec<Group>, bool) {
        page(&self.tables(), after, limit, |_| true)
    }

    /// Lists as [`Self::groups`] the groups that the caller may see. The others neither fill a page nor end one.
    #[must_use]
    pub fn groups_for(&self, now: Now, after: Option<&str>, limit: usize, claim: Credentials) -> (Vec<Group>, bool) {
        let tables = self.tables();
        let (viewer, key) = (claim.check(&tables), self.public_key());
        page(&tables, after, limit, |group| viewer.sees(&tables, &key, now.unix_ms, group))
    }

    /// Lists the lasting members and those present, in order of name.
    ///
    /// # Errors
    /// [`LookupError::NotFound`].
    pub fn members(&self, now: Now, id: GroupId) -> Result<Vec<pb::Member>, LookupError> {
        let tables = self.tables();
        Ok(members::list(&tables, tables.live(id)?, self.presences.of(id, now.mono)))
    }

    /// Lists as [`Self::members`], if the caller may see the group.
    ///
    /// # Errors
    /// [`JoinError::Lookup`] or [`JoinError::Private`].
    pub fn members_for(&self, now: Now, group: GroupId, claim: Credentials) -> Result<Vec<pb::Member>, JoinError> {
        self.group_for(now, &GroupBy::Id(group), claim)?;
        Ok(self.members(now, group)?)
    }

    /// Returns at most `limit` changes after revision `after`; a snapshot for `None`. Revisions are dense and belong to
    /// this process.
    #[must_use]
    pub fn watch(&self, after: Option<u64>, limit: usize) -> WatchStep {
        self.tables().catalogue.watch(after, limit)
    }

    /// Notifies of every new revision.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    pub(crate) fn viewer(&self, claim: Credentials) -> Viewer {
        claim.check(&self.tables())
    }

    pub(crate) fn is_proven(&self, service: RelayId, secret: &Bytes) -> bool {
        is_proven(&self.tables(), service, secret)
    }

    pub(crate) fn is_private(&self, id: GroupId) -> bool {
        self.tables().catalogue.group(id).is_some_and(|group| group.private)
    }

    /// Returns how many groups there are.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.tables().catalogue.len()
    }

    /// Returns how many groups have no address.
    #[must_use]
    pub fn lapsed_count(&self) -> usize {
        self.tables().catalogue.groups().filter(|group| group.lapsed).count()
    }

    /// Returns all services that are known.
    #[must_use]
    pub fn services(&self, now: Now) -> Vec<pb::ServiceInfo> {
        self.services.list(now)
    }

    /// Returns the Ed25519 public key that tickets are signed with.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }
}

fn page(tables: &Tables, after: Option<&str>, limit: usize, is_seen: impl Fn(&Group) -> bool) -> (Vec<Group>, bool) {
    let reserved = tables.catalogue.groups().filter(|group| group.reserved && after.is_none());
    let named = tables.allocation.by_name(after).filter_map(|id| tables.catalogue.group(id));
    let mut seen = reserved.chain(named.filter(|group| !group.reserved)).filter(|group| is_seen(group));
    let page = seen.by_ref().take(limit).map(|group| Group::clone(group)).collect();
    (page, seen.next().is_some())
}
