//! The one datagram that is on its way out: through which sockets it still has to go, and what to do when one is full.

use std::{
    net::SocketAddrV4,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{Destination, Transmit};
use nix::errno::Errno;

use super::{Counters, SendFailure, SocketId, sockets::SocketTable};

/// After this a datagram that a full socket does not take is given up, so that one dead interface does not silence the
/// others; repair brings it back.
const HOLD: Duration = Duration::from_millis(100);

pub(super) struct Outbox {
    held: Option<Held>,
    counters: Arc<Counters>,
}

/// A datagram that waits for a full socket.
struct Held {
    payload: Bytes,
    to: SocketAddrV4,
    ttl: u8,
    /// The socket that was full.
    at: SocketId,
    /// Whether it goes on to the sockets after `at`.
    multicast: bool,
    until: Instant,
}

impl Outbox {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { held: None, counters }
    }

    /// Sends what is held and then all that `next` gives, until a socket is full.
    pub(super) fn send(&mut self, sockets: &SocketTable, mut next: impl FnMut() -> Option<Transmit>) {
        if let Some(held) = self.held.take() {
            self.resume(sockets, held);
        }
        while self.held.is_none() {
            let Some(transmit) = next() else { return };
            self.start(sockets, transmit);
        }
    }

    /// The socket that must become writable first.
    pub(super) fn blocked_on(&self) -> Option<SocketId> {
        self.held.as_ref().map(|held| held.at)
    }

    /// When what is held is given up.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.until)
    }

    fn start(&mut self, sockets: &SocketTable, transmit: Transmit) {
        let Transmit { destination, payload, ttl } = transmit;
        let (to, first, multicast) = match destination {
            Destination::Multicast(group) => (group, sockets.multicast_from(SocketId(0)).next(), true),
            Destination::Unicast { peer, from } => (peer, sockets.unicast_to(*peer.ip(), from), false),
        };
        match first {
            Some(at) => self.go(sockets, Held { payload, to, ttl, at, multicast, until: Instant::now() + HOLD }),
            None => self.counters.send_failed(SendFailure::NoSocket),
        }
    }

    fn resume(&mut self, sockets: &SocketTable, held: Held) {
        if Instant::now() < held.until {
            return self.go(sockets, held);
        }
        self.counters.send_failed(SendFailure::Expired);
        if held.multicast
            && let Some(at) = after(held.at).and_then(|next| sockets.multicast_from(next).next())
        {
            self.go(sockets, Held { at, until: Instant::now() + HOLD, ..held });
        }
    }

    fn go(&mut self, sockets: &SocketTable, held: Held) {
        let rest = held.multicast.then(|| sockets.multicast_from(held.at));
        let only = (!held.multicast).then_some(held.at);
        for at in rest.into_iter().flatten().chain(only) {
            match sockets.send(at, &held.payload, held.to, held.ttl) {
                Ok(()) => {}
                Err(Errno::EAGAIN) => {
                    self.counters.send_blocked();
                    self.held = Some(Held { at, ..held });
                    return;
                }
                Err(errno) => self.counters.send_failed(SendFailure::of(errno)),
            }
        }
    }
}

fn after(id: SocketId) -> Option<SocketId> {
    id.0.checked_add(1).map(SocketId)
}
