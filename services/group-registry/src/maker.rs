//! Calls of the registry from asynchronous code: on blocking threads, a bounded number at a time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tonic::Status;
use tracing::warn;

use crate::{
    book::Pair,
    create::{CreateError, CreateSpec, RegainError},
    group::Group,
    now::Now,
    registry::Registry,
    standby::Standby,
    status::ToStatus as _,
    store::StoreError,
};

/// Calls at work; more wait. Each of them takes a blocking thread, and those that change something wait for the disk.
const AT_WORK: usize = 64;
/// What callers left at work waits for the disk alone.
const LAST_CALLS: Duration = Duration::from_secs(1);
/// How long a create waits for a relay that has just registered to answer.
const RELAY_ASKED: Duration = Duration::from_secs(3);
/// Pairs that one create or regain tries.
const PAIRS: usize = 32;

#[derive(Clone)]
pub(crate) struct Maker {
    registry: Arc<Registry>,
    standby: Arc<Standby>,
    slots: Arc<Semaphore>,
}

/// Ends a pair's loan when dropped.
struct Loan {
    registry: Arc<Registry>,
    lent: Pair,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.registry.give_back(self.lent);
    }
}

impl Maker {
    pub(crate) fn new(registry: Arc<Registry>, standby: Arc<Standby>) -> Self {
        Self { registry, standby, slots: Arc::new(Semaphore::new(AT_WORK)) }
    }

    /// Runs `call` on a blocking thread. A caller that goes away does not stop it.
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

    /// Makes a group, waiting for a pair that was listened to where it needs one.
    pub(crate) async fn create(&self, spec: CreateSpec) -> Result<Group, Status> {
        let mut services = self.registry.services.changes();
        let deadline = Instant::now() + RELAY_ASKED;
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
        for _ in 0..PAIRS {
            let (pair, loan) = self.pair_for(&spec).await.map_err(|e| e.to_status())?;
            let attempt = spec.clone();
            let made = self
                .run(move |registry, now| {
                    let _loan = loan;
                    registry.create(now, &attempt, pair)
                })
                .await?;
            match made {
                Ok(group) => return Ok(group),
                Err(CreateError::PairTaken) => {}
                Err(error) => return Err(error.to_status()),
            }
        }
        Err(CreateError::PairTaken.to_status())
    }

    /// Gives a lapsed group the operator's address again, or a pair of the pool if `from_pool`. `None`: it has none still.
    pub(crate) async fn regain(&self, group: &Group, from_pool: bool) -> Result<Option<Group>, RegainError> {
        let id = group.id;
        if let Some(group) = self.regain_by(move |registry, now| registry.regain_own(now, id)).await? {
            return Ok(Some(group));
        }
        for _ in 0..if from_pool { PAIRS } else { 0 } {
            let lent = self.standby.take(group.scope).await?;
            let loan = Loan { registry: Arc::clone(&self.registry), lent };
            let regained = self.regain_by(move |registry, now| {
                let _loan = loan;
                registry.regain(now, id, lent)
            });
            match regained.await {
                Ok(group) => return Ok(Some(group)),
                Err(RegainError::PairTaken) => {}
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

    /// Waits until no call is at work any more, so that the store can be closed; callers that went away leave theirs.
    pub(crate) async fn settled(&self) {
        let all = self.slots.acquire_many(u32::try_from(AT_WORK).unwrap_or(u32::MAX));
        if timeout_at(Instant::now() + LAST_CALLS, all).await.is_err() {
            warn!("calls did not end in time; the store closes when they do");
        }
    }

    async fn pair_for(&self, spec: &CreateSpec) -> Result<(Pair, Option<Loan>), CreateError> {
        let lent = match (spec.address, spec.port) {
            (Some(ip), Some(port)) => return Ok((Pair { ip, port }, None)),
            (Some(ip), None) => self.registry.pick_port(ip)?,
            (None, Some(_) | None) => self.standby.take(spec.scope).await?,
        };
        let pair = Pair { port: spec.port.unwrap_or(lent.port), ..lent };
        Ok((pair, Some(Loan { registry: Arc::clone(&self.registry), lent })))
    }
}
