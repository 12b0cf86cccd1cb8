//! The hub with its sockets open, and its run from there to the end of its sessions.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use anyhow::Context as _;
use gaung_proto::{
    RelayId,
    pb::{self, hub::hub_service_server::HubServiceServer},
};
use gaung_site::Role;
use service_kit::{
    bind::listen,
    metrics::{self, Metrics},
    open_files::{self, ReservedFiles},
    readiness::Readiness,
    rpc::{LocalChannel, RpcLimits, RpcServer},
    secure::{EnrolledService, PlaintextPolicy, SecurePort, ServiceCredentials, ServiceEnrolment},
    supervise::Tasks,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{field, info, warn};

use crate::{
    accept::{self, ListenerKind},
    broadcast::{self, BroadcastLane},
    config::{Config, Limits},
    housekeeping, id, link_tasks,
    page::{self, PagePort},
    parts::Parts,
    registry::{self, AdvertisedPorts, Registration},
    rpc::HubRpc,
};

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
    credentials: Option<ServiceCredentials>,
    id: RelayId,
    readiness: Readiness,
    registered: Readiness,
    addresses: BoundAddresses,
    session_files: ReservedFiles,
}

/// Sessions that are allowed however few files may be open.
const FEWEST_SESSIONS: u64 = 16;

/// The addresses that the listeners got.
#[derive(Debug, Clone, Copy)]
struct BoundAddresses {
    grpc: SocketAddr,
    framed: SocketAddr,
    text: Option<SocketAddr>,
    page: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// Opens every socket. Must be called within a tokio runtime.
///
/// # Errors
/// Says which socket could not be opened, and what to do about it.
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
    let addresses = BoundAddresses {
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
        credentials: None,
        id,
        readiness: Readiness::new(),
        registered: Readiness::new(),
        addresses,
        session_files,
    })
}

