//! Identifies the publisher of a request, as far as that can be proven without identities.

use std::{fmt, hash::Hasher as _, net::IpAddr};

use siphasher::sip::SipHasher24;

/// The publisher behind a request. A client id stands in clear in every run, so it proves nothing: the client's window
/// belongs to the first claimant, and other claimants are refused.
///
/// All fields are keyed hashes, made by [`ClaimHasher`]; the secrets themselves are not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claimant {
    /// What the claimant proves: a stream key, or else the address that the request came from.
    pub(crate) owner: u64,
    /// Where the memory for its window is charged.
    pub(crate) charged: ChargedShare,
}

/// The share of a table that a client takes: an address that connects to the relay, and behind it, where that is a hub,
/// the address of the hub's session. Shares are made among peers first, so that no peer gains by making up sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChargedShare {
    pub(crate) peer: u64,
    pub(crate) session: u64,
}

/// Owner of a window that was rebuilt from runs alone, so that its owner is not known.
pub(crate) const UNCLAIMED: u64 = 0;

impl Claimant {
    /// The claimant of messages that the relay's own process publishes.
    pub const LOCAL: Self = Self { owner: 1, charged: ChargedShare { peer: 1, session: 0 } };
    /// The unknown claimant of messages that are read back from a log.
    pub const UNKNOWN: Self = Self { owner: UNCLAIMED, charged: ChargedShare { peer: UNCLAIMED, session: 0 } };
}

/// Secret of a publishing process, 16 random bytes. It never stands in a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StreamKey(pub [u8; 16]);

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamKey")
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestOrigin {
    /// The address at the other end of the connection, or of the datagram; `None` within the relay's process.
    pub peer: Option<IpAddr>,
    /// The address of the hub's session, where the peer is a hub. Any peer may claim one; it counts beside the peer.
    pub session: Option<IpAddr>,
}

/// Makes [`Claimant`]s under a key of the relay's own, so that nobody can compute another's.
#[derive(Clone)]
pub struct ClaimHasher {
    secret: [u8; 16],
}

impl ClaimHasher {
    /// Makes a hasher. `secret`: random; the same after a restart, so that windows in a snapshot are still their
    /// owners'.
    #[must_use]
    pub const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// Returns the claimant of a request with `key`, if it has one, from `origin`.
    #[must_use]
    pub fn claimant(&self, key: Option<StreamKey>, origin: RequestOrigin) -> Claimant {
        // The hub of the relay's own process says the truth: its sessions count like peers of their addresses.
        let charged = match origin {
            RequestOrigin { peer: Some(peer), session } => ChargedShare {
                peer: self.address(PEER, peer),
                session: session.map_or(0, |ip| self.address(SESSION, ip)),
            },
            RequestOrigin { peer: None, session: Some(session) } => {
                ChargedShare { peer: self.address(PEER, session), session: 0 }
            }
            RequestOrigin { peer: None, session: None } => Claimant::LOCAL.charged,
        };
        let owner = match key {
            Some(key) => self.hash(KEY, &key.0),
            None if origin == (RequestOrigin { peer: None, session: None }) => Claimant::LOCAL.owner,
            None => {
                let ways = [origin.peer, origin.session].map(|address| address.map_or(0, |ip| self.address(PLACE, ip)));
                self.hash(PLACE, ways.map(u64::to_be_bytes).as_flattened())
            }
        };
        Claimant { owner, charged }
    }

    /// Hashes a host: one IPv4 address, or one IPv6 network of 64 bits (RFC 4291, section 2.5.4).
    fn address(&self, domain: u8, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.hash(domain, &v4.octets()),
            IpAddr::V6(v6) => self.hash(domain, &v6.octets()[..8]),
        }
    }

    fn hash(&self, domain: u8, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&[domain]);
        hasher.write(bytes);
        hasher.finish().max(FIRST_HASH)
    }
}

const KEY: u8 = 1;
const PLACE: u8 = 2;
const PEER: u8 = 3;
const SESSION: u8 = 4;
/// Least hash of an owner; lower values have a meaning of their own.
const FIRST_HASH: u64 = 2;

impl fmt::Debug for ClaimHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimHasher")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn from(peer: &str, session: &str) -> RequestOrigin {
        RequestOrigin { peer: peer.parse().ok(), session: session.parse().ok() }
    }

    #[test]
    fn a_key_proves_the_owner_wherever_it_comes_from() {
        let hasher = ClaimHasher::new([9; 16]);
        let owner = |key: Option<u8>, origin| hasher.claimant(key.map(|byte| StreamKey([byte; 16])), origin).owner;
        assert_eq!(owner(Some(1), from("10.0.0.1", "")), owner(Some(1), from("10.0.0.2", "10.0.0.9")));
        assert_ne!(owner(Some(1), from("10.0.0.1", "")), owner(Some(2), from("10.0.0.1", "")));
        assert_ne!(owner(Some(1), from("10.0.0.1", "")), owner(None, from("10.0.0.1", "")));
        assert_ne!(owner(Some(1), from("10.0.0.1", "")), UNCLAIMED);
    }

    #[test]
    fn without_a_key_peer_and_claimed_session_count_together() {
        let hasher = ClaimHasher::new([9; 16]);
        let owner = |origin| hasher.claimant(None, origin).owner;
        let ways = [
            from("", ""),
            from("", "10.0.0.1"),
            from("10.0.0.1", ""),
            from("10.0.0.2", "10.0.0.1"),
            from("10.0.0.1", "10.0.0.1"),
            from("10.0.0.1", "10.0.0.2"),
        ];
        for (index, &one) in ways.iter().enumerate() {
            assert!(ways[index + 1..].iter().all(|&other| owner(one) != owner(other)), "{one:?}");
        }
        assert_eq!(owner(from("fd00::1", "")), owner(from("fd00::2", "")), "a host has a whole network");
        assert_eq!(owner(from("::ffff:10.0.0.1", "")), owner(from("10.0.0.1", "")));
    }

    #[test]
    fn a_hub_of_the_same_process_is_believed_about_shares() {
        let hasher = ClaimHasher::new([9; 16]);
        let charged = |origin| hasher.claimant(None, origin).charged;
        assert_eq!(charged(from("", "10.0.0.1")), charged(from("10.0.0.1", "")));
        assert_eq!(charged(from("10.0.0.1", "10.0.0.7")).peer, charged(from("10.0.0.1", "10.0.0.8")).peer);
    }
}
