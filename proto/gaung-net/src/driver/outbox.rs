//! The batch of datagrams that leave together: the sockets they still have to leave through, and the hold while one is
//! full.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use gaung_engine::{Destination, Transmit};
use nix::errno::Errno;

use super::{Counters, SendFailure, SocketId, batch::OutgoingDatagram};

/// The sockets as an outbox sees them.
pub(super) trait ExitSockets {
    /// The first socket, from number `first` on, that multicast leaves through.
    fn multicast_from(&self, first: SocketId) -> Option<SocketId>;
    /// The socket for unicast to `peer`, by preference the one with the own address `from`.
    fn unicast_to(&self, peer: Ipv4Addr, from: Option<Ipv4Addr>) -> Option<SocketId>;
    /// Sends one or more of `datagrams`, from the first on, without blocking. Returns how many left, or why the first
    /// one did not.
    fn send(&mut self, id: SocketId, datagrams: &[OutgoingDatagram]) -> Result<usize, Errno>;
}

/// How long datagrams wait for a full socket. Then they are given up, and further ones do not wait for that socket until
/// it has taken one: a dead interface must not silence the others. Repair brings back what was lost.
const HOLD: Duration = Duration::from_millis(100);

pub(super) struct Outbox {
    /// Leave through the same sockets, in this order.
    batch: Vec<OutgoingDatagram>,
    /// How far the batch has come, while a socket is full.
    held: Option<BatchProgress>,
    /// The first transmit of the next batch.
    ahead: Option<Transmit>,
    /// Sockets that were full for [`HOLD`].
    clogged: BTreeSet<SocketId>,
    counters: Arc<Counters>,
}

/// How far a batch has come through the sockets.
#[derive(Debug, Clone, Copy)]
struct BatchProgress {
    at: SocketId,
    /// Datagrams of the batch that `at` is done with.
    done: usize,
    /// Whether the batch goes on to the sockets after `at`.
    multicast: bool,
    until: Instant,
}

impl Outbox {
    /// Datagrams that are handed to the kernel at a time.
    pub(super) const BATCH: usize = 64;

    pub(super) fn new(counters: Arc<Counters>) -> Self {
        let batch = Vec::with_capacity(Self::BATCH);
        Self { batch, held: None, ahead: None, clogged: BTreeSet::new(), counters }
    }

    /// Sends what is held and then all that `next` gives, until a socket is full.
    pub(super) fn send(
        &mut self,
        now: Instant,
        exits: &mut impl ExitSockets,
        mut next: impl FnMut() -> Option<Transmit>,
    ) {
        if let Some(progress) = self.held.take() {
            if progress.until <= now {
                self.clogged.insert(progress.at);
            }
            self.go(now, exits, progress);
        }
        while self.held.is_none() {
            let Some((at, multicast)) = self.fill(exits, &mut next) else { return };
            self.go(now, exits, BatchProgress { at, done: 0, multicast, until: now + HOLD });
        }
    }

    /// Returns the socket that must become writable first.
    pub(super) fn blocked_on(&self) -> Option<SocketId> {
        self.held.map(|progress| progress.at)
    }

    /// Returns when the held batch is dropped.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.held.map(|progress| progress.until)
    }

    /// Makes a batch of the next transmits that leave through the same sockets. Returns the first of these sockets, and
    /// whether there are more; `None` if there is nothing to send.
    fn fill(
        &mut self,
        exits: &impl ExitSockets,
        mut next: impl FnMut() -> Option<Transmit>,
    ) -> Option<(SocketId, bool)> {
        let mut shared = None;
        while self.batch.len() < Self::BATCH {
            let Some(transmit) = self.ahead.take().or_else(&mut next) else { break };
            let Some(first) = first_exit(exits, &transmit.destination) else {
                self.counters.send_failed(SendFailure::NoSocket);
                continue;
            };
            if shared.is_some_and(|shared| shared != first) {
                self.ahead = Some(transmit);
                break;
            }
            shared = Some(first);
            self.batch.push(OutgoingDatagram::from(transmit));
        }
        shared
    }

    /// Sends the batch through `progress.at` and, if multicast, those after it; holds it at the first one that is full.
    fn go(&mut self, now: Instant, exits: &mut impl ExitSockets, mut progress: BatchProgress) {
        loop {
            if !self.pass(now, exits, &mut progress) {
                self.held = Some(progress);
                return;
            }
            let next =
                if progress.multicast { after(progress.at).and_then(|next| exits.multicast_from(next)) } else { None };
            let Some(next) = next else { break };
            progress = BatchProgress { at: next, done: 0, until: now + HOLD, ..progress };
        }
        self.batch.clear();
    }

    /// Sends the rest of the batch through one socket; false if it is full and to be waited for.
    fn pass(&mut self, now: Instant, exits: &mut impl ExitSockets, progress: &mut BatchProgress) -> bool {
        while progress.done < self.batch.len() {
            let rest = &self.batch[progress.done..];
            match exits.send(progress.at, rest) {
                Ok(sent) => {
                    progress.done += sent;
                    progress.until = now + HOLD;
                    self.clogged.remove(&progress.at);
                }
                Err(Errno::EAGAIN) if !self.clogged.contains(&progress.at) => {
                    self.counters.send_blocked();
                    return false;
                }
                Err(Errno::EAGAIN) => {
                    rest.iter().for_each(|_| self.counters.send_failed(SendFailure::Expired));
                    return true;
                }
                Err(errno) => {
                    self.counters.send_failed(SendFailure::of(errno));
                    progress.done += 1;
                }
            }
        }
        true
    }
}

/// The first socket that a datagram leaves through, and whether it goes on to others.
fn first_exit(exits: &impl ExitSockets, destination: &Destination) -> Option<(SocketId, bool)> {
    match *destination {
        Destination::Multicast(_) => exits.multicast_from(SocketId(0)).map(|id| (id, true)),
        Destination::Unicast { peer, from } => exits.unicast_to(*peer.ip(), from).map(|id| (id, false)),
    }
}

/// Time to live that the system gives multicast by default.
const DEFAULT_TTL: u8 = 1;

impl From<Transmit> for OutgoingDatagram {
    fn from(transmit: Transmit) -> Self {
        let Transmit { destination, payload, ttl } = transmit;
        match destination {
            Destination::Multicast(to) => Self { payload, to, ttl: (ttl != DEFAULT_TTL).then_some(ttl) },
            Destination::Unicast { peer, .. } => Self { payload, to: peer, ttl: None },
        }
    }
}

fn after(id: SocketId) -> Option<SocketId> {
    id.0.checked_add(1).map(SocketId)
}

#[cfg(test)]
mod tests;
