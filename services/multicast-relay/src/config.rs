//! Settings of the relay: flags and environment become one checked [`Config`], with nothing bound yet.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::{Args, ValueEnum};
use gaung_engine::{DEFAULT_REPAIR_BYTES, Rate};
use gaung_log::Retention;
use gaung_net::driver::Batching;
use gaung_proto::ports;
use gaung_site::EnrolToken;
use service_kit::{
    config::{CommonArgs, ConfigErrors, parse_bytes, parse_duration},
    program::{NoCommand, ServiceArgs},
    rpc,
    secure::PlaintextPolicy,
};

use crate::budget::LogBudget;

/// Flags of `multicast-relay`; each can be given as an environment variable too.
#[derive(Debug, Clone, Args)]
pub struct RelayArgs {
    /// Address of the registry.
    #[arg(long, env = "GAUNG_REGISTRY", default_value = "127.0.0.1:7400", value_name = "HOST:PORT")]
    pub registry: String,
    /// Folder of the log, the relay's id and the registry's key.
    #[arg(long, env = "GAUNG_DATA", default_value = "/var/lib/gaung/relay", value_name = "DIR")]
    pub data: PathBuf,
    /// Where messages are kept: on disk, or in memory, where they end with the process.
    #[arg(long, env = "GAUNG_LOG", value_enum, default_value_t, value_name = "KIND")]
    pub log: LogKind,
    /// Token by which the first start becomes a service of the registry's site: what `group-registry enrol` prints, or the registry's
    /// --enrol-secret. Later starts need none.
    #[arg(long, env = "GAUNG_ENROL_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub enrol_token: Option<EnrolToken>,
    /// Host name or address that others should use; empty for the host through which they reached the registry.
    #[arg(long, env = "GAUNG_ADVERTISE", default_value = "", value_name = "HOST")]
    pub advertise: String,
    /// Address of the gRPC server.
    #[arg(
        long,
        env = "GAUNG_RELAY_GRPC_LISTEN",
        default_value = "0.0.0.0:7401",
        value_name = "ADDR:PORT",
        global = true
    )]
    pub grpc_listen: SocketAddr,
    /// UDP port of the data plane, on every chosen interface and on 127.0.0.1; 0 for a free one.
    #[arg(long, env = "GAUNG_RELAY_UDP_PORT", default_value_t = ports::RELAY_UDP, value_name = "PORT")]
    pub udp_port: u16,
    /// Interface (name or address) for multicast; may be given several times. Without it every one that fits.
    #[arg(long, env = "GAUNG_IFACE", value_name = "IF", value_delimiter = ',')]
    pub iface: Vec<String>,
    /// Let the kernel or the network card split and merge datagrams (UDP GSO and GRO); turn it off where a capture or a device
    /// must see each datagram.
    #[arg(long, env = "GAUNG_RELAY_SEGMENTATION", value_enum, default_value_t, value_name = "on|off")]
    pub segmentation: Segmentation,
    /// Rate limit of one group's datagrams, repairs included, in Mbit/s. Sending starts at a quarter of it.
    #[arg(long, env = "GAUNG_RELAY_RATE", default_value_t = DEFAULT_RATE_MBIT, value_name = "MBIT")]
    pub rate: u32,
    /// Worker threads, each with its own groups; 0 for one a core.
    #[arg(long, env = "GAUNG_RELAY_WORKERS", default_value_t = 0, value_name = "N")]
    pub workers: usize,
    /// Bytes of one group's newest messages that are kept in memory for followers.
    #[arg(long, env = "GAUNG_RELAY_RING", default_value = "2MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub ring: u64,
    /// Bytes of all groups' newest messages that are kept in memory; the oldest are dropped first, of whichever group.
    #[arg(long, env = "GAUNG_RELAY_RINGS", default_value = "256MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub rings: u64,
    /// Bytes of one group's newest datagrams that are kept for repairs.
    #[arg(long, env = "GAUNG_RELAY_REPAIR", default_value = "4MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub repair: u64,
    /// Bytes of a memory log, all groups together; the oldest messages are dropped first.
    #[arg(long, env = "GAUNG_RELAY_MEMORY", default_value = "256MiB", value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: u64,
    /// Bytes of the disk for the log; above it the largest groups' oldest messages are dropped. `none` for no limit
    /// [default: what is free at the start and what the log has, less a fifth of it or 10 GiB].
    #[arg(long, env = "GAUNG_RELAY_LOG_BYTES", value_name = "BYTES|none")]
    pub log_bytes: Option<LogBudget>,
    /// Drop messages older than this; by default none.
    #[arg(long, env = "GAUNG_RELAY_KEEP", value_name = "DURATION", value_parser = parse_duration)]
    pub keep: Option<Duration>,
    /// Drop the oldest messages above this many bytes of all groups together; by default none.
    #[arg(long, env = "GAUNG_RELAY_KEEP_BYTES", value_name = "BYTES", value_parser = parse_bytes)]
    pub keep_bytes: Option<u64>,
}

