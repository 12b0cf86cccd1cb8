//! The leases of services. A group has its address while its relay renews, and loses it when the relay was silent for a
//! day. The group itself stays, and gets an address again once the relay is back.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_proto::RelayId;

use crate::services::SERVICE_LEASE;

/// How long a group keeps its address while its relay is silent.
///
/// A relay that is off for the night or mended within a working day finds its groups where their members listen, and
/// after a day nothing is in flight any more: publishers have given up after an hour, and relays have forgotten the
/// clients that were silent.
pub const ADDRESS_LEASE: Duration = Duration::from_secs(24 * 3600);

/// The leases of all services. Time is monotonic, and each process starts with every lease in full.
#[derive(Debug)]
pub(crate) struct Leases(Mutex<BTreeMap<RelayId, Lease>>);

#[derive(Debug, Clone, Copy)]
struct Lease {
    /// The last renewal, or the start of this process.
    renewed: Instant,
    /// Whether the service has renewed since this process started.
    is_heard: bool,
}

impl Leases {
    pub(crate) fn new(services: impl Iterator<Item = RelayId>, now: Instant) -> Self {
        Self(Mutex::new(services.map(|id| (id, Lease { renewed: now, is_heard: false })).collect()))
    }

    pub(crate) fn renew(&self, service: RelayId, now: Instant) {
        self.lock().insert(service, Lease { renewed: now, is_heard: true });
    }

    pub(crate) fn forget(&self, service: RelayId) {
        self.lock().remove(&service);
    }

    /// Returns the services that were silent for at least `time`.
    pub(crate) fn silent(&self, time: Duration, now: Instant) -> Vec<RelayId> {
        let leases = self.lock();
        let silent = leases.iter().filter(|(_, lease)| now.saturating_duration_since(lease.renewed) >= time);
        silent.map(|(id, _)| *id).collect()
    }

    /// Returns whether the service has renewed lately, and is not only known from the store.
    pub(crate) fn is_heard(&self, service: RelayId, now: Instant) -> bool {
        let lease = self.lock().get(&service).copied();
        lease.is_some_and(|lease| lease.is_heard && now.saturating_duration_since(lease.renewed) < SERVICE_LEASE)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RelayId, Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
