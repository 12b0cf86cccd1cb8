//! Memory of the windows by address, and the order of their eviction.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::claim::ChargedShare;

use super::StreamId;

/// Memory by peer, and within a peer by the sessions that it reports.
#[derive(Debug, Default)]
pub(super) struct WindowShares {
    peers: BTreeMap<u64, PeerShare>,
}

#[derive(Debug, Default)]
struct PeerShare {
    bytes: usize,
    sessions: BTreeMap<u64, SessionShare>,
}

#[derive(Debug, Default)]
struct SessionShare {
    bytes: usize,
    /// Clients in the order of eviction. One that published since it was put in is put in again behind the others.
    order: VecDeque<EvictionEntry>,
}

/// A client's place in the order of eviction. Stale once the client's window has another ticket.
#[derive(Debug, Clone, Copy)]
pub(super) struct EvictionEntry {
    pub(super) stream: StreamId,
    pub(super) ticket: u64,
    /// When it had last published then.
    pub(super) at_unix_ms: i64,
}

/// Outcome of evicting one entry.
pub(super) enum EvictionOutcome {
    /// The window is not there any more, or charged to another.
    Stale,
    /// It published since; the new place.
    Later(EvictionEntry),
    /// The window is forgotten, and gives back so many bytes.
    Forgotten(usize),
}

impl WindowShares {
    pub(super) fn add(&mut self, charged: ChargedShare, bytes: usize, place: EvictionEntry) {
        self.grow(charged, bytes);
        let session = self.peers.entry(charged.peer).or_default().sessions.entry(charged.session).or_default();
        session.order.push_back(place);
    }

    pub(super) fn grow(&mut self, charged: ChargedShare, bytes: usize) {
        let peer = self.peers.entry(charged.peer).or_default();
        peer.bytes += bytes;
        peer.sessions.entry(charged.session).or_default().bytes += bytes;
    }

    pub(super) fn shrink(&mut self, charged: ChargedShare, bytes: usize) {
        let Some(peer) = self.peers.get_mut(&charged.peer) else { return };
        peer.bytes = peer.bytes.saturating_sub(bytes);
        if let Some(session) = peer.sessions.get_mut(&charged.session) {
            session.bytes = session.bytes.saturating_sub(bytes);
            if session.bytes == 0 {
                peer.sessions.remove(&charged.session);
            }
        }
        if peer.sessions.is_empty() {
            self.peers.remove(&charged.peer);
        }
    }

    /// Frees at least `bytes`: from the session that fills most of the peer that fills most, the longest silent client
    /// first, until another fills more. `decide` looks up and forgets.
    pub(super) fn evict(&mut self, bytes: usize, mut decide: impl FnMut(EvictionEntry) -> EvictionOutcome) {
        let mut missing = bytes;
        let mut peers: BinaryHeap<(usize, u64)> = self.peers.iter().map(|(id, peer)| (peer.bytes, *id)).collect();
        while missing > 0 {
            let Some((_, largest)) = peers.pop() else { return };
            let Some(peer) = self.peers.get_mut(&largest) else { continue };
            let others_have = peers.peek().map_or(0, |(bytes, _)| *bytes);
            let before = peer.bytes;
            peer.evict(missing, others_have, &mut decide);
            missing = missing.saturating_sub(before - peer.bytes);
            if peer.sessions.is_empty() {
                self.peers.remove(&largest);
            } else if peer.bytes < before {
                peers.push((peer.bytes, largest));
            }
        }
    }
}

impl PeerShare {
    /// Frees memory until `missing` bytes are free, or it has less than `others_have`.
    fn evict(&mut self, missing: usize, others_have: usize, decide: &mut impl FnMut(EvictionEntry) -> EvictionOutcome) {
        let goal = self.bytes.saturating_sub(missing).max(others_have.saturating_sub(1));
        let mut sessions: BinaryHeap<(usize, u64)> = self.sessions.iter().map(|(id, one)| (one.bytes, *id)).collect();
        while self.bytes > goal {
            let Some((_, largest)) = sessions.pop() else { return };
            let others_have = sessions.peek().map_or(0, |(bytes, _)| *bytes);
            let Some(session) = self.sessions.get_mut(&largest) else { continue };
            let before = session.bytes;
            while self.bytes > goal && session.bytes >= others_have {
                let Some(place) = session.order.pop_front() else { break };
                match decide(place) {
                    EvictionOutcome::Stale => {}
                    EvictionOutcome::Later(place) => session.order.push_back(place),
                    EvictionOutcome::Forgotten(bytes) => {
                        session.bytes = session.bytes.saturating_sub(bytes);
                        self.bytes = self.bytes.saturating_sub(bytes);
                    }
                }
            }
            if session.bytes == 0 {
                self.sessions.remove(&largest);
            } else if session.bytes < before {
                sessions.push((session.bytes, largest));
            }
        }
    }
}
