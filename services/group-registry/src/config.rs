//! Settings of the registry: flags and environment become one checked [`Config`], with nothing bound yet.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Args, Subcommand};
use gaung_proto::ports;
use gaung_site::EnrolToken;
use ipnet::Ipv4Net;
use service_kit::{
    config::{CommonArgs, ConfigErrors, parse_duration},
    program::ServiceArgs,
    rpc::CONNECTIONS_PER_ADDRESS,
    secure::PlaintextPolicy,
};

use crate::{
    address::Pool,
    address_picker::Pools,
    device_limits::DeviceRates,
    limits::{self, GroupLimits},
    token_socket::request_token,
};

const MAX_QUIET_TIME: Duration = Duration::from_secs(60);

/// Flags of `group-registry`; each can be given as an environment variable too.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// Folder of the groups, members and invites, and of the site's certificates.
    #[arg(long, env = "GAUNG_DATA", default_value = "/var/lib/gaung/registry", value_name = "DIR", global = true)]
    pub data: PathBuf,
    /// Address of the gRPC server.
    #[arg(long, env = "GAUNG_REGISTRY_GRPC_LISTEN", default_value = "0.0.0.0:7400", value_name = "ADDR:PORT")]
    pub grpc_listen: SocketAddr,
    /// IPv4 address that discovery advertises; empty for the one that its answer comes from.
    #[arg(long, env = "GAUNG_ADVERTISE", default_value = "", value_name = "ADDR")]
    pub advertise: String,
    /// UDP port on which clients find this registry; 0 for a free one.
    #[arg(long, env = "GAUNG_DISCOVERY_PORT", default_value_t = ports::DISCOVERY, value_name = "PORT")]
    pub discovery_port: u16,
    /// Do not answer clients that look for a registry.
    #[arg(long, env = "GAUNG_NO_DISCOVERY")]
    pub no_discovery: bool,
    /// Secret by which relays and hubs on other machines enrol: 32 random hexadecimal digits (`openssl rand -hex 16`), which they get
    /// as --enrol-token. Without it they enrol by the tokens of `group-registry enrol`.
    #[arg(long, env = "GAUNG_ENROL_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub enrol_secret: Option<EnrolToken>,
    /// Range of the multicast addresses that groups of scope `site` get. [default: 239.255.0.0/16 without its top /24]
    #[arg(long, env = "GAUNG_REGISTRY_POOL", value_name = "CIDR")]
    pub pool: Option<Ipv4Net>,
    /// The same for scope `organization`. [default: 239.192.0.0/14 without its top /24]
    #[arg(long, env = "GAUNG_REGISTRY_ORGANIZATION_POOL", value_name = "CIDR")]
    pub organization_pool: Option<Ipv4Net>,
    /// How long an address is listened to before a group gets it; 0 for not at all.
    #[arg(long, env = "GAUNG_REGISTRY_QUIET_TIME", default_value = "1s", value_name = "DURATION", value_parser = parse_duration)]
    pub quiet_time: Duration,
    /// Groups that one address may have made at a time, groups made on this machine not counted; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_GROUPS_PER_ADDRESS", default_value_t = limits::GROUPS_PER_ADDRESS, value_name = "N")]
    pub groups_per_address: usize,
    /// Groups that one device may have made at a time, groups made on this machine not counted; 0 for any number.
    #[arg(long, env = "GAUNG_REGISTRY_GROUPS_PER_DEVICE", default_value_t = limits::GROUPS_PER_DEVICE, value_name = "N")]
    pub groups_per_device: usize,
    /// What one device may call.
    #[command(flatten)]
    pub device_rates: DeviceRates,
    /// Interface (name or address) to listen on and be found on; may be given several times. Without it every suitable one.
    #[arg(long, env = "GAUNG_IFACE", value_name = "IF", value_delimiter = ',')]
    pub iface: Vec<String>,
}

/// Subcommands of `group-registry`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum RegistryCommand {
    /// Print a token by which relays and hubs on other machines become this site's, good for an hour. The registry must run.
    Enrol,
}

