//! The three services of `up`: configured from its flags, bound in order, run and drained together.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use gaung_engine::Rate;
use gaung_net::{
    SocketError,
    interface::{ChooseError, interfaces, select},
};
use gaung_site::Role;
use service_kit::{bind::BindError, data_folder, health_client::local_target, readiness::Readiness, supervise::Tasks};
use tokio_util::sync::CancellationToken;

use super::addresses::Addresses;
use crate::{
    cli::up::{LogKind, UpArgs},
    context::Context,
    failure::Failure,
    output::say,
};

/// Added to the services' own limit for draining, so that they abort and report themselves.
const MARGIN: Duration = Duration::from_secs(3);

/// The services, bound and opened, but not serving yet.
pub(crate) struct Services {
    registry: group_registry::Bound,
    relay: multicast_relay::Bound,
    hub: broadcast_hub::Bound,
    addresses: Addresses,
}

impl Services {
    /// Binds all sockets and opens all data.
    ///
    /// # Errors
    /// What cannot be bound or opened, and which flag changes it.
    pub(crate) async fn bind(context: &Context, args: &UpArgs) -> anyhow::Result<Self> {
        let data = match args.log {
            LogKind::Disk => context.data_dir.clone(),
            // Separate, so that a run in memory does not make the registry count durable logs as lost.
            LogKind::Memory => context.data_dir.join("memory"),
        };
        data_folder::prepare(&data)
            .with_context(|| format!("cannot use the data folder {}; choose another with --data", data.display()))?;
        let broadcast_port = match args.ports.broadcast_port {
            0 => free_udp_port()?,
            port => port,
        };
        let settings = Settings { context, args, data: &data, broadcast_port };
        let mut registry =
            group_registry::bind(settings.registry()).await.map_err(|e| explain(Service::Registry, e))?;
        let registry_addr = registry.grpc_addr()?;
        let target = local_target(registry_addr).to_string();
        let relay = multicast_relay::bind(settings.relay(&target)).await.map_err(|e| explain(Service::Relay, e))?;
        let hub = broadcast_hub::bind(settings.hub(&target)).await.map_err(|e| explain(Service::Hub, e))?;
        let (relay_id, transport) = relay.local();
        let relay = relay.with_credentials(registry.issue(Role::Relay(relay_id))?);
        let credentials = registry.issue(Role::Hub(hub.id()))?;
        let hub = hub.beside(relay_id, transport).with_credentials(credentials);
        let text = hub.text_addr();
        if text.is_none() {
            say(&format!(
                "text port {} is taken by another program, so netcat cannot join; choose another with --text-port",
                args.ports.text_port
            ));
        }
        let relay_udp_port = relay.udp_addrs().first().map_or(0, |addr| addr.port());
        let addresses = Addresses {
            ready: true,
            site: registry.site().code().to_string(),
            registry: registry_addr,
            relay: relay.grpc_addr()?,
            relay_udp: SocketAddr::new(args.listen, relay_udp_port),
            hub: hub.grpc_addr(),
            tcp: hub.tcp_addr(),
            text,
            page: hub.page_addr(),
            broadcast: SocketAddr::new(Ipv4Addr::BROADCAST.into(), broadcast_port),
            discovery_port: registry.discovery_port()?,
            registry_metrics: registry.metrics_addr()?,
            relay_metrics: relay.metrics_addr()?,
            hub_metrics: hub.metrics_addr(),
            durable: args.log == LogKind::Disk,
            advertise: args.advertise.clone(),
            iface: context.iface.clone(),
        };
        Ok(Self { registry, relay, hub, addresses })
    }

    /// Returns what is wrong with the interface of the command line, if anything is.
    pub(crate) fn missing_interfaces(&self) -> Vec<ChooseError> {
        let wanted: Vec<_> = self.addresses.iface.iter().cloned().collect();
        interfaces().map(|all| select(&all, &wanted).missing).unwrap_or_default()
    }

    /// Returns the addresses on which the services listen.
    pub(crate) const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns what has to be ready before clients are told that the services are: each of them, and their addresses at the
    /// registry.
    pub(crate) fn readiness(&self) -> Vec<(&'static str, Readiness)> {
        vec![
            ("the registry", self.registry.readiness()),
            ("the relay", self.relay.readiness()),
            ("the hub", self.hub.ready()),
            ("the registry to list the relay", self.relay.registered()),
            ("the registry to list the hub", self.hub.registered()),
        ]
    }

