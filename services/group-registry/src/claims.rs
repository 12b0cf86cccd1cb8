//! Taking claims back: of creates that were given up, of groups that were deleted, and of groups whose lease lapsed.
//!
//! A lapsed group exists, so that a claim of its own may be one that is about to be used: another registry may be giving
//! it an address again. That ends with a change of the group's record from the version that was read before the claims
//! were made. So whoever takes such a claim back reads it, then writes the record over as it is (`fence`), then changes
//! the claim from the version that was read. Either the record has the address by then, or the other's change of the
//! record fails and it starts again; and it writes claims that it finds to be its own over, so that one which is about
//! to be taken back is not relied upon.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_log::kv::{Entry, Version, Write};
use gaung_proto::GroupId;
use tracing::info;

use crate::{
    address::Low23,
    book::Pair,
    create::CreateSpec,
    now::Now,
    records::{
        self, ADDRESSES, AddressClaim, Fate, Group, Holder, INVITES, MEMBERS, NAMES, PORTS, REQUESTS, RequestClaim,
        StoredInvite,
    },
    registry::Registry,
    store::{Exists, StoreError},
};

/// How long claims without a record are left to a create that may be under way at another registry. Any value is safe.
const PENDING_GRACE: Duration = Duration::from_secs(5);
const MAX_PENDING: usize = 16 * 1024;
/// How long the request of a deleted group is still known.
const REQUEST_KEPT_MS: i64 = 24 * 3600 * 1000;

/// Claims of one group, as they were read.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    address: Option<Entry>,
    port: Option<Entry>,
}

impl Registry {
    /// Makes sure that `id` never begins to exist, if it has not yet; what became of it.
    pub(crate) fn abort(&self, id: GroupId) -> Result<Fate, StoreError> {
        let key = records::group_key(id);
        let fate = match self.store.create(&key, &Fate::Aborted.encode())? {
            Ok(_) => Fate::Aborted,
            Err(Exists(entry)) => Fate::decode(&key, &entry.value)?,
        };
        self.pending().remove(&id);
        Ok(fate)
    }

    /// What became of `id`. `None`: its create may be under way. One that has been so for long is aborted here.
    pub(crate) fn settled(&self, now: Now, id: GroupId) -> Result<Option<Fate>, StoreError> {
        if let Some((_, fate)) = self.fate(id)? {
            self.pending().remove(&id);
            return Ok(Some(fate));
        }
        let is_old = {
            let mut pending = self.pending();
            if pending.len() >= MAX_PENDING {
                pending.clear();
            }
            let first_seen = *pending.entry(id).or_insert(now.mono);
            now.mono.saturating_duration_since(first_seen) >= PENDING_GRACE
        };
        if is_old { self.abort(id).map(Some) } else { Ok(None) }
    }

    /// Takes back all claims of an aborted group.
    pub(crate) fn release_unborn(
        &self,
        now: Now,
        id: GroupId,
        spec: &CreateSpec,
        pair: Pair,
    ) -> Result<(), StoreError> {
        self.release_key(&records::name_key(&spec.name), id)?;
        self.release_unused_address(now, Low23::of(pair.ip), id)?;
        self.release_unused_port(pair.port, id)?;
        let key = records::request_key(spec.request);
        if let Some(entry) = self.store.get(&key)?
            && RequestClaim::decode(&key, &entry.value)?.group == id
        {
            let _changed_by_its_next_attempt = self.store.delete(&key, entry.version)?;
        }
        Ok(())
    }

    /// Takes back an address that `holder` claimed and does not have. It rests if it was used.
    pub(crate) fn release_unused_address(&self, now: Now, address: Low23, holder: GroupId) -> Result<(), StoreError> {
        let key = records::address_key(address);
        let Some(entry) = self.store.get(&key)? else { return Ok(()) };
        let claim = AddressClaim::decode(&key, &entry.value)?;
        if claim.holder != Holder::Group(holder) {
            return Ok(());
        }
        let left = match self.fate(holder)? {
            None => return Ok(()),
            Some((_, Fate::Live(group))) if group.holds(claim.ip) => return Ok(()),
            Some((_, Fate::Deleted { group, .. })) if group.addr.ip() == claim.ip => return Ok(()),
            Some((version, Fate::Live(group))) if group.lapsed => {
                if !self.fence(&group, version)? {
                    return Ok(());
                }
                if group.addr.ip() == claim.ip { Holder::Resting } else { Holder::Nobody }
            }
            Some((_, Fate::Live(_) | Fate::Deleted { .. } | Fate::Aborted)) => Holder::Nobody,
        };
        self.leave_address(now, address, &entry, left)
    }

