//! `gaung up`.

use std::{net::IpAddr, time::Duration};

use clap::{Args, ValueEnum};
use gaung_proto::ports;
use service_kit::{config::parse_duration, secure::PlaintextPolicy, telemetry::LogFormat};

/// `gaung up`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gaung up\n  gaung up --headless --data /var/lib/gaung --iface eth0\n  \
    gaung up --log memory --text-port 8081\n\n\
    Prints one line for each address once all services are ready. SIGINT or SIGTERM drains and exits with 0; a second \
    one exits at once. Port 0 takes a free port.")]
pub(crate) struct UpArgs {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0")]
    pub(crate) listen: IpAddr,
    /// Where messages are stored: on disk, safe against power loss, or in memory, until the services end. Groups in
    /// memory are separate from those on disk.
    #[arg(long, value_enum, default_value_t, value_name = "disk|memory")]
    pub(crate) log: LogKind,
    /// Limit on stored messages; above it the oldest of the largest groups are deleted. `none` for no limit [default: the
    /// free space at the start and what messages take, less a fifth of that or 10 GiB].
    #[arg(long, env = "GAUNG_RELAY_LOG_BYTES", value_name = "BYTES|none")]
    pub(crate) log_bytes: Option<multicast_relay::LogBudget>,
    /// Serve without a chat, also on a terminal.
    #[arg(long)]
    pub(crate) headless: bool,
    /// Print the addresses as one JSON object; implies --headless.
    #[arg(long)]
    pub(crate) json: bool,
    /// Host name or address for other machines [default: the one by which they reached this machine].
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// From where connections without TLS are taken: from nowhere, from this machine, or from anywhere on the network, where everyone
    /// can read and change them.
    #[arg(long, env = "GAUNG_PLAINTEXT", value_enum, default_value_t, value_name = "never|loopback|any")]
    pub(crate) plaintext: PlaintextPolicy,
    /// Log level on stderr: error, warn, info, debug, trace [default: info; error in the chat].
    #[arg(long, env = "GAUNG_LOG_LEVEL", value_name = "FILTER")]
    pub(crate) log_level: Option<String>,
    /// Format of log lines.
    #[arg(long, env = "GAUNG_LOG_FORMAT", value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Let the kernel or the network card split and join multicast datagrams (UDP GSO and GRO).
    #[arg(long, env = "GAUNG_RELAY_SEGMENTATION", value_enum, default_value_t, value_name = "on|off")]
    pub(crate) segmentation: multicast_relay::Segmentation,
    /// Limit on one group's multicast rate, repairs included, in Mbit/s. A group starts at a quarter of it.
    #[arg(long, env = "GAUNG_RELAY_RATE", value_name = "MBIT", default_value_t = multicast_relay::DEFAULT_RATE_MBIT,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Threads of the relay, each for some groups, and of the hub, each for some sessions; 0 for one per core.
    #[arg(long, env = "GAUNG_WORKERS", value_name = "N", default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=256))]
    pub(crate) workers: u16,
    /// Limits on sessions.
    #[command(flatten)]
    pub(crate) sessions: broadcast_hub::SessionArgs,
    /// How long open requests may take at a stop.
    #[arg(long, env = "GAUNG_DRAIN", default_value = "5s", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) drain: Duration,
    /// The appearance of the chat.
    #[command(flatten)]
    pub(crate) look: super::talk::AppearanceArgs,
    /// Where each service listens.
    #[command(flatten)]
    pub(crate) ports: PortArgs,
}

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogKind {
    /// Durable.
    #[default]
    Disk,
    /// Not durable.
    Memory,
}

/// One flag for each port.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Ports")]
pub(crate) struct PortArgs {
    /// Registry, gRPC: the port of `--server`.
    #[arg(long, value_name = "P", default_value_t = ports::REGISTRY)]
    pub(crate) registry_port: u16,
    /// Relay, gRPC.
    #[arg(long, value_name = "P", default_value_t = ports::RELAY)]
    pub(crate) relay_port: u16,
    /// Relay, UDP.
    #[arg(long, value_name = "P", default_value_t = ports::RELAY_UDP)]
    pub(crate) relay_udp_port: u16,
    /// Hub, gRPC.
    #[arg(long, value_name = "P", default_value_t = ports::HUB)]
    pub(crate) hub_port: u16,
    /// Hub, framed TCP.
    #[arg(long, value_name = "P", default_value_t = ports::HUB_TCP)]
    pub(crate) hub_tcp_port: u16,
    /// Hub, text for plain sockets.
    #[arg(long, value_name = "P", default_value_t = ports::TEXT)]
    pub(crate) text_port: u16,
    /// Page for browsers, HTTP.
    #[arg(long, value_name = "P", default_value_t = ports::WEB)]
    pub(crate) page_port: u16,
    /// UDP port to which broadcasts are sent.
    #[arg(long, value_name = "P", default_value_t = ports::BROADCAST)]
    pub(crate) broadcast_port: u16,
    /// Discovery, UDP.
    #[arg(long, value_name = "P", default_value_t = ports::DISCOVERY)]
    pub(crate) discovery_port: u16,
    /// Registry's metrics, HTTP.
    #[arg(long, value_name = "P", default_value_t = ports::REGISTRY_METRICS)]
    pub(crate) registry_metrics_port: u16,
    /// Relay's metrics, HTTP.
    #[arg(long, value_name = "P", default_value_t = ports::RELAY_METRICS)]
    pub(crate) relay_metrics_port: u16,
    /// Hub's metrics, HTTP.
    #[arg(long, value_name = "P", default_value_t = ports::HUB_METRICS)]
    pub(crate) hub_metrics_port: u16,
}
