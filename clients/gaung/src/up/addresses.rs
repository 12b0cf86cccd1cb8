//! The addresses of the services, as lines for people and as JSON for programs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use gaung_net::interface::{choose, interfaces};
use serde::Serialize;
use service_kit::health_client::local_target;

use crate::group::to_json;

/// The bound addresses; their JSON is the ready line.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Addresses {
    /// Always true, since this is printed once all services are ready.
    pub(crate) ready: bool,
    /// The site's code, by which others can pin it.
    pub(crate) site: String,
    /// Registry, gRPC.
    pub(crate) registry: SocketAddr,
    /// Relay, gRPC.
    pub(crate) relay: SocketAddr,
    /// Relay, data plane.
    pub(crate) relay_udp: SocketAddr,
    /// Hub, gRPC.
    pub(crate) hub: SocketAddr,
    /// Hub, framed TCP.
    pub(crate) tcp: SocketAddr,
    /// Hub, text; `None` if its port was taken.
    pub(crate) text: Option<SocketAddr>,
    /// Hub, page and WebSocket; `None` if it is off.
    pub(crate) page: Option<SocketAddr>,
    /// The address to which broadcasts are sent.
    pub(crate) broadcast: SocketAddr,
    /// Discovery, UDP; `None` if it does not answer.
    pub(crate) discovery_port: Option<u16>,
    /// Metrics over HTTP.
    pub(crate) registry_metrics: Option<SocketAddr>,
    /// Metrics over HTTP.
    pub(crate) relay_metrics: Option<SocketAddr>,
    /// Metrics over HTTP.
    pub(crate) hub_metrics: Option<SocketAddr>,
    /// Whether messages are stored on disk.
    pub(crate) durable: bool,
    /// The host that others are to use, if one was named.
    #[serde(skip)]
    pub(crate) advertise: Option<String>,
    /// The interface, if one was named.
    #[serde(skip)]
    pub(crate) iface: Option<String>,
}

impl Addresses {
    /// Returns the registry for this machine as `--server` takes it, with the site's code.
    pub(crate) fn registry_target(&self) -> String {
        format!("{}#{}", local_target(self.registry), self.site)
    }

    /// Returns the addresses as one line of JSON.
    pub(crate) fn json(&self) -> String {
        to_json(self)
    }

    /// Returns one line for each address, and the commands by which others join.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("site       {}", self.site),
            format!("registry   {}", self.registry),
            format!("relay      {}  udp {}", self.relay, self.relay_udp.port()),
            format!("hub        {}  tcp {}  broadcast {}", self.hub, self.tcp.port(), self.broadcast.port()),
        ];
        if let Some(text) = self.text {
            lines.push(format!("text       {text}"));
        }
        if let Some(page) = self.page {
            lines.push(format!("page       http://{}/", local_target(page)));
        }
        let metrics: Vec<_> = [self.registry_metrics, self.relay_metrics, self.hub_metrics]
            .into_iter()
            .flatten()
            .map(|addr| format!("http://{}/metrics", local_target(addr)))
            .collect();
        if !metrics.is_empty() {
            lines.push(format!("metrics    {}", metrics.join("  ")));
        }
        lines.push(String::new());
        lines.push("Others join with".to_owned());
        if self.discovery_port == Some(gaung_proto::ports::DISCOVERY) && !self.registry.ip().is_loopback() {
            lines.push("  gaung chat".to_owned());
        }
        for host in self.hosts() {
            lines.extend(self.join_lines(&host));
        }
        lines
    }

    /// Returns the shortest commands by which others join.
    pub(crate) fn join_commands(&self) -> Vec<String> {
        let lines = self.hosts().into_iter().take(1).flat_map(|host| self.join_lines(&host));
        lines.map(|line| line.split("  (").next().unwrap_or_default().trim().to_owned()).collect()
    }

    fn join_lines(&self, host: &str) -> Vec<String> {
        let server = match self.registry.port() {
            gaung_proto::ports::REGISTRY => host.to_owned(),
            port => format!("{}:{port}", bracketed(host)),
        };
        let mut lines = vec![format!("  gaung chat --server {server}#{}", self.site)];
        if let Some(page) = self.page {
            lines.push(format!("  http://{}:{}/   (a browser, on a phone too)", bracketed(host), page.port()));
        }
        if let Some(text) = self.text {
            lines.push(format!("  nc {host} {}   (text, without gaung)", text.port()));
        }
        lines
    }

    /// Returns the names or addresses by which others reach this machine.
    fn hosts(&self) -> Vec<String> {
        if let Some(host) = &self.advertise {
            return vec![host.clone()];
        }
        if !self.registry.ip().is_unspecified() {
            return vec![self.registry.ip().to_string()];
        }
        let chosen = interfaces().ok().and_then(|all| choose(&all, self.iface.as_deref()).ok());
        let links = chosen.map(|chosen| chosen.links).unwrap_or_default();
        let mut hosts: Vec<_> = links.iter().map(|link| link.ip.to_string()).collect();
        if hosts.is_empty() {
            hosts.push(Ipv4Addr::LOCALHOST.to_string());
        }
        hosts
    }
}