    /// Takes back a port that `holder` claimed and does not have.
    pub(crate) fn release_unused_port(&self, port: u16, holder: GroupId) -> Result<(), StoreError> {
        let key = records::port_key(port);
        let Some(entry) = self.store.get(&key)? else { return Ok(()) };
        if records::claimant(&key, &entry.value)? != holder {
            return Ok(());
        }
        match self.fate(holder)? {
            None => return Ok(()),
            Some((_, Fate::Live(group))) if group.holds_port(port) => return Ok(()),
            Some((version, Fate::Live(group))) if group.lapsed && !self.fence(&group, version)? => return Ok(()),
            Some((_, Fate::Live(_) | Fate::Deleted { .. } | Fate::Aborted)) => {}
        }
        self.leave_port(port, &entry)
    }

    /// Makes whoever is changing the record of a lapsed group start again; false if it was changed meanwhile.
    fn fence(&self, group: &Group, version: Version) -> Result<bool, StoreError> {
        let key = records::group_key(group.id);
        let Ok(version) = self.store.set(&key, version, &Fate::Live(group.clone()).encode())? else { return Ok(false) };
        self.view.apply(group.id, version, Some(group.clone()));
        Ok(true)
    }

    /// The claims that a group has on its address and port, to be taken back once its record has lapsed.
    pub(crate) fn claims_of(&self, group: &Group) -> Result<Claims, StoreError> {
        let mut claims = Claims::default();
        let key = records::address_key(group.address());
        if let Some(entry) = self.store.get(&key)?
            && AddressClaim::decode(&key, &entry.value)?.holder == Holder::Group(group.id)
        {
            claims.address = Some(entry);
        }
        let key = records::port_key(group.addr.port());
        if let Some(entry) = self.store.get(&key)?
            && records::claimant(&key, &entry.value)? == group.id
        {
            claims.port = Some(entry);
        }
        Ok(claims)
    }

    /// Takes back what a group had until it lapsed. `claims` were read before its record was changed.
    pub(crate) fn release_lapsed(&self, now: Now, group: &Group, claims: Claims) -> Result<(), StoreError> {
        if let Some(entry) = claims.address {
            self.leave_address(now, group.address(), &entry, Holder::Resting)?;
        }
        if let Some(entry) = claims.port {
            return self.leave_port(group.addr.port(), &entry);
        }
        self.book.note_port_free(group.addr.port());
        Ok(())
    }

    fn leave_address(&self, now: Now, address: Low23, entry: &Entry, holder: Holder) -> Result<(), StoreError> {
        let key = records::address_key(address);
        let left = AddressClaim { holder, ..AddressClaim::decode(&key, &entry.value)? };
        if self.store.set(&key, entry.version, &left.encode())?.is_ok() {
            self.note_address(address, holder, now);
        }
        Ok(())
    }

    fn leave_port(&self, port: u16, entry: &Entry) -> Result<(), StoreError> {
        if self.store.delete(&records::port_key(port), entry.version)?.is_ok() {
            self.book.note_port_free(port);
        }
        Ok(())
    }

    /// Starts the quarantine of a deleted group's address.
    pub(crate) fn rest_address(&self, now: Now, group: &Group) -> Result<(), StoreError> {
        let key = records::address_key(group.address());
        let Some(entry) = self.store.get(&key)? else { return Ok(()) };
        if AddressClaim::decode(&key, &entry.value)?.holder != Holder::Group(group.id) {
            return Ok(());
        }
        self.leave_address(now, group.address(), &entry, Holder::Resting)
    }

    /// Takes back all claims of a deleted group, and its members. Its request stays known for a day.
    pub(crate) fn release_deleted(&self, now: Now, group: &Group) -> Result<(), StoreError> {
        self.release_key(&records::name_key(&group.name), group.id)?;
        self.rest_address(now, group)?;
        if group.port_claimed {
            self.release_unused_port(group.addr.port(), group.id)?;
        } else {
            self.book.note_port_free(group.addr.port());
        }
        let mut gone = Vec::new();
        self.store.each(&records::members_prefix(group.id), |item| {
            gone.push(Write::delete(item.key, item.entry.version));
            Ok::<_, StoreError>(())
        })?;
        let head = records::head_key(group.id);
        gone.extend(self.store.get(&head)?.map(|entry| Write::delete(head, entry.version)));
        // What stays is found again by the next reconciliation.
        drop(self.store.write_loosely(gone));
        Ok(())
    }

