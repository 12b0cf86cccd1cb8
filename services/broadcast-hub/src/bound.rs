//! The hub's life: bound, running, drained.

use std::{
    net::SocketAddr,
    num::NonZero,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use gaung_proto::{
    RelayId,
    pb::{self, hub::hub_service_server::HubServiceServer},
};
use service_kit::{
    bind::listen,
    metrics::{self, Metrics},
    open_files::{self, ReservedFiles},
    readiness::Readiness,
    rpc::{self, LocalChannel, RpcLimits, RpcServer},
    share::SharePool,
    supervise::Tasks,
};
use tokio::{net::TcpListener, runtime::Handle, sync::mpsc, time::interval};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    accept::{self, Kind},
    admission::Admission,
    broadcast::{self, BroadcastLane},
    config::{Config, Limits},
    directory::Directory,
    groups::Groups,
    history::HistoryPlaces,
    hub::{Hub, ToBroadcast},
    id,
    inbox::Inbox,
    metrics::Figures,
    page,
    registry::{self, Ports},
    relays::Relays,
    rpc::HubRpc,
    shard,
};

/// Receipts that all browsers may watch at a time, and a fourth of it those of one address.
const RECEIPT_WATCHES: u64 = 480;

/// A hub whose sockets are open, and that serves nobody yet.
pub struct Bound {
    config: Config,
    grpc: TcpListener,
    framed: TcpListener,
    text: Option<TcpListener>,
    page: Option<TcpListener>,
    metrics: Option<TcpListener>,
    broadcast: Option<BroadcastLane>,
    local_relay: Option<(RelayId, LocalChannel)>,
    id: RelayId,
    readiness: Readiness,
    addresses: Addresses,
    session_files: ReservedFiles,
}

/// A hub works with few files too, if badly.
const FEWEST_SESSIONS: u64 = 16;

