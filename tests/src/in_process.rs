//! Settings of registry and relay within the test's own process, on free ports of loopback.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use service_kit::secure::PlaintextPolicy;

/// A free port of loopback.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Settings of a registry that keeps nothing.
#[must_use]
pub fn registry(plaintext: PlaintextPolicy) -> group_registry::Config {
    group_registry::Config {
        data: None,
        grpc_listen: ANY_PORT,
        plaintext,
        metrics_listen: None,
        discovery_port: None,
        quiet_time: Duration::ZERO,
        iface: vec!["lo".to_owned()],
        ..group_registry::Config::default()
    }
}

/// Settings of a relay of the registry at `target`, with its log in memory.
#[must_use]
pub fn relay(target: &str, data: &Path, plaintext: PlaintextPolicy) -> multicast_relay::Config {
    multicast_relay::Config {
        registry: target.to_owned(),
        data: Some(data.to_owned()),
        log: multicast_relay::LogKind::Memory,
        grpc_listen: ANY_PORT,
        plaintext,
        udp_port: 0,
        iface: vec!["lo".to_owned()],
        metrics_listen: None,
        ..multicast_relay::Config::default()
    }
}
