//! Settings of the hub: flags and environment variables become one checked [`Config`], before anything is bound.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::Args;
use gaung_proto::{limits::MAX_SESSION_GROUPS, ports};
use gaung_site::EnrolToken;
use service_kit::{
    config::{CommonArgs, ConfigErrors, ListenAddr, parse_bytes, parse_duration, parse_listen},
    program::{NoCommand, ServiceArgs},
    rpc,
    secure::PlaintextPolicy,
};

/// Flags of `broadcast-hub`; each can be given as an environment variable too.
#[derive(Debug, Clone, Args)]
pub struct HubArgs {
    /// Where the registry is.
    #[arg(long, env = "GAUNG_REGISTRY", default_value = "127.0.0.1:7400", value_name = "HOST:PORT")]
    pub registry: String,
    /// Folder that keeps the hub's id; without it the hub has a new id at every start.
    #[arg(long, env = "GAUNG_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Token by which the first start becomes a service of the registry's site: what `group-registry enrol` prints, or the registry's
    /// --enrol-secret. Later starts need none.
    #[arg(long, env = "GAUNG_ENROL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub enrol_token: Option<EnrolToken>,
    /// Host name or address that others should use; empty for the host through which they reached the registry.
    #[arg(long, env = "GAUNG_ADVERTISE", default_value = "", value_name = "HOST")]
    pub advertise: String,
    /// Address of the gRPC server.
    #[arg(long, env = "GAUNG_HUB_GRPC_LISTEN", default_value = "0.0.0.0:7403", value_name = "ADDR:PORT")]
    pub grpc_listen: SocketAddr,
    /// Address for framed TCP sessions.
    #[arg(long, env = "GAUNG_HUB_TCP_LISTEN", default_value = "0.0.0.0:7404", value_name = "ADDR:PORT")]
    pub tcp_listen: SocketAddr,
    /// Address for text sessions (netcat and the like); `off` for none.
    #[arg(long, env = "GAUNG_HUB_TEXT_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDR:PORT|off", value_parser = parse_listen)]
    pub text_listen: ListenAddr,
    /// Address for the page and its WebSocket; `off` for none.
    #[arg(long, env = "GAUNG_HUB_PAGE_LISTEN", default_value = "0.0.0.0:7480", value_name = "ADDR:PORT|off", value_parser = parse_listen)]
    pub page_listen: ListenAddr,
    /// Do not send the messages of `everyone` as UDP broadcasts.
    #[arg(long, env = "GAUNG_HUB_NO_BROADCAST")]
    pub no_broadcast: bool,
    /// UDP port that broadcasts go to.
    #[arg(long, env = "GAUNG_HUB_BROADCAST_PORT", default_value_t = ports::BROADCAST, value_name = "PORT")]
    pub broadcast_port: u16,
    /// Broadcast datagrams a second, of at most 1400 bytes; further ones are dropped, because every host receives them.
    #[arg(long, env = "GAUNG_HUB_BROADCAST_RATE", default_value_t = BROADCAST_RATE, value_name = "N")]
    pub broadcast_rate: u32,
    /// Interface (name or address) for broadcasts; without it every one that fits.
    #[arg(long, env = "GAUNG_IFACE", value_name = "IF")]
    pub iface: Option<String>,
    /// Worker threads, each with its own sessions; 0 for one a core.
    #[arg(long, env = "GAUNG_HUB_SHARDS", default_value_t = 0, value_name = "N")]
    pub shards: usize,
    /// Newest messages of one group that are kept in memory.
    #[arg(long, env = "GAUNG_HUB_RING", default_value = "8MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub ring: u64,
    /// Newest messages of all groups together; the oldest go first, whichever group has them.
    #[arg(long, env = "GAUNG_HUB_RINGS", default_value = "512MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub rings: u64,
    /// How many may connect.
    #[command(flatten)]
    pub sessions: SessionArgs,
    /// Disconnect a framed session that has sent nothing for this long; clients ping.
    #[arg(long, env = "GAUNG_HUB_IDLE", default_value = "5m", value_name = "DURATION", value_parser = parse_duration)]
    pub idle: Duration,
    /// Disconnect a session that has not read pending data for this long.
    #[arg(long, env = "GAUNG_HUB_STALL", default_value = "30s", value_name = "DURATION", value_parser = parse_duration)]
    pub stall: Duration,
}

/// How many sessions a hub takes; `gaung up` has the same flags.
#[derive(Debug, Clone, Copy, Args)]
pub struct SessionArgs {
    /// Most sessions of the hub (TCP, text) at a time; further ones are refused.
    #[arg(long, env = "GAUNG_HUB_SESSIONS", default_value_t = 20_000, value_name = "N", value_parser = parse_count)]
    pub sessions: usize,
    /// Most sessions at a time from one address.
    #[arg(
        long,
        env = "GAUNG_HUB_SESSIONS_PER_ADDRESS",
        default_value_t = 4096,
        value_name = "N",
        value_parser = parse_count
    )]
    pub sessions_per_address: usize,
}

fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "must be a number from 1".to_owned())
}

/// The hub's checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The registry as `HOST:PORT`. Default 127.0.0.1:7400.
    pub registry: String,
    /// Folder of the hub's id; `None` (default): a new id at every start.
    pub data: Option<PathBuf>,
    /// By what it enrols if it has no certificate yet; `None` (default): it stays without.
    pub enrol_token: Option<EnrolToken>,
    /// What others should use to reach the hub; empty (default): the registry's host.
    pub advertise: String,
    /// gRPC. Default 0.0.0.0:7403.
    pub grpc_listen: SocketAddr,
    /// From where connections without TLS are taken. Default anywhere.
    pub plaintext: PlaintextPolicy,
    /// gRPC connections that one address of another machine may have open; 0 for its share of all. Default 64.
    pub connections_per_address: u64,
    /// Framed TCP. Default 0.0.0.0:7404.
    pub tcp_listen: SocketAddr,
    /// Text; `None` for none. Default 0.0.0.0:8080.
    pub text_listen: Option<SocketAddr>,
    /// A taken text port is a warning, not an error. Default false.
    pub text_port_optional: bool,
    /// The page and its WebSocket; `None` for none. Default 0.0.0.0:7480.
    pub page_listen: Option<SocketAddr>,
    /// Metrics over HTTP; `None` for none. Default 0.0.0.0:7492.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether and where to broadcast `everyone`; `None` for not. Default port 7405 on every interface that fits.
    pub broadcast: Option<BroadcastConfig>,
    /// Worker threads; 0 (default) for one a core.
    pub shards: usize,
    /// Sizes and times.
    pub limits: Limits,
    /// How long sessions may take to end at a stop. Default 5 s.
    pub drain: Duration,
}

/// Broadcast datagrams a second by default: 11 Mbit/s in full ones, which a wireless network still carries
/// beside other traffic.
pub const BROADCAST_RATE: u32 = 1000;

/// Where broadcasts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroadcastConfig {
    /// UDP port. Default 7405.
    pub port: u16,
    /// Datagrams a second, at least 1. Default [`BROADCAST_RATE`].
    pub datagrams_per_second: u32,
    /// An interface's name or address; `None` for every one that fits.
    pub iface: Option<String>,
}

/// Limits of the hub's buffers and waits, and what happens at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one group's hot ring; above, the oldest runs are dropped, and readers behind them read the log. Default 8 MiB.
    pub ring_bytes: usize,
    /// Bytes of all hot rings; above, the oldest runs of all groups are dropped. Default 512 MiB.
    pub rings_bytes: usize,
    /// Groups followed at a time; further subscriptions get RESOURCE_EXHAUSTED. Default 10 000.
    pub groups: usize,
    /// Sessions at a time; further ones are refused. Default 20 000.
    pub sessions: usize,
    /// Sessions at a time from one address; further ones are refused. Default 4096.
    pub sessions_per_address: usize,
    /// Framed sessions that have not said hello; further ones are closed. Default 1024.
    pub handshakes: usize,
    /// How long a session may wait before it says hello; then it ends. Default 5 s.
    pub hello: Duration,
    /// How long a framed session may send nothing; then it ends. Default 5 min.
    pub idle: Duration,
    /// How long a session may leave pending data unread; then it ends. Default 30 s.
    pub stall: Duration,
    /// How long a subscription waits until its group is followed; then it fails with UNAVAILABLE. Default 10 s.
    pub subscribe: Duration,
    /// A session that falls behind the ring twice within this is ended. Default 60 s.
    pub resync: Duration,
    /// Publish requests waiting for one relay, bytes; further ones get UNAVAILABLE. Default 64 MiB.
    pub publish_bytes: usize,
    /// How long a framed publish waits for its acknowledgement; then it fails with UNAVAILABLE. Default 60 s.
    pub publish: Duration,
    /// How long a text line waits for its acknowledgement; then its author is told. Default 5 s.
    pub text_publish: Duration,
    /// Log reads at a time, about 1 MiB each; further ones wait, or evict one of the address that has most.
    /// Default 64.
    pub history_reads: usize,
    /// Lookups at the registry at a time, of groups that the hub does not know; further ones get RESOURCE_EXHAUSTED,
    /// or evict one of the address that has most. Default 1024.
    pub lookups: usize,
    /// The same of one address. Default 256: four sessions that each look up as many groups as a session may be in.
    pub lookups_per_address: usize,
    /// How long an ended session may take to read why it ended. Default 2 s.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            rings_bytes: 512 << 20,
            groups: 10_000,
            sessions: 20_000,
            sessions_per_address: 4096,
            handshakes: 1024,
            hello: Duration::from_secs(5),
            idle: Duration::from_secs(300),
            stall: Duration::from_secs(30),
            subscribe: Duration::from_secs(10),
            resync: Duration::from_secs(60),
            publish_bytes: 64 << 20,
            publish: Duration::from_secs(60),
            text_publish: Duration::from_secs(5),
            history_reads: 64,
            lookups: 1024,
            lookups_per_address: 4 * MAX_SESSION_GROUPS,
            linger: Duration::from_secs(2),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let all = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self {
            registry: format!("127.0.0.1:{}", ports::REGISTRY),
            data: None,
            enrol_token: None,
            advertise: String::new(),
            grpc_listen: all(ports::HUB),
            plaintext: PlaintextPolicy::default(),
            connections_per_address: rpc::CONNECTIONS_PER_ADDRESS,
            tcp_listen: all(ports::HUB_TCP),
            text_listen: Some(all(ports::TEXT)),
            text_port_optional: false,
            page_listen: Some(all(ports::WEB)),
            metrics_listen: Some(all(ports::HUB_METRICS)),
            broadcast: Some(BroadcastConfig {
                port: ports::BROADCAST,
                datagrams_per_second: BROADCAST_RATE,
                iface: None,
            }),
            shards: 0,
            limits: Limits::default(),
            drain: Duration::from_secs(5),
        }
    }
}