/// The storage that a relay keeps messages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LogKind {
    /// On disk: acknowledged means that it survives a power cut.
    #[default]
    Disk,
    /// In memory: nothing survives the process.
    Memory,
}

/// Whether the kernel or the network card splits and merges datagrams (UDP GSO and GRO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Segmentation {
    /// Wherever kernel and card support it.
    #[default]
    On,
    /// Each datagram passes the network stack by itself.
    Off,
}

impl Segmentation {
    pub(crate) const fn batching(self) -> Batching {
        match self {
            Self::On => Batching::Segments,
            Self::Off => Batching::Messages,
        }
    }
}

/// The relay's settings after every flag was checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The registry as `HOST:PORT`. Default 127.0.0.1:7400.
    pub registry: String,
    /// Folder of the log, the relay's id and the registry's key; `None`: a new id at every start, which a disk log
    /// does not allow. Default `/var/lib/gaung/relay`.
    pub data: Option<PathBuf>,
    /// The storage of messages. Default disk.
    pub log: LogKind,
    /// By what it enrols if it has no certificate yet; `None` (default): it stays without.
    pub enrol_token: Option<EnrolToken>,
    /// What others should use to reach the relay; empty (default): the registry's host.
    pub advertise: String,
    /// Address of the gRPC server. Default 0.0.0.0:7401.
    pub grpc_listen: SocketAddr,
    /// From where the gRPC server takes connections without TLS. Default anywhere.
    pub plaintext: PlaintextPolicy,
    /// gRPC connections that one address of another machine may have open; 0 for its share of all. Default 64.
    pub connections_per_address: u64,
    /// UDP port of the data plane; 0 for a free one. Default 7402.
    pub udp_port: u16,
    /// Interfaces' names or addresses; empty (default) for every one that fits.
    pub iface: Vec<String>,
    /// UDP segmentation offload. Default on.
    pub segmentation: Segmentation,
    /// The most that one group's datagrams take of the network, repairs included. Default 200 Mbit/s.
    pub rate: Rate,
    /// Address of the metrics page (HTTP); `None` for no page. Default 0.0.0.0:7491.
    pub metrics_listen: Option<SocketAddr>,
    /// Worker threads; 0 (default) for one a core.
    pub workers: usize,
    /// Bytes of one group's hot ring; older runs are read from the log. Default 2 MiB.
    pub ring_bytes: usize,
    /// Bytes of all hot rings; the oldest runs go, whichever group has them. Default 256 MiB.
    pub rings_bytes: usize,
    /// Bytes of one group's repair window; what is older is read from the log. Default 4 MiB.
    pub repair_bytes: usize,
    /// Bytes of a memory log; the oldest runs go. Default 256 MiB.
    pub memory_bytes: usize,
    /// Limits on the age and size of all kept messages. Default none.
    pub retention: Retention,
    /// Bytes of the disk that a log may take. Default a share of what is free.
    pub log_bytes: LogBudget,
    /// Time that open calls have to end when the relay stops. Default 5 s.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let all = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self {
            registry: format!("127.0.0.1:{}", ports::REGISTRY),
            data: Some(PathBuf::from("/var/lib/gaung/relay")),
            log: LogKind::Disk,
            enrol_token: None,
            advertise: String::new(),
            grpc_listen: all(ports::RELAY),
            plaintext: PlaintextPolicy::default(),
            connections_per_address: rpc::CONNECTIONS_PER_ADDRESS,
            udp_port: ports::RELAY_UDP,
            iface: Vec::new(),
            segmentation: Segmentation::On,
            rate: Rate::from_mbit(DEFAULT_RATE_MBIT),
            metrics_listen: Some(all(ports::RELAY_METRICS)),
            workers: 0,
            ring_bytes: 2 << 20,
            rings_bytes: 256 << 20,
            repair_bytes: DEFAULT_REPAIR_BYTES,
            memory_bytes: 256 << 20,
            retention: Retention::default(),
            log_bytes: LogBudget::default(),
            drain: Duration::from_secs(5),
        }
    }
}

