//! Answers discovery requests: one task in each service.

use std::{
    collections::HashMap,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gaung_proto::RelayId;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tracing::{debug, trace};

use super::{
    Announcement, DISCOVERY_GROUP,
    datagram::{DiscoveryAnswer, DiscoveryRequest, LENGTH},
    group_sockets::GroupSockets,
};
use crate::{
    interface::{Link, LinkWatch},
    socket::{self, PortSharing, SocketError},
};

/// Answers requests for one service until it is stopped.
///
/// Several on one machine share the port: each hears every request.
#[derive(Debug)]
pub struct Responder {
    socket: UdpSocket,
    group: GroupSockets,
    watch: LinkWatch,
    announcement: Announcement,
    counters: Arc<ResponderCounters>,
}

/// Counts what a responder answered and refused.
#[derive(Debug, Default)]
pub struct ResponderCounters {
    answered: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
}

impl ResponderCounters {
    /// Returns how many requests were answered.
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
    /// Listens on `port` for multicast on each link of `watch` as they change and on loopback, and for broadcast; port 0
    /// takes a free one, for tests. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`] if a program that does not share the port has it.
    pub fn open(port: u16, watch: LinkWatch, announcement: Announcement) -> Result<Self, SocketError> {
        // For broadcast and unicast; it joins nothing, and so hears no multicast a second time.
        let socket = socket::open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port), PortSharing::Shared)?;
        let port =
            socket::local_addr(&socket.try_clone().map_err(SocketError::system("copy a socket"))?.into())?.port();
        let socket = UdpSocket::from_std(socket.into()).map_err(SocketError::system("watch the discovery socket"))?;
        let mut group = GroupSockets::new(port);
        group.relink(&watch.now().links, true);
        Ok(Self { socket, group, watch, announcement, counters: Arc::default() })
    }

    /// Returns the identity that is announced, and its instance.
    #[must_use]
    pub const fn identity(&self) -> (RelayId, u64) {
        (self.announcement.id, self.announcement.instance)
    }

    /// Returns the port that is listened on.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Returns the totals, to be read while it runs.
    #[must_use]
    pub fn counters(&self) -> Arc<ResponderCounters> {
        Arc::clone(&self.counters)
    }

    /// Answers until `stop` is ready. No datagram and no failed send ends it earlier.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut budget = AnswerBudget::new(Instant::now());
        let mut buffer = [0; LENGTH + 1];
        tokio::pin!(stop);
        loop {
            let received = tokio::select! {
                () = &mut stop => return,
                selection = self.watch.changed() => {
                    self.group.relink(&selection.links, true);
                    continue;
                }
                received = self.group.receive(&self.socket, &mut buffer) => received,
            };
            match received {
                Ok((length, SocketAddr::V4(from))) => self.handle(&buffer[..length], from, &mut budget).await,
                Ok((_, SocketAddr::V6(_))) => unreachable!("the socket was opened for IPv4"),
                Err(error) => debug!(%error, "discovery request not received"),
            }
        }
    }

    async fn handle(&self, bytes: &[u8], from: SocketAddrV4, budget: &mut AnswerBudget) {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let Some(request) = DiscoveryRequest::decode(bytes) else {
            count(&self.counters.malformed);
            return;
        };
        let wanted = request.wanted.is_none_or(|kind| kind == self.announcement.kind);
        if !wanted || !self.is_useful_to(*from.ip()) || !budget.take(Instant::now(), *from.ip()) {
            count(&self.counters.refused);
            return;
        }
        let announcement = self.announcement.clone();
        let DiscoveryRequest { version, nonce, instance: with_instance, .. } = request;
        let answer = DiscoveryAnswer { version, nonce, announcement, with_instance }.encode();
        if request.multicast {
            self.answer_group(&answer, *from.ip());
        }
        match self.socket.send_to(&answer, from).await {
            Ok(_) => {
                count(&self.counters.answered);
            }
            Err(error) => trace!(%from, %error, "discovery answer not sent"),
        }
    }

    /// Multicasts the answer to the discovery group, on the one link that shares the requester's network.
    fn answer_group(&self, answer: &[u8], requester: Ipv4Addr) {
        let selection = self.watch.now();
        let near = selection.links.iter().flat_map(Link::each_address).find(|link| link.contains(requester));
        let (Some(link), Ok(port)) = (near, self.port()) else { return };
        let group = SocketAddrV4::new(DISCOVERY_GROUP, port);
        let chosen = SockRef::from(&self.socket).set_multicast_if_v4(&link.ip);
        let sent = chosen.and_then(|()| self.socket.try_send_to(answer, group.into()));
        if let Err(error) = sent {
            trace!(interface = link.name, %error, "discovery answer not multicast");
        }
    }

    /// Whether the requester can reach what is announced: a loopback address is of no use to other machines.
    fn is_useful_to(&self, requester: Ipv4Addr) -> bool {
        !self.announcement.advertised.is_some_and(|ip| ip.is_loopback()) || requester.is_loopback()
    }
}

/// Counts the answers of the current second. Each host has its share, so that one that requests without end, or whose
/// address is forged, keeps nobody else from finding the service.
struct AnswerBudget {
    began: Instant,
    by_host: HashMap<Ipv4Addr, u32>,
    answers: u32,
}

impl AnswerBudget {
    /// Answers to one host in a second: some dozens of clients that start at the same time, and ask in both versions.
    const OF_ONE: u32 = 200;
    /// Answers to all hosts in a second: some 2 Mbit/s.
    const OF_ALL: u32 = 2000;

    fn new(now: Instant) -> Self {
        Self { began: now, by_host: HashMap::new(), answers: 0 }
    }

    fn take(&mut self, now: Instant, host: Ipv4Addr) -> bool {
        if now.saturating_duration_since(self.began) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let of_host = self.by_host.get(&host).copied().unwrap_or_default();
        let granted = of_host < Self::OF_ONE && self.answers < Self::OF_ALL;
        if granted {
            self.by_host.insert(host, of_host + 1);
            self.answers += 1;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_keeps_nobody_else_from_an_answer() {
        let now = Instant::now();
        let mut budget = AnswerBudget::new(now);
        let answered = |budget: &mut AnswerBudget, now, host: u8| {
            (0..100_000).filter(|_| budget.take(now, Ipv4Addr::new(10, 0, 0, host))).count() as u32
        };
        assert_eq!(answered(&mut budget, now, 1), AnswerBudget::OF_ONE);
        assert_eq!(answered(&mut budget, now, 2), AnswerBudget::OF_ONE);
        let of_all: u32 = (0..100).map(|host| answered(&mut budget, now, host)).sum();
        assert_eq!(of_all, AnswerBudget::OF_ALL - 2 * AnswerBudget::OF_ONE, "what is sent stays bounded");
        assert_eq!(answered(&mut budget, now + Duration::from_secs(1), 1), AnswerBudget::OF_ONE);
    }
}
