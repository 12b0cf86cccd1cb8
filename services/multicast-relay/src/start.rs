//! Starts the relay from its settings, runs it, and shuts it down.

mod threads;

use std::{
    net::{SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use gaung_engine::{DEFAULT_WINDOW_BYTES, RingBudget};
use gaung_log::{DiskOptions, Log, MemoryLog, SegmentLog};
use gaung_proto::{
    RelayId,
    pb::{
        self,
        relay::relay_service_server::{self, RelayServiceServer},
    },
};
use gaung_site::Role;
use service_kit::{
    bind::listen,
    health_client::instance_name,
    metrics::{self as metrics_page, Metrics},
    readiness::Readiness,
    rpc::{LocalChannel, LocalListener, MAX_MESSAGE_BYTES, RpcLimits, RpcServer, ServiceEndpoint, local},
    secure::{EnrolledService, SecurePort, ServiceCalls, ServiceCredentials, ServiceEnrolment},
    share::{Budget, SharePool},
    supervise::Tasks,
};
use tokio::{net::TcpListener, sync::mpsc, task::spawn_blocking, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;
use tracing::{info, warn};

use self::threads::RelayThreads;
use crate::{
    access::GroupAccess,
    budget,
    config::{Config, LogKind},
    directory::Directory,
    identity::RelayIdentity,
    keeper::{Keeper, KeeperParts},
    local::LocalPublisher,
    lookup::GroupLookup,
    metrics::{RelayFigures, RingFigures},
    policies::GroupPolicies,
    registry::{self, RegistryLink, RelayListing},
    rpc::{
        MAX_FOLLOWS, MAX_FOLLOWS_EACH, MAX_READS, MAX_READS_EACH, MAX_WATCHES, MAX_WATCHES_EACH, PUBLISH_BUDGET,
        PUBLISH_BUDGET_EACH, RelayCalls, RelayParts, Reporters,
    },
    sockets::DataSockets,
};

/// A relay whose sockets are bound and whose log is open, but which does not serve yet.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    identity: RelayIdentity,
    credentials: Option<ServiceCredentials>,
    log: Arc<dyn Log>,
    directory: Arc<Directory>,
    sockets: DataSockets,
    grpc: TcpListener,
    local: (LocalChannel, LocalListener),
    metrics_listener: Option<TcpListener>,
    readiness: Readiness,
    registered: Readiness,
    metrics: Metrics,
    /// Bytes that the log may take on its disk; `None` for no limit.
    log_bytes: Option<u64>,
}

/// Bytes of the client windows of all groups together: room for 16 full ones.
const WINDOWS_BYTES: usize = 16 * DEFAULT_WINDOW_BYTES;
/// Commands that may wait for the keeper; whoever sends more waits.
const KEEPER_COMMANDS: usize = 1024;
/// Time that tasks of ended calls have to finish; they lost their streams and end by themselves.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Opens the log and binds all sockets.
///
/// # Errors
/// What cannot be had, and which setting changes it: data folder, interface, port.
pub async fn bind(config: Config) -> anyhow::Result<Bound> {
    let settings = config.clone();
    bind_with(config, move || open_log(&settings)).await
}

/// Binds a relay with a log that the caller has opened, such as one on a disk that fails in tests.
///
/// # Errors
/// As [`bind`].
pub async fn bind_on(config: Config, log: Arc<dyn Log>) -> anyhow::Result<Bound> {
    let data = config.data.clone();
    bind_with(config, move || Ok((RelayIdentity::load(data.as_deref())?, log, None))).await
}

async fn bind_with(
    config: Config,
    open: impl FnOnce() -> anyhow::Result<(RelayIdentity, Arc<dyn Log>, Option<u64>)> + Send + 'static,
) -> anyhow::Result<Bound> {
    let sockets = DataSockets::open(&config.iface, config.udp_port, config.segmentation.batching())?;
    let grpc = listen("gRPC", config.grpc_listen, "--grpc-listen").await?;
    let metrics_listener = match config.metrics_listen {
        Some(addr) => Some(listen("metrics", addr, "--metrics-listen").await?),
        None => None,
    };
    let (identity, log, log_bytes) = spawn_blocking(open).await.context("opening the log")??;
    Ok(Bound {
        config,
        identity,
        credentials: None,
        log,
        directory: Arc::default(),
        sockets,
        grpc,
        local: local(),
        metrics_listener,
        readiness: Readiness::new(),
        registered: Readiness::new(),
        metrics: Metrics::new(),
        log_bytes,
    })
}

/// Opens identity and log; returns also the bytes that the log may take.
fn open_log(config: &Config) -> anyhow::Result<(RelayIdentity, Arc<dyn Log>, Option<u64>)> {
    let identity = RelayIdentity::load(config.data.as_deref())?;
    match (config.log, &config.data) {
        (LogKind::Memory, _) => Ok((identity, Arc::new(MemoryLog::new(config.memory_bytes)), None)),
        (LogKind::Disk, None) => anyhow::bail!("a log on disk needs a folder; give --data, or --log memory"),
        (LogKind::Disk, Some(data)) => {
            let folder = data.join("log");
            let limit = config.log_bytes.bytes(&folder).context("--data")?;
            let log = SegmentLog::open(&folder, disk_options(limit)).context("--data")?;
            for damage in log.damages() {
                warn!(?damage, "a damaged log file was set aside; the others are served");
            }
            match limit {
                Some(limit_bytes) => {
                    info!(limit_bytes, used_bytes = log.stored_bytes(), "budget of the log (--log-bytes)")
                }
                None => info!(used_bytes = log.stored_bytes(), "the log has no budget (--log-bytes none)"),
            }
            Ok((identity, Arc::new(log), limit))
        }
    }
}

/// Chooses the size of the log's files. Space is reclaimed by whole files, so a small log needs small ones.
fn disk_options(limit: Option<u64>) -> DiskOptions {
    let default = DiskOptions::default();
    let file_bytes = limit.map_or(default.file_bytes, |limit| (limit / LOG_FILES).min(default.file_bytes));
    DiskOptions { file_bytes, ..default }
}

/// Least number of files in a log at its limit.
const LOG_FILES: u64 = 16;

impl Bound {
    /// Returns the address of the gRPC server.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn grpc_addr(&self) -> std::io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Has the gRPC server speak TLS, by which the relay proves who it is, and the relay call the registry by TLS; without credentials
    /// both use plaintext.
    #[must_use]
    pub fn with_credentials(mut self, credentials: ServiceCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Returns the relay's id, which its credentials name.
    #[must_use]
    pub const fn id(&self) -> RelayId {
        self.identity.relay
    }

    /// Returns the relay's id, and a channel to it within this process.
    #[must_use]
    pub fn local(&self) -> (RelayId, LocalChannel) {
        (self.identity.relay, self.local.0.clone())
    }

    /// Returns the addresses to which members send NAK, STATUS, PROBE and PUBLISH: one for each interface, all with one port.
    #[must_use]
    pub fn udp_addrs(&self) -> Vec<SocketAddrV4> {
        self.sockets.addrs()
    }

    /// Returns the names of the interfaces that multicast leaves through.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        self.sockets.links().iter().map(|link| link.name.clone()).collect()
    }

    /// Returns the address of the metrics page, if there is one.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn metrics_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.metrics_listener.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Returns the switch that turns ready once stored groups are open and calls are answered.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Returns the switch that turns on once the registry has taken the addresses of this run: those of a former run, which it
    /// tells clients until then, may lead nowhere.
    #[must_use]
    pub fn registered(&self) -> Readiness {
        self.registered.clone()
    }

    /// Returns the relay's metrics, to be shown on a page shared with other services.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Returns a publisher that works within this process, without gRPC. It finds a group once the relay serves it.
    #[must_use]
    pub fn local_publisher(&self) -> LocalPublisher {
        LocalPublisher::new(Arc::clone(&self.directory))
    }

    /// Serves until `stop` is cancelled, then drains: streams end, requests under way are answered, threads stop, the
    /// log closes.
    ///
    /// # Errors
    /// If a part that is needed ends early.
    pub fn run(self, stop: CancellationToken) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
        // Boxed so that this crate compiles what it runs, and not every program that runs it.
        Box::pin(self.run_until(stop))
    }

    async fn run_until(self, stop: CancellationToken) -> anyhow::Result<()> {
        let figures = RelayFigures::default();
        figures.register(&self.metrics);
        let threads = RelayThreads::start(&self, &figures)?;
        let outcome = self.serve(&threads, figures, stop).await;
        let stopped = spawn_blocking(move || threads.stop()).await.context("stopping the workers")?;
        outcome.and(stopped)
    }

    async fn serve(self, threads: &RelayThreads, figures: RelayFigures, stop: CancellationToken) -> anyhow::Result<()> {
        let enrolled = self.enrol(&stop).await?;
        let issued = self.credentials.clone();
        let credentials = issued.or_else(|| enrolled.as_ref().map(EnrolledService::credentials));
        let directory = Arc::clone(&self.directory);
        let rings = Arc::new(RingBudget::new(self.config.rings_bytes));
        let figures_of_rings = RingFigures(Arc::clone(&rings));
        self.metrics.register(|registry| registry.register_collector(Box::new(figures_of_rings)));
        let access = Arc::new(GroupAccess::new(self.identity.registry_key()));
        let policies = Arc::new(GroupPolicies::default());
        let (commands, command_queue) = mpsc::channel(KEEPER_COMMANDS);
        let registry = ServiceEndpoint::new(&self.config.registry, Role::Registry, credentials.as_ref());
        let registry = Arc::new(RegistryLink::new(
            registry.context("--registry")?.connect_lazy(),
            self.listing()?,
            self.identity.report_key.clone(),
            self.registered.clone(),
            figures.clone(),
        ));
        let mut keeper = Keeper::new(KeeperParts {
            relay: self.identity.relay,
            log: Arc::clone(&self.log),
            directory: Arc::clone(&directory),
            policies: Arc::clone(&policies),
            workers: threads.handles(),
            ingress: threads.ingress.sender(),
            registry: Arc::clone(&registry),
            failed_openings: Arc::clone(&threads.failed_openings),
            rings,
            ring_bytes: self.config.ring_bytes,
            retention: self.config.retention,
        });
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = keeper.open_stored() => {}
        }
        let calls = TaskTracker::new();
        let relay = RelayCalls::new(RelayParts {
            directory: Arc::clone(&directory),
            log: Arc::clone(&self.log),
            access: Arc::clone(&access),
            policies,
            keeper: commands.clone(),
            lookup: GroupLookup::new(Arc::clone(&registry)),
            figures,
            tasks: calls.clone(),
            publish_budget: Budget::new(PUBLISH_BUDGET, PUBLISH_BUDGET_EACH),
            reads: Budget::new(MAX_READS, MAX_READS_EACH),
            reporters: Reporters::default(),
            follows: SharePool::new(MAX_FOLLOWS, MAX_FOLLOWS_EACH),
            watches: SharePool::new(MAX_WATCHES, MAX_WATCHES_EACH),
            claims: threads.claims.clone(),
            service_calls: ServiceCalls::new(self.config.plaintext),
        });
        let instance = instance_name(relay_service_server::SERVICE_NAME, self.identity.relay);
        let limits = RpcLimits {
            drain: self.config.drain,
            connections_per_address: self.config.connections_per_address,
            ..RpcLimits::default()
        };
        let server = grpc_server(self.grpc, relay, &instance, self.readiness.clone(), limits)?
            .secured(SecurePort::new(credentials.as_ref(), self.config.plaintext, &[b"h2"]))
            .count_in(&self.metrics)
            .also_locally(self.local.1);
        // Draining calls still need the keeper and its workers.
        let drained = CancellationToken::new();
        let mut tasks = Tasks::new();
        let served = drained.clone();
        let rpc_stop = stop.clone();
        tasks.spawn("gRPC server", async move {
            let outcome = server.serve(rpc_stop).await;
            served.cancel();
            outcome
        });
        tasks.spawn("keeper", keeper.run(command_queue, drained));
        tasks.spawn("data plane", threads.follow(self.sockets.plane(), stop.clone()));
        let following = stop.clone();
        let sockets = self.sockets;
        tasks.spawn("interfaces", async move {
            tokio::select! {
                () = following.cancelled() => Ok(()),
                ended = sockets.keep() => ended,
            }
        });
        tasks.spawn(
            "registration",
            registry::keep_registered(Arc::clone(&registry), self.identity, access, stop.clone()),
        );
        if let Some(enrolled) = enrolled {
            tasks.spawn("certificate", enrolled.keep_renewed(stop.clone()));
        }
        let budget = budget::keep(
            Arc::clone(&self.log),
            Arc::clone(&directory),
            self.log_bytes,
            threads.figures.clone(),
            stop.clone(),
        );
        tasks.spawn("log budget", budget);
        tasks.spawn("registry watch", registry::watch(Arc::clone(&registry), commands.clone(), stop.clone()));
        tasks.spawn("registry reports", registry::report_heads(registry, directory, commands, stop.clone()));
        if let Some(listener) = self.metrics_listener {
            tasks.spawn("metrics", metrics_page::serve(listener, self.metrics, self.readiness.clone(), stop.clone()));
        }
        for (name, ended) in threads.ends() {
            let stop = stop.clone();
            tasks.spawn(name, async move {
                tokio::select! {
                    () = stop.cancelled() => Ok(()),
                    () = ended => anyhow::bail!("the thread ended; its last words are in the log"),
                }
            });
        }
        self.readiness.ready();
        info!(relay = %threads.relay, durable = self.log.durable(), "serving");
        let outcome = tasks.run(stop, self.config.drain + Duration::from_secs(1)).await;
        calls.close();
        if timeout(LAST_CALLS, calls.wait()).await.is_err() {
            warn!(calls = calls.len(), "calls did not end in time; the log closes when they do");
        }
        outcome
    }

    /// Gets a certificate, unless the relay was given one or stays without.
    async fn enrol(&self, stop: &CancellationToken) -> anyhow::Result<Option<EnrolledService>> {
        if self.credentials.is_some() {
            return Ok(None);
        }
        let Config { registry, data, enrol_token, .. } = &self.config;
        let role = Role::Relay(self.identity.relay);
        ServiceEnrolment::new(registry, role, data.as_deref(), enrol_token.clone()).credentials(stop).await
    }

    fn listing(&self) -> anyhow::Result<RelayListing> {
        let udp_port = self.sockets.addrs().first().map_or(0, SocketAddrV4::port);
        Ok(RelayListing {
            relay: self.identity.relay,
            advertise: self.config.advertise.clone(),
            grpc_port: self.grpc_addr()?.port(),
            udp_port,
            durable: self.log.durable(),
            secret: self.identity.service_secret.to_vec().into(),
        })
    }
}

fn grpc_server(
    listener: TcpListener,
    relay: RelayCalls,
    instance: &str,
    readiness: Readiness,
    limits: RpcLimits,
) -> anyhow::Result<RpcServer> {
    let service = RelayServiceServer::new(relay)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let routes = Routes::new(service);
    let names = [relay_service_server::SERVICE_NAME, instance];
    let server = RpcServer::new(listener, routes, &names, &[pb::DESCRIPTORS], readiness)?;
    Ok(server.limits(limits))
}