    /// Runs the services until `stop`, then drains them: first the hub, whose sessions end, then the relay, last the registry.
    ///
    /// # Errors
    /// The service that failed.
    pub(crate) async fn run(self, stop: CancellationToken, drain: Duration) -> anyhow::Result<()> {
        let (stop_relay, stop_registry) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = Tasks::new();
        tasks.spawn("the hub", in_turn(self.hub.run(stop.clone()), stop_relay.clone()));
        tasks.spawn("the relay", in_turn(self.relay.run(stop_relay), stop_registry.clone()));
        tasks.spawn("the registry", self.registry.run(stop_registry));
        tasks.run(stop, 3 * drain + MARGIN).await
    }
}

/// Runs a service, and then lets the next one stop.
async fn in_turn(service: impl Future<Output = anyhow::Result<()>>, next: CancellationToken) -> anyhow::Result<()> {
    let _next = next.drop_guard();
    service.await
}

struct Settings<'a> {
    context: &'a Context,
    args: &'a UpArgs,
    data: &'a Path,
    broadcast_port: u16,
}

impl Settings<'_> {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.args.listen, port)
    }

    fn advertise(&self) -> String {
        self.args.advertise.clone().unwrap_or_default()
    }

    fn ifaces(&self) -> Vec<String> {
        self.context.iface.iter().cloned().collect()
    }

    fn registry(&self) -> group_registry::Config {
        let ports = &self.args.ports;
        group_registry::Config {
            data: Some(self.data.join("registry")),
            // With either log it is the same site, for those who know it come back to the same address.
            site: Some(self.context.data_dir.join("registry/site")),
            grpc_listen: self.at(ports.registry_port),
            plaintext: self.args.plaintext,
            metrics_listen: Some(self.at(ports.registry_metrics_port)),
            discovery_port: Some(ports.discovery_port),
            iface: self.ifaces(),
            advertise: self.args.advertise.as_deref().and_then(|host| host.parse().ok()),
            drain: self.args.drain,
            ..group_registry::Config::default()
        }
    }

    fn relay(&self, registry: &str) -> multicast_relay::Config {
        let ports = &self.args.ports;
        multicast_relay::Config {
            registry: registry.to_owned(),
            data: Some(self.data.join("relay")),
            log: match self.args.log {
                LogKind::Disk => multicast_relay::LogKind::Disk,
                LogKind::Memory => multicast_relay::LogKind::Memory,
            },
            advertise: self.advertise(),
            grpc_listen: self.at(ports.relay_port),
            plaintext: self.args.plaintext,
            udp_port: ports.relay_udp_port,
            iface: self.ifaces(),
            segmentation: self.args.segmentation,
            rate: Rate::from_mbit(self.args.rate),
            workers: usize::from(self.args.workers),
            metrics_listen: Some(self.at(ports.relay_metrics_port)),
            drain: self.args.drain,
            log_bytes: self.args.log_bytes.unwrap_or_default(),
            ..multicast_relay::Config::default()
        }
    }

    fn hub(&self, registry: &str) -> broadcast_hub::Config {
        let ports = &self.args.ports;
        broadcast_hub::Config {
            registry: registry.to_owned(),
            enrol_token: None,
            data: Some(self.data.join("hub")),
            advertise: self.advertise(),
            grpc_listen: self.at(ports.hub_port),
            plaintext: self.args.plaintext,
            connections_per_address: service_kit::rpc::CONNECTIONS_PER_ADDRESS,
            tcp_listen: self.at(ports.hub_tcp_port),
            text_listen: Some(self.at(ports.text_port)),
            text_port_optional: true,
            shards: usize::from(self.args.workers),
            page_listen: Some(self.at(ports.page_port)),
            metrics_listen: Some(self.at(ports.hub_metrics_port)),
            broadcast: Some(broadcast_hub::BroadcastConfig {
                datagrams_per_second: broadcast_hub::BROADCAST_RATE,
                port: self.broadcast_port,
                iface: self.context.iface.clone(),
            }),
            limits: broadcast_hub::Limits {
                sessions: self.args.sessions.sessions,
                sessions_per_address: self.args.sessions.sessions_per_address,
                ..broadcast_hub::Limits::default()
            },
            drain: self.args.drain,
        }
    }
}

