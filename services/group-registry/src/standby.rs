//! Endpoints that are checked for foreign traffic ahead of time, so that a create need not wait for the check.

use std::{
    collections::VecDeque,
    net::SocketAddrV4,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gaung_net::{interface::LinkWatch, multicast::GroupSocket};
use gaung_proto::Scope;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    address_picker::{Endpoint, Exhausted},
    clock::Now,
    registry::Registry,
};

/// Endpoints kept ready while few groups are made; doubles whenever a create finds none, up to [`MAX_READY`].
const MIN_READY: usize = 32;
const MIN_READY_ORGANIZATION: usize = 2;
/// Most endpoints kept ready and checked at a time; each takes a socket while it is checked.
const MAX_READY: usize = 256;
/// An endpoint that was checked longer ago is checked again.
const FRESH: Duration = Duration::from_secs(600);
/// Time without a create after which fewer endpoints are kept ready.
const CALM: Duration = Duration::from_secs(60);

/// Keeps checked endpoints ready.
pub(crate) struct Standby {
    registry: Arc<Registry>,
    /// The links to listen on; while there are none endpoints are given out unchecked.
    watch: LinkWatch,
    quiet: Duration,
    queues: Mutex<ReadyQueues>,
    /// Notified when a round of checks is over.
    filled: Notify,
    /// Notified when an endpoint was taken or is waited for.
    wanted: Notify,
}

struct ReadyQueues {
    site: ReadyQueue,
    organization: ReadyQueue,
}

struct ReadyQueue {
    ready: VecDeque<(Endpoint, Instant)>,
    /// Endpoints to be checked in the next round.
    queued: Vec<Endpoint>,
    /// How many endpoints are checked in this round.
    listening: usize,
    least: usize,
    target: usize,
}

impl ReadyQueue {
    fn new(least: usize) -> Self {
        Self { ready: VecDeque::new(), queued: Vec::new(), listening: 0, least, target: least }
    }
}

impl ReadyQueues {
    fn of(&mut self, scope: Scope) -> &mut ReadyQueue {
        match scope {
            Scope::Site => &mut self.site,
            Scope::Organization => &mut self.organization,
        }
    }
}

impl Standby {
    /// Makes an empty standby. `quiet`: how long each endpoint is listened to, on each link of `watch`; 0 for not at all.
    pub(crate) fn new(registry: Arc<Registry>, watch: LinkWatch, quiet: Duration) -> Self {
        let queues =
            ReadyQueues { site: ReadyQueue::new(MIN_READY), organization: ReadyQueue::new(MIN_READY_ORGANIZATION) };
        Self { registry, watch, quiet, queues: Mutex::new(queues), filled: Notify::new(), wanted: Notify::new() }
    }