fn bracketed(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn addresses(ip: &str) -> Addresses {
        let at = |port| SocketAddr::new(ip.parse().unwrap(), port);
        Addresses {
            ready: true,
            site: "K7QX-2MPA-Q9DV-E4TB".to_owned(),
            registry: at(7400),
            relay: at(7401),
            relay_udp: at(7402),
            hub: at(7403),
            tcp: at(7404),
            text: Some(at(8080)),
            page: Some(at(7480)),
            broadcast: at(7405),
            discovery_port: Some(7406),
            registry_metrics: Some(at(7490)),
            relay_metrics: None,
            hub_metrics: None,
            durable: true,
            advertise: None,
            iface: None,
        }
    }

    #[test]
    fn lines_name_the_commands_to_join() {
        let lines = addresses("192.168.1.10").lines();
        for line in [
            "site       K7QX-2MPA-Q9DV-E4TB",
            "registry   192.168.1.10:7400",
            "  gaung chat",
            "  gaung chat --server 192.168.1.10#K7QX-2MPA-Q9DV-E4TB",
        ]
        .into_iter()
        .chain(["  http://192.168.1.10:7480/   (a browser, on a phone too)"])
        {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:#?}");
        }
        let other_port = Addresses { registry: "[fd00::1]:7500".parse().unwrap(), text: None, ..addresses("fd00::1") };
        let lines = other_port.lines();
        assert!(lines.iter().any(|l| l == "  gaung chat --server [fd00::1]:7500#K7QX-2MPA-Q9DV-E4TB"), "{lines:#?}");
        assert!(!lines.iter().any(|l| l.contains("nc ") || l.starts_with("text")), "{lines:#?}");
        let commands = addresses("192.168.1.10").join_commands();
        let chat = "gaung chat --server 192.168.1.10#K7QX-2MPA-Q9DV-E4TB";
        assert_eq!(commands, [chat, "http://192.168.1.10:7480/", "nc 192.168.1.10 8080"]);
        let loopback = addresses("127.0.0.1").lines();
        assert!(!loopback.iter().any(|l| l == "  gaung chat"), "nobody outside reaches it: {loopback:#?}");
    }

    #[test]
    fn the_json_line_has_all_ports() {
        let json: serde_json::Value = serde_json::from_str(&addresses("127.0.0.1").json()).unwrap();
        assert_eq!(json["ready"], true);
        assert_eq!(json["registry"], "127.0.0.1:7400");
        assert_eq!(json["site"], "K7QX-2MPA-Q9DV-E4TB");
        assert_eq!(json["text"], "127.0.0.1:8080");
        assert_eq!(json["hub_metrics"], serde_json::Value::Null);
        assert!(!addresses("127.0.0.1").json().contains('\n'));
    }
}
