//! Datagrams that engines want sent: the one output type that they share.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;

/// Where a datagram goes. The two stay apart so that a repair is never unicast to a group nor data to a peer by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To the group's multicast address, once through each of the driver's interfaces.
    Multicast(SocketAddrV4),
    /// The datagram goes to one peer.
    Unicast {
        /// The address of the peer.
        peer: SocketAddrV4,
        /// The own address to send from (the one that the peer wrote to); `None` lets routing choose.
        from: Option<Ipv4Addr>,
    },
}

/// One datagram to send.
///
/// `payload` is the whole UDP payload, at most [`gaung_proto::limits::MAX_DATAGRAM`] bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where the datagram goes.
    pub destination: Destination,
    /// The UDP payload, at most one datagram.
    pub payload: Bytes,
    /// IP time to live for multicast; unicast uses the system's.
    pub ttl: u8,
}
