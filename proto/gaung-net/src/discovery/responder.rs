//! The answering side: one task in each service.

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use socket2::InterfaceIndexOrAddress;
use tokio::net::UdpSocket;
use tracing::{debug, trace};

use super::{
    Announcement, DISCOVERY_GROUP,
    datagram::{Answer, LENGTH, Request},
};
use crate::{
    interface::{Link, Role},
    socket::{self, Sharing, SocketError},
};

/// Answers requests for one service until told to stop.
///
/// Several on one machine share the port: each hears every request.
#[derive(Debug)]
pub struct Responder {
    socket: UdpSocket,
    announcement: Announcement,
    counters: Arc<ResponderCounters>,
}

/// Totals of a responder.
#[derive(Debug, Default)]
pub struct ResponderCounters {
    answered: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
}

impl ResponderCounters {
    /// Requests that were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Requests above the rate limit, or for another kind of service.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Datagrams that were no requests.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }
}

impl Responder {
    /// Listens on `port` for multicast on each of `links` and on loopback, and for broadcast; port 0 takes a free one,
    /// for tests. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`] if a program that does not share the port has it.
    pub fn open(port: u16, links: &[Link], announcement: Announcement) -> Result<Self, SocketError> {
        let socket = socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), Sharing::Shared)?;
        let loopback = Link::loopback();
        let others = links.iter().filter(|link| link.role != Role::Loopback);
        for link in others.chain([&loopback]) {
            let joined = socket.join_multicast_v4_n(&DISCOVERY_GROUP, &InterfaceIndexOrAddress::Index(link.index));
            if let Err(error) = joined {
                // Broadcast still finds this service there.
                debug!(interface = link.name, %error, "discovery group not joined");
            }
        }
        let socket = UdpSocket::from_std(socket.into()).map_err(SocketError::system("watch the discovery socket"))?;
        Ok(Self { socket, announcement, counters: Arc::default() })
    }

    /// The port that is listened on.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// The totals, to be read while it runs.
    #[must_use]
    pub fn counters(&self) -> Arc<ResponderCounters> {
        Arc::clone(&self.counters)
    }

    /// Answers until `stop` is ready. No datagram and no failed send ends it earlier.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut budget = Budget::new(Instant::now());
        let mut buffer = [0; LENGTH + 1];
        tokio::pin!(stop);
        loop {
            let received = tokio::select! {
                () = &mut stop => return,
                received = self.socket.recv_from(&mut buffer) => received,
            };
            match received {
                Ok((length, SocketAddr::V4(from))) => self.handle(&buffer[..length], from, &mut budget).await,
                Ok((_, SocketAddr::V6(_))) => unreachable!("the socket was opened for IPv4"),
                Err(error) => debug!(%error, "discovery request not received"),
            }
        }
    }

    async fn handle(&self, bytes: &[u8], from: SocketAddrV4, budget: &mut Budget) {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let Some(request) = Request::decode(bytes) else {
            count(&self.counters.malformed);
            return;
        };
        let wanted = request.wanted.is_none_or(|kind| kind == self.announcement.kind);
        if !wanted || !self.is_useful_to(*from.ip()) || !budget.take(Instant::now()) {
            count(&self.counters.refused);
            return;
        }
        let answer = Answer { nonce: request.nonce, announcement: self.announcement.clone() };
        match self.socket.send_to(&answer.encode(), from).await {
            Ok(_) => {
                count(&self.counters.answered);
            }
            Err(error) => trace!(%from, %error, "discovery answer not sent"),
        }
    }

    /// An address of this machine alone is of no use to others.
    fn is_useful_to(&self, asker: Ipv4Addr) -> bool {
        !self.announcement.advertised.is_some_and(|ip| ip.is_loopback()) || asker.is_loopback()
    }
}

/// A token bucket: 100 answers a second, 50 at once.
struct Budget {
    tokens: f64,
    at: Instant,
}

impl Budget {
    const PER_SECOND: f64 = 100.0;
    const BURST: f64 = 50.0;

    fn new(now: Instant) -> Self {
        Self { tokens: Self::BURST, at: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.tokens = (self.tokens + passed.as_secs_f64() * Self::PER_SECOND).min(Self::BURST);
        self.at = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}
