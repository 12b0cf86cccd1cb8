//! The keeper: opens, ends and reopens groups as the registry, the log and the disk demand; one change at a time.

mod logs;
mod moving;
mod upkeep;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use gaung_engine::{DEFAULT_WINDOW_BYTES, Identity, RingBudget};
use gaung_log::{Log, OpenError, Retention};
use gaung_net::driver::CommandSender;
use gaung_proto::{Epoch, GroupId, GroupTag, LogId, RelayId, Seq};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::upkeep::Upkeep;
use crate::{
    clock,
    commands::{GroupSnapshot, KeeperCommand},
    directory::{Directory, Phase, Serving},
    feed::Feed,
    group::GroupConfig,
    ingress::RouteChange,
    opening::{self, NotReady, Ready},
    registry::RegistryLink,
    reports::Verdict,
    trouble::Trouble,
    worker::{Attach, WorkerCommand, WorkerHandles},
};

/// What the keeper works with.
#[derive(Debug)]
pub(crate) struct KeeperParts {
    pub(crate) relay: RelayId,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) workers: WorkerHandles,
    pub(crate) ingress: CommandSender<RouteChange>,
    pub(crate) registry: Arc<RegistryLink>,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) rings: Arc<RingBudget>,
    pub(crate) ring_bytes: usize,
    pub(crate) retention: Retention,
}

/// Owns what is known of every group.
#[derive(Debug)]
pub(crate) struct Keeper {
    parts: KeeperParts,
    known: HashMap<GroupId, Known>,
    /// A whole snapshot was applied: a group that comes after it has just been made.
    synced: bool,
    /// Log ids that a memory log had, or did not take over: the registry may still name them.
    past: HashMap<GroupId, Vec<LogId>>,
    upkeep: Upkeep,
}

#[derive(Debug)]
struct Known {
    config: GroupConfig,
    state: State,
    /// Tags whose datagrams reach its worker, the newest last.
    routes: Vec<GroupTag>,
}

#[derive(Debug)]
enum State {
    Serving(Arc<Serving>),
    /// To be opened at the next tick.
    Waiting,
    /// Messages were lost: with a damaged file, or this relay had reported another or a longer log.
    Refused {
        is_damaged: bool,
    },
}

/// Groups that could not be opened are tried again so often; also the least time between two openings after a failed
/// append.
const RETRY: Duration = Duration::from_millis(250);
/// Log ids of one group that are remembered as past.
const PAST_LOGS: usize = 16;
/// Deleted logs are dropped and retention kept so often.
const UPKEEP: Duration = Duration::from_secs(60);

impl Keeper {
    pub(crate) fn new(parts: KeeperParts) -> Self {
        Self { parts, known: HashMap::new(), synced: false, past: HashMap::new(), upkeep: Upkeep::default() }
    }