/// Returns a port for broadcasts on which no program of this machine listens.
fn free_udp_port() -> anyhow::Result<u16> {
    let free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.local_addr());
    Ok(free.context("cannot find a free UDP port for broadcasts; choose one with --broadcast-port")?.port())
}

#[derive(Debug, Clone, Copy)]
enum Service {
    Registry,
    Relay,
    Hub,
}

/// Adds to an error which flag of `up` avoids it.
fn explain(service: Service, error: anyhow::Error) -> anyhow::Error {
    let name = match service {
        Service::Registry => "the registry",
        Service::Relay => "the relay",
        Service::Hub => "the hub",
    };
    let error = match error.downcast::<BindError>() {
        Ok(bind) => {
            let flag = flag(service, bind.purpose, bind.source.kind());
            // As text, since it contains its cause.
            return anyhow::anyhow!("{name}: {}", BindError { flag, ..bind });
        }
        Err(error) => error,
    };
    if error.chain().any(|cause| cause.is::<ChooseError>()) {
        return Failure::usage(format!("{name}: {error:#}")).into();
    }
    let is_of_port = |e: &&SocketError| matches!(e, SocketError::PortInUse(_) | SocketError::NotAllowed(_));
    let Some(udp) = error.chain().find_map(|cause| cause.downcast_ref::<SocketError>().filter(is_of_port)) else {
        return error.context(name);
    };
    let (what, flag) = match service {
        Service::Registry => ("discovery", "--discovery-port"),
        Service::Relay => ("datagrams", "--relay-udp-port"),
        Service::Hub => ("broadcasts", "--broadcast-port"),
    };
    anyhow::anyhow!("{name}'s {what}: {udp} with {flag}")
}

fn flag(service: Service, purpose: &str, kind: io::ErrorKind) -> &'static str {
    if kind == io::ErrorKind::AddrNotAvailable {
        return "--listen";
    }
    match (service, purpose) {
        (Service::Registry, "metrics") => "--registry-metrics-port",
        (Service::Registry, _) => "--registry-port",
        (Service::Relay, "metrics") => "--relay-metrics-port",
        (Service::Relay, _) => "--relay-port",
        (Service::Hub, "metrics") => "--hub-metrics-port",
        (Service::Hub, "framed TCP") => "--hub-tcp-port",
        (Service::Hub, "text") => "--text-port",
        (Service::Hub, "the page") => "--page-port",
        (Service::Hub, _) => "--hub-port",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_port_names_the_flag_of_up() {
        let taken = |service, purpose, kind: io::ErrorKind| {
            let addr = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 7400);
            let error = BindError { purpose, addr, flag: "--grpc-listen", source: kind.into() };
            format!("{:#}", explain(service, anyhow::Error::new(error)))
        };
        let text = taken(Service::Registry, "gRPC", io::ErrorKind::AddrInUse);
        assert!(
            text.contains("the registry") && text.contains("--registry-port") && !text.contains("--grpc-listen"),
            "{text}"
        );
        assert!(taken(Service::Hub, "framed TCP", io::ErrorKind::AddrInUse).contains("--hub-tcp-port"));
        assert!(taken(Service::Hub, "the page", io::ErrorKind::AddrInUse).contains("--page-port"));
        assert!(taken(Service::Relay, "metrics", io::ErrorKind::AddrInUse).contains("--relay-metrics-port"));
        assert!(taken(Service::Hub, "text", io::ErrorKind::AddrNotAvailable).contains("--listen"));
        let udp = anyhow::Error::new(SocketError::PortInUse("127.0.0.1:7402".parse().unwrap())).context("x");
        assert!(format!("{:#}", explain(Service::Relay, udp)).contains("--relay-udp-port"));
    }

    #[test]
    fn a_wrong_interface_is_wrong_usage() {
        let wrong = anyhow::Error::new(ChooseError::Down("eth0".to_owned())).context("--iface");
        let error = explain(Service::Relay, wrong);
        assert_eq!(crate::failure::exit_code(&error), 2);
        assert!(error.to_string().contains("--iface") && error.to_string().contains("eth0"), "{error}");
    }
}
