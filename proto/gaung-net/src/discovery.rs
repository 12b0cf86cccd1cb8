//! How clients find services without an address: a request by multicast and broadcast, answers by unicast.
//!
//! A request is as long as an answer and answers are rate-limited, so that nobody is flooded by way of a service.
//! Answers are not authenticated: whoever is in the network can claim to be a registry, as with any plain discovery.

mod client;
mod datagram;
mod found;
mod group_sockets;
mod responder;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use gaung_proto::RelayId;
use gaung_site::SiteId;

pub use client::{Discovery, discover};
pub use datagram::MAX_NAME_BYTES;
pub use found::FoundService;
pub use responder::{Responder, ResponderCounters};

/// Where requests go, beside the broadcast addresses; site-local scope (RFC 2365), TTL 1. No group may be given this
/// address.
pub const DISCOVERY_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 71, 85);

/// The kind of a service that can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// `group-registry`: the one that a client needs.
    Registry,
    /// `multicast-relay`, which orders and multicasts messages.
    Relay,
    /// `broadcast-hub`, which serves sessions over TCP.
    Hub,
}

/// What a service announces about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The kind of the service.
    pub kind: ServiceKind,
    /// Its gRPC port, not 0.
    pub port: u16,
    /// Its identity, kept in its data folder: several answers with one id and one instance are one service.
    pub id: RelayId,
    /// Random at each start, not 0: two processes of one id at a time have copies of one data folder.
    pub instance: u64,
    /// The address that others should use; `None`: the one that the answer comes from. A service that listens on
    /// loopback alone says so here, and then only this machine is answered.
    pub advertised: Option<Ipv4Addr>,
    /// The site that it belongs to; `None` for none. Answers are not authenticated: a client looks for the site that it knows by it,
    /// and the connection proves it.
    pub site: Option<SiteId>,
    /// What people call the machine: at most [`MAX_NAME_BYTES`] are sent, control characters are not.
    pub name: String,
}