/// The registry's checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder of the store; `None`: in memory, lost with the process. Default `/var/lib/gaung/registry`.
    pub data: Option<PathBuf>,
    /// Folder of the site's certificates and of the key that issues leaves; `None` (default): `site` in the data folder.
    pub site: Option<PathBuf>,
    /// Address of the gRPC server. Default 0.0.0.0:7400.
    pub grpc_listen: SocketAddr,
    /// Address of the metrics server; `None` for none. Default 0.0.0.0:7490.
    pub metrics_listen: Option<SocketAddr>,
    /// Address that discovery advertises; `None` (default) for the one that its answer comes from.
    pub advertise: Option<Ipv4Addr>,
    /// UDP port of discovery, 0 for a free one; `None` for no discovery. Default 7406.
    pub discovery_port: Option<u16>,
    /// What relays and hubs may enrol by for as long as the registry runs, beside tokens of an hour. Default none.
    pub enrol_secret: Option<EnrolToken>,
    /// Ranges that addresses are chosen from.
    pub pools: Pools,
    /// How long an address is listened to before it is given out, up to a minute; 0 for not at all. Default 1 s.
    pub quiet_time: Duration,
    /// Groups that one caller may have made at a time. Default 512 an address, 100 a device.
    pub group_limits: GroupLimits,
    /// What one proven device may call a minute.
    pub device_rates: DeviceRates,
    /// Interfaces' names or addresses; empty (default) for every suitable one.
    pub iface: Vec<String>,
    /// From where connections without TLS are taken, and to where services that speak none are probed. Default anywhere.
    pub plaintext: PlaintextPolicy,
    /// gRPC connections that one address of another machine may have open; 0 for its share of all. Default 64.
    pub connections_per_address: u64,
    /// How long a stop waits for calls to end. Default 5 s.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let all = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
        Self {
            data: Some(PathBuf::from("/var/lib/gaung/registry")),
            site: None,
            grpc_listen: all(ports::REGISTRY),
            metrics_listen: Some(all(ports::REGISTRY_METRICS)),
            advertise: None,
            discovery_port: Some(ports::DISCOVERY),
            enrol_secret: None,
            pools: Pools { site: Pool::site(), organization: Pool::organization() },
            quiet_time: Duration::from_secs(1),
            group_limits: GroupLimits::default(),
            device_rates: DeviceRates::default(),
            iface: Vec::new(),
            plaintext: PlaintextPolicy::default(),
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            drain: Duration::from_secs(5),
        }
    }
}

impl ServiceArgs for RegistryArgs {
    type Config = Config;
    type Command = RegistryCommand;

    async fn execute(&self, command: RegistryCommand) -> anyhow::Result<()> {
        match command {
            RegistryCommand::Enrol => println!("{}", request_token(&self.data).await?),
        }
        Ok(())
    }

    fn grpc_listen(&self) -> SocketAddr {
        self.grpc_listen
    }

    fn check(self, common: &CommonArgs) -> Result<Config, ConfigErrors> {
        let mut errors = ConfigErrors::new();
        common.check(&mut errors);
        let mut pool = |flag, net: Option<Ipv4Net>, default| match net {
            Some(net) => errors.check(flag, Pool::new(net)),
            None => Some(default),
        };
        let site = pool("--pool", self.pool, Pool::site());
        let organization = pool("--organization-pool", self.organization_pool, Pool::organization());
        let advertise: Option<Ipv4Addr> = match self.advertise.as_str() {
            "" => None,
            text => errors.check("--advertise", text.parse().map_err(|_| "must be an IPv4 address, such as 192.168.1.10; leave it out for the one that the answer comes from")),
        };
        if self.quiet_time > MAX_QUIET_TIME {
            errors.add("--quiet-time", "must be at most 1m; every create may have to wait for it");
        }
        if self.iface.iter().any(String::is_empty) {
            errors.add("--iface", "must be an interface's name or address; leave it out for every suitable one");
        }
        let metrics = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), ports::REGISTRY_METRICS);
        let config = site.zip(organization).map(|(site, organization)| Config {
            data: Some(self.data),
            site: None,
            grpc_listen: self.grpc_listen,
            metrics_listen: common.metrics_addr(metrics),
            advertise,
            discovery_port: (!self.no_discovery).then_some(self.discovery_port),
            enrol_secret: self.enrol_secret,
            pools: Pools { site, organization },
            quiet_time: self.quiet_time,
            group_limits: GroupLimits { per_address: self.groups_per_address, per_device: self.groups_per_device },
            device_rates: self.device_rates,
            iface: self.iface,
            plaintext: common.plaintext,
            connections_per_address: common.connections_per_address,
            drain: common.drain,
        });
        errors.finish(config)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use service_kit::program;

    use super::*;

    fn check(flags: &[&str]) -> Result<Config, String> {
        program::configuration::<RegistryArgs>(flags)
    }

    #[test]
    fn the_flags_defaults_are_the_configs() {
        assert_eq!(format!("{:?}", check(&[]).unwrap()), format!("{:?}", Config::default()));
    }

    #[test]
    fn all_faults_are_reported() {
        let flags = [
            "--pool",
            "10.0.0.0/8",
            "--organization-pool",
            "224.0.0.0/24",
            "--quiet-time",
            "2h",
            "--advertise",
            "here:1",
        ];
        let text = check(&flags).unwrap_err();
        for flag in ["--pool", "--organization-pool", "--quiet-time", "--advertise"] {
            assert!(text.contains(flag), "{text}");
        }
    }

    #[test]
    fn discovery_can_be_left_out() {
        assert_eq!(check(&["--no-discovery"]).unwrap().discovery_port, None);
    }

    #[test]
    fn shipped_example_parses() {
        let example = include_str!("../../../deploy/env/group-registry.env");
        let flags = program::flags_of_env_file::<RegistryArgs>(example).unwrap();
        assert!(flags.len() >= 20, "the example shows the settings: {flags:?}");
        program::configuration::<RegistryArgs>(&flags).unwrap();
    }
}
