//! Host names and ports, and how long their services may take.

use std::{fmt, time::Duration};

use gaung_net::backoff::Backoff;
use tonic::Request;

use crate::error::ClientError;

/// How long a connection may take to come about, its TLS handshake included.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// How long one call that is not a stream may take.
pub(crate) const CALL: Duration = Duration::from_secs(8);

/// Makes the backoff between attempts to reach a server: at most 50 ms at first and 3 s in the end, so that people see
/// a server that came back within seconds.
pub(crate) fn server_backoff() -> Backoff {
    Backoff::between(Duration::from_millis(50), Duration::from_secs(3))
}

/// A host, by name or address without brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HostPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl HostPort {
    pub(crate) fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or a bare IPv6 address.
    pub(crate) fn parse(text: &str, default_port: u16) -> Result<Self, ClientError> {
        let wrong = || ClientError::Usage(format!("{text:?} is not a server; write HOST or HOST:PORT"));
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
                (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).ok_or_else(wrong)?)
            }
            None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, ""),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(plain) || (port.is_empty() && text.ends_with(':') && host != text) {
            return Err(wrong());
        }
        let port = if port.is_empty() { default_port } else { port.parse().map_err(|_| wrong())? };
        Ok(Self::new(host, port))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A unary request with its deadline.
pub(crate) fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn servers_are_read_as_people_write_them() {
        for (text, shown) in [
            ("lan", "lan:7400"),
            ("10.0.0.7:81", "10.0.0.7:81"),
            ("::1", "[::1]:7400"),
            ("[fe80::1]", "[fe80::1]:7400"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(HostPort::parse(text, 7400).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", ":", ":80", "a:", "a:b", "a:70000", "http://a", "a b", "[::1", "[::1]x", "[a]"] {
            assert!(HostPort::parse(text, 7400).is_err(), "{text:?}");
        }
    }
}
