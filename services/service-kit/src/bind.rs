//! Listening sockets, with errors that name the address and the flag to change.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} for {purpose}: {}", remedy(.source, .flag))]
pub struct BindError {
    /// The use of the address, such as `gRPC`.
    pub purpose: &'static str,
    /// The requested address.
    pub addr: SocketAddr,
    /// The flag that chooses it.
    pub flag: &'static str,
    /// The system's error.
    pub source: io::Error,
}

impl BindError {
    /// Whether another program has the port: the one case of which `gaung up` only warns for its text port.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// Listens on `addr`; port 0 takes a free one (ask the listener which).
///
/// `purpose` and `flag` stand in the error: what listens there and which flag moves it.
///
/// # Errors
/// [`BindError`] if the port is taken, not allowed, or the address is not this machine's.
pub async fn listen(purpose: &'static str, addr: SocketAddr, flag: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(addr).await.map_err(|source| BindError { purpose, addr, flag, source })
}

fn remedy(error: &io::Error, flag: &str) -> String {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let kind = error.kind();
    if kind == AddrInUse {
        format!("the port is in use by another program; end that one or choose another port with {flag}")
    } else if kind == PermissionDenied {
        format!("not allowed; ports below 1024 need a privilege, choose a higher one with {flag}")
    } else if kind == AddrNotAvailable {
        format!("this machine has no such address; give one of its own, or 0.0.0.0 for all, with {flag}")
    } else {
        format!("{error}; choose another address with {flag}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_flag() {
        let first = listen("gRPC", "127.0.0.1:0".parse().unwrap(), "--listen").await.unwrap();
        let addr = first.local_addr().unwrap();
        let err = listen("gRPC", addr, "--listen").await.unwrap_err();
        assert!(err.is_in_use());
        let text = err.to_string();
        assert!(text.contains(&addr.to_string()) && text.contains("in use") && text.contains("--listen"), "{text}");
    }

    #[tokio::test]
    async fn a_foreign_address_is_explained() {
        let err = listen("text", "192.0.2.1:0".parse().unwrap(), "--text-listen").await.unwrap_err();
        assert!(!err.is_in_use());
        assert!(err.to_string().contains("no such address"), "{err}");
    }
}
