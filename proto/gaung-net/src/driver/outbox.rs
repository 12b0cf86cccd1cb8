//! The one datagram that is on its way out: through which sockets it still has to go, and what to do when one is full.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gaung_engine::{Destination, Transmit};
use nix::errno::Errno;

use super::{Counters, SendFailure, SocketId};

/// The sockets as an outbox sees them.
pub(super) trait Exits {
    /// The first socket, from number `first` on, that multicast leaves through.
    fn multicast_from(&self, first: SocketId) -> Option<SocketId>;
    /// The socket for unicast to `peer`, by preference the one with the own address `from`.
    fn unicast_to(&self, peer: Ipv4Addr, from: Option<Ipv4Addr>) -> Option<SocketId>;
    /// Sends without blocking.
    fn send(&self, id: SocketId, payload: &[u8], to: SocketAddrV4, ttl: u8) -> Result<(), Errno>;
}

/// How long a datagram waits for a full socket. Then it is given up, and further ones do not wait for that socket until
/// it has taken one: a dead interface must not silence the others. Repair brings back what was lost.
const HOLD: Duration = Duration::from_millis(100);

pub(super) struct Outbox {
    held: Option<Held>,
    /// Sockets that were full for [`HOLD`].
    clogged: BTreeSet<SocketId>,
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
        Self { held: None, clogged: BTreeSet::new(), counters }
    }

    /// Sends what is held and then all that `next` gives, until a socket is full.
    pub(super) fn send(&mut self, now: Instant, exits: &impl Exits, mut next: impl FnMut() -> Option<Transmit>) {
        if let Some(held) = self.held.take() {
            if held.until <= now {
                self.clogged.insert(held.at);
            }
            self.go(now, exits, held);
        }
        while self.held.is_none() {
            let Some(transmit) = next() else { return };
            self.start(now, exits, transmit);
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

    fn start(&mut self, now: Instant, exits: &impl Exits, transmit: Transmit) {
        let Transmit { destination, payload, ttl } = transmit;
        let (to, first, multicast) = match destination {
            Destination::Multicast(group) => (group, exits.multicast_from(SocketId(0)), true),
            Destination::Unicast { peer, from } => (peer, exits.unicast_to(*peer.ip(), from), false),
        };
        match first {
            Some(at) => self.go(now, exits, Held { payload, to, ttl, at, multicast, until: now + HOLD }),
            None => self.counters.send_failed(SendFailure::NoSocket),
        }
    }

    /// Sends through `held.at` and, if multicast, those after it; holds it at the first one that is full.
    fn go(&mut self, now: Instant, exits: &impl Exits, mut held: Held) {
        loop {
            match exits.send(held.at, &held.payload, held.to, held.ttl) {
                Ok(()) => {
                    self.clogged.remove(&held.at);
                }
                Err(Errno::EAGAIN) if !self.clogged.contains(&held.at) => {
                    self.counters.send_blocked();
                    self.held = Some(held);
                    return;
                }
                Err(Errno::EAGAIN) => self.counters.send_failed(SendFailure::Expired),
                Err(errno) => self.counters.send_failed(SendFailure::of(errno)),
            }
            let next = if held.multicast { after(held.at).and_then(|next| exits.multicast_from(next)) } else { None };
            let Some(next) = next else { return };
            held.at = next;
            held.until = now + HOLD;
        }
    }
}

fn after(id: SocketId) -> Option<SocketId> {
    id.0.checked_add(1).map(SocketId)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Three multicast exits, some of them full, and what left through each.
    #[derive(Default)]
    struct Fake {
        full: RefCell<BTreeSet<u32>>,
        left: RefCell<Vec<(u32, u8)>>,
    }

    impl Exits for Fake {
        fn multicast_from(&self, first: SocketId) -> Option<SocketId> {
            (first.0 < 3).then_some(first)
        }

        fn unicast_to(&self, _peer: Ipv4Addr, _from: Option<Ipv4Addr>) -> Option<SocketId> {
            Some(SocketId(1))
        }

        fn send(&self, id: SocketId, payload: &[u8], _to: SocketAddrV4, _ttl: u8) -> Result<(), Errno> {
            if self.full.borrow().contains(&id.0) {
                return Err(Errno::EAGAIN);
            }
            self.left.borrow_mut().push((id.0, payload[0]));
            Ok(())
        }
    }

    impl Fake {
        fn take(&self) -> Vec<(u32, u8)> {
            self.left.take()
        }
    }

    fn waiting(names: &'static [u8]) -> impl FnMut() -> Option<Transmit> {
        let mut rest = names.chunks(1);
        move || {
            let destination = Destination::Multicast(SocketAddrV4::new(Ipv4Addr::new(239, 255, 0, 1), 1));
            rest.next().map(|name| Transmit { destination, payload: Bytes::from_static(name), ttl: 1 })
        }
    }

    #[test]
    fn a_full_socket_holds_the_datagram_and_loses_nothing() {
        let (exits, counters, now) = (Fake::default(), Arc::new(Counters::default()), Instant::now());
        let mut outbox = Outbox::new(Arc::clone(&counters));
        let mut next = waiting(b"ab");
        exits.full.borrow_mut().insert(1);
        outbox.send(now, &exits, &mut next);
        assert_eq!((outbox.blocked_on(), exits.take()), (Some(SocketId(1)), vec![(0, b'a')]));
        outbox.send(now, &exits, &mut next);
        assert_eq!((outbox.blocked_on(), exits.take()), (Some(SocketId(1)), vec![]));
        exits.full.borrow_mut().clear();
        outbox.send(now, &exits, &mut next);
        assert_eq!(outbox.blocked_on(), None);
        assert_eq!(exits.take(), [(1, b'a'), (2, b'a'), (0, b'b'), (1, b'b'), (2, b'b')], "each once, in order");
        assert_eq!(counters.send_failures(SendFailure::Expired), 0);
    }

    #[test]
    fn a_dead_socket_delays_the_others_once() {
        let (exits, counters, start) = (Fake::default(), Arc::new(Counters::default()), Instant::now());
        let mut outbox = Outbox::new(Arc::clone(&counters));
        let mut next = waiting(b"abc");
        exits.full.borrow_mut().insert(1);
        outbox.send(start, &exits, &mut next);
        assert_eq!(outbox.expires(), Some(start + HOLD));
        outbox.send(start + HOLD, &exits, &mut next);
        assert_eq!((outbox.blocked_on(), outbox.expires()), (None, None));
        assert_eq!(exits.take(), [(0, b'a'), (2, b'a'), (0, b'b'), (2, b'b'), (0, b'c'), (2, b'c')]);
        assert_eq!(counters.send_failures(SendFailure::Expired), 3);

        // Alive again, it is waited for again.
        exits.full.borrow_mut().clear();
        outbox.send(start + HOLD, &exits, waiting(b"d"));
        assert_eq!(exits.take().len(), 3);
        exits.full.borrow_mut().insert(1);
        outbox.send(start + HOLD, &exits, waiting(b"e"));
        assert_eq!(outbox.blocked_on(), Some(SocketId(1)));
    }
}
