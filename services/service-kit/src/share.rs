//! Fair shares of what all callers use together: connections, sessions, streams, bytes under way, calls a second.
//!
//! One address or device fills only its own share. A [`SharePool`] counts what each holds; when the pool is full, a newcomer
//! that holds less gets room by evicting the least recently used share of whoever holds most (max-min fairness). A [`Budget`]
//! makes callers wait instead. A [`RateLimit`] is a token bucket for each.

mod budget;
mod pool;
mod rate;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub use self::{
    budget::{Budget, Loan},
    pool::{EvictionNotice, PoolFull, Share, SharePool},
    rate::{RateLimit, TooSoon},
};

/// The network origin of a caller that has not proven a device: one IPv4 address, or one IPv6 network of 64 bits, which is
/// what a single host is given (RFC 4291, section 2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(IpAddr);

/// The caller of a gRPC call, as a service's budgets count callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    /// A part of this process, over [`rpc::local`](crate::rpc::local): in `gaung up` the hub at its relay.
    Local,
    /// A client on the network.
    Remote(Origin),
}

impl Caller {
    /// Returns the caller of `request`.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.remote_addr().map_or(Self::Local, |addr| Self::Remote(addr.into()))
    }
}

impl Origin {
    /// Returns the address; of an IPv6 network the lowest one.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for Origin {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        })
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        address.ip().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn origin(address: &str) -> Origin {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_host_is_one_ipv4_address_or_one_ipv6_network() {
        assert_eq!(origin("10.0.0.1"), origin("::ffff:10.0.0.1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
        assert_eq!(origin("fd00::1:2:3:4"), origin("fd00::ffff:2:3:4"));
        assert_ne!(origin("fd00:0:0:1::1"), origin("fd00:0:0:2::1"));
    }
}