    /// Takes a checked endpoint, which stays reserved. Waits for one if none is ready.
    pub(crate) async fn take(&self, scope: Scope) -> Result<Endpoint, Exhausted> {
        if !self.listens() {
            return self.registry.pick(scope, Now::read());
        }
        let mut is_first = true;
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            if let Some(endpoint) = self.take_ready(scope, is_first)? {
                return Ok(endpoint);
            }
            is_first = false;
            filled.await;
        }
    }

    /// Returns how many endpoints are ready.
    pub(crate) fn ready(&self) -> usize {
        let queues = self.queues();
        queues.site.ready.len() + queues.organization.ready.len()
    }

    /// Checks endpoints in rounds until `stop`.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        if self.quiet.is_zero() {
            return stop.cancelled().await;
        }
        let mut watch = self.watch.clone();
        loop {
            if !self.listens() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = watch.changed() => continue,
                }
            }
            let round = self.next_round();
            let is_idle = round.is_empty();
            let pause = async {
                if is_idle {
                    if timeout(CALM, self.wanted.notified()).await.is_err() {
                        self.calm_down();
                    }
                } else {
                    self.listen(round).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = pause => {}
            }
        }
    }

    fn listens(&self) -> bool {
        !self.watch.now().links.is_empty() && !self.quiet.is_zero()
    }

    fn take_ready(&self, scope: Scope, is_first: bool) -> Result<Option<Endpoint>, Exhausted> {
        let mut queues = self.queues();
        let queue = queues.of(scope);
        let taken = queue.ready.pop_front();
        if taken.is_none() {
            if is_first {
                queue.target = (queue.target * 2).min(MAX_READY);
            }
            match self.registry.pick(scope, Now::read()) {
                Ok(endpoint) => queue.queued.push(endpoint),
                Err(exhausted) if queue.queued.is_empty() && queue.listening == 0 => return Err(exhausted),
                Err(_) => {}
            }
        }
        if queue.ready.len() <= queue.target / 2 {
            self.wanted.notify_one();
        }
        Ok(taken.map(|(endpoint, _)| endpoint))
    }

    /// Returns the endpoints to check next: those that are waited for, and what the queues lack.
    fn next_round(&self) -> Vec<(Scope, Endpoint)> {
        let now = Instant::now();
        let mut queues = self.queues();
        let mut round = Vec::new();
        for scope in [Scope::Site, Scope::Organization] {
            let queue = queues.of(scope);
            queue.ready.retain(|(endpoint, heard)| {
                let is_fresh = now.saturating_duration_since(*heard) <= FRESH;
                if !is_fresh {
                    self.registry.release(*endpoint);
                }
                is_fresh
            });
            while queue.ready.len() + queue.queued.len() < queue.target {
                let Ok(endpoint) = self.registry.pick(scope, Now::read()) else { break };
                queue.queued.push(endpoint);
            }
            let take = queue.queued.len().min(MAX_READY - round.len());
            round.extend(queue.queued.drain(..take).map(|endpoint| (scope, endpoint)));
            queue.listening = take;
        }
        round
    }

    async fn listen(&self, round: Vec<(Scope, Endpoint)>) {
        let links = self.watch.now().links;
        let open = |endpoint: &Endpoint| GroupSocket::open(SocketAddrV4::new(endpoint.ip, endpoint.port), &links);
        let sockets: Vec<_> = round.iter().map(|(_, endpoint)| open(endpoint)).collect();
        let nowhere = sockets.iter().all(Result::is_err);
        if nowhere && let Some(Err(error)) = sockets.first() {
            warn!(%error, "addresses are given out unchecked");
        }
        tokio::time::sleep(self.quiet).await;
        let now = Instant::now();
        let mut queues = self.queues();
        for ((scope, endpoint), socket) in round.into_iter().zip(sockets) {
            match socket {
                Ok(socket) if socket.has_datagram() => {
                    info!(address = %endpoint.ip, port = endpoint.port, "foreign traffic on an address; it is not given out for a while");
                    self.registry.note_noisy(endpoint, now);
                }
                Err(error) if !nowhere => {
                    debug!(address = %endpoint.ip, port = endpoint.port, %error, "address not usable");
                    self.registry.note_noisy(endpoint, now);
                }
                Ok(_) | Err(_) => queues.of(scope).ready.push_back((endpoint, now)),
            }
        }
        queues.site.listening = 0;
        queues.organization.listening = 0;
        drop(queues);
        self.filled.notify_waiters();
    }

    fn calm_down(&self) {
        let mut queues = self.queues();
        for scope in [Scope::Site, Scope::Organization] {
            let queue = queues.of(scope);
            queue.target = (queue.target / 2).max(queue.least);
        }
    }

    fn queues(&self) -> MutexGuard<'_, ReadyQueues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use gaung_net::interface::Link;

    use crate::{address::Pool, address_picker::Pools, store::MemoryStore};

    use super::*;

    fn standby(net: &str, quiet: Duration) -> Arc<Standby> {
        let pools = Pools { site: Pool::new(net.parse().unwrap()).unwrap(), organization: Pool::organization() };
        let registry = Registry::open(Arc::new(MemoryStore::new()), pools, Now::read()).unwrap();
        Arc::new(Standby::new(Arc::new(registry), LinkWatch::fixed(vec![Link::loopback()]), quiet))
    }

    #[tokio::test]
    async fn waits_for_a_pair_and_says_when_there_are_no_more() {
        let standby = standby("239.255.44.0/29", Duration::from_millis(50));
        let stop = CancellationToken::new();
        let filler = tokio::spawn({
            let (standby, stop) = (Arc::clone(&standby), stop.clone());
            async move { standby.run(stop).await }
        });
        let takes = (0..8).map(|_| standby.take(Scope::Site));
        let mut endpoints = HashSet::new();
        for take in takes {
            endpoints.insert(timeout(Duration::from_secs(20), take).await.unwrap().unwrap().ip);
        }
        assert_eq!(endpoints.len(), 8);
        let exhausted = timeout(Duration::from_secs(20), standby.take(Scope::Site)).await.unwrap();
        assert!(matches!(exhausted, Err(Exhausted::Addresses { .. })), "{exhausted:?}");
        stop.cancel();
        filler.await.unwrap();
    }

    #[tokio::test]
    async fn skips_an_address_with_foreign_traffic() {
        let standby = standby("239.255.45.0/31", Duration::from_millis(300));
        let round = standby.next_round();
        let round: Vec<_> = round.into_iter().filter(|(scope, _)| *scope == Scope::Site).collect();
        assert_eq!(round.len(), 2);
        let noisy = round[0].1;
        // Bound to loopback's address, so that is where its multicast leaves.
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let talk = tokio::spawn(async move {
            for _ in 0..20 {
                let _ = stranger.send_to(b"mine", (noisy.ip, noisy.port));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        standby.listen(round).await;
        talk.await.unwrap();
        let queues = standby.queues();
        assert!(queues.site.ready.iter().all(|(endpoint, _)| *endpoint != noisy));
        assert_eq!(queues.site.ready.len(), 1);
    }
}