impl ServiceArgs for RelayArgs {
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
        if self.workers > MAX_WORKERS {
            errors.add("--workers", format!("at most {MAX_WORKERS} worker threads"));
        }
        if self.iface.iter().any(String::is_empty) {
            errors.add("--iface", "must be an interface's name or address; leave it out for every one that fits");
        }
        if self.keep.is_some_and(|keep| keep < MIN_KEEP) {
            errors.add("--keep", "must be at least 1h, the time in which publishers repeat a message");
        }
        if !RATES_MBIT.contains(&self.rate) {
            errors.add("--rate", format!("must be from {} to {} Mbit/s", RATES_MBIT.start(), RATES_MBIT.end()));
        }
        let ring_bytes = errors.check_buffer("--ring", self.ring);
        let rings_bytes = errors.check_buffer("--rings", self.rings);
        let repair_bytes = errors.check_buffer("--repair", self.repair);
        let memory_bytes = errors.check_buffer("--memory", self.memory);
        let max_age_ms = self.keep.map(|keep| keep.as_millis() as u64);
        let metrics = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports::RELAY_METRICS);
        errors.finish(Some(Config {
            registry: self.registry,
            data: Some(self.data),
            log: self.log,
            enrol_token: self.enrol_token,
            advertise: self.advertise,
            grpc_listen: self.grpc_listen,
            plaintext: common.plaintext,
            connections_per_address: common.connections_per_address,
            udp_port: self.udp_port,
            iface: self.iface,
            segmentation: self.segmentation,
            rate: Rate::from_mbit(self.rate),
            metrics_listen: common.metrics_addr(metrics),
            workers: self.workers,
            ring_bytes,
            rings_bytes,
            repair_bytes,
            memory_bytes,
            retention: Retention { max_age_ms, max_bytes: self.keep_bytes },
            log_bytes: self.log_bytes.unwrap_or_default(),
            drain: common.drain,
        }))
    }
}

/// Default of `--rate`, Mbit/s: a fifth of a 1 Gbit/s switch port.
pub const DEFAULT_RATE_MBIT: u32 = 200;
const RATES_MBIT: RangeInclusive<u32> = 1..=1_000_000;
const MAX_WORKERS: usize = 256;
const MIN_KEEP: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use service_kit::program;

    use super::*;

    fn check(flags: &[&str]) -> Result<Config, String> {
        program::configuration::<RelayArgs>(flags)
    }

    #[test]
    fn the_flags_defaults_are_the_configs() {
        assert_eq!(format!("{:?}", check(&[]).unwrap()), format!("{:?}", Config::default()));
    }

    #[test]
    fn all_faults_are_told() {
        let flags = [
            "--registry",
            "x",
            "--advertise",
            "a:1",
            "--ring",
            "1",
            "--keep",
            "1m",
            "--workers",
            "9999",
            "--rate",
            "0",
        ];
        let text = check(&flags).unwrap_err();
        for flag in ["--registry", "--advertise", "--ring", "--keep", "--workers", "--rate"] {
            assert!(text.contains(flag), "{text}");
        }
    }

    #[test]
    fn interfaces_may_be_several() {
        assert_eq!(check(&["--iface", "lo", "--iface", "eth0"]).unwrap().iface, ["lo", "eth0"]);
        assert_eq!(check(&["--iface", "lo,eth0"]).unwrap().iface, ["lo", "eth0"]);
    }

    #[test]
    fn segmentation_can_be_turned_off() {
        assert_eq!(check(&[]).unwrap().segmentation.batching(), Batching::Segments);
        assert_eq!(check(&["--segmentation", "off"]).unwrap().segmentation.batching(), Batching::Messages);
        assert!(check(&["--segmentation", "no"]).unwrap_err().contains("--segmentation"));
    }

    #[test]
    fn shipped_example_parses() {
        let example = include_str!("../../../deploy/env/multicast-relay.env");
        let flags = program::flags_of_env_file::<RelayArgs>(example).unwrap();
        assert!(flags.len() >= 20, "the example shows the settings: {flags:?}");
        program::configuration::<RelayArgs>(&flags).unwrap();
    }
}