#[derive(Debug, Clone, Copy)]
struct Addresses {
    grpc: SocketAddr,
    framed: SocketAddr,
    text: Option<SocketAddr>,
    page: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// Opens every socket. Must be called within a tokio runtime, which will run the links to the other services.
///
/// # Errors
/// What could not be opened, and what to do about it.
pub async fn bind(mut config: Config) -> anyhow::Result<Bound> {
    let id = id::load(config.data.as_deref())?;
    let session_files = reserve_files(&mut config.limits);
    let grpc = listen("gRPC", config.grpc_listen, "--grpc-listen").await?;
    let framed = listen("framed TCP", config.tcp_listen, "--tcp-listen").await?;
    let text = bind_text(&config).await?;
    let page = match config.page_listen {
        Some(addr) => Some(listen("the page", addr, "--page-listen").await?),
        None => None,
    };
    let metrics = match config.metrics_listen {
        Some(addr) => Some(listen("metrics", addr, "--metrics-listen").await?),
        None => None,
    };
    let broadcast = config.broadcast.clone().map(BroadcastLane::open).transpose().context("the broadcast lane")?;
    let addresses = Addresses {
        grpc: grpc.local_addr()?,
        framed: framed.local_addr()?,
        text: text.as_ref().map(TcpListener::local_addr).transpose()?,
        page: page.as_ref().map(TcpListener::local_addr).transpose()?,
        metrics: metrics.as_ref().map(TcpListener::local_addr).transpose()?,
    };
    Ok(Bound {
        config,
        grpc,
        framed,
        text,
        page,
        metrics,
        broadcast,
        local_relay: None,
        id,
        readiness: Readiness::new(),
        addresses,
        session_files,
    })
}

/// Each session is an open file. They get what the other ports, which want some 4000 together, and stores leave of the
/// process's, and at least two of five.
fn reserve_files(limits: &mut Limits) -> ReservedFiles {
    const OTHER_PORTS: u64 = 4096;
    let open_files = open_files::limit().unwrap_or(u64::MAX);
    let most = open_files.saturating_sub(OTHER_PORTS).max(open_files / 5 * 2);
    let files = ReservedFiles::reserve((limits.sessions as u64).min(most), FEWEST_SESSIONS);
    let sessions = (files.count() as usize).min(limits.sessions);
    if sessions < limits.sessions {
        warn!(
            open_files,
            wanted = limits.sessions,
            sessions,
            "fewer files may be open than the sessions allowed need: raise the limit (ulimit -Hn, LimitNOFILE=), or give \
             fewer --sessions"
        );
        limits.sessions = sessions;
    }
    files
}

async fn bind_text(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(addr) = config.text_listen else { return Ok(None) };
    match listen("text", addr, "--text-listen").await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.text_port_optional && error.is_in_use() => {
            warn!(%error, "going on without the text port");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Bound {
    /// Reaches this relay within the process, wherever else it listens.
    #[must_use]
    pub fn beside(mut self, relay: RelayId, way: LocalChannel) -> Self {
        self.local_relay = Some((relay, way));
        self
    }

    /// gRPC.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Framed TCP.
    #[must_use]
    pub const fn tcp_addr(&self) -> SocketAddr {
        self.addresses.framed
    }

    /// Text; `None` if it is off, or was taken and may be.
    #[must_use]
    pub const fn text_addr(&self) -> Option<SocketAddr> {
        self.addresses.text
    }

    /// The page and its WebSocket; `None` if off.
    #[must_use]
    pub const fn page_addr(&self) -> Option<SocketAddr> {
        self.addresses.page
    }

    /// Metrics; `None` if off.
    #[must_use]
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.addresses.metrics
    }

    /// Becomes ready once registry and relay were found and `everyone` is followed; stays so while they are away.
    #[must_use]
    pub fn ready(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `stop` is cancelled, then says goodbye to the sessions and drains.
    ///
    /// # Errors
    /// If a part of the hub fails for good.
    pub fn run(self, stop: CancellationToken) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
        // Boxed so that this crate compiles what it runs, and not every program that runs it.
        Box::pin(self.run_until(stop))
    }

    async fn run_until(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config, grpc, framed, text, page, metrics, broadcast, local_relay, id, readiness, addresses, ..
        } = self;
        let _session_files = self.session_files;
        let (to_broadcast, runs) = match &broadcast {
            Some(_) => {
                let (sender, receiver) = mpsc::channel(broadcast::WAITING_RUNS);
                (Some(sender), Some(receiver))
            }
            None => (None, None),
        };
        let ports = Ports {
            grpc: addresses.grpc.port(),
            tcp: addresses.framed.port(),
            text: addresses.text.map_or(0, |addr| addr.port()),
            page: addresses.page.map_or(0, |addr| addr.port()),
            broadcast: config.broadcast.as_ref().map_or(0, |broadcast| broadcast.port),
        };
        let drain = config.drain;
        let page_port = addresses.page.map(|addr| addr.port());
        let hub = Arc::new(build(config, id, local_relay, to_broadcast, page_port)?);
        let registered = Metrics::new();
        hub.figures.register(&registered);

        let mut tasks = Tasks::new();
        spawn_shards(&hub, &mut tasks, &stop)?;
        let service = HubServiceServer::new(HubRpc(hub.clone()));
        let names = ["gaung.hub.v1.HubService"];
        let server = RpcServer::new(grpc, Routes::new(service), &names, &[pb::DESCRIPTORS], readiness.clone())?
            .count_in(&registered)
            .limits(RpcLimits { drain, ..RpcLimits::default() });
        tasks.spawn("gRPC", server.serve(stop.clone()));
        if let Some(listener) = metrics {
            tasks.spawn("metrics", metrics::serve(listener, registered, readiness.clone(), stop.clone()));
        }
        tasks.spawn("framed port", accept::run(hub.clone(), framed, Kind::Framed, stop.clone()));
        if let Some(listener) = text {
            tasks.spawn("text port", accept::run(hub.clone(), listener, Kind::Text, stop.clone()));
        }
        if let Some(listener) = page {
            tasks.spawn("page", page::run(hub.clone(), listener, stop.clone()));
        }
        if let (Some(lane), Some(runs)) = (broadcast, runs) {
            tasks.spawn("broadcast", broadcast::run(hub.clone(), lane, runs, stop.clone()));
        }
        tasks.spawn("registration", registry::stay_listed(hub.clone(), ports, stop.clone()));
        tasks.spawn("group watch", registry::watch_groups(hub.clone(), stop.clone()));
        tasks.spawn("everyone", registry::keep_everyone(hub.clone(), readiness, stop.clone()));
        tasks.spawn("housekeeping", keep_house(hub.clone(), stop.clone()));
        info!(framed = %addresses.framed, text = ?addresses.text, page = ?addresses.page, grpc = %addresses.grpc, "hub serves");
        // A little longer than the shards' own limit, so that they cut their sessions themselves.
        tasks.run(stop, drain + Duration::from_secs(2)).await
    }
}

fn build(
    config: Config,
    id: RelayId,
    local_relay: Option<(RelayId, LocalChannel)>,
    to_broadcast: Option<mpsc::Sender<ToBroadcast>>,
    page_port: Option<u16>,
) -> anyhow::Result<Hub> {
    let shards = match config.shards {
        0 => available_parallelism().map_or(1, NonZero::get),
        shards => shards,
    };
    let registry = rpc::endpoint(&config.registry)?.connect_lazy();
    let figures = Figures::default();
    Ok(Hub {
        id,
        report_key: rand::random(),
        owners: std::hash::RandomState::new(),
        directory: Directory::new(),
        groups: Groups::new(&config.limits, shards),
        relays: Relays::new(local_relay),
        shards: (0..shards).map(|_| Inbox::default()).collect(),
        admission: Admission::new(&config.limits, figures.sessions_delayed.clone()),
        figures,
        runtime: Handle::current(),
        links_stop: CancellationToken::new(),
        history_places: HistoryPlaces::new(config.limits.history_reads),
        lookups: SharePool::new(config.limits.lookups as u64, config.limits.lookups_per_address as u64),
        receipt_watches: SharePool::new(RECEIPT_WATCHES, RECEIPT_WATCHES / 4),
        to_broadcast,
        registry,
        page_port,
        next_session: AtomicU64::new(1),
        next_client: AtomicU64::new(1),
        next_shard: AtomicUsize::new(0),
        config,
    })
}

/// Starts the threads; the links end when the last of them has.
fn spawn_shards(hub: &Arc<Hub>, tasks: &mut Tasks, stop: &CancellationToken) -> anyhow::Result<()> {
    let last = Arc::new(hub.links_stop.clone().drop_guard());
    for index in 0..hub.shards.len() {
        let end = shard::spawn(hub.clone(), index, stop.clone())?;
        let last = last.clone();
        tasks.spawn(format!("shard {index}"), async move {
            let ended = end.await;
            drop(last);
            ended.context("the thread panicked")
        });
    }
    Ok(())
}

/// Forgets unused groups and keeps the gauges.
async fn keep_house(hub: Arc<Hub>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut tick = interval(Duration::from_secs(2));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        for group in hub.groups.sweep(Instant::now()) {
            hub.relays.link(&hub, group.info().relay).wanted_changed(group.id);
            if group.info().private {
                // The watch does not tell of it, so nobody else would forget it.
                hub.directory.remove(group.id);
            }
        }
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        hub.figures.groups.set(gauge(hub.groups.all().len()));
        let rings = hub.groups.rings();
        hub.figures.ring_bytes.set(gauge(rings.held_bytes()));
        hub.figures.ring_limit_bytes.set(gauge(rings.limit_bytes()));
    }
}
