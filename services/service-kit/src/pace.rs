//! The pace at which new connections of one address are set up.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use tokio::{net::TcpStream, time::sleep};

use crate::share::{Origin, RateLimit};

/// New connections of an address that are set up at once. A class behind one router, each with a browser, opens more and
/// waits for about two seconds.
const BURST: f64 = 128.0;
/// Further ones a second. To set up a gRPC connection takes some 50 µs, so one address takes 1 % of a core.
const PER_SECOND: f64 = 200.0;
/// Longest wait: an address that would wait longer has more connections than a listener has places, and loses those that
/// wait.
const MAX_DELAY: Duration = Duration::from_secs(4);

/// Delays the connections of an address that opens many at once, so that setting them up does not delay everybody's
/// messages. Each still has its place from the moment it is accepted. Clones share the pace.
#[derive(Debug, Clone)]
pub struct ConnectionPace {
    arrivals: Arc<RateLimit<Origin>>,
    delayed: Counter,
}

impl ConnectionPace {
    /// Creates the pace of one listener, or of several that share it. `delayed` counts the connections that waited.
    #[must_use]
    pub fn new(delayed: Counter) -> Self {
        Self { arrivals: Arc::new(RateLimit::new(PER_SECOND, BURST)), delayed }
    }

    /// Waits until an accepted connection may be set up; those from this machine never wait.
    pub async fn wait(&self, stream: &TcpStream, peer: SocketAddr) {
        let local = stream.local_addr().ok().map(|local| local.ip());
        let delay = self.delay(peer.ip(), local, Instant::now());
        if !delay.is_zero() {
            self.delayed.inc();
            sleep(delay).await;
        }
    }

    fn delay(&self, peer: IpAddr, local: Option<IpAddr>, now: Instant) -> Duration {
        if is_own_machine(peer, local) {
            return Duration::ZERO;
        }
        self.arrivals.reserve(peer.into(), now, MAX_DELAY)
    }
}

/// Returns whether a connection from `peer` to `local` comes from this machine.
#[must_use]
pub fn is_own_machine(peer: IpAddr, local: Option<IpAddr>) -> bool {
    let peer = peer.to_canonical();
    peer.is_loopback() || local.map(|local| local.to_canonical()) == Some(peer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_opens_many_waits_and_others_do_not() {
        let (pace, now, local) = (ConnectionPace::new(Counter::default()), Instant::now(), Some(ip("10.0.0.1")));
        let eve = |now| pace.delay(ip("10.0.0.66"), local, now);
        let delays: Vec<_> = (0..3000).map(|_| eve(now)).collect();
        assert!(delays[..BURST as usize].iter().all(Duration::is_zero));
        assert_eq!(delays[BURST as usize], Duration::from_millis(5));
        assert!(delays.is_sorted());
        assert_eq!(*delays.last().unwrap(), MAX_DELAY);
        assert_eq!(pace.delay(ip("10.0.0.2"), local, now), Duration::ZERO);
        assert_eq!(eve(now + Duration::from_secs(10)), Duration::ZERO, "later it is as any other");
    }

    #[test]
    fn this_machine_never_waits() {
        let (pace, now) = (ConnectionPace::new(Counter::default()), Instant::now());
        for _ in 0..1000 {
            assert_eq!(pace.delay(ip("127.0.0.1"), Some(ip("127.0.0.1")), now), Duration::ZERO);
            assert_eq!(pace.delay(ip("::ffff:10.0.0.1"), Some(ip("10.0.0.1")), now), Duration::ZERO);
        }
    }
}
