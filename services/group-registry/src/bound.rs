//! Starts, runs and stops the service: everything is bound before it reports that it is ready.

use std::{fs, net::SocketAddr, path::Path, pin::Pin, sync::Arc, time::Duration};

use anyhow::Context as _;
use gaung_net::{
    discovery::{Announcement, Responder, ServiceKind},
    interface::{LinkSelection, LinkWatch},
};
use gaung_proto::{
    RelayId,
    pb::{self, registry::registry_service_server::RegistryServiceServer},
};
use gaung_site::{Role, SiteId};
use rustls::pki_types::UnixTime;
use service_kit::{
    bind::listen,
    data_folder,
    metrics::{self, Metrics},
    readiness::Readiness,
    rpc::{MAX_MESSAGE_BYTES, RpcLimits, RpcServer},
    secure::{SecurePort, ServiceCalls, ServiceCredentials},
    supervise::Tasks,
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::{
    async_registry::AsyncRegistry,
    clock::Now,
    config::Config,
    disk_store::DiskStore,
    enrol::Enrolments,
    everyone,
    figures::Figures,
    identity_conflicts,
    limits::Limits,
    probe,
    registry::Registry,
    rpc::Rpc,
    site::SiteCredentials,
    standby::Standby,
    store::{MemoryStore, RecordStore},
    token_socket::TokenSocket,
    upkeep,
};

const STORE_FILE: &str = "registry.redb";
/// Folder of the site in the data folder.
const SITE_FOLDER: &str = "site";
/// The application protocol of gRPC in TLS (ALPN).
const HTTP_2: &[u8] = b"h2";

/// A registry whose store is open and whose ports are bound.
#[derive(Debug)]
pub struct Bound {
    config: Config,
    registry: Arc<Registry>,
    site: SiteCredentials,
    enrolments: Arc<Enrolments>,
    token_socket: Option<TokenSocket>,
    watch: LinkWatch,
    grpc: TcpListener,
    metrics_listener: Option<TcpListener>,
    responder: Option<Responder>,
    readiness: Readiness,
    metrics: Metrics,
}

/// Opens the store and binds everything.
///
/// # Errors
/// The data folder, interface or port that cannot be used, with the setting that changes it.
pub async fn bind(config: Config) -> anyhow::Result<Bound> {
    let watch = LinkWatch::begin(config.iface.clone()).context("listing the network interfaces")?;
    warn_of_missing(&watch.now());
    let grpc = listen("gRPC", config.grpc_listen, "--grpc-listen").await?;
    let metrics_listener = match config.metrics_listen {
        Some(addr) => Some(listen("metrics", addr, "--metrics-listen").await?),
        None => None,
    };
    let settings = config.clone();
    let (registry, site) = spawn_blocking(move || open(&settings)).await.context("opening the store")??;
    let registry = Arc::new(registry);
    let enrolments = Enrolments::new(site.authority(), config.enrol_secret.as_ref(), Now::read().mono);
    let enrolments = Arc::new(enrolments.context("--enrol-secret")?);
    let token_socket = config.data.as_deref().and_then(open_token_socket);
    let responder = match config.discovery_port {
        None => None,
        Some(port) => {
            let announcement = announcement(&registry, site.id(), grpc.local_addr()?, &config);
            let opened = Responder::open(port, watch.clone(), announcement);
            Some(opened.context("discovery; choose another port with --discovery-port, or none with --no-discovery")?)
        }
    };
    let (readiness, metrics) = (Readiness::new(), Metrics::new());
    Ok(Bound {
        config,
        registry,
        site,
        enrolments,
        token_socket,
        watch,
        grpc,
        metrics_listener,
        responder,
        readiness,
        metrics,
    })
}

impl Bound {
    /// Returns the address of the gRPC server.
    ///
    /// # Errors
    /// If the system cannot tell the socket's address.
    pub fn grpc_addr(&self) -> std::io::Result<SocketAddr> {
        self.grpc.local_addr()
    }

    /// Returns the address of the metrics server; `None` without one.
    ///
    /// # Errors
    /// If the system cannot tell the socket's address.
    pub fn metrics_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.metrics_listener.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Returns the UDP port of discovery; `None` if it is off.
    ///
    /// # Errors
    /// If the system cannot tell the socket's address.
    pub fn discovery_port(&self) -> std::io::Result<Option<u16>> {
        self.responder.as_ref().map(Responder::port).transpose()
    }

    /// Returns the site that the registry and its services belong to.
    #[must_use]
    pub fn site(&self) -> SiteId {
        self.site.id()
    }

    /// Issues credentials to a service of this process, and renews them for as long as the registry runs. A hub's have this
    /// machine's addresses and local names too, for browsers.
    ///
    /// # Errors
    /// If the system's random generator fails.
    pub fn issue(&mut self, role: Role) -> anyhow::Result<ServiceCredentials> {
        Ok(self.site.issue(role, UnixTime::now())?)
    }

    /// Returns the handle that tells when the registry serves.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Returns the metrics.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Serves until `stop` is cancelled, then drains.
    ///
    /// # Errors
    /// If a part of the registry fails.
    pub fn run(self, stop: CancellationToken) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
        // Boxed so that this crate compiles what it runs, and not every program that runs it.
        Box::pin(self.run_until(stop))
    }

    async fn run_until(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            registry,
            site,
            enrolments,
            token_socket,
            watch,
            grpc,
            metrics_listener,
            responder,
            readiness,
            metrics,
        } = self;
        let figures = Figures::default();
        figures.register(&metrics);
        let standby = Arc::new(Standby::new(Arc::clone(&registry), watch.clone(), config.quiet_time));
        let calls = AsyncRegistry::new(Arc::clone(&registry), Arc::clone(&standby));
        let service_calls = ServiceCalls::new(config.plaintext);
        let rpc = Rpc::new(
            Arc::clone(&registry),
            calls.clone(),
            Arc::clone(&enrolments),
            figures.clone(),
            service_calls,
            &config.device_rates,
            stop.clone(),
        );
        info!(grpc = %grpc.local_addr()?, site = %site.id().code(), groups = registry.group_count(), "registry serves");
        let conflicts = Arc::clone(&rpc.conflicts);
        let upkeep = upkeep::keep(calls.clone(), Arc::clone(&standby), rpc.clone(), stop.clone());
        let port = SecurePort::new(Some(site.registry()), config.plaintext, &[HTTP_2]);
        let limits = RpcLimits {
            drain: config.drain,
            connections_per_address: config.connections_per_address,
            ..RpcLimits::default()
        };
        let server = server(grpc, rpc, readiness.clone(), limits)?.secured(port).count_in(&metrics);

        let at_work = calls.clone();
        let mut tasks = Tasks::new();
        tasks.spawn("gRPC", server.serve(stop.clone()));
        tasks.spawn("upkeep", upkeep);
        let credentials = site.registry().clone();
        tasks.spawn("probes", probe::keep(Arc::clone(&registry), credentials, config.plaintext, stop.clone()));
        tasks.spawn("lapsed addresses", upkeep::regain(Arc::clone(&registry), calls.clone(), stop.clone()));
        tasks.spawn("everyone", everyone::keep(registry, calls, stop.clone()));
        tasks.spawn("certificates", site.keep_renewed(watch.clone(), UnixTime::now, stop.clone()));
        if let Some(socket) = token_socket {
            tasks.spawn("tokens", socket.serve(enrolments, stop.clone()));
        }
        let listening = stop.clone();
        tasks.spawn("stand-by addresses", async move {
            standby.run(listening).await;
            Ok(())
        });
        if let Some(listener) = metrics_listener {
            tasks.spawn("metrics", metrics::serve(listener, metrics, readiness.clone(), stop.clone()));
        }
        if let Some(responder) = responder {
            let (own, port) = (responder.identity(), responder.port()?);
            let (looking, watch) = (stop.clone(), watch.clone());
            tasks.spawn("copies of the data folder", async move {
                identity_conflicts::keep(&conflicts, own, port, watch, looking).await;
                Ok(())
            });
            let answering = stop.clone();
            tasks.spawn("discovery", async move {
                responder.run(answering.cancelled()).await;
                Ok(())
            });
        }
        readiness.ready();
        let outcome = tasks.run(stop, config.drain + Duration::from_secs(1)).await;
        at_work.drained().await;
        readiness.not_ready();
        outcome
    }
}

