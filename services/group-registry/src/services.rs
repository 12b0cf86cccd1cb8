//! Where relays and hubs are.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_proto::{RelayId, pb::registry as pb};
use prost::Message as _;
use tokio::sync::watch;
use tracing::info;

use crate::{
    now::Now,
    records::{self, SERVICES},
    registry::Registry,
    store::{Store, StoreError},
};

/// How long a service counts as alive without being heard.
pub const SERVICE_LEASE: Duration = Duration::from_secs(15);
/// How often a service says that it is there.
pub const SERVICE_RENEW: Duration = Duration::from_secs(5);
const MAX_SERVICES: usize = 1024;
/// A service that was silent for this long is forgotten, unless groups are bound to it.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Why a service was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Too many.
    #[error("{MAX_SERVICES} services are registered already; forgotten ones leave after a day of silence")]
    Full,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub(crate) struct Services {
    known: Mutex<HashMap<RelayId, Service>>,
    registered: watch::Sender<()>,
}

#[derive(Debug, Clone)]
struct Service {
    /// `alive` is not kept up to date in here.
    info: pb::ServiceInfo,
    renewed: Instant,
}

impl Service {
    fn is_alive(&self, now: Now) -> bool {
        now.mono.saturating_duration_since(self.renewed) < SERVICE_LEASE
    }

    fn is_relay(&self) -> bool {
        self.info.kind() == pb::ServiceKind::Relay
    }
}

impl Services {
    /// Those of the store, each with a full lease.
    pub(crate) fn load(store: &Store, now: Now) -> Result<Self, StoreError> {
        let mut known = HashMap::new();
        store.each(SERVICES, |item| {
            let info: pb::ServiceInfo = records::decode(&item.key, &item.entry.value)?;
            let id = RelayId::try_from(&info.service_id[..]).map_err(|_| records::damaged(&item.key))?;
            known.insert(id, Service { info, renewed: now.mono });
            Ok::<_, StoreError>(())
        })?;
        Ok(Self { known: Mutex::new(known), registered: watch::Sender::new(()) })
    }

    /// All that are known, those alive marked, in order of kind and id.
    pub(crate) fn list(&self, now: Now) -> Vec<pb::ServiceInfo> {
        let known = self.known();
        let mut list: Vec<_> =
            known.values().map(|s| pb::ServiceInfo { alive: s.is_alive(now), ..s.info.clone() }).collect();
        list.sort_by(|a, b| (a.kind, &a.service_id).cmp(&(b.kind, &b.service_id)));
        list
    }

    /// The living relay with the fewest groups.
    pub(crate) fn least_loaded_relay(&self, now: Now, load: &HashMap<RelayId, usize>) -> Option<RelayId> {
        let known = self.known();
        let relays = known.iter().filter(|(_, s)| s.is_relay() && s.is_alive(now)).map(|(id, _)| *id);
        relays.min_by_key(|id| (load.get(id).copied().unwrap_or(0), *id))
    }

    /// Whether the relay's log survives; `None` if it is not a registered relay.
    pub(crate) fn is_durable_relay(&self, id: RelayId) -> Option<bool> {
        self.known().get(&id).filter(|s| s.is_relay()).map(|s| s.info.durable)
    }

    /// Tells of every registration.
    pub(crate) fn registrations(&self) -> watch::Receiver<()> {
        self.registered.subscribe()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<RelayId, Service>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Registers a service or renews its lease, and with it those of its groups' addresses. Only what changed is
    /// written, and a mark now and then.
    ///
    /// # Errors
    /// [`RegisterError`], each case.
    pub fn register_service(&self, now: Now, id: RelayId, info: pb::ServiceInfo) -> Result<(), RegisterError> {
        let before = {
            let known = self.services.known();
            if known.len() >= MAX_SERVICES && !known.contains_key(&id) {
                return Err(RegisterError::Full);
            }
            known.get(&id).map(|service| service.info.clone())
        };
        if before.as_ref() != Some(&info) {
            self.store_service(id, &info)?;
            info!(service = %id, kind = info.kind().as_str_name(), "service registered");
        }
        let is_relay = info.kind() == pb::ServiceKind::Relay;
        let came_back = !self.leases.registers_here(id, now.mono);
        self.services.known().insert(id, Service { info, renewed: now.mono });
        self.renew_lease(now, id);
        if is_relay && came_back {
            // Another registry may have made groups of it meanwhile, or let leases lapse.
            self.read_groups()?;
        }
        self.services.registered.send_replace(());
        Ok(())
    }

    /// All services that are known.
    #[must_use]
    pub fn services(&self, now: Now) -> Vec<pb::ServiceInfo> {
        self.services.list(now)
    }

    /// The Ed25519 public key that tickets are signed with.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// Lets leases of addresses lapse, and forgets services that have been silent for a day and presences that ran out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn expire(&self, now: Now) -> Result<(), StoreError> {
        self.presences.expire(now.mono);
        self.lapse_silent(now)?;
        let load = self.view.load();
        let gone: Vec<RelayId> = {
            let known = self.services.known();
            let silent = |id: &RelayId| self.leases.silence(*id, now.mono).is_some_and(|time| time > FORGOTTEN);
            known.keys().filter(|id| silent(id) && !load.contains_key(id)).copied().collect()
        };
        for id in gone {
            for key in [records::service_key(id), records::mark_key(id)] {
                if let Some(entry) = self.store.get(&key)? {
                    let _changed_by_its_return = self.store.delete(&key, entry.version)?;
                }
            }
            self.services.known().remove(&id);
            self.leases.forget(id);
        }
        Ok(())
    }

    fn store_service(&self, id: RelayId, info: &pb::ServiceInfo) -> Result<(), StoreError> {
        let key = records::service_key(id);
        let value: Bytes = info.encode_to_vec().into();
        loop {
            let done = match self.store.get(&key)? {
                None => self.store.create(&key, &value)?.is_ok(),
                Some(entry) => self.store.set(&key, entry.version, &value)?.is_ok(),
            };
            if done {
                return Ok(());
            }
        }
    }
}
