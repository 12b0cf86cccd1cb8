//! The keeper: opens, ends, moves and reopens groups as the registry, the log and the disk demand, one change at a time.
//!
//! [`KeeperCore`] decides; this file performs what it decides on log, workers, registry and directory.

mod action;
mod core;
mod upkeep;

use std::{sync::Arc, time::Duration};

use gaung_engine::{DEFAULT_WINDOW_BYTES, LogIdentity, RingBudget};
use gaung_log::{Log, Retention};
use gaung_net::driver::CommandSender;
use gaung_proto::{Generation, GroupAddr, GroupId, GroupRetention, GroupTag, RelayId};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{
    action::{KeeperAction, KeeperInput, PhaseChange, ReportAnswer},
    core::KeeperCore,
    upkeep::{RetentionPass, Upkeep},
};
use crate::{
    clock,
    commands::KeeperCommand,
    directory::{Directory, GroupPhase, OpenGroup},
    failed_openings::FailedOpenings,
    feed::GroupFeed,
    group::GroupConfig,
    ingress::RouteChange,
    opening::{self, OpenedGroup},
    policies::GroupPolicies,
    registry::RegistryLink,
    reports::LogReport,
    worker::{AttachGroup, WorkerCommand, WorkerHandles},
};

/// The parts of the relay that the keeper uses.
#[derive(Debug)]
pub(crate) struct KeeperParts {
    pub(crate) relay: RelayId,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) policies: Arc<GroupPolicies>,
    pub(crate) workers: WorkerHandles,
    pub(crate) ingress: CommandSender<RouteChange>,
    pub(crate) registry: Arc<RegistryLink>,
    pub(crate) failed_openings: Arc<FailedOpenings>,
    pub(crate) rings: Arc<RingBudget>,
    pub(crate) ring_bytes: usize,
    pub(crate) retention: Retention,
}

/// The shell around [`KeeperCore`], which performs the core's actions and hands their outcomes back.
#[derive(Debug)]
pub(crate) struct Keeper {
    parts: KeeperParts,
    core: KeeperCore,
    upkeep: Upkeep,
}

/// Time between two tries at opening groups that could not be opened; also the least time between two openings after a
/// failed append.
const RETRY: Duration = Duration::from_millis(250);
/// Time between two passes that purge deleted logs and apply retention.
const UPKEEP: Duration = Duration::from_secs(60);

impl Keeper {
    pub(crate) fn new(parts: KeeperParts) -> Self {
        let core = KeeperCore::new(parts.log.durable(), StdRng::from_rng(&mut rand::rng()));
        Self { parts, core, upkeep: Upkeep::default() }
    }

    /// Opens what the log holds, so that groups are served without the registry.
    pub(crate) async fn open_stored(&mut self) {
        let stored = self.parts.log.groups();
        let live = stored.iter().filter(|stored| stored.deleted_at_ms.is_none());
        let configs = live.filter_map(|stored| match GroupConfig::from_stored(&stored.config) {
            Ok(config) if config.relay == self.parts.relay => Some(config.with_log(stored.position.log)),
            Ok(_) => None,
            Err(error) => {
                warn!(group = %stored.group, %error, "stored group waits for the registry");
                None
            }
        });
        let configs: Vec<_> = configs.collect();
        info!(groups = configs.len(), "opening stored groups");
        self.handle(KeeperInput::Stored(configs)).await;
    }

