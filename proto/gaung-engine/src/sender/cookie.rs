//! Proves that a peer receives at the address it sends from, without keeping state per peer.

use std::{hash::Hasher as _, net::SocketAddrV4};

use gaung_proto::body::Cookie;
use siphasher::sip::SipHasher24;

/// Makes and checks cookies: a keyed hash of the peer's address, good for the life of the process.
///
/// A cookie is only ever sent to the address it is for, so who returns it receives there. 0 is never one.
#[derive(Clone)]
pub struct Cookies {
    secret: [u8; 16],
}

impl Cookies {
    /// `secret`: random, the same for all engines of one process.
    #[must_use]
    pub const fn new(secret: [u8; 16]) -> Self {
        Self { secret }
    }

    /// Returns the cookie of an address.
    #[must_use]
    pub fn of(&self, peer: SocketAddrV4) -> Cookie {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&peer.ip().octets());
        hasher.write(&peer.port().to_be_bytes());
        Cookie(hasher.finish().max(1))
    }

    /// Whether `cookie` was sent to `peer`.
    #[must_use]
    pub fn proves(&self, peer: SocketAddrV4, cookie: Cookie) -> bool {
        self.of(peer) == cookie
    }
}

impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookies")
    }
}