impl ServiceArgs for HubArgs {
    type Config = Config;
    type Command = NoCommand;

    async fn execute(&self, command: NoCommand) -> anyhow::Result<()> {
        match command {}
    }

    fn grpc_listen(&self) -> SocketAddr {
        self.grpc_listen
    }

    fn check(self, common: &CommonArgs) -> Result<Config, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        common.check(&mut errors);
        errors.check("--registry", rpc::endpoint(&self.registry));
        errors.check_advertise(&self.advertise);
        if self.shards > MAX_SHARDS {
            errors.add("--shards", format!("at most {MAX_SHARDS} worker threads"));
        }
        if self.broadcast_port == 0 && !self.no_broadcast {
            errors.add("--broadcast-port", "must be from 1 to 65535, or give --no-broadcast");
        }
        if self.broadcast_rate == 0 {
            errors.add("--broadcast-rate", "must be at least 1, or give --no-broadcast");
        }
        let ring_bytes = errors.check_buffer("--ring", self.ring);
        let rings_bytes = errors.check_buffer("--rings", self.rings);
        for (flag, value) in [("--idle", self.idle), ("--stall", self.stall)] {
            if value < Duration::from_secs(1) {
                errors.add(flag, "must be at least 1s");
            }
        }
        let default = Config::default();
        let limits = Limits {
            ring_bytes,
            rings_bytes,
            sessions: self.sessions.sessions,
            sessions_per_address: self.sessions.sessions_per_address,
            idle: self.idle,
            stall: self.stall,
            ..Limits::default()
        };
        let broadcast =
            BroadcastConfig { port: self.broadcast_port, datagrams_per_second: self.broadcast_rate, iface: self.iface };
        let metrics = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports::HUB_METRICS);
        errors.finish(Some(Config {
            registry: self.registry,
            data: self.data,
            enrol_token: self.enrol_token,
            advertise: self.advertise,
            grpc_listen: self.grpc_listen,
            plaintext: common.plaintext,
            connections_per_address: common.connections_per_address,
            tcp_listen: self.tcp_listen,
            text_listen: address(self.text_listen),
            page_listen: address(self.page_listen),
            metrics_listen: common.metrics_addr(metrics),
            broadcast: (!self.no_broadcast).then_some(broadcast),
            shards: self.shards,
            limits,
            drain: common.drain,
            ..default
        }))
    }
}

fn address(listen: ListenAddr) -> Option<SocketAddr> {
    match listen {
        ListenAddr::On(addr) => Some(addr),
        ListenAddr::Off => None,
    }
}

const MAX_SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use service_kit::program;

    use super::*;

    fn check(flags: &[&str]) -> Result<Config, String> {
        program::configuration::<HubArgs>(flags)
    }

    #[test]
    fn flags_and_config_have_the_same_defaults() {
        let (flags, default) = (check(&[]).unwrap(), Config::default());
        assert_eq!(format!("{flags:?}"), format!("{default:?}"));
    }

    #[test]
    fn all_faults_are_reported_together() {
        let text = check(&["--registry", "x", "--advertise", "a:1", "--ring", "1", "--idle", "0"]).unwrap_err();
        for flag in ["--registry", "--advertise", "--ring", "--idle"] {
            assert!(text.contains(flag), "{text}");
        }
        let off = check(&["--text-listen", "off", "--page-listen", "off", "--no-broadcast", "--metrics-listen", "off"])
            .unwrap();
        assert!(
            off.text_listen.is_none()
                && off.page_listen.is_none()
                && off.broadcast.is_none()
                && off.metrics_listen.is_none()
        );
    }

    #[test]
    fn shipped_example_parses() {
        let example = include_str!("../../../deploy/env/broadcast-hub.env");
        let flags = program::flags_of_env_file::<HubArgs>(example).unwrap();
        assert!(flags.len() >= 20, "the example shows the settings: {flags:?}");
        program::configuration::<HubArgs>(&flags).unwrap();
    }
}