    /// Executes commands, retries and upkeep, one at a time, until `stop`.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<KeeperCommand>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let failed_openings = Arc::clone(&self.parts.failed_openings);
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut upkeep = interval(UPKEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = commands.recv() => self.execute(command).await,
                failed = failed_openings.next() => {
                    for (group, epoch) in failed {
                        self.handle(KeeperInput::OpeningFailed { group, epoch }).await;
                    }
                }
                _ = retry.tick() => self.handle(KeeperInput::RetryDue).await,
                _ = upkeep.tick() => self.handle(KeeperInput::UpkeepDue).await,
                () = self.upkeep.ended() => self.handle(KeeperInput::UpkeepEnded).await,
            }
        }
        self.upkeep.stop().await;
        Ok(())
    }

    async fn execute(&mut self, command: KeeperCommand) {
        let input = match command {
            KeeperCommand::Snapshot(snapshot) => KeeperInput::Snapshot(snapshot),
            KeeperCommand::Upsert(config) => KeeperInput::Upsert(config),
            KeeperCommand::Delete(group) => KeeperInput::Delete(group),
            KeeperCommand::Refuse(refusal) => KeeperInput::Refuse(refusal),
            KeeperCommand::Barrier(done) => {
                // Whoever waits for it may be gone.
                let _ = done.send(());
                return;
            }
        };
        self.handle(input).await;
    }

    /// Hands an input to the core and performs what follows from it, to the end.
    async fn handle(&mut self, input: KeeperInput) {
        let mut next = Some(input);
        loop {
            if let Some(input) = next.take() {
                let log = &self.parts.log;
                self.core.handle(input, &|group| log.position(group));
            }
            let Some(action) = self.core.poll_action() else { return };
            next = self.perform(action).await;
        }
    }

    /// Performs one action; returns its outcome if it has one.
    async fn perform(&mut self, action: KeeperAction) -> Option<KeeperInput> {
        match action {
            KeeperAction::Open(configs) => return Some(self.open(configs).await),
            KeeperAction::Reset(config) => return Some(self.reset(*config).await),
            KeeperAction::ReportLog { wanted, report } => {
                let answer = self.report(report).await;
                return Some(KeeperInput::Answered { wanted, report, answer });
            }
            KeeperAction::Attach { ready, routes } => self.attach(*ready, routes).await,
            KeeperAction::Detach { group, routes } => self.detach(group, routes).await,
            KeeperAction::Move { group, added, removed, to } => self.move_to(group, added, removed, to).await,
            KeeperAction::PutConfig(config) => self.put_config(*config).await,
            KeeperAction::SetPolicy(group, policy) => self.parts.policies.set(group, policy),
            KeeperAction::DeleteLog(group) => self.delete_log(group).await,
            KeeperAction::Insist { report, refusal } => self.parts.registry.insist(report, refusal).await,
            KeeperAction::ClearDispute(group) => self.parts.registry.note_disputed(group, None),
            KeeperAction::SetPhase(group, phase) => self.set_phase(group, phase),
            KeeperAction::BeginUpkeep(limits) => self.begin_upkeep(limits),
        }
        None
    }

    async fn open(&self, configs: Vec<GroupConfig>) -> KeeperInput {
        let log = Arc::clone(&self.parts.log);
        let opened = spawn_blocking(move || opening::open_all(&*log, configs, DEFAULT_WINDOW_BYTES)).await;
        KeeperInput::Opened(opened.expect("opening does not panic"))
    }

    async fn reset(&self, config: GroupConfig) -> KeeperInput {
        let log = Arc::clone(&self.parts.log);
        let reset = move || {
            let outcome = opening::reset(&*log, &config, DEFAULT_WINDOW_BYTES);
            (config, outcome)
        };
        let outcome = spawn_blocking(reset).await.expect("a reset does not panic");
        KeeperInput::WasReset(Box::new(outcome))
    }

    async fn report(&self, report: LogReport) -> ReportAnswer {
        match self.parts.registry.report(&[report]).await {
            Err(status) => {
                debug!(group = %report.group, reason = status.message(), "cannot ask about a group's log");
                ReportAnswer::NoAnswer
            }
            Ok(refusals) => refusals.into_iter().next().map_or(ReportAnswer::Accepted, ReportAnswer::Refused),
        }
    }

    async fn attach(&self, ready: OpenedGroup, routes: Vec<GroupTag>) {
        let OpenedGroup { config, opened, windows } = ready;
        let group = config.id;
        self.parts.policies.set(group, config.policy.clone());
        let worker = self.parts.workers.of(group).clone();
        let serving = Arc::new(OpenGroup {
            config: Arc::new(config),
            identity: LogIdentity { group, log: opened.log, epoch: opened.epoch },
            worker: worker.clone(),
            feed: Arc::new(GroupFeed::new(opened.head, &self.parts.rings, self.parts.ring_bytes)),
        });
        let (config, feed) = (Arc::clone(&serving.config), Arc::clone(&serving.feed));
        let attach = AttachGroup { config, feed, opened, windows };
        let route = RouteChange::Add { tags: routes, group, worker: worker.clone() };
        let attached = worker.send_wait(WorkerCommand::Attach(Box::new(attach))).await.is_ok();
        // Either fails only while the relay stops.
        if attached && self.parts.ingress.send_wait(route).await.is_ok() {
            self.parts.directory.set(group, GroupPhase::Serving(serving));
        }
    }

    async fn detach(&self, group: GroupId, routes: Vec<GroupTag>) {
        // Both fail only while the relay stops.
        let _ = self.parts.ingress.send_wait(RouteChange::Remove { tags: routes, group }).await;
        let (done, detached) = oneshot::channel();
        if self.parts.workers.of(group).send_wait(WorkerCommand::Detach { group, done }).await.is_ok() {
            let _ = detached.await;
        }
    }

    async fn move_to(
        &self,
        group: GroupId,
        added: Option<GroupTag>,
        removed: Vec<GroupTag>,
        to: Option<(GroupAddr, u8, Generation)>,
    ) {
        let worker = self.parts.workers.of(group);
        let added = added.map(|tag| RouteChange::Add { tags: vec![tag], group, worker: worker.clone() });
        for change in added.into_iter().chain([RouteChange::Remove { tags: removed, group }]) {
            // Fails only while the relay stops, as does the next.
            let _ = self.parts.ingress.send_wait(change).await;
        }
        let _ = worker.send_wait(WorkerCommand::Move { group, to }).await;
    }

    async fn put_config(&self, config: GroupConfig) {
        let (log, group) = (Arc::clone(&self.parts.log), config.id);
        let kept = spawn_blocking(move || log.put_config(group, config.to_stored())).await;
        if let Err(error) = kept.expect("keeping a config does not panic") {
            warn!(%group, %error, "what the registry says of a group could not be kept; it will tell again");
        }
    }

    async fn delete_log(&self, group: GroupId) {
        let log = Arc::clone(&self.parts.log);
        let deleted = spawn_blocking(move || log.delete_group(group, clock::unix_ms() as u64)).await;
        if let Err(error) = deleted.expect("marking as deleted does not panic") {
            warn!(%group, %error, "deleted group could not be marked; its log stays until the next start");
        }
    }

    fn set_phase(&self, group: GroupId, phase: PhaseChange) {
        let directory = &self.parts.directory;
        match phase {
            PhaseChange::Unavailable => directory.set(group, GroupPhase::Unavailable),
            PhaseChange::Suspended => directory.suspend(group),
            PhaseChange::Refused { name, log, head } => directory.set(group, GroupPhase::Refused { name, log, head }),
            PhaseChange::Deleted => {
                directory.remove(group);
                self.parts.policies.remove(group);
            }
        }
    }

    fn begin_upkeep(&mut self, limits: Vec<(GroupId, GroupRetention)>) {
        let (log, directory) = (Arc::clone(&self.parts.log), Arc::clone(&self.parts.directory));
        let (keep, now_ms) = (self.parts.retention, clock::unix_ms() as u64);
        self.upkeep.begin(RetentionPass { log, directory, keep, limits, now_ms });
    }
}
