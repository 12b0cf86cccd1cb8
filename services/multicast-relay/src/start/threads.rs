//! The relay's own threads: the workers, each with some groups, and the ingress.

use std::{num::NonZeroUsize, pin::Pin, sync::Arc, thread, time::Instant};

use anyhow::Context as _;
use gaung_engine::{ClaimHasher, Cookies, RepairShares};
use gaung_net::driver::{Batching, Driver, DriverHandle};
use gaung_proto::RelayId;
use rand::Rng as _;
use service_kit::secure::PlaintextPolicy;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Bound, WINDOWS_BYTES};
use crate::{
    failed_openings::FailedOpenings,
    ingress::{Ingress, RouteChange},
    metrics::{DriverFigures, RelayFigures},
    sockets::DataPlane,
    worker::{Completions, Worker, WorkerCommand, WorkerContext, WorkerHandles},
};

/// The worker threads and the ingress thread.
pub(super) struct RelayThreads {
    pub(super) relay: RelayId,
    workers: Vec<DriverHandle<WorkerCommand>>,
    pub(super) ingress: DriverHandle<RouteChange>,
    pub(super) failed_openings: Arc<FailedOpenings>,
    pub(super) claims: ClaimHasher,
    pub(super) figures: RelayFigures,
}

impl RelayThreads {
    pub(super) fn start(bound: &Bound, figures: &RelayFigures) -> anyhow::Result<Self> {
        let (cookies, repair_shares) = (Cookies::new(rand::rng().random()), RepairShares::default());
        let claims = ClaimHasher::new(bound.identity.claims_secret);
        let failed_openings = Arc::new(FailedOpenings::default());
        let plane = Arc::clone(&bound.sockets.plane().borrow());
        let mut workers = Vec::new();
        let count = worker_count(bound.config.workers);
        for number in 0..count {
            let completions = Arc::new(Completions::default());
            let context = WorkerContext {
                log: Arc::clone(&bound.log),
                completions: Arc::clone(&completions),
                failed_openings: Arc::clone(&failed_openings),
                figures: figures.clone(),
                cookies: cookies.clone(),
                repair_shares: repair_shares.clone(),
                claims: claims.clone(),
                believes_devices: bound.config.plaintext == PlaintextPolicy::Any,
                window_bytes: WINDOWS_BYTES / count,
                repair_bytes: bound.config.repair_bytes,
                rate: bound.config.rate,
                pads: bound.config.segmentation.batching() == Batching::Segments,
            };
            let worker = Worker::new(context, Arc::clone(&plane), Instant::now());
            let worker = Driver::spawn(&format!("relay-{number}"), bound.sockets.none(), worker)
                .context("starting a worker thread")?;
            completions.wake(worker.sender());
            workers.push(worker);
        }
        let ingress = Ingress::new(plane, cookies, figures.clone());
        let ingress =
            Driver::spawn("relay-ingress", bound.sockets.none(), ingress).context("starting the ingress thread")?;
        let counters = workers.iter().map(DriverHandle::counters).chain([ingress.counters()]).collect();
        bound.metrics.register(|registry| registry.register_collector(Box::new(DriverFigures(counters))));
        Ok(Self { relay: bound.identity.relay, workers, ingress, failed_openings, claims, figures: figures.clone() })
    }

    pub(super) fn ends(&self) -> Vec<(String, impl Future<Output = ()> + Send + use<>)> {
        let numbered = self.workers.iter().enumerate();
        let workers = numbered.map(|(number, worker)| (format!("worker {number}"), boxed(worker.ended())));
        workers.chain([("ingress".to_owned(), boxed(self.ingress.ended()))]).collect()
    }

    pub(super) fn handles(&self) -> WorkerHandles {
        WorkerHandles::new(self.workers.iter().map(DriverHandle::sender).collect())
    }

    /// Returns a task that hands the sockets to the threads as they change.
    pub(super) fn follow(
        &self,
        mut plane: watch::Receiver<Arc<DataPlane>>,
        stop: CancellationToken,
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let workers = self.handles();
        let ingress = self.ingress.sender();
        async move {
            loop {
                let now = Arc::clone(&plane.borrow_and_update());
                // A thread that has ended ends the relay elsewhere.
                let _ = ingress.send_wait(RouteChange::Sockets(Arc::clone(&now))).await;
                for worker in workers.iter() {
                    let _ = worker.send_wait(WorkerCommand::Sockets(Arc::clone(&now))).await;
                }
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    changed = plane.changed() => if changed.is_err() {
                        stop.cancelled().await;
                        return Ok(());
                    },
                }
            }
        }
    }

    /// Stops the threads and waits until they have ended.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.ingress.stop().context("ingress")?;
        for worker in self.workers {
            worker.stop().context("worker")?;
        }
        Ok(())
    }
}

fn boxed(future: impl Future<Output = ()> + Send + 'static) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(future)
}

fn worker_count(wanted: usize) -> usize {
    if wanted > 0 { wanted } else { thread::available_parallelism().map_or(1, NonZeroUsize::get) }
}
