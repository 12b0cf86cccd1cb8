//! Admission of sessions: each address's share of all sessions, and of those that have not said hello.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use prometheus_client::metrics::counter::Counter;
use service_kit::{
    pace::ConnectionPace,
    share::{EvictionNotice, Origin, PoolFull, Share, SharePool},
};
use tokio::net::TcpStream;

use crate::config::Limits;

/// The places for sessions. When all are taken, a session of the address with most is evicted for an address with fewer.
#[derive(Debug)]
pub(crate) struct Admission {
    sessions: SharePool<Origin>,
    handshakes: SharePool<Origin>,
    /// The pace of new connections on all three ports together.
    pace: ConnectionPace,
    /// The number of sessions from which [`Admission::is_nearly_full`].
    nearly_full: u64,
}

/// Why a session is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the hub is full; try again later")]
    Full,
    #[error("too many sessions from your address; close one of them first")]
    Address,
    #[error("too many sessions are starting at this moment; try again")]
    Handshakes,
}

/// A session's place, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    share: Share<Origin>,
    touched: Option<Instant>,
}

/// A place among the sessions that have not said hello.
#[derive(Debug)]
pub(crate) struct Handshake(Share<Origin>);

/// How precisely it is known which session was silent for longest, so that active ones take no shared lock at every message.
const TOUCH_SECONDS: u64 = 10;

impl Admission {
    /// Makes the places. `delayed` counts the connections that waited for their turn.
    pub(crate) fn new(limits: &Limits, delayed: Counter) -> Self {
        let (sessions, handshakes) = (limits.sessions as u64, limits.handshakes as u64);
        Self {
            sessions: SharePool::new(sessions, limits.sessions_per_address as u64),
            // One address may have them all while no other needs one.
            handshakes: SharePool::new(handshakes, handshakes),
            pace: ConnectionPace::new(delayed),
            nearly_full: sessions - sessions / 10,
        }
    }

    /// Takes a place for a session from `address`.
    pub(crate) fn admit(&self, address: IpAddr) -> Result<Admitted, Refused> {
        match self.sessions.take(address.into(), 1) {
            Ok(share) => Ok(Admitted { share, touched: None }),
            Err(PoolFull::OwnShare) => Err(Refused::Address),
            Err(PoolFull::Pool) => Err(Refused::Full),
        }
    }

    /// Waits until it is the turn of the connection's address.
    pub(crate) async fn wait(&self, stream: &TcpStream, peer: SocketAddr) {
        self.pace.wait(stream, peer).await;
    }

    /// Takes a place among the sessions that have not said hello.
    pub(crate) fn begin_handshake(&self, address: IpAddr) -> Result<Handshake, Refused> {
        self.handshakes.take(address.into(), 1).map(Handshake).map_err(|_| Refused::Handshakes)
    }

    /// Returns true if nine in ten places are taken, so that text sessions, which may be silent otherwise, end for silence.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.sessions.used() >= self.nearly_full
    }
}

impl Admitted {
    /// Notes that the peer sent something: of its address's sessions this one is evicted last.
    pub(crate) fn touch(&mut self, now: Instant) {
        if self.touched.is_none_or(|at| now.saturating_duration_since(at).as_secs() >= TOUCH_SECONDS) {
            self.touched = Some(now);
            self.share.touch();
        }
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.share.is_evicted()
    }

    /// Waits until the place is evicted.
    pub(crate) async fn evicted(&self) {
        self.share.evicted().await;
    }

    /// Returns a notice of the eviction, for the task of a connection whose place a session may take over.
    pub(crate) fn notice(&self) -> EvictionNotice {
        self.share.notice()
    }
}

impl Handshake {
    /// Waits until the place is evicted.
    pub(crate) async fn evicted(&self) {
        self.0.evicted().await;
    }

    pub(crate) fn is_evicted(&self) -> bool {
        self.0.is_evicted()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_limited_and_free_after_a_drop() {
        let limits = Limits { sessions: 3, sessions_per_address: 2, handshakes: 1, ..Limits::default() };
        let admission = Admission::new(&limits, Counter::default());
        let (a, b) = (address("10.0.0.1"), address("::ffff:10.0.0.1"));
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(b).unwrap();
        assert_eq!(admission.admit(a).unwrap_err(), Refused::Address, "a mapped address is the same address");
        let _third = admission.admit(address("10.0.0.2")).unwrap();
        drop(first);
        admission.admit(a).unwrap();
        let place = admission.begin_handshake(a).unwrap();
        assert_eq!(admission.begin_handshake(address("10.0.0.2")).unwrap_err(), Refused::Handshakes);
        drop(place);
        admission.begin_handshake(a).unwrap();
    }

    #[test]
    fn silent_sessions_of_the_address_with_most_are_evicted() {
        let limits = Limits { sessions: 5, sessions_per_address: 4, handshakes: 4, ..Limits::default() };
        let admission = Admission::new(&limits, Counter::default());
        let eve = address("10.0.0.66");
        let mut flood: Vec<Admitted> = (0..4).map(|_| admission.admit(eve).unwrap()).collect();
        let ani = admission.admit(address("10.0.0.1")).unwrap();
        assert!(admission.is_nearly_full());
        let now = Instant::now();
        flood[0].touch(now);
        flood[0].touch(now + Duration::from_secs(1));
        let budi = admission.admit(address("10.0.0.2")).unwrap();
        assert!(flood[1].is_evicted() && !flood[0].is_evicted(), "a session that spoke stays");
        assert!(!ani.is_evicted() && !budi.is_evicted());
        let starting: Vec<Handshake> = (0..4).map(|_| admission.begin_handshake(eve).unwrap()).collect();
        assert_eq!(admission.begin_handshake(eve).unwrap_err(), Refused::Handshakes);
        admission.begin_handshake(address("10.0.0.1")).unwrap();
        assert!(starting[0].is_evicted());
    }
}
