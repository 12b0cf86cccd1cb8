//! What two doctors measured between their machines.

use serde::{Deserialize, Serialize};

/// What passes between this machine and another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerFacts {
    /// The other machine.
    pub(crate) host: String,
    /// Why there is nothing to tell.
    pub(crate) failed: Option<String>,
    /// It is in the network of the interface that leads to it.
    pub(crate) same_network: bool,
    /// By unicast, multicast and broadcast.
    pub(crate) to_peer: Vec<Passage>,
    /// The same from there.
    pub(crate) from_peer: Vec<Passage>,
}

/// One burst of datagrams one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// By which way.
    pub(crate) cast: CastName,
    /// How many of the same size left.
    pub(crate) sent: u32,
    /// How many of them came.
    pub(crate) received: u32,
    /// How many came after one that was sent later.
    pub(crate) reordered: u32,
    /// How many came again.
    pub(crate) duplicated: u32,
    /// The largest UDP payload that left.
    pub(crate) largest_sent_bytes: u32,
    /// The largest that came.
    pub(crate) largest_bytes: u32,
}

/// How a datagram is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CastName {
    /// To one.
    Unicast,
    /// To a group.
    Multicast,
    /// To a network.
    Broadcast,
}

impl PeerFacts {
    /// The test did not come about.
    pub(crate) fn unreached(host: &str, error: &anyhow::Error) -> Self {
        let failed = Some(format!("{error:#}"));
        Self { host: host.to_owned(), failed, same_network: true, to_peer: Vec::new(), from_peer: Vec::new() }
    }
}

impl Passage {
    /// Nothing sent, nothing come.
    pub(crate) const fn none(cast: CastName) -> Self {
        Self { cast, sent: 0, received: 0, reordered: 0, duplicated: 0, largest_sent_bytes: 0, largest_bytes: 0 }
    }

    /// Lost, in thousandths of what was sent; nothing sent counts as all lost.
    pub(crate) fn lost_permille(&self) -> u32 {
        (self.sent.saturating_sub(self.received) * 1000).checked_div(self.sent).unwrap_or(1000)
    }
}