    /// Opens what the store holds, so that groups are served without the registry.
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
        self.open(configs).await;
    }

    /// Runs until `stop`.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<KeeperCommand>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let trouble = Arc::clone(&self.parts.trouble);
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut upkeep = interval(UPKEEP);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(command) = commands.recv() => self.execute(command).await,
                ended = trouble.next() => {
                    for (group, epoch) in ended {
                        self.ended(group, epoch).await;
                    }
                }
                _ = retry.tick() => self.retry().await,
                _ = upkeep.tick() => self.begin_upkeep(),
                () = self.upkeep.ended() => self.upkeep_ended(),
            }
        }
        self.upkeep.stop().await;
        Ok(())
    }

    async fn execute(&mut self, command: KeeperCommand) {
        match command {
            KeeperCommand::Snapshot(snapshot) => self.snapshot(snapshot).await,
            KeeperCommand::Upsert(config) => self.upsert(*config).await,
            KeeperCommand::Delete(group) => self.delete(group).await,
            KeeperCommand::Refuse(refusal) => self.refuse(refusal).await,
            KeeperCommand::Barrier(done) => drop(done.send(())),
        }
    }

    async fn snapshot(&mut self, snapshot: GroupSnapshot) {
        let GroupSnapshot { groups: configs, with_private } = snapshot;
        let there: HashSet<GroupId> = configs.iter().map(|config| config.id).collect();
        // A registry that does not show private groups has not deleted them.
        let is_told_of = |known: &Known| with_private || !known.config.private;
        let gone = self.known.iter().filter(|(id, known)| !there.contains(*id) && is_told_of(known));
        let gone: Vec<GroupId> = gone.map(|(id, _)| *id).collect();
        for group in gone {
            self.delete(group).await;
        }
        let (known, new): (Vec<_>, Vec<_>) =
            configs.into_iter().partition(|config| self.known.contains_key(&config.id));
        for config in known {
            self.upsert(config).await;
        }
        let new = new.into_iter().map(|config| self.first_log(config)).collect();
        self.open(new).await;
        self.synced = true;
    }

    async fn upsert(&mut self, config: GroupConfig) {
        let Some(known) = self.known.get(&config.id) else {
            let config = self.first_log(config);
            self.open(vec![config]).await;
            return;
        };
        let config = config.after(&known.config);
        if known.config.log == config.log && known.config.keep != config.keep {
            self.limit(config.id, config.keep).await;
        }
        let Some(known) = self.known.get(&config.id) else { return };
        if known.config.log != config.log {
            self.change_log(config).await;
        } else if known.config.moves_to(&config) && matches!(known.state, State::Serving(_)) {
            if known.config != config {
                self.move_to(config).await;
            }
        } else if known.config != config {
            let refused = if let State::Refused { is_damaged } = known.state { Some(is_damaged) } else { None };
            self.end(config.id).await;
            match refused {
                Some(is_damaged) => self.set_refused(config, is_damaged),
                None => self.open(vec![config]).await,
            }
        }
    }

    async fn open(&mut self, configs: Vec<GroupConfig>) {
        if configs.is_empty() {
            return;
        }
        for config in &configs {
            self.parts.directory.set(config.id, Phase::Unavailable);
        }
        let log = Arc::clone(&self.parts.log);
        let opened = spawn_blocking(move || opening::open_all(&*log, configs, DEFAULT_WINDOW_BYTES)).await;
        for (config, outcome) in opened.expect("opening does not panic") {
            self.opened(config, outcome).await;
        }
    }

    async fn opened(&mut self, config: GroupConfig, outcome: Result<Ready, NotReady>) {
        let group = config.id;
        match outcome {
            Ok(ready) => self.serve(ready).await,
            Err(NotReady::Open(OpenError::OtherLog { stored })) => {
                let head = self.parts.log.position(group).map_or(Seq::ZERO, |position| position.head);
                match self.verdict(&config, stored, head).await {
                    Verdict::Keep | Verdict::Insist => Box::pin(self.open(vec![config.with_log(stored)])).await,
                    Verdict::Begin => self.begin_anew(config).await,
                    Verdict::Lost => self.set_refused(config.with_log(stored), false),
                }
            }
            Err(NotReady::TailLost { head }) => {
                error!(%group, %head, "acknowledged messages were lost with a damaged file; `gaung group reset` starts anew");
                self.set_refused(config, true);
            }
            Err(NotReady::Open(OpenError::Deleted)) => self.parts.directory.remove(group),
            Err(
                error @ (NotReady::Open(OpenError::NoSuchLog | OpenError::Io(_))
                | NotReady::Read(_)
                | NotReady::Write(_)),
            ) => {
                debug!(%group, %error, "group cannot be opened; will be tried again");
                self.set_waiting(config);
            }
        }
    }

    async fn serve(&mut self, ready: Ready) {
        let Ready { config, opened, windows } = ready;
        let group = config.id;
        let worker = self.parts.workers.of(group).clone();
        let feed = Arc::new(Feed::new(opened.head, &self.parts.rings, self.parts.ring_bytes));
        let serving = Arc::new(Serving {
            config: Arc::new(config.clone()),
            identity: Identity { group, log: opened.log, epoch: opened.epoch },
            worker: worker.clone(),
            feed: Arc::clone(&feed),
        });
        debug!(%group, epoch = %opened.epoch, head = %opened.head, "group opened");
        let attach = Attach { config: Arc::clone(&serving.config), feed, opened, windows };
        let routes = config.tags();
        let route = RouteChange::Add { tags: routes.clone(), group, worker: worker.clone() };
        let attached = worker.send_wait(WorkerCommand::Attach(Box::new(attach))).await.is_ok();
        if !attached || self.parts.ingress.send_wait(route).await.is_err() {
            // Only while stopping.
            return;
        }
        self.parts.directory.set(group, Phase::Serving(Arc::clone(&serving)));
        self.known.insert(group, Known { config, state: State::Serving(serving), routes });
    }

    /// Takes no more messages of the group; what waits is refused.
    async fn end(&mut self, group: GroupId) {
        self.parts.directory.set(group, Phase::Unavailable);
        let Some(known) = self.known.get_mut(&group) else { return };
        let State::Serving(serving) = std::mem::replace(&mut known.state, State::Waiting) else { return };
        let route = RouteChange::Remove { tags: std::mem::take(&mut known.routes), group };
        let _ = self.parts.ingress.send_wait(route).await;
        let (done, ended) = oneshot::channel();
        if serving.worker.send_wait(WorkerCommand::Detach { group, done }).await.is_ok() {
            let _ = ended.await;
        }
    }

    /// A worker gave up an opening.
    async fn ended(&mut self, group: GroupId, epoch: Epoch) {
        let current = self.known.get(&group).and_then(|known| match &known.state {
            State::Serving(serving) => Some(Arc::clone(serving)).filter(|serving| serving.identity.epoch == epoch),
            State::Waiting | State::Refused { .. } => None,
        });
        if let Some(serving) = current {
            warn!(%group, "group is not available and will be opened anew");
            self.end(group).await;
            self.parts.directory.keep_readable(group, serving);
        }
    }

    async fn delete(&mut self, group: GroupId) {
        if !self.known.contains_key(&group) {
            return;
        }
        self.end(group).await;
        self.known.remove(&group);
        self.parts.directory.remove(group);
        info!(%group, "group deleted");
        let log = Arc::clone(&self.parts.log);
        let deleted = spawn_blocking(move || log.delete_group(group, clock::unix_ms() as u64)).await;
        if let Err(error) = deleted.expect("marking as deleted does not panic") {
            warn!(%group, %error, "deleted group could not be marked; its log stays until the next start");
        }
    }

    async fn retry(&mut self) {
        let waiting = self.known.values().filter(|known| matches!(known.state, State::Waiting));
        let configs: Vec<_> = waiting.map(|known| known.config.clone()).collect();
        self.open(configs).await;
    }

    fn set_waiting(&mut self, config: GroupConfig) {
        self.parts.directory.set(config.id, Phase::Unavailable);
        self.known.insert(config.id, Known { config, state: State::Waiting, routes: Vec::new() });
    }
}
