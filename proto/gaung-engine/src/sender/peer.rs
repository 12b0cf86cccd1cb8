//! Requesters and targets of repairs, and the pace of a block: the types that repair window and repair schedule share.

use std::net::{Ipv4Addr, SocketAddrV4};

use gaung_proto::SenderId;

/// An address that a datagram came from, and the own address that it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PeerAddr {
    pub(super) addr: SocketAddrV4,
    pub(super) own: Option<Ipv4Addr>,
}

/// The member that requests a repair, and where a unicast repair may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requester {
    pub(super) sender: SenderId,
    /// `None` unless the address was proven by its cookie.
    pub(super) proven: Option<PeerAddr>,
}

/// Says where a repair is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepairTarget {
    Group,
    Peer(PeerAddr),
}

/// How fast a block is filled, which decides whether parity can repair it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockPace {
    /// It is filled too slowly for parity, or is not kept whole.
    Slow,
    /// It is being filled and will probably be complete soon.
    Filling,
    /// It was filled quickly and is complete.
    Quick,
}