    /// Removes a key whose value is this group id; true if it was.
    fn release_key(&self, key: &[u8], id: GroupId) -> Result<bool, StoreError> {
        match self.store.get(key)? {
            Some(entry) if records::claimant(key, &entry.value)? == id => {
                Ok(self.store.delete(key, entry.version)?.is_ok())
            }
            Some(_) | None => Ok(false),
        }
    }

    /// Looks through everything that was claimed and takes back what no group has. `at_start`: creates that are not
    /// decided are aborted at once, since those of this process have ended with the process before it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reconcile(&self, now: Now, at_start: bool) -> Result<(), StoreError> {
        let mut fates = HashMap::new();
        let mut released = 0_usize;
        let mut fate_of = |id: GroupId| -> Result<Option<Fate>, StoreError> {
            if let Some(fate) = fates.get(&id) {
                return Ok(Some(Fate::clone(fate)));
            }
            let fate = match self.settled(now, id)? {
                None if at_start => Some(self.abort(id)?),
                fate => fate,
            };
            fates.extend(fate.clone().map(|fate| (id, fate)));
            Ok(fate)
        };
        self.store.each(REQUESTS, |item| {
            let stale = match fate_of(RequestClaim::decode(&item.key, &item.entry.value)?.group)? {
                Some(Fate::Aborted) => true,
                Some(Fate::Deleted { at_unix_ms, .. }) => now.unix_ms.saturating_sub(at_unix_ms) > REQUEST_KEPT_MS,
                Some(Fate::Live(_)) | None => false,
            };
            if stale {
                released += usize::from(self.store.delete(&item.key, item.entry.version)?.is_ok());
            }
            Ok::<_, StoreError>(())
        })?;
        self.store.each(NAMES, |item| {
            let stale = match fate_of(records::claimant(&item.key, &item.entry.value)?)? {
                Some(Fate::Live(group)) => records::name_key(&group.name) != item.key,
                Some(Fate::Deleted { .. } | Fate::Aborted) => true,
                None => false,
            };
            if stale {
                released += usize::from(self.store.delete(&item.key, item.entry.version)?.is_ok());
            }
            Ok::<_, StoreError>(())
        })?;
        self.store.each(ADDRESSES, |item| {
            let claim = AddressClaim::decode(&item.key, &item.entry.value)?;
            let Holder::Group(holder) = claim.holder else { return Ok(()) };
            match fate_of(holder)? {
                Some(Fate::Deleted { group, .. }) if group.addr.ip() == claim.ip => self.rest_address(now, &group),
                Some(_) => self.release_unused_address(now, records::address_of_key(&item.key)?, holder),
                None => Ok(()),
            }
        })?;
        self.store.each(PORTS, |item| {
            let holder = records::claimant(&item.key, &item.entry.value)?;
            fate_of(holder)?;
            self.release_unused_port(records::port_of_key(&item.key)?, holder)
        })?;
        self.forget_people_of_deleted(now)?;
        self.read_groups()?;
        if released > 0 {
            info!(released, "claims of unfinished creates taken back");
        }
        Ok(())
    }

    fn forget_people_of_deleted(&self, now: Now) -> Result<(), StoreError> {
        let mut last: Option<(GroupId, bool)> = None;
        self.store.each(MEMBERS, |item| {
            let id = item.key.get(MEMBERS.len()..).and_then(|rest| rest.first_chunk()).map(|id| GroupId(*id));
            let id = id.ok_or_else(|| records::damaged(&item.key))?;
            let is_live = match last {
                Some((known, is_live)) if known == id => is_live,
                Some(_) | None => matches!(self.fate(id)?, Some((_, Fate::Live(_)))),
            };
            last = Some((id, is_live));
            if !is_live {
                let _changed_means_gone = self.store.delete(&item.key, item.entry.version)?;
            }
            Ok::<_, StoreError>(())
        })?;
        self.store.each(INVITES, |item| {
            let invite: StoredInvite = records::decode(&item.key, &item.entry.value)?;
            let id = records::claimant(&item.key, &invite.group_id)?;
            let is_live = matches!(self.fate(id)?, Some((_, Fate::Live(_))));
            if !is_live || invite.expires_unix_ms < now.unix_ms - REQUEST_KEPT_MS {
                let _changed_means_used = self.store.delete(&item.key, item.entry.version)?;
            }
            Ok::<_, StoreError>(())
        })
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<GroupId, Instant>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
