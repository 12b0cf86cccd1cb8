//! Where a registry was reached.

use std::{fmt, str::FromStr};

/// Longest host name (RFC 1035), a colon and a port.
const MAX_BYTES: usize = 253 + 6;

/// Host and port of a registry, `192.168.1.10:7400`, in lower case. Two sites behind one address have different ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(String);

impl Endpoint {
    /// Takes a host and a port; `None` if the host is empty, too long, or has characters beyond visible ASCII.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        format!("{host}:{port}").parse().ok()
    }
}

/// A text is no host with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host and a port")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = text.rsplit_once(':').ok_or(EndpointError)?;
        let is_visible = host.bytes().all(|byte| byte.is_ascii_graphic());
        if text.len() > MAX_BYTES || host.is_empty() || !is_visible || port.parse::<u16>().is_err() {
            return Err(EndpointError);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