fn open(config: &Config) -> anyhow::Result<(Registry, SiteCredentials)> {
    let store: Arc<dyn RecordStore> = match &config.data {
        Some(dir) => {
            let cannot = || format!("cannot use {}; give another folder with --data", dir.display());
            data_folder::prepare(dir).with_context(cannot)?;
            Arc::new(DiskStore::open(dir, STORE_FILE)?)
        }
        None => Arc::new(MemoryStore::new()),
    };
    let limits = Limits::of_groups(config.group_limits).redeem_failures(config.device_rates.redeem_failures_per_minute);
    let registry = Registry::open(store, config.pools, Now::read())?.with_limits(limits);
    let in_data = || config.data.as_ref().map(|data| data.join(SITE_FOLDER));
    let site = SiteCredentials::open(config.site.clone().or_else(in_data).as_deref(), UnixTime::now())?;
    Ok((registry, site))
}

fn server(grpc: TcpListener, rpc: Rpc, readiness: Readiness, limits: RpcLimits) -> anyhow::Result<RpcServer> {
    let service = RegistryServiceServer::new(rpc)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let name = <RegistryServiceServer<Rpc> as tonic::server::NamedService>::NAME;
    let server = RpcServer::new(grpc, Routes::new(service), &[name], &[pb::DESCRIPTORS], readiness)?;
    Ok(server.limits(limits))
}

/// Opens the socket of `group-registry enrol`; a registry whose folder holds no sockets serves without.
fn open_token_socket(data: &Path) -> Option<TokenSocket> {
    let opened = TokenSocket::open(data);
    opened.inspect_err(|error| warn!(%error, "`group-registry enrol` will find no registry here")).ok()
}

/// Warns about interfaces that are missing. That is no error: the registry itself needs no multicast.
fn warn_of_missing(selection: &LinkSelection) {
    for missing in &selection.missing {
        warn!("{missing}; it is waited for, and addresses are given out without a check there");
    }
}

fn announcement(registry: &Registry, site: SiteId, grpc: SocketAddr, config: &Config) -> Announcement {
    let digest = Sha256::digest(registry.public_key());
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let listening = match grpc {
        SocketAddr::V4(addr) if !addr.ip().is_unspecified() => Some(*addr.ip()),
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    };
    Announcement {
        kind: ServiceKind::Registry,
        port: grpc.port(),
        instance: rand::random::<u64>().max(1),
        id: RelayId(*digest.first_chunk().expect("a SHA-256 digest has 32 bytes")),
        advertised: config.advertise.or(listening),
        site: Some(site),
        name: name.trim().to_owned(),
    }
}
