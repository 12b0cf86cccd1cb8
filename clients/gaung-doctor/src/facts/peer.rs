//! The results of the test between two machines.

use serde::{Deserialize, Serialize};

/// The results of the test with another machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerFacts {
    /// The other machine.
    pub(crate) host: String,
    /// Why there are no results.
    pub(crate) failed: Option<String>,
    /// Whether it is in the network of the interface that leads to it.
    pub(crate) same_network: bool,
    /// The results towards it, by unicast, multicast and broadcast.
    pub(crate) to_peer: Vec<Passage>,
    /// The results from it.
    pub(crate) from_peer: Vec<Passage>,
}

/// One burst of datagrams one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// How it was addressed.
    pub(crate) cast: CastName,
    /// How many datagrams of equal size were sent.
    pub(crate) sent: u32,
    /// How many of them were received.
    pub(crate) received: u32,
    /// How many were received after one that was sent later.
    pub(crate) reordered: u32,
    /// How many duplicates were received.
    pub(crate) duplicated: u32,
    /// The largest UDP payload that was sent.
    pub(crate) largest_sent_bytes: u32,
    /// The largest that was received.
    pub(crate) largest_bytes: u32,
}

/// How a datagram is addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CastName {
    /// To one host.
    Unicast,
    /// To a group.
    Multicast,
    /// To a network.
    Broadcast,
}

impl PeerFacts {
    /// Makes the result of a test that failed.
    pub(crate) fn unreached(host: &str, error: &anyhow::Error) -> Self {
        let failed = Some(format!("{error:#}"));
        Self { host: host.to_owned(), failed, same_network: true, to_peer: Vec::new(), from_peer: Vec::new() }
    }
}

impl Passage {
    /// Makes the result of nothing sent and nothing received.
    pub(crate) const fn none(cast: CastName) -> Self {
        Self { cast, sent: 0, received: 0, reordered: 0, duplicated: 0, largest_sent_bytes: 0, largest_bytes: 0 }
    }

    /// Returns the loss in thousandths of what was sent; nothing sent counts as all lost.
    pub(crate) fn lost_permille(&self) -> u32 {
        (self.sent.saturating_sub(self.received) * 1000).checked_div(self.sent).unwrap_or(1000)
    }
}
