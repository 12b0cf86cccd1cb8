//! The registry for asynchronous code: its calls run on blocking threads, a bounded number at a time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tonic::Status;
use tracing::warn;

use crate::{
    address_picker::Endpoint,
    clock::Now,
    create::{CreateError, CreateSpec, RegainError},
    group::Group,
    registry::Registry,
    standby::Standby,
    status::ToStatus as _,
    store::StoreError,
};

/// Calls that run at a time; more wait. Each takes a blocking thread, and those that change something wait for the disk.
const MAX_CALLS: usize = 64;
/// How long a stop waits for calls whose callers are gone; these wait for the disk alone.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a create waits until a relay that has just registered answers its probe.
const RELAY_PROBED: Duration = Duration::from_secs(3);
/// Endpoints that one create or regain tries before it gives up.
const MAX_ATTEMPTS: usize = 32;

#[derive(Clone)]
pub(crate) struct AsyncRegistry {
    registry: Arc<Registry>,
    standby: Arc<Standby>,
    slots: Arc<Semaphore>,
}

/// Releases an endpoint when dropped.
struct Reservation {
    registry: Arc<Registry>,
    reserved: Endpoint,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.registry.release(self.reserved);
    }
}

impl AsyncRegistry {
    pub(crate) fn new(registry: Arc<Registry>, standby: Arc<Standby>) -> Self {
        Self { registry, standby, slots: Arc::new(Semaphore::new(MAX_CALLS)) }
    }

    /// Runs `call` on a blocking thread. It goes on even if the caller is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Registry, Now) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let stopping = |_| Status::unavailable("the registry is stopping");
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(stopping)?;
        let registry = Arc::clone(&self.registry);
        let done = spawn_blocking(move || {
            let outcome = call(&registry, Now::read());
            drop(registry);
            drop(slot);
            outcome
        });
        done.await.map_err(|_| Status::internal("the call ended in a defect of the registry; its log says more"))
    }

    /// Makes a group. Waits for a checked endpoint if the group needs an address of the pool.
    pub(crate) async fn create(&self, spec: CreateSpec) -> Result<Group, Status> {
        let mut services = self.registry.services.changes();
        let deadline = Instant::now() + RELAY_PROBED;
        let checked = loop {
            let checked = {
                let spec = spec.clone();
                self.run(move |registry, now| registry.precheck(now, &spec)).await?
            };
            let is_asked =
                checked == Err(CreateError::NoRelay) && self.registry.services.has_unproven_relay(Now::read());
            if !is_asked || timeout_at(deadline, services.changed()).await.is_err() {
                break checked;
            }
        };
        if let Some(group) = checked.map_err(|e| e.to_status())? {
            return Ok(group);
        }
        for _ in 0..MAX_ATTEMPTS {
            let (endpoint, reservation) = self.endpoint_for(&spec).await.map_err(|e| e.to_status())?;
            let attempt = spec.clone();
            let made = self
                .run(move |registry, now| {
                    let _reservation = reservation;
                    registry.create(now, &attempt, endpoint)
                })
                .await?;
            match made {
                Ok(group) => return Ok(group),
                Err(CreateError::EndpointTaken) => {}
                Err(error) => return Err(error.to_status()),
            }
        }
        Err(CreateError::EndpointTaken.to_status())
    }

    /// Gives a lapsed group its operator's address again, or one of the pool if `from_pool`. `None`: none was free.
    pub(crate) async fn regain(&self, group: &Group, from_pool: bool) -> Result<Option<Group>, RegainError> {
        let id = group.id;
        if let Some(group) = self.regain_by(move |registry, now| registry.regain_own(now, id)).await? {
            return Ok(Some(group));
        }
        for _ in 0..if from_pool { MAX_ATTEMPTS } else { 0 } {
            let reserved = self.standby.take(group.scope).await?;
            let reservation = Reservation { registry: Arc::clone(&self.registry), reserved };
            let regained = self.regain_by(move |registry, now| {
                let _reservation = reservation;
                registry.regain(now, id, reserved)
            });
            match regained.await {
                Ok(group) => return Ok(Some(group)),
                Err(RegainError::EndpointTaken) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn regain_by<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Registry, Now) -> Result<T, RegainError> + Send + 'static,
    ) -> Result<T, RegainError> {
        self.run(call).await.map_err(|status| StoreError::Unavailable(status.message().to_owned()))?
    }

    /// Waits until no call runs any more, so that the store can be closed.
    pub(crate) async fn drained(&self) {
        let all = self.slots.acquire_many(u32::try_from(MAX_CALLS).unwrap_or(u32::MAX));
        if timeout_at(Instant::now() + DRAIN, all).await.is_err() {
            warn!("calls did not end in time; the store closes when they do");
        }
    }

    async fn endpoint_for(&self, spec: &CreateSpec) -> Result<(Endpoint, Option<Reservation>), CreateError> {
        let reserved = match (spec.address, spec.port) {
            (Some(ip), Some(port)) => return Ok((Endpoint { ip, port }, None)),
            (Some(ip), None) => self.registry.pick_port(ip)?,
            (None, Some(_) | None) => self.standby.take(spec.scope).await?,
        };
        let endpoint = Endpoint { port: spec.port.unwrap_or(reserved.port), ..reserved };
        Ok((endpoint, Some(Reservation { registry: Arc::clone(&self.registry), reserved })))
    }
}