/// Reserves an open file for each session, and lowers the limit of sessions to what can be reserved.
///
/// Sessions get the files of the process that other ports, which need some 4000 together, and stores leave, and at least two
/// fifths of them.
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
    /// Connects to this relay within the process instead of over the network.
    #[must_use]
    pub fn beside(mut self, relay: RelayId, way: LocalChannel) -> Self {
        self.local_relay = Some((relay, way));
        self
    }

    /// Has the ports speak TLS, by which the hub proves who it is, and the hub call registry and relays by TLS; without credentials
    /// all use plaintext.
    #[must_use]
    pub fn with_credentials(mut self, credentials: ServiceCredentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Returns the hub's id, which its credentials name.
    #[must_use]
    pub const fn id(&self) -> RelayId {
        self.id
    }

    /// Returns the address of the gRPC server.
    #[must_use]
    pub const fn grpc_addr(&self) -> SocketAddr {
        self.addresses.grpc
    }

    /// Returns the address for framed TCP sessions.
    #[must_use]
    pub const fn tcp_addr(&self) -> SocketAddr {
        self.addresses.framed
    }

    /// Returns the address for text sessions; `None` if they are off, or if the port was in use and is optional.
    #[must_use]
    pub const fn text_addr(&self) -> Option<SocketAddr> {
        self.addresses.text
    }

    /// Returns the address of the page and its WebSocket; `None` if it is off.
    #[must_use]
    pub const fn page_addr(&self) -> Option<SocketAddr> {
        self.addresses.page
    }

    /// Returns the address of the metrics; `None` if they are off.
    #[must_use]
    pub const fn metrics_addr(&self) -> Option<SocketAddr> {
        self.addresses.metrics
    }

    /// Returns the readiness: ready once the relay has sent `everyone`, from then on also while registry and relay are away.
    #[must_use]
    pub fn ready(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Returns the switch that turns on once the registry has taken the addresses of this run: those of a former run, which it
    /// tells clients until then, may lead nowhere.
    #[must_use]
    pub fn registered(&self) -> Readiness {
        self.registered.clone()
    }

    /// Serves until `stop` is cancelled, then ends the sessions and drains.
    ///
    /// # Errors
    /// If a task of the hub fails for good.
    pub fn run(self, stop: CancellationToken) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
        // Boxed so that the future is compiled in this crate, and not in every program that runs it.
        Box::pin(self.run_until(stop))
    }

    async fn run_until(self, stop: CancellationToken) -> anyhow::Result<()> {
        let enrolled = self.enrol(&stop).await?;
        let issued = self.credentials.clone();
        let credentials = issued.or_else(|| enrolled.as_ref().map(EnrolledService::credentials));
        let Self { config, addresses, readiness, id, .. } = self;
        let _session_files = self.session_files;
        let drain = config.drain;
        let page_port = addresses.page.map(|addr| addr.port());
        let (parts, new_links) = Parts::new(&config, credentials.as_ref(), self.local_relay)?;
        let registered = Metrics::new();
        parts.figures.register(&registered);
        let (to_broadcast, broadcast_runs) = mpsc::channel(broadcast::WAITING_RUNS);
        let to_broadcast = self.broadcast.is_some().then_some(to_broadcast);

        let mut tasks = Tasks::new();
        // Links and log reads end after the sessions.
        let links_stop = CancellationToken::new();
        parts.spawn_shards(&config, page_port, &links_stop, &mut tasks, &stop)?;
        let (follow, publish) = (parts.follow_context(to_broadcast), parts.publish_context());
        tasks.spawn("relay links", link_tasks::run(new_links, follow, publish, links_stop));
        let service = HubRpc { groups: parts.groups.clone(), figures: parts.figures.clone() };
        let routes = Routes::new(HubServiceServer::new(service));
        let names = ["gaung.hub.v1.HubService"];
        let server = RpcServer::new(self.grpc, routes, &names, &[pb::DESCRIPTORS], readiness.clone())?
            .count_in(&registered)
            .secured(SecurePort::new(credentials.as_ref(), config.plaintext, &[b"h2"]))
            .limits(RpcLimits {
                drain,
                connections_per_address: config.connections_per_address,
                ..RpcLimits::default()
            });
        tasks.spawn("gRPC", server.serve(stop.clone()));
        if let Some(listener) = self.metrics {
            tasks.spawn("metrics", metrics::serve(listener, registered, readiness.clone(), stop.clone()));
        }
        let entry = parts.session_entry();
        let secure = SecurePort::new(credentials.as_ref(), config.plaintext, &[]);
        let framed = ListenerKind::Framed { secure, hello: config.limits.hello };
        tasks.spawn("framed port", accept::run(entry.clone(), self.framed, framed, stop.clone()));
        if let Some(listener) = self.text {
            tasks.spawn("text port", accept::run(entry.clone(), listener, ListenerKind::Text, stop.clone()));
        }
        if let Some(listener) = self.page {
            let plaintext = match config.plaintext {
                PlaintextPolicy::Never => PlaintextPolicy::Never,
                // Open groups stay within reach of every browser.
                PlaintextPolicy::Loopback | PlaintextPolicy::Any => PlaintextPolicy::Any,
            };
            let secure = SecurePort::for_browsers(credentials.as_ref(), plaintext);
            let port = PagePort { listener, secure, plaintext: config.plaintext };
            let context = parts.api_context(id, &config, credentials.as_ref());
            tasks.spawn("page", page::run(context, entry, port, stop.clone()));
        }
        if let Some(enrolled) = enrolled {
            tasks.spawn("certificate", enrolled.keep_renewed(stop.clone()));
        }
        let Parts { figures, directory, registry, groups, inboxes, .. } = parts;
        if let Some(lane) = self.broadcast {
            let broadcasting =
                broadcast::run(lane, broadcast_runs, id, directory.clone(), figures.clone(), stop.clone());
            tasks.spawn("broadcast", broadcasting);
        }
        let ports = addresses.advertised(&config);
        let (target, advertise) = (config.registry, config.advertise);
        let registration = Registration::new(registry.clone(), directory.clone(), target, id, advertise, ports);
        tasks.spawn("registration", registration.run(self.registered, stop.clone()));
        tasks.spawn("group watch", registry::watch_groups(registry, groups.clone(), stop.clone()));
        let everyone = registry::follow_everyone(directory, groups.clone(), inboxes, readiness, stop.clone());
        tasks.spawn("everyone", everyone);
        tasks.spawn("housekeeping", housekeeping::run(groups, figures, stop.clone()));
        let (text, page) = (addresses.text.map(field::display), addresses.page.map(field::display));
        info!(framed = %addresses.framed, text, page, grpc = %addresses.grpc, "hub serves");
        // A little longer than the shards' own limit, so that they end their sessions themselves.
        tasks.run(stop, drain + Duration::from_secs(2)).await
    }

    /// Gets a certificate, unless the hub was given one or stays without.
    async fn enrol(&self, stop: &CancellationToken) -> anyhow::Result<Option<EnrolledService>> {
        if self.credentials.is_some() {
            return Ok(None);
        }
        let Config { registry, data, enrol_token, .. } = &self.config;
        ServiceEnrolment::new(registry, Role::Hub(self.id), data.as_deref(), enrol_token.clone())
            .credentials(stop)
            .await
    }
}

impl BoundAddresses {
    fn advertised(&self, config: &Config) -> AdvertisedPorts {
        AdvertisedPorts {
            grpc: self.grpc.port(),
            tcp: self.framed.port(),
            text: self.text.map_or(0, |addr| addr.port()),
            page: self.page.map_or(0, |addr| addr.port()),
            broadcast: config.broadcast.as_ref().map_or(0, |broadcast| broadcast.port),
        }
    }
}
