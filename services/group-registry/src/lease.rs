//! Addresses are leased: a group has its address while its relay renews, and loses it when the relay was silent for a
//! day. The group itself stays; see [`crate::regain`].
//!
//! A relay renews at one registry. Others on the same store must not take it for silent, so a registry at which a service
//! renews changes the service's *mark* in the store once an hour, and whoever sees a mark changed counts that as a
//! renewal of this moment. No clock is compared with another's, and each process starts with every lease in full.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{GroupId, RelayId};
use tracing::{info, warn};

use crate::{
    now::Now,
    records::{self, Fate, Group, MARKS},
    registry::Registry,
    services::SERVICE_LEASE,
    store::{Store, StoreError},
};

/// How long a group keeps its address while its relay is silent.
///
/// A relay that is off for the night or mended within a working day finds its groups where their members listen, and
/// after a day nothing is in flight any more: publishers have given up after an hour, and relays have forgotten the
/// clients that were silent.
pub const ADDRESS_LEASE: Duration = Duration::from_secs(24 * 3600);
/// How often a mark changes while its service renews: a lease runs on for this much longer at the registries that know
/// of it by the mark alone.
const MARK_EVERY: Duration = Duration::from_secs(3600);

/// When each service renewed last.
#[derive(Debug)]
pub(crate) struct Leases(Mutex<HashMap<RelayId, Lease>>);

#[derive(Debug, Clone)]
struct Lease {
    /// Here, or by a mark; or the start of the lease.
    renewed: Instant,
    /// Here.
    registered: Option<Instant>,
    /// As it was last seen or written.
    mark: Option<Bytes>,
    /// When it was written here.
    marked: Option<Instant>,
}

impl Lease {
    const fn full(mark: Option<Bytes>, now: Instant) -> Self {
        Self { renewed: now, registered: None, mark, marked: None }
    }
}

impl Leases {
    /// One in full for each service that ever left a mark.
    pub(crate) fn load(store: &Store, now: Now) -> Result<Self, StoreError> {
        let mut leases = HashMap::new();
        store.each(MARKS, |item| {
            let service = records::service_of_key(&item.key)?;
            leases.insert(service, Lease::full(Some(item.entry.value), now.mono));
            Ok::<_, StoreError>(())
        })?;
        Ok(Self(Mutex::new(leases)))
    }

    /// How long ago the service renewed; `None` if there is no lease of it.
    pub(crate) fn silence(&self, service: RelayId, now: Instant) -> Option<Duration> {
        self.leases().get(&service).map(|lease| now.saturating_duration_since(lease.renewed))
    }

    /// Whether the service registers at this registry now.
    pub(crate) fn registers_here(&self, service: RelayId, now: Instant) -> bool {
        let registered = self.leases().get(&service).and_then(|lease| lease.registered);
        registered.is_some_and(|at| now.saturating_duration_since(at) < SERVICE_LEASE)
    }

    pub(crate) fn forget(&self, service: RelayId) {
        self.leases().remove(&service);
    }

    /// Renews; true if the mark is due.
    fn renew(&self, service: RelayId, now: Instant) -> bool {
        let mut leases = self.leases();
        let lease = leases.entry(service).or_insert_with(|| Lease::full(None, now));
        (lease.renewed, lease.registered) = (now, Some(now));
        lease.marked.is_none_or(|at| now.saturating_duration_since(at) >= MARK_EVERY)
    }

    fn note_marked(&self, service: RelayId, mark: Bytes, now: Instant) {
        if let Some(lease) = self.leases().get_mut(&service) {
            (lease.mark, lease.marked) = (Some(mark), Some(now));
        }
    }

    /// A mark as it stands now: one that was not seen before renews, and whoever has no lease begins one.
    fn note_seen(&self, service: RelayId, mark: Option<Bytes>, now: Instant) {
        let mut leases = self.leases();
        let lease = leases.entry(service).or_insert_with(|| Lease::full(mark.clone(), now));
        if lease.mark != mark {
            (lease.mark, lease.renewed) = (mark, now);
        }
    }

    fn has_run_out(&self, service: RelayId, now: Instant) -> bool {
        self.silence(service, now).is_some_and(|time| time >= ADDRESS_LEASE)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<RelayId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// The service is there: its lease begins anew.
    pub(crate) fn renew_lease(&self, now: Now, service: RelayId) {
        if self.leases.renew(service, now.mono)
            && let Err(error) = self.change_mark(now, service)
        {
            warn!(%service, %error, "a lease's mark could not be changed; it is tried again at the next renewal");
        }
    }

    fn change_mark(&self, now: Now, service: RelayId) -> Result<(), StoreError> {
        let key = records::mark_key(service);
        let mark = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        // Changed by another registry meanwhile, which says the same.
        let _changed = match self.store.get(&key)? {
            None => self.store.create(&key, &mark)?.is_ok(),
            Some(entry) => self.store.set(&key, entry.version, &mark)?.is_ok(),
        };
        self.leases.note_marked(service, mark, now.mono);
        Ok(())
    }

    /// Takes the addresses of the groups whose relay was silent for [`ADDRESS_LEASE`]; they rest, and are then free.
    ///
    /// # Errors
    /// [`StoreError`]; what is left is done by the next call.
    pub fn lapse_silent(&self, now: Now) -> Result<(), StoreError> {
        for relay in self.view.load().into_keys() {
            if self.leases.silence(relay, now.mono).is_none_or(|time| time >= MARK_EVERY) {
                let mark = self.store.get(&records::mark_key(relay))?.map(|entry| entry.value);
                self.leases.note_seen(relay, mark, now.mono);
            }
        }
        for group in self.view.those(|g| !g.lapsed && self.leases.has_run_out(g.relay, now.mono)) {
            self.lapse(now, group.id)?;
        }
        Ok(())
    }

    fn lapse(&self, now: Now, id: GroupId) -> Result<(), StoreError> {
        let key = records::group_key(id);
        let _group = self.locks.lock(key.clone());
        loop {
            let Some((version, Fate::Live(group))) = self.fate(id)? else { return Ok(()) };
            // It may have come back since it was looked at.
            if group.lapsed || !self.leases.has_run_out(group.relay, now.mono) {
                self.view.apply(id, version, Some(group));
                return Ok(());
            }
            let claims = self.claims_of(&group)?;
            let lapsed = Group { lapsed: true, ..group };
            let Ok(version) = self.store.set(&key, version, &Fate::Live(lapsed.clone()).encode())? else { continue };
            self.view.apply(id, version, Some(lapsed.clone()));
            info!(group = %id, relay = %lapsed.relay, address = %lapsed.addr, "the relay was silent for a day: the group's address lapsed");
            return self.release_lapsed(now, &lapsed, claims);
        }
    }
}
