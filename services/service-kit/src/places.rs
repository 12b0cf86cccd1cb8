//! Places of a listener's connections: limited, shared by address, with some kept for this machine itself.

use std::net::{IpAddr, SocketAddr};

use crate::{
    open_files::{self, ReservedFiles},
    pace::is_own_machine,
    share::{Origin, PoolFull, Share, SharePool},
};

/// Places reserved for connections from this machine, so that its other services can connect whatever the network does: more
/// than the services of one machine open to each other. A small listener has fewer.
const OWN_PLACES: u64 = 32;
const FEWEST_OWN: u64 = 8;
/// Least places of a listener, even where the process may open few files.
const FEWEST: u64 = 8;
/// A listener that wants 1024 places gets at most this part of the process's files, others in proportion, so that those
/// that are bound after it have some as well.
const PART_OF_FILES: u64 = 12;

/// The connection slots of one listener; clones share them.
///
/// A newcomer always gets one while somebody else has more places than it would have: the oldest connection of the
/// address with most of them is evicted.
#[derive(Debug, Clone)]
pub struct ConnectionPlaces {
    everyone: SharePool<Origin>,
    own_host: SharePool<Origin>,
    capacity: u64,
    /// Places of one address of another machine.
    per_address: u64,
    _files: std::sync::Arc<ReservedFiles>,
}

impl ConnectionPlaces {
    /// Makes `wanted` places, or fewer if the process may not open so many files.
    #[must_use]
    pub fn new(wanted: usize) -> Self {
        let wanted = wanted as u64;
        let part = |limit: u64| limit.saturating_mul(wanted) / (PART_OF_FILES * 1024);
        let most = open_files::limit().map_or(wanted, |limit| part(limit).max(FEWEST));
        let own = (wanted / 8).clamp(FEWEST_OWN, OWN_PLACES);
        let files = ReservedFiles::reserve(wanted.min(most) + own, FEWEST + own);
        let capacity = files.count() - own;
        // One address alone never fills it: a newcomer then needs no eviction.
        let per_address = capacity - capacity / 8;
        Self {
            everyone: SharePool::new(capacity, per_address.max(1)),
            own_host: SharePool::new(own, own),
            capacity,
            per_address: u64::MAX,
            _files: std::sync::Arc::new(files),
        }
    }

    /// Limits the places of one address of another machine, even while others are free; 0 sets no limit.
    #[must_use]
    pub const fn per_address(mut self, places: u64) -> Self {
        self.per_address = if places == 0 { u64::MAX } else { places };
        self
    }

    /// Takes a place for a connection from `peer` to `local`. Close the connection once [`Share::evicted`] completes.
    ///
    /// # Errors
    /// [`PoolFull`]; the connection is closed.
    pub fn take(&self, peer: IpAddr, local: Option<IpAddr>) -> Result<Share<Origin>, PoolFull> {
        if is_own_machine(peer, local) {
            if let Ok(place) = self.own_host.take(peer.into(), 1) {
                return Ok(place);
            }
        } else if self.everyone.held(peer.into()) >= self.per_address {
            return Err(PoolFull::OwnShare);
        }
        self.everyone.take(peer.into(), 1)
    }

    /// Takes a place for an accepted connection, as [`Self::take`] does.
    ///
    /// # Errors
    /// [`PoolFull`]; the connection is closed.
    pub fn of(&self, stream: &tokio::net::TcpStream, peer: SocketAddr) -> Result<Share<Origin>, PoolFull> {
        self.take(peer.ip(), stream.local_addr().ok().map(|local| local.ip()))
    }

    /// Returns the number of places, without those reserved for this machine.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns the number of connections that have a place.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.everyone.used() + self.own_host.used()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn others_and_this_machine_come_in_whatever_one_address_takes() {
        let places = ConnectionPlaces::new(16);
        let eve = ip("10.0.0.66");
        let held: Vec<_> = (0..100).map_while(|_| places.take(eve, None).ok()).collect();
        assert!(held.len() < 16 && places.capacity() == 16);
        let others: Vec<_> = (1..8).map(|n| places.take(ip(&format!("10.0.0.{n}")), None).unwrap()).collect();
        assert!(others.iter().all(|place| !place.is_evicted()));
        assert!(held.iter().any(Share::is_evicted), "the oldest of who holds most");
        let own: Vec<_> = (0..FEWEST_OWN).map(|_| places.take(ip("127.0.0.1"), None).unwrap()).collect();
        places.take(ip("10.0.0.1"), Some(ip("10.0.0.1"))).unwrap();
        drop((held, others, own));
        assert_eq!(places.used(), 0);
    }

    #[test]
    fn one_address_of_another_machine_has_few_places_while_others_are_free() {
        let places = ConnectionPlaces::new(1024).per_address(3);
        let connect = |from: &str| places.take(ip(from), Some(ip("10.0.0.1")));
        let held: Vec<_> = (0..3).map(|_| connect("10.0.0.66").unwrap()).collect();
        assert_eq!(connect("10.0.0.66").unwrap_err(), PoolFull::OwnShare);
        connect("10.0.0.7").unwrap();
        let own: Vec<_> = (0..100).map(|_| connect("10.0.0.1").unwrap()).collect();
        assert!(held.iter().chain(&own).all(|place| !place.is_evicted()));
        drop(held);
        connect("10.0.0.66").unwrap();
        assert!((0..100).all(|_| ConnectionPlaces::new(1024).per_address(0).take(ip("10.0.0.66"), None).is_ok()));
    }
}
